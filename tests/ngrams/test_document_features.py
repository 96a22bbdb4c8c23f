import numpy as np
import pytest
from scipy import sparse

from hir_transforms.ngrams.document_counts import CountedDocuments
from hir_transforms.ngrams.document_features import load_counts, load_features, unit_features

GENERATOR = np.random.default_rng(0)


def counted(targets):
    """Made-up documents of these targets, of 1 to 9 of 500 buckets."""
    sizes = GENERATOR.integers(1, 10, len(targets))
    return CountedDocuments(
        GENERATOR.integers(0, 2**64, len(targets), np.uint64),
        GENERATOR.integers(0, 5, len(targets)),
        np.array(targets),
        np.concatenate([[0], np.cumsum(sizes)]),
        np.concatenate([GENERATOR.choice(500, size, replace=False) for size in sizes]).astype(np.uint32),
        GENERATOR.integers(1, 9, sizes.sum()).astype(np.uint32),
    )


def test_features_are_logarithms_of_unit_length():
    counts = GENERATOR.poisson(0.5, (40, 30))
    counts[7] = 0
    expected = np.log1p(counts)
    expected[counts.any(axis=1)] /= np.linalg.norm(expected[counts.any(axis=1)], axis=1, keepdims=True)
    np.testing.assert_allclose(unit_features(sparse.csr_matrix(counts)).toarray(), expected, rtol=1e-14)


@pytest.mark.parametrize("target", [0, 1])
def test_a_sample_is_the_documents_of_the_smallest_hashes(tmp_path, target):
    parts = [counted(GENERATOR.integers(0, 2, 45)) for _ in range(2)]
    paths = [str(tmp_path / f"{number}.npz") for number in range(2)]
    for part, path in zip(parts, paths, strict=True):
        part.save(path)
    joined = CountedDocuments.join(parts)
    sizes, of_target = np.diff(joined.bounds), np.flatnonzero(joined.targets == target)
    order = of_target[np.argsort(joined.hashes[of_target])]
    entries = int(sizes[order[:15]].sum())
    for limits, taken in (((20, 500), 20), ((90, 500, entries), 15), ((90, 500, 0), 1), ((200, 500), len(order))):
        rows, folds = load_features(paths, target, *limits)
        kept = np.sort(order[:taken])
        assert folds.tolist() == joined.folds[kept].tolist()
        expected = unit_features(joined.matrix(500)[kept])
        np.testing.assert_array_equal(rows.toarray(), expected.toarray())
    if target == 0:
        counts, folds, _ = load_counts(paths, 20, 500)
        kept = np.sort(order[:20])
        assert folds.tolist() == joined.folds[kept].tolist()
        np.testing.assert_array_equal(counts.toarray(), joined.matrix(500)[kept].toarray())


def test_no_documents_have_no_features(tmp_path):
    counted([0, 0]).save(str(tmp_path / "counted.npz"))
    for paths in ([], [str(tmp_path / "counted.npz")]):
        rows, folds = load_features(paths, 1, 20, 500)
        assert (rows.shape, folds.shape) == ((0, 500), (0,))
