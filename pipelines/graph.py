"""The stages of a selection, and the graph that computes those that are missing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam

from hir_transforms.config import SelectConfig
from hir_transforms.datasets import Dataset
from hir_transforms.embedding_source import EmbeddingSource
from hir_transforms.gmm_fitting import MixtureSettings
from hir_transforms.ngram_fitting import FitNgramEstimator, load_estimator
from hir_transforms.ngram_sampling import NgramSample, needs_sampling
from hir_transforms.ranking import SelectionSettings
from hir_transforms.scaling import ScaleWeights
from hir_transforms.scoring import ScoreDocuments, load_score_shards
from hir_transforms.selecting import SelectDocuments
from hir_transforms.stages import Stage
from hir_transforms.writing import OutputSettings, WriteSelection
from pipelines.embedding_graph import EmbeddingStages, fit_mixtures, given_mixtures
from pipelines.embeddings import plan_embeddings


@dataclass(frozen=True)
class Stages:
    """The stages of a selection, with the fingerprints of this run; None where alpha makes a part unnecessary.

    `parts` has the score shards before their weights are known, where these need statistics over all of them.
    """

    sample: NgramSample | None
    ngram: Stage | None
    raw: EmbeddingStages | None
    target: EmbeddingStages | None
    parts: Stage | None
    scores: Stage

    @property
    def raw_reading(self) -> Stage:
        """The stage that reads raw last and scores it."""
        return self.parts or self.scores

    def all(self) -> list[Stage]:
        """The stages that this run needs, in order."""
        embedding = [stage for part in (self.raw, self.target) if part for stage in part.all()]
        stages = [stage for stage in (self.ngram, *embedding, self.parts, self.scores) if stage]
        return list({stage.name: stage for stage in stages}.values())


def plan_stages(config: SelectConfig, sources: tuple[EmbeddingSource, EmbeddingSource] | None) -> Stages:
    """The stages with everything that each depends on; `sources` as `find_sources` gives them."""
    given = given_mixtures(config) if sources else {}

    def stage(name: str, settings: dict[str, Any], datasets: Sequence[Dataset], *upstream: Stage) -> Stage:
        return Stage.create(name, config.work_dir, settings, datasets, upstream)

    def embedding_stages(
        dataset: Dataset, mixture_name: str, components: int, raw: EmbeddingStages | None = None
    ) -> EmbeddingStages | None:
        if sources is None:
            return None
        source = sources[dataset.role == "target"]
        max_samples = config.max_samples(dataset.role)
        settings = MixtureSettings(components, config.gmm_max_iter, config.gmm_tol, config.seed, max_samples)
        embeddings = plan_embeddings(config.work_dir, dataset, source)
        if (mixture := given.get(dataset.role)) is not None:
            scored = embeddings if dataset.role == "raw" else None
            return EmbeddingStages(dataset, source, settings, scored, None, mixture)
        if raw is not None:
            projection = raw.projection
        else:
            projection = stage("projection", {"dim": dim}, [], embeddings) if (dim := config.embedding_dim) else None
        fitted = stage(f"gmm/{mixture_name}", asdict(settings), [], embeddings, *([projection] if projection else []))
        return EmbeddingStages(dataset, source, settings, embeddings, projection, fitted)

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
    target = embedding_stages(config.target, "target-0", config.target_components, raw)
    # The last stage of a part covers those before it.
    upstream = [*([ngram] if ngram else []), *(part.all()[-1] for part in (raw, target) if part and part.all())]
    digests = {f"{role}_gmm": mixture.digest for role, mixture in given.items()}
    scored = {**asdict(config.ngram_settings), **digests}
    if config.weight_scaling == "none":
        parts = None
        scores = stage("scores", {**scored, "alpha": config.alpha}, [config.raw], *upstream)
    else:
        parts = stage("parts", scored, [config.raw], *upstream)
        names = ("alpha", "weight_scaling", "min_example_length")
        scores = stage("scores", {name: getattr(config, name) for name in names}, [], parts)
    return Stages(sample, ngram, raw, target, parts, scores)


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
    shards = _scores(pipeline, config, stages)
    selection = SelectionSettings(
        config.num_to_sample, config.num_tokens_to_sample, config.top_k, config.seed, config.min_example_length
    )
    target_rejects = (stages.target and stages.target.embeddings) or stages.ngram or stages.raw_reading
    output = OutputSettings(
        config.output,
        temporary,
        config.num_shards,
        config.compression,
        config.settings(),
        {"raw": stages.raw_reading.folder, "target": target_rejects.folder},
    )
    shards | "Select" >> SelectDocuments(selection, output.picked) | "Write" >> WriteSelection(output)


def _scores(pipeline: beam.Pipeline, config: SelectConfig, stages: Stages) -> beam.PCollection:
    if stages.scores.manifest() is not None:
        return pipeline | "Scores" >> beam.Create(load_score_shards(stages.scores))
    if stages.raw_reading.manifest() is not None:
        shards = pipeline | "Parts" >> beam.Create(load_score_shards(stages.raw_reading))
    else:
        shards = pipeline | "Score" >> ScoreDocuments(
            stages.raw_reading,
            config.raw,
            config.ngram_settings,
            config.alpha if stages.parts is None else None,
            estimator=_estimator(pipeline, config, stages),
            mixtures=fit_mixtures(pipeline, stages.raw, stages.target, config.gmm_checkpoint_dir),
        )
    if stages.parts is None:
        return shards
    return shards | "Scale" >> ScaleWeights(stages.scores, config.alpha, config.min_example_length)


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
