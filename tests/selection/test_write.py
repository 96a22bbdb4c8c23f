import gzip
import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from apache_beam.io.filesystem import BeamIOError
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from hir_transforms.artifacts.output_folder import OutputFolder, own_files
from hir_transforms.artifacts.runs import versions
from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError, find_user_error
from hir_transforms.common.fingerprints import to_json
from hir_transforms.documents.known_files import KnownFiles
from hir_transforms.documents.records import Reject, SourceFile
from hir_transforms.documents.rejects import write_rejects
from hir_transforms.files import storage
from hir_transforms.selection.effective_size import WeightSums
from hir_transforms.selection.eligible import EligibleRows, ScoreCounts, SelectionSettings
from hir_transforms.selection.picked import PickedFile, write_picked
from hir_transforms.selection.select import SelectionState
from hir_transforms.selection.threshold import ThresholdSearch
from hir_transforms.selection.write import (
    OutputSettings,
    OutputShard,
    RejectedLines,
    WriteSelection,
    _publish,
    _write,
    count_selected,
    plan_output,
)
from hir_transforms.weights.score_shards import ScoreShard
from tests.helpers.folders import stored

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.decompress,
    ".zst": lambda data: zstandard.ZstdDecompressor().stream_reader(data).read(),
}
WEIGHTS = (WeightSums.of(np.zeros(9)), WeightSums.of(np.zeros(2)))
COUNTS = ScoreCounts(rejected=2, short=3, duplicate=4, eligible=100, weights=WEIGHTS)
NUM_TARGETS = 2
STATE = SelectionState(Stage.create("scores", "/work", {}), (0.25, 0.75), (1, 9), (), ThresholdSearch.start(1), COUNTS)
LINES = st.lists(
    st.sampled_from([b"a", b"b\r", b'{"text": "\xc3\xa9"}', b"\xff", b"long" * 50]), min_size=1, max_size=6
)


@dataclass(frozen=True)
class Line:
    """A selected document; `stat` is what its score shard says of the file's size and time (empty: the truth)."""

    path: str
    file_index: int
    offset: int
    length: int
    num_tokens: int = 7
    target: int = 0
    stat: tuple = ()


def lines_of(path, content, file_index):
    """Each line of a file."""
    lines = []
    offset = 0
    for line in content.split(b"\n"):
        if line:
            lines.append(Line(str(path), file_index, offset, len(line)))
        offset += len(line) + 1
    return lines


def line_of(line, contents):
    return contents[line.path][line.offset :][: line.length]


def stat_of(path):
    return storage.size_and_time(path) if storage.exists(path) else (0, 0.0)


def known_files(lines):
    """The files of lines, as their score shards tell them."""
    return KnownFiles(
        SourceFile(line.file_index, line.path, Path(line.path).name, *(line.stat or stat_of(line.path)))
        for line in lines
    )


def pick(lines, wanted, index=0):
    """The picked file of a score shard that has these lines and, unselected, one between any two."""
    files = {
        line.path: [line.file_index, line.path, Path(line.path).name, *(line.stat or stat_of(line.path))]
        for line in lines
    }
    rows = [row for line in lines for row in (line, None)]
    table = pa.table(
        {
            "file": [(row or lines[0]).path for row in rows],
            "offset": pa.array([row.offset if row else 10**9 + place for place, row in enumerate(rows)], pa.int64()),
            "length": pa.array([row.length if row else 1 for row in rows], pa.int64()),
            "num_tokens": pa.array([row.num_tokens if row else 1000 for row in rows], pa.int32()),
            "weight": pa.array([[-1.5, -2.5]] * len(rows), pa.list_(pa.float64())),
        }
    ).replace_schema_metadata({"hir.files": json.dumps(list(files.values()))})
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        pq.write_table(table, file.name)
        eligible = EligibleRows(ScoreShard(index, file.name, len(rows), 0), SelectionSettings(1, None, True, 0, 0))
    picked = np.arange(0, len(rows), 2)
    targets = np.array([line.target for line in lines], np.int32)
    return write_picked(wanted.folder.picked, index, eligible, picked, np.full(len(picked), 0.5), targets, NUM_TARGETS)


def pick_all(lines, wanted, num_shards=1):
    """Picked files of lines that are dealt out to shards, as the parts of a stream are."""
    return [pick(lines[shard::num_shards], wanted, shard) for shard in range(num_shards) if lines[shard::num_shards]]


def output_settings(folder, **changed):
    defaults: dict[str, Any] = {
        "folder": OutputFolder(f"{folder}/out"),
        "num_shards": 3,
        "compression": "none",
        "format": "jsonl",
        "settings": {"seed": 7},
        "fingerprint": "fingerprint",
        "rejected": (),
    }
    return OutputSettings(**defaults | changed)


def write(selected, wanted, num_shards=1):
    """Runs the transform; returns the manifest as written."""
    picked = pick_all(selected, wanted, num_shards)
    path = storage.join(wanted.folder.path, "manifest.json")

    def check(manifests):
        assert manifests == [json.loads(storage.read_bytes(path))]

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        inputs = pipeline | "Picked" >> beam.Create(picked[::-1]), pipeline | "State" >> beam.Create([STATE])
        written = inputs | WriteSelection(wanted, pipeline | "Known" >> beam.Create([known_files(selected)]))
        assert_that(written, check)
    return json.loads(storage.read_bytes(path))


def shard_contents(manifest, folder):
    """Uncompressed content of the shards in order, after a look at what the manifest says of them."""
    parts = []
    for shard in manifest["shards"]:
        stored = storage.read_bytes(storage.join(folder, shard["name"]))
        assert shard["bytes"] == len(stored)
        assert shard["sha256"] == hashlib.sha256(stored).hexdigest()
        name, _, _ = shard["name"].partition(".jsonl")
        parts.append(DECODERS[shard["name"][len(name) + len(".jsonl") :]](stored))
        assert parts[-1].count(b"\n") == shard["documents"]
    return parts


@pytest.fixture
def source(tmp_path):
    """(selected documents, lines) of a file of ten lines, one longer than the other."""
    path = tmp_path / "a.jsonl"
    lines = [b"x" * (number + 1) for number in range(10)]
    path.write_bytes(b"\n".join(lines))
    return lines_of(path, path.read_bytes(), 0), lines


@settings(max_examples=8)
@given(st.lists(st.tuples(LINES, st.booleans(), st.sampled_from(["", ".gz"])), min_size=1, max_size=3), st.data())
def test_lines_are_copied_byte_for_byte_in_corpus_order(corpus, data):
    with tempfile.TemporaryDirectory() as folder:
        contents, everything = {}, []
        for index, (lines, newline, suffix) in enumerate(corpus):
            path = Path(folder) / f"{9 - index}.jsonl{suffix}"
            content = b"\n".join(lines) + (b"\n" if newline else b"")
            path.write_bytes(gzip.compress(content) if suffix else content)
            contents[str(path)] = content
            everything += lines_of(path, content, index)
        kept = data.draw(st.sets(st.integers(0, len(everything) - 1), min_size=1))
        selected = [everything[place] for place in sorted(kept)]
        num_shards = data.draw(st.integers(1, 5))
        compression = data.draw(st.sampled_from(["none", "gzip", "zstd"]))
        wanted = output_settings(folder, num_shards=num_shards, compression=compression)
        manifest = write(selected, wanted, data.draw(st.integers(1, 4)))
        parts = shard_contents(manifest, wanted.folder.path)
        assert b"".join(parts) == b"".join(line_of(line, contents) + b"\n" for line in selected)
        assert len(parts) == min(num_shards, len(selected))
        table = pq.read_table(f"{wanted.folder.path}/selection.parquet", columns=["file", "offset"]).to_pylist()
        assert [(row["file"], row["offset"]) for row in table] == [(line.path, line.offset) for line in selected]
        assert not Path(wanted.folder.incomplete).exists()


@pytest.mark.parametrize(("num_shards", "written"), [(1, 1), (3, 3), (10, 10), (13, 10)])
def test_shards_are_contiguous_nearly_equal_and_never_empty(source, tmp_path, num_shards, written):
    selected, lines = source
    manifest = write(selected, output_settings(tmp_path, num_shards=num_shards), num_shards=3)
    sizes = [shard["documents"] for shard in manifest["shards"]]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) > 0
    assert [shard["name"] for shard in manifest["shards"]] == [
        f"part-{shard:05d}-of-{written:05d}.jsonl" for shard in range(written)
    ]
    assert b"".join(shard_contents(manifest, f"{tmp_path}/out")).splitlines() == lines


@pytest.mark.parametrize(("megabytes", "expected"), [(0, 1), (255, 1), (300, 2), (2600, 11)])
def test_the_number_of_shards_follows_the_size(tmp_path, megabytes, expected):
    picked = [PickedFile(place, place, "a", 1 << 20, (1,), (9,)) for place in range(megabytes)]
    _, *shards = plan_output(picked, output_settings(tmp_path, num_shards=0))
    assert len(shards) == expected


@pytest.mark.parametrize(("compression", "suffix"), [("none", ""), ("gzip", ".gz"), ("zstd", ".zst")])
def test_equal_selections_are_equal_bytes(source, tmp_path, compression, suffix):
    selected, _ = source
    outputs = []
    for name in ("one", "other"):
        folder = tmp_path / name
        write(selected, output_settings(folder, compression=compression))
        outputs.append({path.name: path.read_bytes() for path in (folder / "out").iterdir()})
    assert outputs[0] == outputs[1]
    shards = {f"part-0000{shard}-of-00003.jsonl{suffix}" for shard in range(3)}
    assert set(outputs[0]) == shards | {"manifest.json", "selection.parquet"}


def test_the_manifest_counts_everything(source, tmp_path):
    selected, _ = source
    chosen = [replace(line, target=int(place > 1)) for place, line in enumerate(selected[:4])]
    manifest = write(chosen, output_settings(tmp_path))
    assert manifest["settings"] == {"seed": 7}
    assert (manifest["kind"], manifest["fingerprint"]) == ("hir output", "fingerprint")
    assert manifest["files"] == ["selection.parquet"]
    assert manifest["versions"] == versions()
    assert manifest["counts"] == {
        "read": 109,
        "rejected": 2,
        "short": 3,
        "duplicate": 4,
        "eligible": 100,
        "selected": 4,
        "selected_tokens": 28,
    }
    assert manifest["shares"] == [
        {
            "proportion": 0.25,
            "effective_sample_size": 9.0,
            "given": 0.5,
            "asked": 1,
            "selected": 2,
            "selected_tokens": 14,
        },
        {
            "proportion": 0.75,
            "effective_sample_size": 2.0,
            "given": 0.5,
            "asked": 9,
            "selected": 2,
            "selected_tokens": 14,
        },
    ]


def test_selection_parquet_tells_where_each_line_was(source, tmp_path):
    selected, lines = source
    write(selected[2:5], output_settings(tmp_path))
    table = pq.read_table(tmp_path / "out" / "selection.parquet")
    assert [(field.name, field.type) for field in table.schema] == [
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("weight", pa.float64()),
        ("key", pa.float64()),
        ("target", pa.int32()),
    ]
    assert table.to_pylist() == [
        {
            "file": str(tmp_path / "a.jsonl"),
            "offset": sum(len(line) + 1 for line in lines[:place]),
            "length": place + 1,
            "weight": -1.5,
            "key": 0.5,
            "target": 0,
        }
        for place in (2, 3, 4)
    ]


def test_rejected_lines_come_along(source, tmp_path):
    for role, index in (("raw", 0), ("raw", 4), ("target", 1)):
        write_rejects(str(tmp_path / role), role, index, [Reject(f"/{role}", index, "not JSON", "x")])
    write_rejects(str(tmp_path / "raw"), "target", 9, [Reject("/else", 0, "not JSON", "x")])
    write(
        source[0],
        output_settings(
            tmp_path, rejected=[RejectedLines(str(tmp_path / role), f"{role}-") for role in ("raw", "target")]
        ),
    )
    found = {path.name: json.loads(path.read_bytes()) for path in (tmp_path / "out" / "rejected").iterdir()}
    assert len(own_files(str(tmp_path / "out"))) == 8
    assert {name: (reject["file"], reject["offset"]) for name, reject in found.items()} == {
        "raw-00000.jsonl": ("/raw", 0),
        "raw-00004.jsonl": ("/raw", 4),
        "target-00001.jsonl": ("/target", 1),
    }


def test_an_older_result_is_replaced(source, tmp_path):
    write(source[0], output_settings(tmp_path, num_shards=4))
    manifest = write(source[0], output_settings(tmp_path, num_shards=2))
    names = {shard["name"] for shard in manifest["shards"]}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names | {"manifest.json", "selection.parquet"}


def shorten(path):
    path.write_bytes(path.read_bytes()[:20])


def insert_a_line(path):
    path.write_bytes(b"new\n" + path.read_bytes())


def lengthen_lines(path):
    path.write_bytes(path.read_bytes().replace(b"xxx\n", b"xxxx\n"))


def shorten_a_line(path):
    path.write_bytes(path.read_bytes().replace(b"xxx\n", b"xx\n\n"))


@pytest.mark.parametrize("change", [shorten, insert_a_line, lengthen_lines, shorten_a_line])
def test_a_source_that_changed_is_an_error(source, tmp_path, change):
    path = tmp_path / "a.jsonl"
    change(path)
    with pytest.raises(Exception, match=r"a\.jsonl") as caught:
        write(source[0], output_settings(tmp_path))
    message = find_user_error(caught.value)
    assert message.startswith(f"{path} changed after it was scored (at byte ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("stored", "message"),
    [(None, "cannot read"), (gzip.compress(b"one\ntwo\n")[:-12], "cannot decompress"), (b"one", "cannot decompress")],
    ids=["missing", "cut off", "not compressed"],
)
def test_a_source_that_cannot_be_read_is_an_error(tmp_path, stored, message):
    path = tmp_path / "a.jsonl.gz"
    if stored is not None:
        path.write_bytes(stored)
    with pytest.raises(Exception, match=message) as caught:
        write(lines_of(path, b"one\ntwo", 0), output_settings(tmp_path))
    assert find_user_error(caught.value).startswith(f"{message} {path}: ")


@pytest.fixture(params=["local", "object store"])
def place(request, tmp_path, memory_store):
    """A folder on the local disk, or of an object store."""
    return str(tmp_path / "place") if request.param == "local" else "mem://bucket/place"


def written_shards(selected, wanted) -> tuple[list[tuple[int, int]], list[OutputShard]]:
    """(documents and tokens selected, output shards)."""
    picked, known = pick_all(selected, wanted), known_files(selected)
    tasks = plan_output(picked, wanted)
    return count_selected(picked), [shard for task in tasks for shard in _write(task, known, wanted)]


def test_publishing_again_changes_nothing(source, place):
    wanted = output_settings(place)
    written = written_shards(source[0], wanted)
    manifest = _publish(STATE, *written, wanted)
    published = stored(place)
    assert _publish(STATE, *written, wanted) == manifest
    assert stored(place) == published
    assert set(published) == {
        *(f"out/part-0000{shard}-of-00003.jsonl" for shard in range(3)),
        "out/manifest.json",
        "out/selection.parquet",
    }


def test_publishing_without_the_shards_fails(source, place):
    wanted = output_settings(place)
    _publish(STATE, *written_shards(source[0], wanted), wanted)
    published = stored(place)
    others = written_shards(source[0][:5], wanted)
    storage.remove_folder(wanted.folder.incomplete)
    with pytest.raises(RuntimeError, match="not complete"):
        _publish(STATE, *others, wanted)
    assert stored(place) == published


def test_publishing_survives_a_broken_connection_at_any_step(source, memory_store):
    """In an object store it takes many steps: whichever fails, no reader sees half, and a retry completes it."""
    wanted = output_settings("mem://bucket/place")
    old = to_json({"kind": "hir output", "fingerprint": "old", "shards": [{"name": "part-of-old.jsonl"}], "files": []})
    memory_store.put("mem://bucket/place/out/manifest.json", old)
    memory_store.put("mem://bucket/place/out/part-of-old.jsonl", b"old")
    written = written_shards(source[0], wanted)
    before = dict(memory_store.objects)
    memory_store.history.clear()
    _publish(STATE, *written, wanted)
    steps = len(memory_store.history)
    expected = dict(memory_store.objects)
    for step in range(steps):
        memory_store.objects.clear()
        memory_store.objects.update(before)
        memory_store.history.clear()
        memory_store.fail_at = step
        with pytest.raises((BeamIOError, UserError)):
            _publish(STATE, *written, wanted)
        manifest = memory_store.objects.get("mem://bucket/place/out/manifest.json")
        out = stored(wanted.folder.path)
        assert manifest in (None, old) or out == contents_in(expected, wanted.folder.path)
        _publish(STATE, *written, wanted)
        assert memory_store.objects == expected
    assert steps > 10


def contents_in(objects, folder):
    return {url[len(folder) + 1 :]: content for url, content in objects.items() if url.startswith(f"{folder}/")}
