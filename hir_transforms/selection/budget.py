"""`CheckBudget`: whether there can be enough documents to select, known from their lengths alone."""

from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from hir_transforms.common.combining import MergeCombineFn
from hir_transforms.common.errors import UserError
from hir_transforms.selection.eligible import ScoreCounts, SelectionSettings, too_few
from hir_transforms.weights.parts import DocumentPart, PartReader, part_path


@dataclass(frozen=True)
class _Eligible:
    counts: ScoreCounts
    tokens: int

    def merge(self, other: "_Eligible") -> "_Eligible":
        return _Eligible(self.counts.merge(other.counts), self.tokens + other.tokens)


@dataclass(eq=False)
class CheckBudget(beam.PTransform):
    """`DocumentPart`s -> the number of eligible documents or tokens, where it is enough; duplicates are not told yet.

    Attributes:
        documents: the folder with the parts' documents.
        settings: what is to be selected.

    Raises:
        UserError: when run, if fewer are eligible than asked for.
    """

    documents: str
    settings: SelectionSettings

    def expand(self, parts: beam.PCollection[DocumentPart]) -> beam.PCollection[int]:
        """See the class."""
        return (
            parts
            | "Count" >> beam.Map(_count, self.documents, self.settings.min_example_length)
            | "Sum" >> beam.CombineGlobally(MergeCombineFn(_Eligible.merge))
            | "Check" >> beam.Map(_check, self.settings)
        )


def _count(part: DocumentPart, documents: str, min_example_length: int) -> _Eligible:
    short = eligible = tokens = 0
    if part.rows:
        with PartReader(part_path(documents, part.index)) as reader:
            for table, _ in reader.row_groups(["num_tokens"]):
                num_tokens = table["num_tokens"].to_numpy().astype(np.int64)
                long = num_tokens[num_tokens >= min_example_length]
                short += len(num_tokens) - len(long)
                eligible += len(long)
                tokens += int(long.sum())
    return _Eligible(ScoreCounts(part.rejected, short, 0, eligible), tokens)


def _check(found: _Eligible | None, settings: SelectionSettings) -> int:
    found = found or _Eligible(ScoreCounts(), 0)
    total = found.tokens if settings.counts_tokens else found.counts.eligible
    if total < settings.budget:
        raise UserError(too_few(total, found.counts, settings))
    return total
