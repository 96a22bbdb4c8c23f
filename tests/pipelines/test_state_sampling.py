from apache_beam.runners.worker.statesampler import StateSampler
from apache_beam.utils.counters import CounterFactory

from pipelines.state_sampling import sample_often


def test_beams_sampler_takes_the_period():
    sample_often()
    assert StateSampler("stage", CounterFactory()).sampling_period_ms == 5
