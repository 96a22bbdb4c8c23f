"""Fits the n-gram estimator and the models of embeddings into a work folder, where later runs find them."""

import sys
from collections.abc import Callable, Sequence

from hir_transforms.commands import command_line
from hir_transforms.commands.apart import check_apart, inputs_of
from hir_transforms.commands.choosing import choose
from hir_transforms.commands.launching import build_pipeline, check_datasets, in_use
from hir_transforms.commands.running import run_main
from hir_transforms.common.messages import tell
from hir_transforms.documents.datasets import listed_once
from hir_transforms.graph.documents import score_documents
from hir_transforms.graph.embedding_ratio import fit_embedding_ratio
from hir_transforms.graph.graph import Graph
from hir_transforms.graph.ngrams import fit_estimator
from hir_transforms.graph.plan import plan_stages
from hir_transforms.settings.flags import SettingOptions, config_of, parse_options


def compose(graph: Graph) -> Callable[[], None]:
    """Raw and target to the estimators; returns what adds both to the graph."""
    estimator = fit_estimator(graph)
    fit_embedding_ratio(graph, score_documents(graph, estimator))
    return lambda: graph.complete(graph.stages.models)


def fit(options: SettingOptions) -> None:
    """Checks everything, computes what is missing, and prints where it is."""
    config = config_of(options, "fit")
    with in_use(config.work_dir):
        config, _ = choose(options, config)
        with listed_once():
            check_datasets(config)
            stages = plan_stages(config)
            check_apart(inputs_of(config), stages.all, checkpoints=config.mixtures.gmm_checkpoint_dir)
            launch = build_pipeline(options, config, stages, stages.models, compose)
        if launch.run():
            for stage in stages.models:
                tell(stage.folder)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `fit`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir fit", lambda: fit(parse_options(arguments, "fit")), arguments)


if __name__ == "__main__":
    sys.exit(run())
