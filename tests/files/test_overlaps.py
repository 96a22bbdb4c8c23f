import re

import pytest
from apache_beam.io.filesystem import FileSystem
from hypothesis import example, given
from hypothesis import strategies as st

from hir_transforms.files.overlaps import reaches, without_links

REACHING = [
    ("/p/out/a.jsonl", "/p/out/"),
    ("/p/out/deep/a.jsonl", "/p/out/"),
    ("/p/out", "/p/out/"),
    ("/p/out/", "/p/out/"),
    ("/p/out/*.jsonl", "/p/out/"),
    ("/p/*/*.jsonl", "/p/out/"),
    ("/p/o*t/a", "/p/out/"),
    ("/p/**", "/p/out/"),
    ("/p/**/*.jsonl", "/p/out/"),
    ("/p/**.jsonl", "/p/out/deep/"),
    ("/*/*/*", "/p/out/"),
    ("/p/[!a]ut/a", "/p/out/"),
    ("/p/[]o]ut/a", "/p/out/"),
    ("/p/out?a", "/p/out/"),  # as Beam has it: ? matches a slash, too
    ("/p/gmm/*.npz", "/p/gmm/raw.npz"),
    ("/p/gmm/raw.npz", "/p/gmm/raw.npz"),
    ("s3://p/**.jsonl", "s3://p/out/"),
    ("s3://p/out/*", "s3://p/out/"),
]
APART = [
    ("/p/*.jsonl", "/p/out/"),
    ("/p/*", "/p/out/"),
    ("/p/out*", "/p/out/"),
    ("/p/out*/a", "/p/out.work/documents/"),
    ("/p/outer/*.jsonl", "/p/out/"),
    ("/p/out.jsonl", "/p/out/"),
    ("/p/*/a.jsonl", "/p/out/deep/"),
    ("/p/[a]ut/a", "/p/out/"),
    ("/p", "/p/out/"),
    ("/p/gmm/target-0.npz", "/p/gmm/raw.npz"),
    ("/p/gmm/raw.npz", "/p/gmm/raw/"),
    ("/p/**", "s3://p/out/"),
    ("s3://q/**", "s3://p/out/"),
]


@pytest.mark.parametrize(("pattern", "place"), REACHING)
def test_a_pattern_reaches_into_a_place(pattern, place):
    assert reaches(pattern, place)


@pytest.mark.parametrize(("pattern", "place"), APART)
def test_a_pattern_keeps_off_a_place(pattern, place):
    assert not reaches(pattern, place)


PATHS = st.text("ab/", max_size=5)


@pytest.mark.filterwarnings("ignore:Possible nested set")  # of [[, which Beam passes on
@given(st.lists(st.sampled_from(["a", "b", "/", "*", "**", "?", "[ab]", "[!a]", "["]), max_size=8), PATHS, PATHS)
@example(["*", "**", "a"], "a", "/")
@example(["/", "/", "/"], "", "//")
def test_whatever_beam_matches_in_a_folder_is_reached(tokens, folder, rest):
    pattern = f"/{''.join(tokens)}"
    path = f"/{folder}/{rest}"
    if rest and re.match(FileSystem.translate_pattern(pattern), path):
        assert reaches(pattern, f"/{folder}/")


def test_links_before_the_first_wildcard_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "file").symlink_to("/elsewhere")
    for name, resolved in (("*.jsonl", "*.jsonl"), ("a*/b", "a*/b"), ("", ""), ("a/", "a/")):
        assert without_links(f"{tmp_path}/link/{name}") == f"{tmp_path}/real/{resolved}"
    assert without_links(f"{tmp_path}/link/file") == "/elsewhere"
    assert without_links("s3://bucket/../link/*") == "s3://bucket/../link/*"
