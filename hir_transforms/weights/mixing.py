"""`WriteScores`: n-gram and embedding weights of document parts to score shards; no text is read."""

from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from hir_transforms.artifacts.stages import Stage, WriteStageManifest
from hir_transforms.common import metrics
from hir_transforms.common.combining import Gather, MergeCombineFn
from hir_transforms.weights.hybrid import hybrid_weight
from hir_transforms.weights.parts import DocumentPart, PartReader, part_path, weight_column
from hir_transforms.weights.score_shards import ScoreShard, count_shards, write_scores
from hir_transforms.weights.standardizing import WeightMoments

Columns = dict[str, np.ndarray]


_COLUMNS = {"ngram_weights": "ngram", "gmm_weights": "gmm"}


@dataclass(frozen=True)
class MixingSettings:
    """How weights are mixed.

    Attributes:
        alpha: weight = alpha * ngram + (1 - alpha) * gmm.
        num_targets: T.
        weight_scaling: one of `SCALINGS`; "standardize" brings both parts to zero mean and unit variance first, over
            the documents of at least `min_example_length` tokens.
        min_example_length: see `weight_scaling`; None where no scaling depends on it.
        weight_per_token: whether n-gram weights are first divided by the document's number of tokens.
    """

    alpha: float
    num_targets: int
    weight_scaling: str
    min_example_length: int | None
    weight_per_token: bool = False

    def dependencies(self) -> dict[str, Any]:
        """All that the scores depend on; the switch only where it is on, so that older scores are still found."""
        return {name: value for name, value in vars(self).items() if name != "weight_per_token" or value}

    def lengthless(self, columns: Columns, documents: pa.Table) -> Columns:
        """Columns of weights, float64 [N, T]; those of n-grams per token if that is wanted, of at least one token.

        Args:
            columns: by name.
            documents: with the column `num_tokens`.
        """
        if not self.weight_per_token:
            return columns
        num_tokens = np.maximum(1, documents["num_tokens"].to_numpy())[:, np.newaxis]
        return columns | {"ngram": columns["ngram"] / num_tokens}


@dataclass(frozen=True)
class PartFolders:
    """Where the parts' documents are, and their weights, by their column's name, "ngram" or "gmm"."""

    documents: str
    weights: dict[str, str]

    @classmethod
    def of(cls, stage: Stage[MixingSettings]) -> "PartFolders":
        """Those of the stages that the stage of scores depends on."""
        weights = {_COLUMNS[one.name]: one.folder for one in stage.upstream if one.name in _COLUMNS}
        return cls(stage.upstream_folder("documents"), weights)

    def read(self, part: DocumentPart) -> PartReader:
        """The documents of a part and their weights."""
        folders = (self.documents, *self.weights.values())
        return PartReader(*(part_path(folder, part.index) for folder in folders))


@dataclass(frozen=True)
class PartMoments:
    """Moments of each part of the weight over eligible documents, one per target."""

    of_parts: dict[str, tuple[WeightMoments, ...]] = field(default_factory=dict)

    def merge(self, other: "PartMoments") -> "PartMoments":
        """Moments over both sets of documents; exact."""
        merged = dict(self.of_parts)
        for name, moments in other.of_parts.items():
            before = merged.get(name, (WeightMoments(),) * len(moments))
            merged[name] = tuple(one.merge(more) for one, more in zip(before, moments, strict=True))
        return PartMoments(merged)

    def standardize(self, columns: Columns) -> Columns:
        """Columns of weights, float64 [N, T], at zero mean and unit variance."""
        return {
            name: np.stack(
                [moments.standardize(weights[:, target]) for target, moments in enumerate(self.of_parts[name])], axis=1
            )
            for name, weights in columns.items()
        }

    def summary(self) -> dict[str, Any]:
        """For the manifest: a list of one entry a target for each part."""
        return {
            name: [{"documents": one.count, "mean": one.mean, "std": one.std} for one in moments]
            for name, moments in self.of_parts.items()
        }


@dataclass(eq=False)
class WriteScores(beam.PTransform):
    """`DocumentPart`s whose weights are written -> the stage of their scores, by itself, once it is complete.

    A document with a weight that is not a number is rejected: it has no row.

    Attributes:
        stage: where the score shards are written; says how weights are mixed, and its upstream has the weights.
        proportions: PCollection of each target's default share of the selection, one tuple of T floats or None;
            kept in the manifest.
    """

    stage: Stage[MixingSettings]
    proportions: beam.PCollection[tuple[float, ...] | None]

    def expand(self, parts: beam.PCollection[DocumentPart]) -> beam.PCollection[Stage]:
        """See the class."""
        moments = None
        folders, settings = PartFolders.of(self.stage), self.stage.settings
        if settings.min_example_length is not None:
            moments = beam.pvalue.AsSingleton(
                parts
                | "Moments" >> beam.Map(_moments, folders, settings, settings.min_example_length)
                | "Merge" >> beam.CombineGlobally(MergeCombineFn(PartMoments.merge))
            )
        return (
            parts
            | "Mix" >> beam.Map(_mix, moments, folders, settings, self.stage.alone())
            | "Gather" >> Gather()
            | "Counts" >> beam.Map(_counts, moments, beam.pvalue.AsSingleton(self.proportions), settings.num_targets)
            | "Manifest" >> WriteStageManifest(self.stage)
            | "Complete" >> beam.Map(lambda _, stage: stage, self.stage.alone())
        )


def _moments(
    part: DocumentPart, folders: PartFolders, settings: MixingSettings, min_example_length: int
) -> PartMoments:
    total = PartMoments()
    if part.rows:
        with folders.read(part) as reader:
            for documents, weights in reader.row_groups(["num_tokens"]):
                counted = _are_numbers(weights) & (documents["num_tokens"].to_numpy() >= min_example_length)
                columns = settings.lengthless(dict(zip(folders.weights, weights, strict=True)), documents)
                of_parts = {
                    name: tuple(WeightMoments.of(column) for column in values[counted].T)
                    for name, values in columns.items()
                }
                total = total.merge(PartMoments(of_parts))
    return total


def _are_numbers(weights: list[np.ndarray]) -> np.ndarray:
    """Which documents have no NaN among their weights: bool [N] of float64 [N, T] each."""
    return np.logical_and.reduce([~np.isnan(values).any(axis=1) for values in weights])


def _mix(
    part: DocumentPart, moments: PartMoments | None, folders: PartFolders, settings: MixingSettings, stage: Stage
) -> ScoreShard:
    if not part.rows:
        return ScoreShard(part.index, None, 0, part.rejected)
    path = part_path(stage.folder, part.index)
    rows = 0
    with (
        folders.read(part) as reader,
        write_scores(path, reader.files, settings.num_targets, with_ids=reader.has_ids) as writer,
    ):
        for documents, weights in reader.row_groups():
            kept = _are_numbers(weights)
            columns = settings.lengthless(dict(zip(folders.weights, weights, strict=True)), documents)
            columns = {name: values[kept] for name, values in columns.items()}
            scaled = moments.standardize(columns) if moments else columns
            weight = hybrid_weight(scaled.get("ngram"), scaled.get("gmm"), settings.alpha)
            listed = documents.filter(pa.array(kept)).combine_chunks()
            writer.add(
                {
                    **{name: listed[name].combine_chunks() for name in listed.column_names},
                    **{name: weight_column(values) for name, values in columns.items()},
                    "weight": weight_column(weight),
                }
            )
            rows += len(weight)
            metrics.count(stage.name, documents=len(weight))
            metrics.distribute_weights(stage.name, weight)
    metrics.count(stage.name, shards=bool(rows))
    return ScoreShard(part.index, path if rows else None, rows, part.rejected + part.rows - rows)


def _counts(
    shards: list[ScoreShard], moments: PartMoments | None, proportions: tuple[float, ...] | None, num_targets: int
) -> dict[str, Any]:
    standardized = {"standardized": moments.summary()} if moments else {}
    return {
        **count_shards(shards),
        **standardized,
        "num_targets": num_targets,
        "target_proportions": proportions,
    }
