"""A graph in the making: of the stages, what is missing is computed, and what that takes is read."""

import functools
from collections.abc import Callable, Iterable

import apache_beam as beam
from apache_beam.utils.shared import Shared

from hir_transforms.artifacts.stages import Stage
from hir_transforms.documents.reading import ReadTasks
from hir_transforms.graph.plan import Stages
from hir_transforms.settings.config import PipelineConfig

# A part of the graph: it is added when it is first called, and is the same PCollection from then on. So the functions
# that make nodes of others can say how everything hangs together, and what nobody needs is not in the graph.
Node = Callable[[], beam.PCollection]


class Graph:
    """A pipeline, and what its nodes are made of.

    Args:
        pipeline: to add to.
        config: the settings.
        stages: as planned.
        missing: the stages to compute; the others are complete and read from their artefacts.
    """

    def __init__(self, pipeline: beam.Pipeline, config: PipelineConfig, stages: Stages, missing: Iterable[Stage]):
        self.pipeline = pipeline
        self.config = config
        self.stages = stages
        # One featurizer a process, whether it counts or scores: its cache of buckets stays warm.
        self.shared = Shared()
        # The `ReadTask`s of raw; one list of its files for all who read it.
        self.raw_tasks: Node = functools.cache(lambda: pipeline | "Raw" >> ReadTasks(config.raw))
        self._missing = frozenset(stage.name for stage in missing)
        self._nodes: dict[str, Node] = {}

    def lacks(self, stage: Stage | None) -> bool:
        """Whether a stage is to be computed."""
        return stage is not None and stage.name in self._missing

    def node(self, stage: Stage, *, compute: Node, read: Node) -> Node:
        """The node of a stage's result: computed if it is missing, else read."""
        self._nodes[stage.name] = functools.cache(compute if self.lacks(stage) else read)
        return self._nodes[stage.name]

    def result(self, stage: Stage) -> beam.PCollection:
        """What the node of a stage gives."""
        return self._nodes[stage.name]()

    def complete(self, wanted: Iterable[Stage]) -> None:
        """Adds the nodes of these stages, those of them that are missing."""
        for stage in wanted:
            if self.lacks(stage):
                self.result(stage)
