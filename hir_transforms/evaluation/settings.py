"""The settings of an evaluation: which selections are measured, and what they are held against."""

import functools
from dataclasses import dataclass, replace

from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import NO_EFFECT
from hir_transforms.common.settings import SELECTING, TEXT, Kind, Settings, setting
from hir_transforms.documents.ids import IdParser
from hir_transforms.documents.settings import FILE, PATTERNS

_evaluation = functools.partial(setting, task="evaluation", commands=("evaluate",), metadata=NO_EFFECT)
_label = functools.partial(_evaluation, None, commands=(*SELECTING, "evaluate"))


def _label_field(name: str) -> str | None:
    if name:
        try:
            IdParser(name)
        except UserError as error:
            raise UserError(f"--label_field: {error.problem}") from None
    return name or None


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(Settings):
    """What is measured."""

    selected: tuple[str, ...] = _evaluation(
        (),
        "selections: each an output folder of hir, or a pattern of JSON lines by anybody; may be given several times",
        kind=replace(PATTERNS, is_repeatable=True),
        metavar="DIR|PATTERN[,...]",
    )
    heldout: tuple[str, ...] = _evaluation(
        (), "JSON lines of the wanted kind that the selection was not made with", kind=PATTERNS
    )
    label_field: str | None = _label(
        "field of a label, whose values are counted, for the report those of samples",
        kind=Kind(_label_field, "NAME", ".+"),
    )
    wanted: str | None = _label("the label of wanted documents: their share is the precision", kind=TEXT)
    json: str | None = _evaluation(
        None, "file for all measures; required where workers are on other machines", kind=FILE
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.wanted is not None and self.label_field is None:
            raise UserError("--wanted: needs --label_field, the field that has the label")
