"""Beam's sampling of where a bundle spends its time, kept from making the bundle wait."""

import contextlib
from collections.abc import Iterator

from apache_beam.runners.worker.statesampler import StateSampler

_PERIOD_MS = 5


@contextlib.contextmanager
def sampled_often() -> Iterator[None]:
    """Within the block, this process samples every 5 ms, instead of up to 200.

    A bundle is over when its sampling thread wakes up next: with Beam's periods, up to a sixth of its time later.
    """
    defaults = StateSampler.__init__.__defaults__
    StateSampler.__init__.__defaults__ = (_PERIOD_MS,)
    try:
        yield
    finally:
        StateSampler.__init__.__defaults__ = defaults
