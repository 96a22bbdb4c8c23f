"""The names that `hir_transforms` gives: each documented, with an example that is run, and imported when asked for."""

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import pytest

import hir_transforms

NAMES = [name for name in hir_transforms.__all__ if name != "__version__"]
TRANSFORMS = [
    name
    for name in NAMES
    if inspect.isclass(getattr(hir_transforms, name)) and issubclass(getattr(hir_transforms, name), beam.PTransform)
]


def loaded_by(program):
    """Names of the modules that a program has loaded when it ends."""
    process = subprocess.run(
        [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert process.stderr == ""
    return {*process.stdout.split()}


def test_importing_the_package_imports_nothing_else():
    assert loaded_by("import hir_transforms").isdisjoint({"apache_beam", "numpy", "numba", "torch"})


def test_importing_every_name_imports_no_model_library():
    loaded = loaded_by(f"from hir_transforms import {', '.join(NAMES)}")
    assert "apache_beam" in loaded
    assert loaded.isdisjoint({"torch", "sentence_transformers", "transformers"})


def test_other_names_are_no_attribute():
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        hir_transforms.Nothing  # noqa: B018
    assert {*NAMES} <= {*dir(hir_transforms)}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_examples_run(name):
    module = sys.modules[getattr(hir_transforms, name).__module__]
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(hir_transforms, name), name, module)
    assert example.examples
    failures = doctest.DocTestRunner(verbose=False).run(example).failed
    assert failures == 0


def test_there_are_no_other_examples():
    of_transforms = {inspect.getsourcefile(getattr(hir_transforms, name)) for name in TRANSFORMS}
    package = Path(hir_transforms.__file__).parent
    modules = [path for folder in (package, package.parent / "pipelines") for path in folder.rglob("*.py")]
    assert {str(path) for path in modules if ">>> " in path.read_text("utf-8")} == of_transforms


@pytest.mark.parametrize("name", TRANSFORMS)
def test_types_are_declared(name):
    hints = inspect.get_annotations(getattr(hir_transforms, name).expand)
    assert str(hints["return"]).startswith("apache_beam.pvalue.PCollection[")


def test_an_element_of_another_type_is_refused_when_the_graph_is_built():
    with pytest.raises(beam.typehints.decorators.TypeCheckError, match="CountNgrams"):
        beam.Pipeline() | beam.Create([1, 2]) | hir_transforms.CountNgrams()
