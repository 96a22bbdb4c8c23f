import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.selection.later_copies import later_copies


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5)), unique_by=lambda one: one[:2]))
def test_all_but_the_first_of_equal_values_are_found(rows):
    first = {}
    for file, offset, value in sorted(rows):
        first.setdefault(value, (file, offset))
    expected = [index for index, (file, offset, value) in enumerate(rows) if first[value] != (file, offset)]
    file, offset, value = np.array(rows, np.int64).reshape(-1, 3).T
    found = later_copies(value.astype(np.uint64), (file, offset))
    assert found.dtype == np.int64
    assert found.tolist() == expected


@pytest.mark.parametrize("size", [0, 1])
def test_too_few_values_have_no_copies(size):
    assert later_copies(np.zeros(size, np.uint64), (np.zeros(size, np.int64),)).tolist() == []
