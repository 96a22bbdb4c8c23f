"""The flags, made of the declared settings, beside all of Beam's; and the checked settings made of their values."""

import argparse
import difflib
import logging
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from hir_transforms.common.errors import UserError
from hir_transforms.common.messages import tell
from hir_transforms.common.settings import FITTING, SELECTING, TRYING, Setting
from hir_transforms.documents.datasets import listed_patterns
from hir_transforms.files.object_stores import connect
from hir_transforms.runners.job_servers import is_portable, left_for_no_server
from hir_transforms.settings.commands import COMMANDS, Command, by_task
from hir_transforms.settings.config import SETTINGS, PipelineConfig

# Beam's own default is one worker; 0 means one for each core. A later flag wins.
_DEFAULTS = ("--direct_num_workers=0",)
_MAX_WORKERS = 1024
# Of names, as difflib measures it: a slip of the pen, not another word of the same length.
_CLOSE = 0.8

_Options = TypeVar("_Options", bound=PipelineOptions)


class SettingOptions(PipelineOptions):
    """The settings that are given, as texts, None for others: Beam shows them with a job."""

    def view_as(self, cls: type[_Options]) -> _Options:
        """A view, made once: Beam asks for some in every step of a graph, and would parse all flags each time."""
        views: dict[type[_Options], _Options] = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        for one in SETTINGS.values():
            _add_flag(parser, one, one.declaration.help)

    def given(self) -> dict[str, Any]:
        """The values that are given, by the settings' names."""
        return {name: value for name, value in self.get_all_options(current_only=True).items() if value is not None}


def _add_flag(parser: Any, one: Setting, help_text: str) -> None:
    text = help_text.replace("%", "%%")
    if one.is_switch:
        parser.add_argument(f"--{one.name}", action="store_const", const=True, help=text)
    else:
        action = _JoinValues if one.declaration.kind.is_repeatable else "store"
        parser.add_argument(f"--{one.name}", action=action, metavar=one.declaration.metavar, help=text)


class _JoinValues(argparse.Action):
    """The values of a flag that is given several times, with commas between them."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, values if before is None else f"{before},{values}")


def parse_options(argv: Sequence[str], command: str) -> SettingOptions:
    """Options from the command line; a flag that the command does not read, nor Beam, is an error.

    A job server has options that Beam's Python does not know: those of a portable runner are left to it.

    Raises:
        UserError: for a bad flag or value.
        SystemExit: after printing the help.
    """
    known = COMMANDS[command]
    if {"-h", "--help"} & set(argv):
        tell(_help(known))
        raise SystemExit(0)
    for argument in argv:
        name = argument.partition("=")[0].removeprefix("--")
        if argument.startswith("--") and name in SETTINGS and name not in known.settings:
            raise UserError(
                f"--{name}: hir {command} does not read it ('hir help {command}' lists those that it reads)"
            )
    parser = _beam_parser()
    argv = _plain_switches(parser, argv)
    try:
        beams, unknown = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from None
    if unknown and is_portable(beams.runner):
        unknown = left_for_no_server(unknown)
        # It would tell that they are discarded.
        logging.getLogger(PipelineOptions.__module__).setLevel(logging.ERROR)
    # The launcher of a template adds flags of its own time; what its user gives is checked against the metadata.
    if unknown and not beams.template_location:
        names = [*vars(beams).keys() - SETTINGS.keys(), *known.settings]
        raise UserError(_describe_unknown(parser, unknown[0], argv, names))
    options = SettingOptions([*_DEFAULTS, *argv])
    workers = options.view_as(DirectOptions).direct_num_workers
    if not 0 <= workers <= _MAX_WORKERS:
        raise UserError(f"--direct_num_workers: must be from 0 (all cores) to {_MAX_WORKERS}, not {workers}")
    paths = {flag: value for flag, value in options.given().items() if isinstance(value, str)}
    connect(options, paths)
    patterns = {flag: value for flag, value in paths.items() if SETTINGS[flag].declaration.kind.is_patterns}
    connect(options, {flag: ",".join(listed_patterns(value)) for flag, value in patterns.items()})
    return options


def _help(command: Command) -> str:
    parser = argparse.ArgumentParser(
        prog=f"hir {command.name}",
        usage=f"hir {command.name} --flag value ...",
        description=command.description,
        epilog="All of Beam's pipeline options are flags too.",
    )
    for task, settings in by_task(command.settings.values()).items():
        group = parser.add_argument_group(task)
        for one in settings:
            default = f" [{one.shown_default}]" if one.shown_default and one.has_default_in(command.name) else ""
            _add_flag(group, one, f"{one.declaration.help}{default}")
    return parser.format_help()


def _beam_parser() -> argparse.ArgumentParser:
    """The parser of all options of Beam, and of the settings; it raises `argparse.ArgumentError`."""
    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    (parser,) = parsers
    parser.exit_on_error = False
    return parser


def _is_switch(parser: argparse.ArgumentParser, flag: str) -> bool:
    """Whether a flag is known and takes no value."""
    try:
        return flag.startswith("--") and not parser.parse_known_args([flag])[1]
    except argparse.ArgumentError:
        return False


def _describe_unknown(
    parser: argparse.ArgumentParser, argument: str, argv: Sequence[str], names: Collection[str]
) -> str:
    before = argv[argv.index(argument) - 1] if argument in argv[1:] else ""
    if _is_switch(parser, before) and "=" not in before:
        return f"{before} is a switch and takes no value: leave out {argument!r}, or write {before}=true or =false"
    if not argument.startswith("-"):
        return f"unknown flag {argument}; put patterns in quotes, so that the shell leaves them alone"
    flags = [f"--{name}" for name in names]
    close = difflib.get_close_matches(argument.partition("=")[0], flags, n=1, cutoff=_CLOSE)
    return f"unknown flag {argument}" + (f"; did you mean {close[0]}?" if close else "")


def _plain_switches(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """Arguments with `--top_k` for `--top_k=true` and nothing for `--top_k=false`: all that a template can give."""
    plain = []
    for argument in argv:
        flag, _, value = argument.partition("=")
        if value.lower() not in ("true", "false") or not _is_switch(parser, flag):
            plain.append(argument)
        elif value.lower() == "true":
            plain.append(flag)
    return plain


def config_of(options: SettingOptions, command: str) -> PipelineConfig:
    """The checked settings of a command; raises `UserError` for the first that is missing or wrong."""
    given = options.given()
    from_scores = command == "resample" and not given.get("raw")
    for name in ("work_dir", "output") if from_scores else COMMANDS[command].required:
        if not given.get(name):
            raise UserError(f"--{name} is required")
    for name, value in given.items() if from_scores else ():
        one = SETTINGS[name]
        # Templates give defaults too.
        is_default = not one.is_auto(value) and one.converted(value) == one.default
        if "resample" not in one.declaration.commands and not is_default:
            raise UserError(f"--{name}: without --raw the scores are taken as they are; add --raw and the other flags")
    config = PipelineConfig.of(**given)
    command = COMMANDS[command].like or command
    if command in SELECTING:
        config.check_selection()
    if command in FITTING or (command == "resample" and not from_scores):
        config.check_targets()
    if command in TRYING or (command == "resample" and not from_scores):
        config.check_weights()
    return config
