"""Where else the line could be: what n-grams alone would select, and what fewer and more documents would be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hir_transforms.report.places import PlaceSample, Size
from hir_transforms.report.quality import NGRAMS, RANDOM, SELECTED
from hir_transforms.report.rows import ReportedRows

# The sets that are held against the target, and the ones of the what-if curve.
SIZE = Size(2000, 3 << 20)
WHAT_IF_SIZE = Size(500, 3 << 19)
_FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_LEAST_DOCUMENTS = 50


@dataclass(frozen=True)
class Cut:
    """A line, and how many documents have keys of at least that."""

    least_key: float
    documents: int


@dataclass(frozen=True)
class Cuts:
    """Lines at which documents could be told apart.

    Attributes:
        ngrams: of the keys that n-grams alone make, for about as many documents as are selected; None where that
            is the selection itself, or is not known.
        what_if: of the keys, ascending in documents; none for several targets.
    """

    ngrams: Cut | None = None
    what_if: tuple[Cut, ...] = ()

    @classmethod
    def of(cls, measured: Mapping[str, Any]) -> "Cuts":
        """Those of a corpus, from the sums of what `measure_rows` gives."""
        if not (selected := measured.get("selected", 0)) or "keys" not in measured:
            return cls()
        keys, ngram_keys = measured["keys"], measured.get("ngram-keys")
        eligible = int(measured["lengths"].sum())
        wanted = [factor * selected for factor in _FACTORS if _LEAST_DOCUMENTS <= factor * selected < eligible]
        cuts = {Cut(*keys.cut(number)) for number in wanted}
        return cls(
            None if ngram_keys is None else Cut(*ngram_keys.cut(selected)),
            tuple(sorted(cuts, key=lambda cut: cut.documents)),
        )


def what_if_name(number: int) -> str:
    """The name of the set of a cut."""
    return f"cut-{number}"


def sample_sets(rows: ReportedRows, cuts: Cuts, is_loaded: bool) -> Iterator[tuple[str, PlaceSample]]:
    """The samples of each set of rows, by its name; `is_loaded` tells that a function gives their records."""
    sets = {RANDOM: np.ones(len(rows.hashes), np.bool_), SELECTED: rows.selected}
    ngram_keys = rows.ngram_keys
    if cuts.ngrams and ngram_keys is not None:
        sets[NGRAMS] = ngram_keys >= cuts.ngrams.least_key
    for name, members in sets.items():
        yield name, PlaceSample.of(rows, members, SIZE, is_loaded)
    for number, cut in enumerate(cuts.what_if):
        members = rows.keys[:, 0] >= cut.least_key
        yield what_if_name(number), PlaceSample.of(rows, members, WHAT_IF_SIZE, is_loaded)
