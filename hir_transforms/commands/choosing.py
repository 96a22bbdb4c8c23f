"""An n-gram estimator that is left to `auto` is chosen before anything else is planned, by a job of its own."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from hir_transforms.commands.apart import check_apart, inputs_of
from hir_transforms.commands.input_checks import check_complete_stage
from hir_transforms.commands.launching import Launch, check_datasets, prepare, warm_up_ngrams
from hir_transforms.commands.running import choose_runner
from hir_transforms.common.errors import UserError
from hir_transforms.common.messages import warn
from hir_transforms.documents.datasets import listed_once
from hir_transforms.documents.read_tasks import max_useful_workers
from hir_transforms.graph.trials import trials_of, try_estimators
from hir_transforms.settings.config import PipelineConfig

# What each estimator found: its name, the recall and its standard error.
Trials = Sequence[Mapping[str, Any]]


def choose(options: PipelineOptions, config: PipelineConfig) -> tuple[PipelineConfig, Trials | None]:
    """The config with nothing left to be chosen, and the trials; these are told, and None where none were needed.

    Raises:
        UserError: for what cannot be tried, and a runner that does not wait for the end of the trials.
    """
    if not config.leaves_estimator:
        return config, None
    if options.view_as(GoogleCloudOptions).template_location:
        raise UserError(
            "--ngram_estimator: auto takes a job of its own, which a template cannot; give ratio or classifier "
            "('hir tune' tells which)"
        )
    counts = run_trials(options, config)
    if counts is None:
        raise UserError(
            "--ngram_estimator: auto waits for its trials, which were handed over; run again once they end"
        )
    warn(trials_table(counts))
    return config.with_estimator(counts["chosen"]), counts["trials"]


def run_trials(options: PipelineOptions, config: PipelineConfig) -> Mapping[str, Any] | None:
    """What the manifest of the trials says, which are run where they are missing; None where they only began.

    Raises:
        UserError: for what cannot be tried.
    """
    with listed_once():
        check_datasets(config)
        stage = trials_of(config)
        check_apart(inputs_of(config), [stage], config.output.output)
        check_complete_stage(stage)
        if stage.manifest():
            return stage.counts()
        warm_up_ngrams(config.ngrams)
        prepare([stage])
        workers = max_useful_workers(config.raw.list_files())
    of_job = copy.deepcopy(options)  # runners change what they are given
    pipeline = beam.Pipeline(runner=choose_runner(of_job, workers), options=of_job)
    try_estimators(pipeline, stage)
    return stage.counts() if Launch([pipeline], [stage]).run() else None


def trials_table(counts: Mapping[str, Any]) -> str:
    """The trials as text."""
    rows = [("n-grams", "found", "standard error", "")]
    for trial in counts["trials"]:
        name = trial["ngram_estimator"]
        mark = "chosen" if name == counts["chosen"] else ""
        rows.append((name, f"{trial['recall']:.3f}", f"{trial['standard_error']:.3f}", mark))
    return "\n".join("  ".join([f"{row[0]:<10}", f"{row[1]:>5}", f"{row[2]:>14}", row[3]]).rstrip() for row in rows)
