import argparse
import fractions
import importlib
import inspect
import json
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from hir_transforms.commands import docstring_corpus
from hir_transforms.commands.docstring_corpus import MIN_WORDS, TARGET_SOURCE, Docstring

SIZES = {"numpy": 40, TARGET_SOURCE: 30, "networkx": 20}
TARGET_SIZE = 25


@pytest.fixture(scope="module")
def corpus() -> tuple[list[Docstring], list[Docstring]]:
    return docstring_corpus.build_corpus(SIZES, TARGET_SIZE)


def long_docstrings(module) -> dict[str, str]:
    """What inspection of the imported module finds: the oracle for what parsing finds."""

    def visit(holder, name):
        text = inspect.cleandoc(holder.__doc__ or "")
        if len(text.split()) >= MIN_WORDS:
            yield f"{module.__name__}:{name}" if name else module.__name__, text
        for attribute, value in vars(holder).items():
            value = inspect.unwrap(getattr(value, "__func__", value))
            here = getattr(value, "__module__", None) == module.__name__
            if here and (inspect.isclass(value) or inspect.isfunction(value)) and value.__name__ == attribute:
                yield from visit(value, f"{name}.{attribute}" if name else attribute)

    return dict(visit(module, ""))


@pytest.mark.parametrize("module", [argparse, fractions, textwrap], ids=lambda module: module.__name__)
def test_parsing_finds_what_inspection_finds(module):
    expected = long_docstrings(module)
    parsed = docstring_corpus.module_docstrings(Path(module.__file__).read_bytes(), module.__name__, "stdlib")
    assert expected
    assert {document.id: document.text for document in parsed} == expected


def test_a_docstring_counts_from_the_given_number_of_words():
    words = ["word"] * (MIN_WORDS - 1)
    code = f'def short():\n    """{" ".join(words)}"""\nasync def long():\n    """{" ".join(words)}\n    end."""\n'
    documents = list(docstring_corpus.module_docstrings(code, "a.b", "c"))
    assert documents == [Docstring("a.b:long", "c", " ".join(words) + "\nend.")]


def test_ids_name_the_enclosing_definitions():
    text = " ".join(["word"] * MIN_WORDS)
    code = f'if True:\n class A:\n  """{text}"""\n  def f(self):\n   """{text}"""\n   def g():\n    """{text}"""\n'
    ids = [document.id for document in docstring_corpus.module_docstrings(code, "m", "c")]
    assert ids == ["m:A", "m:A.f", "m:A.f.g"]


def test_repeated_texts_and_ids_are_dropped():
    first, same_text, same_id, other = (
        Docstring("a", "s", "x"),
        Docstring("b", "s", "x"),
        Docstring("a", "s", "y"),
        Docstring("c", "s", "z"),
    )
    assert list(docstring_corpus.unique_docstrings([first, same_text, same_id, other])) == [first, other]


def test_sizes_and_labels(corpus):
    raw, target = corpus
    assert Counter(document.source for document in raw) == SIZES
    assert [document.source for document in target] == [TARGET_SOURCE] * TARGET_SIZE
    for document in raw + target:
        package = importlib.util.find_spec(docstring_corpus.IMPORT_NAMES.get(document.source, document.source))
        module = document.id.partition(":")[0].split(".")
        path = Path(str(package.origin)).parent.joinpath(*module[1:])
        assert module[0] == package.name
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_documents_are_long_and_distinct(corpus):
    documents = [*corpus[0], *corpus[1]]
    assert all(len(document.text.split()) >= MIN_WORDS for document in documents)
    assert len({document.text for document in documents}) == len(documents)
    assert len({document.id for document in documents}) == len(documents)


def test_raw_order_mixes_the_sources(corpus):
    half = Counter(document.source for document in corpus[0][: sum(SIZES.values()) // 2])
    assert all(size / 4 <= half[source] <= size * 3 / 4 for source, size in SIZES.items())


def test_corpus_does_not_depend_on_the_order_of_the_sources(corpus):
    assert docstring_corpus.build_corpus(dict(reversed(SIZES.items())), TARGET_SIZE) == corpus


def test_an_absent_package_is_named():
    with pytest.raises(ModuleNotFoundError, match="docstrings of no-such-package"):
        docstring_corpus.package_folder("no-such-package")


def test_writing_is_all_or_nothing(tmp_path, corpus):
    folder = tmp_path / "new" / "corpus"
    half_written = folder.with_name("corpus.partial")
    half_written.mkdir(parents=True)
    (half_written / "leftover").touch()

    raw, target = docstring_corpus.write_corpus(folder, SIZES, TARGET_SIZE)

    assert sorted(path.name for path in folder.iterdir()) == ["raw.jsonl", "target.jsonl"]
    assert not half_written.exists()
    for path, documents in zip((raw, target), corpus, strict=True):
        assert [Docstring(**json.loads(line)) for line in path.read_text("utf-8").splitlines()] == documents
    raw.write_text("kept\n")
    docstring_corpus.write_corpus(folder, SIZES, TARGET_SIZE)
    assert raw.read_text() == "kept\n"
