"""How many of the hidden target documents a candidate finds, and which candidate is to be chosen.

The hidden documents are distributed as the wanted ones of raw. So of several selections of one size, that which would
have taken most of the hidden ones has most of raw's wanted ones too, and the best precision: what is not labelled need
not be known (as in learning from positive and unlabelled examples, Elkan and Noto, KDD 2008).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hir_transforms.tuning.candidates import Candidate, EmbeddingMethod
from hir_transforms.weights.hybrid import hybrid_weight
from hir_transforms.weights.standardizing import WeightMoments

# Sizes of a selection that are tried: so many times that which is asked for, or where that is not known, the number of
# hidden documents.
_SIZES = (1.0, 2.0)
_UNKNOWN_SIZES = (0.5, 1.0, 2.0, 4.0, 8.0)
# With fewer of a fold's raw documents selected, chance decides.
_LEAST_SELECTED = 8


@dataclass(frozen=True, eq=False)
class Judged:
    """The weights of one fold's documents by an estimator that has seen none of them.

    Attributes:
        hidden: float64 [H], of the target's.
        raw: float64 [N], of raw's.
    """

    hidden: npt.NDArray[np.float64]
    raw: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fold:
    """The weights of one fold's documents by all estimators that are tried.

    Attributes:
        ngrams: by n-gram estimator.
        embeddings: by how embeddings are weighed.
    """

    ngrams: Mapping[str, Judged]
    embeddings: Mapping[EmbeddingMethod, Judged]

    @property
    def sizes(self) -> tuple[int, int]:
        """How many documents are hidden, and how many are raw's."""
        judged = next(iter((*self.ngrams.values(), *self.embeddings.values())))
        return len(judged.hidden), len(judged.raw)

    def standardized(self) -> "Fold":
        """The same, the weights of each estimator at mean 0 and variance 1 over raw's documents."""
        return Fold(
            {name: _standardized(judged) for name, judged in self.ngrams.items()},
            {method: _standardized(judged) for method, judged in self.embeddings.items()},
        )

    def weights(self, candidate: Candidate) -> Judged:
        """The weights by a candidate whose estimators are there, mixed."""
        ngram = self.ngrams[candidate.ngram] if candidate.ngram else None
        embedding = self.embeddings[candidate.embedding] if candidate.embedding else None
        return Judged(
            hybrid_weight(ngram.hidden if ngram else None, embedding.hidden if embedding else None, candidate.alpha),
            hybrid_weight(ngram.raw if ngram else None, embedding.raw if embedding else None, candidate.alpha),
        )


def _standardized(judged: Judged) -> Judged:
    moments = WeightMoments.of(judged.raw)
    return Judged(moments.standardize(judged.hidden), moments.standardize(judged.raw))


@dataclass(frozen=True)
class Trial:
    """What one candidate found, of which hidden documents.

    Attributes:
        candidate: what was tried.
        found, hidden: in each fold, summed over the sizes of the selection that were tried.
    """

    candidate: Candidate
    found: tuple[int, ...]
    hidden: tuple[int, ...]

    @property
    def recall(self) -> float:
        """Share of the hidden documents that were found."""
        return sum(self.found) / sum(self.hidden)

    @property
    def standard_error(self) -> float:
        """Of the recall, from its scatter over the folds; 0 with a single one."""
        shares = [found / hidden for found, hidden in zip(self.found, self.hidden, strict=True)]
        return float(np.std(shares, ddof=1)) / math.sqrt(len(shares)) if len(shares) > 1 else 0.0


def num_found(judged: Judged, num_selected: int) -> int:
    """Hidden documents of more weight than the last of so many selected ones of raw; all where raw has fewer."""
    if num_selected > len(judged.raw):
        return len(judged.hidden)
    last = np.partition(judged.raw, -num_selected)[-num_selected]
    return int((judged.hidden > last).sum())


def sizes(num_hidden: int, num_raw: int, share: float | None) -> list[int]:
    """The numbers of raw documents to select in a fold.

    Args:
        num_hidden: target documents hidden in it.
        num_raw: raw documents in it.
        share: of raw that is to be selected; None where that is not known.
    """
    once, times = (num_hidden, _UNKNOWN_SIZES) if share is None else (share * num_raw, _SIZES)
    return [max(_LEAST_SELECTED, round(factor * once)) for factor in times]


def try_candidates(candidates: Sequence[Candidate], folds: Sequence[Fold], share: float | None) -> list[Trial]:
    """Tries each candidate on each fold.

    Args:
        candidates: what to try.
        folds: with the weights by all their estimators, each of a hidden document at least.
        share: of raw that is to be selected; None where that is not known.
    """
    selected = [sizes(*fold.sizes, share) for fold in folds]
    hidden = tuple(fold.sizes[0] * len(of_fold) for fold, of_fold in zip(folds, selected, strict=True))
    trials = []
    for candidate in candidates:
        found = []
        for fold, of_fold in zip(folds, selected, strict=True):
            judged = fold.weights(candidate)
            found.append(sum(num_found(judged, size) for size in of_fold))
        trials.append(Trial(candidate, tuple(found), hidden))
    return trials


def best(trials: Sequence[Trial]) -> Trial:
    """The trial to go by: that which found most, of equal ones the first, which is the cheapest.

    But where n-grams alone did not find as many, so that there is nothing to save, a mix of both classifiers is taken
    first, the nearest to equal parts: with few hidden documents many candidates find all of them, and two estimates of
    the same log ratio err less together than either.
    """
    most = max(trials, key=lambda trial: sum(trial.found))
    if most.candidate.embedding is None:
        return most
    equal = [trial for trial in trials if sum(trial.found) == sum(most.found)]
    return min(equal, key=lambda trial: _unevenness(trial.candidate))


def _unevenness(candidate: Candidate) -> float:
    """How far a mix of both classifiers is from equal parts; 1 for any other candidate."""
    embedding = candidate.embedding.estimator if candidate.embedding else None
    return abs(candidate.alpha - 0.5) if candidate.ngram == embedding == "classifier" else 1.0
