"""Beam's local runner, within this process or with worker processes: watched, so that none is waited for in vain."""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from dataclasses import dataclass, field
from typing import IO, Any

from apache_beam import Pipeline
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner, RunnerResult
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from hir_transforms.runners import worker
from hir_transforms.runners.beam_internals import (
    READER_THREADS,
    AnsweringConnection,
    GrpcServer,
    GrpcWorkerHandler,
    embedded_requests,
    register_handler,
    state_sampling,
)
from hir_transforms.runners.interruption import GOES_ON
from hir_transforms.runners.live_metrics import BundleMetrics

# Idle workers end at once when the run is over.
_GRACE_SECONDS = 5
_POLL_SECONDS = 0.05


class WorkerDiedError(RuntimeError):
    """A worker process ended before the run did, or could not be started; the message is one line for the user."""


@dataclass
class _Workers:
    """The processes of one run, what they are told, and what became of the first that died."""

    options: PipelineOptions
    metrics: BundleMetrics
    handlers: list["WatchedWorkerHandler"] = field(default_factory=list)
    death: str = ""


_running: dict[str, _Workers] = {}


class WorkerEnvironment(SubprocessSDKEnvironment):
    """Where transforms run: the worker processes of the run that has this name."""

    URN = "hir:env:worker_process:v1"

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return self.URN, self.command_string.encode()


class LocalRunner(FnApiRunner):
    """Beam's local runner; `metrics` are of what it runs, also while it does."""

    def __init__(self, **settings: Any) -> None:
        self.metrics = BundleMetrics()
        super().__init__(**settings)


class InProcessRunner(LocalRunner):
    """The local runner within this process."""

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> RunnerResult:
        with state_sampling(worker.SAMPLING_MS), embedded_requests(self.metrics.watch):
            return super().run_pipeline(pipeline, options)


class MultiProcessRunner(LocalRunner):
    """The local runner with processes of `runners.worker`, as many as `--direct_num_workers` says."""

    def __init__(self) -> None:
        register_handler(WorkerEnvironment.URN, WatchedWorkerHandler)
        self._name = uuid.uuid4().hex
        super().__init__(
            default_environment=WorkerEnvironment(self._name),
            provision_info=ExtendedProvisionInfo(beam_provision_api_pb2.ProvisionInfo()),
        )

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> RunnerResult:
        """Runs the pipeline; raises `WorkerDiedError` if a process dies or cannot be started."""
        workers = _running[self._name] = _Workers(options, self.metrics)
        hook = threading.excepthook
        threading.excepthook = lambda error: None if _is_broken_connection(error) else hook(error)
        try:
            return super().run_pipeline(pipeline, options)
        except Exception as error:
            if workers.death:
                raise WorkerDiedError(workers.death) from error
            raise
        finally:
            threading.excepthook = hook
            del _running[self._name]


def _is_broken_connection(error: threading.ExceptHookArgs) -> bool:
    """Whether it comes from one of Beam's threads that read what a process sends."""
    name = error.thread.name if error.thread else ""
    return name in READER_THREADS and error.exc_type.__module__.startswith("grpc")


class WatchedWorkerHandler(GrpcWorkerHandler):
    """One process. Beam's own handler takes no notice when it dies, and the runner may wait for its answer for ever.

    Requests to a dead process are therefore answered here, with an error.
    """

    def __init__(self, payload: bytes, state: Any, provision_info: Any, grpc_server: GrpcServer) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._workers = _running[payload.decode()]
        self._answering = AnsweringConnection(self.control_conn, self._workers.metrics.watch)
        self.control_conn = self._answering  # type: ignore[assignment]  # it has what Beam calls
        self._workers.handlers.append(self)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = threading.Event()
        self._closing = threading.Event()

    def start_worker(self) -> None:
        """Starts the process, in a thread that lives as long as it; raises `WorkerDiedError` if it cannot."""
        self.worker_thread = threading.Thread(name="run_worker", target=self._run, daemon=True)
        self.worker_thread.start()
        self._started.wait()
        if self._process is None:
            raise WorkerDiedError(self._workers.death)

    def close(self) -> None:
        """Ends the process: once it has done what it is at, or at once after an error or an interruption."""
        self._closing.set()
        if sys.exception():  # nobody waits any more for what it is at
            self._kill()
        super().close()

    def stop_worker(self) -> None:
        """Waits for the end of the process."""
        self.worker_thread.join(_GRACE_SECONDS)
        self._kill()
        self.worker_thread.join()

    def _run(self) -> None:
        with tempfile.TemporaryFile() as messages:
            try:
                # The kernel kills the process when this thread ends, be it by a SIGKILL of this process.
                self._process = start_process(messages)
            except OSError as error:
                self._workers.death = f"a worker process cannot be started ({error})"
                return
            finally:
                self._started.set()
            stdin = self._process.stdin
            assert stdin
            self._tell_start(stdin)
            status = self._process.wait()
            with contextlib.suppress(BrokenPipeError):  # what it has not read when it died is still in the buffer
                stdin.close()
            if self._closing.is_set():
                return
            self._workers.death = self._workers.death or _describe(status, messages)
        for handler in self._workers.handlers:
            handler._kill()
        # Also for what the runner asks before it learns of the death.
        while not self._closing.wait(_POLL_SECONDS):
            self._answering.answer_all(self._workers.death)

    def _tell_start(self, stdin: IO[bytes]) -> None:
        """Sends what the process needs to know: of any length, unlike arguments and environment variables."""
        start = {
            "path": sys.path,
            "worker_id": self.worker_id,
            "control": self.control_address,
            "options": self._workers.options.get_all_options(drop_default=True),
        }
        with contextlib.suppress(BrokenPipeError):  # it has died: `wait` tells how
            stdin.write(json.dumps(start, default=str).encode() + b"\n")
            stdin.flush()

    def _kill(self) -> None:
        if self._process:
            self._process.kill()


def start_process(messages: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts a worker process, which writes its messages to this file."""
    return subprocess.Popen([sys.executable, "-P", worker.__file__], stdin=subprocess.PIPE, stderr=messages)


def _describe(status: int, messages: IO[bytes]) -> str:
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    if status == -signal.SIGKILL:
        how += ", most often for want of memory: try fewer --direct_num_workers"
    else:
        messages.seek(0)
        lines = messages.read().decode(errors="replace").split("\n")
        how += next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
    return f"a worker process died ({how}); {GOES_ON}"
