"""Which fingerprints each setting changes; a setting without a row here fails the test."""

import dataclasses
import os
import unicodedata

import numpy as np
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.embeddings.model import EmbeddingModel
from hir_transforms.embeddings.plan import plan_embeddings
from hir_transforms.graph.plan import plan_stages
from hir_transforms.ngrams import features
from hir_transforms.settings.commands import COMMANDS
from hir_transforms.settings.config import PipelineConfig
from tests.helpers.corpora import jsonl

NGRAM = {"counts/raw", "counts/target", "ngram", "ngram_weights"}
TARGET_MIXTURES = {"gmm/target-0", "gmm/target-1", "gmm_weights", "scores"}
RAW_MIXTURE = {"gmm/raw", "gmm_weights", "scores"}
MIXTURES = RAW_MIXTURE | TARGET_MIXTURES
EMBEDDINGS = MIXTURES | {"embeddings/raw", "embeddings/target"}
RAW = (NGRAM | RAW_MIXTURE | {"documents", "embeddings/raw"}) - {"counts/target"}
TARGET = (NGRAM | TARGET_MIXTURES | {"embeddings/target"}) - {"counts/raw"}
NOTHING: set[str] = set()
# For each setting another valid value, and the stages whose fingerprints it changes in a selection from two targets
# with both parts of the weight.
FIELDS = {
    "output": ("/elsewhere", NOTHING),
    "work_dir": ("/elsewhere.work", NOTHING),
    "num_to_sample": (3, NOTHING),
    "num_tokens_to_sample": (5, NOTHING),
    "top_k": (True, NOTHING),
    "seed": (1, NOTHING),
    "target_proportions": ("1,2", NOTHING),
    "skip_duplicates": (True, NOTHING),
    "min_example_length": (7, {"scores"}),  # the settings below standardize
    "num_shards": (3, NOTHING),
    "compression": ("gzip", NOTHING),
    "output_format": ("jsonl", NOTHING),
    "no_progress": (True, NOTHING),
    "overwrite": (True, NOTHING),
    "no_report": (True, NOTHING),
    "label_field": ("source", NOTHING),
    "wanted": ("news", NOTHING),
    "num_documents_to_try": (7, NOTHING),
    "alpha": (0.25, {"scores"}),
    "fit_seed": (1, MIXTURES | NGRAM - {"counts/target"}),
    "separate_targets": (False, (NGRAM | TARGET_MIXTURES) - {"counts/raw", "gmm/target-1"}),
    "id_field": ("meta.id", {"documents", "ngram_weights", "gmm_weights", "scores"}),
    "num_tokens_to_fit": ("all", {"counts/raw", "ngram", "ngram_weights", "scores"}),
    "target_laplace_smoothing": (1.0, {"ngram", "ngram_weights", "scores"}),
    "embedding_estimator": ("classifier", {"embedding_classifier", "gmm_weights", "scores"}),
    "ngram_estimator": ("classifier", {"ngram_classifier", "ngram_weights", "scores"}),
    "num_documents_to_fit": (7, NOTHING),  # of the classifier alone
    "weight_per_token": (True, {"scores"}),
    "weight_scaling": ("none", {"scores"}),
    "embedding_model": ("{folder}/other-model", EMBEDDINGS),
    "embedding_prompt": ("query: ", EMBEDDINGS),
    "embedding_batch_size": (7, NOTHING),
    "trust_remote_code": (True, NOTHING),
    "embedding_dim": (2, {"projection"} | MIXTURES),
    "raw_components": (7, RAW_MIXTURE),
    "target_components": (7, TARGET_MIXTURES),
    "gmm_max_iter": (7, MIXTURES),
    "gmm_tol": (0.5, MIXTURES),
    "raw_max_samples": ("20", RAW_MIXTURE),
    "target_max_samples": ("20", TARGET_MIXTURES),
    "gmm_checkpoint_dir": ("/kept", NOTHING),
    "ngrams": (3, NGRAM | {"documents", "gmm_weights", "scores"}),
    "num_buckets": (20_000, NGRAM | {"scores"}),
    "tokenizer": ("word_tokenize", NGRAM | {"documents", "gmm_weights", "scores"}),
    "hash": ("fast", NGRAM | {"scores"}),
    "raw": ("{folder}/other.jsonl", RAW),
    # The same files in the same order, but the second is the other target's.
    "target": ("{folder}/a-*.jsonl,{folder}/b-1.jsonl", TARGET),
    "text_field": ("body", RAW | TARGET),
    "target_text_field": ("body", TARGET),
    "raw_load_dataset_fn": ("json:load", RAW),
    "raw_parse_example_fn": ("json:dumps", RAW),
    "target_load_dataset_fn": ("json:load", TARGET),
    "target_parse_example_fn": ("json:dumps", TARGET),
    "max_document_bytes": (10, RAW | TARGET),
    "on_bad_record": ("fail", NOTHING),
    "max_rejected_share": (0.5, NOTHING),
    # Files that are given take the place of stages.
    "ngram_weights": ("{folder}/weights.npy", {"ngram_weights", "scores"}),
    "gmm_weights": ("{folder}/weights.npy", {"gmm_weights", "scores"}),
    "raw_embeddings": ("{folder}/rows.npy", RAW_MIXTURE | {"embeddings/raw"}),
    "target_embeddings": ("{folder}/rows.npy", TARGET_MIXTURES | {"embeddings/target"}),
    "raw_gmm": ("{folder}/one.npz", {"gmm_weights", "scores"}),
    "target_gmm": ("{folder}/one.npz,{folder}/two.npz", {"gmm_weights", "scores"}),
}
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
def given(folder):
    """The settings, by name."""
    return {
        "raw": f"{folder}/raw.jsonl",
        "target": f"{folder}/a-1.jsonl,{folder}/[ab]-*.jsonl",
        "output": "/out",
        "num_to_sample": 10,
        "separate_targets": True,
        "weight_scaling": "standardize",
        "num_tokens_to_fit": "1",
        "embedding_model": f"{folder}/model",
        "work_dir": f"{folder}/work",
    }


@pytest.fixture
def config(given):
    return PipelineConfig.of(**given)


def test_every_setting_has_a_row():
    assert {*COMMANDS["select"].settings} - OF_THE_HUB == {*FIELDS}


def prints(config):
    return {stage.name: stage.fingerprint for stage in plan_stages(config).all}


def changes(config, other):
    """The stages of `other` that `config` has not, or has with another fingerprint."""
    before, after = prints(config), prints(other)
    return {name for name in after if after[name] != before.get(name)}


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_changes_the_fingerprints_of_what_depends_on_it(given, folder, name):
    value, stages = FIELDS[name]
    other = {name: value.replace("{folder}", str(folder)) if isinstance(value, str) else value}
    if name == "num_tokens_to_sample":
        other["num_to_sample"] = None
    if name == "wanted":
        other["label_field"] = "source"
    assert changes(PipelineConfig.of(**given), PipelineConfig.of(**(given | other))) == stages


@pytest.mark.parametrize(
    ("other", "stages"),
    [
        ({"num_documents_to_fit": 7}, {"ngram_classifier", "ngram_weights", "scores"}),
        ({"fit_seed": 1}, {"ngram_classifier", "ngram_weights", "scores"}),
        ({"hash": "fast"}, {"counts/target", "ngram_classifier", "ngram_weights", "scores"}),
        ({"num_tokens_to_fit": "all", "target_laplace_smoothing": 1.0}, NOTHING),
    ],
    ids=["documents", "seed", "hash", "the ratio's"],
)
def test_what_the_classifier_depends_on(given, other, stages):
    of_classifier = given | {"alpha": 1, "ngram_estimator": "classifier"}
    assert changes(PipelineConfig.of(**of_classifier), PipelineConfig.of(**(of_classifier | other))) == stages


def test_the_classifier_of_one_target_needs_no_counts(given):
    config = PipelineConfig.of(**given | {"alpha": 1, "ngram_estimator": "classifier", "separate_targets": False})
    assert [stage.name for stage in plan_stages(config).all] == [
        *("documents", "ngram_classifier", "ngram_weights", "scores")
    ]


def test_the_revision_of_a_model_of_the_hub_changes_its_embeddings(config):
    model = EmbeddingModel("some/model", "hub", "0123")
    newer = dataclasses.replace(model, revision="4567")
    stages = [plan_embeddings(config.work_dir, config.raw, one) for one in (model, model, newer)]
    assert stages[0].fingerprint == stages[1].fingerprint != stages[2].fingerprint


def test_the_length_limit_counts_only_where_it_decides_weights(given):
    plain = given | {"weight_scaling": "none"}
    assert changes(PipelineConfig.of(**plain), PipelineConfig.of(**plain, min_example_length=7)) == NOTHING


def test_each_file_of_several_target_mixtures_counts_and_their_order(given, folder):
    files = [f"{folder}/{name}.npz" for name in ("one", "two")]
    pairs = [(one, other) for one in files for other in files]
    assert len({prints(PipelineConfig.of(**given, target_gmm=pair))["gmm_weights"] for pair in pairs}) == 4


def test_a_given_mixture_goes_with_no_projection(given, folder):
    for names, flags in ((["raw"], "--raw_gmm"), (["target"], "--target_gmm"), (["raw", "target"], None)):
        files = {"raw": f"{folder}/one.npz", "target": f"{folder}/one.npz,{folder}/two.npz"}
        mixtures = {f"{name}_gmm": files[name] for name in names}
        flags = flags or "--raw_gmm and --target_gmm"
        message = rf"^--embedding_dim: does not go with a given mixture \({flags}\), which has its own$"
        with pytest.raises(UserError, match=message):
            plan_stages(PipelineConfig.of(**given, **mixtures, embedding_dim=2))


@pytest.mark.parametrize("name", ["raw_gmm", "target_gmm"])
def test_a_given_mixture_goes_with_no_classifier(given, folder, name):
    files = {"raw_gmm": f"{folder}/one.npz", "target_gmm": f"{folder}/one.npz,{folder}/two.npz"}
    message = rf"^--{name}: does not go with --embedding_estimator classifier, which uses no mixture$"
    with pytest.raises(UserError, match=message):
        plan_stages(PipelineConfig.of(**given, **{name: files[name]}, embedding_estimator="classifier"))


CLASSIFIER = {"embedding_classifier", "gmm_weights", "scores"}


@pytest.mark.parametrize(
    ("setting", "stages"),
    [
        ({"raw_max_samples": 20}, CLASSIFIER),
        ({"raw_max_samples": 50_000}, NOTHING),
        ({"target_max_samples": 20}, CLASSIFIER),
        ({"fit_seed": 1}, CLASSIFIER | NGRAM - {"counts/target"}),
        ({"embedding_dim": 2}, CLASSIFIER | {"projection"}),
        ({"raw_components": 7, "target_components": 7, "gmm_tol": 0.5, "gmm_max_iter": 7}, NOTHING),
    ],
)
def test_a_classifier_depends_on_its_own_settings(given, setting, stages):
    given = given | {"embedding_estimator": "classifier"}
    assert changes(PipelineConfig.of(**given), PipelineConfig.of(**given, **setting)) == stages


def test_another_unicode_version_makes_other_tokens(config, monkeypatch):
    before = prints(config)
    monkeypatch.setattr(unicodedata, "unidata_version", "99.0.0")
    after = prints(config)
    assert {name for name in after if after[name] != before[name]} == NGRAM | {"documents", "gmm_weights", "scores"}


def test_another_version_of_the_hash_makes_other_counts(given, monkeypatch):
    config = PipelineConfig.of(**given, hash="fast")
    before = prints(config)
    monkeypatch.setitem(features.HASH_ALGORITHMS, "fast", "fast-v1")
    after = prints(config)
    assert {name for name in after if after[name] != before[name]} == NGRAM | {"scores"}


def test_a_mixture_depends_on_how_many_rows_auto_stands_for(given):
    """And not on how the number was given."""
    configs = {
        rows: PipelineConfig.of(**given, raw_components=5, raw_max_samples=rows)
        for rows in ("auto", "50000", "all", "49999")
    }
    assert changes(configs["auto"], configs["50000"]) == NOTHING
    for rows in ("all", "49999"):
        assert changes(configs["auto"], configs[rows]) == RAW_MIXTURE
    assert {stage.name: stage.settings for stage in plan_stages(configs["auto"]).all}["gmm/raw"].max_samples == 50_000


def test_equal_values_of_other_types_have_equal_fingerprints(given):
    """A whole number and a fraction, texts of flags and values of Python."""
    one = PipelineConfig.of(**given, alpha=1, gmm_tol="1", ngrams="2", top_k=True)
    other = PipelineConfig.of(**given, alpha=1.0, gmm_tol=1, ngrams=2, top_k=True)
    assert (one, prints(one)) == (other, prints(other))
    assert one.settings() == other.settings()
