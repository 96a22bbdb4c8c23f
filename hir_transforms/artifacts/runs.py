"""What the runs of a work folder took: kept beside the stages, which are the same bytes however long they take."""

import platform
from collections.abc import Mapping

import apache_beam
import msgspec
import numpy as np

from hir_transforms import __version__
from hir_transforms.files import storage

RUNS = "_runs.jsonl"
_MOST_RUNS = 100


class Run(msgspec.Struct):
    """A run that has computed stages.

    Attributes:
        ended: when, in UTC, ISO 8601.
        runner: the name of its runner.
        seconds: of each stage, from its first count to its manifest; stages that are computed together overlap.
        versions: of what computed them.
    """

    ended: str
    runner: str
    seconds: Mapping[str, float]
    versions: Mapping[str, str]


def versions() -> dict[str, str]:
    """The versions that results are made with."""
    return {
        "hir": __version__,
        "apache-beam": apache_beam.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def add_run(work_dir: str, run: Run) -> None:
    """Adds a run to those that a work folder tells of; of many, the last are kept."""
    runs = [*read_runs(work_dir), run][-_MOST_RUNS:]
    content = b"".join(msgspec.json.encode(one) + b"\n" for one in runs)
    storage.write_bytes(storage.join(work_dir, RUNS), content)


def read_runs(work_dir: str) -> list[Run]:
    """The runs that a work folder tells of, the last at the end; none where the file is of something else."""
    path = storage.join(work_dir, RUNS)
    if not storage.exists(path):
        return []
    try:
        return msgspec.json.decode(b"[" + b",".join(storage.read_bytes(path).splitlines()) + b"]", type=list[Run])
    except msgspec.DecodeError:
        return []
