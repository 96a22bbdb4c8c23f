"""`WriteSelection`: the selected lines as shards, in corpus order, moved into place when all is complete."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any, BinaryIO, cast

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms import rejecting, storage
from hir_transforms.compression import compressed, compressed_suffix
from hir_transforms.errors import UserError
from hir_transforms.selecting import Candidate, Selection
from hir_transforms.stages import MANIFEST, to_json

_BYTES_PER_SHARD = 256 << 20
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


@dataclass(frozen=True)
class OutputSettings:
    """Where and how the selection is written.

    Attributes:
        folder: the final place.
        temporary: where it is put together, on the same file system.
        num_shards: 0 for shards of about 256 MB.
        compression: one of `COMPRESSIONS`.
        settings: all settings of the run, for the manifest.
        rejected: the folder of the stage that kept the rejected lines of each dataset, by role.
    """

    folder: str
    temporary: str
    num_shards: int
    compression: str
    settings: Mapping[str, Any]
    rejected: Mapping[str, str]


@dataclass(frozen=True)
class OutputShard:
    """A written shard, as the manifest lists it; bytes and sha256 are of the file as stored."""

    name: str
    documents: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardPlan:
    """What one writer writes."""

    name: str
    selected: list[Candidate]


class WriteSelection(beam.PTransform):
    """The `Selection` -> the manifest, once the output folder is in place."""

    def __init__(self, settings: OutputSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, selection: beam.PCollection[Selection]) -> beam.PCollection[dict[str, Any]]:
        """See the class."""
        shards = (
            selection
            | "Cut"
            >> beam.FlatMap(lambda selection, settings: plan_shards(selection.candidates, settings), self._settings)
            | "Spread" >> beam.Reshuffle()
            | "Write" >> beam.Map(_write_shard, self._settings)
        )
        return selection | "Publish" >> beam.Map(_publish, beam.pvalue.AsList(shards), self._settings)


def plan_shards(selected: list[Candidate], settings: OutputSettings) -> Iterator[ShardPlan]:
    """Cuts the selection into contiguous runs of nearly equal numbers of documents."""
    num_shards = settings.num_shards or max(1, -(-sum(one.length + 1 for one in selected) // _BYTES_PER_SHARD))
    suffix = compressed_suffix(settings.compression)
    for shard in range(num_shards):
        begin, end = (len(selected) * edge // num_shards for edge in (shard, shard + 1))
        yield ShardPlan(f"part-{shard:05d}-of-{num_shards:05d}.jsonl{suffix}", selected[begin:end])


class _HashingWriter:
    """Passes bytes on, counting and hashing them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.bytes = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.bytes += len(data)
        self.sha256.update(data)
        self._file.write(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()


def _write_shard(plan: ShardPlan, settings: OutputSettings) -> OutputShard:
    with storage.atomic_write(storage.join(settings.temporary, plan.name)) as file:
        stored = _HashingWriter(file)
        with compressed(settings.compression, cast(BinaryIO, stored)) as writer:
            for line in _read_lines(plan.selected):
                writer.write(line + b"\n")
    return OutputShard(plan.name, len(plan.selected), stored.bytes, stored.sha256.hexdigest())


def _read_lines(selected: Sequence[Candidate]) -> Iterator[bytes]:
    """The selected lines byte for byte, each file opened once and read forward."""
    by_file: dict[str, list[Candidate]] = {}
    for candidate in selected:
        by_file.setdefault(candidate.path, []).append(candidate)
    for path, candidates in by_file.items():
        with storage.open_blocks(path) as source:
            for candidate in candidates:
                # The byte before tells that a line still starts here, the byte after that it still ends there.
                before = min(1, candidate.offset)
                source.release(candidate.offset - before)
                data = source.read_at(candidate.offset - before, before + candidate.length + 1)
                line = data[before : before + candidate.length]
                around = data[:before] + data[before + candidate.length :]
                if len(line) != candidate.length or b"\n" in line or around.strip(b"\n"):
                    raise UserError(f"{path} changed after it was scored (at byte {candidate.offset}); score it again")
                yield line


def _publish(selection: Selection, shards: list[OutputShard], settings: OutputSettings) -> dict[str, Any]:
    """Writes what is not a shard, then moves the folder into place.

    A retry does it again while all shards are in the temporary folder, and changes nothing once they have moved on.
    """
    manifest = {
        "format_version": 1,
        "settings": dict(settings.settings),
        "counts": {**selection.counts.summary(), "selected": len(selection.candidates)},
        "shards": [asdict(shard) for shard in sorted(shards, key=lambda shard: shard.name)],
    }
    content = to_json(manifest)
    published = storage.join(settings.folder, MANIFEST)
    present = storage.list_folder(settings.temporary)
    if all(storage.join(settings.temporary, shard.name) in present for shard in shards):
        _write_selection(selection.candidates, settings)
        for role, folder in settings.rejected.items():
            for path in rejecting.list_rejects(folder, role):
                name = path.rpartition("/")[2]
                storage.write_bytes(storage.join(settings.temporary, rejecting.FOLDER, name), storage.read_bytes(path))
        storage.write_bytes(storage.join(settings.temporary, MANIFEST), content)
        storage.publish_folder(settings.temporary, settings.folder, last=MANIFEST)
    elif storage.exists(published) and storage.read_bytes(published) == content:
        storage.remove_folder(settings.temporary)
    else:
        raise RuntimeError(f"{settings.temporary} is not complete and {settings.folder} holds another result")
    return manifest


def _write_selection(selected: list[Candidate], settings: OutputSettings) -> None:
    table = pa.table(
        {
            "file": [one.path for one in selected],
            "offset": [one.offset for one in selected],
            "length": [one.length for one in selected],
            "weight": [one.weight for one in selected],
            "key": [one.key for one in selected],
            "target": [0] * len(selected),
        },
        schema=_SELECTION_SCHEMA,
    )
    with storage.atomic_write(storage.join(settings.temporary, "selection.parquet")) as file:
        pq.write_table(table, file, compression="zstd")
