"""`WriteNgramClassifier`: the n-gram classifier, fitted by one worker to a bounded sample of documents."""

import functools
import io
import zipfile
from dataclasses import KW_ONLY, dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared
from scipy import sparse

from hir_transforms.artifacts.stages import Stage
from hir_transforms.classifiers.logistic import MAX_ITERATIONS
from hir_transforms.common import metrics
from hir_transforms.common.combining import Gather
from hir_transforms.common.errors import UserError
from hir_transforms.common.threads import use_one_thread
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.records import ReadTask
from hir_transforms.documents.rejects import LineCounts
from hir_transforms.files import storage
from hir_transforms.ngrams.classifier import NgramClassifier
from hir_transforms.ngrams.document_counts import CountDocuments, CountedFile, EndFit
from hir_transforms.ngrams.document_features import load_features
from hir_transforms.ngrams.features import NgramSettings

_CLASSIFIER = "classifier.npz"
_COEFFICIENTS = "coefficients.npy"


@dataclass(frozen=True)
class ClassifierSettings:
    """How the classifier is fitted, and to what.

    Attributes:
        ngrams: how n-grams are made.
        num_targets: T; the files of pattern i of the target belong to target i, unless there is only one.
        num_documents: of raw, and of each target, that it is fitted to at most.
        seed: of the samples and the folds.
    """

    ngrams: NgramSettings
    num_targets: int
    num_documents: int
    seed: int


@dataclass(eq=False)
class WriteNgramClassifier(beam.PTransform):
    """`ReadTask`s of a sample of raw -> the stage, once it holds the `NgramClassifier`.

    All workers count the n-grams of single documents and write them to files in the stage's folder; one worker fits to
    those of the smallest hashes, and the files are removed. That is also known only when the share of the target's
    rejected lines is one that it allows.

    Attributes:
        stage: where the classifier is written; says how it is fitted. Its datasets are the target and raw.
        target: PCollection of the `ReadTask`s of the target.
        shared: handle of the process's `NgramFeaturizer` of these settings.

    Raises:
        UserError: when run, for raw, or a target, without any n-gram.
    """

    stage: Stage[ClassifierSettings]
    _: KW_ONLY
    target: beam.PCollection[ReadTask]
    shared: Shared

    def expand(self, raw: beam.PCollection[ReadTask]) -> beam.PCollection[Stage]:
        """See the class."""
        settings, tasks = self.stage.settings, {"target": self.target, "raw": raw}
        counted = [
            tasks[dataset.role]
            | f"Count {dataset.role}"
            >> CountDocuments(
                self.stage, dataset, settings.ngrams, settings.seed, self.shared, by_target=settings.num_targets > 1
            )
            for dataset in self.stage.datasets
        ]
        return (
            counted
            | "Counted" >> beam.Flatten()
            | "Gather" >> Gather()
            | "Fit" >> beam.Map(_fit, self.stage)
            | "End" >> EndFit(self.stage)
        )


def _fit(files: list[CountedFile], stage: Stage) -> dict[str, Any]:
    """Writes the classifier; returns what the manifest says of it."""
    metrics.count(stage.name, **{metrics.FITTING: 1})
    settings = stage.settings
    target, raw = stage.datasets
    targets = [_load(files, target, settings, number)[0] for number in range(settings.num_targets)]
    of_raw, folds = _load(files, raw, settings, 0)
    use_one_thread()
    classifier = NgramClassifier.fit(settings.ngrams, settings.seed, targets, of_raw, folds)
    with (
        storage.atomic_write(stage.path(_COEFFICIENTS)) as coefficients,
        storage.atomic_write(stage.path(_CLASSIFIER)) as file,
    ):
        classifier.save(file, coefficients)
    lines = functools.reduce(LineCounts.merge, (one.lines for one in files if one.role == target.role), LineCounts())
    return {
        **lines.summary(),
        "documents": lines.documents,
        "target_documents": [rows.shape[0] for rows in targets],
        "raw_documents": len(folds),
        "iterations": classifier.iterations.tolist(),
        "warning": _warning(classifier),
    }


def _load(
    files: list[CountedFile], dataset: Dataset, settings: ClassifierSettings, target: int
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Features and folds of a target's documents, or raw's, to fit to; raises `UserError` where none has an n-gram."""
    of_dataset = sorted((one for one in files if one.role == dataset.role), key=lambda one: one.index)
    paths = [one.path for one in of_dataset if one.path]
    rows, folds = load_features(paths, target, settings.num_documents, settings.ngrams.num_buckets)
    if not len(folds):
        separate = dataset.role == "target" and settings.num_targets > 1
        where = f" of {dataset.patterns[target]}" if separate else ""
        lines = functools.reduce(LineCounts.merge, (one.lines for one in of_dataset), LineCounts())
        raise UserError(f"--{dataset.role}: no text in it{where} ({lines.documents} documents){lines.first_rejected}")
    return rows, folds


def _warning(classifier: NgramClassifier) -> str | None:
    """What is to be told of fits that were ended before they had converged."""
    ended = int((classifier.iterations >= MAX_ITERATIONS).sum())
    if not ended:
        return None
    return f"{ended} of {classifier.iterations.size} fits did not converge in {MAX_ITERATIONS} iterations"


def load_classifier(stage: Stage) -> NgramClassifier:
    """The classifier that a complete stage holds; its coefficients are mapped where they lie on a local disk.

    Raises:
        UserError: for files of another classifier.
    """
    path, coefficients = stage.path(_CLASSIFIER), stage.path(_COEFFICIENTS)
    content = stage.load(path)
    try:
        if storage.is_local(coefficients):
            array = np.load(coefficients, mmap_mode="r", allow_pickle=False)
        else:
            array = np.load(io.BytesIO(storage.read_bytes(coefficients)), allow_pickle=False)
        classifier = NgramClassifier.load(content, np.asarray(array))
        classifier.require(stage.settings.ngrams)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: {error}; delete {stage.folder} and run again") from None
    if classifier.seed != stage.settings.seed:
        raise UserError(f"{path} was fitted with another seed; delete {stage.folder} and run again")
    return classifier
