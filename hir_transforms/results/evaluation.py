"""What an evaluation has measured."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hir_transforms.evaluation.table import render_table


@dataclass(frozen=True, repr=False)
class Evaluation:
    """How good selections are; printed, or shown by a notebook, it is the table of `hir evaluate`.

    Attributes:
        measures: all that was measured, as in the JSON of `hir evaluate`.
    """

    measures: Mapping[str, Any]

    def __str__(self) -> str:
        return render_table(self.measures)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"
