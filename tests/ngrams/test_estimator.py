import io
import json
import zipfile

import numpy as np
import pytest
from data_selection import HashedNgramDSIR
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hir_transforms.ngrams.estimator import NgramEstimator
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings

SETTINGS = NgramSettings(num_buckets=4)
RAW = np.array([6, 0, 2, 0])
TARGETS = np.array([[1, 0, 0, 1], [0, 0, 6, 0]])


def saved(estimator: NgramEstimator) -> bytes:
    file = io.BytesIO()
    estimator.save(file)
    return file.getvalue()


def with_description(data: bytes, **changes: object) -> io.BytesIO:
    with np.load(io.BytesIO(data)) as arrays:
        contents = dict(arrays)
    description = {**json.loads(str(contents["description"])), **changes}
    file = io.BytesIO()
    np.savez(file, **{**contents, "description": np.array(json.dumps(description))})
    file.seek(0)
    return file


def test_log_ratio():
    estimator = NgramEstimator.fit(SETTINGS, RAW, TARGETS)
    expected = np.log(TARGETS / [[2], [6]] + 1e-8) - np.log(RAW / 8 + 1e-8)
    np.testing.assert_allclose(estimator.log_ratio, expected, rtol=1e-15)
    assert estimator.log_ratio.dtype == np.float64
    assert estimator.target_proportions.tolist() == [0.25, 0.75]


def test_laplace_smoothing():
    estimator = NgramEstimator.fit(SETTINGS, RAW, TARGETS, target_laplace_smoothing=0.5)
    expected = np.log((TARGETS + 0.5) / [[4], [8]] + 1e-8) - np.log(RAW / 8 + 1e-8)
    np.testing.assert_allclose(estimator.log_ratio, expected, rtol=1e-15)


def test_it_is_the_estimator_of_data_selection(tmp_path):
    paths = {}
    for name, texts in {"raw": ["a b c a", "b, d"], "first": ["a b"], "second": ["c c c", "d"]}.items():
        paths[name] = str(tmp_path / f"{name}.jsonl")
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    dsir = HashedNgramDSIR(
        [paths["raw"]], [paths["first"], paths["second"]], str(tmp_path), num_proc=1, separate_targets=True
    )
    dsir.fit_importance_estimator("all")
    featurizer = NgramFeaturizer(NgramSettings())
    raw_counts, *target_counts = (np.zeros(10_000, np.int64) for _ in range(3))
    featurizer.count([b"a b c a", b"b, d"], raw_counts)
    featurizer.count([b"a b"], target_counts[0])
    featurizer.count([b"c c c", b"d"], target_counts[1])
    estimator = NgramEstimator.fit(NgramSettings(), raw_counts, np.stack(target_counts))
    np.testing.assert_allclose(estimator.log_ratio, dsir.log_diff, rtol=1e-14)
    assert estimator.target_proportions.tolist() == dsir.target_proportions.tolist()


def test_the_counts_are_copied():
    raw_counts = RAW.copy()
    estimator = NgramEstimator.fit(SETTINGS, raw_counts, TARGETS)
    raw_counts[0] = 100
    assert estimator.raw_counts.tolist() == RAW.tolist()


@pytest.mark.parametrize(
    ("raw_counts", "target_counts", "smoothing", "message"),
    [
        (np.zeros(4), TARGETS, 0, "the raw documents have no n-gram"),
        (RAW, [[1, 0, 0, 0], [0, 0, 0, 0]], 0, "target 1 has no n-gram"),
        (RAW, [[0, 0, 0, 0]], 1, "target 0 has no n-gram"),
        (np.ones(5), TARGETS, 0, r"raw_counts must have shape \(4,\), not \(5,\)"),
        (RAW, RAW, 0, r"target_counts must have shape \(targets, 4\), not \(4,\)"),
        (RAW, np.zeros((0, 4)), 0, r"not \(0, 4\)"),
        (RAW, TARGETS, -1, "target_laplace_smoothing must be zero or more, not -1"),
        (RAW, TARGETS, float("nan"), "target_laplace_smoothing must be zero or more, not nan"),
    ],
)
def test_what_cannot_be_fitted(raw_counts, target_counts, smoothing, message):
    with pytest.raises(ValueError, match=message):
        NgramEstimator.fit(SETTINGS, raw_counts, target_counts, target_laplace_smoothing=smoothing)


counts = st.integers(0, 2**40)


@given(
    hnp.arrays(np.int64, 4, elements=counts).filter(np.any),
    hnp.arrays(np.int64, (2, 4), elements=counts).filter(lambda rows: rows.any(axis=1).all()),
    st.floats(0, 100),
    st.sampled_from(["sha256", "fast"]),
)
def test_a_saved_estimator_is_loaded_as_it_was(raw_counts, target_counts, smoothing, algorithm):
    settings = NgramSettings(3, 4, "word_tokenize", algorithm)
    estimator = NgramEstimator.fit(settings, raw_counts, target_counts, target_laplace_smoothing=smoothing)
    loaded = NgramEstimator.load(io.BytesIO(saved(estimator)))
    assert loaded.settings == settings
    assert loaded.target_laplace_smoothing == smoothing
    for name in ("raw_counts", "target_counts", "log_ratio"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(estimator, name), strict=True)


def test_a_file_has_the_same_bytes_at_any_time():
    data = saved(NgramEstimator.fit(SETTINGS, RAW, TARGETS))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert saved(NgramEstimator.fit(SETTINGS, RAW, TARGETS)) == data


def test_files_that_are_refused():
    data = saved(NgramEstimator.fit(NgramSettings(num_buckets=4, hash="fast"), RAW, TARGETS))
    with pytest.raises(ValueError, match="format version 2, not 1"):
        NgramEstimator.load(with_description(data, format_version=2))
    with pytest.raises(ValueError, match="hash algorithm fast-v1, not fast-v2"):
        NgramEstimator.load(with_description(data, hash_algorithm="fast-v1"))
    other = io.BytesIO()
    np.savez(other, raw_counts=RAW)
    other.seek(0)
    with pytest.raises(ValueError, match="not an n-gram estimator"):
        NgramEstimator.load(other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (NgramSettings(3, 4), "fitted with ngrams 2, not 3"),
        (NgramSettings(2, 5), "fitted with num_buckets 4, not 5"),
        (NgramSettings(2, 4, "word_tokenize"), "fitted with tokenizer wordpunct, not word_tokenize"),
        (NgramSettings(2, 4, "wordpunct", "fast"), "fitted with hash sha256, not fast"),
    ],
)
def test_require(settings, message):
    estimator = NgramEstimator.fit(SETTINGS, RAW, TARGETS)
    estimator.require(NgramSettings(2, 4))
    with pytest.raises(ValueError, match=message):
        estimator.require(settings)
