"""A local worker process: Beam's SDK worker, with one thread for numerics and without chatter.

It is started as a script, by its path, and told the rest through its standard input: one line of JSON. Then the input
stays open as long as the process that started this one lives.
"""

import ctypes
import gc
import json
import logging
import os
import signal
import sys
import threading

# For what is numerical, which reads them when it is imported: each core has a worker of its own.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ENVIRONMENT = {
    **_ONE_THREAD,
    "TOKENIZERS_PARALLELISM": "false",
    # Arrow's own allocator keeps some 20 MB more of what many small files have freed.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
# How often a bundle is looked at, and how long it waits at its end at most.
SAMPLING_MS = 5
_PR_SET_PDEATHSIG = 1


def die_with_launcher() -> None:
    """Ends this process when the one that started it ends, however that ends.

    A worker left behind would go on writing into a work folder that a new run may already use.
    """
    if sys.platform == "linux":  # at once, whatever this process is at
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with_input, name="end_with_input", daemon=True).start()


def _end_with_input() -> None:
    """Waits for the end of the standard input, which the operating system closes with its only writer."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def main() -> None:
    """Runs until the runner closes the connection."""
    # Ctrl-C goes to all processes of a terminal, and the launcher ends its workers by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    start = json.loads(sys.stdin.buffer.readline())
    die_with_launcher()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    sys.path[:] = start["path"]  # the same modules as the launcher's, wherever it was started
    logging.disable(logging.ERROR)
    # Nothing that the imports make is garbage: no collection while they run, nor a look at it in later ones.
    gc.disable()
    from apache_beam.runners.worker import sdk_worker_main

    from hir_transforms.runners.beam_internals import methods_inspected_once, state_sampling

    _, harness, _ = sdk_worker_main.create_harness(
        {
            "CONTROL_API_SERVICE_DESCRIPTOR": f'url: "{start["control"]}"',
            "PIPELINE_OPTIONS": json.dumps({"options": start["options"]}),
            "WORKER_ID": start["worker_id"],
        }
    )
    gc.freeze()
    gc.enable()
    with state_sampling(SAMPLING_MS), methods_inspected_once():
        harness.run()


if __name__ == "__main__":
    main()
