from threading import Thread

from threadpoolctl import threadpool_info, threadpool_limits

from hir_transforms.numerics.threads import use_one_thread


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def in_a_thread(function, *arguments):
    thread = Thread(target=function, args=arguments)
    thread.start()
    thread.join()


def test_the_limit_outlasts_the_thread_that_set_it():
    in_a_thread(threadpool_limits, 2)
    assert blas_threads() == {2}
    in_a_thread(use_one_thread)
    assert blas_threads() == {1}
