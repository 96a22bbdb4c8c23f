"""A runner that stops where the Flink runner would hand the job over, and shows what it would submit."""

from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.flink_runner import FlinkRunner

BY_THE_RUNNER = {
    "beam:transform:flatten:v1",
    "beam:transform:group_by_key:v1",
    "beam:transform:impulse:v1",
    "beam:transform:reshuffle:v1",
}


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


def leaves(job):
    """The transforms that are executed: what the runner knows by itself, else the innermost ones."""

    def visit(name):
        transform = job.components.transforms[name]
        if transform.spec.urn in BY_THE_RUNNER or not transform.subtransforms:
            yield transform
        else:
            for part in transform.subtransforms:
                yield from visit(part)

    return [leaf for root in job.root_transform_ids for leaf in visit(root)]
