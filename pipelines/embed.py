"""Embeds raw or target documents, or both, into a work folder where later selections find them."""

import sys
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms import storage
from hir_transforms.datasets import Dataset
from hir_transforms.embedding_source import EmbeddingFiles, EmbeddingSource, check_num_rows, check_sources
from hir_transforms.errors import UserError
from hir_transforms.locking import locked
from hir_transforms.planning import most_pieces
from hir_transforms.stages import Stage
from pipelines.embeddings import embedding_shards, find_source, plan_embeddings
from pipelines.options import SelectOptions, given_dataset, given_embeddings, parse_options, work_folder
from pipelines.running import choose_runner, run_main
from pipelines.select import check_not_empty


def embed(options: PipelineOptions) -> None:
    """Checks everything, embeds what is not embedded yet, and prints what there is."""
    flags = options.view_as(SelectOptions).get_all_options()
    work_dir = work_folder(flags)
    if work_dir is None:
        raise UserError("--work_dir is required: the folder that later runs find the embeddings in")
    with locked(work_dir):
        _embed(options, flags, work_dir)


def _embed(options: PipelineOptions, flags: dict[str, Any], work_dir: str) -> None:
    storage.remove_temporary_files(work_dir)
    parts = _plan(flags, work_dir)
    missing = [part for part in parts if part[0].manifest() is None]
    for stage, dataset, source in missing:
        if isinstance(source, EmbeddingFiles):
            check_num_rows(source, dataset)
        stage.prepare()
    if missing:
        files = [file for _, dataset, _ in missing for file in dataset.list_files()]
        runner = choose_runner(options, most_pieces(files))
        pipeline = beam.Pipeline(runner=runner, options=options)
        for stage, dataset, source in missing:
            embedding_shards(pipeline, stage, dataset, source)
        pipeline.run().wait_until_finish()
    for part in parts:
        stage = part[0]
        counts = stage.counts()
        unchanged = "" if part in missing else ", unchanged, not computed again"
        print(f"{counts['documents']} rows of {counts['dim']} numbers in {stage.folder}{unchanged}")


def _plan(flags: dict[str, Any], work_dir: str) -> list[tuple[Stage, Dataset, EmbeddingSource]]:
    """The stage of each dataset that the flags name, with where its embeddings come from."""
    datasets = [given_dataset(flags, role) for role in ("raw", "target") if flags[role]]
    if not datasets:
        raise UserError("--raw or --target is required")
    for dataset in datasets:
        check_not_empty(dataset)
    sources = [find_source(given_embeddings(flags, one.role), flags) for one in datasets]
    if len(sources) == 2:
        check_sources(*sources)
    return [
        (plan_embeddings(work_dir, dataset, source), dataset, source)
        for dataset, source in zip(datasets, sources, strict=True)
    ]


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `embed`; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    return run_main("hir embed", lambda: embed(parse_options(arguments, SelectOptions, "hir embed")))


if __name__ == "__main__":
    sys.exit(run())
