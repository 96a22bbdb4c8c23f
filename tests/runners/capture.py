"""A runner that stops where the Flink runner would hand the job over, and shows what it would submit."""

from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.flink_runner import FlinkRunner


class Submitted(BaseException):
    """Carries the pipeline; not an `Exception`, so that nothing on the way handles it."""

    def __init__(self, pipeline: beam_runner_api_pb2.Pipeline):
        super().__init__()
        self.pipeline = pipeline


class CapturingFlinkRunner(FlinkRunner):
    """Optimises the pipeline as `FlinkRunner` does and raises `Submitted`."""

    def create_job_service(self, options):
        return self

    def submit(self, pipeline):
        raise Submitted(pipeline)
