import numpy as np
import pytest

from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.reading import DocumentReader
from hir_transforms.documents.records import SourceFile
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.ngrams.sampling import DocumentSample, holds_all, needs_sampling, sampled_tasks
from tests.helpers.corpora import jsonl

NGRAMS = NgramSettings()


@pytest.mark.parametrize(("suffix", "most"), [("", 200), (".gz", 8000)])
def test_files_that_surely_hold_no_more_are_not_sampled(suffix, most):
    """100 bytes end at most 100 n-grams of each of two orders; compressed ones may become 40 times as many."""
    files = [SourceFile(index, f"/{index}.jsonl{suffix}", f"{index}.jsonl{suffix}", 50, 0.0) for index in range(2)]
    assert not needs_sampling(most, NGRAMS, files)
    assert needs_sampling(most - 1, NGRAMS, files)


def test_a_sample_of_documents_reads_about_as_many_as_asked_for(tmp_path):
    sizes = np.random.default_rng(0).integers(10, 600, 4000)
    (tmp_path / "raw.jsonl").write_bytes(jsonl("alice went " * size for size in sizes))
    raw = Dataset("raw", (str(tmp_path / "raw.jsonl"),))

    def num_read(sample):
        return sum(
            len(group.texts) for task in sampled_tasks(raw, NGRAMS, sample) for group in DocumentReader(raw).read(task)
        )

    found = [num_read(DocumentSample(1000, seed)) for seed in range(5)]
    assert 900 < np.mean(found) < 1800
    assert max(found) < 4000
    assert not holds_all(DocumentSample(1000, 0), raw, NGRAMS)
    assert holds_all(DocumentSample(4000, 0), raw, NGRAMS)
    assert num_read(DocumentSample(4000, 0)) == 4000
