"""Settings of a selection."""

import dataclasses

from hir_transforms.documents.datasets import Dataset
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.settings.config import SelectConfig

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
    fit_seed=0,
    separate_targets=False,
    id_field=None,
    target_proportions=None,
    skip_duplicates=False,
    num_shards=0,
    compression="none",
    ngram_settings=NgramSettings(),
    num_tokens_to_fit="auto",
    min_example_length=100,
    target_laplace_smoothing=0.0,
    weight_scaling="none",
    ngram_weights=None,
    gmm_weights=None,
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
    raw_max_samples="auto",
    target_max_samples="auto",
    raw_gmm=None,
    target_gmm=(),
    gmm_checkpoint_dir=None,
    overwrite=False,
)


def changed(**fields):
    """These settings with others in some fields."""
    return dataclasses.replace(CONFIG, **fields)
