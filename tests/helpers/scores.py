"""Score shards of given rows, and the stage of given shards."""

import pyarrow as pa

from hir_transforms.artifacts.stages import Stage
from hir_transforms.weights import score_shards
from hir_transforms.weights.parts import weight_column


def write_scores(path, sources, columns):
    """Writes a shard with documents of these source files; `weight` is float64 [N] or [N, T]."""
    weights = columns.get("weight")
    num_targets = 1 if weights is None or weights.ndim == 1 else weights.shape[1]
    columns = {name: pa.array(column) if isinstance(column, list) else column for name, column in columns.items()}
    if weights is not None:
        columns["weight"] = weight_column(weights.reshape(-1, num_targets))
    with score_shards.write_scores(str(path), sources, num_targets) as writer:
        writer.add(columns)


def complete_scores(work_dir, shards, proportions=None):
    """The complete stage, in `work_dir/scores`, whose manifest lists these shards in this order."""
    stage = Stage.create("scores", str(work_dir), {})
    listed = [[shard.index, shard.rows, shard.rejected] for shard in shards]
    stage.write_manifest({"shards": listed, "target_proportions": proportions})
    return stage
