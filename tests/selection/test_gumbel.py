import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hir_transforms.documents.identity import identity_hash
from hir_transforms.selection.gumbel import MAX_NOISE, MIN_NOISE, gumbel_noise

MASK = 2**64 - 1
PINNED_HASHES = [13844112958448146846, 17771241092549414891, 15683354645203045809, 13154692465542292240]
PINNED_NOISE = ["0x1.3f8879f67e073p+0", "0x1.a4f087919be41p+1", "0x1.d1818dafc7708p+0", "0x1.159a50f2fa006p+0"]
HASHES = identity_hash(0, "corpus/part-00000.jsonl", np.arange(200_000))


def test_noise_is_pinned() -> None:
    """A change would select other documents for the same seed."""
    assert [noise.hex() for noise in gumbel_noise(np.array(PINNED_HASHES, np.uint64)).tolist()] == PINNED_NOISE


@pytest.mark.parametrize(("seed", "name"), [(1, "corpus/part-00000.jsonl"), (0, "corpus/part-00001.jsonl")])
def test_noise_of_another_seed_or_file_is_independent(seed: int, name: str) -> None:
    other = gumbel_noise(identity_hash(seed, name, np.arange(len(HASHES))))
    assert stats.spearmanr(gumbel_noise(HASHES), other).pvalue > 0.001


def test_noise_is_finite_for_the_extreme_hashes() -> None:
    smallest, largest = gumbel_noise(np.array([0, MASK], np.uint64))
    assert smallest == pytest.approx(-math.log(53 * math.log(2)), rel=1e-15)
    assert largest == pytest.approx(53 * math.log(2), rel=1e-15)
    assert (smallest, largest) == (MIN_NOISE, MAX_NOISE)
    assert ((gumbel_noise(HASHES) >= MIN_NOISE) & (gumbel_noise(HASHES) <= MAX_NOISE)).all()


@given(st.lists(st.integers(0, MASK), min_size=1, max_size=50))
def test_noise_is_the_quantile_of_the_gumbel_distribution(hashes: list[int]) -> None:
    array = np.array(hashes, np.uint64)
    uniform = ((array >> np.uint64(12)).astype(np.float64) + 0.5) / 2**52
    noise = gumbel_noise(array)
    np.testing.assert_allclose(noise, stats.gumbel_r.ppf(uniform), rtol=1e-12, atol=1e-15)
    assert (np.diff(noise[np.argsort(array)]) >= 0).all()


def test_noise_has_the_gumbel_distribution() -> None:
    noise = gumbel_noise(HASHES)
    standard_error = math.pi / math.sqrt(6 * len(noise))
    assert abs(noise.mean() - np.euler_gamma) < 3 * standard_error
    assert noise.var() == pytest.approx(math.pi**2 / 6, rel=0.02)
    assert stats.kstest(noise, stats.gumbel_r.cdf).pvalue > 0.001


def test_top_k_of_weight_plus_noise_samples_without_replacement() -> None:
    """All ordered samples of 3 of 6 documents, against drawing one after the other by weight."""
    weights = np.arange(1, 7) / 21
    offsets = np.array([0, 17, 40, 1000, 1017, 90_000])
    num_draws = 12_000
    hashes = np.stack([identity_hash(seed, "a.jsonl", offsets) for seed in range(num_draws)])
    order = np.argsort(-(np.log(weights) + gumbel_noise(hashes)), axis=1)[:, :3]
    drawn = dict(zip(*np.unique(order @ [36, 6, 1], return_counts=True), strict=True))

    samples = list(itertools.permutations(range(6), 3))
    expected = [
        weights[a] * weights[b] / (1 - weights[a]) * weights[c] / (1 - weights[a] - weights[b]) for a, b, c in samples
    ]
    observed = [drawn.get(36 * a + 6 * b + c, 0) for a, b, c in samples]
    assert sum(observed) == num_draws
    assert stats.chisquare(observed, np.array(expected) * num_draws).pvalue > 0.001


@pytest.mark.parametrize("purpose", ["", "target-1"])
@pytest.mark.parametrize("size", [0, 1, 100_001])
def test_noise_does_not_depend_on_how_many_are_asked_for(size: int, purpose: str) -> None:
    hashes = identity_hash(5, "a.jsonl", 31 * np.arange(size), purpose=purpose)
    parts = [gumbel_noise(part) for part in np.array_split(hashes, 7)]
    assert gumbel_noise(hashes).tobytes() == np.concatenate(parts).tobytes()
