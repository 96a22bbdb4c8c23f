"""The settings of how a command runs."""

from dataclasses import dataclass

from hir_transforms.common.fingerprints import NO_EFFECT
from hir_transforms.common.settings import ALL_COMMANDS, Settings, setting


@dataclass(frozen=True, kw_only=True)
class RunOptions(Settings):
    """What a command tells of itself while it runs."""

    no_progress: bool = setting(
        False,
        "do not show how far the stages are",
        task="messages",
        commands=ALL_COMMANDS,
        metadata=NO_EFFECT,
    )
