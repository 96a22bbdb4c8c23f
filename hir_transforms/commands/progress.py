"""How far the stages of a run are, told by their metrics while it runs; and what is to be told of them at once."""

import contextlib
import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from hir_transforms.artifacts.stages import Stage
from hir_transforms.commands.display import Line, duration, show
from hir_transforms.common import metrics
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.read_tasks import estimated_bytes
from hir_transforms.runners.live_metrics import Counters
from hir_transforms.selection.select import SELECTION
from hir_transforms.selection.write import OUTPUT

_POLL_SECONDS = 1.0
_ROLES = ("raw", "target")
# Stages that go through all documents of raw, beside those that are named after a dataset.
_OF_RAW = ("documents", "ngram_weights", "gmm_weights", "scores")
# Those that tell how many documents a dataset has.
_TELLING = {"raw": ("documents", "embeddings/raw", "counts/raw"), "target": ("counts/target", "embeddings/target")}
# What counts as a document of a stage done, first of all what it takes longest to make of it.
_DONE = ("embedded", "documents", "measured")


class Step(Protocol):
    """What a run does and counts metrics of: a stage, or what keeps nothing in a work folder."""

    @property
    def name(self) -> str:
        """What its metrics are counted under."""

    @property
    def datasets(self) -> Sequence[Dataset]:
        """What it reads."""

    @property
    def upstream(self) -> Sequence["Step"]:
        """Those that it waits for."""


S = TypeVar("S", bound=Step)


@dataclass
class Progress(Generic[S]):
    """How far the stages are that a run computes.

    Attributes:
        stages: in their order.
        sizes: bytes of text that each reads, where it reads any; estimated where it is compressed. Of several datasets
            the first is read whole and counts here; how much of the others, the stage tells while it runs.
        documents: of each dataset, where that is known beforehand.
        on_complete: called with a stage as soon as it is known to be complete.
        seconds: how long each complete stage took.
    """

    stages: Sequence[S]
    sizes: Mapping[str, int]
    documents: dict[str, int] = field(default_factory=dict)
    on_complete: Callable[[S], None] = lambda _: None
    seconds: dict[str, float] = field(default_factory=dict)
    _before: Counter[str] = field(default_factory=Counter)
    _counters: Counter[str] = field(default_factory=Counter)
    _began: dict[str, tuple[float, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, stages: Sequence[Stage], on_complete: Callable[[Stage], None]) -> "Progress[Stage]":
        """That of stages to be computed, before any of them is."""
        reading = [stage for stage in stages if stage.datasets and stage.dataset.role in _ROLES]
        sizes = {stage.name: estimated_bytes(stage.dataset.list_files()) for stage in reading}
        documents = {}
        for role, names in _TELLING.items():
            telling = [needed for stage in stages for needed in stage.upstream if needed.name in names]
            for manifest in filter(None, (stage.manifest() for stage in telling)):
                documents[role] = manifest["counts"]["read"] - manifest["counts"]["rejected"]
        return Progress(stages, sizes, documents, on_complete)

    @contextlib.contextmanager
    def watch(self, counters: Counters) -> Iterator[None]:
        """Within the block, looks at the counters of a job again and again, and once more at its end."""
        stop = threading.Event()

        def look_again() -> None:
            while not stop.wait(_POLL_SECONDS):
                self.update(counters())

        thread = threading.Thread(name="progress", target=look_again, daemon=True)
        self.update({})
        thread.start()
        try:
            yield
        finally:
            stop.set()
        thread.join()
        self.update(counters())
        self._before = self._counters.copy()

    def end(self) -> None:
        """Tells of the stages whose runner did not tell that they are complete; all are."""
        for stage in self.stages:
            if stage.name not in self.seconds:
                self.on_complete(stage)

    def update(self, counters: Mapping[str, int]) -> None:
        """Takes the counters of the job that runs, tells of what is complete by now, and shows the rest."""
        now = time.monotonic()
        # A runner may be asked too early or too late: what it told before stays.
        self._counters |= self._before + Counter(counters)
        counted = {name.rpartition(".")[0] for name in self._counters}
        for name in (counted | self._ready()) - self._began.keys():
            self._began[name] = now, self._amount(name)
        for stage in self.stages:
            if self._is_complete(stage.name) and stage.name not in self.seconds:
                self.seconds[stage.name] = round(now - self._began[stage.name][0], 1)
                self.on_complete(stage)
        show("running" if counted else "starting workers", [*self._lines(now)])

    def _ready(self) -> set[str]:
        """The stages that wait for no other: one that fits, say, counts nothing before its end."""
        missing = {stage.name for stage in self.stages if not self._is_complete(stage.name)}
        waiting_for = {stage.name: {needed.name for needed in stage.upstream} for stage in self.stages}
        return {name for name, needed in waiting_for.items() if needed and not needed & missing}

    def _lines(self, now: float) -> Iterator[Line]:
        for name in (*(stage.name for stage in self.stages), SELECTION, OUTPUT):
            if self._is_complete(name):
                yield Line(name, "done", ", ".join(self._amounts(name)))
            elif name in self._began:
                share = self._share(name)
                amounts = [*self._amounts(name), *self._pace(name, share, now)]
                yield Line(name, "running", ", ".join(amounts) or duration(now - self._began[name][0]), share)
            elif name not in (SELECTION, OUTPUT):
                yield Line(name, "waiting")

    def _is_complete(self, name: str) -> bool:
        # What is selected is known once it is written.
        return f"{OUTPUT if name == SELECTION else name}.{metrics.COMPLETE}" in self._counters

    def _told(self, name: str, what: str) -> int:
        return self._counters[f"{name}.{what}"]

    def _done(self, name: str) -> int:
        """Documents of a stage that are done."""
        return next((found for what in _DONE if (found := self._told(name, what))), 0)

    def _amount(self, name: str) -> int:
        """What a stage has done, in the unit that its pace is told in."""
        return self._told(name, "bytes") if self._size(name) else self._done(name)

    def _size(self, name: str) -> int:
        """Bytes that a stage reads; 0 where it reads no text, or has not told yet how much."""
        sampled = self._told(name, "bytes_to_read")
        if name in self._samples:
            return self.sizes[name] + sampled if sampled else 0
        return sampled or self.sizes.get(name, 0) * bool(self._told(name, "bytes"))

    @functools.cached_property
    def _samples(self) -> set[str]:
        """The stages that read a sample beside the dataset that they read whole."""
        return {stage.name for stage in self.stages if len(stage.datasets) > 1 and stage.name in self.sizes}

    def _total(self, name: str) -> int:
        """Documents that a stage goes through; 0 where that is not known."""
        role = "raw" if name in _OF_RAW else name.rpartition("/")[2]
        if role not in _ROLES or name.startswith("gmm/") or self._told(name, "bytes_to_read"):
            return 0
        for telling in _TELLING[role]:
            if self._is_complete(telling) and not self._told(telling, "bytes_to_read"):
                return self._told(telling, "documents")
        return self.documents.get(role, 0)

    def _share(self, name: str) -> float | None:
        """The share that a stage has done; None where it is not known, as when it fits to all that it has read."""
        if self._told(name, metrics.FITTING):
            return None
        for done, total in ((self._told(name, "bytes"), self._size(name)), (self._done(name), self._total(name))):
            if total:
                return done / total if done < total else None
        return None

    def _amounts(self, name: str) -> Iterator[str]:
        documents, total, is_done = self._done(name), self._total(name), self._is_complete(name)
        if documents:
            yield f"{documents:,} {f'of {total:,} ' if total and not is_done else ''}documents"
        if num_bytes := self._told(name, "bytes"):
            size = 0 if is_done or num_bytes > self._size(name) else self._size(name)
            yield f"{_megabytes(num_bytes)} {f'of {_megabytes(size)} ' if size else ''}MB"
        if self._told(name, metrics.FITTING) and not is_done:
            yield "fitting"
        if iterations := self._told(name, "iterations"):
            yield f"{iterations} iterations"

    def _pace(self, name: str, share: float | None, now: float) -> Iterator[str]:
        """The rate of a stage since it was first seen, and the time that is left at this rate."""
        began, at_first = self._began[name]
        seconds, amount = now - began, self._amount(name) - at_first
        if seconds and amount:
            rate = amount / seconds
            yield f"{rate / 1e6:,.1f} MB/s" if self._size(name) else f"{rate:,.0f} documents/s"
            if share:
                yield f"{duration(self._amount(name) / share * (1 - share) / rate)} left"


def _megabytes(num_bytes: int) -> str:
    megabytes = num_bytes / 1e6
    return f"{megabytes:,.1f}" if megabytes < 10 else f"{megabytes:,.0f}"
