"""The flags: their names, defaults and help, and the checked settings made from them."""

import argparse
import difflib
import logging
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any, NoReturn

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from hir_transforms.common.errors import UserError
from hir_transforms.common.messages import tell
from hir_transforms.documents.datasets import Dataset, is_unicode, listed_patterns, split_patterns
from hir_transforms.files.object_stores import connect
from hir_transforms.ngrams.features import HASH_ALGORITHMS, TOKENIZERS, NgramSettings
from hir_transforms.runners.job_servers import is_portable, left_for_no_server
from hir_transforms.settings.config import SelectConfig, SelectionConfig


class SelectOptions(PipelineOptions):
    """Flags of `select`, beside Beam's own."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        data = parser.add_argument_group("data")
        data.add_argument(
            "--raw",
            metavar="PATTERN[,PATTERN]",
            help="jsonl files to select from (.gz .bz2 .xz .zst); @FILE: those that a file lists, one a line",
        )
        data.add_argument("--target", metavar="PATTERN[,PATTERN]", help="jsonl files of the kind wanted, as --raw")
        data.add_argument("--output", metavar="DIR", help="folder for the result")
        data.add_argument("--work_dir", metavar="DIR", help="folder for what a later run can use again [OUTPUT.work]")
        data.add_argument("--text_field", default="text", metavar="NAME", help="JSON field of the text [text]")
        data.add_argument(
            "--id_field",
            metavar="NAME",
            help="JSON field of an id of raw's documents, to keep with scores",
        )
        data.add_argument(
            "--max_document_bytes", type=int, default=64 << 20, metavar="N", help="reject longer lines [64 MiB]"
        )
        data.add_argument(
            "--on_bad_record",
            default="reject",
            help="lines that cannot be used: reject them, or fail at the first [reject]",
        )
        data.add_argument(
            "--max_rejected_share",
            type=float,
            default=0.1,
            metavar="P",
            help="stop where more of the lines of --raw, or of --target, are rejected, also of few lines [0.1]",
        )
        data.add_argument("--overwrite", action="store_true", help="replace an existing output")

        selection = parser.add_argument_group("selection")
        selection.add_argument("--num_to_sample", type=int, metavar="N", help="number of documents to select")
        selection.add_argument(
            "--num_tokens_to_sample", type=int, metavar="N", help="most tokens to select, instead of documents"
        )
        selection.add_argument("--top_k", action="store_true", help="take the largest weights instead of sampling")
        selection.add_argument("--seed", type=int, default=0, metavar="N", help="of the sample [0]")
        selection.add_argument(
            "--fit_seed", type=int, default=0, metavar="N", help="of the random choices in counting and fitting [0]"
        )
        selection.add_argument(
            "--separate_targets",
            action="store_true",
            help="each pattern (or @FILE) of --target is a target with its own share",
        )
        selection.add_argument(
            "--target_proportions",
            metavar="P,P,...",
            help="share of each target [that of its n-grams; with --alpha 0 of its documents]",
        )
        selection.add_argument(
            "--skip_duplicates",
            action="store_true",
            help="of documents with the same text, only the first is eligible",
        )
        selection.add_argument(
            "--alpha", type=float, default=0.5, metavar="A", help="share of the n-gram weight; 1: no embeddings [0.5]"
        )
        selection.add_argument(
            "--weight_scaling",
            default="none",
            help="of both weights before mixing: none or standardize [none]",
        )
        selection.add_argument(
            "--min_example_length",
            type=int,
            default=100,
            metavar="N",
            help="fewest tokens of a selected document [100]",
        )
        selection.add_argument("--num_shards", type=int, default=0, metavar="N", help="output files; 0: by size [0]")
        selection.add_argument("--compression", default="none", help="of the output: none, gzip or zstd [none]")

        ngrams = parser.add_argument_group("n-grams")
        ngrams.add_argument("--ngrams", type=int, default=2, metavar="N", help="largest n, 1 to 10 [2]")
        ngrams.add_argument("--num_buckets", type=int, default=10_000, metavar="N", help="up to 2^24 [10000]")
        ngrams.add_argument("--tokenizer", default="wordpunct", help=f"{' or '.join(TOKENIZERS)} [wordpunct]")
        ngrams.add_argument("--hash", default="sha256", help=f"{' (as DSIR) or '.join(HASH_ALGORITHMS)} [sha256]")
        ngrams.add_argument(
            "--num_tokens_to_fit", default="auto", metavar="all|auto|N", help="n-grams of raw to fit on [auto]"
        )
        ngrams.add_argument(
            "--target_laplace_smoothing", type=float, default=0.0, metavar="S", help="added to each target bucket [0]"
        )

        given = parser.add_argument_group("weights brought along")
        for part in ("ngram", "gmm"):
            given.add_argument(
                f"--{part}_weights",
                metavar="PATTERN",
                help=f"log weights instead of computing the {part} part: .npy or .parquet, in corpus order",
            )

        embeddings = parser.add_argument_group("embeddings")
        embeddings.add_argument(
            "--embedding_model", default="all-MiniLM-L6-v2", metavar="NAME", help="model name or folder"
        )
        embeddings.add_argument("--embedding_revision", metavar="REV", help="commit, branch or tag of a hub model")
        embeddings.add_argument("--embedding_prompt", default="", metavar="TEXT", help="put before each text")
        embeddings.add_argument("--trust_remote_code", action="store_true", help="run code that comes with the model")
        embeddings.add_argument(
            "--embedding_dim", type=int, default=0, metavar="D", help="principal components to keep; 0: no PCA [0]"
        )
        for role in ("raw", "target"):
            embeddings.add_argument(
                f"--{role}_embeddings",
                metavar="PATTERN",
                help=f"embeddings of {role} instead of computing them: .avro of 'hir embed', .npy or .parquet",
            )
        embeddings.add_argument(
            "--raw_components", type=int, default=1000, metavar="K", help="of raw's mixture [1000]"
        )
        embeddings.add_argument(
            "--target_components", type=int, default=50, metavar="K", help="of the target's mixture [50]"
        )
        embeddings.add_argument("--gmm_max_iter", type=int, default=100, metavar="N", help="EM iterations [100]")
        embeddings.add_argument("--gmm_tol", type=float, default=1e-3, metavar="T", help="EM tolerance [0.001]")
        for role in ("raw", "target"):
            embeddings.add_argument(
                f"--{role}_max_samples",
                default="auto",
                metavar="all|auto|N",
                help=f"documents of {role} to fit its mixture to, a uniform sample; auto: 500 a component, at least "
                "50000 [auto]",
            )
        embeddings.add_argument("--raw_gmm", metavar="FILE.npz", help="a mixture of raw instead of fitting one")
        embeddings.add_argument(
            "--target_gmm",
            metavar="FILE.npz[,FILE.npz]",
            help="a mixture of the target instead of fitting one; of each separate target",
        )
        embeddings.add_argument(
            "--gmm_checkpoint_dir",
            metavar="DIR",
            help="keep the mixture after each EM iteration here; an interrupted fit goes on from the last one",
        )


# Beam's own default is one worker; 0 means one for each core. A later flag wins.
_DEFAULTS = ("--direct_num_workers=0",)
_MAX_WORKERS = 1024
# Of names, as difflib measures it: a slip of the pen, not another word of the same length.
_CLOSE = 0.8
_WILDCARD = re.compile(r"[*?\[]")
_OPTIONAL_PATHS = ("raw_gmm", "gmm_checkpoint_dir")
_GIVEN_FILES = ("raw_embeddings", "target_embeddings", "ngram_weights", "gmm_weights")
_PATTERNS = ("raw", "target", *_GIVEN_FILES)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def parse_options(argv: Sequence[str], options_class: type[PipelineOptions], command: str) -> PipelineOptions:
    """Options from the command line; a flag that neither this project nor Beam knows is an error.

    A job server has options that Beam's Python does not know: those of a portable runner are left to it.

    Raises:
        UserError: for a bad flag or value.
        SystemExit: after printing the help.
    """
    if {"-h", "--help"} & set(argv):
        help_parser: Any = argparse.ArgumentParser(
            prog=command, usage=f"{command} --flag value ...", epilog="All of Beam's pipeline options are flags too."
        )
        options_class._add_argparse_args(help_parser)
        tell(help_parser.format_help())
        raise SystemExit(0)
    parser: Any = _Parser(allow_abbrev=False, add_help=False)
    for known in PipelineOptions.__subclasses__():
        known._add_argparse_args(parser)
    switches = {flag for action in parser._actions if action.nargs == 0 for flag in action.option_strings}
    argv = _plain_switches(switches, argv)
    known_flags, unknown = parser.parse_known_args(argv)
    if unknown and is_portable(known_flags.runner):
        unknown = left_for_no_server(unknown)
        # It would tell that they are discarded.
        logging.getLogger(PipelineOptions.__module__).setLevel(logging.ERROR)
    # The launcher of a template adds flags of its own time; what its user gives is checked against the metadata.
    if unknown and not known_flags.template_location:
        flags = [flag for action in parser._actions for flag in action.option_strings]
        raise UserError(_describe_unknown(unknown[0], argv, flags, switches))
    options = options_class([*_DEFAULTS, *argv])
    workers = options.view_as(DirectOptions).direct_num_workers
    if not 0 <= workers <= _MAX_WORKERS:
        raise UserError(f"--direct_num_workers: must be from 0 (all cores) to {_MAX_WORKERS}, not {workers}")
    paths = {flag: value for flag, value in _own_flags(options).items() if isinstance(value, str)}
    connect(options, paths)
    connect(options, {flag: ",".join(listed_patterns(paths[flag])) for flag in _PATTERNS if flag in paths})
    return options


def _describe_unknown(argument: str, argv: Sequence[str], flags: Sequence[str], switches: Collection[str]) -> str:
    before = argv[argv.index(argument) - 1] if argument in argv[1:] else ""
    if before in switches:
        return f"{before} is a switch and takes no value: leave out {argument!r}, or write {before}=true or =false"
    if not argument.startswith("-"):
        return f"unknown flag {argument}; put patterns in quotes, so that the shell leaves them alone"
    close = difflib.get_close_matches(argument.partition("=")[0], flags, n=1, cutoff=_CLOSE)
    return f"unknown flag {argument}" + (f"; did you mean {close[0]}?" if close else "")


def _plain_switches(switches: Collection[str], argv: Sequence[str]) -> list[str]:
    """Arguments with `--top_k` for `--top_k=true` and nothing for `--top_k=false`: all that a template can give."""
    plain = []
    for argument in argv:
        flag, _, value = argument.partition("=")
        if flag not in switches or value.lower() not in ("true", "false"):
            plain.append(argument)
        elif value.lower() == "true":
            plain.append(flag)
    return plain


def _own_flags(options: PipelineOptions) -> dict[str, Any]:
    """The values of the flags that are this project's, not Beam's."""
    parser: Any = argparse.ArgumentParser(add_help=False)
    options._add_argparse_args(parser)
    values = options.get_all_options()
    return {action.dest: values[action.dest] for action in parser._actions}


def select_config(options: SelectOptions, *, needs: Sequence[str] = ("raw", "output")) -> SelectConfig:
    """The checked settings of a command; raises `UserError` for the first flag that is missing or wrong.

    Args:
        options: as parsed.
        needs: names of the flags that the command cannot do without.
    """
    flags: dict[str, Any] = options.get_all_options()
    selection = selection_flags(flags, needs)
    try:
        ngram_settings = NgramSettings(flags["ngrams"], flags["num_buckets"], flags["tokenizer"], flags["hash"])
    except ValueError as error:
        raise UserError(f"--{error}") from None
    same_name = {field.name: flags[field.name] for field in fields(SelectConfig) if field.name in flags}
    made = {
        "raw": given_dataset(flags, "raw"),
        "target": given_dataset(flags, "target") if flags["target"] else None,
        "ngram_settings": ngram_settings,
        **{name: folder_path(flags[name]) for name in _OPTIONAL_PATHS if flags[name]},
        "target_gmm": split_patterns(flags["target_gmm"] or ""),
        **{name: given_files(flags, name) for name in _GIVEN_FILES},
    }
    return SelectConfig(**same_name | made | selection)


def selection_flags(flags: dict[str, Any], needs: Sequence[str]) -> dict[str, Any]:
    """The values for a `SelectionConfig`; raises `UserError` for the first flag needed that is missing."""
    for name in needs:
        if not flags[name]:
            raise UserError(f"--{name} is required")
    work_dir = work_folder(flags)
    if work_dir is None:
        raise UserError("--work_dir is required: the folder that later runs find the result in")
    return {
        **{field.name: flags[field.name] for field in fields(SelectionConfig)},
        "output": folder_path(flags["output"]) if flags["output"] else None,
        "work_dir": work_dir,
        "target_proportions": _proportions(flags["target_proportions"]),
    }


def _proportions(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError:
        raise UserError(f"--target_proportions: must be numbers with commas between them, not {text}") from None


def work_folder(flags: dict[str, Any]) -> str | None:
    """`--work_dir`, by default beside the output; None where neither is given."""
    if flags["work_dir"]:
        return folder_path(flags["work_dir"])
    return f"{folder_path(flags['output'])}.work" if flags["output"] else None


def given_dataset(flags: dict[str, Any], role: str) -> Dataset:
    """The dataset that `--raw` or `--target` names."""
    return Dataset(
        role,
        split_patterns(flags[role]),
        flags["text_field"],
        flags["max_document_bytes"],
        flags["on_bad_record"],
        flags["max_rejected_share"],
    )


def given_files(flags: dict[str, Any], name: str) -> Dataset | None:
    """The files that a flag such as `--raw_embeddings` names, if it is given."""
    return Dataset(name, split_patterns(flags[name])) if flags[name] else None


def folder_path(path: str) -> str:
    """A folder as every worker finds it, without a slash at the end."""
    path = path.rstrip("/") or path
    if not is_unicode(path):
        raise UserError(f"{path!r} is not valid UTF-8; choose another name")
    if "://" in path and _WILDCARD.search(path):  # by a pattern alone can a folder of an object store be listed
        raise UserError(f"{path}: the name of a folder in an object store must not hold any of * ? [")
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))
