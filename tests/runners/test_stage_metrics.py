"""The metrics of every stage, which are those of its manifest on every runner."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.metrics.metric import MetricResults, MetricsFilter

from hir_transforms.commands.launching import build_selection
from hir_transforms.graph.plan import plan_stages
from hir_transforms.graph.selection import SelectionPlan
from hir_transforms.settings.flags import config_of, parse_options
from pipelines.select import compose
from tests.helpers.corpora import jsonl

SIZES = {"raw": 400, "target": 60}
RUNNERS = {
    "one": ["--direct_num_workers=1"],
    "two": ["--direct_num_workers=2"],
    "prism": ["--runner=PrismRunner"],
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Flags of documents of 5 to 24 words, two bad lines, two equal texts, and an embedding that is not finite."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    flags = []
    for role, size in SIZES.items():
        texts = [
            " ".join(f"word{number}" for number in generator.integers(0, 300, 5 + place % 20)) for place in range(size)
        ]
        texts[-1] = texts[-2]
        rows = generator.normal(size=(size, 8)).astype(np.float32)
        rows[3] = np.nan
        (folder / f"{role}.jsonl").write_bytes(b'no json\n{"text": 1}\n' + jsonl(texts))
        np.save(folder / f"{role}.npy", rows)
        flags += [f"--{role}={folder}/{role}.jsonl", f"--{role}_embeddings={folder}/{role}.npy"]
    return [*flags, "--raw_components=3", "--target_components=2", "--min_example_length=10", "--gmm_max_iter=3"]


@pytest.fixture(scope="module", params=RUNNERS)
def run(request, corpus, tmp_path_factory):
    """The folder of a run on a runner, and its metrics, by their kind and name."""
    if request.param == "prism":
        request.getfixturevalue("prism")
    folder = tmp_path_factory.mktemp(request.param)
    given = [*corpus, f"--output={folder}/out", "--num_to_sample=50", "--num_shards=2", "--skip_duplicates"]
    options = parse_options([*given, *RUNNERS[request.param]], "select")
    config = config_of(options, "select")
    stages = plan_stages(config)
    (job,) = build_selection(options, SelectionPlan.of(config, stages), stages, compose).jobs
    result = job.run()
    result.wait_until_finish()
    told = result.metrics().query(MetricsFilter().with_namespace("hir"))
    return folder, {
        kind: {one.key.metric.name: one.result for one in told[kind]}
        for kind in (MetricResults.COUNTERS, MetricResults.DISTRIBUTIONS)
    }


def counts(folder, stage):
    return json.loads((folder / "out.work" / stage / "_manifest.json").read_bytes())["counts"]


def counters(run, stage):
    """The counters of a stage, without its name."""
    names = run[1][MetricResults.COUNTERS]
    return {name[len(stage) + 1 :]: value for name, value in names.items() if name.startswith(f"{stage}.")}


def reasons(manifest):
    return {f"rejected.{reason}": number for reason, number in manifest["reasons"].items()}


@pytest.mark.parametrize("stage", ["counts/raw", "counts/target"])
def test_of_counting(run, stage):
    told = counts(run[0], stage)
    assert sum(told["reasons"].values()) == 2
    expected = {name: told[name] for name in ("documents", "bytes")} | reasons(told) | {"complete": 1}
    assert counters(run, stage) == expected


def test_of_the_list_of_documents(run):
    told = counts(run[0], "documents")
    found = counters(run, "documents")
    assert found.pop("bytes") == counts(run[0], "counts/raw")["bytes"]
    assert found == {"documents": told["read"] - told["rejected"], "complete": 1} | reasons(told)
    parts = [pq.read_table(path) for path in (run[0] / "out.work" / "documents").glob("*.parquet")]
    tokens = np.concatenate([part["num_tokens"].to_numpy() for part in parts])
    told = run[1][MetricResults.DISTRIBUTIONS]["documents.tokens"]
    assert (told.count, told.sum, told.min, told.max) == (len(tokens), tokens.sum(), tokens.min(), tokens.max())


@pytest.mark.parametrize("role", SIZES)
def test_of_embeddings(run, role):
    told = counts(run[0], f"embeddings/{role}")
    found = counters(run, f"embeddings/{role}")
    assert found["embedded"] == told["documents"] == SIZES[role] - 1
    assert found["shards"] == len(told["shards"])
    assert found["documents"] == told["read"] - told["rejected"]
    assert found.items() >= reasons(told).items()


@pytest.mark.parametrize("mixture", ["raw", "target-0"])
def test_of_fitting(run, mixture):
    told = counts(run[0], f"gmm/{mixture}")
    assert counters(run, f"gmm/{mixture}") == {"iterations": told["iterations"], "complete": 1}


@pytest.mark.parametrize(
    ("stage", "column"), [("ngram_weights", "ngram"), ("gmm_weights", "gmm"), ("scores", "weight")]
)
def test_of_weights(run, stage, column):
    told = counts(run[0], stage)
    assert counters(run, stage)["documents"] == told["read"] - told["rejected"]
    scores = [pq.read_table(path) for path in (run[0] / "out.work" / "scores").glob("*.parquet")]
    weights = np.rint(1000 * np.concatenate([part[column].to_numpy() for part in scores]))
    found = run[1][MetricResults.DISTRIBUTIONS][f"{stage}.weight_thousandths"]
    if stage == "ngram_weights":  # which the document without an embedding has, too
        assert (found.count, found.max >= weights.max()) == (SIZES["raw"], True)
    else:
        assert (found.count, found.sum, found.min, found.max) == (
            *(len(weights), weights.sum(), weights.min(), weights.max()),
        )


def test_of_the_selection(run):
    manifest = json.loads((run[0] / "out" / "manifest.json").read_bytes())
    told = {name: number for name, number in manifest["counts"].items() if number}
    assert {"rejected", "short", "duplicate", "eligible", "selected"} <= told.keys()
    written = {
        "documents": told["selected"],
        "shards": 2,
        "bytes": sum(shard["bytes"] for shard in manifest["shards"]),
    }
    assert counters(run, "output") == told | written | {"complete": 1}
    assert counters(run, "duplicates") == {"duplicates": 1, "complete": 1}
    assert counters(run, "selection")["picked"] == told["selected"]
