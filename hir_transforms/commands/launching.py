"""What every command does: check its inputs, make the stages ready, run the graph, and tell what was done."""

import contextlib
import copy
import datetime
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from hir_transforms.artifacts.output_folder import OutputFolder
from hir_transforms.artifacts.runs import Run, add_run, versions
from hir_transforms.artifacts.stages import Stage, missing_stages
from hir_transforms.commands import display
from hir_transforms.commands.apart import check_apart, inputs_of
from hir_transforms.commands.input_checks import check_complete_stage, check_has_text, small_targets
from hir_transforms.commands.progress import Progress
from hir_transforms.commands.running import choose_runner
from hir_transforms.common.errors import UserError
from hir_transforms.common.messages import warn
from hir_transforms.documents.read_tasks import max_useful_workers
from hir_transforms.embeddings.source import EmbeddingFiles, SampledSource, check_num_rows
from hir_transforms.files import storage
from hir_transforms.files.locks import locked
from hir_transforms.graph.fitting_jobs import fit_jobs, mixtures_by_jobs
from hir_transforms.graph.graph import Graph
from hir_transforms.graph.plan import Stages
from hir_transforms.graph.selection import SelectionPlan, is_selected
from hir_transforms.mixtures.fit_projection import ProjectionSettings
from hir_transforms.mixtures.pca import effective_dim
from hir_transforms.ngrams.features import NgramSettings, warm_up
from hir_transforms.runners.named import run_to_end
from hir_transforms.settings.config import PipelineConfig

# What a raw corpus without any text, such as one of another --text_field, is found out by at once.
_MAX_GROUPS_OF_RAW = 16


@contextlib.contextmanager
def in_use(work_dir: str, output: str | None = None) -> Iterator[None]:
    """Keeps other runs off both folders, and deletes what a killed run, or this one if it fails, leaves half-written.

    Raises:
        UserError: if a folder is in use, or is a file.
    """
    for flag, folder in (("work_dir", work_dir), ("output", output)):
        if folder and storage.is_local(folder) and os.path.lexists(folder) and not os.path.isdir(folder):
            raise UserError(f"--{flag}: {folder} is a file, not a folder")
    with locked(work_dir, *([output] if output else [])):
        storage.remove_temporary_files(work_dir)
        try:
            yield
        except BaseException:
            with contextlib.suppress(UserError):  # what went wrong first is what the user is to know
                storage.remove_temporary_files(work_dir)
            if output and storage.is_local(output):
                with contextlib.suppress(UserError):
                    OutputFolder(output).discard_unfinished()
            raise


def check_datasets(config: PipelineConfig) -> None:
    """Raises `UserError` for what would fail only after hours: missing or empty inputs."""
    check_has_text(config.raw, max_groups=_MAX_GROUPS_OF_RAW)
    if config.target:
        if config.inputs.separate_targets:
            config.target.target_starts()
        check_has_text(config.target, by_target=config.inputs.separate_targets)


@dataclass
class Launch:
    """The jobs to run, one after the other (each laid out when it is its turn), and the stages that they compute."""

    jobs: Iterable[beam.Pipeline]
    computed: list[Stage]
    _progress: Progress[Stage] = field(init=False)

    def __post_init__(self) -> None:
        self._progress = Progress.of(self.computed, _tell_warning)

    def run(self) -> bool:
        """Runs them, shows how far they are, and tells what fits warn of as soon as it is known.

        Returns:
            Whether they are done, and not only handed over.
        """
        runner = ""
        for job in self.jobs:
            runner = type(job.runner).__name__
            if not run_to_end(job, self._progress.watch):
                return False
        self._progress.end()
        display.end()
        if self._progress.seconds:
            ended = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            with contextlib.suppress(UserError):  # what was to be done is done
                add_run(self.computed[0].work_dir, Run(ended, runner, self._progress.seconds, versions()))
        return True


def _tell_warning(stage: Stage) -> None:
    if warning := (stage.manifest() or {"counts": {}})["counts"].get("warning"):
        warn(f"warning: {stage.name}: {warning}")


def build_pipeline(
    options: PipelineOptions,
    config: PipelineConfig,
    stages: Stages,
    wanted: list[Stage],
    compose: Callable[[Graph], Callable[[], Any]],
    beside: Sequence[Stage] = (),
) -> Launch:
    """Makes ready what computes what the wanted stages lack.

    Args:
        options: of Beam.
        config: the settings.
        stages: as planned.
        wanted: those of the stages that are to be complete.
        compose: makes a graph's nodes; returns what adds the last of them.
        beside: stages that these nodes compute beside those that the wanted lack.

    Raises:
        UserError: for what cannot come to a good end.
    """
    missing = missing_stages(wanted)
    check_stages(stages, missing)
    _warm_up(config, missing)
    prepare(missing)
    if unchanged := [stage.name for stage in stages.all if stage.manifest()]:
        warn(f"unchanged in {config.work_dir}, not computed again: {', '.join(unchanged)}")
    mixtures = mixtures_by_jobs(stages, missing)
    if mixtures and options.view_as(GoogleCloudOptions).template_location:
        role = mixtures[0].upstream[0].dataset.role
        raise UserError(
            f"--{role}_max_samples: a mixture is fitted to all documents by jobs that the launcher repeats, which a "
            "template cannot; give auto or a number"
        )
    max_workers = max_useful_workers(config.raw.list_files())

    def make_graph(missing: list[Stage]) -> Graph:
        of_job = copy.deepcopy(options)  # runners change what they are given
        pipeline = beam.Pipeline(runner=choose_runner(of_job, max_workers), options=of_job)
        return Graph(pipeline, config, stages, missing)

    def composed(missing: list[Stage]) -> Graph:
        graph = make_graph(missing)
        compose(graph)
        return graph

    def last_job() -> Iterator[beam.Pipeline]:
        left = missing_stages(wanted)
        if left or config.selects:
            graph = make_graph(left)
            compose(graph)()
            yield graph.pipeline

    jobs = itertools.chain(fit_jobs(composed, missing, mixtures), last_job()) if mixtures else list(last_job())
    _warn_of_small_targets(config, missing)
    return Launch(jobs, [*missing, *beside])


def build_selection(
    options: PipelineOptions,
    plan: SelectionPlan,
    stages: Stages,
    compose: Callable[[Graph, SelectionPlan], Callable[[], Any]],
) -> Launch:
    """Makes ready what computes what the scores lack, and selects from them; as `build_pipeline` does."""
    config = plan.config
    kept = [*stages.all, plan.duplicates]
    check_apart(inputs_of(config), kept, plan.output, config.mixtures.gmm_checkpoint_dir)
    if is_selected(plan):
        return Launch([], [])
    beside = [plan.duplicates] if plan.finds_duplicates else []
    return build_pipeline(options, config, stages, [stages.scores], lambda graph: compose(graph, plan), beside)


def check_stages(stages: Stages, missing: list[Stage]) -> None:
    """Raises `UserError` for what complete stages, or files that are given to missing ones, tell at once."""
    for stage in stages.all:
        check_complete_stage(stage)
    check_num_rows_of(missing)
    _warn_of_few_rows(stages, missing)


def check_num_rows_of(missing: Iterable[Stage]) -> None:
    """Checks the embeddings that are given to missing stages, before anything that takes long."""
    for stage in missing:
        source = stage.settings.source if isinstance(stage.settings, SampledSource) else stage.settings
        if isinstance(source, EmbeddingFiles):
            check_num_rows(source, stage.dataset)


def prepare(missing: Iterable[Stage]) -> None:
    """Makes the folders of stages ready, once it is known that no other file lies in any of them."""
    stages = list(missing)
    for stage in stages:
        stage.own_files()
    for stage in stages:
        stage.prepare()


def _warn_of_few_rows(stages: Stages, missing: list[Stage]) -> None:
    """Tells before anything runs where the rows that are given are too few, or too short, for what is asked."""
    models = stages.embedding_models
    if models is None:
        return
    for stage in (models.projection, *(models.mixtures.fitted if models.mixtures else [])):
        source = stage.upstream[0].settings if stage in missing and stage else None
        if stage and isinstance(source, EmbeddingFiles) and source.num_rows is not None:
            if isinstance(stage.settings, ProjectionSettings):
                _, warning = effective_dim(stage.settings.dim, source.dim, source.num_rows)
            else:
                rows = min(source.num_rows, stage.settings.max_samples or source.num_rows)
                _, warning = stage.settings.components_of(rows)
            if warning:
                warn(f"warning: {stage.name}: {warning}")


def _warn_of_small_targets(config: PipelineConfig, missing: list[Stage]) -> None:
    """Tells before anything runs where a target has few n-grams, unless the user has chosen what helps."""
    if "ngram" not in {stage.name for stage in missing} or config.target is None:
        return
    if config.ngram_fit.target_laplace_smoothing or config.weights.weight_per_token:
        return
    by_target = config.inputs.separate_targets
    for patterns, number in small_targets(config.target, config.ngrams, by_target=by_target):
        warn(
            f"warning: --target: {patterns} is small for ratios of n-grams ({number:,} of them); what finds more: "
            "--ngram_estimator classifier, or --target_laplace_smoothing 1 with --weight_per_token"
        )


def _warm_up(config: PipelineConfig, missing: list[Stage]) -> None:
    counting = {"counts/raw", "counts/target", "ngram_classifier", "documents", "ngram_weights"}
    if counting & {stage.name for stage in missing}:
        warm_up_ngrams(config.ngrams)


def warm_up_ngrams(settings: NgramSettings) -> None:
    """Compiles the n-gram kernel before several workers would; raises `UserError` for a tokenizer without data."""
    display.show("compiling what counts n-grams")
    try:
        warm_up(settings)
    except ValueError as error:
        raise UserError(f"--tokenizer: {error}") from None
