"""All measures of selections, as JSON values, from the bounded statistics of the datasets."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.evaluation.agreement import describe_pairs
from hir_transforms.evaluation.divergence import jensen_shannon_distance, kl_divergence, kl_reduction
from hir_transforms.evaluation.drawing import Drawn
from hir_transforms.evaluation.labels import LabelCounts, precision
from hir_transforms.evaluation.lengths import describe_lengths
from hir_transforms.evaluation.nearness import ClusteredRows, cluster_rows
from hir_transforms.evaluation.summaries import DatasetSummary
from hir_transforms.evaluation.two_samples import two_sample_auc


@dataclass(frozen=True, eq=False)
class MeasuredDataset:
    """What is known of a dataset.

    Attributes:
        dataset: where its documents are.
        given: as the user named it.
        summary: statistics of all of it.
        drawn: from it.
        labels: where they are counted.
    """

    dataset: Dataset
    given: tuple[str, ...]
    summary: DatasetSummary
    drawn: Drawn
    labels: LabelCounts | None = None

    @property
    def halves(self) -> npt.NDArray[np.int64]:
        """int64 [2, B], n-grams of the documents of each half in each bucket."""
        return self.summary.buckets.sum(axis=0)

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """int64 [T, B], n-grams of each target in each bucket."""
        return self.summary.buckets.sum(axis=1)


def describe_evaluation(
    selections: Sequence[MeasuredDataset],
    common: npt.NDArray[np.int64],
    *,
    target: MeasuredDataset,
    heldout: MeasuredDataset | None = None,
    raw: MeasuredDataset | None = None,
    wanted: str | None = None,
    embeds: bool = False,
) -> dict[str, Any]:
    """Everything that is measured.

    Args:
        selections: S of them.
        common: int64 [S, S], see `count_common`.
        target: what they are held against.
        heldout: documents of the wanted kind that the selections were not made with.
        raw: what was selected from; a random selection from it of each selection's size must have been drawn.
        wanted: the label of wanted documents.
        embeds: whether the documents that were drawn are embedded.

    Raises:
        UserError: for a dataset without text, and where raw has fewer documents than a selection.
    """
    references = {"target": target, **({"heldout": heldout} if heldout else {})}
    sets = {**references, **({"raw": raw} if raw else {})}
    every = sets | {f"{number}": one for number, one in enumerate(selections)}
    for one in every.values():
        _check(one)
    clustered = _cluster(every) if embeds else {}
    described = {
        name: _describe(one, wanted) | ({"embedded": len(clustered[name].rows)} if embeds else {})
        for name, one in every.items()
    }
    return {
        **{name: described[name] for name in sets},
        "selections": [
            described[f"{number}"]
            | {"duplicates": one.summary.documents - int(common[number, number])}
            | {
                name: _against(one, reference, raw) | _nearness(f"{number}", name, clustered, one, raw)
                for name, reference in references.items()
            }
            for number, one in enumerate(selections)
        ],
        "pairs": describe_pairs(common),
    }


def _check(measured: MeasuredDataset) -> None:
    filled = np.array([counts.any() for counts in measured.targets])
    if not filled.all():
        given = measured.given if len(filled) == 1 else (measured.given[int(np.argmin(filled))],)
        first = measured.summary.lines.first_rejected
        raise UserError(f"--{measured.dataset.role}: no text in {', '.join(given)}{first}")


def _describe(measured: MeasuredDataset, wanted: str | None) -> dict[str, Any]:
    summary = measured.summary
    found: dict[str, Any] = {
        "files": list(measured.given),
        "documents": summary.documents,
        "rejected": summary.lines.rejected,
        "tokens": summary.tokens,
        "ngrams": int(summary.buckets.sum()),
        "lengths": describe_lengths(summary.lengths),
    }
    if measured.labels:
        found["labels"] = measured.labels.summary()
        if wanted is not None:
            found["precision"] = precision(measured.labels)
    return found


def _against(selected: MeasuredDataset, reference: MeasuredDataset, raw: MeasuredDataset | None) -> dict[str, Any]:
    """How near a selection is to the target, and where raw is known, how near a random selection."""
    buckets = selected.halves.sum(axis=0)
    found: dict[str, Any] = {
        "kl": _mean(kl_divergence(target, buckets) for target in reference.targets),
        "jensen_shannon": jensen_shannon_distance(reference.halves.sum(axis=0), buckets),
        "auc": two_sample_auc(reference.halves, reference.drawn.sample, selected.halves, selected.drawn.sample),
    }
    if raw is None:
        return found
    size = selected.summary.documents
    if size not in raw.drawn.buckets:
        raise UserError(
            f"--raw: {raw.summary.documents} documents, fewer than the {size} of --selected "
            f"{', '.join(selected.given)}; give the corpus that was selected from, or leave --raw out"
        )
    drawn = raw.drawn.buckets[size]
    random = drawn.sum(axis=0)
    if not random.any():
        raise UserError(f"--raw: no text in {size} documents that were drawn from it; give a corpus with text")
    reduction = [kl_reduction(target, random, buckets) for target in reference.targets]
    return found | {
        "kl_random": _mean(kl_divergence(target, random) for target in reference.targets),
        "kl_reduction": _mean(reduction),
        **({"kl_reduction_of_targets": reduction} if len(reduction) > 1 else {}),
        "jensen_shannon_random": jensen_shannon_distance(reference.halves.sum(axis=0), random),
        "auc_random": two_sample_auc(reference.halves, reference.drawn.sample, drawn, raw.drawn.sample[:size]),
    }


def _cluster(sets: Mapping[str, MeasuredDataset]) -> dict[str, ClusteredRows]:
    rows = {name: one.drawn.first_rows(len(one.drawn.sample)) for name, one in sets.items()}
    for name, one in sets.items():
        if not len(rows[name]):
            given = ", ".join(one.given)
            raise UserError(f"--{one.dataset.role}: no document that was drawn from {given} has a finite embedding")
    return cluster_rows(rows)


def _nearness(
    name: str,
    reference: str,
    clustered: Mapping[str, ClusteredRows],
    selected: MeasuredDataset,
    raw: MeasuredDataset | None,
) -> dict[str, float]:
    """How near the embeddings of a selection are to the target's, and where raw is known, those of a random one."""
    if not clustered:
        return {}
    target = clustered[reference]
    sets = {"": clustered[name]}
    if raw:
        sets["_random"] = clustered["raw"].first(len(raw.drawn.first_rows(selected.summary.documents)))
    return {
        f"{measure}{suffix}": value
        for suffix, own in sets.items()
        for measure, value in (("cosine", own.cosine(target)), ("cluster_distance", own.cluster_distance(target)))
    }


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
