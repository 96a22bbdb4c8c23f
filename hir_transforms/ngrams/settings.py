"""The settings of fitting an n-gram estimator; those of the features are beside them (`features.py`)."""

import functools
from dataclasses import dataclass

from hir_transforms.common.settings import (
    ALL_OR_SOME,
    FITTING,
    INT32_MAX,
    TRYING,
    Settings,
    between,
    choice,
    not_negative,
    setting,
)

# From cheap to dear.
ESTIMATORS = ("ratio", "classifier")
_AUTO_NGRAMS_PER_BUCKET = 100_000

_fit_setting = functools.partial(setting, task="n-grams", commands=FITTING)


@dataclass(frozen=True, kw_only=True)
class NgramFitOptions(Settings):
    """How the n-gram estimator is fitted."""

    ngram_estimator: str = _fit_setting(
        "ratio",
        "ratio: of n-gram probabilities, as DSIR; classifier: cross-fitted logistic regression on each document's "
        "n-grams; auto: the one that finds more of hidden target documents",
        kind=choice(*ESTIMATORS),
        commands=TRYING,
        can_be_auto=True,
    )
    num_documents_to_fit: int = _fit_setting(
        50_000,
        "documents of raw, drawn uniformly, and of each target that the classifier is fitted to, at most",
        check=between(1, INT32_MAX),
    )
    num_tokens_to_fit: str = _fit_setting(
        "auto",
        "n-grams of raw to fit the ratio on, in blocks drawn uniformly; auto: 100,000 per bucket, as DSIR",
        kind=ALL_OR_SOME,
    )
    target_laplace_smoothing: float = _fit_setting(
        0.0,
        "added by the ratio to the count of each bucket of the target",
        check=not_negative,
        shown_default="0",
        commands=TRYING,
    )

    def max_ngrams(self, num_buckets: int) -> int | None:
        """Most n-grams of raw to fit on; None for all."""
        if self.num_tokens_to_fit == "all":
            return None
        if self.num_tokens_to_fit == "auto":
            return _AUTO_NGRAMS_PER_BUCKET * num_buckets
        return int(self.num_tokens_to_fit)
