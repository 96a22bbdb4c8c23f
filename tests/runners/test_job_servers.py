"""Flags that only a job server knows: they reach it, and it is asked which it knows."""

from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from hir_transforms.common.errors import UserError
from hir_transforms.runners.job_servers import is_portable, left_for_no_server
from hir_transforms.runners.named import named_runner, run_to_end
from hir_transforms.settings.flags import parse_options

TYPES = beam_job_api_pb2.PipelineOptionType


class FlinkJobServer(beam_job_api_pb2_grpc.JobServiceServicer):
    """Has two of the options of Beam's job server for Flink, as that describes them; takes no job."""

    endpoint: str

    def __init__(self):
        self.options = None

    def DescribePipelineOptions(self, request, context):  # noqa: N802
        options = [
            beam_job_api_pb2.PipelineOptionDescriptor(name=name, type=type_, description=name, group="Flink")
            for name, type_ in (
                ("execution_mode_for_batch", TYPES.STRING),
                ("use_data_stream_for_batch", TYPES.BOOLEAN),
                ("parallelism", TYPES.INTEGER),
            )
        ]
        return beam_job_api_pb2.DescribePipelineOptionsResponse(options=options)

    def Prepare(self, request, context):  # noqa: N802
        self.options = dict(request.pipeline_options.items())
        context.abort(grpc.StatusCode.UNAVAILABLE, "no cluster")


@pytest.fixture
def server():
    servicer = FlinkJobServer()
    server = grpc.server(ThreadPoolExecutor(2))
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(servicer, server)
    servicer.endpoint = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    yield servicer
    server.stop(None)


def submit(server, *flags):
    """Submits a small job as the commands do."""
    where = ["--runner=FlinkRunner", f"--job_endpoint={server.endpoint}", "--environment_type=LOOPBACK"]
    options = parse_options([*where, *flags], "select")
    pipeline = beam.Pipeline(runner=named_runner(options), options=options)
    pipeline | beam.Create([1])
    run_to_end(pipeline)


def test_options_of_the_job_server_reach_it(server, caplog):
    with pytest.raises(grpc.RpcError, match="no cluster"):
        submit(server, "--parallelism=4", "--execution_mode_for_batch", "PIPELINED", "--use_data_stream_for_batch")
    assert server.options["beam:option:execution_mode_for_batch:v1"] == "PIPELINED"
    assert server.options["beam:option:use_data_stream_for_batch:v1"] is True
    assert server.options["beam:option:parallelism:v1"] == "4"
    assert "Discarding" not in caplog.text


@pytest.mark.parametrize("flag", ["--execution_mode_for_bacth=PIPELINED", "--num_shrads=3"])
def test_a_flag_that_nobody_knows_is_an_error(server, flag):
    name = flag.partition("=")[0]
    with pytest.raises(UserError, match=f"^unknown flag {name}: hir, Beam and the job server do not have it$"):
        submit(server, flag)
    assert server.options is None


def test_what_is_no_flag_is_left_for_no_server():
    assert left_for_no_server(["--execution_mode_for_batch", "PIPELINED", "--x=1", "raw-2.jsonl"]) == ["raw-2.jsonl"]


def test_other_runners_have_no_server():
    names = ["FlinkRunner", "PortableRunner", "PrismRunner", "tests.runners.capture.CapturingFlinkRunner"]
    assert [
        name for name in [*names, "DirectRunner", "DataflowRunner", "NoRunner", None] if is_portable(name)
    ] == names
    with pytest.raises(UserError, match=r"^unknown flag --execution_mode_for_batch=PIPELINED$"):
        parse_options(["--execution_mode_for_batch=PIPELINED"], "select")
