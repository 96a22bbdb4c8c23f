"""The main job: raw and target in, the selected documents out, as one pipeline."""

import json
import os
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms import storage
from hir_transforms.config import SelectConfig
from hir_transforms.datasets import Dataset
from hir_transforms.embedding_source import EmbeddingFiles, check_num_rows
from hir_transforms.errors import UserError
from hir_transforms.locking import locked
from hir_transforms.numerics.ngrams import warm_up
from hir_transforms.planning import most_pieces, plan_tasks
from hir_transforms.reading import DocumentReader
from hir_transforms.records import Reject
from hir_transforms.stages import MANIFEST
from pipelines.embeddings import find_sources
from pipelines.graph import Stages, build, plan_stages
from pipelines.options import SelectOptions, parse_options, select_config
from pipelines.running import choose_runner, run_main


def check_inputs(config: SelectConfig) -> None:
    """Raises `UserError` for what would fail only after hours: missing or empty inputs, an output in the way."""
    config.raw.list_files()
    check_not_empty(config.target)
    if f"{config.work_dir}/".startswith(f"{config.output}/"):
        raise UserError(
            f"--work_dir: {config.work_dir} must not be in --output {config.output}, which is replaced whole"
        )
    if storage.exists(config.output):
        if not config.overwrite:
            raise UserError(f"--output: {config.output} exists and is not empty; add --overwrite to replace it")
        if storage.is_local(config.output) and not os.path.isdir(config.output):
            raise UserError(f"--output: {config.output} is a file, not a folder")
        if not storage.exists(storage.join(config.output, MANIFEST)):
            raise UserError(
                f"--output: {config.output} holds other files than a selection; --overwrite keeps off them"
            )


def check_not_empty(dataset: Dataset) -> None:
    """Raises `UserError` for a dataset without a single text; reads no further than the first."""
    rejects: list[Reject] = []
    reader = DocumentReader(dataset)
    for task in plan_tasks(dataset.list_files(), max_task_blocks=1):
        for group in reader.read(task):
            if any(text and not text.isspace() for text in group.texts):
                return
            rejects += group.rejects
    first = f"; the first of {len(rejects)} rejected lines: {rejects[0].reason}" if rejects else ""
    raise UserError(f"--{dataset.role}: no text in {', '.join(dataset.patterns)}{first}")


def prepare_featurizer(config: SelectConfig) -> None:
    """Compiles the n-gram kernel before several workers would; raises `UserError` for a tokenizer without data."""
    try:
        warm_up(config.ngram_settings)
    except ValueError as error:
        raise UserError(f"--tokenizer: {error}") from None


def select(options: PipelineOptions) -> None:
    """Checks everything, runs the pipeline, and prints what came out."""
    config = select_config(options.view_as(SelectOptions))
    with locked(config.work_dir, config.output):
        _select(options, config)


def _select(options: PipelineOptions, config: SelectConfig) -> None:
    check_inputs(config)
    storage.remove_temporary_files(config.work_dir)
    stages = plan_stages(config, find_sources(config))
    missing = [stage for stage in stages.all() if stage.manifest() is None]
    for part in (stages.raw, stages.target):
        if part and part.embeddings in missing and isinstance(part.source, EmbeddingFiles):
            check_num_rows(part.source, part.dataset)
    for stage in missing:
        stage.prepare()
    if unchanged := [stage.name for stage in stages.all() if stage not in missing]:
        print(f"unchanged in {config.work_dir}, not computed again: {', '.join(unchanged)}", file=sys.stderr)
    if stages.scores in missing:
        prepare_featurizer(config)
    temporary = storage.start_publishing(config.output)
    runner = choose_runner(options, most_pieces(config.raw.list_files()))
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline, config=config, stages=stages, temporary=temporary)
    pipeline.run().wait_until_finish()
    report(config, stages)


def report(config: SelectConfig, stages: Stages) -> None:
    """Prints warnings of the fits and the counts of the result."""
    for stage in stages.all():
        if warning := (stage.manifest() or {"counts": {}})["counts"].get("warning"):
            print(f"warning: {stage.name}: {warning}", file=sys.stderr)
    counts = json.loads(storage.read_bytes(storage.join(config.output, MANIFEST)))["counts"]
    print(", ".join(f"{counts[name]} {name}" for name in ("read", "rejected", "short", "eligible", "selected")))
    print(config.output)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `select`; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    return run_main("hir select", lambda: select(parse_options(arguments, SelectOptions, "hir select")))


if __name__ == "__main__":
    sys.exit(run())
