"""A small labelled corpus of real text that needs no network: the docstrings of installed packages.

Some of scikit-learn's docstrings are the target, others of them lie among the raw documents of all packages. Choice
and order follow a hash of each document's id, so the same installed versions give the same files.
"""

import ast
import functools
import hashlib
import importlib.util
import json
import shutil
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

MIN_WORDS = 60
STDLIB = "stdlib"
TARGET_SOURCE = "scikit-learn"
TARGET_SIZE = 150
# The raw documents of each package; every package comes with the project's own dependencies.
RAW_SIZES = {
    STDLIB: 250,
    "scipy": 250,
    "numpy": 200,
    TARGET_SOURCE: 200,
    "apache-beam": 150,
    "networkx": 150,
    "sympy": 150,
    "torch": 150,
}
IMPORT_NAMES = {"apache-beam": "apache_beam", TARGET_SOURCE: "sklearn"}
# Tests, copies of other packages and, inside the standard library, what is installed beside it.
SKIPPED_FOLDERS = {"_vendor", "dist-packages", "externals", "site-packages", "test", "testing", "tests", "third_party"}


@dataclass(frozen=True, slots=True)
class Docstring:
    """One document: its `id` is `module` or `module:qualified.name`, its `source` the package it is from."""

    id: str
    source: str
    text: str


def package_folder(source: str) -> Path:
    """The folder of a package's modules, found without importing the package.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    if source == STDLIB:
        return Path(sysconfig.get_path("stdlib"))
    name = IMPORT_NAMES.get(source, source)
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the corpus needs the docstrings of {source}, which is not installed", name=name)
    return Path(spec.submodule_search_locations[0])


def module_docstrings(code: bytes | str, module: str, source: str) -> Iterator[Docstring]:
    """The docstrings of `MIN_WORDS` words or more in one module's source code, which is parsed and never run."""

    def visit(node: ast.AST, qualified_name: str) -> Iterator[Docstring]:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if not isinstance(node, ast.Module):
                qualified_name = f"{qualified_name}.{node.name}" if qualified_name else node.name
            text = ast.get_docstring(node)
            if text is not None and len(text.split()) >= MIN_WORDS:
                yield Docstring(f"{module}:{qualified_name}" if qualified_name else module, source, text)
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr):  # no expression holds a docstring, and most nodes are expressions
                yield from visit(child, qualified_name)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in the packages' own string literals
        tree = ast.parse(code)
    return visit(tree, "")


@functools.cache
def package_docstrings(source: str) -> list[Docstring]:
    """The docstrings of a package's modules, without its tests and the packages bundled in it."""
    root = package_folder(source)
    prefix = [] if source == STDLIB else [root.name]
    found: list[Docstring] = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if SKIPPED_FOLDERS.isdisjoint(relative.parts):
            parts = [*prefix, *relative.with_suffix("").parts]
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found += module_docstrings(path.read_bytes(), module, source)
    return found


def unique_docstrings(documents: Iterable[Docstring]) -> Iterator[Docstring]:
    """The documents without those whose text or id (a property and its setter share one) came before."""
    texts, ids = set(), set()
    for document in documents:
        if document.text not in texts and document.id not in ids:
            yield document
        texts.add(document.text)
        ids.add(document.id)


def build_corpus(
    raw_sizes: Mapping[str, int] = RAW_SIZES, target_size: int = TARGET_SIZE
) -> tuple[list[Docstring], list[Docstring]]:
    """The raw and the target documents of the packages installed here, without a text in common.

    Args:
        raw_sizes: Source to its number of raw documents (fewer where the package has fewer), `TARGET_SOURCE` included.
        target_size: The number of target documents, all of `TARGET_SOURCE`.

    Returns:
        (raw, target): The raw documents in mixed order, and the target documents.

    Raises:
        ModuleNotFoundError: A source is not installed.
    """
    everything = unique_docstrings(document for source in raw_sizes for document in package_docstrings(source))
    by_source: dict[str, list[Docstring]] = {source: [] for source in raw_sizes}
    for document in sorted(everything, key=lambda document: _hash("choice", document)):
        by_source[document.source].append(document)
    target = by_source[TARGET_SOURCE][:target_size]
    del by_source[TARGET_SOURCE][:target_size]
    raw = [document for source, size in raw_sizes.items() for document in by_source[source][:size]]
    # Not the hash that chose: it would put the packages of which a small part was taken first.
    return sorted(raw, key=lambda document: _hash("order", document)), target


def write_corpus(
    folder: Path, raw_sizes: Mapping[str, int] = RAW_SIZES, target_size: int = TARGET_SIZE
) -> tuple[Path, Path]:
    """Writes `raw.jsonl` and `target.jsonl` into a folder that appears only when both are complete.

    Args:
        folder: Where to write; a folder that exists is complete, and is left as it is.
        raw_sizes: As in `build_corpus`.
        target_size: As in `build_corpus`.

    Returns:
        The paths of the raw and the target file.
    """
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, documents in zip(("raw", "target"), build_corpus(raw_sizes, target_size), strict=True):
            lines = (json.dumps(asdict(document), ensure_ascii=False) + "\n" for document in documents)
            (partial / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        partial.rename(folder)
    return folder / "raw.jsonl", folder / "target.jsonl"


def _hash(purpose: str, document: Docstring) -> bytes:
    return hashlib.sha256(f"{purpose}:{document.id}".encode()).digest()
