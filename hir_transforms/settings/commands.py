"""The commands that take settings: what each does, which settings it reads, and which it cannot do without."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hir_transforms.common.settings import FROM_RAW, Setting
from hir_transforms.settings.config import SETTINGS


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        name: after `hir`.
        description: what it does.
        required: names of the settings that must be given.
        kept_in: name of the setting of the place that others than the launcher find the result in; None where there is
            no result.
        like: name of the command whose settings it reads, if not its own.
    """

    name: str
    description: str
    required: tuple[str, ...]
    kept_in: str | None = "work_dir"
    like: str | None = None

    @property
    def settings(self) -> Mapping[str, Setting]:
        """Those that it reads, by name."""
        names = {self.name, FROM_RAW} if self.name == "resample" else {self.like or self.name}
        return {name: one for name, one in SETTINGS.items() if names.intersection(one.declaration.commands)}


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "select", "Selects raw documents distributed like the target, end to end.", ("raw", "output"), "output"
        ),
        Command("fit", "Fits the n-gram estimator and the mixtures.", ("raw", "target")),
        Command("embed", "Embeds raw or target documents once, for any number of selections.", ()),
        Command("score", "Scores raw documents.", ("raw",)),
        Command(
            "tune",
            "Tries estimators and alpha on hidden target documents, and tells what finds most.",
            ("raw", "target"),
        ),
        Command("resample", "Selects again from the scores of an earlier selection.", ("output",)),
        Command(
            "plan",
            "Tells what 'hir select' would read, compute and take, and changes nothing.",
            ("raw", "output"),
            kept_in=None,
            like="select",
        ),
        Command("evaluate", "Measures how good selections are.", ("selected", "target"), "json"),
    )
}


def by_task(settings: Iterable[Setting]) -> dict[str, list[Setting]]:
    """Settings under the headings of help and documentation."""
    found: dict[str, list[Setting]] = {}
    for one in settings:
        found.setdefault(one.declaration.task, []).append(one)
    return found
