"""Documents embedded a second: the pipeline on all cores against `SentenceTransformer.encode` in one process.

    python -m benchmarks.embeddings --raw corpus.jsonl --documents 400
    python -m benchmarks.embeddings --raw corpus.jsonl --documents 20000 --static FOLDER

Both get the same documents. The pipeline's rate is that of the documents that a longer run has more than a shorter
one, so neither side pays for its start. With a static model (a folder of `hir distill`) a second peer is a bare loop
of `model2vec`'s own encode in a process for each core, and the transformer gets the first 200 documents alone.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import joblib
import numpy as np
from rich.console import Console
from rich.table import Table

from hir_transforms.embeddings.model import find_model
from hir_transforms.embeddings.shards import read_shard
from pipelines import embed

_OF_TRANSFORMER = 200
_LOOP_BATCH = 1024


def embed_lines(lines: Sequence[bytes], folder: Path, model: str) -> tuple[float, np.ndarray]:
    """Embeds with the pipeline; returns (seconds with start-up, rows [N, D]), exits with its status if it fails."""
    folder.mkdir()
    (folder / "raw.jsonl").write_bytes(b"".join(lines))
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        status = embed.run(
            [f"--raw={folder / 'raw.jsonl'}", f"--work_dir={folder / 'work'}", f"--embedding_model={model}"]
        )
    seconds = time.perf_counter() - start
    if status:
        sys.exit(status)
    shards = sorted((folder / "work" / "embeddings" / "raw").glob("*.avro"))
    return seconds, np.concatenate([batch.rows for shard in shards for batch in read_shard(str(shard))])


def encode_loop(folder: str, texts: list[str]) -> tuple[float, float, np.ndarray]:
    """The library's own loop in one process; returns (start, end, rows [N, D])."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(folder, quantize_to="float32")
    model.encode(texts[:1])
    start = time.time()
    batches = [texts[first : first + _LOOP_BATCH] for first in range(0, len(texts), _LOOP_BATCH)]
    rows = [model.encode(batch, use_multiprocessing=False) for batch in batches]
    return start, time.time(), np.concatenate(rows)


def encode_static(folder: str, texts: list[str]) -> tuple[float, np.ndarray]:
    """The library's own loop in a process a core; returns (seconds, rows [N, D])."""
    processes = min(joblib.cpu_count(), len(texts))
    size = -(-len(texts) // processes)
    parts = [(folder, texts[first : first + size]) for first in range(0, len(texts), size)]
    with get_context("spawn").Pool(processes) as pool:
        done = pool.starmap(encode_loop, parts, chunksize=1)
    starts, ends, rows = zip(*done, strict=True)
    return max(ends) - min(starts), np.concatenate(rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs all and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=400, help="documents to compare on [400]")
    parser.add_argument("--static", metavar="FOLDER", help="a static model to embed with instead of the transformer")
    arguments = parser.parse_args(argv)
    model = find_model("all-MiniLM-L6-v2")
    with arguments.raw.open("rb") as raw:
        lines = [line for line, _ in zip(raw, range(2 * arguments.documents), strict=False)]
    more = lines[: arguments.documents]  # the documents that only the longer run has; the peers get the same
    name = arguments.static or model.name
    with tempfile.TemporaryDirectory() as folder:
        short, _ = embed_lines(lines[arguments.documents :], Path(folder) / "short", name)
        long, rows = embed_lines(lines, Path(folder) / "long", name)
    ours = len(more) / (long - short)

    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(model.locate())
    texts = [json.loads(line)["text"] for line in more]
    of_transformer = texts[:_OF_TRANSFORMER] if arguments.static else texts
    encoder.encode(texts[:32])
    start = time.perf_counter()
    expected = encoder.encode(of_transformer)
    peer = len(of_transformer) / (time.perf_counter() - start)
    table = Table("", "documents a second", "x peer")
    table.add_row("SentenceTransformer.encode, one process", f"{peer:.1f}", "1.0")
    if arguments.static:
        seconds, expected = encode_static(arguments.static, texts)
        loop = len(texts) / seconds
        table.add_row("StaticModel.encode, a process a core", f"{loop:.1f}", f"{loop / peer:.2f}")
    table.add_row("hir embed, all cores", f"{ours:.1f}", f"{ours / peer:.2f}")
    console = Console()
    console.print(table)
    console.print(f"largest difference of a coordinate: {np.abs(rows[: len(more)] - expected).max():.1e}")


if __name__ == "__main__":
    main()
