"""What a single file of this tool is: of what, how many, from where to where."""

import io
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms.commands import wording
from hir_transforms.common.errors import UserError
from hir_transforms.embeddings.shards import read_shard
from hir_transforms.files import storage
from hir_transforms.mixtures.em import GaussianMixture
from hir_transforms.ngrams.estimator import NgramEstimator

# What a table is, by the first of these columns that it has.
_TABLES = {"key": "selected documents", "ngram": "scores", "num_tokens": "documents", "weight": "log weights"}


def explain_file(path: str) -> Iterator[str]:
    """Lines that explain a file.

    Raises:
        UserError: for a file of another kind, or a damaged one.
    """
    explain = _KINDS.get(path.rpartition(".")[2])
    if explain is None:
        raise UserError(f"{path} is no file that this tool explains: {', '.join(f'.{kind}' for kind in _KINDS)}")
    try:
        first, *lines = explain(path)
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} is damaged, or not a file of this tool ({reason})") from None
    yield f"{path}: {first}"
    yield from lines
    yield f"size: {wording.size(storage.size_and_time(path)[0])}"


def _npz(path: str) -> Iterator[str]:
    content = storage.read_bytes(path)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        shapes = {name: arrays[name].shape for name in arrays.files}
    if "raw_counts" in shapes:
        yield from _estimator(NgramEstimator.load(io.BytesIO(content)))
    elif "covariances" in shapes:
        yield from _mixture(GaussianMixture.load(io.BytesIO(content)))
    elif "coefficients" in shapes:
        targets, folds, dimensions = shapes["coefficients"]
        yield f"classifiers of {targets} targets and {folds} folds, of {dimensions} dimensions"
    else:
        yield f"arrays: {', '.join(f'{name} {[*shape]}' for name, shape in shapes.items())}"


def _estimator(estimator: NgramEstimator) -> Iterator[str]:
    targets, buckets = estimator.target_counts.shape
    ratios = estimator.log_ratio
    yield f"n-gram estimator of {targets} targets"
    yield f"settings: {wording.settings(vars(estimator.settings))}"
    yield f"counts: {estimator.raw_counts.sum():,} n-grams of raw, {estimator.target_counts.sum():,} of target"
    yield f"log ratios of {buckets:,} buckets, from {ratios.min():.3f} to {ratios.max():.3f}"


def _mixture(mixture: GaussianMixture) -> Iterator[str]:
    yield f"Gaussian mixture of {mixture.num_components} components, of {mixture.num_inputs} dimensions"
    if len(mixture.log_likelihood):
        last = f"mean log likelihood {mixture.log_likelihood[-1]:.6g}"
        yield f"{len(mixture.log_likelihood)} iterations, {'' if mixture.converged else 'not '}converged, {last}"


def _npy(path: str) -> Iterator[str]:
    array = np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
    yield f"array of {array.dtype} {[*array.shape]}"
    if array.size:
        yield f"from {array.min()} to {array.max()}"


def _avro(path: str) -> Iterator[str]:
    batches = read_shard(path)
    models = sorted({batch.model or "an unknown model" for batch in batches})
    rows, rejected = sum(len(batch.rows) for batch in batches), sum(len(batch.rejected) for batch in batches)
    yield f"embeddings by {', '.join(models)}"
    yield f"counts: {rows:,} rows of {batches[0].rows.shape[1]} numbers, {rejected:,} not finite"
    yield f"from {wording.paths([batch.file for batch in batches])}"


def _parquet(path: str) -> Iterator[str]:
    with storage.open_raw(path) as file:
        table = pq.ParquetFile(file)
        columns = table.schema_arrow.names
        kind = next((kind for column, kind in _TABLES.items() if column in columns), "table")
        yield f"{kind}, {table.metadata.num_rows:,} rows of {', '.join(columns)}"
        if "weight" in columns and pa.types.is_floating(table.schema_arrow.field("weight").type):
            weights = table.read(["weight"])["weight"].drop_null().to_numpy()
            if len(weights := weights[np.isfinite(weights)]):
                yield f"log weights from {weights.min():.3f} to {weights.max():.3f}, mean {weights.mean():.3f}"


_KINDS: dict[str, Callable[[str], Iterator[str]]] = {"npz": _npz, "npy": _npy, "avro": _avro, "parquet": _parquet}
