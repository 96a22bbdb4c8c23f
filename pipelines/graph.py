"""The stages of a selection, and the graph that computes those that are missing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam

from hir_transforms.config import SelectConfig
from hir_transforms.datasets import Dataset
from hir_transforms.embedding_source import EmbeddingSource
from hir_transforms.gmm_fitting import FitGaussianMixture, MixtureSettings, load_mixture, mixture_path
from hir_transforms.ngram_fitting import FitNgramEstimator, load_estimator
from hir_transforms.ngram_sampling import NgramSample, needs_sampling
from hir_transforms.planning import estimated_bytes
from hir_transforms.scoring import MixturePair, ScoreDocuments, load_score_shards
from hir_transforms.selecting import SelectDocuments, SelectionSettings
from hir_transforms.stages import Stage
from hir_transforms.writing import OutputSettings, WriteSelection
from pipelines.embeddings import embedding_shards, plan_embeddings

# Above this size EM runs on all workers; below it the runner's time for each iteration would be most of the cost.
_UNROLL_BYTES = 256 << 20


@dataclass(frozen=True)
class EmbeddingStages:
    """The stages of one dataset's embedding part."""

    dataset: Dataset
    source: EmbeddingSource
    settings: MixtureSettings
    embeddings: Stage
    mixture: Stage


@dataclass(frozen=True)
class Stages:
    """The stages of a selection, with the fingerprints of this run; None where alpha makes a part unnecessary."""

    sample: NgramSample | None
    ngram: Stage | None
    raw: EmbeddingStages | None
    target: EmbeddingStages | None
    scores: Stage

    def all(self) -> list[Stage]:
        """The stages that this run needs, in order."""
        parts = [part for part in (self.raw, self.target) if part]
        embedding = [stage for part in parts for stage in (part.embeddings, part.mixture)]
        return [*([self.ngram] if self.ngram else []), *embedding, self.scores]


def plan_stages(config: SelectConfig, sources: tuple[EmbeddingSource, EmbeddingSource] | None) -> Stages:
    """The stages with everything that each depends on; `sources` as `find_sources` gives them."""

    def stage(name: str, settings: dict[str, Any], datasets: Sequence[Dataset], *upstream: Stage) -> Stage:
        return Stage.create(name, config.work_dir, settings, datasets, upstream)

    def embedding_stages(dataset: Dataset, mixture_name: str, components: int) -> EmbeddingStages | None:
        if sources is None:
            return None
        source = sources[dataset.role == "target"]
        settings = MixtureSettings(components, config.gmm_max_iter, config.gmm_tol, config.seed)
        embeddings = plan_embeddings(config.work_dir, dataset, source)
        mixture = stage(f"gmm/{mixture_name}", asdict(settings), [], embeddings)
        return EmbeddingStages(dataset, source, settings, embeddings, mixture)

    ngram = None
    sample = _ngram_sample(config)
    if config.uses_ngrams:
        ngram_settings = {
            **asdict(config.ngram_settings),
            "target_laplace_smoothing": config.target_laplace_smoothing,
            "sample": asdict(sample) if sample else None,
        }
        ngram = stage("ngram", ngram_settings, [config.raw, config.target])
    raw = embedding_stages(config.raw, "raw", config.raw_components)
    target = embedding_stages(config.target, "target-0", config.target_components)
    upstream = [*([ngram] if ngram else []), *(part.mixture for part in (raw, target) if part)]
    scores = stage("scores", {**asdict(config.ngram_settings), "alpha": config.alpha}, [config.raw], *upstream)
    return Stages(sample, ngram, raw, target, scores)


def _ngram_sample(config: SelectConfig) -> NgramSample | None:
    """Which part of raw to count; None for all, also where raw cannot hold more n-grams than asked for."""
    num_ngrams = config.num_ngrams_to_fit
    if num_ngrams is None or not needs_sampling(num_ngrams, config.ngram_settings, config.raw.list_files()):
        return None
    return NgramSample(num_ngrams, config.seed)


def build(pipeline: beam.Pipeline, *, config: SelectConfig, stages: Stages, temporary: str) -> None:
    """Lays out the whole selection; a complete stage is read from its artefacts instead of computed.

    Args:
        pipeline: to add to.
        config: the settings.
        stages: as `plan_stages` made them.
        temporary: where the output is put together.
    """
    if stages.scores.manifest() is not None:
        shards = pipeline | "Scores" >> beam.Create(load_score_shards(stages.scores))
    else:
        shards = pipeline | "Scores" >> ScoreDocuments(
            stages.scores,
            config.raw,
            config.ngram_settings,
            config.alpha,
            estimator=_estimator(pipeline, config, stages),
            mixtures=_mixtures(pipeline, stages),
        )
    selection = SelectionSettings(config.num_to_sample, config.top_k, config.seed, config.min_example_length)
    target_rejects = stages.target.embeddings if stages.target else stages.ngram or stages.scores
    output = OutputSettings(
        config.output,
        temporary,
        config.num_shards,
        config.compression,
        config.settings(),
        {"raw": stages.scores.folder, "target": target_rejects.folder},
    )
    shards | "Select" >> SelectDocuments(selection) | "Write" >> WriteSelection(output)


def _estimator(pipeline: beam.Pipeline, config: SelectConfig, stages: Stages) -> beam.PCollection | None:
    if stages.ngram is None:
        return None
    if stages.ngram.manifest() is not None:
        return pipeline | "NgramEstimator" >> beam.Create([stages.ngram]) | beam.Map(load_estimator)
    return pipeline | "NgramEstimator" >> FitNgramEstimator(
        stages.ngram,
        config.raw,
        config.target,
        config.ngram_settings,
        sample=stages.sample,
        target_laplace_smoothing=config.target_laplace_smoothing,
    )


def _mixtures(pipeline: beam.Pipeline, stages: Stages) -> beam.PCollection | None:
    if stages.raw is None or stages.target is None:
        return None
    raw, target = (_mixture(pipeline, part) for part in (stages.raw, stages.target))
    return raw | "PairMixtures" >> beam.Map(MixturePair, beam.pvalue.AsSingleton(target), stages.raw.embeddings.folder)


def _mixture(pipeline: beam.Pipeline, part: EmbeddingStages) -> beam.PCollection:
    label = part.dataset.role.capitalize()
    path = mixture_path(part.mixture)
    if part.mixture.manifest() is not None:
        return pipeline | f"{label}Mixture" >> beam.Create([path]) | f"Load{label}Mixture" >> beam.Map(load_mixture)
    shards = embedding_shards(pipeline, part.embeddings, part.dataset, part.source)
    unrolled = estimated_bytes(part.dataset.list_files()) > _UNROLL_BYTES
    return shards | f"{label}Mixture" >> FitGaussianMixture(part.mixture, part.settings, unrolled=unrolled)
