"""Fits the n-gram estimator and the mixtures into a work folder, where later runs find them."""

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


def fit(options: PipelineOptions) -> None:
    """Checks everything, computes what is missing, and prints where it is."""
    config = select_config(options.view_as(SelectOptions), needs=("raw", "target"))
    with in_use(config.work_dir):
        with listed_once():
            check_datasets(config)
            stages = plan_stages(config)
            check_apart(inputs_of(config), stages.all, checkpoints=config.gmm_checkpoint_dir)
            launch = lay_out(options, config, stages, stages.models)
        if launch.run():
            for stage in stages.models:
                tell(stage.folder)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `fit`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir fit", lambda: fit(parse_options(arguments, SelectOptions, "hir fit")))


if __name__ == "__main__":
    sys.exit(run())
