"""Which rows of a score shard repeat a text that came before."""

import io

import numpy as np

from hir_transforms import storage


def duplicate_rows(folder: str, index: int) -> np.ndarray:
    """Row numbers of the duplicates in a score shard, int64 [N], ascending.

    Args:
        folder: where they were written.
        index: of the score shard.
    """
    path = storage.join(folder, f"part-{index:05d}.npy")
    return np.load(io.BytesIO(storage.read_bytes(path))) if storage.exists(path) else np.empty(0, np.int64)
