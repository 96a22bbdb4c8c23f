import apache_beam as beam
import numpy as np
import pytest
from apache_beam.metrics.metric import MetricResults, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.commands.running import choose_runner
from hir_transforms.common import metrics


def found(result, kind):
    """Values of the metrics of our namespace, by name."""
    query = result.metrics().query(MetricsFilter().with_namespace(metrics.NAMESPACE))[kind]
    return {one.key.metric.name: one.committed for one in query}


def run(act, workers, elements=(1, 2, 3)):
    options = PipelineOptions([f"--direct_num_workers={workers}"])
    pipeline = beam.Pipeline(runner=choose_runner(options, workers), options=options)
    _ = pipeline | beam.Create(elements) | beam.Reshuffle() | beam.Map(act)
    return pipeline.run()


@pytest.mark.parametrize("workers", [1, 2])
def test_amounts_are_added_up(workers):
    result = run(lambda number: metrics.count("a/b", documents=number, bytes=10, none=0), workers)
    assert found(result, MetricResults.COUNTERS) == {"a/b.documents": 6, "a/b.bytes": 30}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_distribution_takes_many_values_at_once(workers):
    result = run(lambda number: metrics.distribute("a", "tokens", np.arange(number)), workers)
    told = found(result, MetricResults.DISTRIBUTIONS)["a.tokens"]
    assert (told.count, told.sum, told.min, told.max) == (6, 0 + (0 + 1) + (0 + 1 + 2), 0, 2)


def test_weights_are_told_in_thousandths_and_only_those_that_are_numbers():
    weights = np.array([[-1.5004], [0.25], [np.nan], [np.inf]])
    told = found(run(lambda _: metrics.distribute_weights("a", weights), 1, [1]), MetricResults.DISTRIBUTIONS)
    (one,) = told.values()
    assert (one.count, one.sum, one.min, one.max) == (2, -1250, -1500, 250)


def test_of_no_values_nothing_is_told():
    assert found(run(lambda _: metrics.distribute("a", "tokens", np.empty(0)), 1), MetricResults.DISTRIBUTIONS) == {}


def test_outside_of_a_pipeline_nothing_happens():
    metrics.count("a", documents=1)
    metrics.distribute("a", "tokens", np.arange(3))
