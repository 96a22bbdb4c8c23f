"""`MakeReport`: the files of a report, of bounded statistics of the score shards once the selection is known."""

import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from hir_transforms.common.combining import Chunk, Gather, SumChunks, from_chunks, to_chunks
from hir_transforms.documents.known_files import KnownFiles
from hir_transforms.documents.records import ReadTask
from hir_transforms.evaluation.two_samples import DrawnDocument
from hir_transforms.ngrams.features import shared_featurizer
from hir_transforms.report.content import ReportedFacts, ReportSettings, describe_report
from hir_transforms.report.cuts import Cuts, sample_sets
from hir_transforms.report.measure import measure_rows
from hir_transforms.report.page import render_page
from hir_transforms.report.places import PlaceSample
from hir_transforms.report.quality import MeasuredTexts
from hir_transforms.report.rows import ReportedRows
from hir_transforms.report.target import TargetText, read_target, target_tasks
from hir_transforms.report.texts import ReadText, TextTask, read_texts, text_tasks
from hir_transforms.selection.eligible import SelectionSettings
from hir_transforms.selection.select import SelectionState, list_tasks
from hir_transforms.weights.score_shards import ScoreShard, read_hashes

REPORT_FILES = ("report.html", "report.json")
_STATE, _CUTS, _TEXTS, _TARGET = "state", "cuts", "texts", "target"
_SAMPLE = "sample-"
# Documents that were read leave a worker so many at a time: those of one hundred pages are a small element.
_TOGETHER = 16


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
        return (
            state
            | "List" >> beam.FlatMap(_list_measuring)
            | "SpreadMeasuring" >> beam.Reshuffle()
            | "Measure" >> beam.FlatMap(_measure, self.selection)
            | "Sum" >> SumChunks()
            | "GatherMeasured" >> Gather()
            | "Cut" >> beam.FlatMap(_list_sampling)
            | "SpreadSampling" >> beam.Reshuffle()
            | "Sample" >> beam.FlatMap(_sample, self.selection, self.settings.dataset.is_loaded)
            | "Merge" >> SumChunks()
            | "GatherSamples" >> Gather()
            | "ListTexts" >> beam.FlatMap(_list_reading, self.settings)
            | "SpreadReading" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_read, beam.pvalue.AsSingleton(self.known_files), self.settings)
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


def _list_reading(chunks: list[Chunk], settings: ReportSettings) -> Iterator[Any]:
    yield from chunks
    measured = from_chunks(chunks)
    yield from text_tasks(measured, _samples(measured).values() if settings.target else ())
    if settings.target:
        yield from target_tasks(settings.target, settings.num_targets)


def _samples(measured: Mapping[str, Any]) -> dict[str, PlaceSample]:
    return {name.removeprefix(_SAMPLE): value for name, value in measured.items() if name.startswith(_SAMPLE)}


def _read(task: Any, known_files: KnownFiles, settings: ReportSettings) -> Iterator[Chunk]:
    featurizer = functools.partial(shared_featurizer, settings.ngrams)
    if isinstance(task, TextTask):
        known_files.require(task.file.path, task.file)
        yield from _together(_TEXTS, read_texts(task, settings.dataset, featurizer))
    elif isinstance(task, ReadTask):
        assert settings.target
        yield from _together(_TARGET, read_target(task, settings.target, settings.num_targets, featurizer()))
    else:
        yield task


def _together(name: str, read: Iterable[Any]) -> Iterator[Chunk]:
    documents = iter(read)
    while some := list(itertools.islice(documents, _TOGETHER)):
        yield (name, 0), some


def _render(chunks: list[Chunk], settings: ReportSettings) -> Iterator[tuple[str, bytes]]:
    read: dict[str, list[Any]] = {_TEXTS: [], _TARGET: []}
    for (name, _), documents in chunks:
        if name in read:
            read[name] += documents
    measured = from_chunks(chunk for chunk in chunks if chunk[0][0] not in read)
    texts = {one.place: one for one in read[_TEXTS]}
    excerpts = {place: one.excerpt for place, one in texts.items() if one.excerpt is not None}
    content = describe_report(
        ReportedFacts(
            measured,
            measured[_STATE],
            measured[_CUTS],
            excerpts,
            _measured_texts(measured, texts, read[_TARGET], settings),
        ),
        settings,
    )
    page, data = REPORT_FILES
    yield page, render_page(json.loads(content)).encode()
    yield data, content


def _measured_texts(
    measured: Mapping[str, Any],
    texts: Mapping[tuple[int, int], ReadText],
    target: Iterable[TargetText],
    settings: ReportSettings,
) -> MeasuredTexts | None:
    """The documents that are counted; None without a target to hold them against."""
    if settings.target is None:
        return None
    targets: list[list[DrawnDocument]] = [[] for _ in range(settings.num_targets)]
    for one in target:
        targets[one.target].append(one.counted)
    sets = {}
    for name, sample in _samples(measured).items():
        places = zip(*(column[: sample.within].tolist() for column in (sample.file, sample.offsets)), strict=True)
        found = (texts[place].counted for place in places)
        sets[name] = [counted for counted in found if counted]
    return MeasuredTexts.of(targets, sets)
