"""Documents embedded a second: the pipeline on all cores against one process that calls `SentenceTransformer.encode`.

    python -m benchmarks.embeddings --raw corpus.jsonl --documents 400

Both get the same documents. The pipeline's rate is that of the documents that a longer run has more than a shorter
one, so neither side pays for its start.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import apache_beam as beam
import numpy as np
from rich.console import Console
from rich.table import Table

from hir_transforms.datasets import Dataset
from hir_transforms.embedding_model import EmbeddingModel, find_model
from hir_transforms.embedding_shards import read_shard
from pipelines.embeddings import embedding_shards, plan_embeddings
from pipelines.options import SelectOptions, parse_options
from pipelines.running import choose_runner


def embed(lines: list[bytes], folder: Path, model: EmbeddingModel) -> tuple[float, np.ndarray]:
    """Embeds with the pipeline; returns (seconds with start-up, rows [N, D])."""
    folder.mkdir()
    (folder / "raw.jsonl").write_bytes(b"".join(lines))
    dataset = Dataset("raw", (str(folder / "raw.jsonl"),))
    stage = plan_embeddings(str(folder / "work"), dataset, model)
    options = parse_options([], SelectOptions, "benchmark")
    start = time.perf_counter()
    with beam.Pipeline(runner=choose_runner(options, len(lines)), options=options) as pipeline:
        embedding_shards(pipeline, stage, dataset, model)
    seconds = time.perf_counter() - start
    shards = sorted((folder / "work" / "embeddings" / "raw").glob("*.avro"))
    return seconds, np.concatenate([batch.rows for shard in shards for batch in read_shard(str(shard))])


def main() -> None:
    """Runs both and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=400, help="documents to compare on [400]")
    arguments = parser.parse_args()
    model = find_model("all-MiniLM-L6-v2")
    with arguments.raw.open("rb") as raw:
        lines = [line for line, _ in zip(raw, range(2 * arguments.documents), strict=False)]
    more = lines[: arguments.documents]  # the documents that only the longer run has; the peer gets the same
    with tempfile.TemporaryDirectory() as folder:
        short, _ = embed(lines[arguments.documents :], Path(folder) / "short", model)
        long, rows = embed(lines, Path(folder) / "long", model)
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
