"""`ReadTasks`: the pieces of a dataset as a PCollection; `DocumentReader`: the documents of one piece."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import apache_beam as beam

from hir_transforms.common import metrics
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.examples import line_parser
from hir_transforms.documents.file_kinds import require_text
from hir_transforms.documents.ids import IdParser
from hir_transforms.documents.jsonl import BlockLines, parse_blocks
from hir_transforms.documents.loaded_documents import LoadedDocuments
from hir_transforms.documents.read_tasks import MAX_TASK_BLOCKS, plan_tasks
from hir_transforms.documents.records import Block, DocumentBatch, DocumentGroup, ReadTask, Reject, Stream
from hir_transforms.documents.rejects import describe_reject
from hir_transforms.documents.table_documents import TableDocuments
from hir_transforms.files import storage
from hir_transforms.files.blocks import RandomAccess, read_lines
from hir_transforms.files.last_opened import LastOpened
from hir_transforms.files.tables import is_table


@dataclass(eq=False)
class ReadTasks(beam.PTransform):
    """PBegin -> `ReadTask`s of a dataset, spread over the workers.

    Files are matched inside the pipeline: the graph stays small however many there are. With `after`, a PCollection of
    one, that happens once it is there.
    """

    dataset: Dataset
    _: KW_ONLY
    max_task_blocks: int = MAX_TASK_BLOCKS
    after: beam.PCollection | None = None

    def expand(self, pbegin: beam.Pipeline) -> beam.PCollection[ReadTask]:
        """See the class."""
        return (
            pbegin
            | "Dataset" >> beam.Create([self.dataset])
            | "ListTasks"
            >> beam.FlatMap(
                _list_tasks,
                None if self.after is None else beam.pvalue.AsSingleton(self.after),
                max_task_blocks=self.max_task_blocks,
            )
            | "Spread" >> beam.Reshuffle()
        )


def _list_tasks(dataset: Dataset, _: Any, *, max_task_blocks: int) -> Iterator[ReadTask]:
    return plan_tasks(dataset.list_files(), loaded=dataset.is_loaded, max_task_blocks=max_task_blocks)


def count_read(stage: str, group: DocumentGroup) -> None:
    """Counts what was read of a group among the metrics of a stage: documents, their bytes, rejected lines."""
    num_bytes = sum(int(batch.lengths.sum()) for batch in group.batches)
    documents = sum(len(batch.texts) for batch in group.batches)
    metrics.count(stage, documents=documents, bytes=num_bytes)
    if group.rejects:
        reasons = Counter(reject.kind for reject in group.rejects)
        metrics.count(stage, **{f"rejected.{reason}": number for reason, number in reasons.items()})


class DocumentReader:
    """Reads the documents of read tasks, with the ids in `id_field` if that is given; made by a DoFn in `setup`."""

    def __init__(self, dataset: Dataset, id_field: str | None = None) -> None:
        self._dataset = dataset
        self._id_parser = IdParser(id_field) if id_field else None
        self._parser = line_parser(dataset)
        self._tables = TableDocuments(dataset, id_field)
        function = dataset.load_dataset_fn
        self._loaded = LoadedDocuments(dataset, function, id_field) if function else None

    def read(self, task: ReadTask) -> Iterator[DocumentGroup]:
        """The groups of a task in corpus order, one at a time in memory."""
        stream = task.stream
        if self._loaded is not None:
            yield from self._read_loaded(self._loaded, task)
            return
        if stream is not None and is_table(stream.file.path):
            yield from self._read_rows(stream, task.block_size, task.keeps)
            return
        if stream is not None:
            yield from self._read_stream(task)
            return
        with LastOpened(storage.open_blocks) as sources:
            for blocks in filter(lambda blocks: task.keeps(blocks[0]), task.groups):
                if is_table(blocks[0].file.path):
                    yield from self._read_rows(Stream(blocks[0].file, 0, 1), task.block_size, blocks[0].__eq__)
                    continue
                # Not a list: its bytes would be held while the group is worked on.
                lines = (self._read_block(sources.get(block.file.path), block, task.block_size) for block in blocks)
                group = self._parse(blocks[0], filter(None, lines))
                if group.batches:  # not of empty files alone
                    yield group

    def _read_stream(self, task: ReadTask) -> Iterator[DocumentGroup]:
        stream = task.stream
        assert stream is not None
        with storage.open_blocks(stream.file.path) as source:
            for number in itertools.count(stream.first, stream.step):
                block = Block(stream.file, number)
                if task.keeps(block):
                    group = self._parse(block, filter(None, [self._read_block(source, block, task.block_size)]))
                    if not group.batches:
                        return
                    yield group
                else:
                    start = number * task.block_size
                    source.release(start)
                    if not source.read_at(start, 1):
                        return

    def _read_loaded(self, loaded: LoadedDocuments, task: ReadTask) -> Iterator[DocumentGroup]:
        stream = task.stream
        if stream is not None:
            wanted = [(stream.file, lambda block: block.number >= stream.first and task.keeps(block))]
        else:
            wanted = [(group[0].file, group[0].__eq__) for group in task.groups]
        for file, keeps in wanted:
            for batch, rejects in loaded.read(file, task.block_size, keeps):
                yield self._group((file.index, batch.block), [batch], rejects)

    def _read_rows(self, part: Stream, block_size: int, keeps: Callable[[Block], bool]) -> Iterator[DocumentGroup]:
        for batch, rejects in self._tables.read(part.file, part.first, part.step, block_size, keeps):
            yield self._group((part.file.index, batch.block), [batch], rejects)

    def _read_block(self, source: RandomAccess, block: Block, block_size: int) -> BlockLines | None:
        """A block's lines; None past the end of the file."""
        lines = read_lines(source, block.number, block_size, self._dataset.max_document_bytes)
        if lines and not block.number:
            require_text(block.file.path, lines[1])
        return lines and BlockLines(block.file, block.number, *lines)

    def _parse(self, first: Block, blocks: Iterable[BlockLines]) -> DocumentGroup:
        batches, rejects = parse_blocks(
            self._parser,
            list(blocks),
            max_document_bytes=self._dataset.max_document_bytes,
            id_parser=self._id_parser,
        )
        return self._group((first.file.index, first.number), batches, rejects)

    def _group(self, key: tuple[int, int], batches: list[DocumentBatch], rejects: list[Reject]) -> DocumentGroup:
        if rejects and self._dataset.on_bad_record == "fail":
            raise UserError(f"--{self._dataset.role}: {describe_reject(rejects[0])} (--on_bad_record fail)")
        return DocumentGroup(key, batches, rejects)
