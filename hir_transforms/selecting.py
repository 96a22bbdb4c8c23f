"""`SelectDocuments`: the k documents with the largest keys, as references to their lines."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from hir_transforms.errors import UserError
from hir_transforms.numerics.gumbel import gumbel_noise, identity_hash
from hir_transforms.score_shards import ScoreRows, ScoreShard, read_scores


@dataclass(frozen=True, order=True)
class Candidate:
    """A document in the order of selection: by key, then the earlier in the corpus first."""

    key: float
    before_file: int
    before_offset: int
    path: str
    length: int
    weight: float

    @property
    def place(self) -> tuple[int, int]:
        """(file index, offset): corpus order."""
        return -self.before_file, -self.before_offset

    @property
    def offset(self) -> int:
        """Byte offset of the line in the uncompressed file."""
        return -self.before_offset


@dataclass(frozen=True)
class SelectionSettings:
    """How many documents to select, and how.

    Attributes:
        num_to_sample: k.
        top_k: the largest weights; otherwise the largest weight + Gumbel noise, which samples without replacement.
        seed: of the noise.
        min_example_length: documents of fewer tokens are never selected.
    """

    num_to_sample: int
    top_k: bool
    seed: int
    min_example_length: int


@dataclass(frozen=True)
class ScoreCounts:
    """Documents of raw by what selection may do with them; `read` = `rejected` + `short` + `eligible`."""

    rejected: int = 0
    short: int = 0
    eligible: int = 0

    def merge(self, other: "ScoreCounts") -> "ScoreCounts":
        """Counts of both."""
        return ScoreCounts(self.rejected + other.rejected, self.short + other.short, self.eligible + other.eligible)

    def summary(self) -> dict[str, int]:
        """For the manifest."""
        return {
            "read": self.rejected + self.short + self.eligible,
            "rejected": self.rejected,
            "short": self.short,
            "duplicate": 0,
            "eligible": self.eligible,
        }


def selection_keys(rows: ScoreRows, settings: SelectionSettings) -> np.ndarray:
    """Keys of documents, float64 [N]: the weight, with Gumbel noise from (seed, identity) unless `top_k`."""
    if settings.top_k:
        return rows.weight
    hashes = np.empty(len(rows.weight), np.uint64)
    # A shard is in corpus order, so the rows of a file follow each other; any order would be right.
    starts = np.flatnonzero(np.diff(rows.file, prepend=-1))
    for begin, end in itertools.pairwise([*starts.tolist(), len(rows.file)]):
        _, _, name = rows.files[rows.file[begin]]
        hashes[begin:end] = identity_hash(settings.seed, name, rows.offset[begin:end])
    return rows.weight + gumbel_noise(hashes)


@dataclass(frozen=True)
class Selection:
    """The selected documents in corpus order, and what they were selected from."""

    candidates: list[Candidate]
    counts: ScoreCounts


class SelectDocuments(beam.PTransform):
    """`ScoreShard`s -> the `Selection` of the k documents with the largest keys.

    Each shard offers its own k largest, `Top.Of` keeps the k largest of all.

    Raises (when run):
        UserError: if fewer documents are eligible than asked for.
    """

    def __init__(self, settings: SelectionSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, shards: beam.PCollection[ScoreShard]) -> beam.PCollection[Selection]:
        """See the class."""
        offered = (
            shards
            | "Spread" >> beam.Reshuffle()
            | "Offer" >> beam.FlatMap(_offer, self._settings).with_outputs("counts", main="candidates")
        )
        counts = offered.counts | "Sum" >> beam.CombineGlobally(_sum_counts)
        return (
            offered.candidates
            | "Top" >> beam.combiners.Top.Of(self._settings.num_to_sample)
            | "Check" >> beam.Map(_check_enough, beam.pvalue.AsSingleton(counts), self._settings)
        )


def _offer(shard: ScoreShard, settings: SelectionSettings) -> Iterator[Any]:
    if shard.path is None:
        yield beam.pvalue.TaggedOutput("counts", ScoreCounts(rejected=shard.rejected))
        return
    rows = read_scores(shard.path)
    eligible = np.flatnonzero(rows.num_tokens >= settings.min_example_length)
    counts = ScoreCounts(shard.rejected, len(rows.weight) - len(eligible), len(eligible))
    yield beam.pvalue.TaggedOutput("counts", counts)
    keys = selection_keys(rows, settings)
    file_index = np.array([index for index, _, _ in rows.files])[rows.file]
    order = np.lexsort((rows.offset[eligible], file_index[eligible], -keys[eligible]))[: settings.num_to_sample]
    for row in eligible[order].tolist():
        yield Candidate(
            float(keys[row]),
            -int(file_index[row]),
            -int(rows.offset[row]),
            rows.files[rows.file[row]][1],
            int(rows.length[row]),
            float(rows.weight[row]),
        )


def _sum_counts(counts: Sequence[ScoreCounts]) -> ScoreCounts:
    total = ScoreCounts()
    for one in counts:
        total = total.merge(one)
    return total


def _check_enough(candidates: list[Candidate], counts: ScoreCounts, settings: SelectionSettings) -> Selection:
    if len(candidates) < settings.num_to_sample:
        summary: dict[str, Any] = counts.summary()
        raise UserError(
            f"--num_to_sample: {settings.num_to_sample} documents asked for, but only {counts.eligible} are eligible "
            f"({summary['read']} read, {counts.rejected} rejected, {counts.short} shorter than "
            f"{settings.min_example_length} tokens); ask for fewer, or lower --min_example_length"
        )
    return Selection(sorted(candidates, key=lambda candidate: candidate.place), counts)
