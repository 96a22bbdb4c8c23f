import pytest

from hir_transforms.documents.records import SourceFile
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.ngrams.sampling import needs_sampling


@pytest.mark.parametrize(("suffix", "most"), [("", 200), (".gz", 8000)])
def test_files_that_surely_hold_no_more_are_not_sampled(suffix, most):
    """100 bytes end at most 100 n-grams of each of two orders; compressed ones may become 40 times as many."""
    files = [SourceFile(index, f"/{index}.jsonl{suffix}", f"{index}.jsonl{suffix}", 50, 0.0) for index in range(2)]
    assert not needs_sampling(most, NgramSettings(ngrams=2), files)
    assert needs_sampling(most - 1, NgramSettings(ngrams=2), files)
