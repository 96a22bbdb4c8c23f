"""Settings that are left to `auto` are chosen before anything else is planned, by a job of their own."""

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from hir_transforms.artifacts.stages import Stage, missing_stages
from hir_transforms.commands import wording
from hir_transforms.commands.apart import check_apart, inputs_of
from hir_transforms.commands.input_checks import check_complete_stage
from hir_transforms.commands.launching import Launch, check_datasets, check_num_rows_of, prepare, warm_up_ngrams
from hir_transforms.commands.running import choose_runner
from hir_transforms.common.errors import UserError
from hir_transforms.common.messages import warn
from hir_transforms.documents.datasets import listed_once
from hir_transforms.documents.read_tasks import max_useful_workers
from hir_transforms.graph.plan import plan_stages
from hir_transforms.graph.selection import SelectionPlan, check_output, check_replaceable
from hir_transforms.graph.trials import TrialPlan, choices_of
from hir_transforms.settings.config import PipelineConfig
from hir_transforms.tuning.candidates import Candidate

# What each candidate found: its settings, the recall and its standard error.
Trials = Sequence[Mapping[str, Any]]


def choose(options: PipelineOptions, config: PipelineConfig) -> tuple[PipelineConfig, Trials | None]:
    """The config with nothing left to be chosen, and the trials; these are told, and None where none were needed.

    Raises:
        UserError: for what cannot be tried, what the run itself would end with before it begins, and a runner that
            does not wait for the end of the trials.
    """
    if not config.auto:
        return config, None
    if len(choices_of(config).candidates()) == 1:
        return config.chosen({}), None
    flag = config.auto[0]
    if options.view_as(GoogleCloudOptions).template_location:
        raise UserError(
            f"--{flag}: auto takes a job of its own, which a template cannot; give a value ('hir tune' tells which)"
        )
    counts = run_trials(options, config)
    if counts is None:
        raise UserError(f"--{flag}: auto waits for its trials, which were handed over; run again once they end")
    warn(trials_table(counts))
    return config.chosen(_left(config, counts["chosen"])), counts["trials"]


def _left(config: PipelineConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings of a candidate those that the config leaves to be chosen."""
    return {name: value for name, value in values.items() if name in config.auto}


def run_trials(options: PipelineOptions, config: PipelineConfig) -> Mapping[str, Any] | None:
    """What the manifest of the trials says, which are run where they are missing; None where they only began.

    Raises:
        UserError: for what cannot be tried, and what a selection would end with before it begins.
    """
    with listed_once():
        check_datasets(config)
        plan = TrialPlan.of(config)
        check_apart(inputs_of(config), plan.stages, config.output.output)
        for stage in plan.stages:
            check_complete_stage(stage)
        missing = plan.missing
        if not missing:
            return plan.trials.counts()
        _check_selections(config)
        check_num_rows_of(missing)
        warm_up_ngrams(config.ngrams)
        prepare(missing)
        workers = max_useful_workers(config.raw.list_files())
    of_job = copy.deepcopy(options)  # runners change what they are given
    pipeline = beam.Pipeline(runner=choose_runner(of_job, workers), options=of_job)
    plan.add_to(pipeline)
    return plan.trials.counts() if Launch([pipeline], missing).run() else None


def _check_selections(config: PipelineConfig) -> None:
    """Raises `UserError` for what a selection by some candidate would end with, before any is tried."""
    found: dict[str, Stage] = {}
    for candidate in _unlike(choices_of(config).candidates()):
        chosen = config.chosen(_left(config, candidate.settings()))
        stages = plan_stages(chosen)
        for stage in stages.all:
            check_complete_stage(stage)
            found[stage.fingerprint] = stage
        check_apart(inputs_of(config), stages.all, config.output.output, config.mixtures.gmm_checkpoint_dir)
    for stage in missing_stages(found.values()):
        stage.own_files()
    if config.output.output:
        selection = SelectionPlan.of(chosen, stages)
        check_output(selection)
        check_replaceable(selection)


def _unlike(candidates: Sequence[Candidate]) -> list[Candidate]:
    """One candidate of each pair of estimators: the share of each shows in no file that is read."""
    return [*{(one.ngram, one.embedding): one for one in candidates}.values()]


def trials_table(counts: Mapping[str, Any]) -> str:
    """The trials as text: of each pair of estimators the chosen alpha or that which found most, by what they found."""

    def pair(trial: Mapping[str, Any]) -> tuple[Any, ...]:
        return trial["ngram_estimator"], trial["embedding_estimator"], trial["embedding_dim"]

    def is_chosen(trial: Mapping[str, Any]) -> bool:
        return all(trial[name] == value for name, value in counts["chosen"].items())

    rows = [("n-grams", "embeddings", "dimensions", "alpha", "found", "standard error", "")]
    best = [
        max(of_pair, key=lambda trial: (is_chosen(trial), trial["recall"]))
        for _, of_pair in itertools.groupby(counts["trials"], pair)
    ]
    for trial in sorted(best, key=lambda trial: -trial["recall"]):
        dim = trial["embedding_dim"]
        rows.append(
            (
                trial["ngram_estimator"] or "-",
                trial["embedding_estimator"] or "-",
                "-" if dim is None else f"{dim or 'all'}",
                f"{trial['alpha']:g}",
                f"{trial['recall']:.3f}",
                f"{trial['standard_error']:.3f}",
                "chosen" if is_chosen(trial) else "",
            )
        )
    return "\n".join(wording.aligned(rows))
