"""`WriteSelection`: the selected lines as shards, in corpus order, moved into place when all is complete."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, cast

import apache_beam as beam
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.typehints.decorators import no_annotations

from hir_transforms.artifacts.output_folder import FORMAT_VERSION, KIND, MANIFEST, OutputFolder
from hir_transforms.artifacts.runs import versions
from hir_transforms.common import metrics
from hir_transforms.common.combining import Gather
from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import to_json
from hir_transforms.common.user_functions import UserFunction
from hir_transforms.documents import rejects
from hir_transforms.documents.known_files import KnownFiles
from hir_transforms.documents.records import SourceFile
from hir_transforms.files import storage
from hir_transforms.files.compression import compressed, compressed_suffix
from hir_transforms.files.hashing_writer import HashingWriter
from hir_transforms.selection.copy_lines import copy_lines, copy_rows
from hir_transforms.selection.eligible import ScoreCounts
from hir_transforms.selection.line_types import merge_schemas, schema_of_lines, tables_of_lines
from hir_transforms.selection.picked import PickedFile, group_overlapping, read_picked
from hir_transforms.selection.select import SelectionState
from hir_transforms.selection.settings import PARQUET
from hir_transforms.selection.table_output import check_types, common_schema, read_schema, write_rows, write_schema
from hir_transforms.weights.parts import ID_FIELD

# What its metrics are counted under, as those of a stage.
OUTPUT = "output"
_BYTES_PER_SHARD = 256 << 20
SELECTION = "selection.parquet"
_SELECTION_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("weight", pa.float64()),
        ("key", pa.float64()),
        ("target", pa.int32()),
    ]
)
_ROW_GROUP = 1 << 18


@dataclass(frozen=True)
class RejectedLines:
    """Files of rejected lines: the folder of the stage that kept them, and what the files' names begin with."""

    folder: str
    prefix: str


@dataclass(frozen=True)
class OutputSettings:
    """Where and how the selection is written.

    Attributes:
        folder: the final place.
        num_shards: 0 for shards of about 256 MB; never more than there are documents.
        compression: one of `COMPRESSIONS`.
        format: one of `FORMATS`.
        settings: all settings of the run, for the manifest.
        fingerprint: of everything that the output depends on.
        rejected: where rejected lines are kept.
        load: gives the records of files, where these are selected and not lines or rows.
        infers_types: whether the types of PARQUET are to be found in lines: not all that was scored are tables.
        trials: of the n-gram estimators, for the manifest; None where the estimator was given.
    """

    folder: OutputFolder
    num_shards: int
    compression: str
    format: str
    settings: Mapping[str, Any]
    fingerprint: str
    rejected: Sequence[RejectedLines]
    load: UserFunction | None = None
    infers_types: bool = False
    trials: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class OutputShard:
    """A written shard, as the manifest lists it; bytes and sha256 are of the file as stored."""

    name: str
    documents: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class WriteTask:
    """What one writer writes: a run of the selected documents.

    Attributes:
        name: of the output file.
        groups: the picked files that have the run, in corpus order, overlapping ones together.
        skip: documents of these files before the run.
        documents: of the run.
    """

    name: str
    groups: list[list[PickedFile]]
    skip: int
    documents: int


@dataclass(eq=False)
class WriteSelection(beam.PTransform):
    """What `PickDocuments` gives -> the manifest, once the output folder is in place.

    Attributes:
        settings: where to and how.
        known_files: PCollection of one `KnownFiles`: of no others are lines copied.
        report: PCollection of (name, content) of the files of a report; None for none.
    """

    settings: OutputSettings
    known_files: beam.PCollection[KnownFiles]
    report: beam.PCollection[tuple[str, bytes]] | None = None

    @no_annotations  # Beam cannot check more than one input
    def expand(
        self, selection: tuple[beam.PCollection[PickedFile], beam.PCollection[SelectionState]]
    ) -> beam.PCollection[dict[str, Any]]:
        """See the class."""
        picked, state = selection
        listed = picked | "List" >> Gather()
        known_files = beam.pvalue.AsSingleton(self.known_files)
        tasks = listed | "Cut" >> beam.FlatMap(_save_tasks, known_files, self.settings) | "Spread" >> beam.Reshuffle()
        typed = None
        if self.settings.infers_types:
            typed = beam.pvalue.AsSingleton(
                tasks
                | "Types" >> beam.FlatMap(_schema_of_task, known_files, self.settings)
                | "GatherTypes" >> Gather()
                | "SaveTypes" >> beam.Map(_save_schema, self.settings)
            )
        shards = tasks | "Write" >> beam.FlatMap(_write_saved, known_files, self.settings, typed)
        written = beam.pvalue.AsList(shards)
        selected = beam.pvalue.AsSingleton(listed | "Count" >> beam.Map(count_selected))
        report = None if self.report is None else beam.pvalue.AsDict(self.report)
        return state | "Publish" >> beam.Map(_publish, selected, written, self.settings, report)


def plan_output(picked: list[PickedFile], settings: OutputSettings) -> Iterator[WriteTask]:
    """The files to write: shards of nearly equal numbers of documents in corpus order, and the list of all."""
    num_documents = sum(file.num_documents for file in picked)
    groups = list(group_overlapping(picked))
    yield WriteTask(SELECTION, groups, 0, num_documents)
    num_shards = settings.num_shards or -(-sum(file.bytes for file in picked) // _BYTES_PER_SHARD)
    num_shards = max(1, min(num_shards, num_documents))
    is_parquet = settings.format == PARQUET
    suffix = f".{PARQUET}" if is_parquet else f".jsonl{compressed_suffix(settings.compression)}"
    ends = [0]
    for group in groups:
        ends.append(ends[-1] + sum(file.num_documents for file in group))
    first = 0
    for shard in range(num_shards):
        begin, end = (num_documents * edge // num_shards for edge in (shard, shard + 1))
        while first < len(groups) and ends[first + 1] <= begin:
            first += 1
        last = first
        while last < len(groups) and ends[last] < end:
            last += 1
        name = f"part-{shard:05d}-of-{num_shards:05d}{suffix}"
        yield WriteTask(name, groups[first:last], begin - ends[first], end - begin)


def _save_tasks(picked: list[PickedFile], known_files: KnownFiles, settings: OutputSettings) -> Iterator[str]:
    """Paths of the tasks, which wait in files: one may name every picked file."""
    if settings.format == PARQUET and not settings.infers_types:
        write_schema(common_schema(picked, known_files), settings.folder.tasks)
    for task in plan_output(picked, settings):
        path = storage.join(settings.folder.tasks, f"{task.name}.json")
        storage.write_bytes(path, msgspec.json.encode(task))
        yield path


def _read_run(task: WriteTask) -> Iterator[tuple[pa.Table, dict[str, SourceFile]]]:
    """The rows of a task in corpus order."""
    skip, left = task.skip, task.documents
    for group in task.groups:
        for table, files in read_picked(group):
            rows = table.slice(skip, left)
            skip -= min(skip, len(table))
            left -= len(rows)
            if len(rows):
                yield rows, files
            if not left:
                return


def _load_task(path: str) -> WriteTask:
    return msgspec.json.decode(storage.read_bytes(path), type=WriteTask)


def _schema_of_task(path: str, known_files: KnownFiles, settings: OutputSettings) -> Iterator[tuple[str, bytes]]:
    """The name of a shard, and the schema of its lines."""
    task = _load_task(path)
    if task.name != SELECTION:
        lines = copy_lines(known_files.check(_read_run(task)), settings.load)
        yield task.name, schema_of_lines(lines).serialize().to_pybytes()


def _save_schema(schemas: list[tuple[str, bytes]], settings: OutputSettings) -> None:
    read = (pa.ipc.read_schema(pa.py_buffer(schema)) for _, schema in sorted(schemas))
    schema = merge_schemas(read)
    check_types(schema)
    write_schema(schema, settings.folder.tasks)


def _write_saved(path: str, known_files: KnownFiles, settings: OutputSettings, _: Any) -> Iterator[OutputShard]:
    yield from _write(_load_task(path), known_files, settings)


def _write(task: WriteTask, known_files: KnownFiles, settings: OutputSettings) -> Iterator[OutputShard]:
    with storage.atomic_write(storage.join(settings.folder.new, task.name)) as file:
        if task.name == SELECTION:
            _write_selection(task, file)
            return
        stored = HashingWriter(file)
        rows = known_files.check(_read_run(task))
        if settings.format == PARQUET:
            schema = read_schema(settings.folder.tasks)
            tables = (
                tables_of_lines(copy_lines(rows, settings.load), schema) if settings.infers_types else copy_rows(rows)
            )
            write_rows(tables, schema, stored, settings.compression)
        else:
            with compressed(settings.compression, cast(BinaryIO, stored)) as writer:
                for lines in copy_lines(rows, settings.load):
                    writer.write(lines)
    metrics.count(OUTPUT, documents=task.documents, bytes=stored.bytes, shards=1)
    yield OutputShard(task.name, task.documents, stored.bytes, stored.sha256.hexdigest())


def _write_selection(task: WriteTask, file: BinaryIO) -> None:
    run = (rows for rows, _ in _read_run(task))
    first = next(run, _SELECTION_SCHEMA.empty_table())
    schema = _SELECTION_SCHEMA.append(ID_FIELD) if ID_FIELD.name in first.column_names else _SELECTION_SCHEMA
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        held: list[pa.Table] = []
        for rows in itertools.chain([first], run):
            held.append(rows.select(schema.names).cast(schema))
            if sum(map(len, held)) >= _ROW_GROUP:
                writer.write_table(pa.concat_tables(held))
                held = []
        writer.write_table(pa.concat_tables([schema.empty_table(), *held]))


def count_selected(picked: list[PickedFile]) -> list[tuple[int, int]]:
    """Documents and tokens selected for each target; raises `UserError` where a budget of tokens fits no document."""
    if not picked:
        raise UserError("--num_tokens_to_sample: already the first document to select has more tokens; ask for more")
    documents, tokens = ([file.documents for file in picked], [file.tokens for file in picked])
    totals = ([sum(counts) for counts in zip(*columns, strict=True)] for columns in (documents, tokens))
    return list(zip(*totals, strict=True))


def _publish(
    state: SelectionState,
    selected: list[tuple[int, int]],
    shards: list[OutputShard],
    settings: OutputSettings,
    report: dict[str, bytes] | None = None,
) -> dict[str, Any]:
    """Writes what is not a shard, then moves the folder into place.

    A retry does it again while all shards are in the temporary folder, and changes nothing once they have moved on.
    """
    folder = settings.folder
    rejected = {
        f"{rejects.FOLDER}/{path.rpartition('/')[2]}": path
        for kept in settings.rejected
        for path in rejects.list_rejects(kept.folder, kept.prefix)
    }
    manifest = {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "fingerprint": settings.fingerprint,
        "settings": dict(settings.settings),
        "versions": versions(),
        **_counts(state, selected),
        **({"trials": [dict(one) for one in settings.trials]} if settings.trials else {}),
        "shards": [asdict(shard) for shard in sorted(shards, key=lambda shard: shard.name)],
        "files": sorted([SELECTION, *rejected, *(report or {})]),
    }
    content = to_json(manifest)
    published = storage.join(folder.path, MANIFEST)
    names = [SELECTION, *(shard.name for shard in shards)]
    present = storage.list_folder(folder.new)
    if all(storage.join(folder.new, name) in present for name in names):
        for name, path in rejected.items():
            storage.write_bytes(storage.join(folder.new, name), storage.read_bytes(path))
        for name, page in (report or {}).items():
            storage.write_bytes(storage.join(folder.new, name), page)
        folder.complete(content)
        folder.publish()
    elif not (storage.exists(published) and storage.read_bytes(published) == content):
        raise RuntimeError(f"{folder.incomplete} is not complete and {folder.path} holds another result")
    folder.discard()
    metrics.count(OUTPUT, **manifest["counts"], **{metrics.COMPLETE: 1})
    return manifest


def _counts(state: SelectionState, selected: list[tuple[int, int]]) -> dict[str, Any]:
    """What was selected from what; with several targets also the share of each."""
    of_scores = state.counts or ScoreCounts()
    counts = of_scores.summary()
    sizes = [weights.effective_size for weights in of_scores.weights] or [None] * len(selected)
    total = {"selected": sum(documents for documents, _ in selected), "selected_tokens": sum(t for _, t in selected)}
    if len(selected) == 1:
        return {"counts": counts | total, "effective_sample_size": sizes[0]}
    shares = [
        {
            "proportion": proportion,
            "given": documents / total["selected"],
            "asked": asked,
            "selected": documents,
            "selected_tokens": tokens,
            "effective_sample_size": size,
        }
        for proportion, asked, (documents, tokens), size in zip(
            state.proportions, state.shares, selected, sizes, strict=True
        )
    ]
    return {"counts": counts | total, "shares": shares}
