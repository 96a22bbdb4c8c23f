"""`resample` from saved scores: time and peak memory at large N, and against `data-selection`'s own `resample`.

    python -m benchmarks.resample --folder scratch

Sources and scores are made up: what a selection costs does not depend on what the lines say.
"""

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.ngrams import MB, Run, run_process
from hir_transforms.artifacts.stages import Stage
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.read_tasks import plan_tasks
from hir_transforms.documents.records import ReadTask, SourceFile
from hir_transforms.weights.parts import part_path
from hir_transforms.weights.score_shards import ScoreShard, count_shards, write_scores

MILLION = 1_000_000
LINE_BYTES = 30
LONG_LINE_BYTES = 6000
LONG_FILES = 10
PEER = """
import sys
import numpy as np
from data_selection import HashedNgramDSIR
pattern, cache, out, k, processes = sys.argv[1:]
import glob
model = HashedNgramDSIR(sorted(glob.glob(pattern)), [], cache, num_proc=int(processes))
model.resample(out, int(k), cache_dir=out + ".part")
"""


def write_source(path: Path, num_lines: int, line_bytes: int, seed: int) -> None:
    """A file of lines of one length, newline included, written a piece at a time."""
    generator = np.random.default_rng(seed)
    with path.open("wb") as file:
        for begin in range(0, num_lines, piece := max(1, (16 << 20) // line_bytes)):
            lines = generator.integers(97, 123, (min(piece, num_lines - begin), line_bytes), np.uint8)
            head = np.frombuffer(b'{"text":"', np.uint8)
            lines[:, : len(head)] = head
            lines[:, -3:] = np.frombuffer(b'"}\n', np.uint8)
            file.write(lines.tobytes())


def make_scores(folder: Path, line_bytes: int) -> Stage:
    """Scores of the files in a folder, as `select` would have cut them into shards."""
    raw = Dataset("raw", (f"{folder}/raw/*.jsonl",))
    stage = Stage.create("scores", str(folder / "work"), {"alpha": 1.0}, [raw])
    shards = []
    for task in plan_tasks(raw.list_files()):
        rows = _rows_of(task, line_bytes)
        if rows:
            file, offsets = rows
            generator = np.random.default_rng(task.index)
            columns = {
                "file": pa.array([file.path]).take(pa.array(np.zeros(len(offsets), np.int32))),
                "offset": offsets,
                "length": np.full(len(offsets), line_bytes - 1),
                "num_tokens": generator.integers(50, 2000, len(offsets)).astype(np.int32),
                "text_hash": generator.integers(0, 2**63, len(offsets)).astype(np.uint64),
                "ngram": (weight := generator.normal(0, 100, len(offsets))),
                "weight": weight,
            }
            with write_scores(part_path(stage.folder, task.index), [file], 1) as writer:
                writer.add(columns)
        shards.append(
            ScoreShard(task.index, part_path(stage.folder, task.index), len(rows[1]), 0)
            if rows
            else ScoreShard(task.index, None, 0, 0)
        )
    stage.write_manifest({**count_shards(shards), "num_targets": 1, "target_proportions": [1.0]})
    os.sync()  # what follows is not to wait for the disk
    return stage


def _rows_of(task: ReadTask, line_bytes: int) -> tuple[SourceFile, np.ndarray] | None:
    """The file of a task's groups, which are blocks of one large file, and the offsets of the lines in them."""
    blocks = [block for group in task.groups for block in group]
    file = blocks[0].file
    first = -(-blocks[0].number * task.block_size // line_bytes)
    end = min((blocks[-1].number + 1) * task.block_size, file.size)
    offsets = np.arange(first * line_bytes, end, line_bytes)
    return (file, offsets) if len(offsets) else None


def resample(work: Path, output: Path, k: int, *flags: str) -> Run:
    """The command from start to end."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "pipelines.resample", f"--work_dir={work}", f"--output={output}"]
    return run_process([*command, f"--num_to_sample={k}", "--min_example_length=100", *flags])


def measure_growth(folder: Path, num_millions: float, table: Table) -> None:
    """N documents of short lines in files of ten million, a tenth of them selected."""
    (folder / "raw").mkdir(parents=True)
    for part in range(math.ceil(num_millions / 10)):
        write_source(folder / "raw" / f"{part:03d}.jsonl", int(min(10, num_millions) * MILLION), LINE_BYTES, part)
    stage = make_scores(folder, LINE_BYTES)
    k = int(num_millions * MILLION / 10)
    for name, flags in (("sampling", []), ("--top_k", ["--top_k"])):
        run = resample(Path(stage.work_dir), folder / "out", k, *flags)
        counts = json.loads((folder / "out" / "manifest.json").read_text())["counts"]
        assert counts["selected"] == k
        table.add_row(name, f"{num_millions:g} million", f"{k:,}", f"{run.seconds:.1f}", f"{run.peak:.0f}")
    shutil.rmtree(folder)


def measure_peer(folder: Path, size_mb: int, k: int, table: Table, processes: int) -> None:
    """A corpus of long lines in ten files, k of them selected, against `data-selection` with weights of its own."""
    (folder / "raw").mkdir(parents=True)
    num_lines = size_mb * MB // LONG_LINE_BYTES // LONG_FILES
    cache = folder / "cache"
    (cache / "log_importance_weights").mkdir(parents=True)
    (cache / "perexample_metadata").mkdir()
    for part in range(LONG_FILES):
        write_source(folder / "raw" / f"{part:03d}.jsonl", num_lines, LONG_LINE_BYTES, part)
        np.save(cache / "log_importance_weights" / f"{part}.npy", np.random.default_rng(part).normal(size=num_lines))
        np.save(cache / "perexample_metadata" / f"{part}.npy", np.full(num_lines, 1000))
    stage = make_scores(folder, LONG_LINE_BYTES)
    ours = resample(Path(stage.work_dir), folder / "out", k)
    pattern = f"{folder}/raw/*.jsonl"
    peer_command = [sys.executable, "-c", PEER, pattern, str(cache), f"{folder}/peer", str(k), str(processes)]
    peer = run_process(peer_command)
    written = sum(path.read_bytes().count(b"\n") for path in (folder / "peer").rglob("*.jsonl"))
    assert written == k
    for name, run in (("data-selection", peer), ("hir resample", ours)):
        table.add_row(name, f"{size_mb} MB", f"{k:,}", f"{run.seconds:.1f}", f"{run.peak:.0f}")
    shutil.rmtree(folder)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs everything and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, help="where the inputs are made [the system's temporary folder]")
    parser.add_argument("--millions", default="10", help="numbers of documents, in millions of 30 bytes each [10]")
    parser.add_argument("--peer_mb", type=int, default=3000, help="MB of the corpus for data-selection; 0: no [3000]")
    parser.add_argument("--peer_k", type=int, default=10_000, help="documents selected of it [10000]")
    parser.add_argument("--processes", type=int, default=2, help="processes of data-selection [2]")
    arguments = parser.parse_args(argv)
    columns = ("", "raw", "selected", "s", "peak MB of any process")
    growth, against = Table(*columns, title="resample from scores"), Table(*columns, title="against data-selection")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        for number in filter(None, arguments.millions.split(",")):
            measure_growth(Path(temporary) / number, float(number), growth)
        if arguments.peer_mb:
            folder = Path(temporary) / "peer"
            measure_peer(folder, arguments.peer_mb, arguments.peer_k, against, arguments.processes)
    console = Console(width=120)
    console.print(growth, against)


if __name__ == "__main__":
    main()
