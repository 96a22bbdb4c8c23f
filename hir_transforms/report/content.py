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
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.report.cuts import Cuts, what_if_name
from hir_transforms.report.noted import KINDS
from hir_transforms.report.quality import NGRAMS, RANDOM, SELECTED, MeasuredTexts, describe_quality
from hir_transforms.selection.eligible import ScoreCounts
from hir_transforms.selection.select import SelectionState

KIND = "hir report"
FORMAT_VERSION = 1
NUM_BINS = 60
UNKNOWN_TARGET = (
    "This selection was made from scores alone: the target is not known, nor how n-grams were made. "
    "Give --raw and --target, or run hir evaluate."
)
NO_TEXT = "There is no text in the documents that were drawn from the target or from what was selected."
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
        ngrams: how n-grams are made.
        target: that the selection is held against; None where this run does not know of it.
        num_targets: how many targets the patterns of that are.
    """

    settings: Mapping[str, Any]
    command: str
    evaluation: str
    dataset: Dataset
    work_dir: str
    sources: Sequence[str]
    version: str
    ngrams: NgramSettings
    target: Dataset | None
    num_targets: int


@dataclass(frozen=True, eq=False)
class ReportedFacts:
    """What is known of a selection.

    Attributes:
        measured: the sum over all score shards of what `measure_rows` gives.
        state: with all thresholds.
        cuts: where else the line could be.
        excerpts: beginnings of texts by (index of the file, offset).
        texts: of the target and of samples; None without a target.
    """

    measured: Mapping[str, Any]
    state: SelectionState
    cuts: Cuts
    excerpts: Mapping[tuple[int, int], str]
    texts: MeasuredTexts | None


def describe_report(facts: ReportedFacts, settings: ReportSettings) -> bytes:
    """The report's JSON; the same bytes for the same selection."""
    measured, state = facts.measured, facts.state
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
        "quality": _describe_quality(facts, settings),
        "what_if": _describe_what_if(facts),
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
                    "text": facts.excerpts[document.file.index, document.offset],
                }
                for document in measured[kind].documents
            ]
            for kind in KINDS
        },
    }
    return to_json(content)


def _describe_quality(facts: ReportedFacts, settings: ReportSettings) -> dict[str, Any]:
    """How near the selection is to the target, and how many documents of it tell something."""
    weights = facts.state.counts.weights if facts.state.counts else ()
    found: dict[str, Any] = {
        "effective_sample_size": [one.effective_size for one in weights],
        "copies": facts.measured["copies"].summary() if "copies" in facts.measured else None,
    }
    if facts.texts is None:
        return found | {"unknown": UNKNOWN_TARGET}
    names = [name for name in (SELECTED, NGRAMS, RANDOM) if name in facts.texts.sets]
    return found | (describe_quality(facts.texts, names) or {"unknown": NO_TEXT})


def _describe_what_if(facts: ReportedFacts) -> list[dict[str, Any]]:
    """For each place where the line could be, what is selected, and how near that is to the target."""
    cuts = facts.cuts.what_if
    names = [what_if_name(number) for number in range(len(cuts))]
    # All by as many documents as of the smallest: of few, n-grams are missing, and the divergence is larger.
    quality = describe_quality(facts.texts, (RANDOM, *names)) if facts.texts and cuts else None
    nearness = [
        {"kl_reduction": quality["sets"][name]["kl_reduction"], "measured_documents": quality["documents"]}
        if quality
        else {}
        for name in names
    ]
    return [
        {"documents": cut.documents, "key": _finite(cut.least_key), **near}
        for cut, near in zip(cuts, nearness, strict=True)
    ]


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
