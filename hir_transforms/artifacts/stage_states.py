"""What a work folder holds: which of its stages are complete, which are stale, and what has changed since."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hir_transforms.artifacts.stages import MANIFEST, STARTED, Stage
from hir_transforms.documents.listings import load_files
from hir_transforms.files import storage
from hir_transforms.files.patterns import look_up

# Of a setting that differs, so much is told.
_MOST_CHARACTERS = 60


@dataclass(frozen=True)
class StageState:
    """A stage as it lies in a work folder.

    Attributes:
        stage: by its name; of the manifest's fingerprint.
        manifest: None where it is not complete.
        state: "stale" where a run would compute it again.
        changes: what has changed since, where it is stale.
        num_files, bytes: what it takes.
    """

    stage: Stage
    manifest: Mapping[str, Any] | None
    state: Literal["complete", "stale", "incomplete"]
    changes: list[str]
    num_files: int
    bytes: int


def stage_states(work_dir: str, planned: Mapping[str, Stage] | None = None) -> list[StageState]:
    """The stages in a work folder, those first that others depend on.

    Args:
        work_dir: the work folder.
        planned: the stages of a command by name, to compare those that lie there with; without it a stage is compared
            with its input files and the stages that it was made of, as they are now.
    """
    sizes = {path: size for path, size, _ in look_up(storage.list_folder(work_dir)).values()}
    folders = {os.path.dirname(path) for path in sizes if os.path.basename(path) in (MANIFEST, STARTED)}
    marked: list[Stage] = [Stage(folder[len(work_dir) + 1 :], work_dir, {}, (), (), "") for folder in folders]
    manifests = {stage.name: manifest for stage in marked if (manifest := stage.read_manifest())}
    stages = {stage.name: stage for stage in marked if stage.name in manifests or stage.started() is not None}
    found: list[StageState] = []
    for name in _in_order(stages, manifests):
        manifest, places = manifests.get(name), tuple(stages[name].places)
        changes: list[str] = []
        if manifest and planned is not None:
            changes = _changes_of(manifest, planned.get(name))
        elif manifest:
            stale = {one.stage.name for one in found if one.state == "stale"}
            changes = [*_changed_files(work_dir, manifest), *_changed_stages(manifest, manifests, stale)]
        state: Any = ("stale" if changes else "complete") if manifest else "incomplete"
        files = [size for path, size in sizes.items() if path.startswith(places)]
        found.append(StageState(stages[name], manifest, state, changes, len(files), sum(files)))
    return found


def _in_order(stages: Mapping[str, Stage], manifests: Mapping[str, Any]) -> list[str]:
    order: dict[str, None] = {}

    def add(name: str) -> None:
        for upstream in sorted(manifests.get(name, {}).get("upstream", {})):
            if upstream in stages and upstream not in order:
                add(upstream)
        order[name] = None

    for name in sorted(stages):
        add(name)
    return [*order]


def _changed_files(work_dir: str, manifest: Mapping[str, Any]) -> Iterator[str]:
    """What has become of the files that a stage was made of."""
    for role, described in manifest["inputs"].items():
        files = load_files(work_dir, described["files"])
        now = look_up([file.path for file in files])
        for file in files:
            if file.path not in now:
                yield f"{file.path} of {role} is gone"
            elif (file.path, file.size, file.modified) != now[file.path]:
                yield f"{file.path} of {role} has changed"


def _changed_stages(
    manifest: Mapping[str, Any], manifests: Mapping[str, Mapping[str, Any]], stale: Collection[str]
) -> Iterator[str]:
    """Which of the stages that a stage was made of are others now, or would be made anew."""
    for name, fingerprint in manifest["upstream"].items():
        if name in stale:
            yield f"{name} is stale"
        elif name in manifests and manifests[name]["fingerprint"] != fingerprint:
            yield f"{name} is another"


def _changes_of(manifest: Mapping[str, Any], planned: Stage | None) -> list[str]:
    if planned is None:
        return ["these flags do not need it"]
    if manifest["fingerprint"] == planned.fingerprint:
        return []
    now = planned.describe()
    changes = [
        *_differences(manifest["settings"], now["settings"]),
        *_differences(manifest["inputs"], now["inputs"]),
        *(f"{name} is another" for name, one in now["upstream"].items() if manifest["upstream"].get(name) != one),
    ]
    return changes or ["it was made by another version of this tool"]


def _differences(then: Any, now: Any, name: str = "") -> Iterator[str]:
    """What differs between two descriptions, by the innermost names."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*then, *now]):
            inner = f"files of {name}" if key == "files" else key
            yield from _differences(then.get(key), now.get(key), inner)
    elif then != now:
        yield f"{name} differ" if name.startswith("files of ") else f"{name} {_short(then)}, now {_short(now)}"


def _short(value: Any) -> str:
    text = "none" if value is None else f"{value}"
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
