"""Which fingerprints each field of the settings changes; a field without a row here fails the test."""

import dataclasses
import os
import unicodedata

import numpy as np
import pytest

from hir_transforms.documents.datasets import Dataset
from hir_transforms.embeddings.model import EmbeddingModel
from hir_transforms.graph.embeddings import plan_embeddings
from hir_transforms.graph.plan import plan_stages
from hir_transforms.ngrams import features
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.settings.config import SelectConfig
from tests.helpers.config import CONFIG
from tests.helpers.corpora import jsonl

NGRAM = {"counts/raw", "counts/target", "ngram", "ngram_weights"}
TARGET_MIXTURES = {"gmm/target-0", "gmm/target-1", "gmm_weights", "scores"}
RAW_MIXTURE = {"gmm/raw", "gmm_weights", "scores"}
MIXTURES = RAW_MIXTURE | TARGET_MIXTURES
EMBEDDINGS = MIXTURES | {"embeddings/raw", "embeddings/target"}
RAW = (NGRAM | RAW_MIXTURE | {"documents", "embeddings/raw"}) - {"counts/target"}
TARGET = (NGRAM | TARGET_MIXTURES | {"embeddings/target"}) - {"counts/raw"}
NOTHING: set[str] = set()
# For each field another valid value, and the stages whose fingerprints it changes in a selection from two targets with
# both parts of the weight.
FIELDS = {
    "output": ("/elsewhere", NOTHING),
    "work_dir": ("/elsewhere.work", NOTHING),
    "num_to_sample": (3, NOTHING),
    "num_tokens_to_sample": ((None, 5), NOTHING),
    "top_k": (True, NOTHING),
    "seed": (1, NOTHING),
    "target_proportions": ((1.0, 2.0), NOTHING),
    "skip_duplicates": (True, NOTHING),
    "min_example_length": (7, {"scores"}),  # the settings below standardize
    "num_shards": (3, NOTHING),
    "compression": ("gzip", NOTHING),
    "overwrite": (True, NOTHING),
    "alpha": (0.25, {"scores"}),
    "fit_seed": (1, MIXTURES | NGRAM - {"counts/target"}),
    "separate_targets": (False, (NGRAM | TARGET_MIXTURES) - {"counts/raw", "gmm/target-1"}),
    "id_field": ("meta.id", {"documents", "ngram_weights", "gmm_weights", "scores"}),
    "num_tokens_to_fit": ("all", {"counts/raw", "ngram", "ngram_weights", "scores"}),
    "target_laplace_smoothing": (1.0, {"ngram", "ngram_weights", "scores"}),
    "weight_scaling": ("none", {"scores"}),
    "embedding_model": ("{folder}/other-model", EMBEDDINGS),
    "embedding_prompt": ("query: ", EMBEDDINGS),
    "trust_remote_code": (True, NOTHING),
    "embedding_dim": (2, {"projection"} | MIXTURES),
    "raw_components": (7, RAW_MIXTURE),
    "target_components": (7, TARGET_MIXTURES),
    "gmm_max_iter": (7, MIXTURES),
    "gmm_tol": (0.5, MIXTURES),
    "raw_max_samples": ("20", RAW_MIXTURE),
    "target_max_samples": ("20", TARGET_MIXTURES),
    "gmm_checkpoint_dir": ("/kept", NOTHING),
    "ngram_settings.ngrams": (3, NGRAM | {"documents", "gmm_weights", "scores"}),
    "ngram_settings.num_buckets": (20_000, NGRAM | {"scores"}),
    "ngram_settings.tokenizer": ("word_tokenize", NGRAM | {"documents", "gmm_weights", "scores"}),
    "ngram_settings.hash": ("fast", NGRAM | {"scores"}),
    "raw.patterns": (("{folder}/other.jsonl",), RAW),
    "raw.text_field": ("body", RAW),
    "raw.max_document_bytes": (10, RAW),
    "raw.on_bad_record": ("fail", NOTHING),
    "raw.max_rejected_share": (0.5, NOTHING),
    # The same files in the same order, but the second is the other target's.
    "target.patterns": (("{folder}/a-*.jsonl", "{folder}/b-1.jsonl"), TARGET),
    "target.text_field": ("body", TARGET),
    "target.max_document_bytes": (10, TARGET),
    "target.on_bad_record": ("fail", NOTHING),
    "target.max_rejected_share": (0.5, NOTHING),
    # Files that are brought along take the place of stages.
    "ngram_weights": ("{folder}/weights.npy", {"ngram_weights", "scores"}),
    "gmm_weights": ("{folder}/weights.npy", {"gmm_weights", "scores"}),
    "raw_embeddings": ("{folder}/rows.npy", RAW_MIXTURE | {"embeddings/raw"}),
    "target_embeddings": ("{folder}/rows.npy", TARGET_MIXTURES | {"embeddings/target"}),
    "raw_gmm": ("{folder}/one.npz", {"gmm_weights", "scores"}),
    "target_gmm": (("{folder}/one.npz", "{folder}/two.npz"), {"gmm_weights", "scores"}),
}
# No setting of the user's.
ROLES = {"raw.role", "target.role"}
# Only a model of the hub, which tests do not ask, has a revision of its own.
OF_THE_HUB = {"embedding_revision"}


@pytest.fixture
def folder(tmp_path):
    """The files that the settings name."""
    for name in ("raw", "other", "a-1", "a-2", "b-1"):
        (tmp_path / f"{name}.jsonl").write_bytes(jsonl([name]))
        os.utime(tmp_path / f"{name}.jsonl", (0, 1000))
    for name in ("model", "other-model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    np.save(tmp_path / "weights.npy", np.zeros((1, 2)))
    np.save(tmp_path / "rows.npy", np.zeros((3, 8)))
    for name, mean in (("one", 1.0), ("two", 2.0)):
        np.savez(
            tmp_path / f"{name}.npz", weights=np.ones(1), means=np.full((1, 8), mean), covariances=np.ones((1, 8))
        )
    return tmp_path


@pytest.fixture
def config(folder):
    return dataclasses.replace(
        CONFIG,
        raw=Dataset("raw", (f"{folder}/raw.jsonl",)),
        target=Dataset("target", (f"{folder}/a-1.jsonl", f"{folder}/[ab]-*.jsonl")),
        separate_targets=True,
        weight_scaling="standardize",
        num_tokens_to_fit="1",
        embedding_model=f"{folder}/model",
        work_dir=f"{folder}/work",
    )


def fields_of(settings_class, prefix=""):
    return {f"{prefix}{field.name}" for field in dataclasses.fields(settings_class)}


def test_every_field_has_a_row():
    nested = {"ngram_settings": NgramSettings, "raw": Dataset, "target": Dataset}
    expected = fields_of(SelectConfig) - set(nested)
    for name, settings_class in nested.items():
        expected |= fields_of(settings_class, f"{name}.")
    assert expected - ROLES - OF_THE_HUB == set(FIELDS)


def filled(value, folder):
    if isinstance(value, tuple):
        return tuple(filled(item, folder) for item in value)
    return value.replace("{folder}", str(folder)) if isinstance(value, str) else value


def changed(config, name, value):
    outer, _, inner = name.partition(".")
    if inner:
        return dataclasses.replace(config, **{outer: dataclasses.replace(getattr(config, outer), **{inner: value})})
    if name == "num_tokens_to_sample":
        return dataclasses.replace(config, num_to_sample=None, num_tokens_to_sample=value[1])
    if name in ("ngram_weights", "gmm_weights", "raw_embeddings", "target_embeddings"):
        value = Dataset(name, (value,))
    if name == "ngram_weights":  # then no target is counted, to take its share from
        config = dataclasses.replace(config, target_proportions=(1.0, 1.0))
    return dataclasses.replace(config, **{name: value})


def prints(config):
    return {stage.name: stage.fingerprint for stage in plan_stages(config).all}


def changes(config, other):
    """The stages of `other` that `config` has not, or has with another fingerprint."""
    before, after = prints(config), prints(other)
    return {name for name in after if after[name] != before.get(name)}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_changes_the_fingerprints_of_what_depends_on_it(config, folder, name):
    value, stages = FIELDS[name]
    assert changes(config, changed(config, name, filled(value, folder))) == stages


def test_the_revision_of_a_model_of_the_hub_changes_its_embeddings(config):
    model = EmbeddingModel("some/model", "hub", "0123")
    newer = dataclasses.replace(model, revision="4567")
    stages = [plan_embeddings(config.work_dir, config.raw, one) for one in (model, model, newer)]
    assert stages[0].fingerprint == stages[1].fingerprint != stages[2].fingerprint


def test_the_length_limit_counts_only_where_it_decides_weights(config):
    plain = dataclasses.replace(config, weight_scaling="none")
    assert changes(plain, dataclasses.replace(plain, min_example_length=7)) == NOTHING


def test_each_file_of_several_target_mixtures_counts_and_their_order(config, folder):
    files = [f"{folder}/{name}.npz" for name in ("one", "two")]
    given = [(one, other) for one in files for other in files]
    assert len({prints(dataclasses.replace(config, target_gmm=pair))["gmm_weights"] for pair in given}) == 4


def test_another_unicode_version_makes_other_tokens(config, monkeypatch):
    before = prints(config)
    monkeypatch.setattr(unicodedata, "unidata_version", "99.0.0")
    after = prints(config)
    assert {name for name in after if after[name] != before[name]} == NGRAM | {"documents", "gmm_weights", "scores"}


def test_another_version_of_the_hash_makes_other_counts(config, monkeypatch):
    config = dataclasses.replace(config, ngram_settings=NgramSettings(hash="fast"))
    before = prints(config)
    monkeypatch.setitem(features.HASH_ALGORITHMS, "fast", "fast-v1")
    after = prints(config)
    assert {name for name in after if after[name] != before[name]} == NGRAM | {"scores"}


def test_a_mixture_depends_on_how_many_rows_auto_stands_for(config):
    """And not on how the number was given."""
    config = dataclasses.replace(config, raw_components=5)
    given = {name: dataclasses.replace(config, raw_max_samples=name) for name in ("auto", "50000", "all", "49999")}
    assert changes(given["auto"], given["50000"]) == NOTHING
    for name in ("all", "49999"):
        assert changes(given["auto"], given[name]) == RAW_MIXTURE
    assert {stage.name: stage.settings for stage in plan_stages(given["auto"]).all}["gmm/raw"].max_samples == 50_000
