"""Tries estimators and alpha on hidden target documents, and prints what finds most: what `auto` would choose."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from hir_transforms.commands import command_line
from hir_transforms.commands.choosing import run_trials, trials_table
from hir_transforms.commands.launching import in_use
from hir_transforms.commands.running import run_main
from hir_transforms.common.messages import tell
from hir_transforms.settings.config import SETTINGS
from hir_transforms.settings.flags import SettingOptions, config_of, parse_options


def tune(options: SettingOptions) -> None:
    """Checks everything, runs the trials if they are missing, and prints what they found."""
    config = config_of(options, "tune")
    given = options.given().keys() - {*config.auto}
    if config.weights.weight_per_token:
        given |= {"ngram_estimator"}  # which is of the ratio alone
    config = replace(
        config, auto=tuple(name for name, one in SETTINGS.items() if one.declaration.can_be_auto and name not in given)
    )
    with in_use(config.work_dir):
        counts = run_trials(options, config)
    if counts:
        tell(trials_table(counts))


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `tune`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir tune", lambda: tune(parse_options(arguments, "tune")), arguments)


if __name__ == "__main__":
    sys.exit(run())
