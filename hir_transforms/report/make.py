"""`MakeReport`: the files of a report, of bounded statistics of the score shards once the selection is known."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from hir_transforms.common.combining import Chunk, Gather, SumChunks, from_chunks, to_chunks
from hir_transforms.documents.known_files import KnownFiles
from hir_transforms.documents.records import ReadTask
from hir_transforms.report.content import ReportSettings, describe_report
from hir_transforms.report.cuts import Cuts, sample_sets
from hir_transforms.report.embedded import EmbeddingTask, embedded_hashes, embedding_tasks, read_embedded
from hir_transforms.report.facts import Facts
from hir_transforms.report.fitting_size import fit_report
from hir_transforms.report.measure import measure_rows
from hir_transforms.report.places import PlaceSample
from hir_transforms.report.reading import DocumentLooker, ReadingSettings
from hir_transforms.report.rows import ReportedRows
from hir_transforms.report.target import target_tasks
from hir_transforms.report.texts import TextTask, text_tasks
from hir_transforms.selection.eligible import SelectionSettings
from hir_transforms.selection.select import SelectionState, list_tasks
from hir_transforms.weights.score_shards import ScoreShard, read_hashes

REPORT_FILES = ("report.html", "report.json")
_STATE, _CUTS, _TEXTS, _TARGET, _EMBEDDED = "state", "cuts", "texts", "target", "embedded"
_SAMPLE = "sample-"
# Documents that were read leave a worker with so many buckets together, of 8 bytes each, or so many at a time.
_BUCKETS_TOGETHER = 1 << 15
_DOCUMENTS_TOGETHER = 64


@dataclass(frozen=True)
class _MeasureTask:
    shards: tuple[ScoreShard, ...]
    state: SelectionState


@dataclass(frozen=True)
class _SampleTask:
    shards: tuple[ScoreShard, ...]
    state: SelectionState
    cuts: Cuts


@dataclass(eq=False)
class MakeReport(beam.PTransform):
    """The one `SelectionState` that has all thresholds -> (name, content) of each of `REPORT_FILES`.

    The score shards are read twice: for histograms, and for the samples that these tell the bounds of. The texts of
    a few documents are read then. What is known goes along with what is still to be done, on one path: a report that
    joined its parts would multiply the paths through the graph, which some runners walk one by one.

    Attributes:
        settings: what is told of the run.
        selection: what was selected.
        known_files: PCollection of one `KnownFiles`: of no others are lines shown.
    """

    settings: ReportSettings
    selection: SelectionSettings
    known_files: beam.PCollection[KnownFiles]

    def expand(self, state: beam.PCollection[SelectionState]) -> beam.PCollection[tuple[str, bytes]]:
        """See the class."""
        reading = self.settings.reading
        return (
            state
            | "List" >> beam.FlatMap(_list_measuring)
            | "SpreadMeasuring" >> beam.Reshuffle()
            | "Measure" >> beam.FlatMap(_measure, self.selection)
            | "Sum" >> SumChunks()
            | "GatherMeasured" >> Gather()
            | "Cut" >> beam.FlatMap(_list_sampling)
            | "SpreadSampling" >> beam.Reshuffle()
            | "Sample" >> beam.FlatMap(_sample, self.selection, reading.raw.is_loaded)
            | "Merge" >> SumChunks()
            | "GatherSamples" >> Gather()
            | "ListTexts" >> beam.FlatMap(_list_reading, reading)
            | "SpreadReading" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_ReadDoFn(reading), beam.pvalue.AsSingleton(self.known_files))
            | "GatherAll" >> Gather()
            | "Render" >> beam.FlatMap(_render, self.settings)
        )


def _list_measuring(state: SelectionState) -> Iterator[Any]:
    yield (_STATE, 0), state
    for shards, _ in list_tasks(state):
        yield _MeasureTask(shards, state)


def _measure(task: Any, settings: SelectionSettings) -> Iterator[Chunk]:
    if not isinstance(task, _MeasureTask):
        yield task
        return
    for shard in task.shards:
        if rows := ReportedRows.read(shard, task.state, settings):
            assert shard.path is not None
            hashes = read_hashes(shard.path)[0][rows.eligible.row_indices]
            yield from to_chunks(measure_rows(rows, hashes, task.state))


def _list_sampling(chunks: list[Chunk]) -> Iterator[Any]:
    yield from chunks
    measured = from_chunks(chunks)
    cuts = Cuts.of(measured)
    yield (_CUTS, 0), cuts
    for shards, state in list_tasks(measured[_STATE]):
        yield _SampleTask(shards, state, cuts)


def _sample(task: Any, settings: SelectionSettings, is_loaded: bool) -> Iterator[Chunk]:
    if not isinstance(task, _SampleTask):
        yield task
        return
    for shard in task.shards:
        if rows := ReportedRows.read(shard, task.state, settings):
            for name, sample in sample_sets(rows, task.cuts, is_loaded):
                yield (f"{_SAMPLE}{name}", 0), sample


def _list_reading(chunks: list[Chunk], settings: ReadingSettings) -> Iterator[Any]:
    yield from chunks
    measured = from_chunks(chunks)
    yield from text_tasks(measured, _samples(measured) if settings.needs_samples else {})
    if settings.target:
        yield from target_tasks(settings.target, settings.num_targets)
    # Weights may be complete whose embeddings were deleted since.
    if settings.target and settings.embeddings and all(stage.manifest() for stage in settings.embeddings):
        yield from embedding_tasks(*settings.embeddings, embedded_hashes(_samples(measured)))


def _samples(measured: Mapping[str, Any]) -> dict[str, PlaceSample]:
    return {name.removeprefix(_SAMPLE): value for name, value in measured.items() if name.startswith(_SAMPLE)}


@dataclass(eq=False)
class _ReadDoFn(beam.DoFn):
    settings: ReadingSettings

    def setup(self) -> None:
        self._looker = DocumentLooker(self.settings)

    def process(self, task: Any, known_files: KnownFiles) -> Iterator[Chunk]:
        if isinstance(task, TextTask):
            known_files.require(task.file.path, task.file)
            yield from _together(_TEXTS, self._looker.read(task))
        elif isinstance(task, ReadTask):
            yield from _together(_TARGET, self._looker.read_target(task))
        elif isinstance(task, EmbeddingTask):
            for rows in read_embedded(task):
                yield (_EMBEDDED, 0), [rows]
        else:
            yield task


def _together(name: str, read: Iterable[Any]) -> Iterator[Chunk]:
    held: list[Any] = []
    buckets = 0
    for one in read:
        held.append(one)
        buckets += len(one.counted.buckets) if one.counted else 0
        if buckets >= _BUCKETS_TOGETHER or len(held) == _DOCUMENTS_TOGETHER:
            yield (name, 0), held
            held, buckets = [], 0
    yield (name, 0), held


def _render(chunks: list[Chunk], settings: ReportSettings) -> Iterator[tuple[str, bytes]]:
    read: dict[str, list[Any]] = {_TEXTS: [], _TARGET: [], _EMBEDDED: []}
    for (name, _), documents in chunks:
        if name in read:
            read[name] += documents
    measured = from_chunks(chunk for chunk in chunks if chunk[0][0] not in read)
    facts = Facts(
        measured,
        measured[_STATE],
        measured[_CUTS],
        _samples(measured),
        {one.place: one for one in read[_TEXTS]},
        read[_TARGET],
        read[_EMBEDDED],
        settings.reading.num_targets,
    )
    page, content = fit_report(describe_report(facts, settings))
    yield from zip(REPORT_FILES, (page, content), strict=True)
