"""Code that is written for data-selection 1.0.3, run with both packages: the same numbers and files."""

import json
import pickle
from pathlib import Path

import data_selection
import numpy as np
import pytest
from data_selection import hashed_ngram_dsir as reference
from nltk.tokenize import word_tokenize
from scipy.stats import norm
from sentence_transformers import SentenceTransformer

from hir_transforms import compat
from hir_transforms.commands.docstring_corpus import write_corpus
from hir_transforms.common.errors import UserError

# Names of the texts' field, and functions that read another.
FIELDS = {"default": {}, "other": {"raw_parse_example_fn": lambda ex: ex["source"] + " " + ex["text"]}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """(paths of raw, paths of targets): 90 and 20 real documents, two files each."""
    folder = tmp_path_factory.mktemp("corpus") / "docstrings"
    raw, target = write_corpus(folder, {"numpy": 60, "scikit-learn": 30}, 20)
    paths = []
    for path in (raw, target):
        lines = path.read_text("utf-8").splitlines(keepends=True)
        halves = [path.with_name(f"{path.stem}-{number}.jsonl") for number in (0, 1)]
        for number, half in enumerate(halves):
            half.write_text("".join(lines[: len(lines) // 3] if number else lines[len(lines) // 3 :]))
        paths.append([*map(str, halves)])
    return tuple(paths)


def both(data, folder, *, fit="all", **settings):
    """An object of each package, fitted and with weights."""
    made = []
    for name, package in (("expected", data_selection), ("found", compat)):
        dsir = package.HashedNgramDSIR(data[0], data[1], str(folder / name), **settings)
        dsir.fit_importance_estimator(num_tokens_to_fit=fit)
        dsir.compute_importance_weights()
        made.append(dsir)
    return made


def assert_same_arrays(expected, found):
    names = sorted(path.name for path in expected.iterdir())
    assert sorted(path.name for path in found.iterdir()) == names
    for name in names:
        ours, theirs = np.load(found / name), np.load(expected / name)
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def files(folder):
    return {path.name: path.read_text("utf-8") for path in sorted(Path(folder).glob("*.jsonl"))}


@pytest.mark.parametrize(
    ("fit", "settings"),
    [
        ("auto", {"num_proc": 1}),
        ("all", {"num_proc": 3, "ngrams": 3, "num_buckets": 500}),
        (2_000, {"num_proc": 2, "min_example_length": 30}),
        ("all", {"num_proc": 1, "ngrams": 1}),
        ("all", {"num_proc": 2, "separate_targets": True}),
        (500, {"num_proc": 1, "separate_targets": True, "target_proportions": [3, 1]}),
        ("all", {"num_proc": 1, **FIELDS["other"]}),
    ],
)
def test_estimators_weights_metadata_and_samples_are_the_same(data, tmp_path, fit, settings):
    expected, found = both(data, tmp_path, fit=fit, **settings)
    for name in ("raw_probs", "target_probs", "log_diff", "target_proportions"):
        if getattr(expected, name) is None:
            assert getattr(found, name) is None
        else:
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12)
    assert found._get_virtually_sharded_datasets(data[0]) == expected._get_virtually_sharded_datasets(data[0])
    assert_same_arrays(expected.log_importance_weights_dir, found.log_importance_weights_dir)
    assert_same_arrays(expected.perexample_metadata_dir, found.perexample_metadata_dir)
    for top_k in (False, True):
        for dsir, name in ((expected, "expected"), (found, "found")):
            np.random.seed(7)  # noqa: NPY002
            dsir.resample(
                str(tmp_path / f"{name}-{top_k}"), 12, cache_dir=str(tmp_path / f"{name}-cache"), top_k=top_k
            )
        chosen = files(tmp_path / f"found-{top_k}")
        assert chosen == files(tmp_path / f"expected-{top_k}")
        assert sum(text.count("\n") for text in chosen.values()) == 12
        assert not (tmp_path / "found-cache").exists()
    indices = np.load(tmp_path / "found-True" / "selected_indices.npy")
    lengths = np.concatenate([np.load(found.perexample_metadata_dir / f"{i}.npy") for i in range(len(chosen))])
    assert len(indices) == 12
    assert (lengths[indices] >= found.min_example_length).all()


def test_functions_are_the_same():
    for text in ("", "A text, and a text: ÄÖÜ über.", "one"):
        for n, num_buckets in ((1, 10), (2, 10_000), (3, 97), (12, 50)):
            counts = compat.get_ngram_counts(text, n, num_buckets)
            np.testing.assert_array_equal(counts, reference.get_ngram_counts(text, n, num_buckets))
        assert compat.hash_buckets(text, 1000) == reference.hash_buckets(text, 1000)
        split = compat.get_ngram_counts(text, tokenizer=str.split)
        np.testing.assert_array_equal(split, reference.get_ngram_counts(text, tokenizer=str.split))
    counts = np.ones(10_000, int)
    assert compat.get_ngram_counts("again", counts=counts) is counts
    assert counts.sum() == 10_001


def with_halves(base):
    class Halves(base):  # type: ignore[misc, valid-type]
        def featurizer(self, text):
            return super().featurizer(text) / 2

        def get_perexample_metadata(self, ex, features):
            return [len(ex["text"]), features.sum()]

        def perexample_metadata_filter(self, concat_metadata):
            return concat_metadata[:, 0] > 200

    return Halves


def test_what_a_subclass_overrides_takes_effect(data, tmp_path):
    made = []
    for name, package in (("expected", data_selection), ("found", compat)):
        dsir = with_halves(package.HashedNgramDSIR)(data[0], data[1], str(tmp_path / name), num_proc=1)
        dsir.fit_importance_estimator("all")
        dsir.compute_importance_weights()
        dsir.resample(str(tmp_path / f"{name}-out"), 10, top_k=True)
        made.append(dsir)
    expected, found = made
    assert_same_arrays(expected.log_importance_weights_dir, found.log_importance_weights_dir)
    assert_same_arrays(expected.perexample_metadata_dir, found.perexample_metadata_dir)
    assert files(tmp_path / "found-out") == files(tmp_path / "expected-out")


@pytest.mark.parametrize("num_proc", [1, 2])
def test_a_tokenizer_and_an_estimator_that_are_set_take_effect(data, tmp_path, num_proc):
    made = []
    for name, package in (("expected", data_selection), ("found", compat)):
        dsir = package.HashedNgramDSIR(data[0], data[1], str(tmp_path / name), num_proc=num_proc)
        dsir.tokenizer = str.split
        dsir.fit_importance_estimator("all")
        dsir.importance_estimator = lambda features: float(features.max())
        dsir.compute_importance_weights()
        made.append(dsir)
    np.testing.assert_allclose(made[1].log_diff, made[0].log_diff, rtol=1e-12)
    assert_same_arrays(made[0].log_importance_weights_dir, made[1].log_importance_weights_dir)


def test_examples_of_any_kind_are_loaded_by_functions(data, tmp_path):
    texts = {"raw": [f"text number {i} of raw" for i in range(40)], "target": ["text of the target"] * 3}
    settings = {
        **{f"{role}_load_dataset_fn": lambda path: iter(texts[path]) for role in ("raw", "target")},
        **{f"{role}_parse_example_fn": None for role in ("raw", "target")},
    }
    expected, found = both((["raw"], ["target"]), tmp_path, num_proc=2, min_example_length=1, **settings)
    assert_same_arrays(expected.log_importance_weights_dir, found.log_importance_weights_dir)
    for dsir, name in ((expected, "expected"), (found, "found")):
        dsir.resample(str(tmp_path / f"{name}-out"), 5, top_k=True)
    assert sum(len(text.splitlines()) for text in files(tmp_path / "found-out").values()) == 5
    chosen = [json.loads(line) for text in files(tmp_path / "found-out").values() for line in text.splitlines()]
    assert {*chosen} <= {*texts["raw"]}


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory):
    dsir = compat.HashedNgramDSIR(data[0], data[1], tmp_path_factory.mktemp("fitted"), num_proc=1)
    dsir.fit_importance_estimator()
    dsir.compute_importance_weights()
    return dsir


def test_parameters_are_saved_and_loaded_without_pickle(data, fitted, tmp_path):
    fitted.save(tmp_path / "params")
    other = compat.HashedNgramDSIR(data[0], data[1], tmp_path / "other", num_buckets=5)
    other.load(tmp_path / "params", exclude_keys=["cache_dir"])
    for name in ("raw_probs", "target_probs", "log_diff"):
        np.testing.assert_array_equal(getattr(other, name), getattr(fitted, name))
    assert (other.num_buckets, other.cache_dir) == (10_000, tmp_path / "other")
    assert other.log_importance_weights_dir == fitted.log_importance_weights_dir
    other.resample(tmp_path / "out", 3)
    fitted.note = object()
    with pytest.raises(UserError, match="save: the attribute note cannot be kept without pickle"):
        fitted.save(tmp_path / "params")
    del fitted.note


def test_what_is_no_file_of_parameters_is_refused(fitted, tmp_path):
    (tmp_path / "pickle").write_bytes(pickle.dumps({"raw_probs": 1}))
    (tmp_path / "text").write_text("text")
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    for name, message in (("pickle", "a pickle, which may run any code"), ("text", "no file of saved parameters")):
        with pytest.raises(UserError, match=message):
            fitted.load(tmp_path / name)
    with pytest.raises(UserError, match="no file of saved parameters"):
        fitted.load(tmp_path / "arrays.npz")
    fitted.save(tmp_path / "params")
    type(fitted).__version__, version = "0", fitted.__version__
    try:
        with pytest.raises(UserError, match=f"is of version {version}, not 0"):
            fitted.load(tmp_path / "params")
    finally:
        type(fitted).__version__ = version


def test_without_its_data_word_tokenize_is_an_error_in_both(data, tmp_path):
    try:
        word_tokenize("a")
    except LookupError:
        dsir = compat.HashedNgramDSIR(data[0], data[1], tmp_path, num_proc=1, tokenizer="word_tokenize")
        with pytest.raises(ValueError, match="punkt_tab"):
            dsir.fit_importance_estimator()
    else:
        expected, found = both(data, tmp_path, num_proc=1, tokenizer="word_tokenize")
        assert_same_arrays(expected.log_importance_weights_dir, found.log_importance_weights_dir)


def test_errors_say_what_to_do(data, fitted, tmp_path):
    fresh = compat.HashedNgramDSIR(data[0], data[1], tmp_path / "fresh", num_proc=1)
    with pytest.raises(UserError, match=r"call fit_importance_estimator\(\) first"):
        fresh.compute_importance_weights()
    with pytest.raises(UserError, match=r"call compute_importance_weights\(\) first"):
        fresh.resample(tmp_path / "out", 5)
    with pytest.raises(UserError, match="tokenizer: must be one of wordpunct, word_tokenize, not other"):
        compat.HashedNgramDSIR(data[0], data[1], tmp_path / "fresh", tokenizer="other")
    with pytest.raises(UserError, match="1000 examples asked for, but only "):
        fitted.resample(tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "9.jsonl").write_text("of others")
    with pytest.raises(UserError, match=r"holds 9\.jsonl, which this resampling would not replace"):
        fitted.resample(tmp_path / "out", 5)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["9.jsonl"]


def test_a_dataset_that_has_changed_is_an_error(data, tmp_path):
    copies = [[str(tmp_path / Path(path).name) for path in paths] for paths in data]
    for paths, other in zip(data, copies, strict=True):
        for path, copy in zip(paths, other, strict=True):
            Path(copy).write_bytes(Path(path).read_bytes())
    dsir = compat.HashedNgramDSIR(copies[0], copies[1], tmp_path / "cache", num_proc=1)
    dsir.fit_importance_estimator()
    dsir.compute_importance_weights()
    with Path(copies[0][0]).open("a") as file:
        file.write('{"text": "one more"}\n')
    with pytest.raises(UserError, match="the dataset has changed"):
        dsir.resample(tmp_path / "out", 5)
    assert list((tmp_path / "out").iterdir()) == []


def words(path, names, number):
    """Writes documents of these words."""
    generator = np.random.default_rng(number)
    texts = [" ".join(generator.choice(names, 110)) for _ in range(number)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return [str(path)]


LAW, FOOD = ["court", "judge", "law", "appeal", "plaintiff"], ["soup", "salt", "boil", "carrot", "onion"]


SCRIPT = """
import os
from hir_transforms.compat import HashedNgramDSIR

dsir = HashedNgramDSIR(raw_datasets, target_datasets, cache_dir=os.path.join(PROJ_HOME, 'dsir_cache'), num_proc=1)
dsir.fit_ng_importance_estimator(num_tokens_to_fit='auto')
dsir.fit_gmm_importance_estimator()
first = np.load(dsir.cache_dir / "gmm_log_importance_weights.npy")
dsir.fit_gmm_importance_estimator(raw_text_emb_path=dsir.cache_dir / "raw text embeddings", target_text_emb_path=dsir.cache_dir / "target text embeddings")
dsir.compute_hybrid_importance_weight(alpha=0.5, save_path=dsir.cache_dir / "hybrid_importance_weights_alpha_0.5.npy")
dsir.resample(log_importance_weights_path=dsir.cache_dir / "hybrid_log_importance_weights_alpha_0.5.npy", out_dir=os.path.join(PROJ_HOME, "outputdir/output_alpha_0.5"), num_to_sample=num_to_sample, top_k=True)
dsir.save('params'); dsir.load('params'); dsir.resample(out_dir='again', num_to_sample=5, cache_dir='resampled_cache')
"""  # noqa: E501


def test_the_script_of_hirs_users_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw_datasets = words(tmp_path / "raw.jsonl", LAW + FOOD, 40)
    given = {"raw_datasets": raw_datasets, "target_datasets": words(tmp_path / "target.jsonl", LAW, 15)}
    names = {**given, "PROJ_HOME": str(tmp_path), "num_to_sample": 10, "np": np}
    exec(SCRIPT, names)
    dsir, first = names["dsir"], names["first"]
    np.testing.assert_array_equal(np.load(dsir.cache_dir / "gmm_log_importance_weights.npy"), first)
    ngram = np.load(dsir.log_importance_weights_dir / "0.npy")
    for name in ("hybrid_importance_weights_alpha_0.5.npy", "hybrid_log_importance_weights_alpha_0.5.npy"):
        np.testing.assert_array_equal(np.load(dsir.cache_dir / name), 0.5 * ngram + 0.5 * first)
    chosen = np.load("outputdir/output_alpha_0.5/selected_indices.npy")
    assert {*chosen} == {*np.argsort(-(0.5 * ngram + 0.5 * first))[:10]}
    lines = Path(raw_datasets[0]).read_text().splitlines()
    assert Path("outputdir/output_alpha_0.5/0.jsonl").read_text().splitlines() == [lines[index] for index in chosen]
    assert len(Path("again/0.jsonl").read_text().splitlines()) == 5
    assert not Path("resampled_cache").exists()


def test_mixture_weights_are_differences_of_log_densities_of_embeddings(small_transformer, tmp_path, monkeypatch):
    monkeypatch.setattr(compat.HashedNgramDSIR, "embedding_model", str(small_transformer))
    paths = words(tmp_path / "raw.jsonl", LAW + FOOD, 30), words(tmp_path / "target.jsonl", LAW, 10)
    dsir = compat.HashedNgramDSIR(paths[0], paths[1], tmp_path / "cache", num_proc=2)
    dsir.fit_gmm_importance_estimator(checkpoint_dir=tmp_path / "mixtures")
    lines = Path(paths[0][0]).read_text().splitlines()
    texts = [json.loads(line)["text"] for line in [*lines[::2], *lines[1::2]]]  # by virtual shards
    rows = SentenceTransformer(str(small_transformer)).encode(texts)
    np.testing.assert_allclose(np.load(tmp_path / "cache" / "raw text embeddings.npy"), rows, atol=1e-5)
    density = {}
    for role in ("raw", "target"):
        with np.load(tmp_path / "mixtures" / f"gmm_{role}.npz") as mixture:
            assert len(mixture["weights"]) == 1  # so few rows are one component
            density[role] = norm.logpdf(rows, mixture["means"][0], np.sqrt(mixture["covariances"][0])).sum(axis=1)
    weights = np.load(tmp_path / "cache" / "gmm_log_importance_weights.npy")
    np.testing.assert_allclose(weights, density["target"] - density["raw"], rtol=1e-3)
    before = weights
    given = {f"gmm_{role}_checkpoint_path": tmp_path / "mixtures" / f"gmm_{role}.npz" for role in ("raw", "target")}
    dsir.fit_gmm_importance_estimator(raw_max_samples=3, **given)
    np.testing.assert_array_equal(np.load(tmp_path / "cache" / "gmm_log_importance_weights.npy"), before)


def test_given_weights_are_mixed(fitted, tmp_path):
    number = sum(len(np.load(path)) for path in fitted.log_importance_weights_dir.iterdir())
    ngram, mixture = np.random.default_rng(0).normal(size=(2, number))
    np.save(tmp_path / "ngram.npy", ngram)
    np.save(tmp_path / "mixture.npy", mixture)
    paths = {"ng_importance_weights_path": tmp_path / "ngram", "gmm_importance_weights_path": tmp_path / "mixture.npy"}
    fitted.compute_hybrid_importance_weight(0.25, tmp_path / "log_importance_weights.npy", **paths)
    for name in ("log_importance_weights.npy", "importance_weights.npy"):
        np.testing.assert_allclose(np.load(tmp_path / name), 0.25 * ngram + 0.75 * mixture)
    with pytest.raises(UserError, match=r"call fit_gmm_importance_estimator\(\) first"):
        fitted.compute_hybrid_importance_weight(0.5, tmp_path / "weights.npy")
    np.save(tmp_path / "mixture.npy", mixture[1:])
    with pytest.raises(UserError, match=f"{number - 1} weights of mixtures for {number} of n-grams"):
        fitted.compute_hybrid_importance_weight(0.5, tmp_path / "weights.npy", **paths)
    with pytest.raises(UserError, match=f"{number - 1} weights for {number} examples"):
        fitted.resample(tmp_path / "out", 5, log_importance_weights_path=tmp_path / "mixture.npy")


def test_each_of_separate_targets_has_a_mixture(tmp_path):
    generator = np.random.default_rng(0)
    sizes = {"raw": 60, "a": 30, "b": 20}
    rows = {}
    for number, (name, size) in enumerate(sizes.items()):
        lines = (json.dumps({"text": f"{name} text {row}"}) + "\n" for row in range(size))
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
        rows[name] = generator.normal(number, size=(size, 4)).astype(np.float32)
        np.save(tmp_path / f"{name}.npy", rows[name])
    np.save(tmp_path / "targets.npy", np.concatenate([rows["a"], rows["b"]]))

    def fit(cache, targets, embeddings, **given):
        paths = [str(tmp_path / f"{name}.jsonl") for name in targets]
        raw, folder = str(tmp_path / "raw.jsonl"), tmp_path / f"cache-{cache}"
        dsir = compat.HashedNgramDSIR(
            [raw], paths, folder, num_proc=3, min_example_length=0, separate_targets=len(targets) > 1
        )
        dsir.fit_gmm_importance_estimator(
            raw_text_emb_path=tmp_path / "raw", target_text_emb_path=tmp_path / embeddings, **given
        )
        return dsir, np.load(folder / "gmm_log_importance_weights.npy")

    both, weights = fit("both", "ab", "targets")
    for column, name in zip(weights.T, "ab", strict=True):
        np.testing.assert_array_equal(fit(name, [name], name)[1], column)
    kept = [tmp_path / "cache-both" / f"gmm_target-{number}.npz" for number in (0, 1)]
    np.testing.assert_array_equal(fit("again", "ab", "targets", gmm_target_checkpoint_path=kept)[1], weights)
    both.fit_importance_estimator()
    both.compute_hybrid_importance_weight(0.5, tmp_path / "log_importance_weights.npy")
    mixed = np.load(tmp_path / "log_importance_weights.npy")
    assert mixed.shape == (60, 2)
    both.resample(
        tmp_path / "out", 11, top_k=True, log_importance_weights_path=tmp_path / "log_importance_weights.npy"
    )
    first = np.argsort(-mixed[:, 0])[: int(11 * both.target_proportions[0])]
    assert {*first.tolist()} < {*np.load(tmp_path / "out" / "selected_indices.npy").tolist()}
    with pytest.raises(UserError, match=r"^target_text_emb_path: 30 embeddings for 50 examples$"):
        fit("wrong", "ab", "a")
    with pytest.raises(UserError, match=r"^gmm_target_checkpoint_path: must be a list of 2 mixtures, one of each"):
        fit("wrong", "ab", "targets", gmm_target_checkpoint_path=kept[0])
