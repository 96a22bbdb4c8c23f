import json
import re
from pathlib import Path

import numpy as np
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.settings.config import SETTINGS, PipelineConfig
from tests.helpers.config import CONFIG, changed


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("num_to_sample", [0, -1]),
        ("num_tokens_to_sample", [0, -1]),
        ("alpha", [-0.1, 1.1, float("nan"), float("inf"), "half", None, False]),
        ("num_shards", [-1, 1.5, "1.5", None, True]),
        ("top_k", ["yes", 1, None]),
        ("text_field", [5, None, 'a"b', "a\\b", "a,b\x01", "a,,b", "a,a", "a, a"]),
        ("target_text_field", [5, 'a"b', "a,a"]),
        ("raw_parse_example_fn", [5, "json", "json:", "json:loads()", "json:load_s", "no_module:f", "os:environ"]),
        ("raw_gmm", [5]),
        ("compression", ["zip", "", "GZIP"]),
        ("output_format", ["csv", "", "Parquet"]),
        ("num_tokens_to_fit", ["0", "-1", "1e6", "many", "", "²"]),
        ("min_example_length", [-1]),
        ("target_laplace_smoothing", [-1.0, float("inf"), float("nan")]),
        ("raw_components", [0, -1, "all", 2**31, "1.5"]),
        ("target_components", [0, "Auto"]),
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
        with pytest.raises(UserError, match=rf"^--{name}: must be .*, not {re.escape(f'{value}')}$") as caught:
            changed(**{name: value})
        assert caught.value.setting == name
        assert caught.value.problem.startswith("must be ")


def test_a_config_has_a_default_for_every_setting():
    assert {one.name for one in SETTINGS.values() if one.default is None} == {
        *("num_to_sample", "num_tokens_to_sample", "target_proportions", "id_field", "embedding_revision"),
        *("target_text_field", "output_format"),
        *(f"{role}_{name}_fn" for role in ("raw", "target") for name in ("load_dataset", "parse_example")),
        *("raw_gmm", "gmm_checkpoint_dir", "output", "work_dir", "label_field", "wanted", "json"),
    }
    assert PipelineConfig.of() == PipelineConfig()


def test_a_setting_that_there_is_none_of_is_named():
    with pytest.raises(TypeError, match="no setting of the name alhpa"):
        changed(alhpa=0.5)


def test_values_of_python_and_texts_of_flags_are_the_same():
    values = {
        "raw": ["/data/a.jsonl", Path("/data/b.jsonl")],
        "target_proportions": [1, 2.5],
        "num_tokens_to_fit": 7,
        "raw_gmm": Path("/raw.npz"),
        "alpha": np.float32(0.5),
        "seed": np.int64(-3),
    }
    texts = {
        "raw": "/data/a.jsonl,/data/b.jsonl",
        "target_proportions": "1,2.5",
        "num_tokens_to_fit": "7",
        "raw_gmm": "/raw.npz",
        "alpha": "0.5",
        "seed": "-3",
    }
    assert changed(**values) == changed(**texts)


@pytest.mark.parametrize(
    ("flag", "components", "rows"),
    [("all", 1000, None), ("7", 1000, 7), ("auto", 1000, 500_000), ("auto", 100, 50_000), ("auto", 101, 50_500)],
)
def test_a_mixture_is_fitted_to_as_many_rows_as_its_components_need(flag, components, rows):
    for role in ("raw", "target"):
        config = changed(**{f"{role}_max_samples": flag, f"{role}_components": components})
        assert config.mixtures.max_samples(role) == rows


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("weights", "alpha", 0.0),
        ("weights", "alpha", 1.0),
        ("selection", "seed", -5),
        ("selection", "min_example_length", 0),
        ("mixtures", "gmm_tol", 0.0),
        ("output", "num_shards", 1),
        ("weights", "weight_scaling", "standardize"),
        ("output", "compression", "gzip"),
        ("output", "compression", "zstd"),
    ],
)
def test_values_at_the_edge_are_good(group, name, value):
    assert getattr(getattr(changed(**{name: value}), group), name) == value


@pytest.mark.parametrize(
    ("alpha", "ngrams", "embeddings"), [(0.0, False, True), (0.5, True, True), (1.0, True, False)]
)
def test_alpha_decides_which_parts_are_used(alpha, ngrams, embeddings):
    weights = changed(alpha=alpha).weights
    assert (weights.uses_ngrams, weights.uses_embeddings) == (ngrams, embeddings)


@pytest.mark.parametrize(("value", "expected"), [("all", None), ("auto", 500_000_000), ("123", 123)])
def test_ngrams_to_fit(value, expected):
    assert changed(num_tokens_to_fit=value).ngram_fit.max_ngrams(5000) == expected


TWO = {"separate_targets": True}


def error_of(**settings):
    with pytest.raises(UserError) as caught:
        changed(**settings).check_targets()
    return str(caught.value)


@pytest.mark.parametrize("proportions", [(0.0, 0.0), (-1.0, 2.0), (float("nan"), 1.0), "inf,1"])
def test_bad_proportions(proportions):
    with pytest.raises(UserError, match=r"^--target_proportions: must be numbers of at least 0, not all 0, not "):
        changed(target_proportions=proportions, **TWO)


def test_proportions_that_do_not_fit_the_targets():
    assert error_of(target_proportions="1,1,1", **TWO) == "--target_proportions: 3 shares for 2 targets"
    message = "--target_proportions: 2 shares for 1 target (--separate_targets makes each pattern of --target one)"
    assert error_of(target_proportions="1,1") == message


def test_the_shares_must_come_from_somewhere():
    given = {"gmm_weights": "/data/w.npy", **TWO}
    assert error_of(**given, alpha=0).startswith("--target_proportions is required: no target is counted")
    changed(**given, alpha=0.5).check_targets()
    changed(**given, alpha=0, target_proportions="3,0").check_targets()
    changed(**given, alpha=0, num_to_sample=None).check_targets()  # nothing is selected


def test_each_separate_target_needs_its_given_mixture():
    assert error_of(target_gmm="/a.npz", **TWO) == "--target_gmm: 1 files for 2 targets"
    config = changed(target_gmm="/a.npz,/b.npz", **TWO)
    config.check_targets()
    assert not config.embeds_target


def test_a_target_is_needed_unless_all_weights_are_given():
    for settings in ({}, {"alpha": 0.0}, {"alpha": 1.0}, {"gmm_weights": "/data/w.npy"}):
        assert error_of(target="", **settings) == "--target is required"
    assert error_of(target="", alpha=0, gmm_weights="/w.npy", **TWO).startswith("--separate_targets: needs --target")
    config = changed(target="", alpha=0, gmm_weights="/data/w.npy")
    config.check_targets()
    assert (config.target, config.num_targets) == (None, 1)
    config = changed(target="", alpha=0, target_gmm="/a.npz")
    config.check_targets()
    assert config.weights.scores_embeddings


def test_one_budget_only():
    with pytest.raises(UserError, match="give one of them, not both"):
        changed(num_tokens_to_sample=5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_to_sample": None}, "--num_to_sample is required: how many documents to select (or "),
        ({"output": None}, "--output is required"),
        ({"work_dir": "/out/work"}, "--work_dir: /out/work must not be in --output /out, which is replaced whole"),
        ({"work_dir": "/out"}, "--work_dir: /out must not be in --output /out, which is replaced whole"),
    ],
)
def test_a_selection_needs_a_budget_and_an_output_apart_from_the_work_folder(settings, message):
    with pytest.raises(UserError) as caught:
        changed(**settings).check_selection()
    assert str(caught.value).startswith(message)
    changed().check_selection()


@pytest.mark.parametrize(
    ("settings", "fits_ngrams", "scores_embeddings"),
    [({}, True, True), ({"ngram_weights": "/w.npy"}, False, True), ({"gmm_weights": "/w.npy"}, True, False)],
)
def test_given_weights_are_not_computed(settings, fits_ngrams, scores_embeddings):
    weights = changed(**settings).weights
    assert (weights.fits_ngrams, weights.scores_embeddings) == (fits_ngrams, scores_embeddings)


def test_the_settings_for_the_manifest_are_json_and_leave_out_where_things_are():
    settings = CONFIG.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["raw"] == ["/data/raw.jsonl"]
    assert settings["target"] == ["/data/a.jsonl", "/data/b.jsonl"]
    assert (settings["raw_embeddings"], settings["target_gmm"], settings["raw_gmm"]) == (None, [], None)
    without = {"output", "work_dir", "gmm_checkpoint_dir", "overwrite", "on_bad_record", "max_rejected_share"}
    without |= {"embedding_batch_size", "no_progress", "no_report", "num_documents_to_try"}
    without |= {name for name, one in SETTINGS.items() if one.declaration.task == "evaluation"}
    assert {*settings} == {*SETTINGS} - without
    given = {"raw", "target", "num_to_sample", "raw_embeddings", "target_embeddings", "ngram_weights", "gmm_weights"}
    assert {name: value for name, value in settings.items() if name not in given | {"target_gmm"}} == {
        name: one.default for name, one in SETTINGS.items() if name not in given | {"target_gmm"} | without
    }
    elsewhere = changed(output="/else", work_dir="/else.work", gmm_checkpoint_dir="/kept", overwrite=True)
    assert elsewhere.settings() == settings
