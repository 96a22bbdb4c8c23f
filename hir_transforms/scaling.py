"""`ScaleWeights`: weights of score shards from standardised parts, in a second pass that reads no text."""

from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np

from hir_transforms.combining import MergeCombineFn
from hir_transforms.numerics.hybrid import hybrid_weight
from hir_transforms.numerics.standardizing import WeightMoments
from hir_transforms.score_shards import ScoreShard, read_parts, rewrite_weight, score_path
from hir_transforms.scoring import count_shards
from hir_transforms.stages import Stage, WriteStageManifest


@dataclass(frozen=True)
class PartMoments:
    """Moments of both parts of the weight over eligible documents."""

    ngram: WeightMoments = field(default_factory=WeightMoments)
    gmm: WeightMoments = field(default_factory=WeightMoments)

    def merge(self, other: "PartMoments") -> "PartMoments":
        """Moments over both sets of documents; exact."""
        return PartMoments(self.ngram.merge(other.ngram), self.gmm.merge(other.gmm))

    def summary(self) -> dict[str, Any]:
        """For the manifest."""
        parts = {"ngram": self.ngram, "gmm": self.gmm}
        return {name: {"documents": part.count, "mean": part.mean, "std": part.std} for name, part in parts.items()}


class ScaleWeights(beam.PTransform):
    """`ScoreShard`s without weights -> the same with weights, written to the stage's folder.

    The weight is alpha * ngram + (1 - alpha) * gmm of parts that have zero mean and unit variance over the documents
    of at least `min_example_length` tokens.
    """

    def __init__(self, stage: Stage, alpha: float, min_example_length: int) -> None:
        super().__init__()
        self._stage = stage
        self._alpha = alpha
        self._min_example_length = min_example_length

    def expand(self, shards: beam.PCollection[ScoreShard]) -> beam.PCollection[ScoreShard]:
        """See the class."""
        spread = shards | "Spread" >> beam.Reshuffle()
        parts = spread | "Moments" >> beam.Map(_moments, self._min_example_length)
        moments = beam.pvalue.AsSingleton(parts | "Merge" >> beam.CombineGlobally(MergeCombineFn(PartMoments.merge)))
        scaled = spread | "Scale" >> beam.Map(_scale, moments, self._alpha, self._stage.folder)
        (
            scaled
            | "Gather" >> beam.combiners.ToList()
            | "Counts" >> beam.Map(_counts, moments)
            | "Manifest" >> WriteStageManifest(self._stage)
        )
        return scaled


def _moments(shard: ScoreShard, min_example_length: int) -> PartMoments:
    if shard.path is None:
        return PartMoments()
    num_tokens, ngram, gmm = read_parts(shard.path)
    eligible = num_tokens >= min_example_length
    of_part = (WeightMoments() if part is None else WeightMoments.of(part[eligible]) for part in (ngram, gmm))
    return PartMoments(*of_part)


def _scale(shard: ScoreShard, moments: PartMoments, alpha: float, folder: str) -> ScoreShard:
    if shard.path is None:
        return shard
    _, ngram, gmm = read_parts(shard.path)
    path = score_path(folder, shard.index)
    rewrite_weight(
        shard.path, path, hybrid_weight(_standardized(ngram, moments.ngram), _standardized(gmm, moments.gmm), alpha)
    )
    return ScoreShard(shard.index, path, shard.rows, shard.rejected)


def _standardized(part: np.ndarray | None, moments: WeightMoments) -> np.ndarray | None:
    return None if part is None else moments.standardize(part)


def _counts(shards: list[ScoreShard], moments: PartMoments | None) -> dict[str, Any]:
    return {**count_shards(shards), "standardized": (moments or PartMoments()).summary()}
