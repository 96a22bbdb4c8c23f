"""Counters of bundles that are not over: each waits until the test has seen what it has counted so far."""

import threading
import time

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.commands.running import choose_runner
from hir_transforms.common import metrics
from hir_transforms.runners.named import run_to_end

SECONDS = 60


class _CountDoFn(beam.DoFn):
    """Counts, tells by a file that it has, and waits for another."""

    def __init__(self, folder):
        self._folder = folder

    def process(self, number):
        metrics.count("stage", documents=1)
        (self._folder / f"counted-{number}").touch()
        end = time.monotonic() + SECONDS
        while not (self._folder / "go-on").exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        metrics.count("stage", documents=10)


class _Watch:
    """Lets the bundles go on once their counters say that all have begun."""

    def __init__(self, folder, waiting):
        self._folder, self._waiting = folder, waiting
        self.seen = []

    def __call__(self, counters):
        self.counters = counters
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __enter__(self):
        return None

    def __exit__(self, *_):
        self.seen.append(self.counters()["stage.documents"])

    def _look(self):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and (not self.seen or self.seen[-1] < self._waiting):
            self.seen.append(self.counters().get("stage.documents", 0))
            time.sleep(0.05)
        (self._folder / "go-on").touch()


def watched(folder, flags, waiting):
    options = PipelineOptions(flags)
    pipeline = beam.Pipeline(runner=choose_runner(options, 2), options=options)
    _ = pipeline | beam.Create([1, 2]) | beam.Reshuffle() | beam.ParDo(_CountDoFn(folder))
    watch = _Watch(folder, waiting)
    assert run_to_end(pipeline, watch)
    return watch.seen


@pytest.mark.parametrize("workers", [1, 2])
def test_local_workers_tell_of_bundles_under_way(tmp_path, workers):
    # With one worker the second element waits for the first.
    seen = watched(tmp_path, [f"--direct_num_workers={workers}"], workers)
    assert workers in seen
    assert seen == sorted(seen)
    assert seen[-1] == 22


@pytest.mark.usefixtures("prism")
def test_prism_tells_of_bundles_under_way(tmp_path):
    seen = watched(tmp_path, ["--runner=PrismRunner"], 1)
    assert [number for number in seen if 0 < number < 22]
    assert seen[-1] == 22
