"""The one CombineFn: merges partial results with a function that does not care about their order."""

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam


class MergeCombineFn(beam.CombineFn):
    """Folds elements with `merge(a, b)`, which must be exact, associative and commutative, and leave a and b alone.

    The result of no element is None.
    """

    def __init__(self, merge: Callable[[Any, Any], Any]) -> None:
        self._merge = merge

    def create_accumulator(self) -> Any:
        """None, the merge of nothing."""
        return None

    def add_input(self, accumulator: Any, element: Any) -> Any:
        """Accumulators and elements are the same kind of thing."""
        if accumulator is None:
            return element
        return accumulator if element is None else self._merge(accumulator, element)

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        """Folds accumulators like elements."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged = self.add_input(merged, accumulator)
        return merged

    def extract_output(self, accumulator: Any) -> Any:
        """The accumulator is the result."""
        return accumulator
