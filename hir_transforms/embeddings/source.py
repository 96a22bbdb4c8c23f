"""Where embeddings come from: a model, or files that somebody brings along, checked before anything runs."""

import os
from dataclasses import dataclass, field, replace

from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import NO_EFFECT
from hir_transforms.documents.datasets import LIST, Dataset
from hir_transforms.documents.read_tasks import estimated_bytes, plan_tasks
from hir_transforms.documents.reading import DocumentReader
from hir_transforms.embeddings.model import EmbeddingModel
from hir_transforms.embeddings.shards import iter_shard
from hir_transforms.files.patterns import fixed_part, match_files
from hir_transforms.ngrams.sampling import DocumentSample
from hir_transforms.rows.files import RowKind
from hir_transforms.rows.table import require_rows, row_table

FORMATS = (".avro", ".npy", ".parquet")
# A dataset up to this size is counted before anything runs, in about three seconds; a larger one, by all workers.
_COUNT_AT_ONCE_BYTES = 1 << 30


@dataclass(frozen=True)
class EmbeddingFiles:
    """Files of embeddings, as a flag names them.

    Attributes:
        dataset: the files; its role is the flag's name.
        suffix: one of `FORMATS`.
        dim: numbers in a row.
        num_rows: of all files; None for .avro, whose rows know their documents.
        model, revision: what made them; empty where the files do not tell.
    """

    dataset: Dataset = field(metadata=NO_EFFECT)  # the stage lists its files
    suffix: str
    dim: int
    num_rows: int | None
    model: str
    revision: str


EmbeddingSource = EmbeddingModel | EmbeddingFiles


@dataclass(frozen=True)
class SampledSource:
    """Where the embeddings of a part of the documents come from.

    Attributes:
        source: of their rows.
        sample: which documents they are.
    """

    source: EmbeddingSource
    sample: DocumentSample

    @property
    def model(self) -> str:
        """What makes the rows."""
        return self.source.model

    @property
    def revision(self) -> str:
        """Of the model."""
        return self.source.revision


def find_embeddings(dataset: Dataset) -> EmbeddingFiles:
    """Finds the files that `dataset` names, folders among them, and looks at their headers.

    Raises:
        UserError: for files of several formats, of another format, without rows, or with rows of different lengths.
    """
    dataset, suffix = find_row_files(dataset, FORMATS)
    files = dataset.list_files()
    if suffix == ".avro":
        first = next(iter_shard(files[0].path), None)
        if first is None:
            raise UserError(f"--{dataset.role}: no rows in {files[0].path}")
        return EmbeddingFiles(dataset, suffix, first.rows.shape[1], None, first.model, first.revision)
    table = row_table(dataset, RowKind.EMBEDDING)
    return EmbeddingFiles(dataset, suffix, table.dim, table.num_rows, "", "")


def find_row_files(dataset: Dataset, formats: tuple[str, ...]) -> tuple[Dataset, str]:
    """The dataset with each folder replaced by the pattern of the files in it, and the suffix that all files have.

    Raises:
        UserError: for files of several formats, or of none of `formats`.
    """
    patterns = tuple(_without_folder(dataset.role, name, formats) for name in dataset.patterns)
    dataset = replace(dataset, patterns=patterns)
    suffixes = {os.path.splitext(file.path)[1] for file in dataset.list_files()}
    if len(suffixes) > 1 or not suffixes <= set(formats):
        found = ", ".join(sorted(suffix or "no suffix" for suffix in suffixes))
        raise UserError(f"--{dataset.role}: files must all be {_listed(formats)}, not {found}")
    return dataset, suffixes.pop()


def _listed(formats: tuple[str, ...]) -> str:
    return f"{', '.join(formats[:-1])} or {formats[-1]}"


def _without_folder(flag: str, pattern: str, formats: tuple[str, ...]) -> str:
    if pattern.startswith(LIST) or pattern.endswith(formats):
        return pattern
    if "://" not in pattern and not os.path.isdir(fixed_part(pattern)[0]):
        return pattern
    try:
        found = [suffix for suffix in formats if match_files(f"{pattern.rstrip('/')}/*{suffix}")]
    except UserError as error:
        raise UserError(f"--{flag}: {error}") from None
    if len(found) != 1:
        raise UserError(f"--{flag}: the folder {pattern} holds {' and '.join(found) or f'no {_listed(formats)}'}")
    return f"{pattern.rstrip('/')}/*{found[0]}"


def check_sources(raw: EmbeddingSource, target: EmbeddingSource) -> None:
    """Raises `UserError` for raw and target embeddings that are not of one model, as far as can be told."""
    if isinstance(raw, EmbeddingFiles) and isinstance(target, EmbeddingFiles):
        check_same_dim(raw.dim, target.dim)
    if raw.revision and target.revision and raw.revision != target.revision:
        raise UserError(
            f"--raw_embeddings, --target_embeddings: raw's are of {raw.model} ({raw.revision}), "
            f"the target's of {target.model} ({target.revision}); embed both with one model"
        )


def check_same_dim(raw: int, target: int) -> None:
    """Raises `UserError` unless raw's and the target's rows have the same number of numbers."""
    if raw != target:
        raise UserError(
            f"--raw_embeddings, --target_embeddings: raw's rows have {raw} numbers, the target's {target}; "
            "embed both with one model"
        )


def check_num_rows(embeddings: EmbeddingFiles, dataset: Dataset) -> None:
    """Raises `UserError` for a dataset of up to 1 GiB that has not as many documents as there are rows."""
    if embeddings.num_rows is None or estimated_bytes(dataset.list_files()) > _COUNT_AT_ONCE_BYTES:
        return
    reader = DocumentReader(dataset)
    documents = sum(
        len(batch.texts)
        for task in plan_tasks(dataset.list_files(), loaded=dataset.is_loaded)
        for group in reader.read(task)
        for batch in group.batches
    )
    require_rows(embeddings.num_rows, documents, embeddings.dataset, dataset)
