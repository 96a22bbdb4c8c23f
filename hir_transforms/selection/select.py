"""`PickDocuments`: finds the documents with the largest keys, and picks their rows out of the score shards."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.typehints.decorators import no_annotations

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common import metrics
from hir_transforms.common.combining import Gather, MergeCombineFn
from hir_transforms.common.errors import UserError
from hir_transforms.selection.eligible import EligibleRows, ScoreCounts, SelectionSettings, too_few
from hir_transforms.selection.measures import PassResult, Piece, from_pieces, merge_pieces, to_pieces
from hir_transforms.selection.picked import PickedFile, write_picked
from hir_transforms.selection.threshold import MAX_PASSES, RankedRows, Threshold, ThresholdSearch, order_bits
from hir_transforms.weights.score_shards import ScoreShard, default_proportions, load_score_shards, read_ids

# What its metrics are counted under, as those of a stage.
SELECTION = "selection"
# Up to this many documents `Top.Of` takes fewer steps; beyond, it would funnel too many rows through one key.
MAX_TOP = 1000
# Tasks of a pass, which has a copy of the state in each: of more shards than these, neighbours are one task.
_MAX_TASKS = 4096
_STATE = ("state", 0, 0)
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True)
class SelectionState:
    """What is known of the thresholds, which are found one target after the other.

    Attributes:
        scores: the complete stage of the score shards.
        proportions: of the targets.
        shares: documents or tokens to take for each target.
        thresholds: those that are known.
        search: of the next target.
        counts: of all score shards, known after the first pass.
    """

    scores: Stage
    proportions: tuple[float, ...]
    shares: tuple[int, ...]
    thresholds: tuple[Threshold, ...]
    search: ThresholdSearch
    counts: ScoreCounts | None = None

    def merge(self, other: "SelectionState") -> "SelectionState":
        """Either: all shards are measured in one state."""
        del other
        return self


# Score shards to read, and what is known before they are.
_Task = tuple[tuple[ScoreShard, ...], SelectionState]


@dataclass(eq=False)
class PickDocuments(beam.PTransform):
    """The complete stage of the scores -> (`PickedFile`s, the one `SelectionState` that picked them).

    Up to `MAX_TOP` documents for one target are found by `Top.Of`. More, a number of tokens, or shares of several
    targets are found by passes that refine a histogram, all of them laid out in advance. A pass that is not needed
    reads nothing.

    Each pass lists the shards anew from the state before it, which is all that goes in: did the passes read one
    PCollection, the paths that lead to it would count once for each of them, to more than runners can plan.

    Attributes:
        settings: what to select.
        folder: where the picked rows are written, a file for each shard that has any.
        num_targets: columns of weights, each for one target.
        proportions: each target's share, adding up to 1; None for the default that the scores' manifest tells.

    Raises:
        UserError: when run, if fewer documents or tokens are eligible than asked for.
    """

    settings: SelectionSettings
    folder: str
    _: KW_ONLY
    num_targets: int = 1
    proportions: tuple[float, ...] | None = None

    @no_annotations  # Beam cannot check more than one output
    def expand(
        self, scores: beam.PCollection[Stage]
    ) -> tuple[beam.PCollection[PickedFile], beam.PCollection[SelectionState]]:
        """See the class."""
        settings = self.settings
        by_top = self.num_targets == 1 and not settings.counts_tokens and settings.budget <= MAX_TOP
        state = scores | "Start" >> beam.Map(start_selection, self.proportions, settings, gathers=by_top)
        if by_top:
            state = _top_pass(state, settings)
        else:
            for number in range(MAX_PASSES * self.num_targets):
                state = _refining_pass(state, settings, f"Pass{number}")
        picked = (
            state
            | "List" >> beam.FlatMap(list_tasks)
            | "Spread" >> beam.Reshuffle()
            | "Pick" >> beam.FlatMap(_pick, settings, self.folder)
        )
        return picked, state


def _top_pass(
    state: beam.PCollection[SelectionState], settings: SelectionSettings
) -> beam.PCollection[SelectionState]:
    offered = (
        state
        | "ListOffering" >> beam.FlatMap(list_tasks)
        | "SpreadOffering" >> beam.Reshuffle()
        | "Offer" >> beam.FlatMap(_offer, settings).with_outputs("counts", main="ranks")
    )
    counts = offered.counts | "Count" >> beam.CombineGlobally(MergeCombineFn(ScoreCounts.merge))
    return (
        offered.ranks
        # One more than wanted: the threshold is the first document that is not taken.
        | "Top" >> beam.combiners.Top.Of(settings.budget + 1)
        | "End" >> beam.Map(end_top, beam.pvalue.AsSingleton(counts), beam.pvalue.AsSingleton(state), settings)
    )


def _refining_pass(
    state: beam.PCollection[SelectionState], settings: SelectionSettings, label: str
) -> beam.PCollection[SelectionState]:
    """The state after a pass; the state before comes with what is measured in it, by the same path."""
    return (
        state
        | f"{label}/List" >> beam.FlatMap(_list_measuring)
        | f"{label}/Spread" >> beam.Reshuffle()
        | f"{label}/Measure" >> beam.FlatMap(_measure, settings)
        | f"{label}/Merge" >> beam.CombinePerKey(MergeCombineFn(merge_pieces))
        | f"{label}/Gather" >> Gather()
        | f"{label}/Advance" >> beam.Map(_advance, settings)
    )


def list_tasks(state: SelectionState) -> Iterator[_Task]:
    """All score shards."""
    shards = tuple(load_score_shards(state.scores))
    size = max(1, -(-len(shards) // _MAX_TASKS))
    for first in range(0, len(shards), size):
        yield shards[first : first + size], state


def _list_measuring(state: SelectionState) -> Iterator[_Task]:
    """All score shards if the next pass is needed; and a task without any, which hands the state on."""
    yield (), state
    if state.search.threshold is None:
        yield from list_tasks(state)


def _measure(task: _Task, settings: SelectionSettings) -> Iterator[Piece]:
    shards, state = task
    if not shards:
        yield _STATE, state
    for shard in shards:
        metrics.count(SELECTION, measured=shard.rows)
        for measured in measure_shard(shard, state, settings):
            yield from to_pieces(measured, shard.index)


def _advance(pieces: list[Piece], settings: SelectionSettings) -> SelectionState:
    state = dict(pieces)[_STATE]
    return advance_selection(state, from_pieces(piece for piece in pieces if piece[0] != _STATE), settings)


def start_selection(
    scores: Stage, proportions: tuple[float, ...] | None, settings: SelectionSettings, *, gathers: bool = False
) -> SelectionState:
    """The state in which nothing is known. Shares are floored, and the last target takes the rest, as in DSIR.

    Without proportions, those that the scores' manifest tells are taken. With `gathers` the first pass for the first
    target must gather its first documents.
    """
    proportions = proportions or default_proportions(scores)
    assert proportions
    shares = [int(settings.budget * proportion) for proportion in proportions]
    shares[-1] += settings.budget - sum(shares)
    start = ThresholdSearch.start(shares[0], gathers=gathers)
    return _settle(SelectionState(scores, proportions, tuple(shares), (), start))


def _settle(state: SelectionState) -> SelectionState:
    """Goes on to the next target whose threshold is not known."""
    thresholds, search = state.thresholds, state.search
    while search.threshold is not None and len(thresholds) < len(state.shares):
        thresholds = (*thresholds, search.threshold)
        if len(thresholds) < len(state.shares):
            search = ThresholdSearch.start(state.shares[len(thresholds)])
    return replace(state, thresholds=thresholds, search=search)


def measure_shard(shard: ScoreShard, state: SelectionState, settings: SelectionSettings) -> Iterator[PassResult]:
    """What the next pass has to know of a shard; nothing once all thresholds are known."""
    if state.search.threshold is not None:
        return
    if shard.path is None:
        yield PassResult(ScoreCounts(rejected=shard.rejected), None)
        return
    eligible = EligibleRows(shard, settings)
    left = np.ones(len(eligible.row_indices), bool)
    for target, threshold in enumerate(state.thresholds):
        left[eligible.taken(target, threshold)[0]] = False
    target = len(state.thresholds)
    rows = eligible.possible(target, *state.search.keys)
    rows = rows[left[rows]]
    amounts = eligible.num_tokens[rows] if settings.counts_tokens else None
    found = state.search.measure(order_bits(eligible.keys(target, rows)), eligible.corpus_positions[rows], amounts)
    yield PassResult(eligible.counts if state.counts else eligible.weigh(), found)


def advance_selection(
    state: SelectionState, measured: PassResult | None, settings: SelectionSettings
) -> SelectionState:
    """The next state; raises `UserError` where too few documents or tokens are eligible."""
    if state.search.threshold is not None:
        return state
    measured = measured or PassResult(ScoreCounts(), None)
    search = state.search.advance(measured.found)
    state = replace(state, search=search, counts=state.counts or measured.counts)
    if search.total is not None and search.total < state.shares[len(state.thresholds)]:
        raise UserError(_too_few(search.total, state, settings))
    return _settle(state)


def _offer(task: _Task, settings: SelectionSettings) -> Iterator[Any]:
    shards, state = task
    for shard in shards:
        metrics.count(SELECTION, measured=shard.rows)
        yield from offer_first(shard, state, settings)


def offer_first(shard: ScoreShard, state: SelectionState, settings: SelectionSettings) -> Iterator[Any]:
    """The first rows of a shard, one more than the budget, as numbers of which the larger pair ranks first."""
    for measured in measure_shard(shard, state, settings):
        yield beam.pvalue.TaggedOutput("counts", measured.counts)
        if isinstance(measured.found, RankedRows):
            bits, positions = measured.found.bits, measured.found.positions
            first = np.lexsort((positions, ~bits))[: settings.budget + 1]
            yield from zip(_signed(bits[first]), _signed(~positions[first]), strict=True)


def end_top(
    ranks: list[tuple[int, int]], counts: ScoreCounts | None, state: SelectionState, settings: SelectionSettings
) -> SelectionState:
    """The next state, from the first rows of all."""
    found = None
    if ranks:
        bits, turned = (np.array(column, np.int64).view(np.uint64) ^ _SIGN for column in zip(*ranks, strict=True))
        found = RankedRows(bits, ~turned, np.ones(len(bits), np.int64))
    return advance_selection(state, PassResult(counts or ScoreCounts(), found), settings)


def _signed(values: np.ndarray) -> list[int]:
    """Integers of 64 bits that are ordered like unsigned ones."""
    return (values ^ _SIGN).view(np.int64).tolist()


def _too_few(total: int, state: SelectionState, settings: SelectionSettings) -> str:
    counts = state.counts or ScoreCounts()
    target, num_targets = len(state.thresholds), len(state.shares)
    if num_targets == 1:
        return too_few(total, counts, settings)
    flag, unit = ("num_tokens_to_sample", "tokens") if settings.counts_tokens else ("num_to_sample", "documents")
    wanted = f"{settings.budget} {unit} asked for, of which target {target + 1} of {num_targets} takes"
    left = "that no target before has taken" if target else "eligible"
    return f"--{flag}: {wanted} {state.shares[target]}, but there are only {total} {left} {counts.explain(settings)}"


def _pick(task: _Task, settings: SelectionSettings, folder: str) -> Iterator[PickedFile]:
    shards, state = task
    for shard in shards:
        if shard.path is not None:
            yield from _pick_rows(shard, state, settings, folder)


def _pick_rows(
    shard: ScoreShard, state: SelectionState, settings: SelectionSettings, folder: str
) -> Iterator[PickedFile]:
    """Writes the selected rows of a shard."""
    assert shard.path is not None
    eligible = EligibleRows(shard, settings)
    chosen, keys = choose_rows(eligible, state)
    rows = np.flatnonzero(chosen >= 0)
    if rows.size:
        ids = read_ids(shard.path)
        metrics.count(SELECTION, picked=rows.size)
        yield write_picked(folder, shard.index, eligible, rows, keys[rows], chosen[rows], len(state.shares), ids)


def choose_rows(eligible: EligibleRows, state: SelectionState) -> tuple[np.ndarray, np.ndarray]:
    """For which target each eligible row is selected, int32 [N], -1 for none; and the keys of those, float64 [N]."""
    chosen = np.full(len(eligible.row_indices), -1, np.int32)
    keys = np.empty(len(chosen))
    for target, threshold in enumerate(state.thresholds):
        taken, taken_keys = eligible.taken(target, threshold)
        new = chosen[taken] < 0
        chosen[taken[new]] = target
        keys[taken[new]] = taken_keys[new]
    return chosen, keys
