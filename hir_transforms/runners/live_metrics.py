"""The counters of a pipeline while it runs: of the local runner's bundles, and of jobs elsewhere."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from apache_beam.metrics import monitoring_infos
from apache_beam.metrics.metric import MetricResults, MetricsFilter
from apache_beam.portability.api import beam_fn_api_pb2, metrics_pb2
from apache_beam.runners.runner import PipelineResult

from hir_transforms.common.metrics import NAMESPACE
from hir_transforms.runners.beam_internals import ControlFuture, Push, metrics_by_now

# A worker that is at the end of its bundle, or of its life, may not answer.
_ANSWER_SECONDS = 1.0


@dataclass
class _Bundle:
    """A bundle that a worker was given: how it is asked, and what it will answer once the bundle is over."""

    push: Push
    answer: ControlFuture | None = None


class BundleMetrics:
    """The counters of the namespace `hir` of a local run.

    Beam's runner learns of metrics when a bundle is over, and a bundle of it may take as long as the whole stage. So a
    worker is asked meanwhile, as other runners do, whenever somebody wants to know.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._bundles: dict[str, _Bundle] = {}

    def watch(self, request: beam_fn_api_pb2.InstructionRequest, push: Push) -> ControlFuture:
        """Passes a request on to a worker, and remembers it if it is a bundle."""
        if not (isinstance(request, beam_fn_api_pb2.InstructionRequest) and request.HasField("process_bundle")):
            return push(request)
        bundle = _Bundle(push)
        with self._lock:
            self._bundles[request.instruction_id] = bundle
        bundle.answer = push(request)  # of a worker within this process, only when the bundle is over
        return bundle.answer

    def counters(self) -> Mapping[str, int]:
        """Their values by now, which never fall."""
        with self._lock:
            for name, bundle in [*self._bundles.items()]:
                if bundle.answer and bundle.answer.is_done():
                    self._over.update(_counters_of(bundle.answer.get().process_bundle.monitoring_infos))
                    del self._bundles[name]
            found, under_way = Counter(self._over), [*self._bundles.items()]
        for name, bundle in under_way:
            found.update(_ask(name, bundle.push))
        # A bundle that has come to its end just now told nothing.
        self._told |= found
        return self._told


def _ask(bundle: str, push: Push) -> Counter[str]:
    """The counters of a bundle under way; none if the worker does not answer."""
    request = beam_fn_api_pb2.ProcessBundleProgressRequest(instruction_id=bundle)
    answer = push(beam_fn_api_pb2.InstructionRequest(process_bundle_progress=request))
    try:
        response = answer.get(timeout=_ANSWER_SECONDS)
    except AssertionError:  # how Beam says that the time is over
        return Counter()
    return _counters_of(response.process_bundle_progress.monitoring_infos)


def _counters_of(infos: Iterable[metrics_pb2.MonitoringInfo]) -> Counter[str]:
    found: Counter[str] = Counter()
    for info in infos:
        if info.labels.get(monitoring_infos.NAMESPACE_LABEL) == NAMESPACE and monitoring_infos.is_counter(info):
            found[info.labels[monitoring_infos.NAME_LABEL]] += monitoring_infos.extract_counter_value(info)
    return found


def counters_of_job(result: PipelineResult) -> Mapping[str, int]:
    """The counters of the namespace `hir` of a job elsewhere, by now; none where its runner does not tell them."""
    try:
        results = metrics_by_now(result).query(MetricsFilter().with_namespace(NAMESPACE))
    except Exception:  # each runner has errors of its own for a server that is not ready, or gone; the job goes on
        return {}
    found: Counter[str] = Counter()
    for one in results[MetricResults.COUNTERS]:
        found[one.key.metric.name] += max(one.committed or 0, one.attempted or 0)
    return found


# What tells the counters of a pipeline that is under way.
Counters = Callable[[], Mapping[str, int]]
