"""Selects again from the scores of an earlier selection, with another number, seed or way of choosing."""

import argparse
import io
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms import storage
from hir_transforms.config import check_budget, check_min_example_length, check_output_format
from hir_transforms.errors import UserError
from hir_transforms.ranking import SelectionSettings
from hir_transforms.score_shards import ScoreShard, read_scores, score_path
from hir_transforms.selecting import SelectDocuments
from hir_transforms.stages import MANIFEST
from hir_transforms.writing import OutputSettings, WriteSelection
from pipelines.options import SelectOptions, folder_path, parse_options
from pipelines.output import check_output, prepare_temporary, print_counts
from pipelines.running import choose_runner, run_main

# Below this, one process is done before others have started.
_ROWS_PER_PROCESS = 3_000_000
_BYTES_PER_PROCESS = 200_000_000
_FLAGS = (
    "work_dir",
    "output",
    "overwrite",
    "num_to_sample",
    "num_tokens_to_sample",
    "top_k",
    "seed",
    "min_example_length",
    "num_shards",
    "compression",
)


@dataclass(frozen=True)
class Scores:
    """The scores of a work folder as they stand.

    Attributes:
        settings: of the stage that made them.
        fingerprint: of that stage.
        shards: all of them.
        rejected: the folder that keeps the rejected lines of each dataset, by role.
        num_targets: columns of weights.
        source_bytes: stored bytes of the source files.
    """

    settings: dict[str, Any]
    fingerprint: str
    shards: list[ScoreShard]
    rejected: dict[str, str]
    num_targets: int
    source_bytes: int


def find_scores(work_dir: str) -> Scores:
    """The scores in a work folder; raises `UserError` if they are missing or no longer those of their source files."""
    manifests = _read_manifests(work_dir, "scores")
    reading = next((name for name, manifest in manifests.items() if "raw" in manifest["inputs"]), None)
    if reading is None:
        raise UserError(f"--work_dir: the scores in {work_dir} do not say of which files they are; score them again")
    files = manifests[reading]["inputs"]["raw"]["files"]
    for path, _, size, modified in files:
        if (size, modified) != storage.size_and_time(path):
            raise UserError(f"--work_dir: {path} changed since it was scored; run 'hir select' to score it again")
    folder = storage.join(work_dir, "scores")
    shards = [
        ScoreShard(index, score_path(folder, index) if rows else None, rows, rejected)
        for index, rows, rejected in manifests["scores"]["counts"]["shards"]
    ]
    paths = [shard.path for shard in shards if shard.path]
    if missing := sorted({*paths} - {*storage.list_folder(folder)}):
        raise UserError(f"--work_dir: the scores are not complete, {missing[0]} is missing; run 'hir select' again")
    target = next((name for name in ("embeddings/target", "ngram") if name in manifests), reading)
    return Scores(
        manifests["scores"]["settings"],
        manifests["scores"]["fingerprint"],
        shards,
        {"raw": storage.join(work_dir, reading), "target": storage.join(work_dir, *target.split("/"))},
        read_scores(paths[0]).weight.shape[1] if paths else 1,
        sum(size for _, _, size, _ in files),
    )


def _read_manifests(work_dir: str, name: str) -> dict[str, dict[str, Any]]:
    """The manifest of a stage and those of all stages behind it that are still there as they were."""
    path = storage.join(work_dir, *name.split("/"), MANIFEST)
    if not storage.exists(path):
        state = "not complete" if storage.exists(storage.join(work_dir, name)) else "no scores there"
        raise UserError(f"--work_dir: {state} in {work_dir}; run 'hir select' with this --work_dir first")
    manifests = {name: json.loads(storage.read_bytes(path))}
    waiting = [name]
    while waiting:
        for upstream, fingerprint in manifests[waiting.pop()]["upstream"].items():
            path = storage.join(work_dir, *upstream.split("/"), MANIFEST)
            if upstream not in manifests and storage.exists(path):
                manifest = json.loads(storage.read_bytes(path))
                if manifest["fingerprint"] == fingerprint:
                    manifests[upstream] = manifest
                    waiting.append(upstream)
    return manifests


def target_proportions(work_dir: str, num_targets: int) -> tuple[float, ...]:
    """Each target's share of the n-grams of all, as in DSIR."""
    if num_targets == 1:
        return (1.0,)
    path = storage.join(work_dir, "ngram", "estimator.npz")
    counts = np.load(io.BytesIO(storage.read_bytes(path)))["target_counts"].sum(axis=1)
    return tuple((counts / counts.sum()).tolist())


def resample(options: PipelineOptions) -> None:
    """Checks everything, selects and writes, and prints what came out."""
    flags = options.view_as(SelectOptions).get_all_options()
    _refuse_other_flags(flags)
    for name in ("work_dir", "output"):
        if not flags[name]:
            raise UserError(f"--{name} is required")
    check_budget(flags["num_to_sample"], flags["num_tokens_to_sample"])
    check_min_example_length(flags["min_example_length"])
    check_output_format(flags["num_shards"], flags["compression"])
    work_dir, output = folder_path(flags["work_dir"]), folder_path(flags["output"])
    check_output(output, work_dir, overwrite=flags["overwrite"])
    scores = find_scores(work_dir)
    names = ("num_to_sample", "num_tokens_to_sample", "top_k", "seed", "min_example_length")
    selection = SelectionSettings(**{name: flags[name] for name in names})
    chosen = {name: flags[name] for name in (*names, "num_shards", "compression")}
    settings = {**chosen, "scores": scores.settings, "scores_fingerprint": scores.fingerprint}
    temporary = prepare_temporary(output)
    written = OutputSettings(output, temporary, flags["num_shards"], flags["compression"], settings, scores.rejected)
    runner = choose_runner(options, _pieces(scores, selection))
    pipeline = beam.Pipeline(runner=runner, options=options)
    proportions = target_proportions(work_dir, scores.num_targets)
    (
        pipeline
        | "Scores" >> beam.Create(scores.shards)
        | "Select"
        >> SelectDocuments(
            selection,
            written.picked,
            num_targets=scores.num_targets,
            proportions=pipeline | "Proportions" >> beam.Create([proportions]),
        )
        | "Write" >> WriteSelection(written)
    )
    pipeline.run().wait_until_finish()
    print_counts(output)


def _pieces(scores: Scores, selection: SelectionSettings) -> int:
    """How many processes have enough to do."""
    rows = sum(shard.rows for shard in scores.shards)
    share = 1.0 if selection.counts_tokens else min(1.0, selection.budget / max(1, rows))
    return math.ceil(max(rows / _ROWS_PER_PROCESS, share * scores.source_bytes / _BYTES_PER_PROCESS, 1))


def _refuse_other_flags(flags: dict[str, Any]) -> None:
    """Raises `UserError` for a flag of `select` that changes the scores, which are taken as they are."""
    parser = argparse.ArgumentParser()
    SelectOptions._add_argparse_args(parser)
    for name, default in vars(parser.parse_args([])).items():
        if name not in _FLAGS and flags[name] != default:
            raise UserError(f"--{name}: resample takes the scores as they are; 'hir select' makes others")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `resample`; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    return run_main("hir resample", lambda: resample(parse_options(arguments, SelectOptions, "hir resample")))


if __name__ == "__main__":
    sys.exit(run())
