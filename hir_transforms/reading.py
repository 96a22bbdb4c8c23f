"""`ReadTasks`: the pieces of a dataset as a PCollection; `DocumentReader`: the documents of one piece."""

import contextlib
import itertools
from collections.abc import Iterator

import apache_beam as beam

from hir_transforms import storage
from hir_transforms.blocks import RandomAccess, read_lines
from hir_transforms.datasets import Dataset
from hir_transforms.parsing import TextParser, parse_block
from hir_transforms.planning import MAX_TASK_BLOCKS, plan_tasks
from hir_transforms.records import Block, DocumentGroup, ReadTask, SourceFile


class ReadTasks(beam.PTransform):
    """PBegin -> `ReadTask`s of a dataset, spread over the workers.

    Files are matched inside the pipeline: the graph stays small however many there are.
    """

    def __init__(self, dataset: Dataset, *, max_task_blocks: int = MAX_TASK_BLOCKS) -> None:
        super().__init__()
        self._dataset = dataset
        self._max_task_blocks = max_task_blocks

    def expand(self, pbegin: beam.Pipeline) -> beam.PCollection[ReadTask]:
        """See the class."""
        return (
            pbegin
            | "Dataset" >> beam.Create([self._dataset])
            | "ListTasks" >> beam.FlatMap(_list_tasks, max_task_blocks=self._max_task_blocks)
            | "Spread" >> beam.Reshuffle()
        )


def _list_tasks(dataset: Dataset, *, max_task_blocks: int) -> list[ReadTask]:
    return plan_tasks(dataset.list_files(), max_task_blocks=max_task_blocks)


class DocumentReader:
    """Reads the documents of read tasks; a plain object that a DoFn makes in `setup`."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._parser = TextParser(dataset.text_field)

    def read(self, task: ReadTask) -> Iterator[DocumentGroup]:
        """The groups of a task in corpus order, one at a time in memory."""
        if task.stream is not None:
            yield from self._read_stream(task)
            return
        with contextlib.ExitStack() as opened:
            file: SourceFile | None = None
            for blocks in filter(lambda blocks: task.keeps(blocks[0]), task.groups):
                group = DocumentGroup((blocks[0].file.index, blocks[0].number), [])
                for block in blocks:
                    if block.file != file:
                        opened.close()
                        source = opened.enter_context(storage.open_blocks(block.file.path))
                        file = block.file
                    self._read_block(source, block.file, block.number, task.block_size, group)
                yield group

    def _read_stream(self, task: ReadTask) -> Iterator[DocumentGroup]:
        stream = task.stream
        assert stream is not None
        with storage.open_blocks(stream.file.path) as source:
            for number in itertools.count(stream.first, stream.step):
                if task.keeps(Block(stream.file, number)):
                    group = DocumentGroup((stream.file.index, number), [])
                    if not self._read_block(source, stream.file, number, task.block_size, group):
                        return
                    yield group
                else:
                    start = number * task.block_size
                    source.release(start)
                    if not source.read_at(start, 1):
                        return

    def _read_block(
        self, source: RandomAccess, file: SourceFile, number: int, block_size: int, group: DocumentGroup
    ) -> bool:
        """Adds a block's documents and rejects to the group; False past the end of the file."""
        limit = self._dataset.max_document_bytes
        lines = read_lines(source, number, block_size, limit)
        if lines is None:
            return False
        base, data = lines
        batch, rejects = parse_block(self._parser, file, number, data, base, max_document_bytes=limit)
        group.batches.append(batch)
        group.rejects.extend(rejects)
        return True
