"""Metadata of the Dataflow flex templates, made from the flags.

It is run with `python -m hir_transforms.settings.template_metadata FOLDER`.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.common.fingerprints import to_json
from hir_transforms.documents.datasets import ON_BAD_RECORD
from hir_transforms.files.compression import COMPRESSIONS
from hir_transforms.ngrams.features import HASH_ALGORITHMS, TOKENIZERS
from hir_transforms.settings.flags import SelectOptions
from hir_transforms.weights.standardizing import SCALINGS


@dataclass(frozen=True)
class Template:
    """A pipeline as a template: its flags, and those that must be given."""

    description: str
    options: type[PipelineOptions]
    required: tuple[str, ...]


TEMPLATES = {
    "select": Template(
        "Selects raw documents distributed like the target, end to end.",
        SelectOptions,
        ("raw", "output"),
    ),
    "fit": Template("Fits the n-gram estimator and the mixtures.", SelectOptions, ("raw", "target", "work_dir")),
    "embed": Template(
        "Embeds raw or target documents once, for any number of selections.", SelectOptions, ("work_dir",)
    ),
    "score": Template("Scores raw documents.", SelectOptions, ("raw", "work_dir")),
    "resample": Template(
        "Selects again from the scores of an earlier selection.", SelectOptions, ("work_dir", "output")
    ),
}

_CHOICES = {
    "compression": COMPRESSIONS,
    "on_bad_record": ON_BAD_RECORD,
    "hash": tuple(HASH_ALGORITHMS),
    "tokenizer": tuple(TOKENIZERS),
    "weight_scaling": tuple(SCALINGS),
}
_FILE = r"[a-z][a-z0-9+.-]*://[^/,\s]+/[^,]+"
_PATTERNS = r"@?[a-z][a-z0-9+.-]*://[^/,\s]+/(\[,\]|[^,])+"
_BY_METAVAR = {
    "PATTERN[,PATTERN]": f"{_PATTERNS}(,{_PATTERNS})*",
    "PATTERN": f"{_PATTERNS}(,{_PATTERNS})*",
    "DIR": r"[a-z][a-z0-9+.-]*://[^/,\s]+/[^*?\[]+",
    "FILE.npz": _FILE,
    "FILE.npz[,FILE.npz]": f"{_FILE}(,{_FILE})*",
    "P,P,...": r"[0-9]*\.?[0-9]+(,[0-9]*\.?[0-9]+)*",
}
_NUMBER = "[1-9][0-9]*"
_BY_TYPE = {int: "[0-9]+", float: r"[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?"}
_BY_NAME = {"seed": "-?[0-9]+"}


def metadata(name: str) -> dict[str, Any]:
    """The content of a template's metadata file, as Dataflow's `TemplateMetadata` describes it."""
    template = TEMPLATES[name]
    parser: Any = argparse.ArgumentParser(add_help=False)
    template.options._add_argparse_args(parser)
    image = {
        "name": "sdk_container_image",
        "label": "Sdk container image",
        "helpText": "image of the workers; by default the template's own",
        "isOptional": True,
        "paramType": "TEXT",
        "regexes": [r"^[^\s]+$"],
    }
    flags = [_parameter(action, action.dest not in template.required) for action in parser._actions]
    return {
        "name": f"hir {name}",
        "description": template.description,
        "streaming": False,
        "parameters": [*flags, image],
    }


def _parameter(action: argparse.Action, optional: bool) -> dict[str, Any]:
    choices = _CHOICES.get(action.dest) or (("true", "false") if action.nargs == 0 else ())
    parameter: dict[str, Any] = {
        "name": action.dest,
        "label": action.dest.replace("_", " ").capitalize(),
        "helpText": action.help,
        "isOptional": optional,
        "paramType": "BOOLEAN" if action.nargs == 0 else "ENUM" if choices else "TEXT",
        "regexes": [f"^({'|'.join(choices) if choices else _pattern(action)})$"],
    }
    if choices and action.nargs != 0:
        parameter["enumOptions"] = [{"value": choice, "label": choice} for choice in choices]
    if action.default is not None and action.default != "":
        parameter["defaultValue"] = str(action.default).lower() if action.nargs == 0 else str(action.default)
    return parameter


def _pattern(action: argparse.Action) -> str:
    metavar = str(action.metavar)
    if action.dest in _BY_NAME:
        return _BY_NAME[action.dest]
    if metavar in _BY_METAVAR:
        return _BY_METAVAR[metavar]
    if action.type in _BY_TYPE:
        return _BY_TYPE[action.type]
    if "|" in metavar:
        return metavar.replace("N", _NUMBER)
    return ".+"


def write_metadata(folder: Path) -> Mapping[str, Path]:
    """Writes `NAME_metadata.json` for each template; returns the paths by name."""
    paths = {name: folder / f"{name}_metadata.json" for name in TEMPLATES}
    for name, path in paths.items():
        path.write_bytes(to_json(metadata(name)))
    return paths


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the files into the folder that is named; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hir_transforms.settings.template_metadata", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    for path in write_metadata(parser.parse_args(argv).folder).values():
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
