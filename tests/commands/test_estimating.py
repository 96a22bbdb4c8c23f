import numpy as np
import pytest

from hir_transforms.artifacts.stages import missing_stages
from hir_transforms.commands.estimating import Amounts, Estimator
from hir_transforms.commands.probing import DatasetProbe
from hir_transforms.graph.plan import plan_stages
from hir_transforms.settings.config import PipelineConfig
from tests.helpers.corpora import jsonl

PROBE = DatasetProbe(1000, ["text"] * 10, np.full(10, 20), np.full(10, 99), reading=1e-6, counting=2e-6, wall=1.0)
AMOUNTS = {role: Amounts(1, 10**9, 10**9, 10**7, PROBE) for role in ("raw", "target")}


@pytest.fixture
def config(tmp_path):
    paths = {role: tmp_path / f"{role}.jsonl" for role in ("raw", "target")}
    for path in paths.values():
        path.write_bytes(jsonl(["a text"]))
    given = {role: str(path) for role, path in paths.items()}
    return PipelineConfig.of(**given, output=str(tmp_path / "out"), alpha=1.0, num_to_sample=9, min_example_length=0)


def estimate(config, missing, workers=1, amounts=AMOUNTS):
    return Estimator(config, amounts, None, missing, starting=2.0, memory=10**8).estimate(workers)


def test_costs_add_up(config):
    missing = missing_stages([plan_stages(config).scores])
    found = estimate(config, missing)
    assert [*found.costs] == [stage.name for stage in missing]
    for name in ("counts/raw", "counts/target", "documents", "scores"):
        assert found.costs[name].spread > 0
    assert found.work_bytes == sum(cost.disk for cost in found.costs.values())
    nothing = estimate(config, [])
    work = sum(cost.spread + cost.alone for cost in found.costs.values())
    assert found.processor - nothing.processor == pytest.approx(work)
    assert found.seconds - nothing.seconds == pytest.approx(work)  # by one worker


def test_workers_divide_what_all_do_and_nothing_else(config):
    missing = missing_stages([plan_stages(config).scores])
    spread = sum(cost.spread for cost in estimate(config, missing).costs.values())
    one, two, four = (
        estimate(config, missing, workers).seconds - estimate(config, [], workers).seconds for workers in (1, 2, 4)
    )
    assert one - two == pytest.approx(spread / 2)
    assert two - four == pytest.approx(spread / 4)


def test_a_classifier_is_fitted_by_one_worker(config):
    classified = PipelineConfig.of(
        raw=config.raw.patterns[0],
        target=config.target.patterns[0],
        output=config.output.output,
        alpha=1.0,
        num_to_sample=9,
        ngram_estimator="classifier",
    )
    costs = estimate(classified, missing_stages([plan_stages(classified).scores])).costs
    assert costs["ngram_classifier"].alone > 0
    assert all(cost.alone == 0 for name, cost in costs.items() if name != "ngram_classifier")


def test_what_is_complete_costs_nothing(config):
    found = estimate(config, [])
    assert (found.costs, found.work_bytes, found.memory) == ({}, 0, 10**8)


def test_twice_the_corpus_takes_twice_the_time(config):
    stage = next(one for one in plan_stages(config).all if one.name == "documents")
    twice = {role: Amounts(2, 2 * 10**9, 2 * 10**9, 2 * 10**7, PROBE) for role in AMOUNTS}
    one, two = (estimate(config, [stage], amounts=amounts).costs["documents"] for amounts in (AMOUNTS, twice))
    assert (two.spread, two.disk) == (pytest.approx(2 * one.spread), 2 * one.disk)
