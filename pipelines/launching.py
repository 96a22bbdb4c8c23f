"""What every command does: check its inputs, make the stages ready, run the graph, and tell what was done."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms import storage
from hir_transforms.config import SelectConfig
from hir_transforms.embedding_source import EmbeddingFiles, check_num_rows
from hir_transforms.errors import UserError
from hir_transforms.input_checks import check_complete_stage, check_has_text
from hir_transforms.locking import locked
from hir_transforms.numerics.ngrams import warm_up
from hir_transforms.planning import most_pieces
from hir_transforms.stages import Stage, missing_stages
from pipelines.graph import ScoreGraph
from pipelines.plan import Stages
from pipelines.portable import run_to_end
from pipelines.running import choose_runner

# What a raw corpus without any text, such as one of another --text_field, is found out by at once.
_MAX_GROUPS_OF_RAW = 16


@contextlib.contextmanager
def in_use(work_dir: str, output: str | None = None) -> Iterator[None]:
    """Keeps other runs off both folders, and clears the work folder of temporary files that a killed run has left."""
    with locked(work_dir, *([output] if output else [])):
        storage.remove_temporary_files(work_dir)
        yield


def check_datasets(config: SelectConfig) -> None:
    """Raises `UserError` for what would fail only after hours: missing or empty inputs."""
    check_has_text(config.raw, max_groups=_MAX_GROUPS_OF_RAW)
    if config.target:
        if config.separate_targets:
            config.target.target_starts()
        check_has_text(config.target, by_target=config.separate_targets)


@dataclass(frozen=True)
class Launch:
    """A pipeline that is ready to run (None: nothing to do), and the stages that it computes."""

    pipeline: beam.Pipeline | None
    computed: list[Stage]

    def run(self) -> bool:
        """Runs it to its end and tells the warnings of fits; returns whether it is done, and not only handed over."""
        if self.pipeline is not None and not run_to_end(self.pipeline):
            return False
        for stage in self.computed:
            if warning := (stage.manifest() or {"counts": {}})["counts"].get("warning"):
                print(f"warning: {stage.name}: {warning}", file=sys.stderr)
        return True


def lay_out(
    options: PipelineOptions,
    config: SelectConfig,
    stages: Stages,
    wanted: list[Stage],
    extend: Callable[[ScoreGraph], None] | None = None,
) -> Launch:
    """Makes ready the pipeline that computes what the wanted stages lack, and what `extend` adds to the graph.

    Raises:
        UserError: for what cannot come to a good end.
    """
    missing = missing_stages(wanted)
    for stage in stages.all:
        check_complete_stage(stage)
    _check_num_rows(config, stages, missing)
    _warm_up(config, missing)
    for stage in missing:
        stage.prepare()
    if unchanged := [stage.name for stage in stages.all if stage.manifest()]:
        print(f"unchanged in {config.work_dir}, not computed again: {', '.join(unchanged)}", file=sys.stderr)
    if not missing and not extend:
        return Launch(None, [])
    pipeline = beam.Pipeline(runner=choose_runner(options, most_pieces(config.raw.list_files())), options=options)
    graph = ScoreGraph(pipeline, config, stages, missing)
    graph.build(wanted)
    if extend:
        extend(graph)
    return Launch(pipeline, missing)


def _check_num_rows(config: SelectConfig, stages: Stages, missing: list[Stage]) -> None:
    """Checks embeddings that were brought along, before anything that takes long."""
    if stages.embeddings is None:
        return
    embedded = stages.embeddings
    raw, target = embedded.sources.raw, embedded.sources.target
    for stage, dataset, source in ((embedded.raw, config.raw, raw), (embedded.target, config.target, target)):
        if stage in missing and dataset and isinstance(source, EmbeddingFiles):
            check_num_rows(source, dataset)


def _warm_up(config: SelectConfig, missing: list[Stage]) -> None:
    """Compiles the n-gram kernel before several workers would; raises `UserError` for a tokenizer without data."""
    if {stage.name for stage in missing} & {"counts/raw", "counts/target", "documents", "ngram_weights"}:
        try:
            warm_up(config.ngram_settings)
        except ValueError as error:
            raise UserError(f"--tokenizer: {error}") from None
