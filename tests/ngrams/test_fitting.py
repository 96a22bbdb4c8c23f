import gzip
import io
import json

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from apache_beam.utils.shared import Shared
from data_selection.hashed_ngram_dsir import get_ngram_counts

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError, find_user_error
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.reading import DocumentReader, ReadTasks
from hir_transforms.ngrams.estimator import NgramEstimator
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.ngrams.fitting import (
    CountSettings,
    EstimatorSettings,
    WriteNgramCounts,
    WriteNgramEstimator,
    load_counts,
    load_estimator,
)
from hir_transforms.ngrams.sampling import NgramSample, needs_sampling, sampled_tasks

WORDS = ["alice", "went", "down", "the", "Rabbit", "hole", "Ünïcode", "兔子", "42", "İstanbul", ",", ".", "!", "?"]


def texts(count, seed):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, size)) for size in generator.integers(0, 200, count)]


def write(path, documents):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")


def dataset(role, path):
    return Dataset(role, (str(path),))


def dsir_counts(documents, n, buckets):
    return sum(get_ngram_counts(text, n=n, num_buckets=buckets) for text in documents)


@pytest.mark.parametrize(("n", "buckets", "smoothing"), [(1, 100, 0.0), (2, 10_000, 0.0), (3, 997, 0.5)])
def test_fit_counts_what_dsir_counts(tmp_path, n, buckets, smoothing):
    raw, target = texts(300, 0), texts(50, 1)
    for part in range(3):
        write(tmp_path / f"raw-{part}.jsonl", raw[part::3])
    write(tmp_path / "target.jsonl", target)
    datasets = [dataset("raw", tmp_path / "raw-*.jsonl"), dataset("target", tmp_path / "target.jsonl")]
    settings, work = NgramSettings(n, buckets), str(tmp_path / "work")
    stages = [Stage.create(f"counts/{one.role}", work, CountSettings(settings), [one]) for one in datasets]
    stage = Stage.create("ngram", work, EstimatorSettings(settings, smoothing), [], stages)
    raw_counts, target_counts = (dsir_counts(documents, n, buckets) for documents in (raw, target))
    p_raw = raw_counts / raw_counts.sum()
    p_target = (target_counts + smoothing) / (target_counts.sum() + smoothing * buckets)
    expected = np.log(p_target + 1e-8) - np.log(p_raw + 1e-8)

    def check(stages: list[Stage]) -> None:
        (fitted,) = stages
        estimator = load_estimator(fitted)
        np.testing.assert_array_equal(estimator.raw_counts, raw_counts)
        np.testing.assert_array_equal(estimator.target_counts, [target_counts])
        np.testing.assert_allclose(estimator.log_ratio, [expected], rtol=1e-12, atol=1e-12)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        of_raw, of_target = (
            pipeline
            | f"Read {one.role}" >> ReadTasks(one)
            | f"Count {one.role}" >> WriteNgramCounts(counts, shared=Shared())
            for counts, one in zip(stages, datasets, strict=True)
        )
        fitted = of_raw | WriteNgramEstimator(stage, target_counts=of_target)
        assert_that(fitted, check)
    np.testing.assert_array_equal(load_counts(stages[0]), [raw_counts])
    assert stages[0].counts()["documents"] == 300
    assert stages[0].counts()["ngrams"] == [raw_counts.sum()]
    assert stage.counts()["target_proportions"] == [1.0]
    saved = io.BytesIO()
    load_estimator(stage).save(saved)
    assert saved.getvalue() == (tmp_path / "work" / "ngram" / "estimator.npz").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "run again"),
        (b"PK", "run again"),
        ({"smoothing": 1.0}, "was fitted with another smoothing"),
        ({"settings": NgramSettings(2, 30)}, "was fitted with num_buckets 30, not 20"),
    ],
    ids=["empty", "damaged", "smoothing", "buckets"],
)
def test_an_estimator_that_is_not_the_stages_is_an_error(tmp_path, content, message):
    stage = Stage.create("ngram", str(tmp_path), EstimatorSettings(NgramSettings(2, 20), 0.5))
    stage.write_manifest({})
    if isinstance(content, dict):
        settings, file = content.get("settings", NgramSettings(2, 20)), io.BytesIO()
        counts = np.ones((1, settings.num_buckets), np.int64)
        smoothing = content.get("smoothing", 0.5)
        NgramEstimator.fit(settings, counts[0], counts, target_laplace_smoothing=smoothing).save(file)
        content = file.getvalue()
    (tmp_path / "ngram" / "estimator.npz").write_bytes(content)
    with pytest.raises(UserError, match=f"estimator.npz.*{message}"):
        load_estimator(stage)


def count_targets(tmp_path, *documents):
    for number, one in enumerate(documents):
        write(tmp_path / f"target-{number}.jsonl", one)
    names = (str(tmp_path / f"target-{number}.jsonl") for number in range(len(documents)))
    target = Dataset("target", tuple(names))
    settings = CountSettings(NgramSettings(2, 997), len(documents))
    stage = Stage.create("counts/target", str(tmp_path / "work"), settings, [target])
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        pipeline | ReadTasks(target) | WriteNgramCounts(stage, shared=Shared())
    return load_counts(stage)


def test_each_target_is_counted_by_itself(tmp_path):
    targets = texts(5, 3), texts(40, 4), texts(1, 5)
    found = count_targets(tmp_path, *targets)
    np.testing.assert_array_equal(found, [dsir_counts(documents, 2, 997) for documents in targets])


def test_a_target_without_text_is_named(tmp_path):
    with pytest.raises(Exception, match="no text") as caught:
        count_targets(tmp_path, texts(5, 3), ["", " "])
    assert find_user_error(caught.value).startswith(
        f"--target: no text in it of {tmp_path}/target-1.jsonl (7 documents"
    )


@pytest.fixture
def large(tmp_path):
    """About 10 MB in two plain files and a compressed one."""
    documents = texts(20_000, 2)
    write(tmp_path / "raw-0.jsonl", documents[:12_000])
    write(tmp_path / "raw-1.jsonl", documents[12_000:16_000])
    write(tmp_path / "raw-2.jsonl", documents[16_000:])
    (tmp_path / "raw-2.jsonl.gz").write_bytes(gzip.compress((tmp_path / "raw-2.jsonl").read_bytes()))
    (tmp_path / "raw-2.jsonl").unlink()
    return dataset("raw", tmp_path / "raw-*")


def sampled_documents(source, num_ngrams, seed=0):
    reader = DocumentReader(source)
    tasks = list(sampled_tasks(source, NgramSettings(), NgramSample(num_ngrams, seed)))
    groups = [group for task in tasks for group in reader.read(task)]
    return {(batch.file.name, batch.block): batch.texts for group in groups for batch in group.batches}


def test_a_sample_holds_about_as_many_ngrams_as_asked_for(large):
    everything = sampled_documents(large, 10**12)
    total = sum(dsir_ngrams(documents) for documents in everything.values())
    sample = sampled_documents(large, total // 3)
    assert set(sample) < set(everything)
    assert {name for name, _ in sample} == {"raw-0.jsonl", "raw-1.jsonl", "raw-2.jsonl.gz"}
    assert sum(map(dsir_ngrams, sample.values())) == pytest.approx(total / 3, rel=0.4)
    for key, documents in sample.items():
        assert documents == everything[key]


@pytest.mark.parametrize("compress", [None, gzip.compress], ids=["plain", "gzip"])
def test_a_small_sample_is_never_empty(tmp_path, compress):
    write(tmp_path / "raw.jsonl", texts(2_000, 2))
    if compress:
        (tmp_path / "raw.jsonl.gz").write_bytes(compress((tmp_path / "raw.jsonl").read_bytes()))
        (tmp_path / "raw.jsonl").unlink()
    source = dataset("raw", tmp_path / "raw.*")
    found = []
    for seed in range(12):
        sample = sampled_documents(source, 20_000, seed)
        found.append(sum(map(dsir_ngrams, sample.values())))
    assert min(found) > 0
    assert 10_000 < np.mean(found) < 60_000  # the size of what is compressed is a guess


def test_a_sample_has_text_where_most_of_the_corpus_has_none(tmp_path):
    write(tmp_path / "raw.jsonl", [" " * 1_000] * 2_000 + texts(50, 2) + [" " * 1_000] * 2_000)
    source = dataset("raw", tmp_path / "raw.jsonl")
    for seed in range(12):
        assert any(text.strip() for documents in sampled_documents(source, 1, seed).values() for text in documents)


def test_the_first_block_of_a_compressed_file_is_not_taken_for_the_rest(tmp_path):
    documents = texts(6_000, 2)
    lines = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in ["x" * 5_000] * 20 + documents)
    (tmp_path / "raw.jsonl.gz").write_bytes(gzip.compress(lines))
    total = dsir_ngrams(documents)
    source = dataset("raw", tmp_path / "raw.jsonl.gz")
    found = [sum(map(dsir_ngrams, sampled_documents(source, total // 4, seed).values())) for seed in range(5)]
    assert total / 10 < np.mean(found) < total / 2


def dsir_ngrams(documents):
    return sum(max(0, 2 * len(text.split()) - 1) for text in documents)


def test_a_sample_does_not_depend_on_where_the_files_are_or_their_order(large, tmp_path):
    files = [file.path for file in large.list_files()]
    other_order = Dataset("raw", tuple(reversed(files)))
    assert sampled_documents(other_order, 500_000) == sampled_documents(large, 500_000)
    assert sampled_documents(large, 500_000, seed=1).keys() != sampled_documents(large, 500_000).keys()


def test_a_small_corpus_needs_no_sampling(large):
    files = large.list_files()
    settings = NgramSettings()
    assert needs_sampling(1_000_000, settings, files)
    assert not needs_sampling(10**9, settings, files)
