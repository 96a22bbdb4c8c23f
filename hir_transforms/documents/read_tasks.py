"""Read tasks from a list of files: how a corpus is cut up, from its file sizes alone."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from hir_transforms.documents.records import Block, ReadTask, SourceFile, Stream
from hir_transforms.files.compression import is_compressed
from hir_transforms.files.storage import is_local
from hir_transforms.files.tables import is_arrow, is_table

MIN_BLOCK_SIZE = 1 << 16
MAX_BLOCK_SIZE = 1 << 20
# Of a corpus beyond `_MOST_BLOCKS` of these, blocks are larger, so that their number, and with it that of tasks and of
# files in the work folder, stays one that a worker can list.
MAX_HUGE_BLOCK_SIZE = 1 << 24
_MOST_BLOCKS = 1 << 22
MAX_TASK_BLOCKS = 32
# Enough pieces of work to keep a large cluster or two local cores equally busy until the end.
_PIECES = 64
# Text usually shrinks about four-fold, in Parquet files as most are two-fold; only the grain of the work depends on
# it, and the size of a sample.
_COMPRESSION_RATIO = 4
_TABLE_RATIO = 2
# Parts of the corpus that each stream a whole compressed file and keep their own blocks of it: decompression is
# several times faster than anything done with the text, so a few files are worth reading more than once.
_STREAM_PARTS = 4


def estimated_bytes(files: Iterable[SourceFile]) -> int:
    """Rough uncompressed size of the files, in bytes."""
    return sum(file.size * _ratio(file.path) for file in files)


def _ratio(path: str) -> int:
    if is_table(path) and not is_arrow(path):
        return _TABLE_RATIO
    return _COMPRESSION_RATIO if is_compressed(path) else 1


def is_streamed(path: str) -> bool:
    """Whether nothing but the file itself tells where its blocks are, so that parts of it each look there."""
    return is_table(path) or is_compressed(path)


def max_useful_workers(files: Iterable[SourceFile]) -> int:
    """Number of workers beyond which more could not help, however finely the files are cut."""
    return -(-estimated_bytes(files) // MIN_BLOCK_SIZE)


def choose_block_size(corpus_bytes: int) -> int:
    """Block size in bytes: a power of two, smaller for a small corpus so that it still makes many blocks."""
    size = MIN_BLOCK_SIZE
    while size < MAX_BLOCK_SIZE and size * _PIECES < corpus_bytes:
        size *= 2
    while size < MAX_HUGE_BLOCK_SIZE and size * _MOST_BLOCKS < corpus_bytes:
        size *= 2
    return size


def _groups(files: Iterable[SourceFile], block_size: int) -> Iterator[tuple[Block, ...]]:
    """Groups of blocks in corpus order: each block of a large file by itself, small files of one target together."""
    pending: list[Block] = []
    pending_bytes = 0
    for file in files:
        full = pending_bytes + file.size > block_size
        if pending and (full or pending[-1].file.target != file.target):
            yield tuple(pending)
            pending, pending_bytes = [], 0
        if file.size > block_size:
            yield from ((Block(file, number),) for number in range(-(-file.size // block_size)))
        else:
            pending.append(Block(file, 0))
            pending_bytes += file.size
    if pending:
        yield tuple(pending)


def _most_parts(file: SourceFile, tasks: int) -> int:
    """Parts of a table; one where a part would have to fetch all of it."""
    return 1 if is_arrow(file.path) and not is_local(file.path) else min(_PIECES, tasks)


def with_block(task: ReadTask, number: int) -> ReadTask:
    """A task that reads a block of the stream of another, and of a compressed file then the blocks after it."""
    assert task.stream is not None
    if is_table(task.stream.file.path):
        return replace(task, groups=((Block(task.stream.file, number),),), stream=None)
    return replace(task, stream=Stream(task.stream.file, number, 1))


def plan_tasks(
    files: Sequence[SourceFile], *, loaded: bool = False, max_task_blocks: int = MAX_TASK_BLOCKS
) -> Iterator[ReadTask]:
    """Cuts files into read tasks, in corpus order (a stream's parts share their file's place).

    One task at a time is in memory: a hundred terabytes have six million blocks.

    Args:
        files: the corpus, in order.
        loaded: whether a function loads their records: then a file is a task.
        max_task_blocks: groups a task may hold; 1 gives the finest grain. Groups are the same whatever it is.
    """
    corpus_bytes = estimated_bytes(files)
    block_size = choose_block_size(corpus_bytes)
    task_groups = max(1, min(max_task_blocks, -(-corpus_bytes // (block_size * _PIECES))))
    num_streams = sum(is_compressed(file.path) for file in files)
    parts = max(1, _STREAM_PARTS // max(1, num_streams))
    number = itertools.count()
    if loaded:
        yield from (ReadTask(next(number), block_size, stream=Stream(file, 0, 1)) for file in files)
        return
    for streamed, run in itertools.groupby(files, lambda file: is_streamed(file.path)):
        if streamed:
            for file in run:
                blocks = -(-estimated_bytes([file]) // block_size)
                most = _most_parts(file, -(-blocks // task_groups)) if is_table(file.path) else parts
                step = most if blocks > 1 else 1
                for part in range(step):
                    yield ReadTask(next(number), block_size, stream=Stream(file, part, step))
        else:
            groups = _groups(run, block_size)
            while of_task := tuple(itertools.islice(groups, task_groups)):
                yield ReadTask(next(number), block_size, of_task)
