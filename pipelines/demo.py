"""A complete selection on real text, without a network: which docstrings read like scikit-learn's?"""

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hir_transforms.commands import display
from hir_transforms.commands.docstring_corpus import TARGET_SIZE, TARGET_SOURCE, write_corpus
from hir_transforms.commands.running import run_main
from hir_transforms.common.extras import require_extra
from hir_transforms.settings.flags import parse_options

from .select import select

if TYPE_CHECKING:
    from rich.table import Table


def select_arguments(raw: Path, target: Path, work: Path) -> list[str]:
    """The options of `pipelines.select` for the demo: estimators and alpha are left to be chosen by trial."""
    return [
        f"--raw={raw}",
        f"--target={target}",
        f"--output={work / 'output'}",
        f"--num_to_sample={TARGET_SIZE}",
        "--top_k",
        "--alpha=auto",
        "--ngram_estimator=auto",
        "--embedding_estimator=auto",
        "--embedding_dim=auto",
        "--overwrite",
    ]


def count_sources(paths: Iterable[Path]) -> Counter[str]:
    """How many documents of jsonl files have each value of the field `source`."""
    return Counter(json.loads(line)["source"] for path in paths for line in path.read_text("utf-8").splitlines())


def sources_table(raw: Counter[str], selected: Counter[str]) -> "Table":
    """How raw and selected documents spread over the sources, most selected first, the target's source in bold."""
    from rich import box
    from rich.table import Table

    table = Table("source", box=box.SIMPLE_HEAD)
    for heading in ("raw", "%", "selected", "%"):
        table.add_column(heading, justify="right")
    for source, count in sorted(raw.items(), key=lambda item: (-selected[item[0]], item)):
        table.add_row(
            source,
            *(f"{count}", f"{count / raw.total():.1%}"),
            *(f"{selected[source]}", f"{selected[source] / selected.total():.1%}"),
            style="bold" if source == TARGET_SOURCE else None,
        )
    return table


def demo(work: Path) -> None:
    """Builds the corpus where it is missing, selects from it and prints what was selected.

    Raises:
        UserError: if the extra `demo` is not installed, or the selection fails.
    """
    require_extra("demo", "the demo")
    from rich.console import Console

    console = Console(highlight=False)
    console.print(f"Docstrings of installed packages: {work / 'corpus'}", soft_wrap=True)
    raw, target = write_corpus(work / "corpus")
    arguments = select_arguments(raw, target, work)
    console.print(f"hir select {shlex.join(arguments)}", soft_wrap=True)
    with display.shown("hir select", arguments):
        select(parse_options(arguments, "select"))

    output = work / "output"
    manifest = json.loads((output / "manifest.json").read_text("utf-8"))
    shards = [output / shard["name"] for shard in manifest["shards"]]
    console.print(sources_table(count_sources([raw]), count_sources(shards)))
    console.print(f"The selected documents: {output}/part-*.jsonl", soft_wrap=True)
    console.print(
        "Next, run the command above without --top_k (a sample), or with --alpha=1 (n-grams alone).", soft_wrap=True
    )


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit status."""
    parser = argparse.ArgumentParser(prog="hir demo", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("demo"), metavar="DIR", help="where to write [%(default)s]")
    return run_main("hir demo", lambda: demo(parser.parse_args(argv).work))


if __name__ == "__main__":
    sys.exit(run())
