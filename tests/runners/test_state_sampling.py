import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.worker.statesampler import get_current_tracker
from apache_beam.testing.util import assert_that, equal_to

from hir_transforms.commands.running import choose_runner


@pytest.mark.parametrize("workers", [1, 2])
def test_bundles_are_sampled_every_5_ms(workers):
    options = PipelineOptions([f"--direct_num_workers={workers}"])
    with beam.Pipeline(runner=choose_runner(options, 2), options=options) as pipeline:
        periods = pipeline | beam.Create([None]) | beam.Map(lambda _: get_current_tracker().sampling_period_ms)
        assert_that(periods, equal_to([5]))
