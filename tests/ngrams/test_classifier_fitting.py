import json

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.utils.shared import Shared
from data_selection.hashed_ngram_dsir import get_ngram_counts
from sklearn.linear_model import LogisticRegression

from hir_transforms.artifacts.stages import Stage
from hir_transforms.classifiers.logistic import NUM_FOLDS, folds_of
from hir_transforms.common.errors import UserError, find_user_error
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.reading import DocumentReader, ReadTasks
from hir_transforms.ngrams.classifier_fitting import ClassifierSettings, WriteNgramClassifier, load_classifier
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings
from hir_transforms.ngrams.sampling import DocumentSample, ReadSampledTasks, sampled_tasks
from tests.helpers.corpora import jsonl

WORDS = {
    "raw": ["alice", "went", "down", "the", "rabbit", "hole", "兔子", ",", ".", "!", "a", "b", "c"],
    "target": ["the", "rabbit", "sat", "still", ",", ".", "?", "d"],
}
NGRAMS = NgramSettings(2, 500)


def texts(role, count, seed=0):
    generator = np.random.default_rng([seed, len(role)])
    return [" ".join(generator.choice(WORDS[role], size)) for size in generator.integers(1, 60, count)]


def write(path, documents):
    path.write_bytes(jsonl(documents))
    return str(path)


def stage_of(tmp_path, raw, *targets, num_documents=1000, ngrams=NGRAMS, name="work"):
    """The stage of a classifier of these documents."""
    paths = [write(tmp_path / f"target-{number}.jsonl", one) for number, one in enumerate(targets)]
    datasets = [Dataset("target", tuple(paths)), Dataset("raw", (write(tmp_path / "raw.jsonl", raw),))]
    settings = ClassifierSettings(ngrams, len(targets), num_documents, 3)
    return Stage.create("ngram_classifier", str(tmp_path / name), settings, datasets)


def fit(stage):
    """The stage's classifier, fitted."""
    target, raw = stage.datasets
    sample = DocumentSample(stage.settings.num_documents, stage.settings.seed)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        tasks = pipeline | "Raw" >> ReadSampledTasks(raw, stage.settings.ngrams, sample)
        targets = pipeline | "Target" >> ReadTasks(target)
        tasks | WriteNgramClassifier(stage, target=targets, shared=Shared())
    return load_classifier(stage)


def documents_of(dataset):
    """The texts of a dataset and their folds."""
    batches = [
        batch
        for task in sampled_tasks(dataset, NGRAMS, DocumentSample(10**6, 0))
        for group in DocumentReader(dataset).read(task)
        for batch in group.batches
    ]
    folds = np.concatenate([folds_of(3, batch.file.name, batch.offsets) for batch in batches])
    return [text for batch in batches for text in batch.texts], folds


def dsir_features(documents, ngrams):
    counts = np.array([get_ngram_counts(text, n=ngrams.ngrams, num_buckets=ngrams.num_buckets) for text in documents])
    logs = np.log1p(counts)
    return logs / np.maximum(1e-300, np.linalg.norm(logs, axis=1, keepdims=True))


@pytest.mark.parametrize("num_targets", [1, 2])
def test_decisions_are_those_of_scikit_learn_on_the_features_of_data_selection(tmp_path, num_targets):
    raw, targets = [*texts("raw", 150), "", *texts("target", 20, 1)], [texts("target", 30), ["", *texts("raw", 9, 2)]]
    stage = stage_of(tmp_path, raw, *targets[:num_targets])
    classifier = fit(stage)
    documents, folds = documents_of(stage.datasets[1])
    assert sorted(documents) == sorted(raw)
    featurizer = NgramFeaturizer(NGRAMS)
    found, _ = featurizer.decide(
        [text.encode() for text in documents], classifier.coefficients, classifier.intercepts, folds
    )
    rows = dsir_features(documents, NGRAMS)
    fitted_to = rows.any(axis=1)  # documents without n-grams tell nothing
    for number in range(num_targets):
        of_target = dsir_features(filter(None, targets[number]), NGRAMS)
        expected = np.empty(len(rows))
        for fold in range(NUM_FOLDS):
            negatives = rows[fitted_to & (folds != fold)]
            labels = np.repeat([1, 0], [len(of_target), len(negatives)])
            model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000)
            model.fit(np.concatenate([of_target, negatives]), labels)
            expected[folds == fold] = model.decision_function(rows[folds == fold])
        np.testing.assert_allclose(found[:, number], expected, atol=1e-6)
    counts = stage.counts()
    assert counts["raw_documents"] == len(raw) - 1
    assert counts["target_documents"] == [30, 9][:num_targets]
    assert counts["iterations"] == classifier.iterations.tolist()
    assert counts["warning"] is None


def test_given_coefficients_decide_as_the_features_of_data_selection(tmp_path):
    """The features alone, to many digits."""
    stage = stage_of(tmp_path, texts("raw", 60), texts("target", 10))
    classifier = fit(stage)
    documents, folds = documents_of(stage.datasets[1])
    found, _ = NgramFeaturizer(NGRAMS).decide(
        [text.encode() for text in documents], classifier.coefficients, classifier.intercepts, folds
    )
    expected = (dsir_features(documents, NGRAMS) * classifier.coefficients[0, folds]).sum(axis=1)
    np.testing.assert_allclose(found[:, 0], expected + classifier.intercepts[0, folds], rtol=1e-12, atol=1e-12)


def test_files_of_counts_are_removed_and_the_rest_is_the_same_bytes_each_time(tmp_path):
    raw, target = texts("raw", 100), texts("target", 10)
    files = []
    for name in ("work", "again"):
        stage = stage_of(tmp_path, raw, target, name=name)
        fit(stage)
        folder = tmp_path / name / "ngram_classifier"
        files.append({path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".npy", ".npz")})
        assert not (folder / "documents").exists()
        assert stage.own_files()
    assert files[0].keys() == {"classifier.npz", "coefficients.npy"}
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("raw", "target"),
    [(["a b"], ["c"]), (["", "a", ""], ["a"]), (["a b"] * 3, ["a b", ""])],
    ids=["one of each", "most are empty", "the same"],
)
@pytest.mark.parametrize("ngrams", [NgramSettings(1, 1), NGRAMS, NgramSettings(2, 2**24, hash="fast")], ids=str)
def test_tiny_corpora(tmp_path, raw, target, ngrams):
    if ngrams.num_buckets == 2**24 and len(raw) > 1:
        pytest.skip("once is enough of half a gigabyte")
    classifier = fit(stage_of(tmp_path, raw, target, ngrams=ngrams))
    assert classifier.coefficients.shape == (1, NUM_FOLDS, ngrams.num_buckets)
    assert np.isfinite(classifier.intercepts).all()
    assert np.isfinite(classifier.coefficients[0, :, ::1009]).all()


@pytest.mark.parametrize(
    ("raw", "targets", "message"),
    [
        (["", "."[:0]], [["a"]], "--raw: no text in it (2 documents)"),
        (["a"], [["", " "]], "--target: no text in it (2 documents)"),
        (["a"], [["a"], [" "]], "--target: no text in it of {folder}/target-1.jsonl (2 documents)"),
    ],
)
def test_nothing_to_fit_to_is_one_line(tmp_path, raw, targets, message):
    with pytest.raises(Exception, match="no text") as caught:
        fit(stage_of(tmp_path, raw, *targets))
    assert find_user_error(caught.value) == message.format(folder=tmp_path)


def test_lines_of_the_target_that_are_rejected_are_counted_and_kept(tmp_path):
    stage = stage_of(tmp_path, texts("raw", 9), texts("target", 30))
    with open(tmp_path / "target-0.jsonl", "ab") as file:
        file.write(b"no json\n")
    stage = Stage.create(stage.name, stage.work_dir, stage.settings, stage.datasets)
    fit(stage)
    assert (stage.counts()["read"], stage.counts()["rejected"], stage.counts()["documents"]) == (31, 1, 30)
    (reject,) = (tmp_path / "work" / "ngram_classifier" / "rejected").iterdir()
    assert json.loads(reject.read_bytes())["reason"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"content": b"PK"}, "run again"),
        ({"seed": 4}, "was fitted with another seed"),
        ({"ngrams": NgramSettings(2, 501)}, "was fitted with num_buckets 500, not 501"),
        ({"coefficients": np.zeros((1, 5, 4))}, "coefficients must be float64"),
        ({"missing": True}, "coefficients.npy"),
    ],
    ids=lambda change: next(iter(change)) if isinstance(change, dict) else "",
)
def test_a_classifier_that_is_not_the_stages_is_an_error(tmp_path, change, message):
    stage = stage_of(tmp_path, ["a"], ["b"])
    fit(stage)
    folder = tmp_path / "work" / "ngram_classifier"
    if "content" in change:
        (folder / "classifier.npz").write_bytes(change["content"])
    if "coefficients" in change:
        np.save(folder / "coefficients.npy", change["coefficients"])
    if "missing" in change:
        (folder / "coefficients.npy").unlink()
    settings = ClassifierSettings(change.get("ngrams", NGRAMS), 1, 1000, change.get("seed", 3))
    other = Stage(stage.name, stage.work_dir, settings, stage.datasets, (), stage.fingerprint)
    with pytest.raises(UserError, match=f"classifier.npz.*{message}"):
        load_classifier(other)
