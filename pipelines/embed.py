"""Embeds raw or target documents, or both, into a work folder where later selections find them."""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.datasets import Dataset, listed_once
from hir_transforms.embedding_source import EmbeddingFiles, EmbeddingSource, check_num_rows, check_sources
from hir_transforms.errors import UserError
from hir_transforms.input_checks import check_complete_stage, check_has_text
from hir_transforms.planning import most_pieces
from hir_transforms.stages import Stage
from pipelines import command_line
from pipelines.apart import check_apart
from pipelines.embeddings import embedding_shards, find_source, plan_embeddings
from pipelines.launching import Launch, in_use
from pipelines.options import SelectOptions, given_dataset, given_files, parse_options, work_folder
from pipelines.running import choose_runner, run_main
from pipelines.telling import tell


class Part(NamedTuple):
    """The stage of a dataset's embeddings, and where they come from."""

    stage: Stage
    dataset: Dataset
    source: EmbeddingSource


def embed(options: PipelineOptions) -> None:
    """Checks everything, embeds what is not embedded yet, and prints what there is."""
    flags = options.view_as(SelectOptions).get_all_options()
    work_dir = work_folder(flags)
    if work_dir is None:
        raise UserError("--work_dir is required: the folder that later runs find the embeddings in")
    with in_use(work_dir):
        with listed_once():
            parts = _plan(flags, work_dir)
            given = [given_files(flags, f"{part.dataset.role}_embeddings") for part in parts]
            inputs = [*(part.dataset for part in parts), *(files for files in given if files)]
            check_apart(inputs, [part.stage for part in parts])
            launch = _lay_out(options, parts)
        if launch.run():
            _tell(parts, launch)


def _tell(parts: list[Part], launch: Launch) -> None:
    for part in parts:
        counts = part.stage.counts()
        unchanged = "" if part.stage in launch.computed else ", unchanged, not computed again"
        tell(f"{counts['documents']} rows of {counts['dim']} numbers in {part.stage.folder}{unchanged}")


def _lay_out(options: PipelineOptions, parts: list[Part]) -> Launch:
    for part in parts:
        check_complete_stage(part.stage)
    missing = [part for part in parts if part.stage.manifest() is None]
    if not missing:
        return Launch([], [])
    for part in missing:
        if isinstance(part.source, EmbeddingFiles):
            check_num_rows(part.source, part.dataset)
        part.stage.own_files()
    for part in missing:
        part.stage.prepare()
    files = [file for part in missing for file in part.dataset.list_files()]
    pipeline = beam.Pipeline(runner=choose_runner(options, most_pieces(files)), options=options)
    for part in missing:
        embedding_shards(pipeline, part.stage, part.dataset, part.source, complete=False)
    return Launch([pipeline], [part.stage for part in missing])


def _plan(flags: dict[str, Any], work_dir: str) -> list[Part]:
    """The stage of each dataset that the flags name, with where its embeddings come from."""
    datasets = [given_dataset(flags, role) for role in ("raw", "target") if flags[role]]
    if not datasets:
        raise UserError("--raw or --target is required")
    for dataset in datasets:
        check_has_text(dataset)
    sources = [find_source(given_files(flags, f"{one.role}_embeddings"), flags) for one in datasets]
    if len(sources) == 2:
        check_sources(*sources)
    return [
        Part(plan_embeddings(work_dir, dataset, source), dataset, source)
        for dataset, source in zip(datasets, sources, strict=True)
    ]


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `embed`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir embed", lambda: embed(parse_options(arguments, SelectOptions, "hir embed")))


if __name__ == "__main__":
    sys.exit(run())
