"""The API reference: made without a warning, of all public names."""

import html
import re
import runpy
from pathlib import Path

import pytest

import hir_transforms
import hir_transforms.compat

MAKE = Path(__file__).parents[1] / "docs" / "make_reference.py"
SECTION = re.compile(r"^\s*(Args|Arguments|Attributes|Raises|Returns|Yields|Example)\b[^\n]{0,20}:$", re.MULTILINE)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The text of the page of each module."""
    folder = tmp_path_factory.mktemp("reference")
    runpy.run_path(str(MAKE))["main"](str(folder))
    assert (folder / "index.html").exists()
    return {path.relative_to(folder).with_suffix("").as_posix(): path.read_text() for path in folder.rglob("*.html")}


@pytest.mark.parametrize("module", [hir_transforms, hir_transforms.compat], ids=lambda module: module.__name__)
def test_every_name_is_in_it(pages, module):
    page = pages[module.__name__.replace(".", "/")]
    assert [name for name in module.__all__ if f'id="{name}"' not in page] == []


def test_no_section_of_a_docstring_is_taken_for_text(pages):
    for page in pages.values():
        texts = [re.sub("<[^>]+>", "", text) for text in re.findall(r"<(?:p|pre)>(.*?)</(?:p|pre)>", page, re.DOTALL)]
        assert [found for text in texts for found in SECTION.findall(html.unescape(text))] == []
    assert SECTION.search("Raises (when run):\n    ValueError: if")
