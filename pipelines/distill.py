"""Makes a static embedding model of a transformer, to keep and to give to `--embedding_model`."""

import argparse
import sys
from collections.abc import Sequence

from hir_transforms.commands import command_line
from hir_transforms.commands.running import run_main
from hir_transforms.common.messages import tell
from hir_transforms.embeddings.distill import require_distill, write_distilled
from hir_transforms.embeddings.model import STATIC, find_model
from hir_transforms.settings.config import SETTINGS


def distill(name: str, output: str, *, revision: str | None = None, trust_remote_code: bool = False) -> None:
    """Finds the model, distils it and prints where it is; raises `UserError` where that cannot be done."""
    name = name.removeprefix(STATIC)
    require_distill(name)
    write_distilled(find_model(name, revision=revision, trust_remote_code=trust_remote_code), output)
    tell(f"a static model of {name}: --embedding_model {output}")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `distill`; returns the exit status."""
    parser = argparse.ArgumentParser(prog="hir distill", description=__doc__)
    model = SETTINGS["embedding_model"]
    parser.add_argument(
        "--embedding_model",
        default=model.default,
        metavar="NAME",
        help=f"model of sentence-transformers: its name or folder [{model.default}]",
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="local folder for the static model")
    parser.add_argument("--embedding_revision", metavar="REV", help=SETTINGS["embedding_revision"].declaration.help)
    parser.add_argument(
        "--trust_remote_code", action="store_true", help=SETTINGS["trust_remote_code"].declaration.help
    )
    given = parser.parse_args(command_line.arguments() if argv is None else argv)
    return run_main(
        "hir distill",
        lambda: distill(
            given.embedding_model,
            given.output,
            revision=given.embedding_revision,
            trust_remote_code=given.trust_remote_code,
        ),
    )


if __name__ == "__main__":
    sys.exit(run())
