"""`DrawDocuments`: exactly as many documents as asked for, drawn at random from a dataset: n-grams and embeddings."""

from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from hir_transforms.common import metrics
from hir_transforms.common.combining import Chunk, Gather, SumChunks, chunks_of_bundle, from_chunks, to_chunks
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.reading import DocumentReader, count_read
from hir_transforms.documents.records import ReadTask
from hir_transforms.embeddings.shards import is_finite
from hir_transforms.evaluation.nearness import Rows, parts_of
from hir_transforms.evaluation.summaries import SUMS, SummarySettings, document_hashes, places_of, summary_of
from hir_transforms.evaluation.two_samples import DrawnDocument
from hir_transforms.ngrams.features import NgramFeaturizer

# Of the area under a curve of 1,000 and 1,000 documents, the standard error is at most 0.013.
SAMPLE_SIZE = 1000
_SINGLE, _TEXTS, _ROWS = "single", "texts", "rows"


@dataclass(frozen=True)
class Draw:
    """Which documents are drawn: for each size, those of the smallest hashes.

    Attributes:
        sizes: of the draws whose n-grams are summed, ascending, none above the number of documents.
        sample: of the draw whose documents are given one by one.
    """

    sizes: tuple[int, ...]
    sample: int

    @property
    def all(self) -> tuple[int, ...]:
        """The sizes of all draws."""
        return (*self.sizes, self.sample)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn.

    Attributes:
        buckets: of each draw of n documents the sums of their n-grams, int64 [2, B] of the two halves, by n.
        sample: the documents of the sample, in the order of their hashes.
        rows: their embeddings, float32 [D], by their hashes; without those that are not finite, none where nothing is
            embedded.
    """

    buckets: dict[int, npt.NDArray[np.int64]]
    sample: list[DrawnDocument]
    rows: dict[int, Rows]

    def first_rows(self, number: int) -> Rows:
        """The embeddings of the first documents of the sample, float32 [N, D]."""
        known = [self.rows[one.hash] for one in self.sample[:number] if one.hash in self.rows]
        return np.stack(known) if known else np.empty((0, 0), np.float32)


@dataclass(frozen=True, eq=False)
class _SampledTexts:
    """Documents of the sample, of one group, that are embedded at once."""

    hashes: npt.NDArray[np.uint64]
    texts: list[str]


@dataclass(eq=False)
class DrawDocuments(beam.PTransform):
    """`ReadTask`s of a dataset -> the pieces of one `Drawn`, once it is known how many documents there are.

    `drawn_of` puts the pieces together.

    The n documents of the smallest hashes are drawn, so that of two draws the smaller is a part of the larger. The
    summary tells up to which bin all are taken; of the bin in which the n-th lies, each document goes on by itself,
    and only there are they sorted.

    Attributes:
        dataset: whose documents they are.
        settings: of the summary.
        sums: PCollection of the pieces of the `DatasetSummary`.
        sizes: PCollection of the sizes to draw; None for the sample alone. A larger one than there are
            documents is left out.
        embed: groups of texts -> (the group, float32 [N, D]), as `infer_embeddings` gives it, for the embeddings of
            the sample; None for none.
        shared: handle of the process's `NgramFeaturizer`.
    """

    dataset: Dataset
    settings: SummarySettings
    _: KW_ONLY
    sums: beam.PCollection[Chunk]
    sizes: beam.PCollection[int] | None = None
    embed: beam.PTransform | None = None
    shared: Shared

    def expand(self, tasks: beam.PCollection[ReadTask]) -> beam.PCollection[Chunk]:
        """See the class."""
        sizes = () if self.sizes is None else beam.pvalue.AsIter(self.sizes)
        bounds = beam.pvalue.AsSingleton(
            self.sums | "Summary" >> Gather() | "Bounds" >> beam.Map(_bounds, sizes, self.dataset, self.settings)
        )
        do_fn = _DrawDoFn(self.dataset, self.settings, self.embed is not None, self.shared)
        found = tasks | "Draw" >> beam.ParDo(do_fn, bounds).with_outputs(_SINGLE, _TEXTS, main=SUMS)
        single = beam.pvalue.AsSingleton(found[_SINGLE] | "Single" >> Gather())
        drawn = (
            found[SUMS]
            | "Sum" >> SumChunks()
            | "Gather" >> Gather()
            | "End" >> beam.FlatMap(_end, single, bounds, self.settings)
        )
        if self.embed is None:
            return drawn
        rows = found[_TEXTS] | "Embed" >> self.embed | "Rows" >> beam.FlatMap(_rows_of, self.settings)
        return (drawn, rows) | "All" >> beam.Flatten()


@dataclass(frozen=True)
class _Bounds:
    """For each draw, the bin that the last of its documents lies in, and how many documents are in those before."""

    draw: Draw
    places: tuple[int, ...]
    before: tuple[int, ...]


def _bounds(chunks: list[Chunk], sizes: Iterable[int], dataset: Dataset, settings: SummarySettings) -> _Bounds:
    summary = summary_of(chunks, dataset, settings)
    metrics.count(settings.summary, **{metrics.COMPLETE: 1})
    fitting = sorted({size for size in sizes if size <= summary.documents})
    draw = Draw(tuple(fitting), min(SAMPLE_SIZE, summary.documents))
    below = np.cumsum(summary.places)
    places = np.searchsorted(below, draw.all)
    before = below[places] - summary.places[places]
    return _Bounds(draw, tuple(places.tolist()), tuple(before.tolist()))


@dataclass(eq=False)
class _DrawDoFn(beam.DoFn):
    dataset: Dataset
    settings: SummarySettings
    embeds: bool
    shared: Shared

    def setup(self) -> None:
        self._reader = DocumentReader(self.dataset)
        self._featurizer = self.shared.acquire(lambda: NgramFeaturizer(self.settings.ngrams))

    def start_bundle(self) -> None:
        self._sums: dict[str, npt.NDArray[np.int64]] = {}

    def process(self, task: ReadTask, bounds: _Bounds) -> Iterator[Any]:
        sizes = len(bounds.draw.sizes)
        ends = np.array(bounds.places[:sizes], np.int64)
        for group in self._reader.read(task):
            count_read(self.settings.draw, group)
            hashes = document_hashes(group)
            places = places_of(hashes)
            # Draws hold each other: what is summed for the smallest that has a document counts for all larger ones.
            first = np.searchsorted(ends, places, side="right")
            for number in np.unique(first[first < sizes]).tolist():
                sums = self._sums.setdefault(str(number), np.zeros((2, self.settings.ngrams.num_buckets), np.int64))
                for half in (0, 1):
                    rows = np.flatnonzero((first == number) & ((hashes & np.uint64(1)) == half))
                    self._featurizer.count([group.encoded[row] for row in rows.tolist()], sums[half])
            for row in np.flatnonzero((places <= bounds.places[-1]) | np.isin(places, ends)).tolist():
                yield beam.pvalue.TaggedOutput(_SINGLE, self._drawn(int(hashes[row]), group.encoded[row]))
            sampled = np.flatnonzero(places <= bounds.places[-1])
            if self.embeds and sampled.size:
                texts = group.texts
                sample = _SampledTexts(hashes[sampled], [texts[row] for row in sampled.tolist()])
                yield beam.pvalue.TaggedOutput(_TEXTS, sample)

    def _drawn(self, hash: int, text: bytes) -> DrawnDocument:
        counts = np.zeros(self.settings.ngrams.num_buckets, np.int64)
        self._featurizer.count([text], counts)
        buckets = np.flatnonzero(counts)
        return DrawnDocument(hash, buckets.astype(np.int32), counts[buckets].astype(np.int32))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield from chunks_of_bundle(self._sums)


def _rows_of(embedded: tuple[_SampledTexts, np.ndarray], settings: SummarySettings) -> Iterator[Chunk]:
    """The finite rows of documents, with their hashes."""
    sampled, rows = embedded
    metrics.count(settings.embedding, embedded=len(rows))
    finite = is_finite(rows)
    hashes, rows = sampled.hashes[finite], rows[finite]
    for part in parts_of(rows):
        yield (_ROWS, 0), (hashes[part], rows[part])


def _end(
    chunks: list[Chunk], single: list[DrawnDocument], bounds: _Bounds, settings: SummarySettings
) -> Iterator[Chunk]:
    summed: dict[str, Any] = from_chunks(chunks)
    documents = sorted(single, key=lambda document: document.order)
    places = places_of(np.array([document.hash for document in documents], np.uint64))
    total = np.zeros((2, settings.ngrams.num_buckets), np.int64)
    for number, size in enumerate(bounds.draw.sizes):
        if str(number) in summed:
            total = total + summed[str(number)].reshape(total.shape)
        begin = int(np.searchsorted(places, bounds.places[number]))
        own = total.copy()
        for document in documents[begin : begin + size - bounds.before[number]]:
            own[document.half, document.buckets] += document.counts
        yield from to_chunks({str(size): own})
    for number, document in enumerate(documents[: bounds.draw.sample]):
        yield (_SINGLE, number), document
    metrics.count(settings.draw, **{metrics.COMPLETE: 1})


def drawn_of(chunks: Iterable[Chunk]) -> Drawn:
    """What was drawn, from its pieces in any order."""
    pieces = list(chunks)
    single = sorted((number, document) for (name, number), document in pieces if name == _SINGLE)
    embedded = [piece for (name, _), piece in pieces if name == _ROWS]
    rows = {hashed: row for hashes, rows in embedded for hashed, row in zip(hashes.tolist(), rows, strict=True)}
    sums = from_chunks(piece for piece in pieces if piece[0][0] not in (_SINGLE, _ROWS))
    buckets = {int(size): values.reshape(2, -1) for size, values in sums.items()}
    return Drawn(buckets, [document for _, document in single], rows)
