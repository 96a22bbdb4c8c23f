"""One thread for numerical libraries, because how a sum is split over threads shows in its last bits."""

from threadpoolctl import threadpool_limits


def use_one_thread() -> None:
    """Limits BLAS and OpenMP to one thread in this process, for good.

    A limit that ends with a `with` block would not do: a worker of a portable runner computes in several threads, and
    the end of one thread's block lifts the limit in the middle of another's.
    """
    threadpool_limits(1)
