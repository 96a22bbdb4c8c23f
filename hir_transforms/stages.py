"""Stages: artefacts in the work folder, known by a fingerprint of everything they depend on."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import msgspec

from hir_transforms import storage
from hir_transforms.combining import Gather
from hir_transforms.datasets import Dataset, listed_once
from hir_transforms.errors import UserError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_STARTED = "started"


def to_json(content: Any) -> bytes:
    """Readable JSON, the same bytes for the same content."""
    return msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=2) + b"\n"


@dataclass(frozen=True)
class Stage:
    """A step whose result is kept in `work_dir/name`, complete when its manifest is there.

    Attributes:
        name: folder below the work folder.
        work_dir: the work folder.
        settings: every setting that the result depends on, JSON values only.
        datasets: what it reads.
        upstream: the stages whose results it reads.
        fingerprint: digest of all of it, as it was when the pipeline was built.
    """

    name: str
    work_dir: str
    settings: Mapping[str, Any]
    datasets: tuple[Dataset, ...]
    upstream: tuple["Stage", ...]
    fingerprint: str

    @classmethod
    def create(
        cls,
        name: str,
        work_dir: str,
        settings: Mapping[str, Any],
        datasets: Sequence[Dataset] = (),
        upstream: Sequence["Stage"] = (),
    ) -> "Stage":
        """A stage with the fingerprint of its inputs as they are now."""
        stage = cls(name, work_dir, settings, tuple(datasets), tuple(upstream), "")
        return cls(name, work_dir, settings, tuple(datasets), tuple(upstream), _digest(stage._describe()))

    @property
    def folder(self) -> str:
        """Where the artefacts are."""
        return storage.join(self.work_dir, *self.name.split("/"))

    def path(self, *names: str) -> str:
        """Path of an artefact."""
        return storage.join(self.folder, *names)

    def manifest(self) -> dict[str, Any] | None:
        """The manifest if the stage is complete and nothing that it depends on has changed, else None."""
        manifest = self.read_manifest()
        return manifest if manifest and manifest.get("fingerprint") == self.fingerprint else None

    def read_manifest(self) -> dict[str, Any] | None:
        """The manifest that is there, whatever it is of."""
        if not storage.exists(self.path(MANIFEST)):
            return None
        return json.loads(storage.read_bytes(self.path(MANIFEST)))

    def counts(self) -> dict[str, Any]:
        """The counts in the manifest of a complete stage; raises `ValueError` for another."""
        manifest = self.manifest()
        if manifest is None:
            raise ValueError(f"{self.folder} is not complete")
        return manifest["counts"]

    def prepare(self) -> None:
        """Makes the folder ready for a run.

        What a run with the same fingerprint left when it died is kept, but for its temporary files: it is what this
        run would write. All else is removed.
        """
        marker = self.path(_STARTED)
        started = self.fingerprint.encode()
        if storage.exists(marker) and storage.read_bytes(marker) == started:
            storage.remove_temporary_files(self.folder)
        else:
            storage.remove_folder(self.folder)
            storage.write_bytes(marker, started)

    @listed_once()
    def write_manifest(self, counts: Mapping[str, Any]) -> None:
        """Declares the stage complete; raises `UserError` if an input changed while it ran."""
        description = self._describe()
        if _digest(description) != self.fingerprint:
            names = ", ".join(f"--{dataset.role}" for dataset in self.datasets)
            raise UserError(f"the files of {names} changed while {self.name} was computed; run again")
        for dataset in self.datasets:
            dataset.listing().save(self.work_dir)
        content = {**description, "fingerprint": self.fingerprint, "counts": counts}
        storage.write_bytes(self.path(MANIFEST), to_json(content))

    def _describe(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "stage": self.name,
            "settings": dict(self.settings),
            "inputs": {
                dataset.role: {
                    "text_field": dataset.text_field,
                    "max_document_bytes": dataset.max_document_bytes,
                    "files": dataset.listing().description,
                }
                for dataset in self.datasets
            },
            "upstream": {stage.name: stage.fingerprint for stage in self.upstream},
        }


def _digest(description: Mapping[str, Any]) -> str:
    return hashlib.sha256(to_json(description)).hexdigest()


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


class WriteStageManifest(beam.PTransform):
    """A single element of counts -> the same, once the stage's manifest is written."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def expand(self, counts: beam.PCollection[dict[str, Any]]) -> beam.PCollection[dict[str, Any]]:
        """See the class."""
        return counts | "Write" >> beam.Map(_write_manifest, self._stage)


class WriteManifestOfAll(beam.PTransform):
    """The results of a stage -> their counts, a single element, once the manifests are written.

    Args:
        count: list of all results -> the counts.
        stages: which get a manifest with these counts, each by itself.
    """

    def __init__(self, count: Callable[[list[Any]], dict[str, Any]], *stages: Stage) -> None:
        super().__init__()
        self._count = count
        self._stages = stages

    def expand(self, results: beam.PCollection[Any]) -> beam.PCollection[dict[str, Any]]:
        """See the class."""
        counts = results | "Gather" >> Gather() | "Count" >> beam.Map(self._count)
        for stage in self._stages:
            counts = counts | f"Manifest {stage.name}" >> WriteStageManifest(stage)
        return counts


def _write_manifest(counts: dict[str, Any], stage: Stage) -> dict[str, Any]:
    stage.write_manifest(counts)
    return counts


class ListResults(beam.PTransform):
    """PBegin -> the results of a complete stage, spread over the workers.

    They are listed inside the pipeline: the graph stays small however many there are.

    Args:
        stage: whose results.
        load: the stage -> its results.
    """

    def __init__(self, stage: Stage, load: Callable[[Stage], Iterable[Any]]) -> None:
        super().__init__()
        self._stage = stage
        self._load = load

    def expand(self, pbegin: beam.Pipeline) -> beam.PCollection[Any]:
        """See the class."""
        return (
            pbegin
            | "Stage" >> beam.Create([self._stage])
            | "List" >> beam.FlatMap(self._load)
            | "Spread" >> beam.Reshuffle()
        )
