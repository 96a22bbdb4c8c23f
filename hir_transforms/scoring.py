"""`ScoreDocuments`: importance weights of all raw documents, written as score shards."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import xxhash
from threadpoolctl import threadpool_limits

from hir_transforms.datasets import Dataset
from hir_transforms.embedding_shards import read_embedded
from hir_transforms.errors import UserError
from hir_transforms.featurizers import shared_featurizer
from hir_transforms.numerics.gmm import GaussianMixture
from hir_transforms.numerics.hybrid import hybrid_weight
from hir_transforms.numerics.ngram_estimator import NgramEstimator
from hir_transforms.numerics.ngrams import NgramSettings, num_tokens
from hir_transforms.reading import DocumentReader, ReadTasks
from hir_transforms.records import DocumentGroup, ReadTask, SourceFile
from hir_transforms.rejecting import write_rejects
from hir_transforms.score_shards import ScoreShard, score_path, write_scores
from hir_transforms.stages import Stage, WriteStageManifest


@dataclass(frozen=True)
class MixturePair:
    """What scores embeddings: the mixtures of raw and of the target, and the folder with raw's embedding shards."""

    raw: GaussianMixture
    target: GaussianMixture
    raw_embeddings: str

    def log_ratio(self, rows: np.ndarray | None) -> np.ndarray:
        """Log p_target(e) - log p_raw(e) of each row of float32 [N, D] (None: no row), float64 [N].

        Raises:
            UserError: if a mixture is of another dimension than raw's embeddings.
        """
        if rows is None:
            return np.empty(0)
        for role, mixture in (("raw", self.raw), ("target", self.target)):
            if mixture.num_inputs != rows.shape[1]:
                raise UserError(
                    f"the mixture of {role} has {mixture.num_inputs} dimensions, the embeddings of raw have "
                    f"{rows.shape[1]}: --{role}_gmm or --{role}_embeddings must be of the same model as they"
                )
        with threadpool_limits(1):
            return self.target.score_samples(rows) - self.raw.score_samples(rows)


class ScoreDocuments(beam.PTransform):
    """PBegin -> `ScoreShard`s of raw, written to the stage's folder.

    Args:
        stage: where the shards are written.
        raw: the dataset.
        settings: how tokens and n-grams are made.
        alpha: weight = alpha * ngram + (1 - alpha) * gmm; None leaves the weight null, for `ScaleWeights`.
        estimator: PCollection of one `NgramEstimator`, None without an n-gram part.
        mixtures: PCollection of one `MixturePair`, None without an embedding part.
    """

    def __init__(
        self,
        stage: Stage,
        raw: Dataset,
        settings: NgramSettings,
        alpha: float | None,
        *,
        estimator: beam.PCollection[NgramEstimator] | None,
        mixtures: beam.PCollection[MixturePair] | None,
    ) -> None:
        super().__init__()
        self._stage = stage
        self._raw = raw
        self._do_fn = _ScoreDocumentsDoFn(raw, settings, alpha, stage.folder)
        self._models = [model if model is None else beam.pvalue.AsSingleton(model) for model in (estimator, mixtures)]

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[ScoreShard]:
        """See the class."""
        shards = pipeline | "Tasks" >> ReadTasks(self._raw) | "Score" >> beam.ParDo(self._do_fn, *self._models)
        (
            shards
            | "Gather" >> beam.combiners.ToList()
            | "Counts" >> beam.Map(count_shards)
            | "Manifest" >> WriteStageManifest(self._stage)
        )
        return shards


class _ScoreDocumentsDoFn(beam.DoFn):
    def __init__(self, raw: Dataset, settings: NgramSettings, alpha: float | None, folder: str) -> None:
        self._raw = raw
        self._settings = settings
        self._alpha = alpha
        self._folder = folder

    def setup(self) -> None:
        self._reader = DocumentReader(self._raw)
        self._featurizer = shared_featurizer(self._settings)

    def process(
        self, task: ReadTask, estimator: NgramEstimator | None, mixtures: MixturePair | None
    ) -> Iterator[ScoreShard]:
        if estimator is not None:
            _require(estimator, self._settings)
        columns: dict[str, list[np.ndarray]] = {}
        files: dict[str, SourceFile] = {}
        rejects = []
        for group in self._reader.read(task):
            gmm = None
            if mixtures is not None:
                group, rows = read_embedded(mixtures.raw_embeddings, group)
                gmm = mixtures.log_ratio(rows)
            rejects += group.rejects
            for name, values in self._score(group, files, estimator, gmm).items():
                columns.setdefault(name, []).append(values)
        write_rejects(self._folder, self._raw.role, task.index, rejects)
        num_rows = sum(map(len, columns.get("offset", [])))
        path = score_path(self._folder, task.index) if num_rows else None
        if path:
            joined = {name: np.concatenate(parts) for name, parts in columns.items()}
            paths = pa.DictionaryArray.from_arrays(joined.pop("file"), list(files)).cast(pa.string())
            write_scores(path, list(files.values()), {**joined, "file": paths})
        yield ScoreShard(task.index, path, num_rows, len(rejects))

    def _score(
        self,
        group: DocumentGroup,
        files: dict[str, SourceFile],
        estimator: NgramEstimator | None,
        gmm: np.ndarray | None,
    ) -> dict[str, np.ndarray]:
        """Columns of a group's documents; `file` is the place of the document's file in `files`, which grows."""
        texts = group.texts
        log_ratio = np.empty((0, self._settings.num_buckets)) if estimator is None else estimator.log_ratio
        weights, num_ngrams = self._featurizer.score(texts, log_ratio)
        ngram = None if estimator is None else weights[:, 0]
        for batch in group.batches:
            files.setdefault(batch.file.path, batch.file)
        places = {path: place for place, path in enumerate(files)}
        file_column = [np.full(len(batch.texts), places[batch.file.path], np.int32) for batch in group.batches]
        weight = None if self._alpha is None else hybrid_weight(ngram, gmm, self._alpha)
        optional = {"ngram": ngram, "gmm": gmm, "weight": weight}
        return {
            "file": np.concatenate(file_column),
            "offset": np.concatenate([batch.offsets for batch in group.batches]),
            "length": np.concatenate([batch.lengths for batch in group.batches]),
            "num_tokens": num_tokens(num_ngrams, self._settings.ngrams),
            "text_hash": np.array([xxhash.xxh3_64_intdigest(text.encode()) for text in texts], np.uint64),
            **{name: values for name, values in optional.items() if values is not None},
        }


def _require(estimator: NgramEstimator, settings: NgramSettings) -> None:
    try:
        estimator.require(settings)
    except ValueError as error:
        raise UserError(f"{error}: fit it again, or score with its settings") from None


def count_shards(shards: list[ScoreShard]) -> dict[str, Any]:
    """Counts for the manifest of a stage of score shards, which `load_score_shards` reads."""
    rejected = sum(shard.rejected for shard in shards)
    return {
        "read": sum(shard.rows for shard in shards) + rejected,
        "rejected": rejected,
        "shards": [[shard.index, shard.rows, shard.rejected] for shard in sorted(shards)],
    }


def load_score_shards(stage: Stage) -> list[ScoreShard]:
    """The shards of a complete stage, as its manifest lists them."""
    return [
        ScoreShard(index, score_path(stage.folder, index) if rows else None, rows, rejected)
        for index, rows, rejected in stage.counts()["shards"]
    ]
