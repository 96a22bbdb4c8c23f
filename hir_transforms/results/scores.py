"""The scores of all raw documents."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hir_transforms.artifacts.stages import Stage
from hir_transforms.results.result import Result, read_tables
from hir_transforms.weights.score_shards import load_score_shards


@dataclass(frozen=True, repr=False)
class Scores(Result):
    """The scores in a work folder.

    `table` has a row for each document that may be selected, in corpus order: where it is, its tokens, the hash of its
    text, and its log weights (lists with a number for each target, where there are several).

    Attributes:
        stage: the complete stage of the scores.
    """

    stage: Stage

    @property
    def manifest(self) -> dict[str, Any]:
        """What the scores were made of, their settings, and what was counted."""
        return self.stage.complete_manifest()

    @property
    def table(self) -> pa.Table:
        """A row for each document that may be selected."""
        return read_tables(shard.path for shard in load_score_shards(self.stage) if shard.path)
