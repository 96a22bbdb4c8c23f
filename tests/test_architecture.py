"""The rules of the code's structure, checked on its syntax trees."""

import ast
import functools
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("hir_transforms", "pipelines", "benchmarks")
MAX_LINES = 350
# These are pure: numbers, texts and numpy arrays in and out, no Beam, no files.
NUMERICS = [
    ROOT / "hir_transforms" / f"{name}.py"
    for name in (
        "classifiers/logistic",
        "classifiers/scaling",
        "common/compiling",
        "common/errors",
        "common/portable_log",
        "common/settings",
        "common/threads",
        "documents/identity",
        "evaluation/agreement",
        "evaluation/divergence",
        "evaluation/lengths",
        "evaluation/nearness",
        "evaluation/two_samples",
        "mixtures/em",
        "mixtures/estep",
        "mixtures/estep_dense",
        "mixtures/exact_sum",
        "mixtures/kmeans_start",
        "mixtures/pca",
        "mixtures/projection",
        "ngrams/classifier",
        "ngrams/estimator",
        "ngrams/features",
        "ngrams/kernel/bucket_cache",
        "ngrams/kernel/compiled",
        "ngrams/kernel/distinct",
        "ngrams/kernel/hashes",
        "ngrams/kernel/intrinsics",
        "ngrams/kernel/loop",
        "ngrams/kernel/sha256",
        "ngrams/kernel/tokens",
        "ngrams/word_tokenizer",
        "report/copies",
        "report/deciding",
        "report/histograms",
        "report/quality",
        "report/words",
        "selection/gumbel",
        "selection/later_copies",
        "selection/threshold",
        "tuning/candidates",
        "tuning/holdout",
        "weights/hybrid",
        "weights/standardizing",
    )
]
LIBRARY = [*(ROOT / "hir_transforms").rglob("*.py")]
MODULES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
HELPERS = [*(ROOT / "tests" / "helpers").glob("*.py")]
INSTALLED = [path for path in MODULES if path.relative_to(ROOT).parts[0] != "benchmarks"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIREMENTS = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
PROVIDERS = importlib.metadata.packages_distributions()
DECLARED = {canonicalize_name(Requirement(requirement).name) for requirement in REQUIREMENTS}
CORE = {canonicalize_name(Requirement(requirement).name) for requirement in PROJECT["dependencies"]}
# What Linux alone has, in the standard library and below it.
LINUX_ALONE = re.compile(
    r"/proc/|inotify|prctl\b|\bos\.(copy_file_range|eventfd|fallocate|memfd_create|pidfd_open|posix_fadvise|posix_fallocate"
    r"|sched_\w+|splice|unshare)\b|\bsignal\.(pidfd\w+|sigtimedwait|sigwaitinfo|SIGRT\w+|SIGPWR|SIGSTKFLT)\b"
    r"|\bsocket\.(AF_NETLINK|AF_VSOCK|SO_PEERCRED)\b|\bselect\.epoll\b"
)
# The one module that may use what other packages do not offer to others, and the test of it.
INTERNALS = {"hir_transforms/runners/beam_internals.py", "tests/runners/test_beam_internals.py"}
# Named with an underscore but documented for everyone.
PUBLIC = {"_asdict", "_exit", "_fields", "_make", "_replace"}
# A package imports those before it, in the order of the data flow.
ORDER = [
    *("common", "files", "documents", "artifacts", "rows", "classifiers", "ngrams", "embeddings"),
    *("mixtures", "embedding_classifiers", "weights", "selection", "tuning", "evaluation", "report"),
    *("runners", "settings", "graph", "results", "commands", "compat"),
]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    """The absolute names of the modules that a module imports, anywhere in it."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) + 1 - node.level]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def top(module: str) -> str:
    return module.partition(".")[0]


def test_the_packages_are_found():
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(PACKAGES)
    assert NUMERICS


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_wildcard_imports(path):
    assert not [module for module in imports(path) if module.endswith(".*")]


@pytest.mark.parametrize("path", NUMERICS, ids=name_of)
def test_numerics_import_no_beam(path):
    third_party = {top(module) for module in imports(path)} - sys.stdlib_module_names - {"hir_transforms"}
    assert third_party <= {"llvmlite", "nltk", "numba", "numpy", "scipy", "sklearn", "threadpoolctl"}


@pytest.mark.parametrize("path", NUMERICS, ids=name_of)
def test_numerics_import_nothing_of_the_library_but_numerics(path):
    own = {module for module in imports(path) if (ROOT / f"{module.replace('.', '/')}.py").exists()}
    assert own <= {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in NUMERICS}


def test_packages_are_in_the_order_of_the_data_flow():
    packages = {path.parent.name for path in (ROOT / "hir_transforms").glob("*/__init__.py")}
    assert packages == set(ORDER)


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_a_package_imports_only_those_before_it(path):
    package = path.relative_to(ROOT).with_suffix("").parts[1]
    if package in ORDER:
        used = {module.split(".")[1] for module in imports(path) if module.startswith("hir_transforms.")}
        assert used.isdisjoint(ORDER[ORDER.index(package) + 1 :])


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_the_library_imports_no_pipeline_and_no_benchmark(path):
    assert {top(module) for module in imports(path)}.isdisjoint({"pipelines", "benchmarks", "tests"})


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_fields_of_transforms_are_their_parameters(path):
    """Transforms, DoFns and CombineFns are dataclasses: no constructor copies arguments into private fields.

    Beam's constructors set nothing but defaults that its classes have as well, so none needs to be called. `eq=False`
    because a transform stands for a step: two with the same parameters are two, and each can be hashed. They are not
    frozen: Beam sets a transform's label and pipeline.
    """
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).startswith("beam.") for base in node.bases):
            members = [member.name for member in node.body if isinstance(member, ast.FunctionDef)]
            assert "__init__" not in members, node.name
            if any(isinstance(member, ast.AnnAssign) for member in node.body):
                assert "dataclass(eq=False)" in [ast.unparse(one) for one in node.decorator_list], node.name


@pytest.mark.parametrize("path", INSTALLED, ids=name_of)
def test_third_party_imports_are_declared_dependencies(path):
    for module in {top(module) for module in imports(path)} - sys.stdlib_module_names - set(PACKAGES):
        assert DECLARED & {canonicalize_name(name) for name in PROVIDERS.get(module, [])}, module


def providers(module: str) -> set[str]:
    """The distributions that bring the top-level package of a module."""
    return {canonicalize_name(name) for name in PROVIDERS.get(top(module), [])}


@pytest.mark.parametrize("path", INSTALLED, ids=name_of)
def test_packages_of_extras_are_imported_within_functions(path):
    tree = ast.parse(path.read_text("utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in at_once
        if not getattr(node, "level", 0)
    }
    absolute = {top(name) for name in names if name} - sys.stdlib_module_names - set(PACKAGES)
    assert [name for name in absolute if not providers(name) & CORE] == []


def test_every_core_dependency_is_imported():
    used = {name for path in INSTALLED for module in imports(path) for name in providers(module)}
    assert CORE - used == set()


def test_nothing_that_only_linux_has_is_used_but_where_that_is_asked():
    found = {name_of(path): LINUX_ALONE.search(path.read_text("utf-8")) for path in INSTALLED}
    # tests/runners/test_worker.py runs it as on other systems.
    assert {name for name, match in found.items() if match} == {"hir_transforms/runners/worker.py"}


@pytest.mark.parametrize("path", [*(ROOT / "tests").rglob("*.py")], ids=name_of)
def test_tests_import_no_test(path):
    assert not [module for module in imports(path) if re.match(r"tests\.(\w+\.)*(test_|conftest)", module)]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in PUBLIC


@functools.cache
def own_private_names(path: Path) -> frozenset[str]:
    """The private names that a module gives to functions, classes, variables and attributes."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Attribute(attr=name, ctx=ast.Store(), value=ast.Name(id="self" | "cls")):
                names.add(name)
    return frozenset(filter(is_private, names))


def foreign_private_names(path: Path, own: frozenset[str]) -> list[str]:
    """Where a module uses private names of others: attributes, imports, and what describes another's function."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name, value=value) if is_private(name) and name not in own:
                found.append(f"{node.lineno}: {ast.unparse(value)}.{name}")
            case ast.Attribute(attr="__defaults__" | "__subclasses__" | "__code__" as name):
                found.append(f"{node.lineno}: {name}")
            case ast.ImportFrom(module=module, names=names):
                private = [alias.name for alias in names if is_private(alias.name) and alias.name not in own]
                found += [f"{node.lineno}: {module}.{name}" for name in private]
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_private_name_of_another_module_is_used(path):
    if name_of(path) not in INTERNALS:
        assert foreign_private_names(path, own_private_names(path)) == []


@pytest.mark.parametrize("path", [*(ROOT / "tests").rglob("*.py")], ids=name_of)
def test_tests_use_no_private_name_of_another_package(path):
    if name_of(path) not in INTERNALS:
        own = frozenset().union(*map(own_private_names, [path, *MODULES, *HELPERS]))
        assert foreign_private_names(path, own) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("other._name", ["1: other._name"]),
        ("f(x)._name = 1", ["1: f(x)._name"]),
        ("from other import _name", ["1: other._name"]),
        ("Other.__init__.__defaults__ = ()", ["1: __defaults__"]),
        ("self._name + os._exit(1) + record._replace()", []),
        ("def _name(): pass\nother._name", []),
    ],
)
def test_private_names_are_found(tmp_path, code, found):
    path = tmp_path / "module.py"
    path.write_text(code)
    assert foreign_private_names(path, own_private_names(path)) == found


def test_public_names_exist_once():
    library = importlib.import_module("hir_transforms")
    assert len(library.__all__) == len(set(library.__all__))
    assert [name for name in library.__all__ if not hasattr(library, name)] == []
