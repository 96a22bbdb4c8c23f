"""Measures how good selections are, whoever made them, against the target and a random selection of the same size."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions

from hir_transforms.commands import command_line
from hir_transforms.commands.input_checks import check_has_text
from hir_transforms.commands.launching import warm_up_ngrams
from hir_transforms.commands.running import choose_runner, run_main
from hir_transforms.common.errors import UserError
from hir_transforms.common.messages import tell
from hir_transforms.documents.datasets import listed_once
from hir_transforms.documents.read_tasks import max_useful_workers
from hir_transforms.evaluation.table import render_table
from hir_transforms.files import storage
from hir_transforms.graph.evaluation import EvaluationPlan, add_evaluation, check_result_path
from hir_transforms.runners.named import run_to_end
from hir_transforms.settings.flags import SettingOptions, config_of, parse_options


def evaluate(options: SettingOptions) -> None:
    """Checks everything, measures, and prints the table."""
    config = config_of(options, "evaluate")
    with _result_path(config.evaluation.json, options) as path:
        with listed_once():
            plan = EvaluationPlan.of(config, path)
            for name, dataset in plan.datasets.items():
                check_has_text(dataset, by_target=plan.settings[name].num_targets > 1)
            warm_up_ngrams(config.ngrams)
            files = [file for dataset in plan.datasets.values() for file in dataset.list_files()]
        pipeline = beam.Pipeline(runner=choose_runner(options, max_useful_workers(files)), options=options)
        add_evaluation(pipeline, plan)
        if run_to_end(pipeline):
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


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `evaluate`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir evaluate", lambda: evaluate(parse_options(arguments, "evaluate")))


if __name__ == "__main__":
    sys.exit(run())
