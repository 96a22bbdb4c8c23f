"""`--raw_max_samples all` of a large corpus: jobs of a few iterations, which the launcher repeats."""

import pytest

from hir_transforms.commands import launching
from hir_transforms.graph import fitting_jobs
from hir_transforms.runners import named
from pipelines import select
from tests.helpers.corpora import write_embedded
from tests.helpers.folders import contents


@pytest.fixture
def by_jobs(monkeypatch):
    """Mixtures of all rows are fitted by jobs of five iterations, as of a large corpus."""
    monkeypatch.setattr(fitting_jobs, "_ONE_WORKER_BYTES", 0)
    monkeypatch.setattr("hir_transforms.mixtures.jobs.ITERATIONS_PER_JOB", 5)


@pytest.fixture
def jobs(monkeypatch):
    """Counts the jobs that are run, and interrupts the launcher before the job `jobs.interrupted`."""
    run_to_end = named.run_to_end

    class Jobs:
        run = 0
        interrupted = None

    def counted(pipeline, watch):
        if Jobs.run == Jobs.interrupted:
            raise KeyboardInterrupt
        Jobs.run += 1
        return run_to_end(pipeline, watch)

    monkeypatch.setattr(launching, "run_to_end", counted)
    return Jobs


@pytest.fixture
def run(tmp_path):
    """Selects by embeddings of all rows into a folder; returns the exit status."""
    flags = [
        *write_embedded(tmp_path, 70, 20, dim=5),
        "--alpha=0",
        "--num_to_sample=9",
        "--min_example_length=0",
        "--raw_components=3",
        "--target_components=2",
    ]
    flags += ["--gmm_max_iter=12", "--gmm_tol=0", "--embedding_dim=4", "--raw_max_samples=all"]
    flags += ["--target_max_samples=15", "--direct_num_workers=1"]
    return lambda name, *more: select.run([*flags, *more, f"--output={tmp_path / name}"])


def result(tmp_path, name):
    return contents(tmp_path / name), contents(tmp_path / f"{name}.work")


def test_jobs_change_no_byte_also_after_an_interruption(run, jobs, tmp_path, request, capsys):
    assert run("one") == 0
    assert jobs.run == 1
    request.getfixturevalue("by_jobs")
    jobs.run, jobs.interrupted = 0, 3
    assert run("jobs") == 1
    assert not (tmp_path / "jobs").exists()
    assert list((tmp_path / "jobs.work").rglob("iteration-0010.npz"))
    jobs.run, jobs.interrupted = 0, None
    capsys.readouterr()
    assert run("jobs") == 0
    # The last two iterations, and the rest; embeddings and projection are complete.
    assert jobs.run == 2
    assert "embeddings/raw, projection" in capsys.readouterr().err
    assert result(tmp_path, "jobs") == result(tmp_path, "one")


@pytest.mark.usefixtures("by_jobs")
def test_a_template_takes_a_sample_alone(run, jobs, capsys):
    assert run("out", "--template_location=gs://bucket/template.json") == 2
    assert capsys.readouterr().err == (
        "hir select: error: --raw_max_samples: a mixture is fitted to all documents by jobs that the launcher "
        "repeats, which a template cannot; give auto or a number\n"
    )
    assert jobs.run == 0
