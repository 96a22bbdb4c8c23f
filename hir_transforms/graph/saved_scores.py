"""The scores that an earlier run has left in a work folder, taken as they are."""

import math
from typing import Any

from hir_transforms.artifacts.stages import Stage, is_unedited
from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import describe
from hir_transforms.documents.listings import load_files
from hir_transforms.files import storage
from hir_transforms.files.patterns import look_up
from hir_transforms.graph.selection import SelectionPlan
from hir_transforms.selection.plan import plan_duplicates
from hir_transforms.settings.config import PipelineConfig
from hir_transforms.weights.score_shards import default_proportions, load_score_shards

# Below this, one process is done before others have started.
_ROWS_PER_PROCESS = 3_000_000
_BYTES_PER_PROCESS = 200_000_000


def plan_from_saved_scores(config: PipelineConfig, scores: Stage, sources: list[str]) -> SelectionPlan:
    """What to select from scores that `find_scores` has found; raises `UserError` for shares of other targets."""
    num_targets = scores.counts()["num_targets"]
    config.selection.check_num_targets(num_targets)
    if config.selection.target_proportions is None and default_proportions(scores) is None:
        raise UserError("--target_proportions is required: the scores do not tell each target's share")
    settings = {
        **describe(config.selection),
        **describe(config.output),
        "scores": dict(scores.settings),
        "scores_fingerprint": scores.fingerprint,
    }
    return SelectionPlan(config, scores, num_targets, sources, settings, plan_duplicates(scores))


def max_useful_workers(scores: Stage, source_bytes: int, num_to_sample: int | None) -> int:
    """How many processes have enough to do with a selection from these scores."""
    rows = sum(rows for _, rows, _ in scores.counts()["shards"])
    share = min(1.0, num_to_sample / max(1, rows)) if num_to_sample else 1.0
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
    raw = description["inputs"]["raw"]
    if functions := [raw[name]["name"] for name in ("load_dataset_fn", "parse_example_fn") if name in raw]:
        raise UserError(
            f"--raw is required: {' and '.join(functions)} read what was scored, and a work folder must not name code "
            "to run; give --raw, --target and the functions as they were"
        )
    files = load_files(work_dir, raw["files"])
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
