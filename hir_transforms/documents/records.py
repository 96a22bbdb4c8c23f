"""The records that pipelines pass on: references to text, never the corpus itself."""

from dataclasses import dataclass, field
from functools import cached_property

import msgspec
import numpy as np
import xxhash

from hir_transforms.documents.identity import identity_hash


class SourceFile(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One file of a dataset.

    Attributes:
        index: position in the corpus (0-based): patterns in the order given, paths sorted within a pattern.
        path: as Beam's file systems name it.
        name: the path relative to the folder that holds the whole dataset; with an offset, or the number of a row, a
            document's identity.
        size: stored bytes.
        modified: modification time, seconds since the epoch (0 where the store has none).
        target: which of the target's patterns names it (0-based); 0 for every file of raw.
    """

    index: int
    path: str
    name: str
    size: int
    modified: float
    target: int = 0


class Block(msgspec.Struct, frozen=True, gc=False):
    """The lines of one file that start in bytes [number * block_size, (number + 1) * block_size), uncompressed.

    Of a table: rows of one row group, see `TableDocuments`. Of what a function loads: a run of its records.
    """

    file: SourceFile
    number: int


@dataclass(frozen=True)
class Stream:
    """Every `step`-th block of a compressed file, from block `first` to the end of the file.

    Of a table: part `first` of `step` parts, each a run of blocks. Of what a function loads: every block from
    `first` on.
    """

    file: SourceFile
    first: int
    step: int


def block_hash(seed: int, block: Block) -> int:
    """The 64-bit hash by which blocks are sampled."""
    return int(block_hashes(seed, block.file, np.array([block.number]))[0])


def block_hashes(seed: int, file: SourceFile, numbers: np.ndarray) -> np.ndarray:
    """The hashes of several blocks of one file, uint64 [N]; see `block_hash`."""
    return identity_hash(seed, file.name, numbers, purpose="blocks")


@dataclass(frozen=True)
class BlockSample:
    """A uniform sample of blocks: a pure function of (seed, file, block), whoever reads them."""

    seed: int
    fraction: float

    def keeps(self, block: Block) -> bool:
        """Whether the block is in the sample."""
        return float(block_hash(self.seed, block)) < self.fraction * 2.0**64


@dataclass(frozen=True)
class ReadTask:
    """What one worker reads in one go: groups of blocks in corpus order, or a stream of a compressed file.

    With a `sample`, only the groups whose first block is in it are read.

    A group is one block of a large file, or the only blocks of several small ones: about `block_size` bytes. Groups
    depend on the input alone, so whatever is computed a group at a time does not depend on the runner.
    """

    index: int
    block_size: int
    groups: tuple[tuple[Block, ...], ...] = ()
    stream: Stream | None = None
    sample: BlockSample | None = None

    def keeps(self, block: Block) -> bool:
        """Whether the group that starts with `block` is to be read."""
        return self.sample is None or self.sample.keeps(block)


@dataclass
class DocumentBatch:
    """The usable documents of one block, in file order.

    Attributes:
        file: the source file.
        block: number of the block within it.
        offsets: int64 [N], byte offset of each line in the uncompressed file; of a table, numbers of rows, and of what
            a function loads, numbers of records.
        lengths: int64 [N], bytes of each line, or record as such, without its newline; of a table, of each text in
            UTF-8.
        texts: the N texts.
        ids: of the N documents, None for one that has none; None where nobody asked for them.
    """

    file: SourceFile
    block: int
    offsets: np.ndarray
    lengths: np.ndarray
    texts: list[str]
    ids: list[str | None] | None = None


@dataclass(frozen=True)
class Reject:
    """A line, row or record that could not be used: where it is, why, and its first 200 characters.

    Attributes:
        unit: what the offset counts, for messages.
    """

    file: str
    offset: int
    reason: str
    excerpt: str
    unit: str = "byte"

    @property
    def kind(self) -> str:
        """The reason by which it is counted, without what an exception says of this line alone."""
        return self.reason.partition(": ")[0]


@dataclass
class DocumentGroup:
    """The batches of one group of blocks; `key` = (file index, block) of the first block names it for good."""

    key: tuple[int, int]
    batches: list[DocumentBatch]
    rejects: list[Reject] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """All texts of the group, in corpus order."""
        return [text for batch in self.batches for text in batch.texts]

    @cached_property
    def encoded(self) -> list[bytes]:
        """All texts of the group in UTF-8."""
        return [text.encode() for text in self.texts]

    @cached_property
    def text_hashes(self) -> np.ndarray:
        """The 64-bit hash of each text, uint64 [N]."""
        return np.array([xxhash.xxh3_64_intdigest(text) for text in self.encoded], np.uint64)

    @property
    def num_bytes(self) -> int:
        """Bytes of the lines of its documents, with a newline each."""
        return sum(int(batch.lengths.sum()) + len(batch.lengths) for batch in self.batches)

    @property
    def target(self) -> int:
        """The target that the group's files belong to, see `SourceFile`."""
        return self.batches[0].file.target
