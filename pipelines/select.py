"""The main job: raw and target in, the selected documents out, as one pipeline."""

import sys
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.config import SelectConfig
from pipelines.graph import ScoreGraph
from pipelines.launching import check_datasets, run_graph
from pipelines.options import SelectOptions, parse_options, select_config
from pipelines.plan import Stages, plan_stages
from pipelines.running import run_main
from pipelines.selection import add_selection, check_output, print_counts


def select(options: PipelineOptions) -> None:
    """Checks everything, runs the pipeline, and prints what came out."""
    config = select_config(options.view_as(SelectOptions))
    check_datasets(config)
    check_output(config)
    run_selection(options, config, plan_stages(config))


def run_selection(options: PipelineOptions, config: SelectConfig, stages: Stages) -> None:
    """Runs the pipeline, and prints what came out."""

    def extend(graph: ScoreGraph) -> None:
        add_selection(
            graph.scores,
            config,
            stages.scores,
            num_targets=config.num_targets,
            proportions=graph.proportions,
            stages=[stage.name for stage in stages.all],
            settings=config.settings(),
        )

    run_graph(options, config, stages, [stages.scores], extend)
    assert config.output
    print_counts(config.output)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `select`; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    return run_main("hir select", lambda: select(parse_options(arguments, SelectOptions, "hir select")))


if __name__ == "__main__":
    sys.exit(run())
