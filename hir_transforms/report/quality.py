"""How good a selection is: how near it, and what else could have been selected, is to the target."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hir_transforms.evaluation.divergence import jensen_shannon_distance, kl_divergence, kl_reduction
from hir_transforms.evaluation.two_samples import DrawnDocument, two_sample_auc

RANDOM, SELECTED, NGRAMS = "random", "selected", "ngrams"
MEASURED_SETS = (SELECTED, NGRAMS, RANDOM)
# Of these, the area under a curve has a standard error of at most 0.013.
_AUC_DOCUMENTS = 1000


@dataclass(frozen=True, eq=False)
class MeasuredTexts:
    """Documents whose n-grams are counted, all in the order of their hashes.

    Attributes:
        targets: of each of T targets.
        sets: by name, what is held against these; `RANDOM` is drawn from all documents that may be selected.
        num_buckets: B.
    """

    targets: Sequence[Sequence[DrawnDocument]]
    sets: Mapping[str, Sequence[DrawnDocument]]
    num_buckets: int

    @classmethod
    def of(
        cls, targets: Sequence[Iterable[DrawnDocument]], sets: Mapping[str, Iterable[DrawnDocument]]
    ) -> "MeasuredTexts":
        """Those of documents in any order, with buckets numbered anew, without the ones that no document has.

        Of those there may be millions, and no measure depends on them.
        """
        of_targets = [sorted(documents, key=lambda one: one.order) for documents in targets]
        of_sets = {name: sorted(documents, key=lambda one: one.order) for name, documents in sets.items()}
        lists = [one.buckets for documents in (*of_targets, *of_sets.values()) for one in documents]
        used = np.unique(np.concatenate([np.empty(0, np.int32), *lists]))

        def renumbered(documents: Sequence[DrawnDocument]) -> list[DrawnDocument]:
            return [replace(one, buckets=np.searchsorted(used, one.buckets).astype(np.int32)) for one in documents]

        return cls(
            [renumbered(one) for one in of_targets],
            {name: renumbered(one) for name, one in of_sets.items()},
            len(used),
        )

    def halves(self, documents: Sequence[DrawnDocument]) -> npt.NDArray[np.int64]:
        """Sums of the n-grams of documents, int64 [2, B]: of those of either half."""
        sums = np.zeros((2, self.num_buckets), np.int64)
        for one in documents:
            sums[one.half, one.buckets] += one.counts
        return sums

    @property
    def target_counts(self) -> npt.NDArray[np.int64]:
        """int64 [T, B]."""
        return np.stack([self.halves(documents).sum(axis=0) for documents in self.targets])


@dataclass(frozen=True, eq=False)
class _Comparable:
    """The n-grams of as many documents of each of some sets: those of the smallest hashes.

    Attributes:
        size: how many of each.
        targets: int64 [T, B].
        halves: by name, int64 [2, B].
    """

    size: int
    targets: npt.NDArray[np.int64]
    halves: Mapping[str, npt.NDArray[np.int64]]

    @classmethod
    def of(cls, texts: MeasuredTexts, names: Sequence[str]) -> "_Comparable | None":
        """As many as the smallest set has; None where a target or a set has no n-gram."""
        targets = texts.target_counts
        size = min(len(texts.sets[name]) for name in names)
        halves = {name: texts.halves(texts.sets[name][:size]) for name in names}
        filled = targets.any(axis=1).all() and all(one.any() for one in halves.values())
        return cls(size, targets, halves) if filled else None

    def reduction(self, name: str) -> float:
        """The KL reduction of a set against `RANDOM`."""
        return kl_reduction(self.targets, self.halves[RANDOM].sum(axis=0), self.halves[name].sum(axis=0))


def describe_reductions(texts: MeasuredTexts, names: Sequence[str]) -> list[dict[str, Any]]:
    """The KL reduction of each of some sets, against as many documents of `RANDOM`; JSON values.

    Of all, as many documents count as of the smallest: of few, n-grams are missing, and the divergence is larger.
    """
    sets = _Comparable.of(texts, [RANDOM, *names])
    if sets is None:
        return [{} for _ in names]
    return [{"kl_reduction": sets.reduction(name), "measured_documents": sets.size} for name in names]


def describe_quality(texts: MeasuredTexts, names: Sequence[str]) -> dict[str, Any] | None:
    """How near each of some sets is to the target, JSON values; None where there is nothing to hold them against.

    As many documents of each set count, those of the smallest hashes, as the smallest of them has.

    Args:
        texts: of the target and the sets.
        names: of the sets, `RANDOM` among them.
    """
    sets = _Comparable.of(texts, names)
    if sets is None:
        return None
    of_target = [one for documents in texts.targets for one in documents]
    halves = texts.halves(of_target)
    sample = sorted(of_target, key=lambda one: one.order)[:_AUC_DOCUMENTS]
    found = {}
    for name, own in sets.halves.items():
        sums = own.sum(axis=0)
        found[name] = {
            "kl_reduction": sets.reduction(name),
            "kl": math.fsum(kl_divergence(target, sums) for target in sets.targets) / len(sets.targets),
            "jensen_shannon": jensen_shannon_distance(halves.sum(axis=0), sums),
            "auc": two_sample_auc(halves, sample, own, texts.sets[name][: min(sets.size, _AUC_DOCUMENTS)]),
        }
    return {"documents": sets.size, "target_documents": len(of_target), "sets": found}
