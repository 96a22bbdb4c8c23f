"""Worker processes of Beam's local runner: watched, so that the death of one ends the run, and never left behind."""

import os
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

from apache_beam import Pipeline
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2, beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner, RunnerResult
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    GrpcServer,
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)
from apache_beam.runners.portability.local_job_service import json_format, text_format
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.transforms.environments import SubprocessSDKEnvironment

# Idle workers end at once when the run is over; only after an error one may still be busy.
_GRACE_SECONDS = 5
_POLL_SECONDS = 0.05
_BEAM_READERS = ("beam_control_read", "read_grpc_client_inputs")


class WorkerDiedError(RuntimeError):
    """A worker process ended before the run did; the message is one line for the user."""


@dataclass
class _Workers:
    """The processes of one run, and what became of the first that died."""

    handlers: list["WatchedWorkerHandler"] = field(default_factory=list)
    death: str = ""


_running: dict[str, _Workers] = {}


class MultiProcessRunner(FnApiRunner):
    """Beam's local runner with processes of `pipelines.worker`, as many as `--direct_num_workers` says."""

    def __init__(self, options: PipelineOptions) -> None:
        encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
        self._name = uuid.uuid4().hex
        super().__init__(
            default_environment=SubprocessSDKEnvironment.from_command_string(self._name),
            provision_info=ExtendedProvisionInfo(beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)),
        )

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> RunnerResult:
        """Runs the pipeline; raises `WorkerDiedError` if a process dies."""
        workers = _running[self._name] = _Workers()
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
    return name in _BEAM_READERS and error.exc_type.__module__.startswith("grpc")


@WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class WatchedWorkerHandler(SubprocessSdkWorkerHandler):
    """One process. Beam's own handler takes no notice when it dies, and the runner may wait for its answer for ever.

    Requests to a dead process are therefore answered here, with an error.
    """

    def __init__(self, payload: bytes, state: Any, provision_info: Any, grpc_server: GrpcServer) -> None:
        super().__init__(payload, state, provision_info, grpc_server)
        self._workers = _running[payload.decode()]
        self._workers.handlers.append(self)
        self._started = threading.Event()
        self._closing = threading.Event()

    def start_worker(self) -> None:
        """Starts the process, in a thread that lives as long as it."""
        self.worker_thread = threading.Thread(name="run_worker", target=self._run, daemon=True)
        self.worker_thread.start()
        self._started.wait()

    def close(self) -> None:
        """Ends the process once it has done what it is at."""
        self._closing.set()
        super().close()

    def stop_worker(self) -> None:
        """Waits for the end of the process; kills it if it is busy with what nobody waits for any more."""
        self.worker_thread.join(_GRACE_SECONDS)
        self._process.kill()
        self.worker_thread.join()

    def _run(self) -> None:
        provision = self.provision_info.provision_info
        environment = {
            **os.environ,
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.control_api_service_descriptor()),
            "PIPELINE_OPTIONS": json_format.MessageToJson(provision.pipeline_options),
            "WORKER_ID": self.worker_id,
        }
        # The kernel kills the process when this thread ends, be it by a SIGKILL of this process.
        self._process = subprocess.Popen([sys.executable, "-m", "pipelines.worker", str(os.getpid())], env=environment)
        self._started.set()
        status = self._process.wait()
        if self._closing.is_set():
            return
        self._workers.death = self._workers.death or _describe(status)
        for handler in self._workers.handlers:
            if handler._started.is_set():
                handler._process.kill()
        # Also for what the runner asks before it learns of the death.
        while not self._closing.wait(_POLL_SECONDS):
            self._answer_all()

    def _answer_all(self) -> None:
        """Answers every request to the dead process with the error."""
        for name, future in list(self.control_conn._futures_by_id.items()):
            future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=name, error=self._workers.death))


def _describe(status: int) -> str:
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    memory = ", most often for want of memory: try fewer --direct_num_workers" if status == -9 else ""
    return f"a worker process died ({how}{memory}); the same command goes on with what is finished"
