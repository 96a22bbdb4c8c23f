"""`WriteNgramClassifier`: the n-gram classifier, fitted by one worker to a bounded sample of documents."""

import functools
import io
import zipfile
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared

from hir_transforms.artifacts.stages import Stage, WriteStageManifest
from hir_transforms.classifiers.logistic import MAX_ITERATIONS
from hir_transforms.common.combining import Gather
from hir_transforms.common.errors import UserError
from hir_transforms.common.threads import use_one_thread
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.reading import DocumentReader
from hir_transforms.documents.records import ReadTask, Reject
from hir_transforms.documents.rejects import LineCounts, check_rejected, write_rejects
from hir_transforms.files import storage
from hir_transforms.ngrams.classifier import NgramClassifier
from hir_transforms.ngrams.document_counts import CountedDocuments, CountedFile, Rows, load_rows
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings

_CLASSIFIER = "classifier.npz"
_COEFFICIENTS = "coefficients.npy"
_DOCUMENTS = "documents"


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

    Raises (when run):
        UserError: for raw, or a target, without any n-gram.
    """

    stage: Stage[ClassifierSettings]
    _: KW_ONLY
    target: beam.PCollection[ReadTask]
    shared: Shared

    def expand(self, raw: beam.PCollection[ReadTask]) -> beam.PCollection[Stage]:
        """See the class."""
        tasks = {"target": self.target, "raw": raw}
        counted = [
            tasks[dataset.role] | f"Count {dataset.role}" >> beam.ParDo(_CountDoFn(self.stage, dataset, self.shared))
            for dataset in self.stage.datasets
        ]
        written = (
            counted
            | "Counted" >> beam.Flatten()
            | "Gather" >> Gather()
            | "Fit" >> beam.Map(_fit, self.stage)
            | "Manifest" >> WriteStageManifest(self.stage)
        )
        # After a shuffle, so that no other attempt to fit can come later.
        written | "Fitted" >> beam.Reshuffle() | "RemoveCounts" >> beam.Map(_remove, self.stage.path(_DOCUMENTS))
        return (
            written
            | "CheckRejected" >> beam.Map(check_rejected, self.stage.dataset)
            | "Classifier" >> beam.Map(lambda _, stage: stage, self.stage)
        )


def _remove(_: Any, folder: str) -> None:
    storage.remove_folder(folder)


@dataclass(eq=False)
class _CountDoFn(beam.DoFn):
    stage: Stage[ClassifierSettings]
    dataset: Dataset
    shared: Shared

    def setup(self) -> None:
        self._reader = DocumentReader(self.dataset)
        self._featurizer = self.shared.acquire(lambda: NgramFeaturizer(self.stage.settings.ngrams))

    def process(self, task: ReadTask) -> Iterator[CountedFile]:
        settings, role = self.stage.settings, self.dataset.role
        parts: list[CountedDocuments] = []
        rejects: list[Reject] = []
        documents = 0
        for group in self._reader.read(task):
            rejects += group.rejects
            documents += len(group.encoded)
            if group.encoded:
                target = group.target if settings.num_targets > 1 else 0
                parts.append(CountedDocuments.of(group, self._featurizer, settings.seed, target))
        path = self.stage.path(_DOCUMENTS, f"{role}-{task.index:05d}.npz")
        has_ngrams = any(len(part.hashes) for part in parts)
        if has_ngrams:
            CountedDocuments.join(parts).save(path)
        if role == "target":  # raw's are kept with the list of its documents
            write_rejects(self.stage.folder, role, task.index, rejects)
        lines = LineCounts.of(task.index, documents, rejects)
        yield CountedFile(role, task.index, path if has_ngrams else None, lines)


def _fit(files: list[CountedFile], stage: Stage) -> dict[str, Any]:
    """Writes the classifier; returns what the manifest says of it."""
    settings = stage.settings
    target, raw = stage.datasets
    targets = [_load(files, target, settings, number) for number in range(settings.num_targets)]
    of_raw = _load(files, raw, settings, 0)
    seen = np.zeros(settings.ngrams.num_buckets, np.bool_)
    for rows in (*targets, of_raw):
        seen[rows.buckets] = True
    buckets = np.flatnonzero(seen)
    columns = np.zeros(len(seen), np.int32)
    columns[buckets] = np.arange(len(buckets), dtype=np.int32)
    use_one_thread()
    classifier = NgramClassifier.fit(
        settings.ngrams,
        settings.seed,
        [rows.matrix(columns, len(buckets)) for rows in targets],
        of_raw.matrix(columns, len(buckets)),
        of_raw.folds,
        buckets,
    )
    with (
        storage.atomic_write(stage.path(_COEFFICIENTS)) as coefficients,
        storage.atomic_write(stage.path(_CLASSIFIER)) as file,
    ):
        classifier.save(file, coefficients)
    lines = functools.reduce(LineCounts.merge, (one.lines for one in files if one.role == target.role), LineCounts())
    return {
        **lines.summary(),
        "documents": lines.documents,
        "target_documents": [len(rows.folds) for rows in targets],
        "raw_documents": len(of_raw.folds),
        "iterations": classifier.iterations.tolist(),
        "warning": _warning(classifier),
    }


def _load(files: list[CountedFile], dataset: Dataset, settings: ClassifierSettings, target: int) -> Rows:
    """The documents of a target, or of raw, to fit to; raises `UserError` where none has an n-gram."""
    of_dataset = sorted((one for one in files if one.role == dataset.role), key=lambda one: one.index)
    rows = load_rows([one.path for one in of_dataset if one.path], target, settings.num_documents)
    if not len(rows.folds):
        separate = dataset.role == "target" and settings.num_targets > 1
        where = f" of {dataset.patterns[target]}" if separate else ""
        lines = functools.reduce(LineCounts.merge, (one.lines for one in of_dataset), LineCounts())
        raise UserError(f"--{dataset.role}: no text in it{where} ({lines.documents} documents){lines.first_rejected}")
    return rows


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
