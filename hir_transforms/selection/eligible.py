"""What may be selected and in which order: the eligible rows of a score shard and their keys."""

import itertools
from dataclasses import dataclass, fields, replace

import numpy as np

from hir_transforms.common.errors import UserError
from hir_transforms.documents.identity import file_state, offset_hash
from hir_transforms.selection.duplicates import duplicate_rows
from hir_transforms.selection.effective_size import WeightSums
from hir_transforms.selection.gumbel import MAX_NOISE, MIN_NOISE, gumbel_noise
from hir_transforms.selection.settings import SamplingSettings
from hir_transforms.selection.threshold import Threshold, order_bits, pack_positions
from hir_transforms.weights.score_shards import ScoreRows, ScoreShard, read_scores


@dataclass(frozen=True)
class SelectionSettings(SamplingSettings):
    """How many documents to select, and how; one of the two budgets is None.

    Attributes:
        duplicates: the folder that tells the duplicates (`duplicate_rows`), which are not selected; None selects them.
    """

    duplicates: str | None = None

    @classmethod
    def of(cls, sampling: SamplingSettings, duplicates: str | None = None) -> "SelectionSettings":
        """Those of what the user asks for."""
        return cls(
            **{one.name: getattr(sampling, one.name) for one in fields(SamplingSettings)}, duplicates=duplicates
        )


@dataclass(frozen=True)
class ScoreCounts:
    """Documents of raw by what selection may do with them; `read` is the sum of all numbers.

    Attributes:
        rejected, short, duplicate, eligible: numbers of documents.
        weights: of the eligible ones, for each target; empty where not asked for.
    """

    rejected: int = 0
    short: int = 0
    duplicate: int = 0
    eligible: int = 0
    weights: tuple[WeightSums, ...] = ()

    def merge(self, other: "ScoreCounts") -> "ScoreCounts":
        """Counts of both."""
        return ScoreCounts(
            self.rejected + other.rejected,
            self.short + other.short,
            self.duplicate + other.duplicate,
            self.eligible + other.eligible,
            tuple(
                one.merge(another)
                for one, another in itertools.zip_longest(self.weights, other.weights, fillvalue=WeightSums())
            ),
        )

    def summary(self) -> dict[str, int]:
        """For the manifest."""
        return {
            "read": self.rejected + self.short + self.duplicate + self.eligible,
            "rejected": self.rejected,
            "short": self.short,
            "duplicate": self.duplicate,
            "eligible": self.eligible,
        }

    def explain(self, settings: SelectionSettings) -> str:
        """Why there are not more, for messages."""
        duplicate = f", {self.duplicate} duplicates" if settings.duplicates is not None else ""
        return (
            f"({self.summary()['read']} read, {self.rejected} rejected, {self.short} shorter than "
            f"{settings.min_example_length} tokens{duplicate}); ask for fewer, or lower --min_example_length"
        )


def too_few(total: int, counts: ScoreCounts, settings: SelectionSettings) -> str:
    """The error for a budget of more documents or tokens than the `total` that is eligible."""
    if settings.counts_tokens:
        what = f"--num_tokens_to_sample: {settings.budget} tokens asked for, but eligible documents have only {total}"
    else:
        what = f"--num_to_sample: {settings.budget} documents asked for, but only {total} are eligible"
    return f"{what} {counts.explain(settings)}"


class EligibleRows:
    """The rows of a score shard that may be selected.

    Attributes:
        rows: all rows of the shard.
        row_indices: int64 [N], the eligible ones among them.
        corpus_positions: uint64 [N], their positions in the corpus, as `pack_positions` gives them.
        num_tokens: int64 [N].
        counts: of the whole shard.
    """

    def __init__(self, shard: ScoreShard, settings: SelectionSettings) -> None:
        assert shard.path is not None
        self.rows: ScoreRows = read_scores(shard.path)
        self._settings = settings
        eligible = self.rows.num_tokens >= settings.min_example_length
        num_long = int(np.count_nonzero(eligible))
        if settings.duplicates is not None:
            eligible[duplicate_rows(settings.duplicates, shard.index)] = False
        self.row_indices = np.flatnonzero(eligible)
        num_eligible = len(self.row_indices)
        self.counts = ScoreCounts(shard.rejected, len(eligible) - num_long, num_long - num_eligible, num_eligible)
        self.num_tokens = self.rows.num_tokens[self.row_indices].astype(np.int64)
        file_index = np.array([file.index for file in self.rows.files], np.int64)
        self._file = self.rows.file[self.row_indices]
        self._offset = self.rows.offset[self.row_indices]
        try:
            self.corpus_positions = pack_positions(file_index[self._file], self._offset)
        except ValueError as error:
            raise UserError(f"--raw: {error}; select from parts of the corpus") from None

    def weigh(self) -> ScoreCounts:
        """The counts with the sums of weights, which take longer."""
        weights = self.rows.weight[self.row_indices].T
        return replace(self.counts, weights=tuple(WeightSums.of(column) for column in weights))

    def possible(self, target: int, least: float, most: float = np.inf) -> np.ndarray:
        """Rows whose key for the target may lie in [least, most], whatever their noise is, int64 [N] (and nan)."""
        weights = self.rows.weight[self.row_indices, target]
        lowest, highest = (0.0, 0.0) if self._settings.top_k else (MIN_NOISE, MAX_NOISE)
        return np.flatnonzero(~(weights + highest < least) & ~(weights + lowest > most))

    def keys(self, target: int, rows: np.ndarray) -> np.ndarray:
        """Keys of some of the rows, float64: the weight, with Gumbel noise from (seed, identity) unless `top_k`."""
        keys = self.rows.weight[self.row_indices[rows], target]
        if self._settings.top_k:
            return keys
        # Each target draws anew.
        purpose = f"target-{target}" if target else ""
        states = np.array(
            [file_state(self._settings.seed, file.name, purpose=purpose) for file in self.rows.files], np.uint64
        )
        hashes = offset_hash(states[self._file[rows]], self._offset[rows])
        return keys + gumbel_noise(hashes)

    def taken(self, target: int, threshold: Threshold) -> tuple[np.ndarray, np.ndarray]:
        """The rows that come before the threshold by their keys for the target, int64 [N], and these keys."""
        rows = self.possible(target, threshold.least_key)
        keys = self.keys(target, rows)
        taken = threshold.takes(order_bits(keys), self.corpus_positions[rows])
        return rows[taken], keys[taken]
