"""Beam's sampling of where a bundle spends its time, kept from making the bundle wait."""

from apache_beam.runners.worker.statesampler import StateSampler

_PERIOD_MS = 5


def sample_often() -> None:
    """Lets this process sample every 5 ms, instead of up to 200.

    A bundle is over when its sampling thread wakes up next: with Beam's periods, up to a sixth of its time later.
    """
    StateSampler.__init__.__defaults__ = (_PERIOD_MS,)
