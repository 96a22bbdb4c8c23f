"""A transform of weights in anyone's pipeline: `SampleDocuments`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np

from hir_transforms.common.combining import Gather, MergeCombineFn
from hir_transforms.common.errors import UserError
from hir_transforms.documents.keys import key_hashes
from hir_transforms.selection.eligible import ScoreCounts
from hir_transforms.selection.gumbel import gumbel_noise
from hir_transforms.selection.measures import PassResult, Piece, from_pieces, merge_pieces, to_pieces
from hir_transforms.selection.threshold import MAX_PASSES, ThresholdSearch, order_bits

K = TypeVar("K")
_BATCH_DOCUMENTS = 1 << 14
_STATE = ("state", 0, 0)


@dataclass(eq=False)
class SampleDocuments(beam.PTransform):
    """(key, log weight) -> the keys of a sample without replacement, with probabilities proportional to exp(weight).

    By Gumbel top-k (Kool, van Hoof and Welling, arXiv 1903.06059): what is taken are the largest weights, each plus
    noise that is a function of the seed and the key. So the sample is a function of the keys, the weights and the
    seed: bundles and workers do not show, and a larger k adds to the sample of a smaller one. Of equal ones those with
    the smaller hashes of their keys come first. A document whose weight is NaN is never taken.

    Keys are strings, bytes, integers of 64 bits or tuples of such, each different from the others. The search for the
    threshold takes up to eight passes over 16 bytes per document and its key; no worker holds them all.

    Attributes:
        k: documents to take.
        tokens: instead of k, the most tokens that the documents taken have together: as many of the first ones are
            taken as fit. Elements are then (key, (log weight, tokens of the document)).
        top_k: whether to take the largest weights themselves, without noise.
        seed: of the noise.

    Raises:
        ValueError: unless one of k and tokens is given, at least 1.
        UserError: when run, if there are fewer documents or tokens than asked for.
        TypeError: when run, for a key of another type.

    Example:
        >>> import apache_beam as beam
        >>> from hir_transforms import SampleDocuments
        >>> with beam.Pipeline() as pipeline:
        ...     weights = pipeline | beam.Create([("good", 9.0), ("bad", -50.0)])
        ...     _ = weights | SampleDocuments(k=1) | beam.Map(print)
        good
    """

    k: int | None = None
    tokens: int | None = None
    top_k: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.k is None) == (self.tokens is None):
            raise ValueError("give either k or tokens")
        if self.budget < 1:
            raise ValueError(f"{self._unit} must be at least 1, not {self.budget}")

    @property
    def budget(self) -> int:
        """Documents or tokens to take."""
        budget = self.tokens if self.k is None else self.k
        assert budget is not None
        return budget

    @property
    def _unit(self) -> str:
        return "tokens" if self.k is None else "k"

    def expand(self, weights: beam.PCollection[tuple[K, Any]]) -> beam.PCollection[K]:
        """See the class."""
        ranked = (
            weights
            | "Batch" >> beam.BatchElements(max_batch_size=_BATCH_DOCUMENTS)
            | "Rank" >> beam.Map(_rank, self.tokens is not None, self.top_k, self.seed)
            # So that what weighs the documents is not done again for each pass.
            | "Keep" >> beam.Reshuffle()
        )
        search = weights.pipeline | "Start" >> beam.Create([ThresholdSearch.start(self.budget)])
        for number in range(MAX_PASSES):
            search = (
                ranked
                | f"Pass{number}/Measure" >> beam.FlatMap(_measure, beam.pvalue.AsSingleton(search))
                | f"Pass{number}/Merge" >> beam.CombinePerKey(MergeCombineFn(merge_pieces))
                | f"Pass{number}/Gather" >> Gather()
                | f"Pass{number}/Advance" >> beam.Map(_advance, self.budget, self._unit)
            )
        return ranked | "Take" >> beam.FlatMap(_take, beam.pvalue.AsSingleton(search))


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Documents of one batch: keys, `order_bits` [N], uint64 [N] that break ties, and tokens, int64 [N] or None."""

    keys: Sequence[Any]
    bits: np.ndarray
    ties: np.ndarray
    tokens: np.ndarray | None


def _rank(batch: list[tuple[Any, Any]], with_tokens: bool, top_k: bool, seed: int) -> _Ranked:
    keys = [key for key, _ in batch]
    weights = np.array([value[0] if with_tokens else value for _, value in batch], np.float64)
    tokens = np.array([value[1] for _, value in batch], np.int64) if with_tokens else None
    known = ~np.isnan(weights)
    if not known.all():
        keys = [keys[place] for place in np.flatnonzero(known)]
        weights, tokens = weights[known], None if tokens is None else tokens[known]
    ranks = weights if top_k else weights + gumbel_noise(key_hashes(seed, keys))
    # A bit less than there are: the search wants positions below 2^64 - 1.
    return _Ranked(keys, order_bits(ranks), key_hashes(seed, keys, purpose="ties") >> np.uint64(1), tokens)


@dataclass(frozen=True)
class _State:
    """What is known of the threshold before a pass: it comes with what the pass finds, so that one path leads on."""

    search: ThresholdSearch

    def merge(self, other: "_State") -> "_State":
        """Either: all documents are measured in one state."""
        del other
        return self


def _measure(ranked: _Ranked, search: ThresholdSearch) -> Iterator[Piece]:
    yield _STATE, _State(search)
    if search.threshold is None and ranked.keys:
        found = search.measure(ranked.bits, ranked.ties, ranked.tokens)
        yield from to_pieces(PassResult(ScoreCounts(eligible=len(ranked.keys)), found), int(ranked.ties[0]))


def _advance(pieces: list[Piece], budget: int, unit: str) -> ThresholdSearch:
    states = [piece for key, piece in pieces if key == _STATE]
    search = states[0].search if states else ThresholdSearch.start(budget)
    result = from_pieces(piece for piece in pieces if piece[0] != _STATE)
    search = search.advance(result.found if result else None)
    if search.total is not None and search.total < budget:
        what = "tokens" if unit == "tokens" else "documents"
        raise UserError(f"{unit}: {budget} {what} asked for, but there are only {search.total} with a weight")
    return search


def _take(ranked: _Ranked, search: ThresholdSearch) -> Iterator[Any]:
    assert search.threshold is not None
    for place in np.flatnonzero(search.threshold.takes(ranked.bits, ranked.ties)).tolist():
        yield ranked.keys[place]
