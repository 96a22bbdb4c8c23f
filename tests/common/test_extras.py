import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hir_transforms.common.errors import UserError
from hir_transforms.common.extras import MODULES, require_extra

PROJECT = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text("utf-8"))["project"]

# Beam imports pandas where it is installed, so tests have it apart from all else.
APART = {"pandas"}


def packages(extra):
    """The names of the distributions that an extra brings, by itself or by another extra of this project."""
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        if requirement.name == PROJECT["name"]:
            for other in requirement.extras:
                yield from packages(other)
        else:
            yield canonicalize_name(requirement.name)


@pytest.mark.parametrize("extra", MODULES)
def test_the_modules_of_an_extra_are_of_packages_that_it_brings(extra):
    if extra not in APART:
        require_extra(extra, "this test")
    # These packages have the names of their modules.
    assert {canonicalize_name(module) for module in MODULES[extra]} <= {*packages(extra)}


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError) as caught:
        require_extra("embeddings", "--embedding_model: m", "; or do without")
    assert str(caught.value) == (
        "--embedding_model: m needs torch, not installed here: pip install 'hir-beam[embeddings]'; or do without"
    )


def test_a_package_around_the_module_may_be_missing_too(monkeypatch):
    monkeypatch.setitem(MODULES, "gcp", ("no_such_package.storage",))
    with pytest.raises(UserError, match=r"needs no_such_package\.storage, not installed here"):
        require_extra("gcp", "this test")
