"""The settings of which documents are selected, and of how they are written."""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import NO_EFFECT
from hir_transforms.common.settings import (
    INT32_MAX,
    INT64_MAX,
    KEEPING,
    SELECTING,
    SIGNED_NUMBER,
    WHOLE_NUMBER,
    Kind,
    Settings,
    choice,
    in_range,
    setting,
)
from hir_transforms.documents.settings import FOLDER
from hir_transforms.files.compression import COMPRESSIONS

JSONL, PARQUET = FORMATS = ("jsonl", "parquet")
_FORMAT = choice(*FORMATS)
_MAX_SHARDS = 99_999  # five digits of a file's name

_selection_setting = functools.partial(setting, task="selection", commands=SELECTING)
_budget = functools.partial(
    _selection_setting, None, kind=WHOLE_NUMBER, check=in_range(1), commands=(*SELECTING, "tune")
)
_output = functools.partial(setting, task="output", commands=SELECTING)


@dataclass(frozen=True)
class SamplingSettings(Settings):
    """How many documents to select, and how; at most one of the two budgets is given.

    Attributes:
        num_to_sample: documents to select.
        num_tokens_to_sample: most tokens that the selected documents have together.
        top_k: the largest weights; otherwise the largest weight + Gumbel noise, which samples without replacement.
        seed: of the noise.
        min_example_length: documents of fewer tokens are never selected.
    """

    num_to_sample: int | None = _budget("documents to select")
    num_tokens_to_sample: int | None = _budget("most tokens to select, instead of a number of documents")
    top_k: bool = _selection_setting(False, "take the documents of the largest weights instead of sampling")
    seed: int = _selection_setting(0, "seed of the sample", kind=SIGNED_NUMBER, check=in_range(-INT64_MAX))
    min_example_length: int = _selection_setting(
        100,
        "fewest tokens of a selected document",
        commands=("select", "score", "tune", "resample"),
        check=in_range(0, INT32_MAX),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_to_sample is not None and self.num_tokens_to_sample is not None:
            raise UserError("--num_to_sample and --num_tokens_to_sample: give one of them, not both")

    @property
    def budget(self) -> int:
        """Documents or tokens to select."""
        budget = self.num_tokens_to_sample if self.num_to_sample is None else self.num_to_sample
        assert budget is not None
        return budget

    @property
    def counts_tokens(self) -> bool:
        """Whether the budget is of tokens."""
        return self.num_to_sample is None


def _shares(value: str | Iterable[float]) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(float(share) for share in parts)
    except (TypeError, ValueError):
        raise ValueError("numbers with commas between them") from None


def _bad_shares(shares: tuple[float, ...]) -> str:
    good = all(share >= 0 for share in shares) and 0 < sum(shares) < math.inf
    return "" if good else "numbers of at least 0, not all 0"


@dataclass(frozen=True)
class SelectionOptions(SamplingSettings):
    """Which documents to select."""

    skip_duplicates: bool = _selection_setting(
        False, "of documents with the same text, only the first in the corpus is eligible"
    )
    target_proportions: tuple[float, ...] | None = _selection_setting(
        None,
        "share of each target in the selection",
        task="several targets",
        kind=Kind(_shares, "P,P,...", r"[0-9]*\.?[0-9]+(,[0-9]*\.?[0-9]+)*"),
        check=_bad_shares,
        shown_default="its share of n-grams, or with --alpha 0 of documents",
    )

    def check_num_targets(self, num_targets: int, hint: str = "") -> None:
        """Raises `UserError` unless there is a share for each target."""
        if self.target_proportions is not None and len(self.target_proportions) != num_targets:
            raise UserError(
                f"--target_proportions: {len(self.target_proportions)} shares for {num_targets} "
                f"target{'s' if num_targets > 1 else ''}{hint}"
            )


@dataclass(frozen=True, kw_only=True)
class OutputOptions(Settings):
    """Where the selection is written, and in how many files of which kind."""

    output: str | None = _output(
        None,
        "folder for the result; --work_dir is OUTPUT.work beside it by default",
        commands=KEEPING,
        kind=FOLDER,
        metadata=NO_EFFECT,
    )
    overwrite: bool = _output(False, "replace an existing output", metadata=NO_EFFECT)
    no_report: bool = _output(False, "leave out report.html and report.json", metadata=NO_EFFECT)
    num_shards: int = _output(
        0, "output files; 0 chooses by size, about 256 MB each", check=in_range(0, _MAX_SHARDS, "0 chooses by size")
    )
    compression: str = _output("none", "compression of the output files", kind=choice(*COMPRESSIONS))
    output_format: str | None = _output(
        None,
        "format of the output files",
        kind=_FORMAT,
        shown_default="jsonl; parquet if all of --raw is Parquet or Arrow",
    )
