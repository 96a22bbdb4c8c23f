"""Documents embedded a second: the pipeline on all cores against one process that calls `SentenceTransformer.encode`.

    python -m benchmarks.embeddings --raw corpus.jsonl --documents 400

Both get the same documents. The pipeline's rate is that of the documents that a longer run has more than a shorter
one, so neither side pays for its start.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from hir_transforms.embeddings.model import find_model
from hir_transforms.embeddings.shards import read_shard
from pipelines import embed


def embed_lines(lines: Sequence[bytes], folder: Path) -> tuple[float, np.ndarray]:
    """Embeds with the pipeline; returns (seconds with start-up, rows [N, D]), exits with its status if it fails."""
    folder.mkdir()
    (folder / "raw.jsonl").write_bytes(b"".join(lines))
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        status = embed.run([f"--raw={folder / 'raw.jsonl'}", f"--work_dir={folder / 'work'}"])
    seconds = time.perf_counter() - start
    if status:
        sys.exit(status)
    shards = sorted((folder / "work" / "embeddings" / "raw").glob("*.avro"))
    return seconds, np.concatenate([batch.rows for shard in shards for batch in read_shard(str(shard))])


def main(argv: Sequence[str] | None = None) -> None:
    """Runs both and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=400, help="documents to compare on [400]")
    arguments = parser.parse_args(argv)
    model = find_model("all-MiniLM-L6-v2")
    with arguments.raw.open("rb") as raw:
        lines = [line for line, _ in zip(raw, range(2 * arguments.documents), strict=False)]
    more = lines[: arguments.documents]  # the documents that only the longer run has; the peer gets the same
    with tempfile.TemporaryDirectory() as folder:
        short, _ = embed_lines(lines[arguments.documents :], Path(folder) / "short")
        long, rows = embed_lines(lines, Path(folder) / "long")
    ours = len(more) / (long - short)

    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(model.locate())
    texts = [json.loads(line)["text"] for line in more]
    encoder.encode(texts[:32])
    start = time.perf_counter()
    expected = encoder.encode(texts)
    peer = len(texts) / (time.perf_counter() - start)
    table = Table("", "documents a second", "x peer")
    table.add_row("SentenceTransformer.encode, one process", f"{peer:.1f}", "1.0")
    table.add_row("hir embed, all cores", f"{ours:.1f}", f"{ours / peer:.2f}")
    console = Console()
    console.print(table)
    console.print(f"largest difference of a coordinate: {np.abs(rows[: len(more)] - expected).max():.1e}")


if __name__ == "__main__":
    main()
