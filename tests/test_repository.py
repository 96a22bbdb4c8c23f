"""The files of the repository that are no code: their sizes, and where their links lead."""

import re
import subprocess
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
MAX_BYTES = 1_000_000
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("[!.]*/**/*.md")])


def links_and_anchors(page):
    """What a page links to, and the anchors of its headings as GitHub makes them."""
    links, anchors = [], []
    seen: Counter[str] = Counter()
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8"))
    for before, token in zip([None, *tokens], tokens, strict=False):
        children = token.children or []
        links += [child.attrs["href"] for child in children if child.type == "link_open"]
        links += [child.attrs["src"] for child in children if child.type == "image"]
        if before is not None and before.type == "heading_open":
            text = "".join(child.content for child in children)
            anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            anchors.append(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
            seen[anchor] += 1
    return links, anchors


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    for link in links_and_anchors(page)[0]:
        parts = urlsplit(link)
        if parts.scheme:
            continue
        linked = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        assert linked.is_relative_to(ROOT), link
        assert linked.exists(), link
        if parts.fragment:
            assert unquote(parts.fragment) in links_and_anchors(linked)[1], link


def test_links_and_anchors_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# What `--a_flag` does: all, or nothing\n\n[one](a.md#b)\n\n## Twice\n\n- ![two](c.png)\n\n## Twice\n\n"
        "| a |\n| --- |\n| [three](d) |\n\n```\n# no heading [no link](e)\n```\n"
    )
    assert links_and_anchors(page) == (
        ["a.md#b", "c.png", "d"],
        ["what---a_flag-does-all-or-nothing", "twice", "twice-1"],
    )


def test_no_file_is_large():
    """Built programs, corpora and models are made or fetched, not committed."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
    paths = [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    assert ROOT / "README.md" in paths
    assert [path for path in paths if path.stat().st_size > MAX_BYTES] == []


def test_contributing_names_each_target_of_make_once():
    targets = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[0].split()
    table = re.findall(r"^\| (`make.*?) \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    named = re.findall(r"`make ([\w-]+)`", " ".join(table))
    assert sorted(named) == sorted({*targets} - {"venv", "clean"})
