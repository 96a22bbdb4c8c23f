import itertools
import time

import pytest

from hir_transforms.artifacts.stages import Stage
from hir_transforms.commands import display, progress
from hir_transforms.commands.display import Line
from hir_transforms.commands.progress import Progress
from hir_transforms.documents.datasets import Dataset
from tests.helpers.corpora import jsonl
from tests.helpers.processes import wait_until


@pytest.fixture
def stages(tmp_path):
    """Those of counting, listing and mixing, of a corpus of 4 MB."""
    (tmp_path / "raw.jsonl").write_bytes(jsonl(["x" * 4_000_000]))
    raw = Dataset("raw", (f"{tmp_path}/raw.jsonl",))
    work = f"{tmp_path}/work"
    documents = Stage.create("documents", work, None, [raw])
    return [
        documents,
        Stage.create("counts/raw", work, None, [raw]),
        Stage.create("scores", work, None, upstream=[documents]),
    ]


@pytest.fixture
def shown(monkeypatch):
    """What is shown, as (name, state, text, share), the last on top."""
    found = []
    monkeypatch.setattr(progress, "show", lambda _, lines: found.insert(0, [*lines]))
    return found


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by 2 seconds whenever somebody looks."""
    ticks = itertools.count(0, 2)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))


@pytest.mark.usefixtures("clock")
def test_documents_bytes_rate_and_time_left(stages, shown):
    found = Progress.of(stages, lambda _: None)
    found.update({"counts/raw.documents": 10, "counts/raw.bytes": 1_000_000})
    found.update({"counts/raw.documents": 20, "counts/raw.bytes": 2_000_000})
    documents, counts, scores = shown[0]
    assert (documents.state, counts.state, scores.state) == ("waiting", "running", "waiting")
    assert counts.text == "20 documents, 2.0 of 4.0 MB, 0.5 MB/s, 0:04 left"
    assert counts.share == pytest.approx(0.5, abs=0.01)
    found.update({"counts/raw.documents": 40, "counts/raw.bytes": 4_000_000, "counts/raw.complete": 1})
    assert (shown[0][1].state, shown[0][1].text) == ("done", "40 documents, 4.0 MB")
    # The others know now how many there are.
    found.update({"documents.documents": 10, "documents.bytes": 1_000_000})
    assert shown[0][0].text == "10 of 40 documents, 1.0 of 4.0 MB"


@pytest.mark.usefixtures("clock")
def test_of_a_sample_the_bytes_of_the_sample_count(stages, shown):
    found = Progress.of(stages, lambda _: None)
    found.update({"counts/raw.bytes_to_read": 2_000_000, "counts/raw.documents": 1, "counts/raw.bytes": 1_000_000})
    assert shown[0][1].text == "1 documents, 1.0 of 2.0 MB"
    assert shown[0][1].share == 0.5
    found.update({"counts/raw.complete": 1, "documents.documents": 3, "documents.bytes": 1_000_000})
    assert shown[0][0].text == "3 documents, 1.0 of 4.0 MB"


@pytest.mark.usefixtures("clock")
def test_a_stage_that_fits_to_what_it_has_read_is_not_done_before(stages, shown, tmp_path):
    (tmp_path / "target.jsonl").write_bytes(jsonl(["x" * 1_000_000]))
    target = Dataset("target", (f"{tmp_path}/target.jsonl",))
    classifier = Stage.create("ngram_classifier", stages[0].work_dir, None, [target, stages[0].dataset])
    found = Progress.of([classifier], lambda _: None)
    # All of the target is read before it is known how much of raw is to be.
    found.update({"ngram_classifier.documents": 1, "ngram_classifier.bytes": 1_000_011})
    assert (shown[0][0].text, shown[0][0].share) == ("1 documents, 1.0 MB", None)
    told = {"ngram_classifier.bytes_to_read": 1_000_000, "ngram_classifier.documents": 1}
    found.update({**told, "ngram_classifier.bytes": 1_500_000})
    assert shown[0][0].text.startswith("1 documents, 1.5 of 2.0 MB, ")
    assert shown[0][0].share == pytest.approx(0.75, abs=0.01)
    # The pilot, or the estimate of compressed files, was wrong.
    found.update({**told, "ngram_classifier.bytes": 2_500_000})
    assert (shown[0][0].state, shown[0][0].share) == ("running", None)
    assert " of " not in shown[0][0].text
    found.update({"ngram_classifier.bytes": 1_900_000, "ngram_classifier.fitting": 1})
    assert shown[0][0].share is None
    assert ", fitting" in shown[0][0].text
    found.update({**told, "ngram_classifier.complete": 1})
    assert shown[0][0].state == "done"


@pytest.mark.usefixtures("clock")
def test_what_earlier_runs_have_listed_tells_how_many_documents_there_are(stages, shown):
    documents, _, scores = stages
    documents.write_manifest({"read": 30, "rejected": 5, "parts": []})
    found = Progress.of([scores], lambda _: None)
    found.update({"scores.documents": 5})
    found.update({"scores.documents": 10})
    assert shown[0][0].text == "10 of 25 documents, 2 documents/s, 0:06 left"
    assert shown[0][0].share == 0.4


def test_selection_and_output_are_shown_once_they_have_begun(stages, shown):
    found = Progress.of(stages[2:], lambda _: None)
    found.update({"scores.complete": 1})
    assert [line.name for line in shown[0]] == ["scores"]
    found.update({"selection.measured": 8, "output.documents": 2, "output.complete": 1})
    assert [(line.name, line.state) for line in shown[0][1:]] == [("selection", "done"), ("output", "done")]


def test_a_stage_is_told_of_as_soon_as_it_is_complete_and_once(stages):
    told = []
    found = Progress.of(stages, lambda stage: told.append(stage.name))
    counters = {"documents.documents": 1}
    with found.watch(lambda: counters):
        time.sleep(progress._POLL_SECONDS)
        assert told == []
        counters["documents.complete"] = 1
        assert wait_until(lambda: told, 10)
    assert told == ["documents"]
    found.end()  # of a runner that tells nothing
    assert told == ["documents", "counts/raw", "scores"]


def test_jobs_are_added_up(stages, shown):
    found = Progress.of(stages, lambda _: None)
    for _ in range(2):
        with found.watch(lambda: {"gmm/raw.iterations": 3, "documents.documents": 2}):
            pass
    assert shown[0][0].text.startswith("4 documents, ")


def test_an_interrupted_job_is_not_waited_for(stages):
    def counters():
        raise AssertionError("nobody may ask")

    with pytest.raises(KeyboardInterrupt), Progress.of(stages, lambda _: None).watch(counters):
        raise KeyboardInterrupt


def test_nothing_is_shown_where_there_is_no_display(stages):
    display.show("running")
    Progress.of(stages, lambda _: None).update({})


@pytest.mark.usefixtures("clock")
def test_a_stage_runs_once_all_that_it_waits_for_is_complete(stages, shown):
    fit = Stage.create("ngram", stages[0].work_dir, None, upstream=stages[:2])
    found = Progress.of([*stages[:2], fit], lambda _: None)
    found.update({"documents.complete": 1})
    assert shown[0][2] == Line("ngram", "waiting")
    found.update({"counts/raw.complete": 1})
    found.update({})
    assert shown[0][2] == Line("ngram", "running", "0:02")
    found.update({"ngram.complete": 1})
    assert found.seconds["ngram"] == 4
