"""The settings of importance weights: how they are mixed, and the files of those that are precomputed."""

import functools
from dataclasses import dataclass

from hir_transforms.common.fingerprints import NO_EFFECT
from hir_transforms.common.settings import (
    FITTING,
    INT32_MAX,
    SCORING,
    TRYING,
    Settings,
    between,
    choice,
    in_range,
    setting,
)
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.settings import PATTERNS
from hir_transforms.weights.standardizing import SCALINGS

_precomputed = functools.partial(setting, task="precomputed weights", commands=FITTING, kind=PATTERNS)


@dataclass(frozen=True, kw_only=True)
class WeightOptions(Settings):
    """How n-gram and embedding weights are mixed, and which of them are given."""

    alpha: float = setting(
        0.5,
        "weight = A x n-gram weight + (1 - A) x embedding weight; 1 needs no embeddings, 0 no n-grams; auto: what "
        "finds most of hidden target documents",
        task="weights",
        commands=TRYING,
        check=between(0, 1),
        metavar="A",
        can_be_auto=True,
    )
    embedding_estimator: str = setting(
        "mixture",
        "what embedding weights are: log ratios of Gaussian mixtures, or log odds by logistic regression",
        task="weights",
        commands=TRYING,
        kind=choice("mixture", "classifier"),
        can_be_auto=True,
    )
    num_documents_to_try: int = setting(
        20_000,
        "documents of raw, drawn uniformly, and of the target that values left to auto are tried on, at most",
        task="weights",
        commands=TRYING,
        check=in_range(1, INT32_MAX),
        metadata=NO_EFFECT,
    )
    weight_scaling: str = setting(
        "none",
        "standardize brings both weights to zero mean and unit variance before mixing",
        task="weights",
        commands=(*SCORING, "tune"),
        kind=choice(*SCALINGS),
    )
    weight_per_token: bool = setting(
        False,
        "divide the n-gram weight by the document's number of tokens, so that length does not count; of the ratio, or "
        "of given weights",
        task="weights",
        commands=(*SCORING, "tune"),
    )
    ngram_weights: tuple[str, ...] = _precomputed(
        (),
        "log weights instead of computing the n-gram weights: .npy or .parquet, for each document in corpus order one "
        "number, or one number per target",
    )
    gmm_weights: tuple[str, ...] = _precomputed(
        (), "log weights instead of computing the embedding weights, as for --ngram_weights"
    )

    @property
    def uses_ngrams(self) -> bool:
        """Whether n-gram weights count."""
        return self.alpha > 0

    @property
    def uses_embeddings(self) -> bool:
        """Whether embedding weights count."""
        return self.alpha < 1

    @property
    def fits_ngrams(self) -> bool:
        """Whether n-gram weights are computed."""
        return self.uses_ngrams and not self.ngram_weights

    @property
    def scores_embeddings(self) -> bool:
        """Whether embedding weights are computed."""
        return self.uses_embeddings and not self.gmm_weights

    def files(self, name: str) -> Dataset | None:
        """The files of weights that are given by the setting of this name."""
        patterns: tuple[str, ...] = getattr(self, name)
        return Dataset(name, patterns) if patterns else None
