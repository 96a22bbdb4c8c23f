"""Processes forked from a clean one that has imported everything: nothing of what tests have started comes along.

A fork of the tests' own process has the state of gRPC's threads but not the threads, and may crash at any time.
"""

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *(f"pipelines.{name}" for name in ("embed", "fit", "resample", "score", "select")),
        *("sentence_transformers", "pytest"),
    ]
)
