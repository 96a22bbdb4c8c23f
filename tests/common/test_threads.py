import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from threading import Thread

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from hir_transforms.common.threads import use_one_thread


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def in_a_thread(function, *arguments):
    thread = Thread(target=function, args=arguments)
    thread.start()
    thread.join()


def limits_seen():
    """Threads of BLAS after one thread has asked for two, and after another has called `use_one_thread`."""
    np.linalg.inv(np.eye(2))  # BLAS is loaded
    in_a_thread(threadpool_limits, 2)
    before = blas_threads()
    in_a_thread(use_one_thread)
    return before, blas_threads()


def test_the_limit_outlasts_the_thread_that_set_it():
    # A process of its own: a live thread that has set a limit, such as this one in an earlier test, keeps control.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        assert executor.submit(limits_seen).result() == ({2}, {1})
