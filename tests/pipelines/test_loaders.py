"""Records and texts by functions of the user, through whole commands and from Python."""

import itertools
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hir_transforms import UserError
from hir_transforms.documents.examples import to_line
from pipelines import evaluate, resample, select, tune
from pipelines.selector import Selector
from tests.helpers import loaders
from tests.helpers.folders import contents

FLAGS = ["--num_to_sample=10", "--alpha=1", "--top_k", "--num_tokens_to_fit=all", "--min_example_length=3"]
FLAGS += ["--max_rejected_share=0.5", "--no_progress"]
SETTINGS = {"num_to_sample": 10, "alpha": 1, "top_k": True, "num_tokens_to_fit": "all", "min_example_length": 3}
SETTINGS |= {"max_rejected_share": 0.5}
ONE = "--direct_num_workers=1"


def of_module(role):
    return [f"--{role}_load_dataset_fn=loaders:load", f"--{role}_parse_example_fn=loaders:text_of"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Flags of records in files, of the same as JSON lines, and what is selected of both."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, kinds in (("a", ["law", "food", "food", ""]), ("b", ["food", "law"]), ("target", ["law"])):
        loaders.write_records(folder / f"{name}.records", kinds * 6)
        lines = [to_line(record) for record in loaders.load(folder / f"{name}.records")]
        (folder / f"{name}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines if b'"body":""' not in line))
    shutil.copy(loaders.__file__, folder / "loaders.py")
    plain = [f"--raw={folder}/a.jsonl,{folder}/b.jsonl", f"--target={folder}/target.jsonl", "--text_field=doc.body"]
    assert select.run([*plain, f"--output={folder}/plain", *FLAGS, ONE]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        records = [f"--raw={folder}/[ab].records", f"--target={folder}/target.records"]
        records += of_module("raw") + of_module("target")
        assert select.run([*records, f"--output={folder}/out", *FLAGS, "--direct_num_workers=2"]) == 0
        yield folder, records, plain


def weights(output):
    return pq.read_table(output / "selection.parquet")["weight"].to_pylist()


def test_the_records_are_selected_as_the_same_lines_would_be(corpus):
    folder, _, _ = corpus
    assert weights(folder / "out") == weights(folder / "plain")
    lines = (folder / "out" / "part-00000-of-00001.jsonl").read_bytes()
    assert lines == (folder / "plain" / "part-00000-of-00001.jsonl").read_bytes()
    counts = json.loads((folder / "out" / "manifest.json").read_text())["counts"]
    assert (counts["read"], counts["rejected"], counts["selected"]) == (36, 6, 10)
    table = pq.read_table(folder / "out" / "selection.parquet")
    assert table["offset"].to_pylist() == [json.loads(line)["number"] for line in lines.splitlines()]


def test_what_the_function_raises_on_is_rejected_with_the_reason(corpus):
    folder, _, _ = corpus
    rejected = [*itertools.chain.from_iterable(path.open() for path in (folder / "out" / "rejected").iterdir())]
    assert [json.loads(line) for line in rejected][1] == {
        "file": f"{folder}/a.records",
        "offset": 7,
        "reason": "loaders:text_of raised ValueError: 7 has no body",
        "excerpt": '{"title":" 7","doc":{"body":""},"day":"2020-01-08","number":7}',
    }
    manifest = json.loads((folder / "out.work" / "documents" / "_manifest.json").read_text())
    reasons = json.loads((folder / "out.work" / "counts" / "raw" / "_manifest.json").read_text())["counts"]
    assert reasons["reasons"] == {"loaders:text_of raised ValueError": 6}
    assert reasons["first_reject"].startswith(f"{folder}/a.records, record 3: loaders:text_of raised ValueError")
    assert manifest["inputs"]["raw"]["load_dataset_fn"].keys() == {"name", "digest"}


def test_the_report_and_an_evaluation_show_texts_of_records(corpus, tmp_path):
    folder, records, _ = corpus
    best = json.loads((folder / "out" / "report.json").read_text())["documents"]["best"][0]
    assert best["text"].startswith("the court rejects")
    command = [
        *records,
        f"--selected={folder}/out,{folder}/plain",
        f"--json={tmp_path}/json",
        "--max_rejected_share=0.5",
        ONE,
    ]
    assert evaluate.run([*command, f"--heldout={folder}/b.records"]) == 0
    measured = json.loads((tmp_path / "json").read_text())["selections"]
    assert measured[0] | {"files": ""} == measured[1] | {"files": ""}


def test_scores_are_taken_again_only_with_the_functions(corpus, tmp_path, capsys):
    folder, records, _ = corpus
    command = [f"--work_dir={folder}/out.work", f"--output={tmp_path}/out", "--num_to_sample=10", "--top_k", ONE]
    given = [*command, "--alpha=1", "--num_tokens_to_fit=all"]
    given += ["--min_example_length=3", "--max_rejected_share=0.5"]
    assert resample.run([*records, *given, "--no_report"]) == 0
    assert (tmp_path / "out" / "part-00000-of-00001.jsonl").read_bytes() == (
        folder / "out" / "part-00000-of-00001.jsonl"
    ).read_bytes()
    parquet = ["--output_format=parquet", "--overwrite"]
    assert resample.run([*records, *given, "--no_report", *parquet]) == 0
    table = pq.read_table(tmp_path / "out" / "part-00000-of-00001.parquet")
    assert table.to_pylist() == [json.loads(line) for line in (folder / "out" / "part-00000-of-00001.jsonl").open()]
    capsys.readouterr()
    assert resample.run([*command, "--overwrite"]) == 2
    assert "--raw is required: loaders:load and loaders:text_of read what was scored" in capsys.readouterr().err
    assert resample.run([*records[:-1], *given, "--overwrite"]) == 2  # another target


def test_functions_of_a_program_may_have_no_name(corpus, tmp_path):
    folder, _, _ = corpus
    length = 3
    settings = SETTINGS | {
        "raw": [folder / "a.records", folder / "b.records"],
        "target": folder / "target.jsonl",
        "raw_load_dataset_fn": lambda path: [record for record in loaders.load(path) if record["doc"]["body"]],
        "raw_parse_example_fn": lambda record: record["doc"]["body"] if len(record) > length else "",
        "target_parse_example_fn": loaders.text_of,
    }
    selector = Selector(**settings, options=["--direct_num_workers=2"])
    selection = selector.select(output=tmp_path / "out")
    assert weights(tmp_path / "out") == weights(folder / "plain")
    assert [*selection.documents()] == [*map(json.loads, (folder / "plain/part-00000-of-00001.jsonl").open())]
    assert selection.manifest["settings"]["target_parse_example_fn"] == "tests.helpers.loaders:text_of"
    again = selector.resample(output=tmp_path / "again", num_to_sample=3)
    assert next(again.documents()) in [*selection.documents()]
    with pytest.raises(UserError, match="no scores of these settings and files"):
        selector.resample(output=tmp_path / "other", raw_parse_example_fn=lambda record: record["title"] * length)


def test_rows_and_lines_are_parsed_by_a_function(corpus, tmp_path):
    folder, _, plain = corpus
    records = [json.loads(line) for name in "ab" for line in (folder / f"{name}.jsonl").open()]
    table = pa.Table.from_pylist([*records, {"doc": {"body": ""}, "title": "none"}])
    pq.write_table(table, tmp_path / "raw.parquet")
    command = [f"--target={folder}/target.jsonl", *of_module("target")[1:], *of_module("raw")[1:], *FLAGS, ONE]
    assert select.run([f"--raw={tmp_path}/raw.parquet", f"--output={tmp_path}/rows", *command]) == 0
    assert select.run([plain[0], f"--output={tmp_path}/lines", *command]) == 0
    assert weights(tmp_path / "rows") == weights(tmp_path / "lines") == weights(folder / "plain")
    (rejected,) = (tmp_path / "rows" / "rejected").iterdir()
    assert json.loads(rejected.read_text())["reason"] == "loaders:text_of raised ValueError: none has no body"
    lines, expected = contents(tmp_path / "lines"), contents(folder / "plain")
    assert lines["part-00000-of-00001.jsonl"] == expected["part-00000-of-00001.jsonl"]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--raw_load_dataset_fn=loaders:nothing", "--raw_load_dataset_fn: must be a function that can be imported"),
        ("--raw_load_dataset_fn=os:listdir", "--raw: os:listdir raised NotADirectoryError"),
        ("--raw_load_dataset_fn=os.path:getsize", "--raw: os.path:getsize raised TypeError: 'int' object is not iter"),
        ("--raw_load_dataset_fn=builtins:open", "--raw: builtins:open gave no dict but str as record 0 of "),
        ("--raw_parse_example_fn=builtins:len", "--raw: no text in "),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_work_starts(corpus, tmp_path, capsys, flag, message):
    _, records, _ = corpus
    assert select.run([*records, f"--output={tmp_path}/out", *FLAGS, ONE, flag]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path(tmp_path, "out").exists()


def test_estimators_are_tried_on_loaded_records(corpus, tmp_path):
    _, records, _ = corpus
    flags = ["--min_example_length=3", "--num_to_sample=5", "--max_rejected_share=0.5", ONE, "--no_progress"]
    loaders.write_records(tmp_path / "target.records", ["law"] * 40)
    loaders.write_records(tmp_path / "raw.records", ["food", "law"] * 40)
    files = [f"--raw={tmp_path}/raw.records", f"--target={tmp_path}/target.records", f"--work_dir={tmp_path}/work"]
    assert tune.run([*files, *records[2:], *flags]) == 0
