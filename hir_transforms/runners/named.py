"""Runners that the user names: found, started without chatter, and waited for."""

import contextlib
import functools
import logging
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    StandardOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.portability.prism_runner import PrismRunner
from apache_beam.runners.runner import PipelineResult, PipelineRunner, create_runner

from hir_transforms.common.errors import UserError
from hir_transforms.common.extras import require_extra
from hir_transforms.files import storage
from hir_transforms.runners.beam_internals import silence_workers
from hir_transforms.runners.interruption import Interrupted
from hir_transforms.runners.job_servers import ask_server_for_flags
from hir_transforms.runners.live_metrics import Counters, counters_of_job
from hir_transforms.runners.local import LocalRunner

# Where `make tools` puts it.
_PRISM = Path(__file__).parents[2] / ".tools" / "bin" / "prism"
# A worker pool that the line before has started takes some.
_POOL_SECONDS = 10
_NO_PROGRAM = "Unable to fetch remote "


def named_runner(options: PipelineOptions) -> PipelineRunner:
    """The runner of `--runner`; raises `UserError` for an unknown one, or one without its packages or options.

    Prism is taken from where `make tools` puts it, unless `--prism_location` names another; else Beam downloads it.
    """
    name = options.view_as(StandardOptions).runner
    if name.rpartition(".")[2] == "DataflowRunner":
        require_extra("gcp", f"--runner: {name}")
    try:
        runner = create_runner(name)
    except (AttributeError, ImportError, ValueError) as error:
        raise UserError(f"--runner: {error}") from None
    if errors := PipelineOptionsValidator(options, runner).validate():
        raise UserError(f"--runner: {' '.join(errors)}")
    if isinstance(runner, PrismRunner):
        prism = options.view_as(PrismRunnerOptions)
        if not prism.prism_location and _PRISM.is_file():
            prism.prism_location = str(_PRISM)
        _require_pool(options.view_as(PortableOptions))
    if isinstance(runner, PortableRunner):
        ask_server_for_flags(runner)
        _keep_quiet("prism_log_level" in options.get_all_options(drop_default=True))
    return runner


def _require_pool(portable: PortableOptions) -> None:
    """Raises `UserError` if Prism, which runs on this machine, would not reach its workers: it would crash."""
    if portable.environment_type != "EXTERNAL" or portable.job_endpoint:
        return
    address = portable.environment_config or portable.lookup_environment_option("external_service_address")
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + _POOL_SECONDS
    while not _answers(host, port):
        if time.monotonic() > deadline:
            raise UserError(f"--environment_config: no worker pool answers at {address}")
        time.sleep(0.5)


def _answers(host: str, port: str) -> bool:
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError):
        return False
    return True


def _keep_quiet(show_prism: bool) -> None:
    """Silences what Beam logs and prints of a job: its error is raised as well, and shown once."""
    silence_workers()
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger("PrismJobServer").disabled = not show_prism
    # The messages of the job server come by the root logger.
    logging.getLogger().addFilter(lambda record: record.module != "portable_runner")


# Given what tells the counters of a job, a context in which somebody looks at them while it runs.
Watch = Callable[[Counters], AbstractContextManager[None]]


def run_to_end(pipeline: beam.Pipeline, watch: Watch = lambda _: contextlib.nullcontext()) -> bool:
    """Runs a pipeline until it is done; an interruption cancels a job that would go on elsewhere, and ends Prism.

    The launcher of a Dataflow flex template gives a place for the job's description (`--template_location`). Beam
    writes it there instead of starting a job, so there is none to wait for: it starts once this process has ended.

    Returns:
        Whether the pipeline is done, and not only handed over.

    Raises:
        UserError: if the runner cannot be reached or started.
    """
    try:
        return _run_to_end(pipeline, watch)
    except Interrupted:
        storage.stop_writing()  # a runner's threads in this process cannot be ended before it
        raise
    finally:
        if isinstance(sys.exception(), KeyboardInterrupt) and isinstance(pipeline.runner, PrismRunner):
            pipeline.runner.default_job_server(pipeline.options).stop()


def _run_to_end(pipeline: beam.Pipeline, watch: Watch) -> bool:
    if isinstance(pipeline.runner, LocalRunner):
        with watch(pipeline.runner.metrics.counters):
            _submit(pipeline)
        return True
    result = _submit(pipeline)
    if pipeline.options.view_as(GoogleCloudOptions).template_location:
        return False
    with watch(functools.partial(counters_of_job, result)):
        try:
            result.wait_until_finish()
        except KeyboardInterrupt:
            with contextlib.suppress(Exception):  # its server may be interrupted as well
                result.cancel()
            raise
    return True


def _submit(pipeline: beam.Pipeline) -> PipelineResult:
    try:
        return pipeline.run()
    except NotImplementedError as error:  # PortableRunner without an address
        raise UserError(f"--runner: {error}") from None
    except grpc.FutureTimeoutError:
        endpoint = pipeline.options.view_as(PortableOptions).job_endpoint
        raise UserError(f"--job_endpoint: no job server answers at {endpoint}") from None
    except RuntimeError as error:
        if not str(error).startswith(_NO_PROGRAM):
            raise
        raise UserError(
            f"--runner: {error}; fetch it by other means and name it with --flink_job_server_jar, or for Prism with "
            "--prism_location ('make tools' builds it)"
        ) from None
