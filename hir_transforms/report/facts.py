"""All that is known of a selection when its report is written."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hir_transforms.evaluation.nearness import ClusteredRows, cluster_rows
from hir_transforms.evaluation.two_samples import DrawnDocument
from hir_transforms.report.cuts import Cuts
from hir_transforms.report.deciding import Share
from hir_transforms.report.embedded import TARGET, EmbeddedRows, rows_of
from hir_transforms.report.places import PlaceSample
from hir_transforms.report.quality import MeasuredTexts
from hir_transforms.report.reading import ReadText, TargetText
from hir_transforms.selection.select import SelectionState


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of a selection.

    Attributes:
        measured: the sum over all score shards of what `measure_rows` gives.
        state: with all thresholds.
        cuts: where else the line could be.
        samples: of what that would select, by name.
        read: documents by (index of the file, offset): those that are shown, and where samples are read, those of
            these.
        target: documents of the target; none where it is not known.
        embedded: rows of documents of the target, and of samples.
        num_targets: T.
    """

    measured: Mapping[str, Any]
    state: SelectionState
    cuts: Cuts
    samples: Mapping[str, PlaceSample]
    read: Mapping[tuple[int, int], ReadText]
    target: Sequence[TargetText]
    embedded: Sequence[EmbeddedRows]
    num_targets: int

    def documents(self, name: str) -> list[ReadText]:
        """Those of a sample that were read, in the order of their hashes."""
        sample = self.samples[name]
        columns = (column[: sample.within].tolist() for column in (sample.file, sample.offsets))
        return [self.read[place] for place in zip(*columns, strict=True) if place in self.read]

    @functools.cached_property
    def texts(self) -> MeasuredTexts | None:
        """The n-grams of target and samples; None without a target to hold these against."""
        if not self.target:
            return None
        targets: list[list[DrawnDocument]] = [[] for _ in range(self.num_targets)]
        for one in self.target:
            targets[one.target].append(one.counted)
        sets = {name: [one.counted for one in self.documents(name) if one.counted] for name in self.samples}
        return MeasuredTexts.of(targets, sets)

    @functools.cached_property
    def rows(self) -> dict[str, EmbeddedRows]:
        """The embeddings of documents of `TARGET` and of samples; see `rows_of`."""
        return rows_of(self.embedded, self.samples)

    @functools.cached_property
    def clustered(self) -> dict[str, ClusteredRows]:
        """The same in clusters."""
        return cluster_rows({name: one.rows for name, one in self.rows.items()}) if self.rows else {}

    @property
    def words_of_clusters(self) -> tuple[npt.NDArray[np.int64], list[tuple[str, ...]], int]:
        """The clusters of all documents that are embedded and were read, each once; their words; and K."""
        words = {
            True: {one.counted.hash: one.words for one in self.target},
            False: {one.counted.hash: one.words for one in self.read.values() if one.counted},
        }
        # The hashes of the target's documents may be those of others in files of the same name.
        clusters = {
            (rows.of_target, hashed): cluster
            for name, rows in self.rows.items()
            for hashed, cluster in zip(rows.hashes.tolist(), self.clustered[name].clusters.tolist(), strict=True)
        }
        known = [place for place in clusters if place[1] in words[place[0]]]
        return (
            np.array([clusters[place] for place in known], np.int64),
            [words[of_target][hashed] for of_target, hashed in known],
            self.clustered[TARGET].num_clusters,
        )

    @property
    def ngram_shares(self) -> list[Share]:
        """What each n-gram adds to the weights of all documents whose n-grams are named."""
        found: dict[str, list[float]] = {}
        for read in self.read.values():
            for name, share in read.named:
                found.setdefault(name, []).append(share)
        return [(name, math.fsum(shares)) for name, shares in found.items()]
