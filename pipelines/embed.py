"""Embeds raw or target documents, or both, into a work folder where later selections find them."""

import sys
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.artifacts.stages import Stage
from hir_transforms.commands import command_line
from hir_transforms.commands.apart import check_apart
from hir_transforms.commands.input_checks import check_complete_stage, check_has_text
from hir_transforms.commands.launching import Launch, in_use
from hir_transforms.commands.running import choose_runner, run_main
from hir_transforms.common.errors import UserError
from hir_transforms.common.messages import tell
from hir_transforms.documents.datasets import listed_once
from hir_transforms.documents.read_tasks import most_pieces
from hir_transforms.embeddings.source import EmbeddingFiles, EmbeddingSource, check_num_rows, check_sources
from hir_transforms.graph.embeddings import embedding_shards, find_source, plan_embeddings
from hir_transforms.settings.flags import SelectOptions, given_dataset, given_files, parse_options, work_folder


def embed(options: PipelineOptions) -> None:
    """Checks everything, embeds what is not embedded yet, and prints what there is."""
    flags = options.view_as(SelectOptions).get_all_options()
    work_dir = work_folder(flags)
    if work_dir is None:
        raise UserError("--work_dir is required: the folder that later runs find the embeddings in")
    with in_use(work_dir):
        with listed_once():
            stages = _plan(flags, work_dir)
            given = [given_files(flags, f"{stage.dataset.role}_embeddings") for stage in stages]
            inputs = [*(stage.dataset for stage in stages), *(files for files in given if files)]
            check_apart(inputs, stages)
            launch = _lay_out(options, stages)
        if launch.run():
            _tell(stages, launch)


def _tell(stages: list[Stage[EmbeddingSource]], launch: Launch) -> None:
    for stage in stages:
        counts = stage.counts()
        unchanged = "" if stage in launch.computed else ", unchanged, not computed again"
        tell(f"{counts['documents']} rows of {counts['dim']} numbers in {stage.folder}{unchanged}")


def _lay_out(options: PipelineOptions, stages: list[Stage[EmbeddingSource]]) -> Launch:
    for stage in stages:
        check_complete_stage(stage)
    missing = [stage for stage in stages if stage.manifest() is None]
    if not missing:
        return Launch([], [])
    for stage in missing:
        if isinstance(stage.settings, EmbeddingFiles):
            check_num_rows(stage.settings, stage.dataset)
        stage.own_files()
    for stage in missing:
        stage.prepare()
    files = [file for stage in missing for file in stage.dataset.list_files()]
    pipeline = beam.Pipeline(runner=choose_runner(options, most_pieces(files)), options=options)
    for stage in missing:
        embedding_shards(pipeline, stage, complete=False)
    return Launch([pipeline], missing)


def _plan(flags: dict[str, Any], work_dir: str) -> list[Stage[EmbeddingSource]]:
    """The stage of the embeddings of each dataset that the flags name."""
    datasets = [given_dataset(flags, role) for role in ("raw", "target") if flags[role]]
    if not datasets:
        raise UserError("--raw or --target is required")
    for dataset in datasets:
        check_has_text(dataset)
    sources = [find_source(given_files(flags, f"{one.role}_embeddings"), flags) for one in datasets]
    if len(sources) == 2:
        check_sources(*sources)
    return [plan_embeddings(work_dir, dataset, source) for dataset, source in zip(datasets, sources, strict=True)]


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `embed`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir embed", lambda: embed(parse_options(arguments, SelectOptions, "hir embed")))


if __name__ == "__main__":
    sys.exit(run())
