"""`ReadSampledTasks`: enough of a corpus to count a given number of n-grams, spread uniformly over all of it."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import apache_beam as beam
import numpy as np

from hir_transforms.compression import is_compressed
from hir_transforms.datasets import Dataset
from hir_transforms.numerics.ngrams import NgramFeaturizer, NgramSettings
from hir_transforms.planning import estimated_bytes, plan_tasks
from hir_transforms.reading import DocumentReader
from hir_transforms.records import Block, BlockSample, ReadTask, SourceFile, block_hash

_PILOT_GROUPS = 16
# Only to tell that a corpus is surely small enough to be read whole.
_MAX_COMPRESSION_RATIO = 40


@dataclass(frozen=True)
class NgramSample:
    """About `num_ngrams` n-grams of a corpus (all orders counted, as DSIR does), in blocks chosen by `seed`."""

    num_ngrams: int
    seed: int


def needs_sampling(num_ngrams: int, settings: NgramSettings, files: list[SourceFile]) -> bool:
    """Whether the files can hold more n-grams than that: a byte ends at most one n-gram of each order."""
    most_bytes = sum(file.size * (_MAX_COMPRESSION_RATIO if is_compressed(file.path) else 1) for file in files)
    return most_bytes * settings.ngrams > num_ngrams


class ReadSampledTasks(beam.PTransform):
    """PBegin -> `ReadTask`s that together hold about as many n-grams as asked for; other bytes are not read.

    The share of blocks to read comes from a pilot: the n-grams a byte in the 16 blocks with the smallest hashes.
    """

    def __init__(self, dataset: Dataset, settings: NgramSettings, sample: NgramSample) -> None:
        super().__init__()
        self._dataset = dataset
        self._settings = settings
        self._sample = sample

    def expand(self, pbegin: beam.Pipeline) -> beam.PCollection[ReadTask]:
        """See the class."""
        return (
            pbegin
            | "Dataset" >> beam.Create([self._dataset])
            | "ListSampledTasks" >> beam.FlatMap(sampled_tasks, self._settings, self._sample)
            | "Spread" >> beam.Reshuffle()
        )


def sampled_tasks(dataset: Dataset, settings: NgramSettings, sample: NgramSample) -> Iterator[ReadTask]:
    """The tasks of `ReadSampledTasks`."""
    files = dataset.list_files()
    density = _ngrams_per_byte(dataset, plan_tasks(files), settings, sample.seed)
    fraction = sample.num_ngrams / max(1.0, density * estimated_bytes(files))
    if fraction >= 1:
        yield from plan_tasks(files)
        return
    blocks = BlockSample(sample.seed, fraction)
    for task in plan_tasks(files):
        groups = tuple(group for group in task.groups if blocks.keeps(group[0]))
        if groups or task.stream is not None:
            yield replace(task, groups=groups, sample=blocks)


def _ngrams_per_byte(dataset: Dataset, tasks: Iterable[ReadTask], settings: NgramSettings, seed: int) -> float:
    """N-grams a byte of input, over the groups whose first blocks have the smallest hashes."""

    def rank(task: ReadTask) -> int:
        first = task.groups[0][0] if task.groups else _first_block(task)
        return block_hash(seed, first)

    reader = DocumentReader(dataset)
    featurizer = NgramFeaturizer(settings)
    counts = np.zeros(settings.num_buckets, np.int64)
    read_bytes = 0
    for task in heapq.nsmallest(_PILOT_GROUPS, _single_groups(tasks), key=rank):
        for group in islice(reader.read(task), 1):
            featurizer.count(group.encoded, counts)
            read_bytes += sum(int(batch.lengths.sum()) + len(batch.lengths) for batch in group.batches)
    return float(counts.sum()) / max(1, read_bytes)


def _single_groups(tasks: Iterable[ReadTask]) -> Iterator[ReadTask]:
    """A task of each group, and of each compressed file."""
    for task in tasks:
        if task.stream is None:
            yield from (replace(task, groups=(group,)) for group in task.groups)
        elif not task.stream.first:
            yield task


def _first_block(task: ReadTask) -> Block:
    assert task.stream is not None
    return Block(task.stream.file, task.stream.first)
