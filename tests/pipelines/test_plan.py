"""`hir plan`: what a run would read, compute and take; nothing is changed."""

import re
import shutil

import numpy as np
import pytest

from hir_transforms.commands.probing import loading_seconds
from pipelines import plan, select
from tests.helpers.corpora import jsonl
from tests.helpers.folders import contents


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    for role, size in (("raw", 60), ("target", 20)):
        texts = [" ".join(f"word{number}" for number in row) for row in generator.integers(0, 300, (size, 30))]
        (folder / f"{role}.jsonl").write_bytes(b"no json\n" + jsonl(texts))
    return folder


def flags_of(corpus, folder, *more):
    settings = ["--num_to_sample=9", "--min_example_length=0", "--max_rejected_share=0.5", "--direct_num_workers=1"]
    paths = [f"--raw={corpus}/raw.jsonl", f"--target={corpus}/target.jsonl", f"--output={folder}/out"]
    return [*paths, *settings, *(more or ["--alpha=1"])]


@pytest.fixture
def planned(capsys):
    """Plans; returns the lines."""

    def lines_of(*flags):
        assert plan.run(flags) == 0
        return capsys.readouterr().out.splitlines()

    return lines_of


@pytest.fixture(scope="module")
def selected(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("selected")
    assert select.run(flags_of(corpus, folder)) == 0
    return folder


def rows_of(lines):
    """What becomes of each stage."""
    table = lines[lines.index(next(line for line in lines if line.startswith("work folder: "))) + 1 :]
    rows = [re.split(r"  +", line, maxsplit=2) for line in table if not line.startswith("estimate")]
    return {row[0]: row[1:] for row in rows}


def test_of_an_empty_work_folder_all_is_computed_and_nothing_is_written(corpus, tmp_path, planned):
    lines = planned(*flags_of(corpus, tmp_path))
    assert lines[0] == f"raw: 1 file, {(corpus / 'raw.jsonl').stat().st_size / 1000:.1f} kB, about 60 documents"
    assert lines[1].endswith("about 20 documents")
    names = ["documents", "counts/raw", "counts/target", "ngram", "ngram_weights", "scores"]
    assert rows_of(lines) == {name: ["computed"] for name in names}
    patterns = [
        r"estimated time: [\d:]+ on this machine as busy as it is, by 1 process; [\d:]+ of processors",
        r"estimated memory: \d+\.\d [MG]B in each process, as much in the launcher",
        r"estimated disk: \d+\.\d kB in the work folder, \d\.\d kB of output; .*B are free",
        r"estimates are of 80 documents \(.* kB\) read here now",
    ]
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, lines[-4:], strict=True))
    # What this process has done before the plan is not what a process takes to start.
    (processors,) = re.findall(r"([\d:]+) of processors", lines[-4])
    seconds = sum(60**place * int(part) for place, part in enumerate(reversed(processors.split(":"))))
    assert 0 < seconds <= 4 * loading_seconds() + 5
    assert [*tmp_path.iterdir()] == []


def test_what_is_there_is_reused_and_of_what_is_stale_the_difference_is_told(corpus, selected, planned, tmp_path):
    shutil.copytree(selected, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path)
    again = rows_of(planned(*flags_of(corpus, tmp_path), "--overwrite", "--skip_duplicates"))
    assert again.pop("duplicates") == ["computed"]
    assert {*map(tuple, again.values())} == {("reused",)}
    rows = rows_of(planned(*flags_of(corpus, tmp_path), "--overwrite", "--target_laplace_smoothing=1"))
    assert rows["counts/raw"] == rows["documents"] == ["reused"]
    assert rows["ngram"] == ["computed again", "target_laplace_smoothing 0.0, now 1.0"]
    assert rows["scores"] == ["computed again", "ngram_weights is another"]
    assert contents(tmp_path) == before


def test_what_only_a_complete_stage_needs_is_not_needed(corpus, selected, planned, tmp_path):
    shutil.copytree(selected, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "out.work" / "counts")
    rows = rows_of(planned(*flags_of(corpus, tmp_path), "--overwrite"))
    assert rows["counts/raw"] == ["not needed"]
    assert rows["ngram"] == ["reused"]


def test_a_transformer_is_probed(corpus, small_transformer, tmp_path, planned):
    flags = [f"--embedding_model={small_transformer}", "--embedding_dim=4"]
    lines = planned(*flags_of(corpus, tmp_path, *flags))
    assert {"embeddings/raw", "projection", "gmm/raw", "gmm/target-0", "gmm_weights"} < rows_of(lines).keys()
    assert lines[-1].endswith("read here now; 32 of them embedded; a usual number of EM iterations")
    assert [*tmp_path.iterdir()] == []


def test_a_static_model_is_not_distilled(corpus, small_transformer, tmp_path, planned):
    lines = planned(*flags_of(corpus, tmp_path, f"--embedding_model=static:{small_transformer}"))
    rows = rows_of(lines)
    assert rows["static_model"] == rows["embeddings/raw"] == ["computed"]
    assert "is not distilled yet" in lines[-1]
    assert [*tmp_path.iterdir()] == []


def test_what_auto_would_try(corpus, tmp_path, planned):
    rows = rows_of(planned(*flags_of(corpus, tmp_path), "--ngram_estimator=auto"))
    assert next(iter(rows)) == "trials"


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--raw=/nowhere/raw.jsonl"], "--raw: no file matches /nowhere/raw.jsonl"),
        (["--alpha=2"], "--alpha: must be between 0 and 1, not 2"),
        (["--max_rejected_share=x"], "--max_rejected_share: must be a number, not x"),
        (["--text_field=content"], "--raw: no text in "),
        (["--selected=x"], "--selected: hir plan does not read it"),
    ],
)
def test_errors_are_those_of_select(corpus, tmp_path, capsys, flags, problem):
    assert plan.run([*flags_of(corpus, tmp_path), *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hir plan: error: {problem}")
    assert [*tmp_path.iterdir()] == []


def test_an_output_that_is_in_the_way(corpus, selected, capsys):
    assert plan.run(flags_of(corpus, selected)) == 2
    assert capsys.readouterr().err.endswith("exists and is not empty; add --overwrite to replace it\n")
