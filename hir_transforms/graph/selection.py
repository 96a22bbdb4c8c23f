"""The last part of a graph, from score shards to the output; the same for `select` and `resample`."""

import functools
import json
import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam

from hir_transforms import __version__
from hir_transforms.artifacts.output_folder import MANIFEST, OutputFolder, own_files, read_result
from hir_transforms.artifacts.stages import Stage, missing_stages
from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import digest
from hir_transforms.common.messages import tell
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.known_files import KnownFiles
from hir_transforms.documents.listings import load_files
from hir_transforms.documents.records import SourceFile
from hir_transforms.files import storage
from hir_transforms.files.tables import is_table
from hir_transforms.graph.plan import Stages
from hir_transforms.report.content import ReportSettings
from hir_transforms.report.make import MakeReport
from hir_transforms.report.reading import ReadingSettings
from hir_transforms.selection.duplicates import FindDuplicates
from hir_transforms.selection.eligible import SelectionSettings
from hir_transforms.selection.plan import plan_duplicates
from hir_transforms.selection.select import PickDocuments
from hir_transforms.selection.settings import JSONL, PARQUET
from hir_transforms.selection.write import OutputSettings, RejectedLines, WriteSelection
from hir_transforms.settings.config import SETTINGS, PipelineConfig

# Which stage keeps which rejected lines: its name, and what their files' names begin with.
_REJECTED = (
    ("documents", "raw-"),
    ("embeddings/raw", "raw-embedding-"),
    ("ngram_weights", "raw-ngram_weights-"),
    ("gmm_weights", "raw-gmm_weights-"),
    ("embeddings/target", "target-"),
    ("embeddings/target", "target-embedding-"),
    ("counts/target", "target-"),
    ("ngram_classifier", "target-"),
)


@dataclass(frozen=True)
class SelectionPlan:
    """What is selected from which scores.

    Attributes:
        config: of which only the selection, the output and the work folder count.
        scores: the stage of the score shards.
        num_targets: T.
        sources: names of the stages that the scores come from.
        settings: of the run, for the output's manifest.
        duplicates: the stage that finds the documents whose text an earlier one has too.
        trials: of the n-gram estimators, for the output's manifest; None where the estimator was given.
        estimator: the stage of what weighs n-grams; None where they are not weighed, or it is not known.
        embeddings: the stages of those of raw and of the target; None where not both are embedded, or it is not known.
    """

    config: PipelineConfig
    scores: Stage
    num_targets: int
    sources: Sequence[str]
    settings: Mapping[str, Any]
    duplicates: Stage[None]
    trials: Sequence[Mapping[str, Any]] | None = None
    estimator: Stage | None = None
    embeddings: tuple[Stage, Stage] | None = None

    @classmethod
    def of(
        cls, config: PipelineConfig, stages: Stages, trials: Sequence[Mapping[str, Any]] | None = None
    ) -> "SelectionPlan":
        """What to select from the scores of these stages."""
        sources = [stage.name for stage in stages.all]
        duplicates = plan_duplicates(stages.scores)
        computed = {stage.name for stage in missing_stages([stages.scores])}

        def is_there(stage: Stage) -> bool:
            """Whether it is once the scores are: where these need it no more, it may be another's by now."""
            return stage.name in computed or stage.manifest() is not None

        estimator = None
        if stages.ngrams and is_there(stages.ngrams.estimator):
            # Without what it depends on, all of which would be sent along.
            estimator = replace(stages.ngrams.estimator, datasets=(), upstream=())
        models = stages.embedding_models
        embeddings = None
        if models and models.embeddings.target:
            both = models.embeddings.raw, models.embeddings.target
            embeddings = (both[0].alone(), both[1].alone()) if all(map(is_there, both)) else None
        return cls(
            config,
            stages.scores,
            config.num_targets,
            sources,
            config.settings(),
            duplicates,
            trials,
            estimator,
            embeddings,
        )

    @property
    def dataset(self) -> Dataset:
        """Raw, without its files; of saved scores, as these were made."""
        if self.scores.datasets:
            return replace(self.scores.dataset, patterns=())
        return Dataset("raw", (), text_field=self.scores.complete_manifest()["inputs"]["raw"]["text_field"])

    @property
    def fingerprint(self) -> str:
        """Digest of everything that the output depends on."""
        return digest({"settings": self.settings, "scores": self.scores.fingerprint})

    @property
    def output(self) -> str:
        """The folder of the output."""
        assert self.config.output.output
        return self.config.output.output

    @property
    def output_format(self) -> str:
        """The format of the output files: what is asked for, else that of the input."""
        return self.config.output.output_format or (PARQUET if self.has_types else JSONL)

    @functools.cached_property
    def has_types(self) -> bool:
        """Whether all that was scored are rows of tables."""
        return not self.dataset.is_loaded and all(is_table(file.path) for file in scored_files(self.scores))

    @property
    def finds_duplicates(self) -> bool:
        """Whether the stage of duplicates is to be computed."""
        return self.config.selection.skip_duplicates and self.duplicates.manifest() is None


def is_selected(plan: SelectionPlan) -> bool:
    """Whether a run that was interrupted while it put its output in place has written this very one.

    Whatever output such a run has completed is put in place first.

    Raises:
        UserError: for an output that is in the way, or another folder to be cleared that holds what is not ours.
    """
    check_output(plan)
    interrupted = OutputFolder(plan.output).recover()
    if interrupted and (result := read_result(plan.output)) and result.fingerprint == plan.fingerprint:
        return True
    check_replaceable(plan)
    return False


def check_output(plan: SelectionPlan) -> None:
    """Raises `UserError` for an output that cannot be, or a folder to be cleared that holds what is not ours."""
    output = plan.output
    if storage.is_local(output) and os.path.islink(output):
        raise UserError(f"--output: {output} is a symbolic link; name the folder itself")
    if plan.finds_duplicates:
        plan.duplicates.own_files()


def check_replaceable(plan: SelectionPlan) -> None:
    """Raises `UserError` for an output that is in the way."""
    output = plan.output
    if not storage.exists(output):
        return
    if not plan.config.output.overwrite:
        raise UserError(f"--output: {output} exists and is not empty; add --overwrite to replace it")
    own_files(output)


def rejected_lines(work_dir: str, stages: Collection[str]) -> list[RejectedLines]:
    """Where the lines are that the stages of these names rejected; of two that reject the same, the first."""
    found: dict[str, RejectedLines] = {}
    for name, prefix in _REJECTED:
        if name in stages:
            found.setdefault(prefix, RejectedLines(storage.join(work_dir, *name.split("/")), prefix))
    return list(found.values())


def write_selection(plan: SelectionPlan, scores: beam.PCollection[Stage]) -> None:
    """Adds the selection and its writing to the graph of the scores.

    Args:
        plan: what to select and where to.
        scores: the stage of the score shards, a single element, once it is complete.
    """
    selection, output = plan.config.selection, plan.config.output
    proportions = None
    if selection.target_proportions:
        proportions = tuple(share / sum(selection.target_proportions) for share in selection.target_proportions)
    if plan.finds_duplicates:
        plan.duplicates.prepare()
        found = scores | "FindDuplicates" >> FindDuplicates(plan.duplicates)
        scores = found | "AllDuplicates" >> beam.Map(lambda _, scores: scores, plan.scores.alone())
    duplicates = plan.duplicates.folder if selection.skip_duplicates else None
    folder = OutputFolder(plan.output)
    folder.start()
    chosen = SelectionSettings.of(selection, duplicates)
    picked = scores | "Select" >> PickDocuments(
        chosen,
        folder.picked,
        num_targets=plan.num_targets,
        proportions=proportions,
    )
    known_files = scores.pipeline | "Scored" >> beam.Create([plan.scores]) | "KnownFiles" >> beam.Map(_known_files)
    settings = OutputSettings(
        folder,
        output.num_shards,
        output.compression,
        plan.output_format,
        plan.settings,
        plan.fingerprint,
        rejected_lines(plan.config.work_dir, plan.sources),
        plan.dataset.load_dataset_fn,
        plan.output_format == PARQUET and not plan.has_types,
        plan.trials,
    )
    report = None
    if not output.no_report:
        _, state = picked
        report = state | "Report" >> MakeReport(_report_settings(plan), chosen, known_files)
    picked | "Write" >> WriteSelection(settings, known_files, report)


def _report_settings(plan: SelectionPlan) -> ReportSettings:
    config = plan.config
    labels = config.evaluation
    reading = ReadingSettings(
        plan.dataset,
        config.target if config.inputs.raw else None,
        plan.num_targets,
        config.ngrams,
        plan.estimator,
        labels.label_field,
        plan.embeddings,
    )
    told = {"label_field": labels.label_field, "wanted": labels.wanted}
    return ReportSettings(
        plan.settings,
        *_commands({**plan.settings, **told}),
        reading=reading,
        wanted=labels.wanted,
        trials=plan.trials,
        work_dir=plan.config.work_dir,
        sources=plan.sources,
        version=__version__,
    )


def _commands(settings: Mapping[str, Any]) -> tuple[str, str]:
    """The command that makes a selection again, but for where it goes, and the one that measures it."""
    given = {
        name: value
        for name, value in settings.items()
        if name in SETTINGS and value and value != SETTINGS[name].default
    }
    datasets = [_flag(name, given[name]) for name in ("raw", "target") if name in given]
    labels = [_flag(name, given[name]) for name in ("label_field", "wanted") if name in given]
    start = "hir select --output OUTPUT" if "raw" in given else "hir resample --work_dir WORK_DIR --output OUTPUT"
    command = [start, *(_flag(name, value) for name, value in given.items())]
    named = datasets if len(datasets) == 2 else ["--raw RAW", "--target TARGET"]
    return " ".join(command), " ".join(["hir evaluate --selected OUTPUT", *named, *labels])


def _flag(name: str, value: Any) -> str:
    if value is True:
        return f"--{name}"
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}"
    return f"--{name}={shlex.quote(text)}"


def _known_files(scores: Stage) -> KnownFiles:
    return KnownFiles(scored_files(scores))


def scored_files(scores: Stage) -> list[SourceFile]:
    """The files that were scored: of a planned stage those of its dataset, else those that the manifest tells."""
    if scores.datasets:
        return scores.dataset.list_files()
    return load_files(scores.work_dir, scores.complete_manifest()["inputs"]["raw"]["files"])


def print_counts(output: str) -> None:
    """Prints what came out, of each of several targets too, and where it is."""
    manifest = json.loads(storage.read_bytes(storage.join(output, MANIFEST)))
    counts = manifest["counts"]
    shown = ["read", "rejected", "short", *(["duplicate"] if counts["duplicate"] else []), "eligible", "selected"]
    tell(", ".join(f"{counts[name]} {name}" for name in shown))
    for number, share in enumerate(manifest.get("shares", ()), 1):
        tell(
            f"target {number}: {share['selected']} selected of {share['selected_tokens']} tokens, a share of "
            f"{share['given']:.3f} where {share['proportion']:.3f} was asked for"
        )
    tell(output)
