"""Values that a transform is given as they are, or as collections of one that a pipeline computes."""

from typing import Any

import apache_beam as beam


def as_side_input(value: Any) -> Any:
    """A collection of one element as the side input of this element; any other value as it is."""
    return beam.pvalue.AsSingleton(value) if isinstance(value, beam.PCollection) else value
