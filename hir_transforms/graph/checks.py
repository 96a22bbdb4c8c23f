"""What is checked before anything is embedded, as far as it is known by then."""

import functools
from collections.abc import Callable

import apache_beam as beam

from hir_transforms.common.combining import Gather
from hir_transforms.graph.graph import Graph, Node
from hir_transforms.selection.budget import CheckBudget
from hir_transforms.selection.eligible import SelectionSettings


def checks_of(graph: Graph, parts: Node) -> Callable[[str], beam.PCollection | None]:
    """A function of "raw" or "target".

    It gives one element once what is known of this dataset before it is embedded is good; None where nothing is known.
    """

    @functools.cache
    def enough() -> beam.PCollection | None:
        """One element once enough documents may be selected; None where nothing is selected."""
        if not graph.lacks(graph.stages.scores) or not graph.config.selects:
            return None
        settings = SelectionSettings.of(graph.config.selection)
        return parts() | "CheckBudget" >> CheckBudget(graph.stages.documents.folder, settings)

    def text_read(role: str) -> beam.PCollection | None:
        """One element once the text is read and found to be good; None where nothing reads it."""
        reader = graph.stages.ngrams.reader(role) if graph.stages.ngrams else None
        if role == "raw" and graph.lacks(graph.stages.documents):
            read = parts()
        elif reader and graph.lacks(reader):
            read = graph.result(reader)
        else:
            return None
        return read | f"{role.capitalize()}Read" >> beam.combiners.Count.Globally()

    def checked(role: str) -> beam.PCollection | None:
        known = [one for one in (text_read(role), enough()) if one is not None]
        if len(known) < 2:
            return known[0] if known else None
        return known | f"{role.capitalize()}Checks" >> beam.Flatten() | f"{role.capitalize()}Checked" >> Gather()

    return checked
