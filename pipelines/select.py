"""The main job: raw and target in, the selected documents out, as one pipeline."""

import sys
from collections.abc import Callable, Sequence

from hir_transforms.commands import command_line
from hir_transforms.commands.choosing import choose
from hir_transforms.commands.launching import build_selection, check_datasets, in_use
from hir_transforms.commands.running import run_main
from hir_transforms.documents.datasets import listed_once
from hir_transforms.graph.documents import score_documents
from hir_transforms.graph.embedding_ratio import fit_embedding_ratio
from hir_transforms.graph.graph import Graph
from hir_transforms.graph.ngrams import fit_estimator
from hir_transforms.graph.plan import plan_stages
from hir_transforms.graph.scores import mix_weights
from hir_transforms.graph.selection import SelectionPlan, print_counts, write_selection
from hir_transforms.settings.flags import SettingOptions, config_of, parse_options


def compose(graph: Graph, plan: SelectionPlan) -> Callable[[], None]:
    """The whole data flow; each step is computed if its stage is missing, else read, and left out if nothing needs it.

    Returns:
        What adds the last step to the graph, and with it all those that it takes.
    """
    estimator = fit_estimator(graph)  # raw and target, counted, to log ratios of n-grams
    documents = score_documents(graph, estimator)  # raw's text to a list of documents and their n-gram weights
    embeddings = fit_embedding_ratio(graph, documents)  # raw and target to embeddings to what scores embeddings
    scores = mix_weights(graph, documents, embeddings)  # embeddings to weights; both weights to scores
    return lambda: write_selection(plan, scores())  # scores to the selected lines


def select(options: SettingOptions) -> None:
    """Checks everything, runs the pipeline, and prints what came out."""
    config = config_of(options, "select")
    with in_use(config.work_dir, config.output.output):
        config, trials = choose(options, config)
        with listed_once():
            check_datasets(config)
            stages = plan_stages(config)
            plan = SelectionPlan.of(config, stages, trials)
            launch = build_selection(options, plan, stages, compose)
        if launch.run():
            print_counts(plan.output)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `select`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir select", lambda: select(parse_options(arguments, "select")), arguments)


if __name__ == "__main__":
    sys.exit(run())
