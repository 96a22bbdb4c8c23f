"""Scores all raw documents into a work folder, fitting what it takes if that is missing."""

import sys
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.commands import command_line
from hir_transforms.commands.apart import check_apart, inputs_of
from hir_transforms.commands.launching import check_datasets, in_use, lay_out
from hir_transforms.commands.running import run_main
from hir_transforms.common.messages import tell
from hir_transforms.documents.datasets import listed_once
from hir_transforms.graph.plan import plan_stages
from hir_transforms.settings.flags import SelectOptions, parse_options, select_config


def score(options: PipelineOptions) -> None:
    """Checks everything, computes what is missing, and prints what there is."""
    config = select_config(options.view_as(SelectOptions), needs=("raw",))
    with in_use(config.work_dir):
        with listed_once():
            check_datasets(config)
            stages = plan_stages(config)
            check_apart(inputs_of(config), stages.all, checkpoints=config.gmm_checkpoint_dir)
            launch = lay_out(options, config, stages, [stages.scores])
        if launch.run():
            counts = stages.scores.counts()
            tell(f"{counts['read']} read, {counts['rejected']} rejected")
            tell(stages.scores.folder)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `score`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir score", lambda: score(parse_options(arguments, SelectOptions, "hir score")))


if __name__ == "__main__":
    sys.exit(run())
