"""Explains what a run has left: a work folder, a stage in it, an output, a static model, or a file of these."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from hir_transforms.artifacts.stages import Stage
from hir_transforms.commands import command_line
from hir_transforms.commands.inspection import inspect
from hir_transforms.commands.running import run_main
from hir_transforms.common.errors import UserError
from hir_transforms.common.messages import tell
from hir_transforms.documents.datasets import listed_once
from hir_transforms.files import storage
from hir_transforms.graph.plan import plan_stages
from hir_transforms.graph.trials import TrialPlan, with_kept_choice
from hir_transforms.selection.plan import plan_duplicates
from hir_transforms.settings.config import PipelineConfig
from hir_transforms.settings.flags import parse_options

_EPILOG = "With flags of 'hir select' (--raw ...) stages are compared with those that a run with them would compute."


def explain(path: str, flags: Sequence[str]) -> None:
    """Prints what an artefact is; stages are compared with what the flags ask for, if there are any."""
    path = os.path.abspath(path) if storage.is_local(path) else path.rstrip("/")
    for line in inspect(path, _planned(path, flags) if flags else None):
        tell(line)


@listed_once()
def _planned(path: str, flags: Sequence[str]) -> Mapping[str, Stage]:
    given = {"work_dir": path} | parse_options(flags, "select").given()
    if not given.get("raw"):
        raise UserError("--raw is required beside other flags: stages are those of its files")
    config = PipelineConfig.of(**given)
    config.check_targets()
    trials = TrialPlan.of(config).stages if config.auto else []
    stages = plan_stages(with_kept_choice(config))
    return {stage.name: stage for stage in (*trials, *stages.all, plan_duplicates(stages.scores))}


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `inspect`; returns the exit status."""
    parser = argparse.ArgumentParser(prog="hir inspect", description=__doc__, epilog=_EPILOG, allow_abbrev=False)
    parser.add_argument("path", metavar="PATH", help="what to explain")
    parsed, flags = parser.parse_known_args(command_line.arguments() if argv is None else argv)
    return run_main("hir inspect", lambda: explain(parsed.path, flags))


if __name__ == "__main__":
    sys.exit(run())
