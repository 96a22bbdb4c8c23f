"""What a report takes from a score shard: the rows that may be selected, and what becomes of each."""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hir_transforms.documents.identity import file_state, offset_hash
from hir_transforms.selection.eligible import EligibleRows, SelectionSettings
from hir_transforms.selection.select import SelectionState, choose_rows
from hir_transforms.weights.score_shards import ScoreShard, read_parts


@dataclass(frozen=True, eq=False)
class ReportedRows:
    """The eligible rows of a shard.

    Attributes:
        eligible: N rows.
        keys: float64 [N, T], what each is selected by.
        chosen: int32 [N], the target that each is selected for, -1 for none.
        parts: of the weight, by name, float64 [N, T].
        hashes: uint64 [N], of which the smallest make a sample.
    """

    eligible: EligibleRows
    keys: npt.NDArray[np.float64]
    chosen: npt.NDArray[np.int32]
    parts: dict[str, npt.NDArray[np.float64]]
    hashes: npt.NDArray[np.uint64]

    @classmethod
    def read(cls, shard: ScoreShard, state: SelectionState, settings: SelectionSettings) -> "ReportedRows | None":
        """The rows of a shard; None where none is eligible."""
        if shard.path is None:
            return None
        eligible = EligibleRows(shard, settings)
        if not len(eligible.row_indices):
            return None
        every = np.arange(len(eligible.row_indices))
        keys = [eligible.keys(target, every) for target in range(len(state.thresholds))]
        parts = {name: values[eligible.row_indices] for name, values in read_parts(shard.path).items()}
        rows = eligible.rows
        states = np.array([file_state(0, file.name, purpose="report") for file in rows.files], np.uint64)
        places, offsets = rows.file[eligible.row_indices], rows.offset[eligible.row_indices]
        hashes = offset_hash(states[places], offsets)
        return cls(eligible, np.stack(keys, axis=1), choose_rows(eligible, state)[0], parts, hashes)

    @property
    def selected(self) -> npt.NDArray[np.bool_]:
        """Which are selected, bool [N]."""
        return self.chosen >= 0

    @functools.cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """The rows by their hashes."""
        return np.lexsort((self.eligible.corpus_positions, self.hashes))

    @property
    def ngram_keys(self) -> npt.NDArray[np.float64] | None:
        """What they would be selected by if n-grams alone decided, float64 [N]; None where nothing else does.

        The noise is that of the selection.
        """
        if self.keys.shape[1] > 1 or not {"ngram", "gmm"} <= self.parts.keys():
            return None
        weight = self.parts["weight"][:, 0]
        with np.errstate(invalid="ignore"):
            noise = self.keys[:, 0] - weight
        return self.parts["ngram"][:, 0] + np.where(np.isfinite(weight), noise, 0.0)
