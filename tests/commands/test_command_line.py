import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from tests.helpers.corpora import jsonl

# Where Python takes file names for ASCII.
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **C_LOCALE}, capture_output=True, encoding="utf-8"
    )


def test_the_locale_is_one_that_does_harm():
    assert python("-c", "import sys; print(sys.getfilesystemencoding())").stdout != "utf-8\n"


@pytest.mark.parametrize(("module", "workers"), [(["pipelines.select"], 1), (["pipelines", "select"], 2)])
def test_names_in_utf8_are_used_in_the_c_locale(tmp_path, module, workers):
    folder = tmp_path / "日本"
    folder.mkdir()
    (folder / "ü, 1.jsonl").write_bytes(jsonl(["one two three", "four five six"] * 20) + b"no json\n")
    (folder / "ziel.jsonl").write_bytes(jsonl(["one two"]))
    result = python(
        *("-m", *module),
        f"--raw={folder}/ü*.jsonl",
        f"--target={folder}/ziel.jsonl",
        f"--output={folder}/ö",
        *("--num_to_sample=5", "--min_example_length=1", "--alpha=1", f"--direct_num_workers={workers}"),
    )
    assert (result.returncode, result.stdout.splitlines()[-1:]) == (0, [f"{folder}/ö"]), result.stderr
    assert json.loads((folder / "ö/manifest.json").read_text("utf-8"))["settings"]["raw"] == [f"{folder}/ü*.jsonl"]
    assert set(pq.read_table(folder / "ö/selection.parquet")["file"].to_pylist()) == {f"{folder}/ü, 1.jsonl"}
    (rejected,) = (folder / "ö/rejected").iterdir()
    assert json.loads(rejected.read_text("utf-8"))["file"] == f"{folder}/ü, 1.jsonl"
    assert len((folder / "ö/part-00000-of-00001.jsonl").read_bytes().splitlines()) == 5


def test_a_caller_in_that_locale_is_told_what_to_do(tmp_path):
    (tmp_path / "ü.jsonl").touch()
    code = f"from hir_transforms.documents.datasets import list_files; list_files(['{tmp_path}/*'], flag='--raw')"
    last = python("-c", code).stderr.splitlines()[-1]
    assert last.endswith("is not valid UTF-8; set PYTHONUTF8=1 in the environment")
