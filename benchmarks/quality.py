"""What the embedding part gives: how many of the selected documents are of the wanted kind, by its settings.

    python -m benchmarks.quality --raw raw.jsonl --target target.jsonl --label_field source --wanted postgresql

Raw is labelled: a document is wanted if its label begins with the given text. Labels are not shown to the selection.
Embeddings are computed once, in the work folder; other flags of `select` may follow.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines import select


def count_wanted(output: Path, label_field: str, wanted: str) -> int:
    """Number of selected documents whose label begins with `wanted`."""
    lines = (line for part in sorted(output.glob("part-*.jsonl")) for line in part.read_bytes().splitlines())
    return sum(str(json.loads(line)[label_field]).startswith(wanted) for line in lines)


def run_select(flags: list[str]) -> None:
    """Runs `select` silently; raises `SystemExit` with what it printed if it fails."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = select.run(flags)
    if status:
        sys.exit(printed.getvalue())


def main(argv: Sequence[str] | None = None) -> None:
    """Runs everything and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0], allow_abbrev=False)
    parser.add_argument("--raw", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--label_field", required=True, help="JSON field of raw's labels")
    parser.add_argument("--wanted", required=True, help="how the label of a wanted document begins")
    parser.add_argument("--work_dir", help="a folder to keep; embeddings that it holds are used")
    parser.add_argument("--num_to_sample", type=int, default=360)
    parser.add_argument("--alphas", default="0,0.25,0.5,0.75,1")
    parser.add_argument("--dims", default="0,16,64")
    parser.add_argument("--scalings", default="none,standardize")
    arguments, flags = parser.parse_known_args(argv)
    alphas = arguments.alphas.split(",")
    table = Table("--embedding_dim", "--weight_scaling", *(f"alpha {alpha}" for alpha in alphas))
    with tempfile.TemporaryDirectory() as temporary:
        inputs = [f"--raw={arguments.raw}", f"--target={arguments.target}"]
        work = [f"--work_dir={arguments.work_dir or temporary + '/work'}", f"--output={temporary}/out", "--overwrite"]
        fixed = [*inputs, *work, f"--num_to_sample={arguments.num_to_sample}", "--top_k", *flags]
        for dim in arguments.dims.split(","):
            for scaling in arguments.scalings.split(","):
                found = []
                for alpha in alphas:
                    run_select([*fixed, f"--alpha={alpha}", f"--embedding_dim={dim}", f"--weight_scaling={scaling}"])
                    found.append(count_wanted(Path(temporary, "out"), arguments.label_field, arguments.wanted))
                table.add_row(dim, scaling, *map(str, found))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
