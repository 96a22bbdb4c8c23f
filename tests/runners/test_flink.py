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

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer
from apache_beam.runners.portability.fn_api_runner.worker_handlers import StateServicer

from hir_transforms.numerics.gmm import GaussianMixture
from pipelines import select
from tests.runners.capture import Submitted

BY_THE_RUNNER = {
    "beam:transform:flatten:v1",
    "beam:transform:group_by_key:v1",
    "beam:transform:impulse:v1",
    "beam:transform:reshuffle:v1",
}
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
MAX_SIDE_INPUT_BYTES = 8 << 20
# A job of more than 10 MB is refused by Dataflow, and slow to submit anywhere.
MAX_JOB_BYTES = 10 << 20


UNROLLED_ITERATIONS = 10


@pytest.fixture(scope="module", params=["one worker", "unrolled"])
def job(request, selection):
    """The job of a whole selection, whichever way EM goes, with the most buckets that there can be.

    The default of 100 iterations takes long to lay out.
    """
    unrolled = request.param == "unrolled"
    paths = [f"--raw={selection.raw}", f"--target={selection.target}", f"--output={selection.folder / 'flink job'}"]
    given = [f"--{role}_embeddings={selection.folder / role}.npy" for role in ("raw", "target")]
    flags = ["--runner=tests.runners.capture.CapturingFlinkRunner", "--num_to_sample=30", "--embedding_dim=8"]
    flags += ["--environment_type=EXTERNAL", "--environment_config=localhost:50000"]
    flags += [f"--gmm_max_iter={UNROLLED_ITERATIONS}", f"--num_buckets={1 << 24}"]
    with pytest.MonkeyPatch.context() as patch:
        if unrolled:
            patch.setattr("pipelines.embedding_graph._UNROLL_BYTES", 0)
        with pytest.raises(Submitted) as submitted:
            select.run([*paths, *given, *flags])
    pipeline = submitted.value.pipeline
    names = {transform.unique_name for transform in pipeline.components.transforms.values()}
    assert any(name.endswith(f"Maximization{UNROLLED_ITERATIONS}") for name in names) == unrolled
    return pipeline


def leaves(job):
    """The transforms that are executed: what the runner knows by itself, else the innermost ones."""

    def visit(name):
        transform = job.components.transforms[name]
        if transform.spec.urn in BY_THE_RUNNER or not transform.subtransforms:
            yield transform
        else:
            for part in transform.subtransforms:
                yield from visit(part)

    return [leaf for root in job.root_transform_ids for leaf in visit(root)]


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
    assert len(payloads) > 50
    for payload in payloads:
        assert not payload.state_specs
        assert not payload.timer_family_specs
        assert not payload.restriction_coder_id
        assert not payload.requires_time_sorted_input
        assert not payload.requires_stable_input


def test_side_inputs_are_read_as_flink_reads_them(job):
    patterns = {side.access_pattern.urn for payload in par_dos(job) for side in payload.side_inputs.values()}
    assert patterns <= SIDE_INPUTS


def test_the_job_of_all_iterations_is_small(job):
    assert job.ByteSize() * 100 / UNROLLED_ITERATIONS < MAX_JOB_BYTES


def any_mixture(rows, num_components, seed):
    """Stands in for k-means, of which only the sizes matter here."""
    means = rows[:num_components].astype(np.float64)
    return GaussianMixture(np.full(num_components, 1 / num_components), means, np.ones_like(means))


def test_no_side_input_of_the_default_sizes_is_large(tmp_path, monkeypatch):
    """1000 and 50 components of 384 dimensions, 10,000 buckets: every side input as it is sent, measured."""
    sizes = {}
    append = StateServicer.append_raw

    def measured(self, key, data):
        for side_input in (key.iterable_side_input, key.multimap_side_input):
            if side_input.transform_id:
                name = (side_input.transform_id, side_input.side_input_id)
                sizes[name] = sizes.get(name, 0) + len(data)
        return append(self, key, data)

    generator = np.random.default_rng(0)
    # As many as the sample that EM starts from.
    for role, documents in (("raw", 10_000), ("target", 5_000)):
        lines = [f'{{"text": "word{number} and {role}"}}\n' for number in range(documents)]
        (tmp_path / f"{role}.jsonl").write_text("".join(lines))
        np.save(tmp_path / f"{role}.npy", generator.normal(size=(documents, 384)).astype(np.float32))
    paths = [f"--{role}={tmp_path / role}.jsonl" for role in ("raw", "target")]
    paths += [f"--{role}_embeddings={tmp_path / role}.npy" for role in ("raw", "target")]
    flags = ["--num_to_sample=10", "--min_example_length=0", "--gmm_max_iter=1", "--direct_num_workers=1"]
    monkeypatch.setattr("pipelines.embedding_graph._UNROLL_BYTES", 0)
    monkeypatch.setattr("hir_transforms.gmm_fitting.initial_mixture", any_mixture)
    monkeypatch.setattr(StateServicer, "append_raw", measured)
    assert select.run([*paths, *flags, f"--output={tmp_path / 'out'}"]) == 0
    assert 2 * 1000 * 384 * 8 < max(sizes.values()) < MAX_SIDE_INPUT_BYTES  # means and variances of raw at least


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
