from contextlib import closing

import numpy as np
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.rows.files import RowKind
from hir_transforms.rows.table import TableReader, require_rows, row_table


@pytest.fixture
def table(tmp_path):
    """Rows 0 to 5 in files of 2, 0, 3 and 1 rows."""
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    for name, first, end in (("a", 0, 2), ("b", 2, 2), ("c", 2, 5), ("d", 5, 6)):
        np.save(tmp_path / f"{name}.npy", rows[first:end])
    return row_table(Dataset("raw_embeddings", (f"{tmp_path}/*.npy",)), RowKind.EMBEDDING)


def test_files_follow_each_other(table):
    assert (table.ends, table.num_rows, table.dim) == ([2, 2, 5, 6], 6, 2)


@pytest.mark.parametrize(("first", "count"), [(first, count) for first in range(6) for count in range(1, 7 - first)])
def test_any_range_of_rows_is_read(table, first, count):
    with closing(TableReader(table)) as reader:
        np.testing.assert_array_equal(reader.read(first, count)[:, 0], 2.0 * np.arange(first, first + count))


def test_rows_and_documents_must_be_as_many():
    table, dataset = Dataset("raw_embeddings", ("/rows.npy",)), Dataset("raw", ("/raw.jsonl",))
    require_rows(3, 3, table, dataset)
    with pytest.raises(UserError, match=r"^--raw_embeddings: 3 rows in /rows\.npy, but 4 documents in /raw\.jsonl;"):
        require_rows(3, 4, table, dataset)
