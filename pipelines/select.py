"""The main job: raw and target in, the selected documents out, as one pipeline."""

import json
import os
import sys
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms import storage
from hir_transforms.config import SelectConfig
from hir_transforms.errors import UserError
from hir_transforms.selecting import SelectDocuments, SelectionSettings
from hir_transforms.stages import MANIFEST
from hir_transforms.writing import OutputSettings, WriteSelection
from pipelines.graph import ScoreGraph
from pipelines.launching import check_datasets, run_graph
from pipelines.options import SelectOptions, parse_options, select_config
from pipelines.plan import Stages, plan_stages
from pipelines.running import run_main


def check_output(config: SelectConfig) -> None:
    """Raises `UserError` for an output that is in the way."""
    assert config.output
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


def select(options: PipelineOptions) -> None:
    """Checks everything, runs the pipeline, and prints what came out."""
    config = select_config(options.view_as(SelectOptions))
    check_datasets(config)
    check_output(config)
    stages = plan_stages(config)
    # Beside its final place, so that one rename moves it.
    temporary = f"{config.output}.incomplete"
    storage.remove_folder(temporary)
    run_graph(options, config, stages, [stages.scores], lambda graph: add_selection(graph, config, stages, temporary))
    report(config)


def add_selection(graph: ScoreGraph, config: SelectConfig, stages: Stages, temporary: str) -> None:
    """Adds the selection and its writing to the graph; the output is put together in `temporary`."""
    assert config.output
    assert config.num_to_sample
    selection = SelectionSettings(config.num_to_sample, config.top_k, config.seed, config.min_example_length)
    output = OutputSettings(
        config.output,
        temporary,
        config.num_shards,
        config.compression,
        config.settings(),
        {"raw": stages.documents.folder},
    )
    graph.scores | "Select" >> SelectDocuments(selection) | "Write" >> WriteSelection(output)


def report(config: SelectConfig) -> None:
    """Prints the counts of the result."""
    assert config.output
    counts = json.loads(storage.read_bytes(storage.join(config.output, MANIFEST)))["counts"]
    print(", ".join(f"{counts[name]} {name}" for name in ("read", "rejected", "short", "eligible", "selected")))
    print(config.output)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `select`; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    return run_main("hir select", lambda: select(parse_options(arguments, SelectOptions, "hir select")))


if __name__ == "__main__":
    sys.exit(run())
