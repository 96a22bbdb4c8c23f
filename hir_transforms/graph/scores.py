"""The graph of a selection: each stage that is missing is computed, the others are read from their artefacts."""

from functools import cached_property

import apache_beam as beam
from apache_beam.utils.shared import Shared

from hir_transforms.artifacts.stages import ListResults, Stage
from hir_transforms.common.combining import Gather
from hir_transforms.documents.reading import ReadTasks
from hir_transforms.graph.mixtures import EmbeddingGraph
from hir_transforms.graph.plan import Stages
from hir_transforms.graph.selection import selection_settings
from hir_transforms.ngrams.estimator import target_proportions
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.ngrams.fitting import CountNgrams, FitNgramEstimator, load_counts
from hir_transforms.ngrams.sampling import ReadSampledTasks
from hir_transforms.selection.budget import CheckBudget
from hir_transforms.settings.config import SelectConfig
from hir_transforms.weights.given import GivenWeights, GiveWeights
from hir_transforms.weights.mixing import MixWeights
from hir_transforms.weights.mixture_weights import ScoreMixtures
from hir_transforms.weights.ngram_weights import ScoreDocuments
from hir_transforms.weights.parts import load_parts


class ScoreGraph:
    """PCollections up to the score shards, each added to the pipeline when it is first asked for.

    Args:
        pipeline: to add to.
        config: the settings.
        stages: as planned.
        missing: the stages to compute.
    """

    def __init__(self, pipeline: beam.Pipeline, config: SelectConfig, stages: Stages, missing: list[Stage]) -> None:
        self._pipeline = pipeline
        self._config = config
        self._stages = stages
        self._missing = frozenset(stage.name for stage in missing)
        # One featurizer a process, whether it counts or scores: its cache of buckets stays warm.
        self._shared = Shared()
        self._embeddings = None
        if stages.embeddings:
            self._embeddings = EmbeddingGraph(pipeline, config, stages.embeddings, self._missing, self._checked)

    def build(self, wanted: list[Stage]) -> None:
        """Adds what makes these stages complete."""
        names = {stage.name for stage in wanted} & self._missing
        if self._stages.ngrams and self._stages.ngrams.estimator.name in names:
            _ = self.estimator
        if self._embeddings:
            self._embeddings.build(names)
        if self._stages.scores.name in names:
            _ = self.scores

    @cached_property
    def scores(self) -> beam.PCollection:
        """The stage of raw's scores, by itself, once it is complete."""
        if self._stages.scores.name not in self._missing:
            return self._pipeline | "Scores" >> beam.Create([self._stages.scores.alone()])
        return self._weighted_parts | "Mix" >> MixWeights(self._stages.scores, self._proportions)

    @cached_property
    def _weighted_parts(self) -> beam.PCollection:
        """The `DocumentPart`s, once all their weights are written."""
        parts = self._parts
        documents = self._stages.documents.folder
        for stage in (self._stages.ngram_weights, self._stages.gmm_weights):
            if stage and stage.name in self._missing:
                if isinstance(stage.settings, GivenWeights):
                    parts = parts | f"Give {stage.name}" >> GiveWeights(stage)
                elif stage is self._stages.gmm_weights:
                    assert self._embeddings
                    parts = parts | "ScoreMixtures" >> ScoreMixtures(stage, documents, self._embeddings.ratio)
        return parts

    def _checked(self, role: str) -> beam.PCollection | None:
        """One element once what is known of "raw" or "target" before it is embedded is good; None where nothing is."""
        known = [one for one in (self._text_read(role), self._enough) if one is not None]
        if len(known) < 2:
            return known[0] if known else None
        return known | f"{role.capitalize()}Checks" >> beam.Flatten() | f"{role.capitalize()}Checked" >> Gather()

    def _text_read(self, role: str) -> beam.PCollection | None:
        """One element once the text of "raw" or "target" is read and found to be good; None where nothing reads it."""
        if role == "raw" and self._stages.documents.name in self._missing:
            read = self._parts
        elif self._stages.ngrams and f"counts/{role}" in self._missing:
            read = self._raw_counts if role == "raw" else self._target_counts
        else:
            return None
        return read | f"{role.capitalize()}Read" >> beam.combiners.Count.Globally()

    @cached_property
    def _enough(self) -> beam.PCollection | None:
        """One element, once it is known that enough documents may be selected; None where nothing is selected."""
        if self._stages.scores.name not in self._missing or self._config.output is None:
            return None
        settings = selection_settings(self._config)
        return self._parts | "CheckBudget" >> CheckBudget(self._stages.documents.folder, settings)

    @cached_property
    def _parts(self) -> beam.PCollection:
        """The `DocumentPart`s, once their n-gram weights are written if these are computed."""
        documents, ngram_weights = self._stages.documents, self._stages.ngram_weights
        list_documents = documents.name in self._missing
        score_ngrams = (
            ngram_weights is not None
            and ngram_weights.name in self._missing
            and isinstance(ngram_weights.settings, NgramSettings)
        )
        if not list_documents and not score_ngrams:
            return self._pipeline | "Documents" >> ListResults(documents, load_parts)
        return self._raw_tasks | "Score" >> ScoreDocuments(
            documents if list_documents else None,
            ngram_weights if score_ngrams else None,
            estimator=self.estimator if score_ngrams else None,
            shared=self._shared,
        )

    @cached_property
    def _proportions(self) -> beam.PCollection:
        """Each target's default share of the selection, a tuple of T floats; None where it cannot be told."""
        if self._config.num_targets == 1:
            return self._pipeline | "OneTarget" >> beam.Create([(1.0,)])
        if self._stages.shares is None:
            return self._pipeline | "NoShares" >> beam.Create([None])
        if self._stages.ngrams:
            return self._target_counts | "Shares" >> beam.Map(
                lambda counts: tuple(target_proportions(load_counts(counts)).tolist())
            )
        assert self._embeddings
        return self._embeddings.target_rows | "Shares" >> beam.Map(
            lambda rows: tuple(count / sum(rows) for count in rows)
        )

    @cached_property
    def estimator(self) -> beam.PCollection:
        """The stage of the one `NgramEstimator`."""
        stages = self._stages.ngrams
        assert stages
        if stages.estimator.name not in self._missing:
            return self._pipeline | "NgramEstimator" >> beam.Create([stages.estimator])
        return self._raw_counts | "NgramEstimator" >> FitNgramEstimator(
            stages.estimator, target_counts=self._target_counts
        )

    @cached_property
    def _raw_counts(self) -> beam.PCollection:
        """The stage of the n-gram counts of raw, once it is complete."""
        assert self._stages.ngrams
        stage = self._stages.ngrams.raw_counts
        if stage.name not in self._missing:
            return self._pipeline | "RawCounts" >> beam.Create([stage])
        tasks = self._raw_tasks
        if stage.settings.sample:
            tasks = self._pipeline | "Sample" >> ReadSampledTasks(
                stage.dataset, stage.settings.ngrams, stage.settings.sample
            )
        return tasks | "CountRaw" >> CountNgrams(stage, shared=self._shared)

    @cached_property
    def _target_counts(self) -> beam.PCollection:
        """The stage of the n-gram counts of the targets, once it is complete."""
        assert self._stages.ngrams
        stage = self._stages.ngrams.target_counts
        if stage.name not in self._missing:
            return self._pipeline | "TargetCounts" >> beam.Create([stage])
        tasks = self._pipeline | "Target" >> ReadTasks(stage.dataset)
        return tasks | "CountTarget" >> CountNgrams(stage, shared=self._shared)

    @cached_property
    def _raw_tasks(self) -> beam.PCollection:
        """The `ReadTask`s of raw; one list of its files for all who read it."""
        return self._pipeline | "Raw" >> ReadTasks(self._config.raw)
