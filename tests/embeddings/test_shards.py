import fastavro
import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.common.errors import UserError
from hir_transforms.embeddings.shards import (
    EmbeddingShard,
    _checksum,
    find_shard,
    is_finite,
    read_documents,
    read_shard,
    shard_path,
    split_documents,
    write_shard,
)
from hir_transforms.files import storage
from tests.helpers.embeddings import group_of, rows_of


def read(folder, group):
    """The rows of a group's documents, and which of these have one."""
    files = [batch.file.path for batch in group.batches for _ in batch.texts]
    offsets = np.concatenate([batch.offsets for batch in group.batches])
    batches, has_row = read_documents(shard_path(folder, group.key), files, offsets, group.text_hashes)
    return np.concatenate([batch.rows for batch in batches]), has_row


OFFSETS = st.lists(st.integers(0, 2**50), unique=True, max_size=5).map(sorted)


@given(st.lists(OFFSETS, min_size=1, max_size=4), st.integers(1, 5))
def test_rows_come_back_as_written(tmp_path_factory, offsets_of_files, dim):
    folder = str(tmp_path_factory.mktemp("embeddings"))
    group = group_of(offsets_of_files, key=(2, 7))
    rows = rows_of(group, dim)
    assert find_shard(folder, group.key) is None
    if not len(rows):
        return
    shard = write_shard(folder, group, rows, "model", "revision")
    assert shard == EmbeddingShard((2, 7), shard_path(folder, (2, 7)), len(rows), dim, False)
    assert find_shard(folder, (2, 7)) == shard
    found, has_row = read(folder, group)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, rows)
    assert has_row.tolist() == [True] * len(rows)
    records = read_shard(shard.path)
    filled = [batch for batch in group.batches if batch.texts]
    assert [(record.file, record.name) for record in records] == [(one.file.path, one.file.name) for one in filled]
    assert [record.offsets.tolist() for record in records] == [one.offsets.tolist() for one in filled]
    assert all(record.rows.shape == (len(record.offsets), dim) for record in records)


def test_special_floats_keep_their_bits(tmp_path):
    group = group_of([[0]])
    rows = np.array([[-0.0, 3.4e38, 1e-45]], np.float32)
    write_shard(str(tmp_path), group, rows, "model", "revision")
    assert read(str(tmp_path), group)[0].tobytes() == rows.tobytes()


def test_equal_shards_are_equal_bytes(tmp_path):
    group = group_of([[0, 5], [9]])
    for folder in ("one", "other"):
        write_shard(str(tmp_path / folder), group, rows_of(group), "model", "revision")
    (one,), (other,) = ([*(tmp_path / folder).iterdir()] for folder in ("one", "other"))
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()


def test_any_avro_reader_understands_a_shard(tmp_path):
    group = group_of([[0, 5], [], [9]], key=(0, 4))
    rows = rows_of(group)
    shard = write_shard(str(tmp_path), group, rows, "all-MiniLM-L6-v2", "abc")
    with open(shard.path, "rb") as file:
        reader = fastavro.reader(file)
        assert {field["name"]: field["type"] for field in reader.writer_schema["fields"]} == {
            "file": "string",
            "name": "string",
            "block": "long",
            "offsets": "bytes",
            "rows": "bytes",
            "rejected": "bytes",
            "dim": "int",
            "normalized": "boolean",
            "model": "string",
            "revision": "string",
            "hashes": "bytes",
            "rejected_hashes": "bytes",
            "checksum": "bytes",
        }
        records = list(reader)
        assert all(len(record.pop("checksum")) == 8 for record in records)
        assert records == [
            {
                "file": "/data/0.jsonl",
                "name": "0.jsonl",
                "block": 4,
                "offsets": np.array([0, 5], "<i8").tobytes(),
                "hashes": np.array(
                    [xxhash.xxh3_64_intdigest(f"text {one}".encode()) for one in (0, 5)], "<u8"
                ).tobytes(),
                "rejected_hashes": b"",
                "rows": rows[:2].astype("<f4").tobytes(),
                "rejected": b"",
                "dim": 3,
                "normalized": False,
                "model": "all-MiniLM-L6-v2",
                "revision": "abc",
            },
            {
                "file": "/data/2.jsonl",
                "name": "2.jsonl",
                "block": 0,
                "offsets": np.array([9], "<i8").tobytes(),
                "hashes": np.array([xxhash.xxh3_64_intdigest(b"text 9")], "<u8").tobytes(),
                "rejected_hashes": b"",
                "rows": rows[2:].astype("<f4").tobytes(),
                "rejected": b"",
                "dim": 3,
                "normalized": False,
                "model": "all-MiniLM-L6-v2",
                "revision": "abc",
            },
        ]


@pytest.mark.parametrize(
    "offsets_of_files", [[[0, 5], [8]], [[0], [9]], [[0, 5]], [[0, 5], [9], [10]], [[], [0, 5], [9]]]
)
def test_rows_of_other_documents_are_refused(tmp_path, offsets_of_files):
    group = group_of([[0, 5], [9]])
    write_shard(str(tmp_path), group, rows_of(group), "model", "revision")
    with pytest.raises(UserError, match=r"file-000000-block-000000\.avro: its documents are not those of /data/"):
        read(str(tmp_path), group_of(offsets_of_files))


BAD_ROWS = [[np.nan, 0, 0], [0, np.inf, 0], [0, 0, -np.inf]]


@pytest.mark.parametrize("bad", [{0}, {1, 3}, {2, 3}, {0, 1, 2, 3}], ids=str)
def test_documents_without_a_finite_row_are_told_apart(tmp_path, bad):
    group = group_of([[0, 5], [], [9, 12]])
    rows = rows_of(group)
    for place in bad:
        rows[place] = BAD_ROWS[place % 3]
    shard = write_shard(str(tmp_path), group, rows, "model", "revision")
    assert shard.num_rows == 4 - len(bad)
    assert find_shard(str(tmp_path), group.key) == shard
    good = sorted({0, 1, 2, 3} - bad)
    found, has_row = read(str(tmp_path), group)
    np.testing.assert_array_equal(found, rows[good])
    assert np.flatnonzero(has_row).tolist() == good
    kept, rejects = split_documents(group, is_finite(rows))
    assert kept.texts == [group.texts[place] for place in good]
    assert all(len(batch.texts) == len(batch.offsets) == len(batch.lengths) for batch in kept.batches)
    places = [("/data/0.jsonl", 0), ("/data/0.jsonl", 5), ("/data/2.jsonl", 9), ("/data/2.jsonl", 12)]
    assert [(reject.file, reject.offset) for reject in rejects] == [places[place] for place in sorted(bad)]
    assert {reject.reason for reject in rejects} == {"embedding is not finite"}
    assert [reject.excerpt for reject in rejects] == [group.texts[place] for place in sorted(bad)]
    assert group.rejects == []


def test_unit_rows_are_marked_so(tmp_path):
    group = group_of([[0], [5], [9]])
    rows = np.array([[0.6, 0.8], [np.nan, 0], [0, 1.0005]], np.float32)
    assert write_shard(str(tmp_path), group, rows, "model", "revision").normalized
    assert all(record.normalized for record in read_shard(shard_path(str(tmp_path), group.key)))
    rows[2] = [0, 1.01]
    assert not write_shard(str(tmp_path), group, rows, "model", "revision").normalized
    assert [record.normalized for record in read_shard(shard_path(str(tmp_path), group.key))] == [True, True, False]


@pytest.mark.parametrize("keep", [0, 10, -1], ids=["empty", "in the header", "in a record"])
def test_half_a_shard_is_named(tmp_path, keep):
    shard = write_shard(str(tmp_path), group_of([[0, 5]]), rows_of(group_of([[0, 5]])), "model", "revision")
    content = storage.read_bytes(shard.path)
    storage.write_bytes(shard.path, content[:keep])
    with pytest.raises(UserError, match=r"block-000000\.avro is not a complete shard of embeddings"):
        read_shard(shard.path)


def damages(content):
    """The same with each byte changed, and cut off at each place."""
    for place in range(len(content)):
        yield content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
        yield content[:place]


def outcome(folder, group):
    """What `read` gives, or its error."""
    try:
        return read(folder, group)
    except UserError as error:
        return str(error)


def test_no_damage_goes_unnoticed(tmp_path):
    group = group_of([[0, 5], [9]])
    rows = rows_of(group)
    rows[1] = np.nan
    path = write_shard(str(tmp_path), group, rows, "model", "revision").path
    content, (good, has_row) = storage.read_bytes(path), read(str(tmp_path), group)
    num_harmless = 0
    for damaged in damages(content):
        storage.write_bytes(path, damaged)
        found = outcome(str(tmp_path), group)
        if isinstance(found, str):
            assert path in found
        else:  # in a part that nothing is read from, such as the documentation of a field
            num_harmless += 1
            np.testing.assert_array_equal(found[0], good)
            np.testing.assert_array_equal(found[1], has_row)
    assert num_harmless < len(content) / 2


def test_a_shard_without_its_last_record_is_not_complete(tmp_path):
    """Long records have a block of the file each: what is cut off after one is a valid Avro file."""
    group = group_of([list(range(0, 3000, 3)), [9]])
    path = write_shard(str(tmp_path), group, rows_of(group, dim=20), "model", "revision").path
    content = storage.read_bytes(path)
    marker = content[-16:]
    storage.write_bytes(path, content[: content.index(marker, content.index(marker) + 16) + 16])
    with pytest.raises(UserError, match="is not a complete shard of embeddings: 1 of 2 records"):
        read_shard(path)


def rewrite(path, records, schema=None):
    with open(path, "rb") as file:
        reader = fastavro.reader(file)
        schema, metadata = schema or reader.writer_schema, {"hir.records": reader.metadata["hir.records"]}
    with open(path, "wb") as file:
        fastavro.writer(file, schema, records, metadata=metadata)


def records_of(path):
    with open(path, "rb") as file:
        reader = fastavro.reader(file)
        return list(reader), reader.writer_schema


def test_a_record_without_rows_is_an_error(tmp_path):
    path = write_shard(str(tmp_path), group_of([[0]]), rows_of(group_of([[0]])), "model", "revision").path
    (record,), _ = records_of(path)
    record |= dict.fromkeys(("offsets", "rows", "hashes"), b"")
    rewrite(path, [record | {"checksum": _checksum(record)}])
    with pytest.raises(UserError, match="is not a complete shard of embeddings: a record without rows"):
        read_shard(path)


def test_a_shard_of_the_version_without_hashes_is_refused(tmp_path):
    path = write_shard(str(tmp_path), group_of([[0]]), rows_of(group_of([[0]])), "model", "revision").path
    records, schema = records_of(path)
    new = ("hashes", "rejected_hashes", "checksum")
    fields = [field for field in schema["fields"] if field["name"] not in new]
    old = {"type": "record", "name": "hir.Embeddings", "fields": fields}
    rewrite(path, [{name: value for name, value in record.items() if name not in new} for record in records], old)
    with pytest.raises(UserError, match=r"older version, .* \(it has no checksum, hashes, rejected_hashes\); embed"):
        read_shard(path)


def test_a_row_of_an_edited_text_is_refused(tmp_path):
    group = group_of([[0, 5]])
    write_shard(str(tmp_path), group, rows_of(group), "model", "revision")
    edited = group_of([[0, 5]])
    edited.batches[0].texts[1] = "text 6"
    with pytest.raises(UserError, match=r"its documents are not those of /data/0\.jsonl; embed the dataset again"):
        read(str(tmp_path), edited)


def test_documents_without_text_do_not_matter(tmp_path):
    group = group_of([[0, 5], [9]])
    rows = rows_of(group)
    write_shard(str(tmp_path), group, rows, "model", "revision")
    np.testing.assert_array_equal(read(str(tmp_path), group_of([[0, 5], [9], []]))[0], rows)


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*file-000003-block-000012\.avro"):
        read(str(tmp_path), group_of([[0]], key=(3, 12)))


def test_shards_in_an_object_store(memory_store):
    group = group_of([[0, 5]])
    write_shard("mem://bucket/embeddings", group, rows_of(group), "model", "revision")
    assert list(memory_store.objects) == ["mem://bucket/embeddings/file-000000-block-000000.avro"]
    np.testing.assert_array_equal(read("mem://bucket/embeddings", group)[0], rows_of(group))
