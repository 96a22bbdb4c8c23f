"""What must hold of Beam's insides: where one of these fails, a new version of Beam has changed what is used of it."""

import inspect
import queue
import subprocess
import sys
import threading
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.worker_handlers import ControlConnection, WorkerHandler
from apache_beam.runners.worker import log_handler, sdk_worker
from apache_beam.runners.worker.sdk_worker import SdkHarness
from apache_beam.runners.worker.statesampler import StateSampler, get_current_tracker
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import core, userstate

from hir_transforms.commands.running import choose_runner, run_main
from hir_transforms.runners import beam_internals
from hir_transforms.runners.beam_internals import (
    AnsweringConnection,
    GrpcWorkerHandler,
    methods_inspected_once,
    silence_workers,
    state_sampling,
)
from hir_transforms.runners.local import MultiProcessRunner

ROOT = Path(__file__).parents[2]


def test_nothing_changes_by_an_import():
    code = (
        "from apache_beam.runners.portability.fn_api_runner.worker_handlers import WorkerHandler as W\n"
        "from apache_beam.runners.worker.statesampler import StateSampler as S\n"
        "from apache_beam.transforms import core as c\n"
        "before = dict(W._registered_environments), S.__init__.__defaults__, c.get_function_args_defaults\n"
        "import hir_transforms.commands.running, pipelines.select\n"
        "assert (W._registered_environments, S.__init__.__defaults__, c.get_function_args_defaults) == before\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_beams_own_handlers_stay_as_they_are():
    before = dict(WorkerHandler._registered_environments)
    MultiProcessRunner()
    after = WorkerHandler._registered_environments
    assert {urn: after[urn] for urn in before} == before
    assert len(after) <= len(before) + 1


def test_a_worker_prints_an_error_unless_silenced(monkeypatch, capsys):
    for module in (sdk_worker, log_handler):
        monkeypatch.setattr(module, "print", print, raising=False)
    fail(beam_fn_api_pb2.InstructionRequest(instruction_id="first"))
    assert "no number" in capsys.readouterr().err
    silence_workers()
    assert "no number" in fail(beam_fn_api_pb2.InstructionRequest(instruction_id="second")).error
    assert capsys.readouterr().err == ""


def fail(request):
    """What a worker answers if a bundle cannot be processed."""

    def process():
        raise ValueError("no number")

    harness = object.__new__(SdkHarness)  # without a connection
    harness._responses = queue.Queue()
    harness._execute(process, request)
    return harness._responses.get()


def test_the_period_is_the_only_default_of_a_sampler():
    parameters = inspect.signature(StateSampler.__init__).parameters.values()
    assert [one.name for one in parameters if one.default is not inspect.Parameter.empty] == ["sampling_period_ms"]
    before = StateSampler.__init__.__defaults__
    with state_sampling(7):
        assert StateSampler("step", None).sampling_period_ms == 7
    assert StateSampler.__init__.__defaults__ == before


@pytest.mark.parametrize("workers", [1, 2])
def test_bundles_are_sampled_every_5_ms(workers):
    options = PipelineOptions([f"--direct_num_workers={workers}"])
    with beam.Pipeline(runner=choose_runner(options, 2), options=options) as pipeline:
        periods = pipeline | beam.Create([None]) | beam.Map(lambda _: get_current_tracker().sampling_period_ms)
        assert_that(periods, equal_to([5]))


COUNT = beam.DoFn.StateParam(userstate.CombiningValueStateSpec("count", combine_fn=sum))


class Counting(beam.DoFn):
    def process(self, element, count=COUNT):
        yield element


@pytest.fixture
def inspected(monkeypatch):
    """What Beam's own inspection was asked for."""
    functions = []
    inspect_function = core.get_function_args_defaults

    def noted(function):
        functions.append(function)
        return inspect_function(function)

    monkeypatch.setattr(core, "get_function_args_defaults", noted)
    return functions


def test_each_method_is_inspected_once(inspected):
    before = core.get_function_args_defaults
    with methods_inspected_once():
        for _ in range(2):
            stateful = Counting()
            assert {spec.name for spec in userstate.get_dofn_specs(stateful)[0]} == {"count"}
            assert core.get_function_arguments(stateful, "process") == (["element", "count"], [COUNT])
            for mutable in (
                *core.get_function_arguments(stateful, "process"),
                *userstate.get_dofn_specs(stateful),
            ):
                mutable.clear()
        methods = {method.__func__ for method in inspected}
        assert Counting.process in methods
        assert len(inspected) == len(methods)
        with beam.Pipeline() as pipeline:
            pipeline | beam.Create([("a", 1)]) | beam.ParDo(stateful) | beam.Map(lambda element: element)
        assert [getattr(method, "__func__", None) for method in inspected].count(Counting.process) == 1
    assert core.get_function_args_defaults is before


def test_functions_of_the_same_dofn_class_are_told_apart():
    def plain(element):
        return [element]

    def with_default(element, more=3):
        return [element]

    of_functions = [plain, with_default]
    with methods_inspected_once():
        dofns = [core.CallableWrapperDoFn(function) for function in of_functions]
        found = [core.get_function_arguments(dofn, "process") for dofn in dofns]
        bound = [core.CallableWrapperDoFn(method) for method in ("".upper, Counting().process)]
        states = [userstate.get_dofn_specs(dofn)[0] for dofn in (*dofns, *bound)]
    assert [defaults for _, defaults in found] == [[], [3]]
    assert states == [set(), set(), set(), {COUNT.state_spec}]


@pytest.mark.usefixtures("inspected")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_command_and_its_workers_inspect_once(workers, capfd):
    def run():
        options = PipelineOptions([f"--direct_num_workers={workers}"])
        with beam.Pipeline(runner=choose_runner(options, 2), options=options) as pipeline:
            names = pipeline | beam.Create([None]) | beam.Map(lambda _: core.get_function_args_defaults.__module__)
            assert_that(names, equal_to([beam_internals.__name__]))

    assert not core.get_function_args_defaults.__module__.startswith("hir_transforms")
    assert run_main("hir select", run) == 0, capfd.readouterr().err


def test_a_handler_is_what_ours_extends():
    assert [*inspect.signature(GrpcWorkerHandler.__init__).parameters] == [
        *("self", "state", "provision_info", "grpc_server")
    ]
    for method in ("start_worker", "stop_worker", "close"):
        assert [*inspect.signature(getattr(GrpcWorkerHandler, method)).parameters] == ["self"]
    # Ours replaces it after the constructor: nothing may have kept the one of before.
    assert "self.control_conn.close()" in inspect.getsource(GrpcWorkerHandler.close)


@pytest.mark.parametrize("name", beam_internals.READER_THREADS)
def test_the_threads_that_read_have_these_names(name):
    from apache_beam.runners.worker import data_plane

    assert any(f"'{name}'" in inspect.getsource(module) for module in (worker_handlers, data_plane))


def request():
    return beam_fn_api_pb2.InstructionRequest(process_bundle=beam_fn_api_pb2.ProcessBundleRequest())


def test_requests_without_an_answer_get_the_error():
    connection = AnsweringConnection(ControlConnection())
    answers = [connection.push(request()) for _ in range(3)]
    answers[1].set(beam_fn_api_pb2.InstructionResponse(instruction_id=answers[1].instruction_id))
    waiting = threading.Thread(target=answers[0].get)
    waiting.start()
    connection.answer_all("died")
    waiting.join(10)
    assert not waiting.is_alive()
    assert [answer.is_done() for answer in answers] == [True] * 3
    assert [answer.get().error for answer in answers] == ["died", "", "died"]
    assert answers[2].get().instruction_id == answers[2].instruction_id
    later = connection.push(request())
    connection.answer_all("died")
    assert later.get(timeout=10).error == "died"


def test_the_end_of_a_connection_is_passed_on():
    inner = ControlConnection()
    connection = AnsweringConnection(inner)
    inner.set_input(iter(()))
    connection.close()
    assert isinstance(inner.get_req(), type(worker_handlers.BeamFnControlServicer._DONE_MARKER))
