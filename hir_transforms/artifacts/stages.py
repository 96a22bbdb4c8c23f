"""Stages: artefacts in the work folder, known by a fingerprint of everything they depend on."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

import apache_beam as beam
import msgspec

from hir_transforms.artifacts.runs import versions
from hir_transforms.common import metrics
from hir_transforms.common.combining import Gather
from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import describe, digest, to_json
from hir_transforms.documents.datasets import Dataset, listed_once
from hir_transforms.files import storage

FORMAT_VERSION = 2
# Readers of a folder of Parquet files pass over names that begin with an underscore.
MANIFEST = "_manifest.json"
STARTED = "_started.json"
_KIND = "hir stage"
# What a manifest holds beside what the fingerprint is of.
_NOT_DESCRIBED = ("kind", "fingerprint", "counts", "versions")
# What stages write into their folders.
_WRITTEN = re.compile(
    rf"{re.escape(MANIFEST)}|{re.escape(STARTED)}"
    r"|(part-\d+|file-\d+-block-\d+|counts|estimator|classifier|coefficients|projection)\.(parquet|avro|npy|npz)"
    r"|rejected/\w+-[\w-]*\d+\.jsonl|records/\d+\.msgpack|row_starts/part-\d+\.npy|documents/(raw|target)-\d+\.npz"
    r"|model/(model\.safetensors|(config|modules|tokenizer)\.json)"
    r"|(sample(/raw|/target-\d+)?|start)/rows-\d+\.npz|checkpoints/[\w-]+/[0-9a-f]{16}/(iteration-\d+|bounds)\.npz"
)


class _Mark(msgspec.Struct):
    """What tells that a folder is that of a stage, to be cleared by it alone."""

    kind: Literal["hir stage"]
    stage: str
    fingerprint: str


class _Manifest(_Mark):
    """What every manifest of a stage holds."""

    settings: dict[str, Any] | None
    inputs: dict[str, dict[str, Any]]
    upstream: dict[str, str]
    counts: dict[str, Any]


SettingsT = TypeVar("SettingsT")


def read_json(path: str) -> Any:
    """Content of a JSON file; None if there is none, or if it is not JSON."""
    if not storage.exists(path):
        return None
    content = storage.read_bytes(path)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True)
class Stage(Generic[SettingsT]):
    """A step whose result is kept in `work_dir/name`, complete when its manifest is there.

    A stage declares all that its result depends on. The transform that computes it takes its settings, datasets and
    upstream folders from the stage and from nowhere else: so it cannot use what the fingerprint does not tell.
    (Functions that Beam is to call take a bare `Stage`: its type checks know no generic classes of others.)

    Attributes:
        name: folder below the work folder.
        work_dir: the work folder.
        settings: a frozen dataclass of every setting that the result depends on (see `describe`), None for none.
        datasets: what it reads.
        upstream: the stages whose results it reads.
        fingerprint: digest of all of it, as it was when the pipeline was built.
    """

    name: str
    work_dir: str
    settings: SettingsT
    datasets: tuple[Dataset, ...]
    upstream: tuple["Stage", ...]
    fingerprint: str

    @classmethod
    def create(
        cls,
        name: str,
        work_dir: str,
        settings: SettingsT,
        datasets: Sequence[Dataset] = (),
        upstream: Sequence["Stage"] = (),
    ) -> "Stage[SettingsT]":
        """A stage with the fingerprint of its inputs as they are now."""
        stage = cls(name, work_dir, settings, tuple(datasets), tuple(upstream), "")
        return replace(stage, fingerprint=digest(stage.describe()))

    @property
    def dataset(self) -> Dataset:
        """The first of the datasets: the one whose documents it is about."""
        return self.datasets[0]

    def upstream_folder(self, name: str) -> str:
        """The folder of the upstream stage of this name."""
        (folder,) = (stage.folder for stage in self.upstream if stage.name == name)
        return folder

    @property
    def folder(self) -> str:
        """Where the artefacts are."""
        return storage.join(self.work_dir, *self.name.split("/"))

    @property
    def places(self) -> list[str]:
        """Where the stage writes: its folder, with a slash at the end, and for a mixture the file beside it."""
        folder = storage.join(self.folder, "")
        return [folder, f"{self.folder}.npz"] if self.name.startswith("gmm/") else [folder]

    def path(self, *names: str) -> str:
        """Path of an artefact."""
        return storage.join(self.folder, *names)

    def alone(self) -> "Stage":
        """The stage without what it depends on: all that reading its results takes, and small."""
        return Stage(self.name, self.work_dir, {}, (), (), self.fingerprint)

    def manifest(self) -> dict[str, Any] | None:
        """The manifest if the stage is complete and nothing that it depends on has changed, else None."""
        manifest = self.read_manifest()
        return manifest if manifest and manifest.get("fingerprint") == self.fingerprint else None

    def read_manifest(self) -> dict[str, Any] | None:
        """The manifest that is there, whatever fingerprint it has; None if there is none of this stage."""
        manifest = read_json(self.path(MANIFEST))
        try:
            valid = msgspec.convert(manifest, _Manifest)
        except msgspec.ValidationError:
            return None
        return manifest if valid.stage == self.name else None

    def complete_manifest(self) -> dict[str, Any]:
        """The manifest of a complete stage; `UserError` for one that is not complete, or of something else."""
        manifest = self.manifest()
        if manifest is None:
            raise UserError(f"{self.folder} is not complete, or was made of other settings or files; run again")
        return manifest

    def counts(self) -> dict[str, Any]:
        """The counts in the manifest of a complete stage; raises `UserError` for another."""
        return self.complete_manifest()["counts"]

    def load(self, path: str) -> bytes:
        """The content of an artefact of a complete stage; raises `UserError` for another stage's."""
        self.complete_manifest()
        return storage.read_bytes(path)

    def own_files(self) -> list[str]:
        """Paths of all files in the stage's folder.

        Raises:
            UserError: if one of them is not this tool's to clear: the folder has files but no mark of this stage, or
                there is a file that no stage writes.
        """
        files = storage.list_folder(self.folder)
        if self.started() is None and self.read_manifest() is None:
            foreign = [*files, *(path for path in self.places if not path.endswith("/") and storage.exists(path))]
        else:
            foreign = [path for path in files if not _WRITTEN.fullmatch(path[len(self.folder) + 1 :])]
        if foreign:
            raise UserError(
                f"--work_dir: {foreign[0]} lies where the stage {self.name} is kept, and does not carry the mark of a "
                "file that this tool wrote there; move it away, or choose another --work_dir"
            )
        return files

    def prepare(self) -> None:
        """Makes the folder ready for a run.

        What a run with the same fingerprint left when it died is kept, but for its temporary files: it is what this
        run would write. All else is removed.

        Raises:
            UserError: as `own_files` does.
        """
        storage.remove_temporary_files(self.folder)
        files = self.own_files()
        if self.started() == self.fingerprint:
            return
        if files:
            # Wherever this breaks off, the folder is marked as one to clear, and no manifest stands for what is gone.
            self._mark("")
            marker, manifest = self.path(STARTED), self.path(MANIFEST)
            storage.remove_files(self.folder, [path for path in files if path == manifest])
            storage.remove_files(self.folder, [path for path in files if path not in (marker, manifest)])
        self._mark(self.fingerprint)

    def _mark(self, fingerprint: str) -> None:
        content = {"kind": _KIND, "format_version": FORMAT_VERSION, "stage": self.name, "fingerprint": fingerprint}
        storage.write_bytes(self.path(STARTED), to_json(content), durable=True)

    def started(self) -> str | None:
        """The fingerprint of the run that began to fill the folder; None without this stage's mark."""
        try:
            mark = msgspec.convert(read_json(self.path(STARTED)), _Mark)
        except msgspec.ValidationError:
            return None
        return mark.fingerprint if mark.stage == self.name else None

    @listed_once()
    def write_manifest(self, counts: Mapping[str, Any]) -> None:
        """Declares the stage complete; raises `UserError` if an input changed while it ran."""
        description = self.describe()
        if digest(description) != self.fingerprint:
            names = ", ".join(f"--{dataset.role}" for dataset in self.datasets)
            raise UserError(f"the files of {names} changed while {self.name} was computed; run again")
        for dataset in self.datasets:
            dataset.listing().save(self.work_dir)
        told = {"fingerprint": self.fingerprint, "counts": counts, "versions": versions()}
        content = {"kind": _KIND, **description, **told}
        storage.sync_folder(self.folder)
        storage.write_bytes(self.path(MANIFEST), to_json(content), durable=True)

    def describe(self) -> dict[str, Any]:
        """All that the result depends on, JSON values; the fingerprint is of it."""
        return {
            "format_version": FORMAT_VERSION,
            "stage": self.name,
            "settings": describe(self.settings),
            "inputs": {
                dataset.role: describe(dataset) | {"files": dataset.listing().description} for dataset in self.datasets
            },
            "upstream": {stage.name: stage.fingerprint for stage in self.upstream},
        }


def is_unedited(manifest: Mapping[str, Any]) -> bool:
    """Whether the fingerprint in a manifest is that of what the manifest says."""
    described = {name: value for name, value in manifest.items() if name not in _NOT_DESCRIBED}
    return digest(described) == manifest["fingerprint"]


def missing_stages(wanted: Iterable[Stage]) -> list[Stage]:
    """The stages to compute for these to be complete, each after those that it depends on.

    What only a complete stage depends on is not needed.
    """
    missing: dict[str, Stage] = {}
    for stage in wanted:
        if stage.name not in missing and stage.manifest() is None:
            for needed in (*missing_stages(stage.upstream), stage):
                missing.setdefault(needed.name, needed)
    return list(missing.values())


@dataclass(eq=False)
class WriteStageManifest(beam.PTransform):
    """A single element of counts -> the same, once the stage's manifest is written."""

    stage: Stage

    def expand(self, counts: beam.PCollection[dict[str, Any]]) -> beam.PCollection[dict[str, Any]]:
        """See the class."""
        return counts | "Write" >> beam.Map(_write_manifest, self.stage)


@dataclass(eq=False)
class WriteManifestOfAll(beam.PTransform):
    """The results of a stage -> their counts, a single element, once the manifests are written.

    Attributes:
        count: list of all results -> the counts.
        stages: which get a manifest with these counts, each by itself.
    """

    count: Callable[[list[Any]], dict[str, Any]]
    stages: Sequence[Stage]

    def expand(self, results: beam.PCollection[Any]) -> beam.PCollection[dict[str, Any]]:
        """See the class."""
        counts = results | "Gather" >> Gather() | "Count" >> beam.Map(self.count)
        for stage in self.stages:
            counts = counts | f"Manifest {stage.name}" >> WriteStageManifest(stage)
        return counts


def _write_manifest(counts: dict[str, Any], stage: Stage) -> dict[str, Any]:
    stage.write_manifest(counts)
    metrics.count(stage.name, **{metrics.COMPLETE: 1})
    return counts


@dataclass(eq=False)
class ListResults(beam.PTransform):
    """PBegin -> the results of a complete stage, spread over the workers.

    They are listed inside the pipeline: the graph stays small however many there are.

    Attributes:
        stage: whose results.
        load: the stage -> its results.
    """

    stage: Stage
    load: Callable[[Stage], Iterable[Any]]

    def expand(self, pbegin: beam.Pipeline) -> beam.PCollection[Any]:
        """See the class."""
        return (
            pbegin
            | "Stage" >> beam.Create([self.stage])
            | "List" >> beam.FlatMap(self.load)
            | "Spread" >> beam.Reshuffle()
        )
