"""DSIR end to end (fit, score, resample): this project against `data-selection`, on the same file and cores.

    python -m benchmarks.ngrams --raw corpus.jsonl --target target.jsonl

Sizes beyond the corpus are reached by its files under other names. The peer's time grows linearly, so its rate is
measured on a slice. Every run is a process of its own and starts from nothing but the compilation cache.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
from rich.console import Console
from rich.table import Table

from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.read_tasks import plan_tasks
from hir_transforms.documents.reading import DocumentReader
from hir_transforms.documents.records import ReadTask
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings, warm_up

MB = 1_000_000
PARTS = 10
TINY_BYTES = 60_000
HASHES = ("sha256", "fast")
PEER = """
import sys
from data_selection import HashedNgramDSIR
raw, target, folder, k, processes = sys.argv[1:]
model = HashedNgramDSIR([raw], [target], folder + "/cache", num_proc=int(processes))
model.fit_importance_estimator(num_tokens_to_fit="all")
model.compute_importance_weights()
model.resample(folder + "/selected", int(k), cache_dir=folder + "/part")
"""


# A process of its own, because the peak that the system reports for a child counts its parent's memory at the fork.
LAUNCHER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([done.returncode, seconds, peak, done.stdout.decode()]))
"""


class Run(NamedTuple):
    """A whole process with its children: wall seconds, and the peak resident MB of the largest one."""

    seconds: float
    peak: float


def run_process(arguments: Sequence[str]) -> Run:
    """Runs a command to its end; raises `SystemExit` with what it printed if it fails."""
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *arguments], stdout=subprocess.PIPE, check=True)
    status, seconds, peak, printed = json.loads(done.stdout)
    if status:
        sys.exit(printed)
    return Run(seconds, peak * 1024 / MB)


def split_corpus(raw: Path, folder: Path) -> list[Path]:
    """Ten files of consecutive lines."""
    folder.mkdir()
    size = -(-raw.stat().st_size // PARTS)
    with raw.open("rb") as source:
        for part in range(PARTS):
            with (folder / f"raw-{part:02d}.jsonl").open("wb") as out:
                while out.tell() < size and (line := source.readline()):
                    out.write(line)
    return sorted(folder.iterdir())


def make_size(parts: list[Path], folder: Path, size: float) -> int:
    """Links parts into a folder, again under other names if need be, up to about `size` bytes; returns the bytes."""
    folder.mkdir()
    total = 0
    while total + parts[0].stat().st_size / 2 < size:
        for part in parts:
            if total + part.stat().st_size / 2 >= size:
                break
            os.link(part, folder / f"{len(list(folder.iterdir())):05d}.jsonl")
            total += part.stat().st_size
    return total


def select(raw: str, target: Path, work: Path, k: int, *flags: str) -> Run:
    """`select` of `k` documents with n-grams alone, default workers, from an empty work folder."""
    shutil.rmtree(work, ignore_errors=True)
    inputs = [f"--raw={raw}", f"--target={target}", f"--output={work / 'out'}"]
    settings = ["--alpha=1", f"--num_to_sample={k}", "--num_tokens_to_fit=all", *flags]
    return run_process([sys.executable, "-m", "pipelines.select", *inputs, *settings])


def read_all(arguments: tuple[Dataset, ReadTask]) -> int:
    """Reads and decodes a task's documents and does nothing with them; returns the number of documents."""
    dataset, task = arguments
    return sum(len(group.texts) for group in DocumentReader(dataset).read(task))


def floor_seconds(dataset: Dataset, processes: int) -> float:
    """Time to read and decode the corpus on all cores, processes started beforehand."""
    work = [(dataset, task) for task in plan_tasks(dataset.list_files())]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(read_all, work[:processes])
        start = time.perf_counter()
        pool.map(read_all, work, chunksize=1)
        return time.perf_counter() - start


def profile_pass(dataset: Dataset, settings: NgramSettings) -> dict[str, float]:
    """Seconds of one core in each part of a scoring pass over the dataset."""
    reader, featurizer = DocumentReader(dataset), NgramFeaturizer(settings)
    log_ratio = np.zeros((1, settings.num_buckets))
    reading = scoring = 0.0
    for task in plan_tasks(dataset.list_files()):
        start = time.perf_counter()
        for group in reader.read(task):
            read = time.perf_counter()
            featurizer.score(group.encoded, log_ratio)
            scored = time.perf_counter()
            reading += read - start
            scoring += scored - read
            start = scored
    return {"read, cut and decode lines": reading, "tokens, hashes, weights": scoring}


def growth_table(part: Path, target: Path, folder: Path, k: int, sizes: Sequence[float], runs: int) -> Table:
    """Time per MB between sizes, each the same file under other names: nothing but the size differs."""
    table = Table("hash", "files", "MB", "median s", "all s", "ms a MB more", "peak MB", title="growth")
    corpora = []
    for size in sizes:
        corpus = folder / f"growth-{size}"
        corpora.append((corpus, make_size([part], corpus, size * MB)))
    for hash_name in HASHES:
        found: list[list[Run]] = [[] for _ in corpora]
        for _ in range(runs):
            for (corpus, _), measured in zip(corpora, found, strict=True):
                measured.append(select(f"{corpus}/*.jsonl", target, folder / "work", k, f"--hash={hash_name}"))
        before: tuple[float, float] | None = None
        for (corpus, size), measured in zip(corpora, found, strict=True):
            seconds = float(np.median([run.seconds for run in measured]))
            more = "" if before is None else f"{(seconds - before[1]) / (size - before[0]) * MB * 1000:.2f}"
            before = size, seconds
            table.add_row(
                hash_name,
                str(len(list(corpus.iterdir()))),
                f"{size / MB:.0f}",
                f"{seconds:.2f}",
                " ".join(f"{run.seconds:.2f}" for run in measured),
                more,
                f"{max(run.peak for run in measured):.0f}",
            )
    return table


def files_table(raw: Path, parts: list[Path], target: Path, folder: Path, k: int, runs: int) -> Table:
    """The same corpus as one file, as ten, and as thousands, in turns."""
    tiny = folder / "tiny"
    tiny.mkdir()
    with raw.open("rb") as source:
        for number in itertools.count():
            lines = source.readlines(TINY_BYTES)
            if not lines:
                break
            (tiny / f"{number:06d}.jsonl").write_bytes(b"".join(lines))
    corpora = {1: str(raw), len(parts): f"{parts[0].parent}/*.jsonl", len(list(tiny.iterdir())): f"{tiny}/*.jsonl"}
    table = Table("hash", "files", "median s", "all s", title="one corpus in few files and in many")
    for hash_name in HASHES:
        found: dict[int, list[float]] = {number: [] for number in corpora}
        for _ in range(runs):
            for number, pattern in corpora.items():
                found[number].append(select(pattern, target, folder / "work", k, f"--hash={hash_name}").seconds)
        for number, seconds in found.items():
            times = " ".join(f"{one:.2f}" for one in seconds)
            table.add_row(hash_name, str(number), f"{float(np.median(seconds)):.2f}", times)
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Runs everything and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--raw", type=Path, required=True, help="one uncompressed jsonl file, some 300 MB")
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--sizes", default="30,300,3000", help="MB to measure at [30,300,3000]")
    parser.add_argument("--peer_mb", type=int, default=30, help="MB that data-selection gets [30]")
    parser.add_argument("--num_to_sample", type=int, default=1000, help="documents to select [1000]")
    parser.add_argument("--hashes", default=",".join(HASHES), help=f"hashes to measure [{','.join(HASHES)}]")
    parser.add_argument("--runs", type=int, default=1, help="runs of each, of which the median counts [1]")
    parser.add_argument(
        "--growth_runs", type=int, default=0, help="runs of the comparisons of sizes and of numbers of files [0]"
    )
    arguments = parser.parse_args(argv)
    k = arguments.num_to_sample
    sizes = [float(size) for size in arguments.sizes.split(",")]
    console = Console(width=120)
    processes = joblib.cpu_count()
    hashes = arguments.hashes.split(",")
    for name in hashes:
        warm_up(NgramSettings(hash=name))
    with tempfile.TemporaryDirectory(dir=arguments.raw.parent) as temporary:
        folder = Path(temporary)
        parts = split_corpus(arguments.raw, folder / "parts")
        corpora = {"all, unrepeated": (folder / "parts", sum(part.stat().st_size for part in parts))}
        for size in sizes:
            corpora[f"{size:g} MB"] = (folder / f"size-{size}", make_size(parts, folder / f"size-{size}", size * MB))

        slice_path = folder / "slice.jsonl"
        with arguments.raw.open("rb") as raw:
            slice_path.write_bytes(b"".join(raw.readlines(arguments.peer_mb * MB)))
        peer_command = [sys.executable, "-c", PEER, str(slice_path), str(arguments.target), str(folder / "peer")]
        peer = run_process([*peer_command, str(k), str(processes)])
        peer_rate = slice_path.stat().st_size / MB / peer.seconds

        table = Table(
            "", "corpus", "MB", "s", "MB/s", "x peer", "peak MB", title=f"fit + score + resample, {processes} cores"
        )
        table.add_row("data-selection", "slice", f"{slice_path.stat().st_size / MB:.0f}", f"{peer.seconds:.1f}",
                      f"{peer_rate:.2f}", "1.0", f"{peer.peak:.0f}")  # fmt: skip
        for hash_name in hashes:
            for name, (corpus, size) in corpora.items():
                runs = [
                    select(f"{corpus}/*.jsonl", arguments.target, folder / "work", k, f"--hash={hash_name}")
                    for _ in range(arguments.runs)
                ]
                seconds = float(np.median([run.seconds for run in runs]))
                rate = size / MB / seconds
                table.add_row(f"select --hash {hash_name}", name, f"{size / MB:.0f}", f"{seconds:.1f}", f"{rate:.1f}",
                              f"{rate / peer_rate:.1f}", f"{max(run.peak for run in runs):.0f}")  # fmt: skip
        console.print(table)

        dataset = Dataset("raw", (f"{folder / 'parts'}/*.jsonl",))
        size = corpora["all, unrepeated"][1] / MB
        floor = size / floor_seconds(dataset, processes)
        console.print(f"floor: read and decode the unrepeated corpus on {processes} cores: {floor:.0f} MB/s")
        table = Table("one scoring pass on one core", "hash", "s", "share", "MB/s")
        for hash_name in hashes:
            profile = profile_pass(dataset, NgramSettings(hash=hash_name))
            total = sum(profile.values())
            for part, seconds in (*profile.items(), ("together", total)):
                table.add_row(part, hash_name, f"{seconds:.2f}", f"{seconds / total:.0%}", f"{size / seconds:.0f}")
        console.print(table)
        if arguments.growth_runs:
            console.print(growth_table(parts[0], arguments.target, folder, k, sizes, arguments.growth_runs))
            console.print(files_table(arguments.raw, parts, arguments.target, folder, k, arguments.growth_runs))


if __name__ == "__main__":
    main()
