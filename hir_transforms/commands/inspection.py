"""What an artefact of this tool is, in a few lines: of what, with which settings, how many, how large."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from hir_transforms.artifacts.output_folder import MANIFEST as OUTPUT_MANIFEST
from hir_transforms.artifacts.output_folder import read_result
from hir_transforms.artifacts.runs import read_runs
from hir_transforms.artifacts.stage_states import StageState, stage_states
from hir_transforms.artifacts.stages import MANIFEST, STARTED, Stage, read_json
from hir_transforms.commands import wording
from hir_transforms.commands.display import duration
from hir_transforms.commands.inspected_files import explain_file
from hir_transforms.common.errors import UserError
from hir_transforms.files import storage
from hir_transforms.settings.config import SETTINGS

# What stages hold, by the first part of their names.
_HOLD = {
    "counts": "counts of n-grams",
    "trials": "trials of what was left to auto",
    "trial_embeddings": "embeddings of documents that trials are made on",
    "ngram": "n-gram estimator",
    "ngram_classifier": "classifier of n-grams",
    "documents": "list of raw's documents",
    "ngram_weights": "log weights of documents by their n-grams",
    "embeddings": "embeddings of documents",
    "static_model": "static embedding model, distilled",
    "projection": "principal components of embeddings",
    "gmm": "Gaussian mixture of embeddings",
    "embedding_classifier": "classifier of embeddings",
    "gmm_weights": "log weights of documents by their embeddings",
    "scores": "scores of documents: their weights, mixed",
    "duplicates": "documents whose text an earlier one has too",
}
# The files by which a folder is known to hold a model of this tool.
_MODEL, _WEIGHTS = "config.json", "model.safetensors"


def inspect(path: str, planned: Mapping[str, Stage] | None = None) -> Iterator[str]:
    """Lines that explain an artefact.

    Args:
        path: of a work folder, a stage in it, an output, a static model, or a file of these; absolute if it is local.
        planned: the stages of a command by name, to compare those that are there with; without it a stage is compared
            with its input files and the stages that it was made of, as they are now.

    Raises:
        UserError: for what is not there, or not this tool's.
    """
    if storage.is_local(path) and os.path.isfile(path):
        return explain_file(path)
    if any(storage.exists(storage.join(path, name)) for name in (MANIFEST, STARTED)):
        return _stage(path, planned)
    if read_result(path):
        return _output(path)
    if storage.exists(storage.join(path, _WEIGHTS)):
        return _static_model(path)
    if states := stage_states(path, planned):
        return _work_folder(path, states)
    if storage.list_folder(path):
        raise UserError(f"{path} holds nothing of this tool; name a work folder, a stage, an output, or one file")
    if storage.exists(path):
        return explain_file(path)
    raise UserError(f"{path} is not there, or is an empty folder")


def _work_folder(path: str, states: list[StageState]) -> Iterator[str]:
    yield f"{path}: work folder, {len(states)} stages, {wording.size(sum(one.bytes for one in states))}"
    seconds = {name: taken for run in read_runs(path) for name, taken in run.seconds.items()}
    rows = [("stage", "state", "size", "time", "")]
    for one in states:
        took = duration(seconds[one.stage.name]) if one.stage.name in seconds else ""
        told = wording.changes(one.changes) or (wording.counts(one.manifest["counts"]) if one.manifest else "")
        rows.append((one.stage.name, one.state, wording.size(one.bytes), took, told))
    yield from wording.aligned(rows)
    if stale := [one for one in states if one.state == "stale"]:
        yield (
            f"no use as things are now, and may be deleted: {', '.join(one.stage.name for one in stale)} "
            f"({wording.size(sum(one.bytes for one in stale))})"
        )


def _stage(path: str, planned: Mapping[str, Stage] | None) -> Iterator[str]:
    mark = read_json(storage.join(path, MANIFEST)) or read_json(storage.join(path, STARTED))
    name = mark.get("stage") if isinstance(mark, dict) else None
    if not isinstance(name, str) or not path.endswith(f"/{name}"):
        raise UserError(f"{path} holds no manifest of a stage that lies there")
    work_dir = path.removesuffix(f"/{name}")
    (state,) = (one for one in stage_states(work_dir, planned) if one.stage.name == name)
    yield f"{path}: {_HOLD.get(name.partition('/')[0], 'stage')}, {state.state}"
    if state.changes:
        yield f"since it was made: {wording.changes(state.changes)}"
    if manifest := state.manifest:
        for role, described in manifest["inputs"].items():
            yield f"from files of {role}: {_files(described['files'])}"
        if manifest["upstream"]:
            yield f"from stages: {', '.join(manifest['upstream'])}"
        if settings := wording.settings(manifest["settings"]):
            yield f"settings: {settings}"
        yield f"counts: {wording.counts(manifest['counts'])}"
        yield from _made_with(manifest)
    if took := [run for run in read_runs(work_dir) if name in run.seconds]:
        yield f"took {duration(took[-1].seconds[name])} in the run that ended at {took[-1].ended}"
    yield f"size: {wording.size(state.bytes)} in {state.num_files} files"


def _output(path: str) -> Iterator[str]:
    manifest = read_json(storage.join(path, OUTPUT_MANIFEST))
    yield f"{path}: output, selected lines in {len(manifest['shards'])} files"
    given = {name: value for name, value in manifest["settings"].items() if not _is_default(name, value)}
    yield f"settings: {wording.settings(given)}"
    yield f"counts: {wording.counts(manifest['counts'])}"
    for number, share in enumerate(manifest.get("shares", ()), 1):
        yield f"target {number}: {wording.counts(share)}"
    yield from _made_with(manifest)
    yield f"size: {wording.size(sum(shard['bytes'] for shard in manifest['shards']))}"


def _is_default(name: str, value: Any) -> bool:
    return name in SETTINGS and (tuple(value) if isinstance(value, list) else value) == SETTINGS[name].default


def _static_model(path: str) -> Iterator[str]:
    config = read_json(storage.join(path, _MODEL))
    if not isinstance(config, dict) or config.get("model_type") != "model2vec":
        raise UserError(f"{path} holds a model, but no static one")
    content = storage.read_bytes(storage.join(path, _WEIGHTS))
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        rows, dimensions = header["embeddings"]["shape"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}/{_WEIGHTS} is damaged") from None
    yield f"{path}: static embedding model, of {config.get('tokenizer_name')}"
    yield f"{rows:,} tokens of {dimensions} numbers ({header['embeddings']['dtype']})"
    yield f"size: {wording.size(len(content))}"


def _made_with(manifest: Mapping[str, Any]) -> Iterator[str]:
    if made := manifest.get("versions"):
        yield f"made with {', '.join(f'{name} {version}' for name, version in made.items())}"


def _files(files: Any) -> str:
    """The files that a manifest names, or what it says of many."""
    if isinstance(files, Mapping):
        return f"{files['files']:,} files, {wording.size(files['bytes'])}"
    return f"{wording.paths([path for path, *_ in files])} ({wording.size(sum(size for _, _, size, *_ in files))})"
