"""Beam metrics of the stages: counted a group of documents at a time, within the steps that do the work.

A metric is of the namespace `hir`, and its name is the stage's and what is counted, as in `counts/raw.documents`: so
it is told from those of other stages on the page of any runner. Outside of a pipeline nothing is counted.
"""

import functools

import numpy as np
from apache_beam.metrics import Metrics, monitoring_infos
from apache_beam.metrics.cells import DistributionData, MetricCell
from apache_beam.metrics.execution import MetricUpdater
from apache_beam.metrics.metric import MetricName

NAMESPACE = "hir"
# What is counted once the stage is complete.
COMPLETE = "complete"
# What is counted once a stage has read all that it fits to.
FITTING = "fitting"
# Beam's distributions are of integers: weights, in nats, are told in thousandths.
WEIGHT_SCALE = 1000


def count(stage: str, **amounts: int) -> None:
    """Adds to counters of a stage."""
    for what, amount in amounts.items():
        if amount:
            _counter(f"{stage}.{what}").inc(int(amount))


def distribute(stage: str, what: str, values: np.ndarray) -> None:
    """Adds values, rounded to integers, to a distribution of a stage; those that are not finite are left out."""
    if values.dtype.kind == "f":
        values = np.rint(values[np.isfinite(values)]).astype(np.int64)
    if values.size:
        data = DistributionData(int(values.sum()), values.size, int(values.min()), int(values.max()))
        _distribution(f"{stage}.{what}")(data)


def distribute_weights(stage: str, weights: np.ndarray) -> None:
    """Adds log weights, float64 [N, T], to the distribution `weight_thousandths` of a stage."""
    distribute(stage, "weight_thousandths", weights * WEIGHT_SCALE)


@functools.cache
def _counter(name: str) -> Metrics.DelegatingCounter:
    return Metrics.counter(NAMESPACE, name)


@functools.cache
def _distribution(name: str) -> MetricUpdater:
    return MetricUpdater(_DistributionOfMany, MetricName(NAMESPACE, name))


class _DistributionOfMany(MetricCell):
    """A distribution to which many values are added at once; Beam's own takes one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        self._data = DistributionData.identity_element()

    def update(self, value: DistributionData) -> bool:
        self._data = self._data.combine(value)
        return False

    def get_cumulative(self) -> DistributionData:
        return self._data.get_cumulative()

    def to_runner_api_monitoring_info_impl(self, name: MetricName, transform_id: str) -> object:
        return monitoring_infos.int64_user_distribution(
            name.namespace, name.name, self.get_cumulative(), ptransform=transform_id
        )
