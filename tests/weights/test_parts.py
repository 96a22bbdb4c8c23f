import os

import numpy as np
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.weights import parts
from hir_transforms.weights.parts import PartReader, part_path, weight_array, weight_column
from tests.helpers.parts import FILE, write_part_weights, write_parts

NUM_TOKENS = np.arange(40)


@pytest.fixture(params=[1 << 16, 10], ids=["one row group", "several row groups"])
def part(request, tmp_path, monkeypatch):
    """(path of the documents, path of the weights of two targets, the weights)."""
    monkeypatch.setattr(parts, "ROWS_PER_GROUP", request.param)
    written = write_parts(tmp_path / "documents", NUM_TOKENS, 40)
    weights = np.random.default_rng(0).normal(size=(40, 2))
    write_part_weights(tmp_path / "weights", written, weights)
    return part_path(str(tmp_path / "documents"), 0), part_path(str(tmp_path / "weights"), 0), weights


def test_documents_and_weights_come_back_together(part):
    documents, weights, expected = part
    with PartReader(documents, weights, weights) as reader:
        assert reader.files == [FILE]
        groups = list(reader.row_groups())
    assert [value for table, _ in groups for value in table["num_tokens"].to_pylist()] == NUM_TOKENS.tolist()
    for column in range(2):
        np.testing.assert_array_equal(np.concatenate([weights[column] for _, weights in groups]), expected)
    assert all(len(table) == len(weights) for table, (weights, _) in groups)


def test_groups_of_documents_come_back(part):
    with PartReader(part[0]) as reader:
        groups = list(reader.document_groups())
    assert [key for key, _ in groups] == [(0, first) for first in range(0, 40, 7)]
    assert [offset for _, group in groups for offset in group["offset"].to_pylist()] == list(range(0, 400, 10))


def test_weights_of_other_rows_are_refused(part, tmp_path):
    write_part_weights(tmp_path / "fewer", write_parts(tmp_path / "other", NUM_TOKENS[:39], 39), part[2][:39])
    before = os.listdir("/proc/self/fd")
    with pytest.raises(UserError, match="different rows; delete both folders and run again") as caught:
        PartReader(part[0], part_path(str(tmp_path / "fewer"), 0))
    assert caught.value  # holds all that the failed call has left
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("shape", [(4, 1), (3, 5), (0, 1)])
def test_weights_survive_as_columns(shape):
    weights = np.random.default_rng(0).normal(size=shape)
    weights.flat[:1] = np.nan
    np.testing.assert_array_equal(weight_array(weight_column(weights)), weights, strict=True)
