"""Selects again from the scores in a work folder, with another number, seed or way of choosing; no text is scored.

Without `--raw` the scores are taken as they stand. With it they must be those of the flags given, but for `--alpha`
and `--weight_scaling`, for which weights are mixed again.
"""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.artifacts.stages import Stage, is_unedited, missing_stages
from hir_transforms.commands import command_line
from hir_transforms.commands.apart import check_apart
from hir_transforms.commands.launching import Launch, in_use
from hir_transforms.commands.running import choose_runner, run_main
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset, listed_once
from hir_transforms.documents.listings import load_files
from hir_transforms.files import storage
from hir_transforms.files.patterns import look_up
from hir_transforms.graph.plan import plan_stages
from hir_transforms.graph.selection import add_selection, duplicates_stage, is_selected, print_counts
from hir_transforms.settings.config import SelectConfig, SelectionConfig
from hir_transforms.settings.flags import SelectOptions, parse_options, select_config, selection_flags
from hir_transforms.weights.score_shards import ScoreShard, default_proportions, load_score_shards
from pipelines.select import lay_out_selection

# Below this, one process is done before others have started.
_ROWS_PER_PROCESS = 3_000_000
_BYTES_PER_PROCESS = 200_000_000


def resample(options: PipelineOptions) -> None:
    """Checks everything, selects and writes, and prints what came out."""
    flags = options.view_as(SelectOptions).get_all_options()
    if flags["raw"]:
        _resample_planned(options)
    else:
        _resample_as_they_stand(options, flags)


def _resample_planned(options: PipelineOptions) -> None:
    config = select_config(options.view_as(SelectOptions))
    with in_use(config.work_dir, config.output):
        with listed_once():
            launch = _lay_out_planned(options, config)
        if launch.run():
            print_counts(config)


def _lay_out_planned(options: PipelineOptions, config: SelectConfig) -> Launch:
    stages = plan_stages(config)
    if lacking := [stage.name for stage in missing_stages([stages.scores]) if stage is not stages.scores]:
        raise UserError(
            f"--work_dir: {config.work_dir} has no scores of these settings and files ({', '.join(lacking)} missing "
            "or of others); run 'hir score' or 'hir select' with them first"
        )
    return lay_out_selection(options, config, stages)


def _resample_as_they_stand(options: PipelineOptions, flags: dict[str, Any]) -> None:
    _refuse_other_flags(flags)
    config = SelectionConfig(**selection_flags(flags, needs=("work_dir", "output")))
    with in_use(config.work_dir, config.output):
        if _lay_out_as_they_stand(options, config).run():
            print_counts(config)


def _lay_out_as_they_stand(options: PipelineOptions, config: SelectionConfig) -> Launch:
    scores, behind, sources = find_scores(config.work_dir)
    # One file of each folder stands for all.
    read = tuple({os.path.dirname(path): path for path in sources}.values())
    kept = [duplicates_stage(scores), *(Stage(name, config.work_dir, {}, (), (), "") for name in behind)]
    check_apart([Dataset("work_dir", read)], kept, config.output)
    shards = list(load_score_shards(scores))
    num_targets = scores.counts()["num_targets"]
    config.check_num_targets(num_targets)
    if config.target_proportions is None and default_proportions(scores) is None:
        raise UserError("--target_proportions is required: the scores do not tell each target's share")
    settings = {field.name: getattr(config, field.name) for field in fields(SelectionConfig)}
    for name in ("output", "work_dir", "overwrite"):
        del settings[name]
    settings |= {"scores": dict(scores.settings), "scores_fingerprint": scores.fingerprint}
    if is_selected(config, scores, settings):
        return Launch([], [])
    runner = choose_runner(options, _pieces(shards, sum(sources.values()), config))
    pipeline = beam.Pipeline(runner=runner, options=options)
    add_selection(
        pipeline | "Scores" >> beam.Create([scores.alone()]),
        config,
        scores,
        num_targets=num_targets,
        stages=behind,
        settings=settings,
    )
    return Launch([pipeline], [])


def _pieces(shards: list[ScoreShard], source_bytes: int, config: SelectionConfig) -> int:
    """How many processes have enough to do."""
    rows = sum(shard.rows for shard in shards)
    share = min(1.0, config.num_to_sample / max(1, rows)) if config.num_to_sample else 1.0
    return math.ceil(max(rows / _ROWS_PER_PROCESS, share * source_bytes / _BYTES_PER_PROCESS, 1))


def find_scores(work_dir: str) -> tuple[Stage, list[str], dict[str, int]]:
    """The stage of the scores in a work folder, the names of all stages behind it, and stored bytes of each source.

    Raises:
        UserError: if there are none, or their files are missing, or the files that were scored have changed.
    """
    manifests = _read_manifests(work_dir)
    description = manifests["scores"]
    if not is_unedited(description):
        raise UserError(f"--work_dir: the manifest of the scores in {work_dir} was edited; run 'hir select' again")
    files = load_files(work_dir, description["inputs"]["raw"]["files"])
    found = look_up([file.path for file in files])
    for file in files:
        if (file.path, file.size, file.modified) != found.get(file.path):
            state = "changed since it was scored" if file.path in found else "is no longer there"
            raise UserError(f"--work_dir: {file.path} {state}; run 'hir select' to score it again")
    scores = Stage("scores", work_dir, description["settings"], (), (), description["fingerprint"])
    written = {shard.path for shard in load_score_shards(scores) if shard.path}
    if missing := sorted(written - {*storage.list_folder(scores.folder)}):
        raise UserError(f"--work_dir: the scores are not complete, {missing[0]} is missing; run 'hir select' again")
    return scores, list(manifests), {file.path: file.size for file in files}


def _read_manifests(work_dir: str) -> dict[str, dict[str, Any]]:
    """The manifest of the scores and those of all stages behind them that are still there as they were."""
    scores = Stage("scores", work_dir, {}, (), (), "").read_manifest()
    if scores is None:
        state = "the scores are not complete" if storage.exists(storage.join(work_dir, "scores")) else "no scores"
        raise UserError(f"--work_dir: {state} in {work_dir}; run 'hir select' with this --work_dir first")
    manifests = {"scores": scores}
    waiting = [scores]
    while waiting:
        for name, fingerprint in waiting.pop()["upstream"].items():
            manifest = Stage(name, work_dir, {}, (), (), fingerprint).manifest()
            if name not in manifests and manifest:
                manifests[name] = manifest
                waiting.append(manifest)
    return manifests


def _refuse_other_flags(flags: dict[str, Any]) -> None:
    """Raises `UserError` for a flag of `select` that changes the scores, which are taken as they are."""
    parser = argparse.ArgumentParser()
    SelectOptions._add_argparse_args(parser)
    known = {field.name for field in fields(SelectionConfig)}
    for name, default in vars(parser.parse_args([])).items():
        if name not in known and flags[name] != default:
            raise UserError(f"--{name}: without --raw the scores are taken as they are; add --raw and the other flags")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `resample`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir resample", lambda: resample(parse_options(arguments, SelectOptions, "hir resample")))


if __name__ == "__main__":
    sys.exit(run())
