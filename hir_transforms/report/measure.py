"""`MakeReport`: the files of a report, of bounded statistics of the score shards once the selection is known."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from hir_transforms.common.combining import Chunk, Gather, SumChunks, from_chunks, to_chunks
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.examples import ExampleLoader, ExampleParser, LoadedLines, line_parser
from hir_transforms.documents.identity import identity_hash
from hir_transforms.documents.jsonl import BadLineError
from hir_transforms.documents.known_files import KnownFiles
from hir_transforms.documents.records import SourceFile
from hir_transforms.documents.table_documents import TableDocuments
from hir_transforms.evaluation.lengths import count_lengths
from hir_transforms.files import storage
from hir_transforms.files.tables import is_table, open_table
from hir_transforms.report.content import ReportSettings, describe_report
from hir_transforms.report.histograms import FloatHistogram
from hir_transforms.report.noted import KINDS, NotedDocument, NotedDocuments, first_rows
from hir_transforms.report.page import render_page
from hir_transforms.selection.eligible import EligibleRows, SelectionSettings
from hir_transforms.selection.select import SelectionState, choose_rows, list_tasks
from hir_transforms.weights.score_shards import ScoreShard, read_parts

EXCERPT_CHARACTERS = 300
# Of an excerpt's document no more than this is parsed: a longer line is shown by its place alone.
_MAX_LINE_BYTES = 16 << 20
# Of a table, rows are decoded so many at a time.
_BATCH_BYTES = 1 << 20
REPORT_FILES = ("report.html", "report.json")


@dataclass(eq=False)
class MakeReport(beam.PTransform):
    """The one `SelectionState` that has all thresholds -> (name, content) of each of `REPORT_FILES`.

    The score shards are read once more: histograms of weights and lengths, and the places of some documents, are all
    that is kept. The texts of these are read from their files.

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
        statistics = (
            state
            | "List" >> beam.FlatMap(list_tasks)
            | "Spread" >> beam.Reshuffle()
            | "Measure" >> beam.FlatMap(_measure, self.selection)
            | "Sum" >> SumChunks()
        )
        texts = (
            statistics
            | "Noted" >> beam.FlatMap(_places)
            | "ByFile" >> beam.GroupByKey()
            | "Read" >> beam.FlatMap(_read, beam.pvalue.AsSingleton(self.known_files), self.settings.dataset)
        )
        gathered = statistics | "Gather" >> Gather()
        return gathered | "Render" >> beam.FlatMap(
            _render, beam.pvalue.AsDict(texts), beam.pvalue.AsSingleton(state), self.settings
        )


def _measure(task: tuple[tuple[ScoreShard, ...], SelectionState], settings: SelectionSettings) -> Iterator[Chunk]:
    shards, state = task
    for shard in shards:
        if shard.path is not None:
            yield from to_chunks(measure_shard(shard, state, settings))


def measure_shard(shard: ScoreShard, state: SelectionState, settings: SelectionSettings) -> dict[str, Any]:
    """What is kept of a shard: by name arrays, `FloatHistogram`s and `NotedDocuments`."""
    assert shard.path is not None
    eligible = EligibleRows(shard, settings)
    if not len(eligible.row_indices):
        return {}
    chosen, _ = choose_rows(eligible, state)
    selected = chosen >= 0
    members = np.stack([np.ones_like(selected), selected], axis=1)
    parts = {name: values[eligible.row_indices] for name, values in read_parts(shard.path).items()}
    found: dict[str, Any] = {
        "lengths": count_lengths(eligible.num_tokens),
        "lengths-selected": count_lengths(eligible.num_tokens[selected]),
        "tokens": int(eligible.num_tokens[selected].sum()),
        "selected": int(selected.sum()),
    }
    for name, values in parts.items():
        for target in range(values.shape[1]):
            found[f"{name}-{target}"] = FloatHistogram.of(values[:, target], members)
    return found | _noted(eligible, state, chosen, parts)


def _noted(
    eligible: EligibleRows, state: SelectionState, chosen: np.ndarray, parts: Mapping[str, np.ndarray]
) -> dict[str, NotedDocuments]:
    rows, indices = eligible.rows, eligible.row_indices
    every = np.arange(len(indices))
    keys = np.stack([eligible.keys(target, every) for target in range(len(state.thresholds))], axis=1)
    with np.errstate(invalid="ignore"):
        over = keys - np.array([threshold.least_key for threshold in state.thresholds])
    over[np.isnan(over)] = 0.0  # of two infinities
    nearest = np.where(chosen >= 0, chosen, over.argmax(axis=1))
    weight = parts["weight"][every, nearest]
    distance = over[every, nearest]
    names, places, offsets = [file.name for file in rows.files], rows.file[indices], rows.offset[indices]
    corpus = np.array([file.index for file in rows.files], np.int64)[places]
    selected = np.flatnonzero(chosen >= 0)
    hashes = np.zeros(len(every), np.float64)
    for place in np.unique(places[selected]).tolist():
        own = selected[places[selected] == place]
        hashes[own] = identity_hash(0, names[place], offsets[own], purpose="report").astype(np.float64)
    orders = {
        "best": (every, -weight),
        "above": (selected, distance),
        "below": (np.flatnonzero(chosen < 0), -distance),
        "worst": (every, weight),
        "random": (selected, hashes),
    }
    found = {}
    for kind, (among, order) in orders.items():
        firsts = among[first_rows(order[among], corpus[among], offsets[among])]
        found[kind] = NotedDocuments(
            tuple(
                NotedDocument(
                    (float(order[row]), int(corpus[row]), int(offsets[row])),
                    rows.files[places[row]],
                    int(offsets[row]),
                    int(rows.length[indices[row]]),
                    {
                        "tokens": int(eligible.num_tokens[row]),
                        "key": float(keys[row, nearest[row]]),
                        "target": int(nearest[row]),
                        **{name: float(values[row, nearest[row]]) for name, values in parts.items()},
                    },
                )
                for row in firsts.tolist()
            )
        )
    return found


def _places(chunk: Chunk) -> Iterator[tuple[str, tuple[SourceFile, int, int]]]:
    (name, _), value = chunk
    if name in KINDS:
        for document in value.documents:
            yield document.file.path, (document.file, document.offset, document.length)


def _read(
    of_file: tuple[str, Iterable[tuple[SourceFile, int, int]]], known_files: KnownFiles, dataset: Dataset
) -> Iterator[tuple[tuple[str, int], str]]:
    """((path, offset), beginning of the text) of documents of one file, which is read forward."""
    path, places = of_file
    found = [*places]
    for file, _, _ in found:
        known_files.require(path, file)
    with contextlib.ExitStack() as opened:
        read = _opener(path, dataset)(path, dataset, opened)
        for offset, length in sorted({place[1:] for place in found}):
            yield (path, offset), read(offset, length)


_Read = Callable[[int, int], str]


def _opener(path: str, dataset: Dataset) -> Callable[[str, Dataset, contextlib.ExitStack], _Read]:
    if dataset.is_loaded:
        return _open_loaded
    return _open_rows if is_table(path) else _open_lines


def _open_loaded(path: str, dataset: Dataset, opened: contextlib.ExitStack) -> _Read:
    assert dataset.load_dataset_fn
    lines, parser = LoadedLines(ExampleLoader(dataset.load_dataset_fn, dataset.role), path), ExampleParser(dataset)
    return lambda offset, _: _beginning(parser.parse, lines.example(offset))


def _open_rows(path: str, dataset: Dataset, opened: contextlib.ExitStack) -> _Read:
    tables = TableDocuments(dataset)
    rows = tables.reader(opened.enter_context(open_table(path)), _BATCH_BYTES)
    return lambda offset, _: tables.excerpt(rows.read(offset, 1), 0)


def _open_lines(path: str, dataset: Dataset, opened: contextlib.ExitStack) -> _Read:
    parser, source = line_parser(dataset), opened.enter_context(storage.open_blocks(path))

    def read(offset: int, length: int) -> str:
        source.release(offset)
        if length > _MAX_LINE_BYTES:
            return f"(a line of more than {_MAX_LINE_BYTES} bytes)"
        return _beginning(parser.parse, source.read_at(offset, length))

    return read


def _beginning(parse: Callable[[Any], str], document: Any) -> str:
    try:
        text = parse(document)
    except BadLineError as error:
        return f"({error})"
    return text[:EXCERPT_CHARACTERS] + ("\N{HORIZONTAL ELLIPSIS}" if len(text) > EXCERPT_CHARACTERS else "")


def _render(
    chunks: list[Chunk], texts: dict[tuple[str, int], str], state: SelectionState, settings: ReportSettings
) -> Iterator[tuple[str, bytes]]:
    content = describe_report(from_chunks(chunks), texts, state, settings)
    page, data = REPORT_FILES
    yield page, render_page(json.loads(content)).encode()
    yield data, content
