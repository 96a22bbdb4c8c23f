"""The graph of an evaluation: each dataset is read twice, and what is found is measured and written."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.utils.shared import Shared

from hir_transforms.artifacts.output_folder import read_result
from hir_transforms.artifacts.stages import read_json
from hir_transforms.common import metrics
from hir_transforms.common.combining import Chunk, Gather, MergeCombineFn
from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import describe, to_json
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.reading import ReadTasks
from hir_transforms.embeddings.inference import infer_embeddings
from hir_transforms.embeddings.model import EmbeddingModel
from hir_transforms.evaluation.agreement import count_common
from hir_transforms.evaluation.drawing import DrawDocuments, drawn_of
from hir_transforms.evaluation.labels import CountLabels
from hir_transforms.evaluation.measures import MeasuredDataset, describe_evaluation
from hir_transforms.evaluation.summaries import LABELS, SUMS, TEXTS, SummarizeDataset, SummarySettings, summary_of
from hir_transforms.files import storage
from hir_transforms.files.patterns import escape, fixed_part
from hir_transforms.settings.config import PipelineConfig

KIND = "hir evaluation"
FORMAT_VERSION = 1
_COMMON = "common"
# What is known of a dataset: (its name, which of its parts), and a piece of the part.
_Part = tuple[tuple[str, str], Any]


@dataclass(frozen=True)
class EvaluationStep:
    """A step of an evaluation: its name among metrics, what it reads, and the steps that it waits for."""

    name: str
    datasets: tuple[Dataset, ...] = ()
    upstream: tuple["EvaluationStep", ...] = ()


@dataclass(frozen=True)
class EvaluationPlan:
    """What is measured.

    Attributes:
        datasets: by name: "target", "heldout" and "raw" where they are given, and "selected-0", "selected-1", ...
        given: how the user named each.
        settings: how each is summarized.
        wanted: the label of wanted documents.
        model: that embeds documents; None where none is to be embedded.
        path: of the file that is written.
    """

    datasets: dict[str, Dataset]
    given: dict[str, tuple[str, ...]]
    settings: dict[str, SummarySettings]
    wanted: str | None
    model: EmbeddingModel | None
    path: str

    @classmethod
    def of(cls, config: PipelineConfig, path: str) -> "EvaluationPlan":
        """What these settings ask for, without a model; raises `UserError` for a folder that is no output."""
        options = config.evaluation
        target = config.target
        assert target
        datasets = {"target": target}
        if options.heldout:
            datasets["heldout"] = replace(target, role="heldout", patterns=options.heldout)
        if config.inputs.raw:
            datasets["raw"] = config.raw
        given = {name: dataset.patterns for name, dataset in datasets.items()}
        for number, pattern in enumerate(options.selected):
            given[f"selected-{number}"] = (pattern,)
            # What is selected of records that a function loads are JSON lines.
            datasets[f"selected-{number}"] = replace(
                config.raw, role="selected", patterns=(_files_of(pattern),), load_dataset_fn=None
            )
        settings = {
            name: SummarySettings(
                name,
                config.ngrams,
                config.num_targets if name == "target" else 1,
                options.label_field,
                texts=_is_selection(name),
            )
            for name in datasets
        }
        return cls(datasets, given, settings, options.wanted, None, path)

    @property
    def selections(self) -> list[str]:
        """Names of the selections, in the order in which they are given."""
        return [name for name in self.datasets if _is_selection(name)]

    @property
    def steps(self) -> list[EvaluationStep]:
        """What is done one after the other, for those who look at the metrics meanwhile."""
        summaries = [EvaluationStep(one.summary, (self.datasets[name],)) for name, one in self.settings.items()]
        draws = [
            EvaluationStep(one.draw, (self.datasets[name],), tuple(summaries)) for name, one in self.settings.items()
        ]
        embedding = [EvaluationStep(one.embedding) for one in self.settings.values()] if self.model else []
        return [*summaries, *draws, *embedding]


def _is_selection(name: str) -> bool:
    return name.startswith("selected-")


def _files_of(pattern: str) -> str:
    """The pattern of an output's shards where its folder is named; any other as it is."""
    path, is_whole = fixed_part(pattern)
    # A folder may be named verbatim, whatever brackets its name has.
    folders = [*([pattern] if storage.is_local(pattern) else []), *([path] if is_whole else [])]
    for folder in folders:
        if read_result(folder.rstrip("/")):
            return f"{escape(folder.rstrip('/'))}/part-*-of-*"
    return pattern


def check_result_path(path: str) -> None:
    """Raises `UserError` where there is a file that is not the result of an evaluation."""
    if storage.exists(path):
        there = read_json(path)
        if not isinstance(there, dict) or there.get("kind") != KIND:
            raise UserError(f"--json: {path} exists, and is not the result of hir evaluate; choose another file")


def add_evaluation(pipeline: beam.Pipeline, plan: EvaluationPlan) -> None:
    """Adds all that it takes to write the result."""
    shared = Shared()
    tasks, found = {}, {}
    for name, dataset in plan.datasets.items():
        tasks[name] = pipeline | f"Read {name}" >> ReadTasks(dataset)
        summarize = SummarizeDataset(dataset, plan.settings[name], shared=shared)
        found[name] = tasks[name] | f"Summarize {name}" >> summarize
    sizes = None
    if "raw" in plan.datasets:
        numbers = [
            found[name][SUMS]
            | f"Counts of {name}" >> Gather()
            | f"Size of {name}" >> beam.Map(_size, plan.datasets[name], plan.settings[name])
            for name in plan.selections
        ]
        sizes = numbers | "Sizes" >> beam.Flatten()
    parts = []
    for name, dataset in plan.datasets.items():
        draw = DrawDocuments(
            dataset,
            plan.settings[name],
            sums=found[name][SUMS],
            sizes=sizes if name == "raw" else None,
            embed=infer_embeddings(plan.model) if plan.model else None,
            shared=shared,
        )
        of_dataset = {SUMS: found[name][SUMS], "drawn": tasks[name] | f"Draw {name}" >> draw}
        if plan.settings[name].label_field:
            of_dataset[LABELS] = found[name][LABELS] | f"Labels of {name}" >> CountLabels(plan.wanted)
        for part, pieces in of_dataset.items():
            parts.append(pieces | f"Name {part} of {name}" >> beam.Map(_named, (name, part)))
    _ = (
        [*parts, _common_texts(found, plan)]
        | "Everything" >> beam.Flatten()
        | "Gather" >> Gather()
        | "Measure" >> beam.Map(_write_measures, plan)
    )


def _named(piece: Any, name: tuple[str, str]) -> _Part:
    return name, piece


def _size(chunks: list[Chunk], dataset: Dataset, settings: SummarySettings) -> int:
    return summary_of(chunks, dataset, settings).documents


def _common_texts(found: dict[str, Any], plan: EvaluationPlan) -> beam.PCollection[_Part]:
    """One array, see `count_common`."""
    texts = [
        found[name][TEXTS] | f"Texts of {name}" >> beam.Map(_of_selection, number)
        for number, name in enumerate(plan.selections)
    ]
    return (
        texts
        | "Texts" >> beam.Flatten()
        | "ByPartition" >> beam.GroupByKey()
        | "Common" >> beam.Map(_count_common, len(texts))
        | "Add" >> beam.CombineGlobally(MergeCombineFn(np.add))
        | "Name texts" >> beam.Map(_named, ("", _COMMON))
    )


def _of_selection(
    texts: tuple[int, npt.NDArray[np.uint64]], number: int
) -> tuple[int, tuple[int, npt.NDArray[np.uint64]]]:
    partition, hashes = texts
    return partition, (number, hashes)


def _count_common(
    texts: tuple[int, Iterable[tuple[int, npt.NDArray[np.uint64]]]], num_selections: int
) -> npt.NDArray[np.int64]:
    of_selections: list[list[npt.NDArray[np.uint64]]] = [[np.empty(0, np.uint64)] for _ in range(num_selections)]
    for number, some in texts[1]:
        of_selections[number].append(some)
    return count_common([np.concatenate(parts) for parts in of_selections])


def _write_measures(parts: list[_Part], plan: EvaluationPlan) -> None:
    by_name: dict[tuple[str, str], list[Any]] = {}
    for name, piece in parts:
        by_name.setdefault(name, []).append(piece)
    (common,) = by_name["", _COMMON]
    measured = dict(_measured(by_name, plan))
    content = describe_evaluation(
        [measured[name] for name in plan.selections],
        common,
        target=measured["target"],
        heldout=measured.get("heldout"),
        raw=measured.get("raw"),
        wanted=plan.wanted,
        embeds=plan.model is not None,
    )
    head = {"kind": KIND, "format_version": FORMAT_VERSION, "settings": _describe_settings(plan)}
    storage.write_bytes(plan.path, to_json({**head, **content}), durable=True)
    for step in plan.steps:
        if not step.datasets:  # the others have told that themselves
            metrics.count(step.name, **{metrics.COMPLETE: 1})


def _measured(
    by_name: dict[tuple[str, str], list[Any]], plan: EvaluationPlan
) -> Iterator[tuple[str, MeasuredDataset]]:
    for name, dataset in plan.datasets.items():
        labels = by_name.get((name, LABELS))
        yield (
            name,
            MeasuredDataset(
                dataset,
                plan.given[name],
                summary_of(by_name.get((name, SUMS), ()), dataset, plan.settings[name]),
                drawn_of(by_name.get((name, "drawn"), ())),
                labels[0] if labels else None,
            ),
        )


def _describe_settings(plan: EvaluationPlan) -> dict[str, Any]:
    settings = plan.settings["target"]
    found = {"ngrams": describe(settings.ngrams), "label_field": settings.label_field, "wanted": plan.wanted}
    return found | {"embedding_model": describe(plan.model)} if plan.model else found
