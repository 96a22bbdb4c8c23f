"""Metadata of the Dataflow flex templates, made of the declared settings.

It is run with `python -m hir_transforms.settings.template_metadata FOLDER`.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hir_transforms.common.fingerprints import to_json
from hir_transforms.common.settings import Setting
from hir_transforms.settings.commands import COMMANDS

_IMAGE = {
    "name": "sdk_container_image",
    "label": "Sdk container image",
    "helpText": "image of the workers; by default the template's own",
    "isOptional": True,
    "paramType": "TEXT",
    "regexes": [r"^[^\s]+$"],
}

# The commands that are worth a job: those with a result.
TEMPLATES = tuple(name for name, command in COMMANDS.items() if command.kept_in)


def metadata(name: str) -> dict[str, Any]:
    """The content of a template's metadata file, as Dataflow's `TemplateMetadata` describes it."""
    command = COMMANDS[name]
    # Nothing that is on the launcher's own disk is found by workers, nor a default that is.
    required = {*command.required, command.kept_in}
    return {
        "name": f"hir {name}",
        "description": command.description,
        "streaming": False,
        "parameters": [
            *(_parameter(one, name, one.name not in required) for one in command.settings.values()),
            _IMAGE,
        ],
    }


def _parameter(one: Setting, command: str, optional: bool) -> dict[str, Any]:
    kind = one.declaration.kind
    parameter: dict[str, Any] = {
        "name": one.name,
        "label": one.name.replace("_", " ").capitalize(),
        "helpText": one.declaration.help,
        "isOptional": optional,
        "paramType": "BOOLEAN" if one.is_switch else "ENUM" if kind.choices else "TEXT",
        "regexes": [f"^({kind.pattern})$"],
    }
    if kind.choices and not one.is_switch:
        parameter["enumOptions"] = [{"value": choice, "label": choice} for choice in kind.choices]
    if one.is_switch:
        parameter["defaultValue"] = "false"
    elif one.default not in (None, (), "") and one.has_default_in(command):
        parameter["defaultValue"] = str(one.default)
    return parameter


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
