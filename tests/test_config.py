import dataclasses
import json

import pytest

from hir_transforms.config import SelectConfig
from hir_transforms.datasets import Dataset
from hir_transforms.errors import UserError
from hir_transforms.numerics.ngrams import NgramSettings

CONFIG = SelectConfig(
    raw=Dataset("raw", ("/data/raw.jsonl",)),
    target=Dataset("target", ("/data/a.jsonl", "/data/b.jsonl")),
    output="/out",
    work_dir="/out.work",
    num_to_sample=10,
    num_tokens_to_sample=None,
    alpha=0.5,
    top_k=False,
    seed=0,
    num_shards=0,
    compression="none",
    ngram_settings=NgramSettings(),
    num_tokens_to_fit="auto",
    min_example_length=100,
    target_laplace_smoothing=0.0,
    weight_scaling="none",
    embedding_model="all-MiniLM-L6-v2",
    embedding_revision=None,
    embedding_prompt="",
    trust_remote_code=False,
    embedding_dim=0,
    raw_embeddings=None,
    target_embeddings=None,
    raw_components=1000,
    target_components=50,
    gmm_max_iter=100,
    gmm_tol=1e-3,
    raw_max_samples="all",
    target_max_samples="all",
    raw_gmm=None,
    target_gmm=None,
    gmm_checkpoint_dir=None,
    overwrite=False,
)


def changed(**fields):
    return dataclasses.replace(CONFIG, **fields)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("num_to_sample", [0, -1]),
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
        ("raw_max_samples", ["0", "-1", "1e6", "auto", ""]),
        ("target_max_samples", ["0", "many"]),
    ],
)
def test_a_bad_value_is_named_with_its_flag(name, values):
    for value in values:
        with pytest.raises(UserError, match=rf"^--{name}: must be .*, not {value}$"):
            changed(**{name: value})


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
