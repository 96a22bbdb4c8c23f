"""What stages will take, estimated from a probe of what they are computed from."""

from collections.abc import Collection
from dataclasses import dataclass

from hir_transforms.artifacts.stages import Stage
from hir_transforms.commands.probing import DatasetProbe, EmbeddingProbe
from hir_transforms.documents.read_tasks import estimated_bytes
from hir_transforms.documents.records import SourceFile
from hir_transforms.embeddings.model import EmbeddingModel
from hir_transforms.embeddings.source import EmbeddingFiles
from hir_transforms.mixtures.fitting import MixtureSettings
from hir_transforms.ngrams.classifier_fitting import ClassifierSettings
from hir_transforms.ngrams.fitting import CountSettings
from hir_transforms.settings.config import PipelineConfig
from hir_transforms.tuning.trials import TrialSettings

# A run that has nothing to compute takes so many times the processor's seconds in which a process is loaded: the
# launcher and then its workers load the same, and the steps of the graph take time of their own.
_STARTS = 4.0
# Seconds of one processor, measured: an EM iteration for a row, a component and a dimension, of which there are 128
# more than there are, for what does not depend on them; and how many iterations it takes.
_EM_SECONDS = 7e-11
_EM_MORE_DIMENSIONS = 128
_EM_ITERATIONS = 30
# The same of a multiplication and addition of dense matrices; of mixing, sorting or drawing a row; of a document in a
# fit of the n-gram classifier, and of a number of a row in that of embeddings.
_PRODUCT_SECONDS = 1e-10
_ROW_SECONDS = 5e-6
_CLASSIFIER_SECONDS = 1e-3
_EMBEDDING_CLASSIFIER_SECONDS = 1e-6
# Both estimators are fitted for each fold.
_TRIAL_FITS = 6
# Stored bytes of a document, measured: of the list, of a weight, of the scores, of what tells a copy, of a row beside
# its numbers, and of what is noted of a selected one.
_LISTED, _WEIGHT, _SCORED, _COPY, _ROW, _PICKED = 45, 17, 70, 8, 16, 120
# Of a transformer to a static model, as large as that of all-MiniLM-L6-v2: seconds of one processor, bytes.
_DISTILLING_SECONDS, _DISTILLED = 45.0, 31_000_000
# Rows that a fit keeps in memory at most.
_CACHED = 256 << 20


@dataclass(frozen=True)
class Amounts:
    """What there is of a dataset.

    Attributes:
        files: how many.
        stored: bytes that they take.
        bytes: uncompressed, a guess where they are compressed.
        documents: estimated.
        probe: of it.
    """

    files: int
    stored: int
    bytes: int
    documents: int
    probe: DatasetProbe

    @classmethod
    def of(cls, files: Collection[SourceFile], probe: DatasetProbe) -> "Amounts":
        """Those of files, with the probe of these."""
        size = estimated_bytes(files)
        documents = max(len(probe.texts), round(size * probe.documents_per_byte))
        return cls(len(files), sum(file.size for file in files), size, documents, probe)

    def reading(self, share: float = 1.0) -> float:
        """Seconds that reading it takes one processor, or a share of it."""
        return min(1.0, share) * self.bytes * self.probe.reading

    def counting(self, share: float = 1.0) -> float:
        """Seconds that reading it takes, and counting its n-grams."""
        return min(1.0, share) * self.bytes * (self.probe.reading + self.probe.counting)


@dataclass(frozen=True)
class Cost:
    """What a stage takes.

    Attributes:
        spread: seconds of one processor that all workers share.
        alone: seconds that one worker takes.
        disk: bytes that stay.
        memory: bytes that one worker needs beside what each has.
    """

    spread: float = 0.0
    alone: float = 0.0
    disk: int = 0
    memory: int = 0


@dataclass(frozen=True)
class Estimate:
    """Costs of the stages that are to be computed, by name, and what comes of them.

    Attributes:
        costs: by the stage's name.
        seconds: by the clock, on so many workers, while the machine is as busy as it is.
        processor: seconds of all processors.
        work_bytes, output_bytes: that stay on disk.
        memory: bytes of each of the workers.
    """

    costs: dict[str, Cost]
    seconds: float
    processor: float
    work_bytes: int
    output_bytes: int
    memory: int


@dataclass(frozen=True)
class Estimator:
    """Estimates what a run takes.

    Attributes:
        config: what is run.
        amounts: of raw, and of the target where there is one, by role.
        model: the probe of the embedding model; None where nothing is embedded.
        missing: the stages to compute.
        starting: seconds of one processor in which a process is loaded.
        memory: bytes that this process takes.
    """

    config: PipelineConfig
    amounts: dict[str, Amounts]
    model: EmbeddingProbe | None
    missing: list[Stage]
    starting: float
    memory: int

    def estimate(self, workers: int) -> Estimate:
        """What it all takes on so many workers."""
        costs = {stage.name: self._cost(stage) for stage in self.missing}
        spread, alone = (sum(getattr(cost, name) for cost in costs.values()) for name in ("spread", "alone"))
        starting = _STARTS * self.starting + (self.model.loading if self.model and self._embeds else 0.0)
        wall = (self.model if self.model and self._embeds else self.amounts["raw"].probe).wall
        picking = self.amounts["raw"].documents * _ROW_SECONDS
        return Estimate(
            costs,
            max(1.0, wall) * (starting + alone + (spread + picking) / workers),
            starting + alone + spread + picking + (workers - 1) * self.starting,
            sum(cost.disk for cost in costs.values()),
            self._output_bytes(),
            self.memory + max((cost.memory for cost in costs.values()), default=0),
        )

    @property
    def _embeds(self) -> bool:
        return any(isinstance(stage.settings, EmbeddingModel) for stage in self.missing)

    def _cost(self, stage: Stage) -> Cost:
        settings, raw = stage.settings, self.amounts["raw"]
        targets = self.config.num_targets
        num_buckets = self.config.ngrams.num_buckets
        together = {"documents"} & {one.name for one in self.missing}  # one pass lists and weighs
        match stage.name.partition("/")[0]:
            case "counts":
                amounts = self.amounts[stage.dataset.role]
                return Cost(amounts.counting(_share(settings, amounts)), disk=8 * num_buckets * targets)
            case "ngram":
                return Cost(disk=8 * num_buckets * (1 + 2 * targets))
            case "static_model":
                return Cost(alone=_DISTILLING_SECONDS, disk=_DISTILLED)
            case "documents":
                return Cost(raw.counting(), disk=raw.documents * _LISTED)
            case "ngram_weights":
                return Cost(0.0 if together else raw.counting(), disk=raw.documents * _WEIGHT * targets)
            case "ngram_classifier" | "trials":
                return self._fitted_documents(settings)
            case "embeddings":
                return self._embedded(stage)
            case "projection":
                dim = self._dim(stage.upstream[0])
                return Cost(raw.documents * dim * dim * _PRODUCT_SECONDS, alone=dim**3 * 10 * _PRODUCT_SECONDS)
            case "gmm":
                return self._mixture(stage)
            case "embedding_classifier":
                rows = self._rows(raw.documents, self.config.mixtures.classifier_max_samples("raw"))
                dim = self._dim(stage.upstream[0])
                return Cost(alone=rows * dim * _EMBEDDING_CLASSIFIER_SECONDS, memory=8 * rows * dim)
            case "gmm_weights":
                dim, components = self._dim(stage.upstream[1]), sum(map(self._components, stage.upstream))
                spread = raw.documents * (_ROW_SECONDS + max(1, components) * dim * _PRODUCT_SECONDS)
                return Cost(spread, disk=raw.documents * _WEIGHT * targets)
            case "scores":
                return Cost(raw.documents * _ROW_SECONDS, disk=raw.documents * _SCORED * targets)
            case "duplicates":
                return Cost(raw.documents * _ROW_SECONDS, disk=raw.documents * _COPY)
        return Cost(raw.documents * _ROW_SECONDS, disk=raw.documents * _WEIGHT)  # weights that are given

    def _fitted_documents(self, settings: ClassifierSettings | TrialSettings) -> Cost:
        """The cost of fitting to the n-grams of single documents, which are listed in two passes over them."""
        fits = _TRIAL_FITS if isinstance(settings, TrialSettings) else 1
        spread, documents = 0.0, 0
        for amounts in self.amounts.values():
            spread += 2 * amounts.counting(settings.num_documents / max(1, amounts.documents))
            documents += min(settings.num_documents, amounts.documents)
        disk = 0 if fits > 1 else 8 * self.config.ngrams.num_buckets * self.config.num_targets * 6
        return Cost(spread, fits * documents * _CLASSIFIER_SECONDS, disk, documents * 8 * 400)

    def _embedded(self, stage: Stage) -> Cost:
        amounts, dim = self.amounts[stage.dataset.role], self._dim(stage)
        each = self.model.embedding if self.model and isinstance(stage.settings, EmbeddingModel) else _ROW_SECONDS
        return Cost(amounts.reading() + amounts.documents * each, disk=amounts.documents * (4 * dim + _ROW))

    def _mixture(self, stage: Stage) -> Cost:
        settings, embedded = stage.settings, stage.upstream[0]
        documents = self.amounts[embedded.dataset.role].documents
        rows = self._rows(documents, settings.max_samples)
        stored = self._dim(embedded)
        dim = self.config.mixtures.embedding_dim or stored
        components, _ = settings.components_of(rows)
        iterations = min(settings.max_iter, _EM_ITERATIONS)
        seconds = iterations * rows * components * (dim + _EM_MORE_DIMENSIONS) * _EM_SECONDS
        return Cost(
            alone=seconds + rows * _ROW_SECONDS,
            disk=8 * components * (2 * dim + 1),
            memory=min(4 * rows * dim, _CACHED) + 16 * components * dim,
        )

    def _components(self, stage: Stage) -> int:
        if not isinstance(stage.settings, MixtureSettings):
            return 0
        documents = self.amounts[stage.upstream[0].dataset.role].documents
        return stage.settings.components_of(self._rows(documents, stage.settings.max_samples))[0]

    def _rows(self, documents: int, most: int | None) -> int:
        return documents if most is None else min(documents, most)

    def _dim(self, embeddings: Stage) -> int:
        """Numbers in a row of embeddings."""
        if isinstance(embeddings.settings, EmbeddingFiles):
            return embeddings.settings.dim
        if manifest := embeddings.manifest():
            return manifest["counts"]["dim"]
        assert self.model
        return self.model.dim

    def _output_bytes(self) -> int:
        """Of the selected documents, if they are like those of the probe that are long enough."""
        raw, selection = self.amounts["raw"], self.config.selection
        enough = raw.probe.tokens >= selection.min_example_length
        if not enough.any():
            return 0
        length, tokens = raw.probe.lengths[enough].mean() + 1, max(1.0, raw.probe.tokens[enough].mean())
        wanted = selection.num_to_sample or (selection.num_tokens_to_sample or 0) / tokens
        return round(min(wanted, raw.documents * enough.mean()) * (length + _PICKED))


def _share(settings: CountSettings, amounts: Amounts) -> float:
    """The share of a dataset's bytes whose n-grams are counted."""
    if settings.sample is None:
        return 1.0
    orders = settings.ngrams.ngrams
    ngrams = int(amounts.probe.tokens.sum()) * orders / max(1, amounts.probe.bytes) * amounts.bytes
    return settings.sample.num_ngrams / max(1.0, ngrams)
