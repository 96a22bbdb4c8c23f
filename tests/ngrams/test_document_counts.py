import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from apache_beam.utils.shared import Shared

from hir_transforms.artifacts.stages import Stage
from hir_transforms.classifiers.logistic import folds_of
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.identity import identity_hash
from hir_transforms.documents.reading import ReadTasks
from hir_transforms.ngrams.document_counts import CountDocuments, CountedDocuments
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings
from hir_transforms.ngrams.sampling import DocumentSample, ReadSampledTasks
from tests.helpers.corpora import jsonl

NGRAMS = NgramSettings(2, 500)
TEXTS = [["the cat and the dog", "", "a"], ["  ", "b b b"]]


@pytest.mark.parametrize("by_target", [False, True])
def test_documents_are_counted_by_task(tmp_path, by_target):
    paths = [tmp_path / f"{number}.jsonl" for number in range(2)]
    for path, texts in zip(paths, TEXTS, strict=True):
        path.write_bytes(jsonl(texts) + b"no json\n")
    dataset = Dataset("target", tuple(map(str, paths)))
    stage = Stage.create("some", str(tmp_path / "work"), NGRAMS)

    def check(files):
        assert sum(one.lines.documents for one in files) == 5
        assert sum(one.lines.rejected for one in files) == 2
        assert {(one.role, one.fraction) for one in files} == {("target", 1.0)}

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        counted = (
            pipeline | ReadTasks(dataset) | CountDocuments(stage, dataset, NGRAMS, 3, Shared(), by_target=by_target)
        )
        assert_that(counted, check)
    found = CountedDocuments.join(
        [CountedDocuments.load(str(path)) for path in sorted((tmp_path / "work" / "some" / "documents").iterdir())]
    )
    # Documents without n-grams are left out.
    kept = [(0, 0), (0, 2), (1, 1)]
    assert found.targets.tolist() == [file * by_target for file, _ in kept]
    featurizer = NgramFeaturizer(NGRAMS)
    expected = np.zeros((len(kept), 500), np.int64)
    for row, (file, line) in zip(expected, kept, strict=True):
        featurizer.count([TEXTS[file][line].encode()], row)
    np.testing.assert_array_equal(found.matrix(500).toarray(), expected)
    starts = [np.cumsum([0, *(len(line) for line in jsonl(texts).splitlines(True))])[:-1] for texts in TEXTS]
    for number, (file, line) in enumerate(kept):
        place = paths[file].name, starts[file][line : line + 1]
        assert found.hashes[number] == identity_hash(3, *place, purpose="classifier")
        assert found.folds[number] == folds_of(3, *place)
    assert len([*(tmp_path / "work" / "some" / "rejected").iterdir()]) == 2


def test_files_of_a_sample_tell_its_share(tmp_path):
    (tmp_path / "raw.jsonl").write_bytes(jsonl(["a few words " * 200] * 4000))
    dataset = Dataset("raw", (str(tmp_path / "raw.jsonl"),))
    stage = Stage.create("some", str(tmp_path / "work"), NGRAMS)

    def check(files):
        (fraction,) = {one.fraction for one in files}
        documents = sum(one.lines.documents for one in files)
        assert 0 < fraction < 1
        assert documents / fraction == pytest.approx(4000, rel=0.5)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        tasks = pipeline | ReadSampledTasks(dataset, NGRAMS, DocumentSample(1000, 0))
        assert_that(tasks | CountDocuments(stage, dataset, NGRAMS, 0, Shared()), check)
