"""What can be said of Flink without Flink, from the job that would be submitted; and a run where there is one.

The names of transforms, coders and environments come from Beam's sources (apache/beam, Java):

- `FlinkBatchPortablePipelineTranslator` (Flink 1.x) and `FlinkStreamingPortablePipelineTranslator` (Flink 2.x) know
  the transforms that the runner itself executes;
- `GreedyPCollectionFusers` (in `util/construction/graph`) knows those that run in a worker, fused to executable
  stages; `QueryablePipeline` lists the same ones as primitives;
- `ModelCoders` has the coders that a runner understands; others are wrapped as length-prefixed bytes
  (`LengthPrefixUnknownCoders`);
- `Environments` has the environments, `BatchSideInputHandlerFactory` the ways to read a side input.
"""

import os
import shutil

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer

from pipelines import embed, select
from tests.runners.capture import BY_THE_RUNNER, Submitted, leaves

PAR_DO = "beam:transform:pardo:v1"
BY_WORKERS = {
    PAR_DO,
    "beam:transform:combine_per_key_precombine:v1",
    "beam:transform:combine_per_key_merge_accumulators:v1",
    "beam:transform:combine_per_key_extract_outputs:v1",
    "beam:transform:window_into:v1",
}
MODEL_CODERS = {
    f"beam:coder:{name}:v1"
    for name in (
        *("bytes", "bool", "varint", "string_utf8", "double", "iterable", "kv", "length_prefix", "nullable", "row"),
        *("global_window", "interval_window", "custom_window", "windowed_value", "param_windowed_value"),
        *("state_backed_iterable", "sharded_key", "timer"),
    )
}
# Python's own, which no step of the job that Flink executes itself looks into.
PYTHON_CODERS = {"beam:coder:pickled_python:v1", "beam:coder:tuple:v1"}
ENVIRONMENTS = {"beam:env:docker:v1", "beam:env:external:v1", "beam:env:process:v1"}
SIDE_INPUTS = {"beam:side_input:iterable:v1", "beam:side_input:multimap:v1"}


@pytest.fixture(scope="module", params=["40", "all"])
def job(request, selection):
    """The job of a whole selection, or the first of a fit to all rows, with the most buckets there can be."""
    paths = [f"--raw={selection.raw}", f"--target={selection.target}"]
    given = [f"--{role}_embeddings={selection.folder / role}.npy" for role in ("raw", "target")]
    settings = [*paths, *given, "--embedding_dim=8", f"--num_buckets={1 << 24}", f"--raw_max_samples={request.param}"]
    flags = ["--runner=tests.runners.capture.CapturingFlinkRunner", "--num_to_sample=3000"]
    flags += ["--environment_type=EXTERNAL", "--environment_config=localhost:50000"]
    work = f"--work_dir={selection.folder / 'flink work'}"
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "all":
            assert embed.run([*paths, *given, work]) == 0
            patch.setattr("hir_transforms.graph.fitting_jobs._ONE_WORKER_BYTES", 0)
            settings.remove("--embedding_dim=8")
        with pytest.raises(Submitted) as submitted:
            select.run([*settings, *flags, work, f"--output={selection.folder / 'flink job'}"])
    pipeline = submitted.value.pipeline
    names = [transform.unique_name for transform in pipeline.components.transforms.values()]
    assert any(name.endswith("Maximization8") for name in names) == (request.param == "all")
    return pipeline


def par_dos(job):
    return [
        beam_runner_api_pb2.ParDoPayload.FromString(leaf.spec.payload)
        for leaf in leaves(job)
        if leaf.spec.urn == PAR_DO
    ]


def test_all_transforms_are_ones_that_flink_translates(job):
    assert {leaf.spec.urn for leaf in leaves(job)} <= BY_THE_RUNNER | BY_WORKERS


def test_workers_run_in_an_environment_that_flink_starts(job):
    environments = job.components.environments
    used = {leaf.environment_id for leaf in leaves(job) if leaf.spec.urn in BY_WORKERS}
    assert {environments[name].urn for name in used} <= ENVIRONMENTS
    assert len(used) == 1


def test_flink_finds_the_key_of_what_it_groups(job):
    coders, collections = job.components.coders, job.components.pcollections
    grouped = [leaf for leaf in leaves(job) if leaf.spec.urn == "beam:transform:group_by_key:v1"]
    assert grouped
    for leaf in grouped:
        (collection,) = leaf.inputs.values()
        assert coders[collections[collection].coder_id].spec.urn == "beam:coder:kv:v1"


def test_coders_are_flinks_or_opaque_to_it(job):
    """What Flink does not know it passes on as bytes."""
    assert {coder.spec.urn for coder in job.components.coders.values()} <= MODEL_CODERS | PYTHON_CODERS


def test_no_state_no_timers_no_splittable_functions(job):
    payloads = par_dos(job)
    assert len(payloads) > 40
    for payload in payloads:
        assert not payload.state_specs
        assert not payload.timer_family_specs
        assert not payload.restriction_coder_id
        assert not payload.requires_time_sorted_input
        assert not payload.requires_stable_input


def test_side_inputs_are_read_as_flink_reads_them(job):
    patterns = {side.access_pattern.urn for payload in par_dos(job) for side in payload.side_inputs.values()}
    assert patterns <= SIDE_INPUTS


@pytest.fixture(scope="session")
def flink_jar():
    """Beam's job server for Flink: `HIR_FLINK_JOB_SERVER_JAR`, or what Beam downloads."""
    if shutil.which("java") is None:
        pytest.skip("Flink needs Java")
    if jar := os.environ.get("HIR_FLINK_JOB_SERVER_JAR"):
        return jar
    server = FlinkJarJobServer(PipelineOptions(["--flink_version=1.20"]))
    try:
        return server.local_jar(server.path_to_jar())
    except RuntimeError as error:
        pytest.skip(f"{str(error).splitlines()[0]}; HIR_FLINK_JOB_SERVER_JAR can name the jar")


@pytest.mark.parametrize("place", ["loopback", "pool"])
def test_flink_changes_no_byte(selection, worker_pool, flink_jar, place):
    flags = worker_pool.flags if place == "pool" else ["--environment_type=LOOPBACK"]
    flags += ["--runner=FlinkRunner", "--flink_master=[local]", "--parallelism=2", "--flink_version=1.20"]
    assert selection.run(f"flink {place}", *flags, f"--flink_job_server_jar={flink_jar}") == 0
    assert selection.result(f"flink {place}") == selection.result("local")
