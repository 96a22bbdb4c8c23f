"""Running a pipeline: on all local cores unless the user names a runner, with errors a user can read."""

import gc
import logging
import os
import traceback
from collections.abc import Callable, Sequence

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineRunner

from hir_transforms.commands import display
from hir_transforms.common.errors import find_user_error
from hir_transforms.common.messages import flush, warn
from hir_transforms.runners.beam_internals import methods_inspected_once
from hir_transforms.runners.interruption import GOES_ON, Interrupted, in_a_word, interruptible
from hir_transforms.runners.local import InProcessRunner, MultiProcessRunner, WorkerDiedError
from hir_transforms.runners.named import named_runner

# Of an error's one line, as a list of a thousand patterns would make it longer than a screen.
_MAX_CHARACTERS = 1000


def choose_runner(options: PipelineOptions, max_useful_workers: int) -> PipelineRunner | str | None:
    """The runner that the options name; the default is Beam's local runner with one process per core that it may use.

    There are never more processes than have something to do, and one does its work in this process.

    `DirectRunner` may hand a pipeline to a Prism server that it downloads, with a single Python process, so the local
    runner is named outright.
    """
    standard = options.view_as(StandardOptions)
    direct = options.view_as(DirectOptions)
    if standard.runner not in (None, "DirectRunner", "FnApiRunner"):
        return named_runner(options)
    if direct.direct_running_mode not in (None, "in_memory", "multi_processing"):
        return "DirectRunner"
    # The runner raises what its worker logs as well: an error is shown once, by `run_main`.
    logging.getLogger("apache_beam.runners").setLevel(logging.CRITICAL)
    if direct.direct_num_workers == 0:
        import joblib  # a tenth of a second, for nothing where the user names a number

        # The cores that this process may use: fewer than the machine's under an affinity or a container's quota.
        direct.direct_num_workers = max(1, min(joblib.cpu_count(), max_useful_workers))
    if direct.direct_num_workers == 1:
        return InProcessRunner()
    # The mode stays "in_memory" for the runner, which would otherwise replace the environment by its own.
    direct.direct_running_mode = "in_memory"
    return MultiProcessRunner()


def run_main(command: str, main: Callable[[], None], arguments: Sequence[str] | None = None) -> int:
    """Calls `main`; exit status 0, 2 with one line for what the user can mend, 1 with a traceback for the rest.

    Where the command's `arguments` are given, it is shown how far it is, if they allow it.
    """
    gc.freeze()  # what the imports made is no garbage, and long to look through
    try:
        with interruptible(), methods_inspected_once(), display.shown(command, arguments):
            main()
    except KeyboardInterrupt as interruption:
        warn(f"{command}: {in_a_word(interruption)}; {GOES_ON}")
        if isinstance(interruption, Interrupted):
            # Threads of a runner that are still at work would be waited for, or end the process in a crash.
            os._exit(1)
        return 1
    except WorkerDiedError as error:
        warn(f"{command}: failed: {error}")
        return 1
    except Exception as error:
        message = find_user_error(error)
        if message is None:
            warn(f"{traceback.format_exc()}{command}: failed: {type(error).__name__}")
            return 1
        if len(message) > _MAX_CHARACTERS:
            message = f"{message[: _MAX_CHARACTERS // 2]} ... {message[-_MAX_CHARACTERS // 2 :]}"
        warn(f"{command}: error: {message}")
        return 2
    finally:
        flush()  # an argument parser's help too
    return 0
