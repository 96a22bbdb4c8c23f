"""What partial results come together by: a merge that does not care about their order, in small elements."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

# No element that a runner has to move is larger than 1 MB: sort and network buffers of clusters are small.
_CHUNK_VALUES = 1 << 16

Chunk = tuple[tuple[str, int], Any]


@dataclass(eq=False)
class MergeCombineFn(beam.CombineFn):
    """Folds elements with `merge(a, b)`, which must be exact, associative and commutative, and leave a and b alone.

    The result of no element is None.
    """

    merge: Callable[[Any, Any], Any]

    def create_accumulator(self) -> Any:
        """None, the merge of nothing."""
        return None

    def add_input(self, accumulator: Any, element: Any) -> Any:
        """Accumulators and elements are the same kind of thing."""
        if accumulator is None:
            return element
        return accumulator if element is None else self.merge(accumulator, element)

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        """Folds accumulators like elements."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged = self.add_input(merged, accumulator)
        return merged

    def extract_output(self, accumulator: Any) -> Any:
        """The accumulator is the result."""
        return accumulator


class Gather(beam.PTransform):
    """All elements -> one list of them, in no order; an empty one of none.

    Unlike `beam.combiners.ToList`, it makes no element of the whole list that a runner would have to move: each
    element comes by itself, as a side input. So what is applied to the list should make something small of it.
    """

    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[list[Any]]:
        """See the class."""
        return (
            elements.pipeline
            | "Once" >> beam.Impulse()
            | "List" >> beam.Map(lambda _, found: list(found), beam.pvalue.AsIter(elements))
        )


def to_chunks(arrays: Mapping[str, Any]) -> Iterator[Chunk]:
    """Values by name, as ((name, number of the piece), piece); arrays of integers in pieces of at most 512 KB."""
    for name, values in arrays.items():
        if not isinstance(values, np.ndarray):
            yield (name, 0), values
            continue
        flat = values.reshape(-1)
        for number, first in enumerate(range(0, len(flat), _CHUNK_VALUES)):
            yield (name, number), flat[first : first + _CHUNK_VALUES]


def from_chunks(chunks: Iterable[Chunk]) -> dict[str, Any]:
    """What `to_chunks` cut up, from the pieces in any order; arrays come back flat. Nothing of no pieces."""
    found: dict[str, dict[int, Any]] = {}
    for (name, number), piece in chunks:
        found.setdefault(name, {})[number] = piece
    return {
        name: np.concatenate([pieces[number] for number in sorted(pieces)])
        if isinstance(pieces[0], np.ndarray)
        else pieces[0]
        for name, pieces in found.items()
    }


def chunks_of_bundle(arrays: Mapping[str, Any]) -> Iterator[WindowedValue]:
    """What `to_chunks` gives, to be emitted when a bundle ends, in the global window."""
    window = GlobalWindow()
    for chunk in to_chunks(arrays):
        yield WindowedValue(chunk, window.max_timestamp(), (window,))


def merge_chunks(one: Any, other: Any) -> Any:
    """The sum of two pieces; what has a `merge` of its own is merged by that."""
    return one.merge(other) if hasattr(one, "merge") else one + other


class SumChunks(beam.PTransform):
    """Pieces of `to_chunks` -> one piece of each name and number, the exact sum of all; small ones at each step."""

    def expand(self, chunks: beam.PCollection[Chunk]) -> beam.PCollection[Chunk]:
        """See the class."""
        return chunks | "Sum" >> beam.CombinePerKey(MergeCombineFn(merge_chunks))
