import numpy as np
import pyarrow as pa
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.files.row_groups import RowReader
from hir_transforms.files.tables import is_table, open_table
from tests.helpers.arrow import write_arrow

TABLE = pa.table(
    {"text": [f"text {row}" * (row % 7) for row in range(500)], "doc": [{"id": row} for row in range(500)]}
)


@pytest.mark.parametrize("kind", ["file", "stream"])
@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("batch_rows", [500, 100, 33])
def test_rows_are_read_by_their_numbers(tmp_path, kind, compression, batch_rows):
    path = write_arrow(tmp_path / "a.arrow", TABLE, batch_rows, kind, compression)
    with open_table(path) as table:
        assert table.schema == TABLE.schema
        assert [group.rows for group in table.row_groups()][:-1] == [batch_rows] * (-(-500 // batch_rows) - 1)
        reader = RowReader(table, None, 300)
        for first, count in [(0, 1), (1, 30), (400, 100), (5, 300), (499, 1)]:
            assert reader.read(first, count).equals(TABLE.slice(first, count))
        rows = np.arange(0, 500, 7)
        assert pa.concat_tables(reader.take(rows)).equals(TABLE.take(pa.array(rows)))
        assert RowReader(table, ["doc.id"], 100).read(3, 1).to_pydict() == {"doc": [{"id": 3}]}


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_a_file_without_batches_has_no_rows(tmp_path, kind):
    with open_table(write_arrow(tmp_path / "a.arrow", TABLE.slice(0, 0), 10, kind)) as table:
        assert [group.rows for group in table.row_groups() if group.rows] == []


def test_the_suffix_tells_it():
    assert is_table("hf://datasets/a/b.ARROW")


@pytest.mark.parametrize("kind", ["file", "stream"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"ARROW1",
        lambda _: b"no table",
        lambda content: content[: len(content) // 2],
        lambda content: content[:100],
    ],
    ids=["empty", "magic", "text", "half", "header"],
)
def test_a_damaged_file_is_one_clear_line(tmp_path, kind, damage):
    path = tmp_path / "a.arrow"
    write_arrow(path, TABLE, 50, kind)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"a\.arrow") as caught, open_table(str(path)) as table:
        RowReader(table, None, 100).read(0, 500)
    assert "\n" not in str(caught.value)


def test_texts_that_lie_outside_of_the_file_are_found_before_they_are_read(tmp_path):
    offsets = pa.py_buffer(np.array([0, 2**30, 3], np.int32))
    bad = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"abc")])
    path = write_arrow(tmp_path / "a.arrow", pa.table({"text": bad}), 2)
    with pytest.raises(UserError, match="is damaged"), open_table(path) as table:
        RowReader(table, ["text"], 100).read(0, 2)


def test_a_file_elsewhere_is_copied_while_it_is_open(tmp_path, memory_store):
    write_arrow(tmp_path / "a.arrow", TABLE, 50)
    memory_store.put("mem://bucket/a.arrow", (tmp_path / "a.arrow").read_bytes())
    with open_table("mem://bucket/a.arrow") as table:
        assert RowReader(table, None, 100).read(70, 20).equals(TABLE.slice(70, 20))
