"""What a report tells, as JSON values."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hir_transforms.evaluation.lengths import describe_lengths
from hir_transforms.report.composition import describe_clusters, describe_labels, describe_ngrams
from hir_transforms.report.cuts import what_if_name
from hir_transforms.report.embedded import describe_embedded
from hir_transforms.report.facts import Facts
from hir_transforms.report.fitted import describe_stages
from hir_transforms.report.noted import KINDS
from hir_transforms.report.quality import MEASURED_SETS, describe_quality, describe_reductions
from hir_transforms.report.reading import ReadingSettings
from hir_transforms.selection.eligible import ScoreCounts

KIND = "hir report"
FORMAT_VERSION = 1
NUM_BINS = 60
UNKNOWN_TARGET = (
    "The target is not known to this run, so it cannot be told how near to it the selection is: "
    "give --raw and --target, or run hir evaluate."
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
        reading: what documents are read for.
        wanted: the label of wanted documents; None for none.
        trials: of estimators and other settings; None where nothing was tried.
        work_dir: the work folder.
        sources: names of the stages that the scores come from.
        version: of this package.
    """

    settings: Mapping[str, Any]
    command: str
    evaluation: str
    reading: ReadingSettings
    wanted: str | None
    trials: Sequence[Mapping[str, Any]] | None
    work_dir: str
    sources: Sequence[str]
    version: str


def describe_report(facts: Facts, settings: ReportSettings) -> dict[str, Any]:
    """The report's JSON values; the same for the same selection."""
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
    return {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "counts": counts,
        "commands": {"select": settings.command, "evaluate": settings.evaluation},
        "settings": dict(settings.settings),
        "versions": _versions(settings.version),
        "stages": describe_stages(settings.work_dir, settings.sources),
        "trials": [dict(one) for one in settings.trials or ()],
        "quality": _describe_quality(facts),
        "labels": describe_labels(facts, settings.reading.label_field, settings.wanted),
        "ngrams": describe_ngrams(facts),
        "clusters": describe_clusters(facts),
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
                    "text": facts.read[document.file.index, document.offset].excerpt,
                    "deciding": [list(one) for one in facts.read[document.file.index, document.offset].deciding],
                }
                for document in measured[kind].documents
            ]
            for kind in KINDS
        },
    }


def _describe_quality(facts: Facts) -> dict[str, Any]:
    """How near the selection is to the target, and how many documents of it tell something."""
    weights = facts.state.counts.weights if facts.state.counts else ()
    found: dict[str, Any] = {
        "effective_sample_size": [one.effective_size for one in weights],
        "copies": facts.measured["copies"].summary() if "copies" in facts.measured else None,
    }
    if facts.texts is None:
        return found | {"unknown": UNKNOWN_TARGET}
    quality = describe_quality(facts.texts, [name for name in MEASURED_SETS if name in facts.texts.sets])
    if quality is None:
        return found | {"unknown": NO_TEXT}
    for name, nearness in describe_embedded(facts.clustered).items():
        quality["sets"][name] |= nearness
    return found | quality


def _describe_what_if(facts: Facts) -> list[dict[str, Any]]:
    """For each place where the line could be, what is selected, and how near that is to the target."""
    cuts = facts.cuts.what_if
    names = [what_if_name(number) for number in range(len(cuts))]
    nearness = describe_reductions(facts.texts, names) if facts.texts else [{} for _ in names]
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
