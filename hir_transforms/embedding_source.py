"""Where embeddings come from: a model, or files that somebody brings along, checked before anything runs."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import accumulate

from hir_transforms.datasets import Dataset, list_files
from hir_transforms.embedding_model import EmbeddingModel
from hir_transforms.embedding_rows import open_rows
from hir_transforms.embedding_shards import iter_shard
from hir_transforms.errors import UserError
from hir_transforms.planning import estimated_bytes, plan_tasks
from hir_transforms.reading import DocumentReader

FORMATS = (".avro", ".npy", ".parquet")
_OPEN_FILES = 16
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

    dataset: Dataset
    suffix: str
    dim: int
    num_rows: int | None
    model: str
    revision: str


EmbeddingSource = EmbeddingModel | EmbeddingFiles


@dataclass(frozen=True)
class RowTable:
    """The rows of .npy or Parquet files, one file after the other.

    Attributes:
        paths: of the files.
        ends: number of rows up to the end of each file.
        dim: numbers in a row.
    """

    paths: list[str]
    ends: list[int]
    dim: int

    @property
    def num_rows(self) -> int:
        """Of all files."""
        return self.ends[-1]


def find_embeddings(dataset: Dataset) -> EmbeddingFiles:
    """Finds the files that `dataset` names, folders among them, and looks at their headers.

    Raises:
        UserError: for files of several formats, of another format, without rows, or with rows of different lengths.
    """
    dataset = replace(dataset, patterns=tuple(_without_folder(dataset.role, name) for name in dataset.patterns))
    files = dataset.list_files()
    suffixes = {os.path.splitext(file.path)[1] for file in files}
    if len(suffixes) > 1 or not suffixes <= set(FORMATS):
        found = ", ".join(sorted(suffix or "no suffix" for suffix in suffixes))
        raise UserError(f"--{dataset.role}: files must all be .avro, .npy or .parquet, not {found}")
    (suffix,) = suffixes
    if suffix == ".avro":
        first = next(iter_shard(files[0].path), None)
        if first is None:
            raise UserError(f"--{dataset.role}: no rows in {files[0].path}")
        return EmbeddingFiles(dataset, suffix, first.rows.shape[1], None, first.model, first.revision)
    table = row_table(dataset)
    return EmbeddingFiles(dataset, suffix, table.dim, table.num_rows, "", "")


def _without_folder(flag: str, pattern: str) -> str:
    """The pattern, or for a folder the pattern of the embeddings in it."""
    if pattern.endswith(FORMATS) or ("://" not in pattern and not os.path.isdir(pattern)):
        return pattern
    found = [suffix for suffix in FORMATS if _matches(f"{pattern.rstrip('/')}/*{suffix}", flag)]
    if len(found) != 1:
        raise UserError(f"--{flag}: the folder {pattern} holds {' and '.join(found) or 'no .avro, .npy or .parquet'}")
    return f"{pattern.rstrip('/')}/*{found[0]}"


def _matches(pattern: str, flag: str) -> bool:
    try:
        return bool(list_files([pattern], flag=flag))
    except UserError:
        return False


def row_table(dataset: Dataset) -> RowTable:
    """The table of .npy or Parquet files; raises `UserError` for rows of different lengths, or none."""
    paths = [file.path for file in dataset.list_files()]
    with ThreadPoolExecutor(_OPEN_FILES) as pool:
        shapes = list(pool.map(_shape, paths))
    dims = [(dim, path) for (_, dim), path in zip(shapes, paths, strict=True) if dim is not None]
    for dim, path in dims:
        if dim != dims[0][0]:
            raise UserError(f"--{dataset.role}: rows of {dims[0][0]} numbers in {dims[0][1]}, but of {dim} in {path}")
    ends = list(accumulate(rows for rows, _ in shapes))
    if not ends[-1]:
        raise UserError(f"--{dataset.role}: no rows in {', '.join(dataset.patterns)}")
    return RowTable(paths, ends, dims[0][0])


def _shape(path: str) -> tuple[int, int | None]:
    with closing(open_rows(path)) as rows:
        return rows.num_rows, rows.dim


def check_sources(raw: EmbeddingSource, target: EmbeddingSource) -> None:
    """Raises `UserError` for raw and target embeddings that are not of one model, as far as can be told."""
    if isinstance(raw, EmbeddingFiles) and isinstance(target, EmbeddingFiles):
        check_same_dim(raw.dim, target.dim)
    if raw.revision and target.revision and raw.revision != target.revision:
        raise UserError(
            f"--raw_embeddings, --target_embeddings: raw's are of {_model_name(raw)} ({raw.revision}), "
            f"the target's of {_model_name(target)} ({target.revision}); embed both with one model"
        )


def _model_name(source: EmbeddingSource) -> str:
    return source.model if isinstance(source, EmbeddingFiles) else source.name


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
        for task in plan_tasks(dataset.list_files())
        for group in reader.read(task)
        for batch in group.batches
    )
    require_rows(embeddings.num_rows, documents, embeddings.dataset, dataset)


def require_rows(rows: int, documents: int, embeddings: Dataset, dataset: Dataset) -> None:
    """Raises `UserError` unless there is a row for each document."""
    if rows != documents:
        raise UserError(
            f"--{embeddings.role}: {rows} rows in {', '.join(embeddings.patterns)}, but {documents} documents in "
            f"{', '.join(dataset.patterns)}; there must be a row for each line that can be used, in corpus order "
            "(blank and rejected lines have none)"
        )
