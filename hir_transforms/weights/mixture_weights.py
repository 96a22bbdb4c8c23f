"""`WriteMixtureWeights`: importance weights of documents from their embeddings; no text is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import apache_beam as beam
import numpy as np
import pyarrow as pa

from hir_transforms.artifacts.stages import Stage, WriteManifestOfAll
from hir_transforms.common.errors import UserError
from hir_transforms.embeddings.shards import read_rows, shard_path
from hir_transforms.mixtures.em import GaussianMixture, log_ratios
from hir_transforms.weights.parts import (
    DocumentPart,
    PartReader,
    count_parts,
    part_path,
    weight_column,
    write_weights,
)


@dataclass(frozen=True)
class MixtureRatio:
    """What scores embeddings: the mixture of raw and that of each target, and the folder with raw's embeddings."""

    raw: GaussianMixture
    targets: tuple[GaussianMixture, ...]
    raw_embeddings: str

    def log_ratio(self, rows: np.ndarray) -> np.ndarray:
        """Log p_target(e) - log p_raw(e) of each row of float32 [N, D] and each target, float64 [N, T].

        Raises:
            UserError: if a mixture is of another dimension than raw's embeddings.
        """
        for role, mixture in (("raw", self.raw), *(("target", target) for target in self.targets)):
            if mixture.num_inputs != rows.shape[1]:
                raise UserError(
                    f"the mixture of {role} has {mixture.num_inputs} dimensions, the embeddings of raw have "
                    f"{rows.shape[1]}: --{role}_gmm or --{role}_embeddings must be of the same model as they"
                )
        return log_ratios(rows, self.raw, self.targets)


@runtime_checkable
class MixtureReference(Protocol):
    """A mixture in a file."""

    def load(self) -> GaussianMixture:
        """The mixture."""


@dataclass(frozen=True)
class MixtureRatioFiles:
    """A reference to a `MixtureRatio`, which may be too large to be sent itself."""

    raw: MixtureReference
    targets: tuple[MixtureReference, ...]
    raw_embeddings: str

    def load(self) -> MixtureRatio:
        """The ratio."""
        return MixtureRatio(self.raw.load(), tuple(target.load() for target in self.targets), self.raw_embeddings)


@dataclass(eq=False)
class WriteMixtureWeights(beam.PTransform):
    """`DocumentPart`s -> the same, once their embedding weights are in the stage's folder.

    A document whose embedding is not finite gets NaN.

    Attributes:
        stage: where the weights are written.
        documents: the folder with the parts' documents.
        mixtures: PCollection of one `MixtureRatioFiles`.
    """

    stage: Stage
    documents: str
    mixtures: beam.PCollection[MixtureRatioFiles]

    def expand(self, parts: beam.PCollection[DocumentPart]) -> beam.PCollection[DocumentPart]:
        """See the class."""
        scored = parts | "Score" >> beam.ParDo(
            _ScoreDoFn(self.documents, self.stage.folder), beam.pvalue.AsSingleton(self.mixtures)
        )
        scored | "Manifest" >> WriteManifestOfAll(count_parts, [self.stage])
        return scored


@dataclass(eq=False)
class _ScoreDoFn(beam.DoFn):
    documents: str
    folder: str

    def setup(self) -> None:
        self._mixtures: MixtureRatio | None = None

    def process(self, part: DocumentPart, files: MixtureRatioFiles) -> Iterator[DocumentPart]:
        if self._mixtures is None:
            self._mixtures = files.load()
        yield _score(part, self._mixtures, self.documents, self.folder)


def _score(part: DocumentPart, mixtures: MixtureRatio, documents: str, folder: str) -> DocumentPart:
    if part.rows:
        with (
            PartReader(part_path(documents, part.index)) as reader,
            write_weights(part_path(folder, part.index), len(mixtures.targets)) as writer,
        ):
            for key, group in reader.document_groups():
                path = shard_path(mixtures.raw_embeddings, key)
                writer.add({"weight": weight_column(_group_weights(path, group, mixtures))})
    return part


def _group_weights(path: str, group: pa.Table, mixtures: MixtureRatio) -> np.ndarray:
    """Weights of a group's documents, float64 [N, T]; raises `UserError` if the shard holds other documents."""
    rows, has_row = read_rows(
        path, group["file"].to_pylist(), group["offset"].to_numpy(), group["text_hash"].to_numpy()
    )
    weights = np.full((len(has_row), len(mixtures.targets)), np.nan)
    if has_row.any():
        weights[has_row] = mixtures.log_ratio(rows)
    return weights
