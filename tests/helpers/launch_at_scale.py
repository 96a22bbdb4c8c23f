"""A process that launches one command on a million made-up files, up to where the job would be handed over.

Prints, as JSON, the processor seconds and megabytes that it took, and the bytes of the job.
"""

import json
import pickle
import re
import resource
import sys
import time
from pathlib import Path

import numpy as np

from hir_transforms.artifacts.stages import Stage
from hir_transforms.documents.datasets import Dataset, listed_once
from hir_transforms.documents.read_tasks import plan_tasks
from pipelines import resample, select
from tests.helpers.corpora import jsonl
from tests.helpers.listed_filesystem import ListedFileSystem
from tests.helpers.memory_filesystem import MemoryFileSystem
from tests.runners.capture import Submitted

FILES = 1_000_000
FILE_BYTES = 100_000_000
ROW_FILES = 10_000
RUNNER = "--runner=tests.runners.capture.CapturingFlinkRunner"


def _select(folder: Path) -> None:
    """By n-grams and given embeddings, half of the files compressed."""
    target = folder / "target.jsonl"
    target.write_bytes(jsonl(["text of the target"]))
    np.save(folder / "target.npy", np.zeros((1, 8), np.float32))
    select.run(
        [
            *("--raw=listed://corpus/*", f"--target={target}", f"--output={folder / 'out'}"),
            *("--raw_embeddings=listed://rows/*.npy", f"--target_embeddings={folder / 'target.npy'}"),
            *("--num_to_sample=1000000", RUNNER),
        ]
    )


def _resample(folder: Path) -> None:
    """From a work folder with the scores of all tasks, in the memory of this process."""
    raw = Dataset("raw", ("listed://corpus/*",))
    with listed_once():
        scores = Stage.create("scores", "mem://work", {}, [raw])
        shards = [[task.index, 1_000, 0] for task in plan_tasks(raw.list_files())]
    paths = [f"mem://work/scores/part-{index:05d}.parquet" for index, _, _ in shards]
    MemoryFileSystem.objects |= dict.fromkeys(paths, b"")
    MemoryFileSystem._times |= dict.fromkeys(paths, 0.0)
    counts = {"read": 1_000 * len(shards), "rejected": 0, "shards": shards, "num_targets": 1}
    scores.write_manifest(counts | {"target_proportions": [1.0]})
    resample.run(["--work_dir=mem://work", "--output=mem://out", "--num_to_sample=1000000", RUNNER])


def _plan(_: Path) -> None:
    """Not a launch, but what one worker does: cut the corpus into tasks. Prints what they are like."""
    start = time.process_time()
    sizes = []
    for number, task in enumerate(plan_tasks(Dataset("raw", ("listed://corpus/*",)).list_files())):
        if number % 1_000 == 0:
            sizes.append(len(pickle.dumps(task)))
    _report(start, tasks=number + 1, task_bytes=max(sizes))


SCENARIOS = {
    "select": _select,
    "resample": _resample,
    "plan": _plan,
}


def _report(start: float, **found: int) -> None:
    print(json.dumps({"seconds": time.process_time() - start, "megabytes": _peak_kilobytes() / 1024, **found}))


def _peak_kilobytes() -> int:
    """Of this process alone: what `getrusage` tells of a child counts its parent's memory at the fork."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(scenario: str, folder: Path) -> None:
    suffixes = (".jsonl", ".jsonl.gz") if scenario == "select" else (".jsonl",)
    corpus = {("listed://corpus/", suffix): FILES // len(suffixes) for suffix in suffixes}
    ListedFileSystem.count = {**corpus, ("listed://rows/", ".npy"): ROW_FILES}
    ListedFileSystem.file_bytes = FILE_BYTES
    start = time.process_time()
    try:
        SCENARIOS[scenario](folder)
    except Submitted as submitted:
        _report(start, job_bytes=submitted.pipeline.ByteSize())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
