"""Options of job servers: Beam's Python knows some of them, the server alone knows all."""

from collections.abc import Iterable
from typing import Any

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import create_runner

from hir_transforms.common.errors import UserError


def is_portable(runner: str | None) -> bool:
    """Whether a runner of that name hands its jobs to a server; not for a name that there is none of."""
    try:
        return runner is not None and isinstance(create_runner(runner), PortableRunner)
    except (AttributeError, ImportError, ValueError):
        return False


def left_for_no_server(unknown: Iterable[str]) -> list[str]:
    """The arguments that cannot be flags of a job server, nor the values of these."""
    left, takes_value = [], False
    for argument in unknown:
        if argument.startswith("--"):
            takes_value = "=" not in argument
        elif takes_value:
            takes_value = False
        else:
            left.append(argument)
    return left


def ask_server_for_flags(runner: PortableRunner) -> None:
    """Makes a runner ask its job server, before it submits a job, whether it knows the flags that Beam does not.

    Raises (when a job is submitted):
        UserError: for a flag that it does not know either.
    """
    handle = runner.create_job_service_handle

    def handle_of_known(job_service: Any, options: PipelineOptions) -> Any:
        _require_known(job_service, options)
        return handle(job_service, options)

    runner.create_job_service_handle = handle_of_known  # type: ignore[method-assign]


def _require_known(job_service: Any, options: PipelineOptions) -> None:
    if options.view_as(FlinkRunnerOptions).flink_submit_uber_jar:
        return  # no server is asked: Beam passes on whatever it does not know
    unknown = options.get_all_options(retain_unknown_options=True).keys() - options.get_all_options().keys()
    if unknown:
        timeout = options.view_as(PortableOptions).job_server_timeout
        described = job_service.DescribePipelineOptions(
            beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=timeout
        )
        for name in sorted(unknown - {option.name for option in described.options}):
            raise UserError(f"unknown flag --{name}: hir, Beam and the job server do not have it")
