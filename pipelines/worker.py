"""A local worker process: Beam's SDK worker, with one thread for numerics and without chatter."""

import gc
import logging
import os
import sys

# Before anything numerical is imported: each core has a worker of its own.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def main() -> None:
    """Runs until the runner closes the connection."""
    logging.disable(logging.ERROR)
    # Beam prints every error here beside sending it to the runner, which shows it once. A crash of the interpreter
    # itself is still seen: it does not go through Python's stream.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open as long as the process
    # Nothing that the imports make is garbage: no collection while they run, nor a look at it in later ones.
    gc.disable()
    from apache_beam.runners.worker import sdk_worker_main

    gc.freeze()
    gc.enable()
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
