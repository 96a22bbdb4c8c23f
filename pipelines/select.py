"""The main job: raw and target in, the selected documents out, as one pipeline."""

import sys
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.commands import command_line
from hir_transforms.commands.apart import check_apart, inputs_of
from hir_transforms.commands.launching import Launch, check_datasets, in_use, lay_out
from hir_transforms.commands.running import run_main
from hir_transforms.documents.datasets import listed_once
from hir_transforms.graph.plan import Stages, plan_stages
from hir_transforms.graph.scores import ScoreGraph
from hir_transforms.graph.selection import add_selection, duplicates_stage, is_selected, print_counts
from hir_transforms.settings.config import SelectConfig
from hir_transforms.settings.flags import SelectOptions, parse_options, select_config


def select(options: PipelineOptions) -> None:
    """Checks everything, runs the pipeline, and prints what came out."""
    config = select_config(options.view_as(SelectOptions))
    with in_use(config.work_dir, config.output):
        with listed_once():
            check_datasets(config)
            launch = lay_out_selection(options, config, plan_stages(config))
        if launch.run():
            print_counts(config)


def lay_out_selection(options: PipelineOptions, config: SelectConfig, stages: Stages) -> Launch:
    """Makes ready the pipeline that computes what is missing, and selects."""
    settings = config.settings()
    kept = [*stages.all, duplicates_stage(stages.scores)]
    check_apart(inputs_of(config), kept, config.output, config.gmm_checkpoint_dir)
    if is_selected(config, stages.scores, settings):
        return Launch([], [])

    def extend(graph: ScoreGraph) -> None:
        add_selection(
            graph.scores,
            config,
            stages.scores,
            num_targets=config.num_targets,
            stages=[stage.name for stage in stages.all],
            settings=settings,
        )

    return lay_out(options, config, stages, [stages.scores], extend)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `select`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir select", lambda: select(parse_options(arguments, SelectOptions, "hir select")))


if __name__ == "__main__":
    sys.exit(run())
