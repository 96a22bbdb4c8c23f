"""Tells what `select` would read, compute and use again, and what it would take; changes nothing."""

import copy
import sys
from collections.abc import Sequence

from apache_beam.options.pipeline_options import DirectOptions

from hir_transforms.commands import command_line, display
from hir_transforms.commands.planning import plan_run, render_plan
from hir_transforms.commands.running import choose_runner, run_main
from hir_transforms.common.messages import tell
from hir_transforms.documents.datasets import listed_once
from hir_transforms.documents.read_tasks import max_useful_workers
from hir_transforms.settings.flags import SettingOptions, config_of, parse_options


@listed_once()
def plan(options: SettingOptions) -> None:
    """Checks everything, probes, and prints the plan."""
    config = config_of(options, "plan")
    of_job = copy.deepcopy(options)
    choose_runner(of_job, max_useful_workers(config.raw.list_files()))
    found = plan_run(config, of_job.view_as(DirectOptions).direct_num_workers or 1)
    display.end()
    for line in render_plan(found):
        tell(line)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `plan`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir plan", lambda: plan(parse_options(arguments, "plan")), arguments)


if __name__ == "__main__":
    sys.exit(run())
