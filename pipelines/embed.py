"""Embeds raw or target documents, or both, into a work folder where later selections find them."""

import sys
from collections.abc import Sequence

import apache_beam as beam

from hir_transforms.artifacts.stages import Stage
from hir_transforms.commands import command_line
from hir_transforms.commands.apart import check_apart, inputs_of
from hir_transforms.commands.input_checks import check_complete_stage, check_has_text
from hir_transforms.commands.launching import Launch, check_num_rows_of, in_use, prepare
from hir_transforms.commands.running import choose_runner, run_main
from hir_transforms.common.errors import UserError
from hir_transforms.common.messages import tell
from hir_transforms.documents.datasets import listed_once
from hir_transforms.documents.read_tasks import max_useful_workers
from hir_transforms.embeddings.plan import find_sources, plan_embeddings
from hir_transforms.embeddings.source import EmbeddingSource
from hir_transforms.graph.embeddings import embed_documents
from hir_transforms.settings.config import PipelineConfig
from hir_transforms.settings.flags import SettingOptions, config_of, parse_options


def embed(options: SettingOptions) -> None:
    """Checks everything, embeds what is not embedded yet, and prints what there is."""
    config = config_of(options, "embed")
    with in_use(config.work_dir):
        with listed_once():
            stages = _plan(config)
            check_apart(inputs_of(config), stages)
            launch = _build(options, stages)
        if launch.run():
            _print_summary(stages, launch)


def _plan(config: PipelineConfig) -> list[Stage[EmbeddingSource]]:
    """The stage of the embeddings of each dataset that is given."""
    datasets = [dataset for dataset in (config.raw, config.target) if dataset and dataset.patterns]
    if not datasets:
        raise UserError("--raw or --target is required")
    for dataset in datasets:
        check_has_text(dataset)
    sources = find_sources(config.work_dir, config.embeddings, datasets)
    return [plan_embeddings(config.work_dir, *one) for one in zip(datasets, sources, strict=True)]


def _build(options: SettingOptions, stages: list[Stage[EmbeddingSource]]) -> Launch:
    for stage in stages:
        check_complete_stage(stage)
    missing = [stage for stage in stages if stage.manifest() is None]
    if not missing:
        return Launch([], [])
    check_num_rows_of(missing)
    prepare(missing)
    files = [file for stage in missing for file in stage.dataset.list_files()]
    pipeline = beam.Pipeline(runner=choose_runner(options, max_useful_workers(files)), options=options)
    for stage in missing:
        embed_documents(pipeline, stage)
    return Launch([pipeline], missing)


def _print_summary(stages: list[Stage[EmbeddingSource]], launch: Launch) -> None:
    for stage in stages:
        counts = stage.counts()
        unchanged = "" if stage in launch.computed else ", unchanged, not computed again"
        tell(f"{counts['documents']} rows of {counts['dim']} numbers in {stage.folder}{unchanged}")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `embed`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir embed", lambda: embed(parse_options(arguments, "embed")), arguments)


if __name__ == "__main__":
    sys.exit(run())
