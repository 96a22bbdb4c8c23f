"""Collections of a pipeline as Python lists."""

import pickle
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

ONE_WORKER = ("--runner=FnApiRunner",)
TWO_WORKERS = ("--runner=hir_transforms.runners.local.MultiProcessRunner", "--direct_num_workers=2")
# As Beam starts them, which takes seconds.
BEAMS_WORKERS = ("--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2")


def elements(build: Callable[[beam.Pipeline], beam.PCollection], options: Sequence[str] = ONE_WORKER) -> list[Any]:
    """The elements of the collection that `build` makes, in no order; workers may be other processes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "elements")
        with beam.Pipeline(options=PipelineOptions([*options])) as pipeline:
            build(pipeline) | "List" >> beam.combiners.ToList() | "Save" >> beam.Map(_save, str(path))
        return pickle.loads(path.read_bytes())  # noqa: S301


def _save(found: list[Any], path: str) -> None:
    Path(path).write_bytes(pickle.dumps(found))
