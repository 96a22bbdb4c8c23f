"""The stages of documents, of their weights and of their scores, and what each depends on."""

from collections.abc import Sequence

from hir_transforms.artifacts.stages import Stage
from hir_transforms.documents.datasets import Dataset
from hir_transforms.embeddings.source import EmbeddingSource
from hir_transforms.mixtures.given import GivenMixtures
from hir_transforms.ngrams.classifier_fitting import ClassifierSettings
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.ngrams.fitting import EstimatorSettings
from hir_transforms.weights.given import GivenWeights, find_weights
from hir_transforms.weights.mixing import MixingSettings
from hir_transforms.weights.ngram_weights import ListingSettings
from hir_transforms.weights.settings import WeightOptions


def plan_documents(work_dir: str, raw: Dataset, ngrams: NgramSettings, id_field: str | None) -> Stage[ListingSettings]:
    """The list of raw's documents."""
    return Stage.create("documents", work_dir, ListingSettings.of(ngrams, id_field), [raw])


def plan_ngram_weights(
    documents: Stage[ListingSettings], estimator: Stage[EstimatorSettings] | Stage[ClassifierSettings]
) -> Stage[NgramSettings]:
    """The n-gram weights of the documents."""
    settings = estimator.settings.ngrams
    return Stage.create("ngram_weights", documents.work_dir, settings, documents.datasets, [documents, estimator])


def plan_embedding_weights(
    documents: Stage[ListingSettings],
    embeddings: Stage[EmbeddingSource],
    models: Sequence[Stage],
    given: GivenMixtures | None,
) -> Stage[GivenMixtures | None]:
    """The embedding weights of the documents.

    Args:
        documents: the list of them.
        embeddings: those of raw.
        models: that are fitted, and score these.
        given: mixtures in the place of such models; None where the estimator takes none.
    """
    return Stage.create("gmm_weights", documents.work_dir, given, upstream=[documents, embeddings, *models])


def plan_given_weights(documents: Stage[ListingSettings], files: Dataset, num_targets: int) -> Stage[GivenWeights]:
    """Precomputed weights of the documents; raises `UserError` for files that do not hold them."""
    files = find_weights(files, num_targets)
    return Stage.create(files.role, documents.work_dir, GivenWeights(num_targets), [files], [documents])


def plan_scores(
    documents: Stage[ListingSettings],
    *weights: Stage | None,
    shares: Stage | None,
    num_targets: int,
    options: WeightOptions,
    min_example_length: int,
) -> Stage[MixingSettings]:
    """The scores of the documents.

    Args:
        documents: the list of them.
        weights: those that there are.
        shares: which tells how large each of several targets is; None where it is not told.
        num_targets: T.
        options: how weights are mixed.
        min_example_length: of the documents by which weights are scaled.
    """
    settings = MixingSettings(
        options.alpha,
        num_targets,
        options.weight_scaling,
        None if options.weight_scaling == "none" else min_example_length,
        options.weight_per_token and options.uses_ngrams,
    )
    upstream = [stage for stage in (documents, *weights, shares) if stage]
    return Stage.create("scores", documents.work_dir, settings, documents.datasets, upstream)
