"""What a selection would read, compute and use again, and an estimate of what it would take."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hir_transforms.artifacts.stage_states import StageState, stage_states
from hir_transforms.artifacts.stages import Stage, missing_stages
from hir_transforms.commands import display, wording
from hir_transforms.commands.apart import check_apart, inputs_of
from hir_transforms.commands.estimating import Amounts, Estimate, Estimator
from hir_transforms.commands.launching import check_datasets, check_stages, warm_up_ngrams
from hir_transforms.commands.probing import (
    EmbeddingProbe,
    loading_seconds,
    peak_memory,
    probe_documents,
    probe_model,
)
from hir_transforms.embeddings.distill import UNDISTILLED, plan_static_model
from hir_transforms.embeddings.model import STATIC, EmbeddingModel
from hir_transforms.embeddings.plan import find_named
from hir_transforms.files import storage
from hir_transforms.graph.plan import Stages, plan_stages
from hir_transforms.graph.selection import SelectionPlan, check_output, check_replaceable
from hir_transforms.graph.trials import TrialPlan, with_kept_choice
from hir_transforms.settings.config import PipelineConfig

# What is guessed of a model that is to be distilled: numbers in a row, and seconds to load it and to embed a text.
_STATIC_MODEL = EmbeddingProbe(texts=0, dim=256, loading=1.0, embedding=5e-4, wall=1.0)


@dataclass(frozen=True)
class RunPlan:
    """What a run would do.

    Attributes:
        config: of the run.
        stages: all that it needs, each after those that it depends on.
        missing: those to compute.
        states: of those that lie in the work folder, by name.
        amounts: of raw, and of the target where there is one.
        model: what embeds, and the probe of it; None where nothing is embedded.
        estimate: of what it takes.
        workers: processes.
    """

    config: PipelineConfig
    stages: list[Stage]
    missing: list[Stage]
    states: Mapping[str, StageState]
    amounts: Mapping[str, Amounts]
    model: tuple[EmbeddingModel, EmbeddingProbe] | None
    estimate: Estimate
    workers: int


def plan_run(config: PipelineConfig, workers: int) -> RunPlan:
    """Checks what `hir select` checks, and probes; nothing is written.

    Args:
        config: of a selection.
        workers: processes on this machine.

    Raises:
        UserError: as the selection would, before anything runs.
    """
    check_datasets(config)
    kept = with_kept_choice(config)
    stages = plan_stages(kept, may_distill=False)
    plan = SelectionPlan.of(kept, stages)
    first = _made_first(config, stages)
    last = [plan.duplicates] if config.selection.skip_duplicates else []
    needed = [*first, *stages.all, *last]
    check_apart(inputs_of(config), needed, plan.output, config.mixtures.gmm_checkpoint_dir)
    check_output(plan)
    check_replaceable(plan)
    missing = missing_stages([*first, stages.scores, *last])
    check_stages(stages, missing)
    for stage in missing:
        stage.own_files()
    warm_up_ngrams(config.ngrams)
    display.show("probing")
    datasets = [config.raw, *([config.target] if config.target else [])]
    amounts = {one.role: Amounts.of(one.list_files(), probe_documents(one, config.ngrams)) for one in datasets}
    model = _probed_model(missing, amounts["raw"].probe.texts)
    estimator = Estimator(config, amounts, model and model[1], missing, loading_seconds(), peak_memory())
    states = {one.stage.name: one for one in stage_states(config.work_dir, {one.name: one for one in needed})}
    return RunPlan(config, needed, missing, states, amounts, model, estimator.estimate(workers), workers)


def _made_first(config: PipelineConfig, stages: Stages) -> list[Stage]:
    """The stages that are made before the others are planned."""
    trials = TrialPlan.of(config, may_distill=False) if config.auto else None
    first: list[Stage] = trials.stages if trials else []
    is_static = config.embeddings.embedding_model.startswith(STATIC)
    if is_static and any(isinstance(stage.settings, EmbeddingModel) for stage in stages.all):
        first.append(plan_static_model(config.work_dir, find_named(config.embeddings)))
    return first


def _probed_model(missing: list[Stage], texts: list[str]) -> tuple[EmbeddingModel, EmbeddingProbe] | None:
    models = [stage.settings for stage in missing if isinstance(stage.settings, EmbeddingModel)]
    if not models:
        return None
    if models[0].revision == UNDISTILLED:
        return models[0], _STATIC_MODEL
    return models[0], probe_model(models[0], texts)


def render_plan(plan: RunPlan) -> Iterator[str]:
    """Lines that tell what a run would do."""
    for role, amounts in plan.amounts.items():
        about = f"about {amounts.documents:,} documents"
        files = "1 file" if amounts.files == 1 else f"{amounts.files:,} files"
        yield f"{role}: {files}, {wording.size(amounts.stored)}, {about}"
    yield f"work folder: {plan.config.work_dir}"
    yield from wording.aligned([_row(plan, stage) for stage in plan.stages])
    estimate = plan.estimate
    yield (
        f"estimated time: {display.duration(estimate.seconds)} on this machine as busy as it is, by "
        f"{'1 process' if plan.workers == 1 else f'{plan.workers} processes'}; "
        f"{display.duration(estimate.processor)} of processors"
    )
    yield f"estimated memory: {wording.size(estimate.memory)} in each process, as much in the launcher"
    places = f"{wording.size(estimate.work_bytes)} in the work folder, {wording.size(estimate.output_bytes)} of output"
    yield f"estimated disk: {places}{_free(plan.config.work_dir)}"
    yield f"estimates are of {'; '.join(_probed(plan))}"


def _row(plan: RunPlan, stage: Stage) -> tuple[str, str, str]:
    state = plan.states.get(stage.name)
    if stage.manifest():
        return stage.name, "reused", ""
    if stage.name not in {one.name for one in plan.missing}:
        return stage.name, "not needed", ""
    if state and state.state == "stale":
        return stage.name, "computed again", wording.changes(state.changes)
    if stage.started() == stage.fingerprint:
        return stage.name, "computed", "an interrupted run has begun it"
    return stage.name, "computed", ""


def _probed(plan: RunPlan) -> Iterator[str]:
    """What the estimates come from."""
    probes = [amounts.probe for amounts in plan.amounts.values()]
    read = sum(len(probe.texts) for probe in probes)
    yield f"{read:,} documents ({wording.size(sum(probe.bytes for probe in probes))}) read here now"
    if any(amounts.bytes > amounts.stored for amounts in plan.amounts.values()):
        yield "a usual size of compressed files once unpacked"
    if plan.model:
        model, probe = plan.model
        yield (
            f"{probe.texts} of them embedded"
            if probe.texts
            else f"a usual speed, as {model.name} is not distilled yet"
        )
    if any(stage.name.startswith("gmm/") for stage in plan.missing):
        yield "a usual number of EM iterations"


def _free(folder: str) -> str:
    """What the disk of a local folder has left, in words."""
    if not storage.is_local(folder):
        return ""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return f"; {wording.size(shutil.disk_usage(folder).free)} are free"
