"""The interface of `data-selection` 1.0.3 and of HIR's research code, for programs written for them."""

from hir_transforms.compat.base import DSIR, default_load_dataset_fn, default_parse_example_fn
from hir_transforms.compat.hashed_ngram_dsir import HashedNgramDSIR
from hir_transforms.compat.ngram_counts import get_ngram_counts, hash_buckets

__all__ = [
    "DSIR",
    "HashedNgramDSIR",
    "default_load_dataset_fn",
    "default_parse_example_fn",
    "get_ngram_counts",
    "hash_buckets",
]
