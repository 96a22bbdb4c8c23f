"""`SummarizeDataset`: bounded statistics of all documents of a dataset, in one pass over its text."""

from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.transforms.window import GlobalWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from hir_transforms.common.combining import Chunk, SumChunks, chunks_of_bundle, from_chunks
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.identity import identity_hash
from hir_transforms.documents.reading import DocumentReader, count_read
from hir_transforms.documents.records import DocumentGroup, ReadTask, Reject
from hir_transforms.documents.rejects import LineCounts, check_rejected
from hir_transforms.evaluation.labels import LabelTally
from hir_transforms.evaluation.lengths import count_lengths
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings, num_tokens

# Documents are drawn by their places among the hashes, of which the highest bits number the bin.
PLACE_BITS = 18
_TEXT_PARTITIONS = 256
_MOST_HASHES = 1 << 16
SUMS, LABELS, TEXTS = "sums", "labels", "texts"


@dataclass(frozen=True)
class SummarySettings:
    """What is summarized.

    Attributes:
        name: of the dataset: what is read of it counts among the metrics of the step of this name.
        ngrams: how n-grams are made.
        num_targets: T, see `DatasetSummary`.
        label_field: of the labels that are counted; None for none.
        texts: whether the hashes of the texts are given, for what several documents have in common.
    """

    name: str
    ngrams: NgramSettings
    num_targets: int = 1
    label_field: str | None = None
    texts: bool = False

    @property
    def summary(self) -> str:
        """The name of the step that summarizes, among metrics."""
        return f"summary/{self.name}"

    @property
    def draw(self) -> str:
        """The name of the step that draws."""
        return f"draw/{self.name}"

    @property
    def embedding(self) -> str:
        """The name of the step that embeds what is drawn."""
        return f"embed/{self.name}"


@dataclass(frozen=True, eq=False)
class DatasetSummary:
    """Statistics of a dataset.

    Attributes:
        buckets: int64 [T, 2, B], n-grams of each target (of another dataset: of all, T = 1) and each half of its
            documents, in each bucket.
        lengths: int64 [L], see `count_lengths`.
        places: int64 [2^`PLACE_BITS`], documents in each bin of hashes.
        tokens: of all documents.
        lines: documents and rejected lines.
    """

    buckets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    tokens: int = 0
    lines: LineCounts = field(default_factory=LineCounts)

    @property
    def documents(self) -> int:
        """How many there are."""
        return self.lines.documents


def document_hashes(group: DocumentGroup) -> npt.NDArray[np.uint64]:
    """The hashes by which documents are drawn, and told apart in halves; uint64 [N]."""
    hashes = [identity_hash(0, one.file.name, one.offsets, purpose="evaluation") for one in group.batches]
    return np.concatenate(hashes) if hashes else np.empty(0, np.uint64)


def places_of(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The bins that hashes lie in."""
    return (hashes >> np.uint64(64 - PLACE_BITS)).astype(np.int64)


@dataclass(eq=False)
class SummarizeDataset(beam.PTransform):
    """`ReadTask`s of a dataset -> the pieces of its `DatasetSummary`, and what more is asked for.

    The outputs are a dictionary: "sums", the pieces that `summary_of` puts together; "labels", (label, documents) to
    be summed; "texts", (partition, hashes of texts), uint64 arrays.

    Attributes:
        dataset: whose documents they are.
        settings: what is summarized.
        shared: handle of the process's `NgramFeaturizer`.
    """

    dataset: Dataset
    settings: SummarySettings
    _: KW_ONLY
    shared: Shared

    @no_annotations  # Beam cannot check more than one output
    def expand(self, tasks: beam.PCollection[ReadTask]) -> dict[str, beam.PCollection]:
        """See the class."""
        do_fn = _SummarizeDoFn(self.dataset, self.settings, self.shared)
        found = tasks | "Read" >> beam.ParDo(do_fn).with_outputs(LABELS, TEXTS, main=SUMS)
        return {SUMS: found[SUMS] | "Sum" >> SumChunks(), LABELS: found[LABELS], TEXTS: found[TEXTS]}


def _nothing(settings: SummarySettings) -> dict[str, Any]:
    return {
        "buckets": np.zeros((settings.num_targets, 2, settings.ngrams.num_buckets), np.int64),
        "lengths": count_lengths(np.empty(0, np.int64)),
        "places": np.zeros(1 << PLACE_BITS, np.int64),
        "tokens": 0,
        "lines": LineCounts(),
    }


def summary_of(chunks: Iterable[Chunk], dataset: Dataset, settings: SummarySettings) -> DatasetSummary:
    """The summary of a dataset; raises `UserError` where more lines are rejected than the dataset allows."""
    nothing = _nothing(settings)
    sums = nothing | from_chunks(chunks)
    summary = DatasetSummary(**sums | {"buckets": sums["buckets"].reshape(nothing["buckets"].shape)})
    check_rejected(summary.lines.summary(), dataset)
    return summary


@dataclass(eq=False)
class _SummarizeDoFn(beam.DoFn):
    """Sums a bundle's statistics before it emits them."""

    dataset: Dataset
    settings: SummarySettings
    shared: Shared

    def setup(self) -> None:
        self._reader = DocumentReader(self.dataset, self.settings.label_field)
        self._featurizer = self.shared.acquire(lambda: NgramFeaturizer(self.settings.ngrams))

    def start_bundle(self) -> None:
        self._sums: dict[str, Any] | None = None
        self._labels = LabelTally()
        self._texts: list[npt.NDArray[np.uint64]] = []

    def process(self, task: ReadTask) -> Iterator[Any]:
        if self._sums is None:
            self._sums = _nothing(self.settings)
        rejects: list[Reject] = []
        documents = 0
        for group in self._reader.read(task):
            count_read(self.settings.summary, group)
            rejects += group.rejects
            documents += len(group.encoded)
            self._count(group, self._sums)
            labels = (label for batch in group.batches for label in batch.ids or ())
            for counted in self._labels.add(labels):
                yield beam.pvalue.TaggedOutput(LABELS, counted)
            if self.settings.texts:
                self._texts.append(group.text_hashes)
                if sum(map(len, self._texts)) >= _MOST_HASHES:
                    yield from self._flush_texts()
        self._sums["lines"] = self._sums["lines"].merge(LineCounts.of(task.index, documents, rejects))

    def _count(self, group: DocumentGroup, sums: dict[str, Any]) -> None:
        hashes = document_hashes(group)
        target = group.target if self.settings.num_targets > 1 else 0
        lengths = np.zeros(len(hashes), np.int64)
        for half in (0, 1):
            rows = np.flatnonzero((hashes & np.uint64(1)) == half)
            texts = [group.encoded[row] for row in rows.tolist()]
            lengths[rows] = self._featurizer.count(texts, sums["buckets"][target, half])
        lengths = num_tokens(lengths, self.settings.ngrams.ngrams)
        sums["lengths"] += count_lengths(lengths)
        sums["tokens"] += int(lengths.sum())
        np.add.at(sums["places"], places_of(hashes), 1)

    def _flush_texts(self) -> Iterator[Any]:
        if self._texts:
            hashes = np.sort(np.concatenate(self._texts))
            self._texts = []
            edges = np.searchsorted(hashes >> np.uint64(56), np.arange(_TEXT_PARTITIONS + 1))
            for partition in np.flatnonzero(np.diff(edges)).tolist():
                part = hashes[edges[partition] : edges[partition + 1]]
                yield beam.pvalue.TaggedOutput(TEXTS, (partition, part))

    def finish_bundle(self) -> Iterator[Any]:
        if self._sums is None:
            return
        yield from chunks_of_bundle(self._sums)
        window = GlobalWindow()
        for counted in self._labels.flush():
            yield beam.pvalue.TaggedOutput(LABELS, WindowedValue(counted, window.max_timestamp(), (window,)))
        for output in self._flush_texts():
            value = WindowedValue(output.value, window.max_timestamp(), (window,))
            yield beam.pvalue.TaggedOutput(output.tag, value)
