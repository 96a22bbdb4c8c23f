"""Runners that cannot be had are told in one line before work starts; an interruption ends the job elsewhere."""

import apache_beam as beam
import pytest
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState

from hir_transforms.runners.named import run_to_end
from tests.helpers.ports import free_port


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--runner=NoRunner"], "--runner: Unexpected pipeline runner: NoRunner."),
        (["--runner=no.such.Runner"], "--runner: No module named 'no'"),
        (
            ["--runner=hir_transforms.common.errors.NoRunner"],
            "--runner: module 'hir_transforms.common.errors' has no attribute",
        ),
        (["--runner=PortableRunner"], "--runner: You must specify a --job_endpoint"),
        (
            ["--runner=PrismRunner", "--environment_type=EXTERNAL"],
            "--runner: Option external_service_address is required for environment type EXTERNAL.",
        ),
        (
            ["--runner=PrismRunner", "--environment_type=EXTERNAL", "--environment_config=localhost:1"],
            "--environment_config: no worker pool answers at localhost:1",
        ),
    ],
)
def test_a_runner_that_cannot_be_had_is_one_line(selection, capfd, flags, message):
    assert selection.run("none", *flags) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"hir select: error: {message}")
    assert error.count("\n") == 1


def test_a_job_server_that_does_not_answer_is_one_line(selection, capfd):
    address = f"localhost:{free_port()}"
    flags = ["--runner=PortableRunner", f"--job_endpoint={address}", "--job_server_timeout=1"]
    assert selection.run("none", *flags, "--environment_type=LOOPBACK") == 2
    assert capfd.readouterr().err == f"hir select: error: --job_endpoint: no job server answers at {address}\n"


class InterruptedResult(PipelineResult):
    """A job that runs elsewhere while its launcher is interrupted."""

    def __init__(self):
        super().__init__(PipelineState.RUNNING)

    def wait_until_finish(self, duration=None):
        raise KeyboardInterrupt

    def cancel(self):
        self._state = PipelineState.CANCELLED


class InterruptedRunner(PipelineRunner):
    def run_pipeline(self, pipeline, options):
        self.result = InterruptedResult()
        return self.result


def test_an_interruption_cancels_the_job():
    runner = InterruptedRunner()
    pipeline = beam.Pipeline(runner=runner)
    with pytest.raises(KeyboardInterrupt):
        run_to_end(pipeline)
    assert runner.result.state == PipelineState.CANCELLED
