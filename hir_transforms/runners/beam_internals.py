"""What this project uses of Beam beyond its public interface, each with the reason; the only place for it.

`tests/runners/test_beam_internals.py` says of each what it must be like, so that another version of Beam that is not
like that fails there. Everything here is called by others and changes nothing by itself.
"""

import contextlib
import functools
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from apache_beam.metrics.metric import MetricResults
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    ControlConnection,
    ControlFuture,
    EmbeddedWorkerHandler,
    GrpcServer,
    GrpcWorkerHandler,
    WorkerHandler,
)
from apache_beam.runners.runner import PipelineResult
from apache_beam.runners.worker import log_handler, sdk_worker
from apache_beam.runners.worker.statesampler import StateSampler
from apache_beam.transforms import core, userstate

# Names of the threads that read what a worker process sends.
READER_THREADS = ("beam_control_read", "read_grpc_client_inputs")

__all__ = [
    "READER_THREADS",
    "AnsweringConnection",
    "ControlFuture",
    "GrpcServer",
    "GrpcWorkerHandler",
    "Push",
    "embedded_requests",
    "methods_inspected_once",
    "metrics_by_now",
    "register_handler",
    "silence_workers",
    "state_sampling",
]

# A request to a worker -> the future answer.
Push = Callable[[beam_fn_api_pb2.InstructionRequest], ControlFuture]


@contextlib.contextmanager
def methods_inspected_once() -> Iterator[None]:
    """Within the block, Beam looks for the parameters, and for the state and timers, of a DoFn's methods once a class.

    Else it does eight times for each step of a graph, and again for each step of a bundle, with all methods: of a
    selection from a few documents, a third of the processor time that is left after the imports.
    """
    inspect, specs = core.get_function_args_defaults, userstate.get_dofn_specs
    inspected: weakref.WeakKeyDictionary[types.FunctionType, Any] = weakref.WeakKeyDictionary()
    specified: dict[tuple[type, Any], tuple[set[Any], set[Any]]] = {}

    def get_function_args_defaults(function: Any) -> Any:
        if not (isinstance(function, types.MethodType) and isinstance(function.__func__, types.FunctionType)):
            return inspect(function)
        if function.__func__ not in inspected:
            inspected[function.__func__] = inspect(function)
        names, defaults = inspected[function.__func__]
        return [*names], [*defaults]

    def get_dofn_specs(dofn: core.DoFn) -> tuple[set[Any], set[Any]]:
        # Beam looks at methods alone; that of a wrapped function is another one in each object.
        key = type(dofn), getattr(dofn.process, "__func__", None)
        if key not in specified:
            specified[key] = specs(dofn)
        states, timers = specified[key]
        return {*states}, {*timers}

    core.get_function_args_defaults = get_function_args_defaults  # type: ignore[assignment]
    userstate.get_dofn_specs = get_dofn_specs
    try:
        yield
    finally:
        core.get_function_args_defaults, userstate.get_dofn_specs = inspect, specs


def silence_workers() -> None:
    """From now on, a worker in this process prints no error of a bundle, or of its connection: the runner raises them.

    There is no end to it, as a bundle may still fail when the failure of another has ended the job.
    """
    for module in (sdk_worker, log_handler):
        module.print = lambda *values, file: None  # type: ignore[attr-defined]


@contextlib.contextmanager
def state_sampling(period_ms: int) -> Iterator[None]:
    """Within the block, bundles of this process are sampled every `period_ms` milliseconds, instead of up to 200.

    Beam makes its samplers with a default that no option changes. A bundle is over when its sampling thread wakes up
    next: with Beam's periods, up to a sixth of its time later.
    """
    defaults = StateSampler.__init__.__defaults__
    StateSampler.__init__.__defaults__ = (period_ms,)
    try:
        yield
    finally:
        StateSampler.__init__.__defaults__ = defaults


@contextlib.contextmanager
def embedded_requests(watch: Callable[[beam_fn_api_pb2.InstructionRequest, Push], ControlFuture]) -> Iterator[None]:
    """Within the block, the requests to workers within this process go through `watch`, which passes them on.

    Beam's runner asks nobody for the metrics of a bundle before it is over, and makes these workers by a special case
    that leaves no room for a handler of ours.
    """
    push = EmbeddedWorkerHandler.push

    def watched(handler: EmbeddedWorkerHandler, request: beam_fn_api_pb2.InstructionRequest) -> ControlFuture:
        return watch(request, functools.partial(push, handler))

    EmbeddedWorkerHandler.push = watched  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        EmbeddedWorkerHandler.push = push  # type: ignore[method-assign]


def metrics_by_now(result: PipelineResult) -> MetricResults:
    """The metrics of a job as they are; a portable runner's result gives those that it was asked for first."""
    if vars(result).get("_metrics"):
        result._metrics = None  # type: ignore[attr-defined]
    return result.metrics()


def register_handler(urn: str, handler: Callable[[bytes, Any, Any, GrpcServer], GrpcWorkerHandler]) -> None:
    """Makes Beam's local runner start workers of the environment `urn` by a handler of ours, beside its own handlers.

    The public `SubprocessSDKEnvironment` starts any command, but by a handler that takes no notice when the process
    dies: the runner waits for its answer for ever, with a traceback of a thread on the terminal. Nothing outside the
    handler can end this wait: an interruption of the main thread waits for the same answer when it closes the handler.
    It also hands over the options in one environment variable, which may hold 128 KiB.
    """
    WorkerHandler.register_environment(urn, bytes)(handler)


class AnsweringConnection:
    """The control connection of a worker process, whose requests can be answered in its place.

    Beam keeps the requests under way in a private dictionary. The connection's own `abort` raises in those that wait
    for an answer, but not in the loop that waits for a bundle's output, which looks for an answer alone.
    """

    def __init__(
        self,
        connection: ControlConnection,
        watch: Callable[[Any, Push], Any] = lambda request, push: push(request),
    ) -> None:
        self._connection = connection
        self._watch = watch
        self._lock = threading.Lock()
        self._waiting: list[Any] = []

    def push(self, request: Any) -> Any:
        """Sends a request; returns the future answer, or None for the mark of the end."""
        return self._watch(request, self._push)

    def _push(self, request: Any) -> Any:
        answer = self._connection.push(request)
        with self._lock:
            self._waiting = [one for one in (*self._waiting, answer) if one and not one.is_done()]
        return answer

    def answer_all(self, error: str) -> None:
        """Answers every request that has no answer with the error."""
        with self._lock:
            for answer in self._waiting:
                if not answer.is_done():
                    name = answer.instruction_id
                    answer.set(beam_fn_api_pb2.InstructionResponse(instruction_id=name, error=error))

    def close(self) -> None:
        self._connection.close()
