import os

import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from hir_transforms.commands.running import choose_runner
from hir_transforms.runners.local import MultiProcessRunner


def choose(*flags, workers=100):
    options = PipelineOptions(list(flags))
    return choose_runner(options, workers), options.view_as(DirectOptions).direct_num_workers


@pytest.fixture
def one_core():
    """This thread, and what it starts, may use one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system knows no affinity")
def test_there_are_no_more_workers_than_cores_that_may_be_used(one_core):
    runner, workers = choose("--direct_num_workers=0")
    assert isinstance(runner, FnApiRunner)
    assert not isinstance(runner, MultiProcessRunner)
    assert workers == 1


def test_the_number_of_workers_that_is_asked_for_counts(one_core):
    runner, workers = choose("--direct_num_workers=3")
    assert isinstance(runner, MultiProcessRunner)
    assert workers == 3


def test_there_are_no_more_workers_than_have_something_to_do(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 16)
    assert choose("--direct_num_workers=0", workers=5)[1] == 5
    assert choose("--direct_num_workers=0", workers=50)[1] == 16
