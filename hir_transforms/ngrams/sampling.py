"""`ReadSampledTasks`: enough of a corpus for a number of n-grams or documents, spread uniformly over all of it."""

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import apache_beam as beam
import numpy as np

from hir_transforms.common import metrics
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.read_tasks import estimated_bytes, is_streamed, plan_tasks, with_block
from hir_transforms.documents.reading import DocumentReader
from hir_transforms.documents.records import BlockSample, DocumentGroup, ReadTask, SourceFile, block_hash, block_hashes
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings

_PILOT_GROUPS = 16
# Candidates for these: some blocks of compressed files, whose uncompressed size is a guess, turn out not to exist.
_PILOT_CANDIDATES = 4 * _PILOT_GROUPS
# To read a block of a compressed file all before it is decompressed, so the pilot goes no further into one than this.
# A block there is as likely to be taken as one of a plain file: that a file's beginning is unlike the rest does no
# harm but in files that begin so for longer.
_PILOT_STREAM_BLOCKS = 32
# How many more documents are read than wanted: the pilot's blocks may hold fewer, longer ones than the others.
_MORE_DOCUMENTS = 1.25
# Only to tell that a corpus is surely small enough to be read whole.
_MAX_COMPRESSION_RATIO = 40


@dataclass(frozen=True)
class NgramSample:
    """About `num_ngrams` n-grams of a corpus (all orders counted, as DSIR does), in blocks chosen by `seed`."""

    num_ngrams: int
    seed: int

    def fraction(self, pilot: "Pilot", num_bytes: int) -> float:
        """The share of all blocks to read, of a corpus of so many bytes."""
        return self.num_ngrams / max(1.0, pilot.ngrams_per_byte * num_bytes)


@dataclass(frozen=True)
class DocumentSample:
    """At least about `num_documents` documents of a corpus, in blocks chosen by `seed`."""

    num_documents: int
    seed: int

    def fraction(self, pilot: "Pilot", num_bytes: int) -> float:
        """The share of all blocks to read, of a corpus of so many bytes."""
        return _MORE_DOCUMENTS * self.num_documents / max(1.0, pilot.documents_per_byte * num_bytes)


def needs_sampling(num_ngrams: int, settings: NgramSettings, files: list[SourceFile]) -> bool:
    """Whether the files can hold more n-grams than that: a byte ends at most one n-gram of each order."""
    most_bytes = sum(file.size * (_MAX_COMPRESSION_RATIO if is_streamed(file.path) else 1) for file in files)
    return most_bytes * settings.ngrams > num_ngrams


@dataclass(eq=False)
class ReadSampledTasks(beam.PTransform):
    """PBegin -> `ReadTask`s that together hold about as much as asked for; other bytes are not read.

    Blocks are read whose hashes are below a share of all hashes. The share comes from a pilot: what a byte holds in
    the 16 blocks with the smallest hashes. At least the first of these that has text is read, and where none has, all
    are: a corpus with text never gives a sample without.

    Attributes:
        dataset: what is sampled.
        settings: what n-grams are.
        sample: how much is wanted.
        stage: the name of the stage that reads it, for the metrics; None for the counts of the dataset.
    """

    dataset: Dataset
    settings: NgramSettings
    sample: NgramSample | DocumentSample
    stage: str | None = None

    def expand(self, pbegin: beam.Pipeline) -> beam.PCollection[ReadTask]:
        """See the class."""
        return (
            pbegin
            | "Dataset" >> beam.Create([self.dataset])
            | "ListSampledTasks" >> beam.FlatMap(sampled_tasks, self.settings, self.sample, self.stage)
            | "Spread" >> beam.Reshuffle()
        )


def sampled_tasks(
    dataset: Dataset, settings: NgramSettings, sample: NgramSample | DocumentSample, stage: str | None = None
) -> Iterator[ReadTask]:
    """The tasks of `ReadSampledTasks`."""
    files = dataset.list_files()
    fraction = _fraction(dataset, files, settings, sample)
    metrics.count(stage or f"counts/{dataset.role}", bytes_to_read=round(min(1.0, fraction) * estimated_bytes(files)))
    if fraction >= 1:
        yield from plan_tasks(files, loaded=dataset.is_loaded)
        return
    blocks = BlockSample(sample.seed, fraction)
    for task in plan_tasks(files, loaded=dataset.is_loaded):
        groups = tuple(group for group in task.groups if blocks.keeps(group[0]))
        if groups or task.stream is not None:
            yield replace(task, groups=groups, sample=blocks)


def holds_all(sample: NgramSample | DocumentSample, dataset: Dataset, settings: NgramSettings) -> bool:
    """Whether all of a dataset is in its sample; reads its pilot."""
    return _fraction(dataset, dataset.list_files(), settings, sample) >= 1


def _fraction(
    dataset: Dataset, files: list[SourceFile], settings: NgramSettings, sample: NgramSample | DocumentSample
) -> float:
    """The share of all blocks to read: of 1 and more, all."""
    pilot = _run_pilot(dataset, settings, sample.seed)
    return max(sample.fraction(pilot, estimated_bytes(files)), math.nextafter(pilot.first_hash, math.inf) / 2.0**64)


@dataclass(frozen=True)
class Pilot:
    """N-grams and documents a byte in the groups read, and the hash of the first group with any n-gram.

    Without text that is 0 n-grams, and a hash beyond all.
    """

    ngrams_per_byte: float
    documents_per_byte: float
    first_hash: float


def _run_pilot(dataset: Dataset, settings: NgramSettings, seed: int) -> Pilot:
    featurizer = NgramFeaturizer(settings)
    counts = np.zeros(settings.num_buckets, np.int64)
    read_bytes = num_documents = 0
    first_hash = 2.0**64
    for hashed, group in pilot_groups(dataset, seed):
        if featurizer.count(group.encoded, counts).any():
            first_hash = min(first_hash, float(hashed))
        read_bytes += group.num_bytes
        num_documents += len(group.encoded)
    return Pilot(float(counts.sum()) / max(1, read_bytes), num_documents / max(1, read_bytes), first_hash)


def pilot_groups(dataset: Dataset, seed: int) -> Iterator[tuple[int, DocumentGroup]]:
    """The groups of a dataset whose first blocks have the smallest hashes, and these hashes; a few of all."""
    reader = DocumentReader(dataset)
    tasks = plan_tasks(dataset.list_files(), loaded=dataset.is_loaded)
    candidates = heapq.nsmallest(_PILOT_CANDIDATES, _candidates(tasks, seed), key=lambda candidate: candidate[0])
    groups = (
        (hashed, next(reader.read(with_block(task, number) if task.stream else task), None))
        for hashed, task, number in candidates
    )
    yield from itertools.islice(((hashed, group) for hashed, group in groups if group is not None), _PILOT_GROUPS)


def _candidates(tasks: Iterable[ReadTask], seed: int) -> Iterator[tuple[int, ReadTask, int]]:
    """Hash of each group's first block, a task of this group or of its stream, and the block's number."""
    for task in tasks:
        if task.stream is None:
            for group in task.groups:
                yield block_hash(seed, group[0]), replace(task, groups=(group,)), group[0].number
        elif not task.stream.first:  # the first of the parts that share a file
            file = task.stream.file
            num_blocks = min(_PILOT_STREAM_BLOCKS, -(-estimated_bytes([file]) // task.block_size))
            hashes = block_hashes(seed, file, np.arange(num_blocks)).tolist()
            yield from ((hashed, task, number) for number, hashed in enumerate(hashes))
