"""The documents of the target that a selection is held against: all of them, or a sample of bounded size."""

from collections.abc import Iterator

from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.read_tasks import estimated_bytes, plan_tasks
from hir_transforms.documents.records import Block, ReadTask, block_hash

# Of text that is read of each target, at most so much beyond its first piece.
_MAX_BYTES = 4 << 20


def target_tasks(target: Dataset, num_targets: int) -> Iterator[ReadTask]:
    """The pieces to read: of each target those of the smallest hashes."""
    left = dict.fromkeys(range(num_targets), _MAX_BYTES // num_targets)
    tasks = sorted(
        plan_tasks(target.list_files(), loaded=target.is_loaded, max_task_blocks=1),
        key=lambda task: block_hash(0, _first(task)),
    )
    for task in tasks:
        number = _first(task).file.target if num_targets > 1 else 0
        if left[number] > 0:
            left[number] -= _size(task)
            yield task


def _first(task: ReadTask) -> Block:
    return Block(task.stream.file, task.stream.first) if task.stream else task.groups[0][0]


def _size(task: ReadTask) -> int:
    if task.stream:
        return estimated_bytes([task.stream.file]) // task.stream.step
    return sum(min(block.file.size, task.block_size) for block in task.groups[0])
