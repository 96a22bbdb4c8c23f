import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.files.row_groups import RowGroup, RowReader
from hir_transforms.files.tables import is_table, open_table

TABLE = pa.table({"text": [f"text {row}" * (row % 7) for row in range(1000)], "id": range(1000)})

KEPT = []


@pytest.fixture(params=[1000, 100, 37])
def path(request, tmp_path):
    """The table in row groups of several sizes."""
    pq.write_table(TABLE, tmp_path / "a.parquet", row_group_size=request.param)
    return str(tmp_path / "a.parquet")


def test_the_suffix_tells_a_table():
    assert is_table("gs://a/b.parquet")
    assert is_table("A.PARQUET")
    assert not any(map(is_table, ["a.jsonl", "a.parquet.gz", "parquet"]))


@pytest.mark.parametrize("batch_bytes", [1, 500, 10**9])
def test_rows_are_read_by_their_numbers(path, batch_bytes):
    with open_table(path) as table:
        reader = RowReader(table, None, batch_bytes)
        for first, count in [(0, 1), (1, 30), (900, 100), (5, 300), (999, 1)]:
            assert reader.read(first, count).equals(TABLE.slice(first, count))
        for rows in ([0, 1, 2], [998, 999], list(range(0, 1000, 3)), []):
            taken = [part for part in reader.take(np.array(rows, np.int64)) if len(part)]
            assert pa.concat_tables([TABLE.slice(0, 0), *taken]).equals(TABLE.take(pa.array(rows, pa.int64())))


def test_only_columns_that_are_asked_for_are_read(path):
    with open_table(path) as table:
        assert RowReader(table, ["id"], 100).read(3, 2).to_pydict() == {"id": [3, 4]}
        of_text, of_all = (table.row_groups(columns) for columns in (["text"], None))
        assert sum(group.rows for group in of_text) == 1000
        assert all(few.bytes < many.bytes for few, many in zip(of_text, of_all, strict=True))


@pytest.mark.parametrize(
    ("rows", "size", "expected"), [(100, 1000, 100), (100, 10**9, 100), (100, 100, 10), (100, 1, 1), (0, 100, 1)]
)
def test_rows_of_a_size(rows, size, expected):
    assert RowGroup(0, rows, 10 * rows).rows_of(size) == expected


def test_a_large_row_group_is_read_in_little_memory(tmp_path):
    texts = np.random.default_rng(0).integers(97, 123, (20_000, 2_000), np.uint8)  # 40 MB that no codec shrinks
    lines = pa.array([text.tobytes().decode() for text in texts])
    pq.write_table(pa.table({"text": lines, "more": lines}), tmp_path / "a.parquet", use_dictionary=False)
    default = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(default)
    KEPT.append(pool)  # it must outlive what was allocated in it
    pa.set_memory_pool(pool)
    try:
        with open_table(str(tmp_path / "a.parquet")) as table:
            assert len(table.row_groups()) == 1
            reader = RowReader(table, ["text"], 1 << 20)
            for first in range(0, 20_000, 500):
                assert reader.read(first, 500)["text"].equals(pa.chunked_array([lines.slice(first, 500)]))
            for part in RowReader(table, None, 1 << 20).take(np.arange(0, 20_000, 7)):
                assert len(part) <= 500
    finally:
        pa.set_memory_pool(default)
    assert 0 < pool.max_memory() < 16 << 20


def parquet_bytes(tmp_path):
    pq.write_table(TABLE, tmp_path / "good.parquet", compression="none", use_dictionary=False)
    return (tmp_path / "good.parquet").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"no table",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content[4:],
        lambda content: content[:-8] + b"\xff\xff\xff\x7fPAR1",
        lambda content: content[:4] + b"\xff" * 200 + content[204:],
    ],
    ids=["empty", "text", "short", "half", "headless", "long footer", "bad page"],
)
def test_a_damaged_file_is_one_clear_line(tmp_path, damage):
    path = tmp_path / "a.parquet"
    path.write_bytes(damage(parquet_bytes(tmp_path)))
    with pytest.raises(UserError, match=r"a\.parquet") as caught, open_table(str(path)) as table:
        RowReader(table, None, 100).read(0, 1000)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_columns_of_one_name_are_told(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.parquet"), open_table(str(tmp_path / "none.parquet")):
        pass
    pq.write_table(pa.table([[1], [2]], ["x", "x"]), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"has 2 columns of the name x"), open_table(str(tmp_path / "a.parquet")):
        pass


def test_damage_at_every_place_is_read_or_told(tmp_path):
    content = parquet_bytes(tmp_path)
    generator = np.random.default_rng(0)
    outcomes = {"read": 0, "told": 0}
    for place in generator.integers(0, len(content), 200).tolist():
        path = tmp_path / "a.parquet"
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            with open_table(str(path)) as table:
                json.dumps(RowReader(table, None, 100).read(0, 10).to_pydict())
            outcomes["read"] += 1
        except UserError:
            outcomes["told"] += 1
        except UnicodeDecodeError:
            outcomes["read"] += 1
    assert min(outcomes.values()) > 0
