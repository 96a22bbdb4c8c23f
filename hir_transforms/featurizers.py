"""The n-gram featurizer of a worker process: one for counting and scoring, with the buckets it remembers."""

from apache_beam.utils.shared import Shared

from hir_transforms.numerics.ngrams import NgramFeaturizer, NgramSettings

_FEATURIZER = Shared()


def shared_featurizer(settings: NgramSettings) -> NgramFeaturizer:
    """This process's featurizer of these settings; it stays while any user of it lives, and after until the next."""
    return _FEATURIZER.acquire(lambda: NgramFeaturizer(settings), tag=settings)
