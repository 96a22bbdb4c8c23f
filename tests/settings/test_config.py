import json

import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.ngrams.features import NgramSettings
from tests.helpers.config import CONFIG, changed


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("num_to_sample", [0, -1]),
        ("num_tokens_to_sample", [0, -1]),
        ("alpha", [-0.1, 1.1, float("nan"), float("inf")]),
        ("num_shards", [-1]),
        ("compression", ["zip", "", "GZIP"]),
        ("num_tokens_to_fit", ["0", "-1", "1e6", "many", "", "²"]),
        ("min_example_length", [-1]),
        ("target_laplace_smoothing", [-1.0, float("inf"), float("nan")]),
        ("raw_components", [0]),
        ("target_components", [0]),
        ("gmm_max_iter", [0]),
        ("embedding_dim", [-1]),
        ("weight_scaling", ["", "Standardize", "rank"]),
        ("gmm_tol", [-1e-9, float("nan"), float("inf")]),
        ("raw_max_samples", ["0", "-1", "1e6", "Auto", ""]),
        ("target_max_samples", ["0", "many"]),
    ],
)
def test_a_bad_value_is_named_with_its_flag(name, values):
    for value in values:
        with pytest.raises(UserError, match=rf"^--{name}: must be .*, not {value}$"):
            changed(**{name: value})


@pytest.mark.parametrize(
    ("flag", "components", "rows"),
    [("all", 1000, None), ("7", 1000, 7), ("auto", 1000, 500_000), ("auto", 100, 50_000), ("auto", 101, 50_500)],
)
def test_a_mixture_is_fitted_to_as_many_rows_as_its_components_need(flag, components, rows):
    for role in ("raw", "target"):
        config = changed(**{f"{role}_max_samples": flag, f"{role}_components": components})
        assert config.max_samples(role) == rows


@pytest.mark.parametrize(
    "fields",
    [
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"seed": -5},
        {"min_example_length": 0},
        {"gmm_tol": 0.0},
        {"num_shards": 1},
        {"weight_scaling": "standardize"},
        {"compression": "gzip"},
        {"compression": "zstd"},
    ],
)
def test_values_at_the_edge_are_good(fields):
    assert {name: getattr(changed(**fields), name) for name in fields} == fields


@pytest.mark.parametrize(
    ("alpha", "ngrams", "embeddings"), [(0.0, False, True), (0.5, True, True), (1.0, True, False)]
)
def test_alpha_decides_which_parts_are_used(alpha, ngrams, embeddings):
    config = changed(alpha=alpha)
    assert (config.uses_ngrams, config.uses_embeddings) == (ngrams, embeddings)


@pytest.mark.parametrize(("value", "expected"), [("all", None), ("auto", 500_000_000), ("123", 123)])
def test_ngrams_to_fit(value, expected):
    config = changed(num_tokens_to_fit=value, ngram_settings=NgramSettings(num_buckets=5000))
    assert config.num_ngrams_to_fit == expected


TWO = {"separate_targets": True}
WEIGHTS = Dataset("gmm_weights", ("/data/w.npy",))


@pytest.mark.parametrize("proportions", [(0.0, 0.0), (-1.0, 2.0), (float("nan"), 1.0), (float("inf"), 1.0)])
def test_bad_proportions(proportions):
    with pytest.raises(UserError, match=r"^--target_proportions: must be numbers of at least 0, not all 0, not \["):
        changed(target_proportions=proportions, **TWO)


def test_proportions_that_do_not_fit_the_targets():
    with pytest.raises(UserError, match=r"^--target_proportions: 3 shares for 2 targets$"):
        changed(target_proportions=(1.0, 1.0, 1.0), **TWO)
    with pytest.raises(UserError, match=r"^--target_proportions: 2 shares for 1 target .--separate_targets makes"):
        changed(target_proportions=(1.0, 1.0))


def test_the_shares_must_come_from_somewhere():
    with pytest.raises(UserError, match=r"^--target_proportions is required: no target is counted"):
        changed(gmm_weights=WEIGHTS, alpha=0.0, **TWO)
    assert changed(gmm_weights=WEIGHTS, alpha=0.5, **TWO).target_proportions is None
    assert changed(gmm_weights=WEIGHTS, alpha=0.0, target_proportions=(3.0, 0.0), **TWO).num_targets == 2


def test_each_separate_target_needs_its_given_mixture():
    with pytest.raises(UserError, match=r"^--target_gmm: 1 files for 2 targets$"):
        changed(target_gmm=("/a.npz",), **TWO)
    assert not changed(target_gmm=("/a.npz", "/b.npz"), **TWO).fits_target_mixtures


def test_a_target_is_needed_unless_all_weights_are_given():
    for fields in ({}, {"alpha": 0.0}, {"alpha": 1.0}, {"gmm_weights": WEIGHTS}):
        with pytest.raises(UserError, match=r"^--target is required$"):
            changed(target=None, **fields)
    assert changed(target=None, alpha=0.0, gmm_weights=WEIGHTS).num_targets == 1
    assert changed(target=None, alpha=0.0, target_gmm=("/a.npz",)).scores_embeddings


def test_one_budget_only():
    with pytest.raises(UserError, match="give one of them, not both"):
        changed(num_tokens_to_sample=5)


@pytest.mark.parametrize(
    ("fields", "fits_ngrams", "scores_embeddings"),
    [({}, True, True), ({"ngram_weights": WEIGHTS}, False, True), ({"gmm_weights": WEIGHTS}, True, False)],
)
def test_given_weights_are_not_computed(fields, fits_ngrams, scores_embeddings):
    config = changed(**fields)
    assert (config.fits_ngrams, config.scores_embeddings) == (fits_ngrams, scores_embeddings)


def test_the_settings_for_the_manifest_are_json_and_leave_out_where_things_are():
    settings = CONFIG.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["raw"] == ["/data/raw.jsonl"]
    assert settings["target"] == ["/data/a.jsonl", "/data/b.jsonl"]
    assert (settings["text_field"], settings["max_document_bytes"]) == ("text", 64 << 20)
    assert (settings["ngrams"], settings["num_buckets"]) == (2, 10_000)
    assert (settings["tokenizer"], settings["hash"]) == ("wordpunct", "sha256")
    same = {"num_to_sample", "alpha", "top_k", "seed", "min_example_length", "raw_components", "gmm_tol"}
    assert {name: settings[name] for name in same} == {name: getattr(CONFIG, name) for name in same}
    assert not {"output", "work_dir", "gmm_checkpoint_dir", "overwrite", "ngram_settings"} & set(settings)
    elsewhere = changed(output="/else", work_dir="/else.work", gmm_checkpoint_dir="/kept", overwrite=True)
    assert elsewhere.settings() == settings
