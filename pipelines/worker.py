"""A local worker process: Beam's SDK worker, with one thread for numerics and without chatter."""

import ctypes
import gc
import logging
import os
import signal
import sys

# Before anything numerical is imported: each core has a worker of its own.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Arrow's own allocator keeps some 20 MB more of what many small files have freed.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


_PR_SET_PDEATHSIG = 1


def die_with(launcher: int) -> None:
    """Lets the kernel kill this process when the one that started it (its process id) ends, however it ends.

    A worker left behind would go on writing into a work folder that a new run may already use.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launcher:
        sys.exit("the process that started this worker is gone")


def main() -> None:
    """Runs until the runner closes the connection; the argument is the runner's process id."""
    die_with(int(sys.argv[1]))
    logging.disable(logging.ERROR)
    # Beam prints every error here beside sending it to the runner, which shows it once. A crash of the interpreter
    # itself is still seen: it does not go through Python's stream.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open as long as the process
    # Nothing that the imports make is garbage: no collection while they run, nor a look at it in later ones.
    gc.disable()
    from apache_beam.runners.worker import sdk_worker_main

    from pipelines.state_sampling import sample_often

    sample_often()
    gc.freeze()
    gc.enable()
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
