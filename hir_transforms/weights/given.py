"""`ImportWeights`: log importance weights that somebody brings along, instead of computed ones."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa

from hir_transforms.artifacts.stages import Stage, WriteManifestOfAll
from hir_transforms.common import metrics
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.excerpts import Excerpts
from hir_transforms.documents.known_files import KnownFiles
from hir_transforms.documents.records import Reject
from hir_transforms.documents.rejects import write_rejects
from hir_transforms.embeddings.source import find_row_files
from hir_transforms.rows.files import RowKind
from hir_transforms.rows.starts import FindRowStarts, GroupRows, RowStarts, TaskCounts
from hir_transforms.rows.table import row_table
from hir_transforms.weights.parts import (
    DocumentPart,
    PartReader,
    count_parts,
    part_path,
    weight_column,
    write_weights,
)

_FORMATS = (".npy", ".parquet")


def find_weights(files: Dataset, num_targets: int) -> Dataset:
    """The files that a flag names, folders resolved; raises `UserError` unless a row has a number for each target."""
    files, _ = find_row_files(files, _FORMATS)
    table = row_table(files, RowKind.WEIGHTS)
    if table.dim != num_targets:
        raise UserError(
            f"--{files.role}: {table.dim} weights a document in {table.paths[0]}, but {num_targets} "
            f"target{'s' if num_targets > 1 else ''} (see --separate_targets)"
        )
    return files


@dataclass(frozen=True)
class GivenWeights:
    """Precomputed weights: how many there are per document."""

    num_targets: int


@dataclass(eq=False)
class ImportWeights(beam.PTransform):
    """`DocumentPart`s -> the same, once the weights given for them are in the stage's folder.

    The rows of .npy and Parquet files belong to the documents in corpus order. A document whose weight is NaN is
    rejected.

    Attributes:
        stage: where the weights are written. Its dataset are the files of weights, as `find_weights` gives them; its
            upstream is the list of documents.

    Raises:
        UserError: when run, if there is not exactly one row for each document.
    """

    stage: Stage[GivenWeights]

    def expand(self, parts: beam.PCollection[DocumentPart]) -> beam.PCollection[DocumentPart]:
        """See the class."""
        (documents,), files = self.stage.upstream, self.stage.dataset
        starts = (
            parts
            | "Groups" >> beam.Map(_count_documents, documents.folder)
            | "Starts" >> FindRowStarts(self.stage.folder, files, RowKind.WEIGHTS, documents.dataset)
        )
        known_files = parts.pipeline | "Listed" >> beam.Create([documents]) | "KnownFiles" >> beam.Map(_known_files)
        given = parts | "Give" >> beam.Map(
            _give,
            beam.pvalue.AsSingleton(starts),
            beam.pvalue.AsSingleton(known_files),
            documents.dataset,
            documents.folder,
            self.stage.alone(),
            files.role,
        )
        given | "Manifest" >> WriteManifestOfAll(count_parts, [self.stage])
        return given


def _count_documents(part: DocumentPart, documents: str) -> TaskCounts:
    if not part.rows:
        return part.index, []
    with PartReader(part_path(documents, part.index)) as reader:
        return part.index, reader.groups


def _known_files(documents: Stage) -> KnownFiles:
    return KnownFiles(documents.dataset.list_files())


def _give(
    part: DocumentPart,
    starts: RowStarts,
    known_files: KnownFiles,
    raw: Dataset,
    documents: str,
    stage: Stage,
    flag: str,
) -> DocumentPart:
    if not part.rows:
        return part
    rejects: list[Reject] = []
    with (
        PartReader(part_path(documents, part.index)) as reader,
        closing(GroupRows(starts)) as rows,
        Excerpts(raw) as excerpts,
        write_weights(part_path(stage.folder, part.index), starts.table.dim) as writer,
    ):
        files = {file.path: file for file in reader.files}
        for key, group in reader.document_groups():
            weights = rows.read(key, len(group))
            writer.add({"weight": weight_column(weights)})
            metrics.count(stage.name, documents=len(weights))
            metrics.distribute_weights(stage.name, weights)
            without = group.filter(pa.array(np.isnan(weights).any(axis=1)))
            for path in without["file"].unique().to_pylist():
                known_files.require(path, files.get(path))
            rejects += _reject(without, excerpts, f"--{flag} is not a number")
    metrics.count(stage.name, rejected=len(rejects))
    write_rejects(stage.folder, f"raw-{flag}", part.index, rejects)
    return part


def _reject(documents: pa.Table, excerpts: Excerpts, reason: str) -> Iterator[Reject]:
    """The documents as rejects; those of a part come in the order of its files, so each is read forward once."""
    places = (documents[name].to_pylist() for name in ("file", "offset", "length"))
    for path, offset, length in zip(*places, strict=True):
        yield Reject(path, offset, reason, excerpts.read(path, offset, length))
