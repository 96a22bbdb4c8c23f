import numpy as np
import pytest

from hir_transforms.evaluation.lengths import MAX_TOKENS, count_lengths, describe_lengths


@pytest.mark.parametrize("size", [1, 2, 7, 100, 4321])
def test_quantiles_are_numpys(size):
    lengths = np.random.default_rng(size).geometric(0.003, size)
    found = describe_lengths(count_lengths(lengths))["quantiles"]
    expected = {f"{q:g}": np.quantile(lengths, q, method="inverted_cdf") for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
    assert found == expected


def test_the_histogram_has_bounds_of_powers_of_2_and_every_document():
    lengths = np.array([0, 0, 1, 2, 3, 64, 127, 128, MAX_TOKENS, MAX_TOKENS + 1, 10**12])
    assert describe_lengths(count_lengths(lengths))["histogram"] == [
        [0, 1, 2],
        [1, 2, 1],
        [2, 4, 2],
        [64, 128, 2],
        [128, 256, 1],
        [32768, 65536, 3],
    ]
