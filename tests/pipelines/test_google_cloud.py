"""Files on gs:// and the job that `--runner=DataflowRunner` submits, over fake-gcs-server and a fake Dataflow API."""

import gzip
import json
import os
import tarfile
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2

from hir_transforms.common.errors import UserError
from hir_transforms.files import storage
from pipelines import embed, select
from tests.helpers.arrow import write_arrow
from tests.helpers.folders import contents
from tests.helpers.google_cloud import find_emulator, google_cloud
from tests.helpers.object_stores import arguments, write_inputs

pytestmark = pytest.mark.skipif(
    find_emulator() is None and not os.environ.get("HIR_REQUIRE_FAKE_GCS"),
    reason="no fake-gcs-server: 'make tools' installs it (Go is needed)",
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with raw.jsonl.gz, target.jsonl, raw.npy and target.npy."""
    folder = tmp_path_factory.mktemp("gcs")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def cloud(inputs, tmp_path_factory):
    """The buckets `data`, with the inputs, and `staging`."""
    with google_cloud(tmp_path_factory.mktemp("keys")) as fake:
        fake.make_bucket("data")
        fake.make_bucket("staging")
        for path in inputs.iterdir():
            if path.is_file():
                fake.put("data", path.name, path.read_bytes())
        yield fake
        FileSystems.set_options(PipelineOptions([]))


@pytest.fixture(scope="module")
def selected(cloud, inputs):
    """The same selection in `out` of the bucket, by two worker processes, and of the local folder."""
    assert select.run(arguments(inputs, "out")) == 0
    assert select.run(arguments("gs://data", "out", workers=2)) == 0


def test_the_selection_is_that_of_a_local_run_byte_for_byte(cloud, selected, inputs):
    on_gcs, local = cloud.contents("data", "out"), contents(inputs / "out")
    assert on_gcs.keys() == local.keys()
    assert on_gcs["part-00000-of-00001.jsonl"] == local["part-00000-of-00001.jsonl"]
    made_on_gcs, made = cloud.contents("data", "out.work"), contents(inputs / "out.work")
    assert made_on_gcs.keys() == made.keys()
    for name in ("ngram/estimator.npz", "gmm/raw.npz", "gmm/target-0.npz"):
        assert made_on_gcs[name] == made[name]
    assert not cloud.contents("data", "out.incomplete")


def test_another_run_skips_what_is_finished_and_overwrites_if_told(cloud, selected, capsys):
    command = arguments("gs://data", "out")
    assert select.run(command) == 2
    assert "exists and is not empty; add --overwrite" in capsys.readouterr().err
    before = cloud.contents("data", "out")["part-00000-of-00001.jsonl"]
    assert select.run([*command, "--overwrite", "--num_shards=4"]) == 0
    assert "ngram_weights, embeddings/raw, gmm/raw" in capsys.readouterr().err
    after = cloud.contents("data", "out")
    assert b"".join(after[f"part-{shard:05d}-of-00004.jsonl"] for shard in range(4)) == before
    assert "part-00000-of-00001.jsonl" not in after


def test_rows_of_parquet_and_arrow_are_those_of_local_files(cloud, inputs, tmp_path):
    with gzip.open(inputs / "raw.jsonl.gz") as lines:
        table = pa.table({"text": [json.loads(line)["text"] for line in lines]})
    pq.write_table(table.slice(0, 50), tmp_path / "rows-0.parquet", row_group_size=20)
    write_arrow(tmp_path / "rows-1.arrow", table.slice(50), 30)
    for path in tmp_path.iterdir():
        cloud.put("data", f"rows/{path.name}", path.read_bytes())
    flags = [f"--target={inputs}/target.jsonl", "--num_to_sample=20", "--alpha=1", "--num_tokens_to_fit=3000"]
    for folder, output, workers in ((tmp_path, tmp_path / "out", 1), ("gs://data/rows", "gs://data/rows-out", 2)):
        given = [f"--raw={folder}/rows-*", f"--output={output}", f"--direct_num_workers={workers}"]
        assert select.run([*given, *flags]) == 0
    on_gcs, local = cloud.contents("data", "rows-out"), contents(tmp_path / "out")
    assert on_gcs["part-00000-of-00001.parquet"] == local["part-00000-of-00001.parquet"]


def test_what_is_missing_is_one_line(cloud, capsys, monkeypatch):
    def message(*flags):
        assert select.run([*arguments("gs://data", "new"), *flags]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "there is no such bucket" in message("--raw=gs://nowhere/a.jsonl")
    assert "no file matches gs://data/nothing*" in message("--raw=gs://data/nothing*")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    assert "/nowhere.json was not found" in message()


def test_what_cannot_be_deleted_is_an_error(cloud, monkeypatch):
    cloud.put("data", "kept/a", b"")
    monkeypatch.setattr(GCSFileSystem, "delete", lambda self, paths: None)
    with pytest.raises(UserError, match=r"cannot delete gs://data/kept: 1 files are still there"):
        storage.remove_folder("gs://data/kept")


DATAFLOW = [
    "--runner=DataflowRunner",
    "--project=project",
    "--region=us-central1",
    "--temp_location=gs://staging/temp",
    "--job_name=hir-test",
    "--machine_type=n2-highmem-8",
    "--num_workers=3",
    "--max_num_workers=40",
    "--disk_size_gb=100",
    "--number_of_worker_harness_threads=1",
    "--sdk_container_image=registry.example/hir:1",
    "--service_account_email=worker@project.iam.gserviceaccount.com",
]


@pytest.fixture
def no_work(cloud):
    """Nothing of an earlier test in the output's place."""
    for folder in ("job", "job.work"):
        storage.remove_folder(f"gs://data/{folder}")


def submitted_pipeline(cloud):
    (name,) = [name for name in cloud.contents("staging", "temp") if name.endswith("/pipeline.pb")]
    return beam_runner_api_pb2.Pipeline.FromString(cloud.contents("staging", "temp")[name])


@pytest.mark.parametrize("how", ["submitted", "template"])
def test_the_job_that_dataflow_gets(cloud, no_work, capsys, monkeypatch, how):
    storage.remove_folder("gs://staging/temp")
    cloud.jobs.clear()
    command = arguments("gs://data", "job", *DATAFLOW, f"--dataflow_endpoint={cloud.address}")
    command += ["--setup_file=./setup.py"]
    if how == "template":
        assert select.run([*command, "--template_location=gs://staging/launch/job_object"]) == 0
        assert not cloud.jobs
        job = json.loads(cloud.contents("staging", "launch")["job_object"])
    else:
        # The fake's job is done at once and has written nothing, which the report then says.
        assert select.run(command) == 2
        assert "cannot read gs://data/job/manifest.json" in capsys.readouterr().err
        (job,) = cloud.jobs
        assert cloud.authorizations == ["Bearer token"]
        assert cloud.metrics_asked  # and not told: no reason to end the job
    assert job["name"] == "hir-test"
    environment = job["environment"]
    assert environment["serviceAccountEmail"] == "worker@project.iam.gserviceaccount.com"
    (pool,) = environment["workerPools"]
    assert (pool["numWorkers"], pool["autoscalingSettings"]["maxNumWorkers"]) == (3, 40)
    assert (pool["machineType"], pool["diskSizeGb"], pool["numThreadsPerWorker"]) == ("n2-highmem-8", 100, 1)
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == ["registry.example/hir:1"]
    options = environment["sdkPipelineOptions"]["options"]
    assert options["output"] == "gs://data/job"
    assert options["pipelineUrl"].endswith("/pipeline.pb")
    staged = cloud.contents("staging", "temp")
    (sdist,) = [content for name, content in staged.items() if name.endswith("/workflow.tar.gz")]
    with tarfile.open(fileobj=BytesIO(sdist)) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert "hir_transforms/files/storage.py" in names
    assert "pipelines/select.py" in names
    pipeline = submitted_pipeline(cloud)
    steps = {step.unique_name.partition("/")[0] for step in pipeline.components.transforms.values()}
    assert {"Score", "Select", "Write", "RawEmbeddings", "TargetEmbeddings", "RawMixture", "TargetMixture0"} <= steps
    (docker,) = [
        beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
        for environment in pipeline.components.environments.values()
        if environment.urn == "beam:env:docker:v1"
    ]
    assert docker.container_image == "registry.example/hir:1"


def test_embed_submits_its_job_too(cloud, no_work, capsys):
    storage.remove_folder("gs://staging/temp")
    flags = ["--raw=gs://data/raw.jsonl.gz", "--work_dir=gs://data/job.work", *DATAFLOW]
    launch = ["--template_location=gs://staging/launch/embed", f"--dataflow_endpoint={cloud.address}"]
    assert embed.run([*flags, *launch]) == 0
    assert "embed" in cloud.contents("staging", "launch")
    assert submitted_pipeline(cloud).components.transforms
