"""The classifiers of all targets as what scores embeddings, and the file that holds them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hir_transforms.artifacts.stages import Stage
from hir_transforms.classifiers.logistic import CrossFittedClassifier, folds_of
from hir_transforms.common.errors import UserError
from hir_transforms.embeddings.shards import EmbeddingBatch
from hir_transforms.files import storage


@dataclass(frozen=True)
class ClassifierRatio:
    """What scores embeddings: the classifier of each target, of embeddings as they are stored.

    Attributes:
        targets: the classifiers.
        seed: of the folds of raw.
    """

    targets: tuple[CrossFittedClassifier, ...]
    seed: int

    @property
    def num_targets(self) -> int:
        """T."""
        return len(self.targets)

    def log_ratio(self, batches: Sequence[EmbeddingBatch]) -> np.ndarray:
        """Log p_target(e) - log p_raw(e) of each row of raw's and each target, float64 [N, T].

        Raises:
            UserError: if the rows have another number of dimensions than those that were fitted to.
        """
        rows = np.concatenate([batch.rows for batch in batches])
        folds = np.concatenate([folds_of(self.seed, batch.name, batch.offsets) for batch in batches])
        fitted = self.targets[0].coefficients.shape[1]
        if rows.shape[1] != fitted:
            raise UserError(f"the classifier is of {fitted} dimensions, the embeddings of raw have {rows.shape[1]}")
        return np.stack([target.decide(rows, folds) for target in self.targets], axis=1)


@dataclass(frozen=True)
class EmbeddingClassifierSettings:
    """How the classifiers are fitted, and to what.

    Attributes:
        num_targets: T; there is a classifier for each.
        raw_max_samples, target_max_samples: the most rows of raw, and of each target; None for all.
        seed: of the samples and of raw's folds.
    """

    num_targets: int
    raw_max_samples: int | None
    target_max_samples: int | None
    seed: int


def _path(stage: Stage) -> str:
    return stage.path("classifier.npz")


def save_classifiers(stage: Stage, targets: Sequence[CrossFittedClassifier]) -> None:
    """Writes the classifiers of all targets into a stage's folder."""
    with storage.atomic_write(_path(stage)) as file:
        np.savez(
            file,
            coefficients=np.stack([target.coefficients for target in targets]),
            intercepts=np.stack([target.intercepts for target in targets]),
            iterations=np.stack([target.iterations for target in targets]),
        )


@dataclass(frozen=True)
class ClassifierFile:
    """A reference to the classifiers that a complete stage holds.

    Attributes:
        stage: whose folder they are in.
        seed: of the folds of raw.
    """

    stage: Stage
    seed: int

    @classmethod
    def of(cls, stage: Stage[EmbeddingClassifierSettings]) -> "ClassifierFile":
        """That of a stage that fits them."""
        return cls(stage, stage.settings.seed)

    def load(self) -> ClassifierRatio:
        """The classifiers."""
        with np.load(io.BytesIO(self.stage.load(_path(self.stage))), allow_pickle=False) as arrays:
            columns = [arrays[name] for name in ("coefficients", "intercepts", "iterations")]
        return ClassifierRatio(tuple(CrossFittedClassifier(*one) for one in zip(*columns, strict=True)), self.seed)
