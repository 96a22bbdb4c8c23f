"""Selections from Python: the commands as steps, settings as keywords, results as objects."""

import contextlib
import functools
import inspect
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.common.errors import UserError, find_user_error
from hir_transforms.common.messages import quiet
from hir_transforms.common.user_functions import user_function
from hir_transforms.files import storage
from hir_transforms.graph.saved_scores import find_scores
from hir_transforms.results.evaluation import Evaluation
from hir_transforms.results.scores import Scores
from hir_transforms.results.selection import Selection
from hir_transforms.runners.beam_internals import methods_inspected_once
from hir_transforms.settings.commands import COMMANDS
from hir_transforms.settings.config import SETTINGS, PipelineConfig
from hir_transforms.settings.flags import config_of, parse_options

from .evaluate import evaluate
from .fit import fit
from .resample import resample
from .score import score
from .select import select

_STEPS = {"fit": fit, "score": score, "select": select, "resample": resample, "evaluate": evaluate}


class Selector:
    """Selects raw documents distributed like a target, in steps that share a work folder.

    Settings are keywords with the names and defaults of the flags (docs/flags.md). Given here they hold for every step
    that reads them; given to a step, for that step. Where no `work_dir` is given, the first selection's stays in use.
    Each step computes what is not in the work folder yet, by the pipeline of the command of its name.

    Args:
        options: of Beam, such as the runner: as flags (`["--runner=PrismRunner"]`) or as Beam's own options.
        settings: by their names; lists for several values.

    Raises:
        UserError: for a bad value; `setting` is the name of the setting.
        TypeError: for a setting that there is none of.
    """

    def __init__(self, *, options: Sequence[str] | PipelineOptions = (), **settings: Any) -> None:
        self._options = _flags_of(options) if isinstance(options, PipelineOptions) else list(options)
        self._settings = _given(settings)
        with _errors_of_python():
            PipelineConfig.of(**self._settings)

    def fit(self, **settings: Any) -> "Selector":
        """Fits the estimators of n-grams and embeddings; returns the selector.

        Raises:
            UserError: for bad settings or inputs.
        """
        self._run("fit", settings)
        return self

    def score(self, **settings: Any) -> Scores:
        """Scores all raw documents, fitting what it takes.

        Raises:
            UserError: for bad settings or inputs.
        """
        stage, _, _ = find_scores(self._run("score", settings).work_dir)
        return Scores(stage.folder, stage)

    def select(self, **settings: Any) -> Selection:
        """Selects documents into the folder `output`, fitting and scoring what it takes.

        Raises:
            UserError: for bad settings or inputs.
        """
        return _selection(self._run("select", settings))

    def resample(self, **settings: Any) -> Selection:
        """Selects again from scores that are there: with another number, seed, `alpha` or `output`.

        Raises:
            UserError: for bad settings or inputs, and where there are no scores of these.
        """
        return _selection(self._run("resample", settings))

    def evaluate(self, *selections: Selection | str | os.PathLike[str], **settings: Any) -> Evaluation:
        """Measures how near selections are to the target, each beside a random one of its size.

        Args:
            selections: output folders, or patterns of JSON lines by anybody; or the setting `selected` names them.
            settings: with `json` what is measured is kept in this file.

        Raises:
            UserError: for bad settings or inputs.
        """
        if selections:
            settings["selected"] = [one.folder if isinstance(one, Selection) else os.fspath(one) for one in selections]
        with tempfile.TemporaryDirectory() as folder:
            config = self._run("evaluate", {"json": f"{folder}/measures.json", **settings})
            assert config.evaluation.json
            return Evaluation(json.loads(storage.read_bytes(config.evaluation.json)))

    def _run(self, step: str, settings: dict[str, Any]) -> PipelineConfig:
        if unknown := settings.keys() - SETTINGS.keys():
            raise TypeError(f"no setting of the name {min(unknown)}")
        read = COMMANDS[step].settings
        given = _given({name: value for name, value in self._settings.items() if name in read} | settings)
        flags = [*(flag for name, value in given.items() for flag in _flags(name, value)), *self._options]
        with _errors_of_python(), quiet(), methods_inspected_once():
            options = parse_options(flags, step)
            config = config_of(options, step)
            _STEPS[step](options)
            if "output" in read:
                self._settings.setdefault("work_dir", config.work_dir)
        return config

    def __repr__(self) -> str:
        return f"Selector({', '.join(f'{name}={value!r}' for name, value in self._settings.items())})"


_keyword = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
Selector.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [_keyword("options", default=()), *(_keyword(one.name, default=one.default) for one in SETTINGS.values())]
)


def _selection(config: PipelineConfig) -> Selection:
    assert config.output.output
    return Selection(config.output.output)


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """Those that have a value: None stands for the default."""
    return {name: value for name, value in settings.items() if value is not None}


def _flags(name: str, value: Any) -> list[str]:
    """The flags that give a setting a value."""
    if value is False:
        return []
    if value is True:
        return [f"--{name}"]
    parts = value if isinstance(value, list | tuple) else [value]
    texts = [_text(part) for part in parts]
    values = texts if SETTINGS[name].declaration.kind.is_repeatable else [",".join(texts)]
    return [f"--{name}={one}" for one in values]


def _text(value: Any) -> str:
    if callable(value):
        return str(user_function(value))
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _flags_of(options: PipelineOptions) -> list[str]:
    """The flags that make the same options."""
    flags = []
    for name, value in options.get_all_options(drop_default=True).items():
        if value is True:
            flags.append(f"--{name}")
        else:
            values = value if isinstance(value, list) else [value]
            flags += [f"--{name}={json.dumps(one) if isinstance(one, dict) else one}" for one in values]
    return flags


@contextlib.contextmanager
def _errors_of_python() -> Iterator[None]:
    """Raises what the user can mend, which may come from a worker, as an error that speaks of no flags."""
    try:
        yield
    except Exception as error:
        if (message := find_user_error(error)) is None:
            raise
        raise UserError(message).without_flags() from None
