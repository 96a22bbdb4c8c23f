"""Measures how good selections are, whoever made them, against the target and a random selection of the same size."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions

from hir_transforms.commands import command_line, display
from hir_transforms.commands.input_checks import check_has_text
from hir_transforms.commands.launching import in_use, warm_up_ngrams
from hir_transforms.commands.progress import Progress
from hir_transforms.commands.running import choose_runner, run_main
from hir_transforms.common.errors import UserError
from hir_transforms.common.messages import tell
from hir_transforms.documents.datasets import listed_once
from hir_transforms.documents.read_tasks import estimated_bytes, max_useful_workers
from hir_transforms.embeddings.plan import find_embedding_model
from hir_transforms.evaluation.table import render_table
from hir_transforms.files import storage
from hir_transforms.graph.evaluation import EvaluationPlan, add_evaluation, check_result_path
from hir_transforms.runners.named import run_to_end
from hir_transforms.settings.flags import SettingOptions, config_of, parse_options


def evaluate(options: SettingOptions) -> None:
    """Checks everything, measures, and prints the table."""
    config = config_of(options, "evaluate")
    with _result_path(config.evaluation.json, options) as path, _model_folder(config.work.work_dir) as folder:
        with listed_once():
            plan = EvaluationPlan.of(config, path)
            for name, dataset in plan.datasets.items():
                check_has_text(dataset, by_target=plan.settings[name].num_targets > 1)
            if options.given().get("embedding_model"):
                plan = replace(plan, model=find_embedding_model(folder, config.embeddings))
            warm_up_ngrams(config.ngrams)
            files = [file for dataset in plan.datasets.values() for file in dataset.list_files()]
            sizes = {step.name: estimated_bytes(one.list_files()) for step in plan.steps for one in step.datasets}
        pipeline = beam.Pipeline(runner=choose_runner(options, max_useful_workers(files)), options=options)
        add_evaluation(pipeline, plan)
        if run_to_end(pipeline, Progress(plan.steps, sizes).watch):
            display.end()
            tell(render_table(json.loads(storage.read_bytes(path))))
            if config.evaluation.json:
                tell(path)


@contextlib.contextmanager
def _result_path(path: str | None, options: SettingOptions) -> Iterator[str]:
    """The file that is asked for, or one on this machine that is deleted when it was read."""
    if path:
        check_result_path(path)
        yield path
        return
    runner = options.view_as(StandardOptions).runner
    if runner not in (None, "DirectRunner", "FnApiRunner", "PrismRunner"):
        raise UserError(f"--json is required with --runner {runner}: a file that its workers can write")
    with tempfile.TemporaryDirectory() as folder:
        yield os.path.join(folder, "evaluation.json")


@contextlib.contextmanager
def _model_folder(work_dir: str | None) -> Iterator[str]:
    """The work folder, where a model that is distilled stays, or one that is deleted with it."""
    if work_dir:
        with in_use(work_dir):
            yield work_dir
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield folder


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `evaluate`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir evaluate", lambda: evaluate(parse_options(arguments, "evaluate")), arguments)


if __name__ == "__main__":
    sys.exit(run())
