"""A short probe of a corpus on this machine: what its documents are like, and how long one takes."""

import contextlib
import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hir_transforms.documents.datasets import Dataset
from hir_transforms.embeddings.model import EmbeddingModel
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings, num_tokens
from hir_transforms.ngrams.sampling import pilot_groups

# No further group of documents is read after so many seconds of the processor.
_MOST_SECONDS = 1.0
# So many documents tell how long one takes: a second or two of a transformer, nothing of a static model.
_EMBEDDED = 32
_EMBEDDED_STATIC = 512


@dataclass
class Clock:
    """The time of all that was timed.

    Attributes:
        processor: seconds of this process.
        wall: seconds that passed meanwhile.
    """

    processor: float = 0.0
    wall: float = 0.0

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Adds the time of the block."""
        processor, wall = time.process_time(), time.perf_counter()
        yield
        self.processor += time.process_time() - processor
        self.wall += time.perf_counter() - wall


@dataclass(frozen=True)
class DatasetProbe:
    """What a few blocks of a dataset, spread over all of it, tell.

    Attributes:
        bytes: of their documents.
        texts: of their documents.
        tokens: int64 [N], of each document.
        lengths: int64 [N], bytes of each document's line.
        reading, counting: seconds of one processor that reading a byte takes, and counting the n-grams in it.
        wall: seconds that a second of the processor took.
    """

    bytes: int
    texts: list[str]
    tokens: np.ndarray
    lengths: np.ndarray
    reading: float
    counting: float
    wall: float

    @property
    def documents_per_byte(self) -> float:
        """Documents in a byte."""
        return len(self.texts) / max(1, self.bytes)


def probe_documents(dataset: Dataset, settings: NgramSettings) -> DatasetProbe:
    """Reads up to 16 blocks of a dataset, in about a second, and counts their n-grams."""
    featurizer = NgramFeaturizer(settings)
    counts = np.zeros(settings.num_buckets, np.int64)
    reading, counting = Clock(), Clock()
    num_bytes = 0
    texts: list[str] = []
    tokens, lengths = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    groups = pilot_groups(dataset, 0)
    while reading.processor + counting.processor < _MOST_SECONDS:
        with reading.timed():
            _, group = next(groups, (0, None))
        if group is None:
            break
        with counting.timed():
            tokens.append(num_tokens(featurizer.count(group.encoded, counts), settings.ngrams))
        num_bytes += group.num_bytes
        texts += group.texts
        lengths += [batch.lengths for batch in group.batches]
    return DatasetProbe(
        num_bytes,
        texts,
        np.concatenate(tokens),
        np.concatenate(lengths),
        reading.processor / max(1, num_bytes),
        counting.processor / max(1, num_bytes),
        (reading.wall + counting.wall) / max(1e-9, reading.processor + counting.processor),
    )


@dataclass(frozen=True)
class EmbeddingProbe:
    """What embedding a few texts tells.

    Attributes:
        texts: how many.
        dim: numbers in a row.
        loading: seconds of one processor that it takes to load the model.
        embedding: seconds of one processor that a text takes.
        wall: seconds that a second of the processor took.
    """

    texts: int
    dim: int
    loading: float
    embedding: float
    wall: float


@dataclass(frozen=True)
class _Texts:
    texts: list[str]


def probe_model(model: EmbeddingModel, texts: Sequence[str]) -> EmbeddingProbe:
    """Embeds some of the texts, spread over them, as a worker does.

    Raises:
        UserError: for a model that cannot be loaded.
    """
    most = _EMBEDDED_STATIC if model.is_static else _EMBEDDED
    numbers = np.linspace(0, len(texts) - 1, min(most, len(texts))).astype(int)
    chosen = [texts[number] for number in numbers]
    loading, embedding = Clock(), Clock()
    with loading.timed():
        if model.is_static:
            from hir_transforms.embeddings.static_model import load_static_model

            encode = load_static_model(model).encode
        else:
            from hir_transforms.embeddings.model_handler import SentenceTransformerHandler

            handler = SentenceTransformerHandler(model)
            transformer = handler.load_model()

            def encode(texts: Sequence[str]) -> np.ndarray:
                (result,) = handler.run_inference([_Texts([*texts])], transformer)
                return np.asarray(result.inference)

        encode(chosen[:1])  # what is made at the first call
    with embedding.timed():
        rows = encode(chosen)
    return EmbeddingProbe(
        len(chosen),
        rows.shape[1],
        loading.processor,
        embedding.processor / len(chosen),
        embedding.wall / max(1e-9, embedding.processor),
    )


@functools.cache
def loading_seconds() -> float:
    """Seconds of one processor in which a new process loads what a command needs.

    This process may have done anything before.
    """
    program = "import hir_transforms.commands.planning, time; print(time.process_time())"
    # The same modules as here, whatever lies in this folder.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run([sys.executable, "-P", "-c", program], env=environment, capture_output=True, check=True)
    return float(process.stdout.split()[-1])


def peak_memory() -> int:
    """Bytes that this process has had in memory at most."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
