"""What a report tells, as JSON values."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.fingerprints import to_json
from hir_transforms.documents.datasets import Dataset
from hir_transforms.evaluation.lengths import describe_lengths
from hir_transforms.report.noted import KINDS
from hir_transforms.selection.eligible import ScoreCounts
from hir_transforms.selection.select import SelectionState

KIND = "hir report"
FORMAT_VERSION = 1
NUM_BINS = 60
_PARTS = ("ngram", "gmm", "weight")
_MOST_TARGETS = 10
_PACKAGES = ("apache-beam", "numpy", "pyarrow", "scikit-learn", "scipy")


@dataclass(frozen=True)
class ReportSettings:
    """What a report tells of its run.

    Attributes:
        settings: of the run, JSON values.
        command: that makes this selection again, but for where it goes.
        evaluation: the command that measures it.
        dataset: of the documents that are shown.
        work_dir: the work folder.
        sources: names of the stages that the scores come from.
        version: of this package.
    """

    settings: Mapping[str, Any]
    command: str
    evaluation: str
    dataset: Dataset
    work_dir: str
    sources: Sequence[str]
    version: str


def describe_report(
    measured: Mapping[str, Any],
    texts: Mapping[tuple[str, int], str],
    state: SelectionState,
    settings: ReportSettings,
) -> bytes:
    """The report's JSON; the same bytes for the same selection.

    Args:
        measured: the sum over all score shards of what `measure_shard` gives.
        texts: beginnings of texts by path and offset.
        state: with all thresholds.
        settings: of the run.
    """
    counts = (state.counts or ScoreCounts()).summary()
    counts |= {"selected": measured["selected"], "selected_tokens": measured["tokens"]}
    histograms = {}
    for part in _PARTS:
        found = [measured.get(f"{part}-{target}") for target in range(min(len(state.thresholds), _MOST_TARGETS))]
        # With one part alone, the weight is that part.
        if any(found) and (part == "weight" or all(f"{name}-0" in measured for name in _PARTS)):
            histograms[part] = [
                [[low, high, *documents] for low, high, documents in histogram.bins(NUM_BINS)]
                for histogram in found
                if histogram
            ]
    content = {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "counts": counts,
        "commands": {"select": settings.command, "evaluate": settings.evaluation},
        "settings": dict(settings.settings),
        "versions": _versions(settings.version),
        "stages": _describe_stages(settings),
        "thresholds": [
            {"key": _finite(threshold.least_key), "asked": asked, "proportion": proportion}
            for threshold, asked, proportion in zip(state.thresholds, state.shares, state.proportions, strict=True)
        ],
        "weights": histograms,
        "lengths": {"eligible": _lengths(measured["lengths"]), "selected": _lengths(measured["lengths-selected"])},
        "documents": {
            kind: [
                {
                    "file": document.file.path,
                    "offset": document.offset,
                    **{name: _finite(number) for name, number in document.numbers.items()},
                    "text": texts[document.file.path, document.offset],
                }
                for document in measured[kind].documents
            ]
            for kind in KINDS
        },
    }
    return to_json(content)


def _finite(number: float) -> float | str:
    return number if np.isfinite(number) else f"{number}"


def _lengths(counts: np.ndarray) -> dict[str, Any] | None:
    return describe_lengths(counts) if counts.any() else None


def _versions(own: str) -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"hir-beam": own, "python": platform.python_version(), **versions}


def _describe_stages(settings: ReportSettings) -> list[dict[str, Any]]:
    """What the stages behind the scores have counted: numbers and texts alone."""
    found = []
    for name in settings.sources:
        manifest = Stage(name, settings.work_dir, {}, (), (), "").read_manifest()
        if manifest:
            counts = {
                key: value for key, value in manifest["counts"].items() if isinstance(value, int | float | str | bool)
            }
            found.append({"stage": name, "counts": counts})
    return found
