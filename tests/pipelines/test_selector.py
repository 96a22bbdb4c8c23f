"""Selections from Python: settings, steps, results, errors; in a script and in a notebook."""

import inspect
import json
import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms import Selection, UserError
from hir_transforms.commands.docstring_corpus import write_corpus
from hir_transforms.settings.config import SETTINGS
from pipelines import evaluate, select
from pipelines.selector import Selector
from tests.helpers.folders import contents
from tests.helpers.notebook import needs_notebook, run_python


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Of a selection by n-grams from 120 documents."""
    raw, target = write_corpus(tmp_path_factory.mktemp("corpus") / "docstrings", {"numpy": 80, "scikit-learn": 40}, 20)
    return {"raw": [raw], "target": target, "alpha": 1, "min_example_length": 20}


@pytest.fixture(scope="module")
def selected(settings, tmp_path_factory):
    """A selector, and what it has selected."""
    selector = Selector(**settings, options=["--direct_num_workers=1"])
    return selector, selector.select(output=tmp_path_factory.mktemp("selected") / "out", num_to_sample=15)


def flags(settings):
    raw, target = settings["raw"][0], settings["target"]
    return [f"--raw={raw}", f"--target={target}", "--alpha=1", "--min_example_length=20", "--direct_num_workers=1"]


def test_a_selection_is_that_of_the_command(settings, selected, tmp_path):
    assert select.run([*flags(settings), f"--output={tmp_path / 'out'}", "--num_to_sample=15"]) == 0
    assert contents(Path(selected[1].folder)) == contents(tmp_path / "out")


def test_a_selection_gives_its_documents_its_table_and_its_manifest(selected):
    _, selection = selected
    documents = [*selection.documents()]
    written = [line for path in selection.files for line in Path(path).read_text("utf-8").splitlines()]
    assert [*map(json.loads, written)] == documents
    assert selection.table.num_rows == len(documents) == selection.counts["selected"] == 15
    assert {"file", "offset", "weight"} <= {*selection.table.column_names}
    assert selection.manifest == json.loads(Path(selection.folder, "manifest.json").read_text())
    assert repr(selection) == f"Selection({selection.folder!r})"
    assert "<th>selected</th><td>15</td>" in selection._repr_html_()
    assert [*Selection(selection.folder).documents()] == documents


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_documents_are_read(selected, tmp_path, compression):
    selector, selection = selected
    again = selector.resample(output=tmp_path / "out", num_to_sample=15, compression=compression)
    assert [*again.documents()] == [*selection.documents()]


def test_rows_of_parquet_are_read(settings, selected, tmp_path):
    records = [json.loads(line) for line in settings["raw"][0].read_text("utf-8").splitlines()]
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "raw.parquet")
    rows = Selector(**{**settings, "raw": tmp_path / "raw.parquet"}, options=["--direct_num_workers=1"])
    found = rows.select(output=tmp_path / "out", num_to_sample=15, top_k=True)
    best = selected[0].resample(output=tmp_path / "best", num_to_sample=15, top_k=True)
    assert [*found.documents()] == [*best.documents()]
    assert len(found.files) == 1
    assert found.files[0].endswith(".parquet")


def test_steps_share_the_work_folder(settings, tmp_path, capsys):
    selector = Selector(**settings, work_dir=tmp_path / "work", options=["--direct_num_workers=1"])
    assert selector.fit() is selector
    scores = selector.score()
    assert scores.counts["read"] == 120
    assert scores.table.num_rows == 120
    assert "ngram" in scores.table.column_names
    computed = (tmp_path / "work" / "scores" / "_manifest.json").stat().st_mtime_ns
    selection = selector.select(output=tmp_path / "out", num_to_sample=5, top_k=True)
    assert (tmp_path / "work" / "scores" / "_manifest.json").stat().st_mtime_ns == computed
    best = scores.table.sort_by([("weight", "descending")])["weight"][:5]
    assert sorted(selection.table["weight"].to_pylist()) == sorted(best.to_pylist())
    assert capsys.readouterr().out == ""


def test_the_work_folder_of_the_first_selection_stays_in_use(selected, tmp_path):
    selector, _ = selected
    again = selector.resample(output=tmp_path / "again", num_to_sample=3, seed=1)
    assert again.counts["selected"] == 3
    assert os.listdir(tmp_path) == ["again"]


def test_beams_options_may_be_an_object(settings, selected, tmp_path):
    options = PipelineOptions(direct_num_workers=2, experiments=["one", "two"])
    selection = Selector(**settings, options=options).select(output=tmp_path / "out", num_to_sample=15)
    assert contents(Path(selection.folder)) == contents(Path(selected[1].folder))


def test_selections_are_measured(settings, selected, tmp_path):
    selector, selection = selected
    command = [f"--raw={settings['raw'][0]}", f"--target={settings['target']}", f"--json={tmp_path / 'measures.json'}"]
    both = [f"--selected={selection.folder}", f"--selected={settings['target']}"]
    assert evaluate.run([*command, *both, "--direct_num_workers=1"]) == 0
    found = selector.evaluate(selection, settings["target"])
    assert found.measures == json.loads((tmp_path / "measures.json").read_text())
    assert "KL reduction" in str(found)
    assert found._repr_html_().startswith("<pre>selected 1: ")
    selector.evaluate(selected=selection.folder, json=tmp_path / "one.json")
    assert len(json.loads((tmp_path / "one.json").read_text())["selections"]) == 1


@pytest.mark.parametrize(
    ("changes", "name", "message"),
    [
        ({"alpha": 2}, "alpha", "alpha: must be between 0 and 1, not 2"),
        ({"raw": "/nowhere/*.jsonl"}, "raw", "raw: no file matches /nowhere/*.jsonl"),
        ({"target": None}, "target", "target is required"),
        ({"num_to_sample": None}, "num_to_sample", "num_to_sample is required"),
        ({"num_to_sample": 1000}, "num_to_sample", "num_to_sample: 1000 documents asked for, but only "),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_names_the_setting_and_no_flag(settings, tmp_path, workers, changes, name, message):
    options = [f"--direct_num_workers={workers}"]
    with pytest.raises(UserError) as caught:
        Selector(**{**settings, "num_to_sample": 5, **changes}, options=options).select(output=tmp_path / "out")
    assert caught.value.setting == name
    assert str(caught.value).startswith(message)
    assert "--" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_setting_that_there_is_none_of_is_an_error(settings, selected):
    with pytest.raises(TypeError, match="no setting of the name alhpa"):
        Selector(**settings, alhpa=1)
    with pytest.raises(TypeError, match="no setting of the name number"):
        selected[0].select(number=1)
    with pytest.raises(UserError, match=r"num_to_sample: hir fit does not read it"):
        selected[0].fit(num_to_sample=1)


def test_what_is_gone_is_an_error(tmp_path):
    for act in (lambda selection: selection.manifest, lambda selection: next(selection.documents())):
        with pytest.raises(UserError, match=f"no complete selection in {tmp_path}"):
            act(Selection(str(tmp_path)))


def test_its_signature_shows_every_setting_with_its_default():
    parameters = inspect.signature(Selector).parameters
    assert {"options", *SETTINGS} == {*parameters}
    assert parameters["alpha"].default == SETTINGS["alpha"].default


PROGRAM = """
from hir_transforms import Selector

settings = {settings}
selection = Selector(**settings, options=["--direct_num_workers=2"]).select(output={output!r}, num_to_sample=15)
"""


def program(settings, output):
    plain = {**settings, "raw": [str(path) for path in settings["raw"]], "target": str(settings["target"])}
    return PROGRAM.format(settings=plain, output=str(output))


@needs_notebook
def test_a_script_needs_no_main(settings, selected, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(program(settings, tmp_path / "out") + "print(selection.to_pandas()['weight'].tolist())\n")
    assert json.loads(run_python(str(path))) == selected[1].table["weight"].to_pylist()
    assert contents(tmp_path / "out") == contents(Path(selected[1].folder))


RUN_NOTEBOOK = """
import json, sys
import nbformat
from nbclient import NotebookClient

cells = [nbformat.v4.new_code_cell(cell) for cell in json.load(open(sys.argv[1]))]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
print(json.dumps(notebook.cells[-1].outputs[-1]))
"""


@needs_notebook
def test_a_notebook_shows_what_was_counted(settings, selected, tmp_path):
    (tmp_path / "cells.json").write_text(json.dumps([program(settings, tmp_path / "out"), "selection"]))
    shown = json.loads(run_python("-c", RUN_NOTEBOOK, str(tmp_path / "cells.json")))
    assert shown["data"]["text/html"] == Selection(str(tmp_path / "out"))._repr_html_()
    assert contents(tmp_path / "out") == contents(Path(selected[1].folder))


def test_without_pandas_it_is_named(selected, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"to_pandas\(\) needs pandas, not installed here: pip install 'hir-beam"):
        selected[1].to_pandas()
    assert isinstance(selected[1].table, pa.Table)
