"""`WriteEmbeddingClassifier`: logistic regression on bounded samples of embeddings, each target on one worker."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from hir_transforms.artifacts.stages import Stage, WriteStageManifest
from hir_transforms.classifiers.logistic import CrossFittedClassifier
from hir_transforms.classifiers.scaling import fit_scaled
from hir_transforms.common.combining import Gather
from hir_transforms.common.errors import UserError
from hir_transforms.common.threads import use_one_thread
from hir_transforms.embedding_classifiers.ratio import ClassifierFile, EmbeddingClassifierSettings, save_classifiers
from hir_transforms.embeddings.shards import EmbeddingShard
from hir_transforms.mixtures.fit_projection import ProjectionFile
from hir_transforms.mixtures.fitting import count_rows
from hir_transforms.mixtures.projection import Projection
from hir_transforms.mixtures.sampling import RowSource, SampleRows, last_hash, read_rows_and_folds, remove_copies


@dataclass(frozen=True)
class _Fitted:
    """A classifier and what it was fitted to; ordered by the number of its target."""

    target: int
    classifier: CrossFittedClassifier
    raw_rows: int
    target_rows: int


@dataclass(eq=False)
class WriteEmbeddingClassifier(beam.PTransform):
    """`EmbeddingShard`s of raw -> the `ClassifierFile` of the stage.

    Of more rows than `settings` allow, uniform samples are copied by all workers beforehand. The worker that fits the
    classifier of a target holds its sample and that of raw in memory.

    Attributes:
        stage: its manifest is written when the classifiers are; its settings say how they are fitted.
        targets: the `EmbeddingShard`s of each target.
        projection: PCollection of the one `ProjectionFile` of the rows; None for none. The classifiers that are
            written are of rows that are not projected.
    """

    stage: Stage[EmbeddingClassifierSettings]
    _: KW_ONLY
    targets: Sequence[beam.PCollection[EmbeddingShard]]
    projection: beam.PCollection[ProjectionFile] | None = None

    def expand(self, shards: beam.PCollection[EmbeddingShard]) -> beam.PCollection[ClassifierFile]:
        """See the class."""
        settings, copies = self.stage.settings, self.stage.path("sample")
        projection = None if self.projection is None else beam.pvalue.AsSingleton(self.projection)
        raw = beam.pvalue.AsList(self._sample(shards, "raw", settings.raw_max_samples))
        fits = [
            self._sample(target, f"target-{number}", settings.target_max_samples)
            | f"GatherTarget{number}" >> Gather()
            | f"FitTarget{number}" >> beam.Map(_fit, number, raw, self.stage, projection)
            for number, target in enumerate(self.targets)
        ]
        num_rows = beam.pvalue.AsSingleton(count_rows(shards))
        counts = (
            fits
            | "AllFits" >> beam.Flatten()
            | "GatherFits" >> Gather()
            | "Save" >> beam.Map(_save, num_rows, self.stage)
        )
        written = counts | "Manifest" >> WriteStageManifest(self.stage)
        remove_copies(written, copies)
        return written | "Classifier" >> beam.Map(lambda _, file: file, ClassifierFile.of(self.stage))

    def _sample(
        self, shards: beam.PCollection[EmbeddingShard], name: str, max_samples: int | None
    ) -> beam.PCollection[Any]:
        """The `RowSource`s of a sample."""
        if max_samples is None:
            return shards
        folder = self.stage.path("sample", name)
        return shards | f"Sample {name}" >> SampleRows(folder, self.stage.settings.seed, max_samples)


def _fit(
    sources: list[RowSource], number: int, raw_sources: list[RowSource], stage: Stage, file: ProjectionFile | None
) -> _Fitted:
    """Fits the classifier of one target."""
    settings = stage.settings
    of_target = f"target {number + 1} of {settings.num_targets}" if settings.num_targets > 1 else "target"
    target, _ = _read(sources, settings.seed, settings.target_max_samples, of_target)
    raw, folds = _read(raw_sources, settings.seed, settings.raw_max_samples, "raw")
    if raw.shape[1] != target.shape[1]:
        raise UserError(
            f"the embeddings of raw have {raw.shape[1]} dimensions, those of {of_target} {target.shape[1]}: "
            "embed both with one model"
        )
    return _Fitted(number, fit_projected(target, raw, folds, file.load() if file else None), len(raw), len(target))


def _read(sources: list[RowSource], seed: int, max_samples: int | None, role: str) -> tuple[np.ndarray, np.ndarray]:
    """The sampled rows in corpus order, and their folds."""
    ordered = tuple(sorted(source for source in sources if source.num_rows))
    if not ordered:
        flag = role.partition(" ")[0]
        raise UserError(f"--{flag}: no document of {role} has a finite embedding to fit a classifier to")
    return read_rows_and_folds(ordered, seed, last_hash(ordered, seed, max_samples))


def fit_projected(
    target: np.ndarray, raw: np.ndarray, folds: np.ndarray, projection: Projection | None
) -> CrossFittedClassifier:
    """The classifier of embeddings as they are stored, fitted to projected ones.

    Args:
        target: float32 [M, D], as stored.
        raw: float32 [N, D], as stored.
        folds: int64 [N], of raw's rows.
        projection: of the rows; None for none.
    """
    use_one_thread()
    if projection is None:
        return fit_scaled(target, raw, folds)
    fitted = fit_scaled(projection.apply(target), projection.apply(raw), folds)
    coefficients = fitted.coefficients @ projection.matrix.T
    return CrossFittedClassifier(coefficients, fitted.intercepts - coefficients @ projection.mean, fitted.iterations)


def _save(fits: list[_Fitted], num_rows: int, stage: Stage) -> dict[str, Any]:
    """Writes the classifiers; returns the counts for the manifest."""
    fits = sorted(fits, key=lambda fit: fit.target)
    save_classifiers(stage, [fit.classifier for fit in fits])
    return {
        "rows": fits[0].raw_rows,
        "sampled_from": num_rows,
        "target_rows": [fit.target_rows for fit in fits],
        "iterations": [fit.classifier.iterations.tolist() for fit in fits],
    }
