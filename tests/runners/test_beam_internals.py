"""What must hold of Beam's insides: where one of these fails, a new version of Beam has changed what is used of it."""

import inspect
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
from apache_beam.runners.worker.statesampler import StateSampler, get_current_tracker
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import userstate

from hir_transforms.commands.running import choose_runner, run_main
from hir_transforms.runners import beam_internals
from hir_transforms.runners.beam_internals import (
    AnsweringConnection,
    GrpcWorkerHandler,
    dofns_inspected_once,
    state_sampling,
)
from hir_transforms.runners.local import MultiProcessRunner

ROOT = Path(__file__).parents[2]


def test_nothing_changes_by_an_import():
    code = (
        "from apache_beam.runners.portability.fn_api_runner.worker_handlers import WorkerHandler as W\n"
        "from apache_beam.runners.worker.statesampler import StateSampler as S\n"
        "from apache_beam.transforms import userstate as u\n"
        "before = dict(W._registered_environments), S.__init__.__defaults__, u.get_dofn_specs\n"
        "import hir_transforms.commands.running, pipelines.select\n"
        "assert (W._registered_environments, S.__init__.__defaults__, u.get_dofn_specs) == before\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_beams_own_handlers_stay_as_they_are():
    before = dict(WorkerHandler._registered_environments)
    MultiProcessRunner()
    after = WorkerHandler._registered_environments
    assert {urn: after[urn] for urn in before} == before
    assert len(after) <= len(before) + 1


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


COUNT = beam.DoFn.StateParam(userstate.CombiningValueStateSpec("count", sum))


class Counting(beam.DoFn):
    def process(self, element, count=COUNT):
        yield element


@pytest.fixture
def inspected(monkeypatch):
    """Beam's own inspection, and the DoFns that it was asked for."""
    dofns = []
    inspect_dofn = userstate.get_dofn_specs
    monkeypatch.setattr(userstate, "get_dofn_specs", lambda dofn: dofns.append(dofn) or inspect_dofn(dofn))
    return dofns


def test_each_dofn_is_inspected_once(inspected):
    before = userstate.get_dofn_specs
    stateful, stateless = Counting(), beam.transforms.core.CallableWrapperDoFn(lambda element: [element])
    with dofns_inspected_once():
        for _ in range(2):
            assert {spec.name for spec in userstate.get_dofn_specs(stateful)[0]} == {"count"}
            assert not userstate.is_stateful_dofn(stateless)
            userstate.validate_stateful_dofn(stateful)
        assert inspected == [stateful, stateless]
        with beam.Pipeline() as pipeline:
            pipeline | beam.Create([("a", 1)]) | beam.ParDo(stateful) | beam.Map(lambda element: element)
        assert inspected.count(stateful) == 1
    assert userstate.get_dofn_specs is before


def test_a_dofn_that_is_gone_is_forgotten(inspected):
    with dofns_inspected_once():
        for _ in range(5):  # the next one may get its place in memory
            assert userstate.is_stateful_dofn(Counting())
            inspected.clear()
            assert not userstate.is_stateful_dofn(beam.transforms.core.CallableWrapperDoFn(lambda element: [element]))
            assert len(inspected) == 1
            inspected.clear()


@pytest.mark.usefixtures("inspected")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_command_and_its_workers_inspect_once(workers, capfd):
    def run():
        options = PipelineOptions([f"--direct_num_workers={workers}"])
        with beam.Pipeline(runner=choose_runner(options, 2), options=options) as pipeline:
            names = pipeline | beam.Create([None]) | beam.Map(lambda _: userstate.get_dofn_specs.__module__)
            assert_that(names, equal_to([beam_internals.__name__]))

    assert not userstate.get_dofn_specs.__module__.startswith("hir_transforms")
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
