"""Selects again from the scores in a work folder, with another number, seed or way of choosing; no text is scored.

Without `--raw` the scores are taken as they are. With it they must be those of the flags given, but for `--alpha`
and `--weight_scaling`, for which weights are mixed again.
"""

import os
import sys
from collections.abc import Sequence

import apache_beam as beam

from hir_transforms.artifacts.stages import Stage, missing_stages
from hir_transforms.commands import command_line
from hir_transforms.commands.apart import check_apart
from hir_transforms.commands.launching import Launch, build_selection, in_use
from hir_transforms.commands.running import choose_runner, run_main
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset, listed_once
from hir_transforms.graph.plan import plan_stages
from hir_transforms.graph.saved_scores import find_scores, max_useful_workers, plan_from_saved_scores
from hir_transforms.graph.selection import SelectionPlan, is_selected, print_counts, write_selection
from hir_transforms.graph.trials import with_kept_choice
from hir_transforms.settings.config import PipelineConfig
from hir_transforms.settings.flags import SettingOptions, config_of, parse_options

from .select import compose


def resample(options: SettingOptions) -> None:
    """Checks everything, selects and writes, and prints what came out."""
    config = config_of(options, "resample")
    output = config.output.output
    assert output
    with in_use(config.work_dir, output):
        launch = _from_planned_scores(options, config) if config.inputs.raw else _from_saved_scores(options, config)
        if launch.run():
            print_counts(output)


@listed_once()
def _from_planned_scores(options: SettingOptions, config: PipelineConfig) -> Launch:
    config = with_kept_choice(config)
    stages = plan_stages(config)
    if lacking := [stage.name for stage in missing_stages([stages.scores]) if stage is not stages.scores]:
        raise UserError(
            f"--work_dir: {config.work_dir} has no scores of these settings and files ({', '.join(lacking)} missing "
            "or of others); run 'hir score' or 'hir select' with them first"
        )
    # As in `select`, but that all is complete and read, except for the scores of another --alpha.
    return build_selection(options, SelectionPlan.of(config, stages), stages, compose)


def _from_saved_scores(options: SettingOptions, config: PipelineConfig) -> Launch:
    scores, behind, sources = find_scores(config.work_dir)
    plan = plan_from_saved_scores(config, scores, behind)
    # One file of each folder stands for all.
    read = tuple({os.path.dirname(path): path for path in sources}.values())
    kept: list[Stage] = [plan.duplicates, *(Stage(name, config.work_dir, {}, (), (), "") for name in behind)]
    check_apart([Dataset("work_dir", read)], kept, plan.output)
    if is_selected(plan):
        return Launch([], [])
    workers = max_useful_workers(scores, sum(sources.values()), config.selection.num_to_sample)
    pipeline = beam.Pipeline(runner=choose_runner(options, workers), options=options)
    computed: list[Stage] = [plan.duplicates] if plan.finds_duplicates else []
    write_selection(plan, pipeline | "Scores" >> beam.Create([scores.alone()]))
    return Launch([pipeline], computed)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `resample`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir resample", lambda: resample(parse_options(arguments, "resample")), arguments)


if __name__ == "__main__":
    sys.exit(run())
