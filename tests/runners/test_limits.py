"""Every job that can be submitted is one that a cluster can plan and move.

Flink refuses a graph in which one step feeds more than 64 others, its optimizer walks every path from a source to a
sink, and an element that is sorted or sent must fit its buffers. So each job of each command is held to limits, as it
would be submitted to Flink; and run here, on one worker in this process, where each element that leaves a bundle is
measured.
"""

from collections import Counter, defaultdict

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.worker.bundle_processor import DataOutputOperation

from hir_transforms.commands import launching
from hir_transforms.graph import fitting_jobs
from hir_transforms.mixtures.em import GaussianMixture
from hir_transforms.runners import named
from hir_transforms.settings.commands import COMMANDS
from hir_transforms.settings.config import SETTINGS
from pipelines import embed, fit, resample, score, select
from tests.helpers.corpora import write_embedded
from tests.runners.capture import leaves

MAX_CONSUMERS = 32
# With all that can be computed and the report, a selection for five separate targets has 46,600. (A million, as of 20
# iterations of EM that each feed two steps, take Flink minutes to plan.)
MAX_PATHS = 50_000
MAX_JOB_BYTES = 5_000_000
MAX_ELEMENT_BYTES = 1_000_000

ON_FLINK = PipelineOptions(["--environment_type=EXTERNAL", "--environment_config=localhost:50000"])


def consumers(job):
    """The steps that read each PCollection, once for each time."""
    found = defaultdict(list)
    for leaf in leaves(job):
        for collection in leaf.inputs.values():
            found[collection].append(leaf.unique_name)
    return found


def count_paths(job):
    """Number of paths from a step without input to one without output; side inputs are edges as well."""
    producer = {collection: leaf for leaf in leaves(job) for collection in leaf.outputs.values()}
    read = consumers(job)
    paths = {}

    def paths_to(leaf):
        if leaf.unique_name not in paths:
            before = [paths_to(producer[collection]) for collection in leaf.inputs.values()]
            paths[leaf.unique_name] = sum(before) or 1
        return paths[leaf.unique_name]

    sinks = [leaf for leaf in leaves(job) if not any(read[collection] for collection in leaf.outputs.values())]
    return sum(map(paths_to, sinks))


@pytest.fixture
def submitted(monkeypatch):
    """The jobs that are run, as they would be submitted."""
    jobs = []
    run_to_end = named.run_to_end

    def run(pipeline, *watch):
        jobs.append(PortableRunner.get_proto_pipeline(pipeline, ON_FLINK))
        return run_to_end(pipeline, *watch)

    monkeypatch.setattr(launching, "run_to_end", run)
    return jobs


@pytest.fixture
def elements(monkeypatch):
    """Bytes of the largest element that leaves each step for another worker."""
    sizes = Counter()
    process = DataOutputOperation.process

    def measured(self, windowed_value):
        size = len(self.windowed_coder_impl.encode(windowed_value))
        sizes[self.name_context.step_name] = max(sizes[self.name_context.step_name], size)
        process(self, windowed_value)

    monkeypatch.setattr(DataOutputOperation, "process", measured)
    return sizes


def require_limits(jobs, elements):
    for job in jobs:
        assert job.ByteSize() < MAX_JOB_BYTES
        name, readers = max(consumers(job).items(), key=lambda item: len(item[1]))
        assert len(readers) <= MAX_CONSUMERS, (name, readers)
        assert count_paths(job) <= MAX_PATHS
    name, size = elements.most_common(1)[0]
    assert size <= MAX_ELEMENT_BYTES, name


NUM_TARGETS = 5
DOCUMENTS = {"raw": 60, **{f"target-{number}": 8 for number in range(NUM_TARGETS)}}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Raw, several targets, their embeddings and weights, and the flags that name them."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    for name, count in DOCUMENTS.items():
        texts = (" ".join(generator.choice(["ham", "eggs", "spam", name], 30)) for _ in range(count))
        (folder / f"{name}.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    for role, count in (("raw", 60), ("target", 8 * NUM_TARGETS)):
        np.save(folder / f"{role}.npy", generator.normal(size=(count, 6)).astype(np.float32))
        np.save(folder / f"{role}-weights.npy", generator.normal(size=(count, NUM_TARGETS if role == "raw" else 1)))
    targets = ",".join(f"{folder}/target-{number}.jsonl" for number in range(NUM_TARGETS))
    small = ["--raw_components=3", "--target_components=2", "--gmm_max_iter=20", "--direct_num_workers=1"]
    return folder, [f"--raw={folder}/raw.jsonl", f"--target={targets}", "--num_buckets=500", *small]


def flags_of(folder):
    """Flags by what is computed with them."""
    rows = [f"--{role}_embeddings={folder}/{role}.npy" for role in ("raw", "target")]
    weights = [f"--{part}_weights={folder}/raw-weights.npy" for part in ("ngram", "gmm")]
    everything = [*rows, "--embedding_dim=4", "--weight_scaling=standardize", "--skip_duplicates"]
    fifth = "--target_proportions=" + ",".join(["1"] * NUM_TARGETS)
    return {
        "n-grams": ["--alpha=1", "--num_tokens_to_fit=3500"],
        "embeddings": ["--alpha=0", *rows],
        "both": everything,
        "sampled": ["--alpha=0", *rows, "--raw_max_samples=40", "--target_max_samples=20"],
        "all": [*rows, "--raw_max_samples=all", "--target_max_samples=all", "--embedding_dim=4", "--gmm_tol=0"],
        "separate": [*everything, "--separate_targets"],
        "given weights": [*weights, "--separate_targets", fifth],
    }


@pytest.fixture
def large(monkeypatch):
    """Selection by refinement, and mixtures by jobs, as of a large corpus."""
    monkeypatch.setattr("hir_transforms.selection.select.MAX_TOP", 0)
    monkeypatch.setattr(fitting_jobs, "_ONE_WORKER_BYTES", 0)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("kind", flags_of(""))
def test_all_jobs_of_a_selection_are_within_the_limits(corpus, submitted, elements, tmp_path, kind):
    folder, flags = corpus
    output = ["--num_to_sample=10", "--min_example_length=0", f"--output={tmp_path / 'out'}"]
    assert select.run([*flags, *flags_of(folder)[kind], *output]) == 0
    # 20 iterations of 8 a job after the job that embeds, and the rest.
    assert len(submitted) == (1 + 3 + 1 if kind == "all" else 1)
    again = [f"--work_dir={tmp_path / 'out.work'}", "--seed=1", "--skip_duplicates", f"--output={tmp_path / 'again'}"]
    shares = [flag for flag in flags_of(folder)[kind] if flag.startswith("--target_proportions")]
    assert resample.run([*output[:2], *again, *shares]) == 0
    require_limits(submitted, elements)


@pytest.mark.parametrize("command", [embed, fit, score])
def test_the_jobs_of_parts_are_within_the_limits(corpus, submitted, elements, tmp_path, command):
    folder, flags = corpus
    rows = flags_of(folder)["embeddings"][1:]
    read = COMMANDS[command.__name__.rpartition(".")[2]].settings
    others = {f"--{name}" for name in SETTINGS if name not in read}
    flags = [flag for flag in [*flags, *rows] if flag.partition("=")[0] not in others]
    assert command.run([*flags, f"--work_dir={tmp_path / 'work'}"]) == 0
    require_limits(submitted, elements)


def test_one_job_with_a_model_is_within_the_limits(corpus, submitted, elements, tmp_path):
    _, flags = corpus
    assert embed.run([*flags[:2], "--direct_num_workers=1", f"--work_dir={tmp_path / 'work'}"]) == 0
    require_limits(submitted, elements)


def any_mixture(rows, num_components, seed):
    """Stands in for k-means, of which only the sizes matter here."""
    means = rows[:num_components].astype(np.float64)
    return GaussianMixture(np.full(num_components, 1 / num_components), means, np.ones_like(means))


def test_no_element_grows_with_the_settings(corpus, submitted, elements, tmp_path, monkeypatch):
    """Mixtures of 1000 components of 384 dimensions, 4,194,304 buckets: each is far above 1 MB as a whole."""
    monkeypatch.setattr(fitting_jobs, "_ONE_WORKER_BYTES", 0)
    monkeypatch.setattr("hir_transforms.mixtures.fitting.initial_mixture", any_mixture)
    paths = write_embedded(tmp_path, 3000, 300, dim=384)
    flags = [f"--num_buckets={1 << 22}", "--gmm_max_iter=2", "--raw_max_samples=all", "--target_max_samples=200"]
    flags += ["--raw_components=1000", "--target_components=50"]
    flags += ["--embedding_dim=384", "--direct_num_workers=1", "--num_tokens_to_sample=5000", "--min_example_length=0"]
    assert select.run([*paths, *flags, f"--output={tmp_path / 'out'}"]) == 0
    require_limits(submitted, elements)
