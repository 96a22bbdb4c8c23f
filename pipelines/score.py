"""Scores all raw documents into a work folder, fitting what it takes if that is missing."""

import sys
from collections.abc import Sequence

from hir_transforms.commands import command_line
from hir_transforms.commands.apart import check_apart, inputs_of
from hir_transforms.commands.choosing import choose
from hir_transforms.commands.launching import build_pipeline, check_datasets, in_use
from hir_transforms.commands.running import run_main
from hir_transforms.common.messages import tell
from hir_transforms.documents.datasets import listed_once
from hir_transforms.graph.documents import score_documents
from hir_transforms.graph.embedding_ratio import fit_embedding_ratio
from hir_transforms.graph.graph import Graph, Node
from hir_transforms.graph.ngrams import fit_estimator
from hir_transforms.graph.plan import plan_stages
from hir_transforms.graph.scores import mix_weights
from hir_transforms.settings.flags import SettingOptions, config_of, parse_options


def compose(graph: Graph) -> Node:
    """Raw and target to the scores of raw's documents."""
    estimator = fit_estimator(graph)
    documents = score_documents(graph, estimator)
    embeddings = fit_embedding_ratio(graph, documents)
    return mix_weights(graph, documents, embeddings)


def score(options: SettingOptions) -> None:
    """Checks everything, computes what is missing, and prints what there is."""
    config = config_of(options, "score")
    with in_use(config.work_dir):
        config, _ = choose(options, config)
        with listed_once():
            check_datasets(config)
            stages = plan_stages(config)
            check_apart(inputs_of(config), stages.all, checkpoints=config.mixtures.gmm_checkpoint_dir)
            launch = build_pipeline(options, config, stages, [stages.scores], compose)
        if launch.run():
            counts = stages.scores.counts()
            tell(f"{counts['read']} read, {counts['rejected']} rejected")
            tell(stages.scores.folder)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `score`; returns the exit status."""
    arguments = command_line.arguments() if argv is None else argv
    return run_main("hir score", lambda: score(parse_options(arguments, "score")), arguments)


if __name__ == "__main__":
    sys.exit(run())
