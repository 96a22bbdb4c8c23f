import apache_beam as beam
import numpy as np
import pytest

from hir_transforms.documents.keys import key_hashes
from hir_transforms.embeddings.model import find_model
from hir_transforms.embeddings.model_handler import SentenceTransformerHandler
from hir_transforms.mixtures.fitting import MixtureSettings, fit_mixture
from hir_transforms.ngrams.classifier_transforms import FitNgramClassifier, key_folds
from hir_transforms.ngrams.estimator import NgramEstimator
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings
from hir_transforms.selection.gumbel import gumbel_noise
from hir_transforms.selection.select_like import SelectLike
from tests.helpers.collections import BEAMS_WORKERS, ONE_WORKER, elements

KINDS = ("stir {} eggs into the flour and bake it", "return the sum of {} along an axis")
RAW = [(number, KINDS[number % 2].format(number)) for number in range(30)]
TARGET = ["return the mean of the array", "sort an array along the last axis", "return it"]
NGRAMS = NgramSettings(num_buckets=1000)
RAW_MIXTURE, TARGET_MIXTURE = MixtureSettings(3, max_iter=5), MixtureSettings(1)


def selected(options=ONE_WORKER, raw=RAW, **settings):
    def build(pipeline):
        target = pipeline | "Target" >> beam.Create(TARGET)
        mixtures = {"raw_mixture": RAW_MIXTURE, "target_mixture": TARGET_MIXTURE}
        return pipeline | "Raw" >> beam.Create(raw) | SelectLike(target, ngrams=NGRAMS, **settings | mixtures)

    return sorted(elements(build, options))


def ngram_weights():
    featurizer, (raw, target) = NgramFeaturizer(NGRAMS), np.zeros((2, 1000), np.int64)
    texts = [text.encode() for _, text in RAW]
    featurizer.count(texts, raw)
    featurizer.count([text.encode() for text in TARGET], target)
    return featurizer.score(texts, NgramEstimator.fit(NGRAMS, raw, target[np.newaxis]).log_ratio)[0][:, 0]


def embedding_weights():
    model = SentenceTransformerHandler(find_model("all-MiniLM-L6-v2")).load_model()

    def of(keys, texts, settings):
        rows = np.concatenate([model.encode([text], show_progress_bar=False) for text in texts])
        hashes = key_hashes(0, keys, purpose="rows")
        order = np.argsort(hashes)
        return rows, fit_mixture(lambda: [(rows[order], hashes[order])], settings)[0]

    rows, raw = of([key for key, _ in RAW], [text for _, text in RAW], RAW_MIXTURE)
    _, target = of(TARGET, TARGET, TARGET_MIXTURE)
    return target.score_samples(rows) - raw.score_samples(rows)


def expected(weights, k, seed):
    ranks = weights + gumbel_noise(key_hashes(seed, [key for key, _ in RAW]))
    return sorted(RAW[place] for place in np.argsort(-ranks)[:k])


@pytest.mark.parametrize("options", [ONE_WORKER, BEAMS_WORKERS], ids=["one worker", "two workers"])
def test_ngrams_alone(options):
    assert selected(options, RAW[::-1], k=9, alpha=1.0, seed=2) == expected(ngram_weights(), 9, 2)


def test_the_classifier_of_ngrams():
    featurizer, keys = NgramFeaturizer(NGRAMS), [key for key, _ in RAW]
    (fitted,) = elements(
        lambda pipeline: (
            pipeline
            | "Raw" >> beam.Create(RAW)
            | FitNgramClassifier(pipeline | "Target" >> beam.Create(TARGET), NGRAMS)
        )
    )
    texts = [text.encode() for _, text in RAW]
    weights, _ = featurizer.decide(texts, fitted.coefficients, fitted.intercepts, key_folds(0, keys))
    found = selected(raw=RAW[::-1], k=9, alpha=1.0, ngram_estimator="classifier", seed=2)
    assert found == expected(weights[:, 0], 9, 2)
    assert found != expected(ngram_weights(), 9, 2)


def test_embeddings_alone():
    assert selected(k=9, alpha=0.0, seed=2) == expected(embedding_weights(), 9, 2)


def test_both():
    found = selected(k=9, alpha=0.75, seed=2)
    assert found == expected(0.75 * ngram_weights() + 0.25 * embedding_weights(), 9, 2)


def of_records(raw, *, text_field="body", **settings):
    """What is selected of records, as a list; `raw` makes them of a pipeline."""

    def build(pipeline):
        inputs = {"raw": raw(pipeline), "target": pipeline | "Target" >> beam.Create(TARGET)}
        return inputs | SelectLike(alpha=1.0, ngrams=NGRAMS, text_field=text_field, key_field="id", **settings)

    return elements(build)


def dicts(pipeline):
    return pipeline | "Raw" >> beam.Create([{"id": key, "body": text, "more": [key]} for key, text in RAW])


def rows(pipeline):
    return dicts(pipeline) | beam.Map(lambda record: beam.Row(id=int(record["id"]), body=str(record["body"])))


def test_records_come_out_as_they_are():
    found = expected(ngram_weights(), 9, 2)
    records = sorted(of_records(dicts, k=9, seed=2), key=lambda record: record["id"])
    assert records == [{"id": key, "body": text, "more": [key]} for key, text in found]
    assert sorted((row.id, row.body) for row in of_records(rows, k=9, seed=2)) == found


def test_targets_may_be_records_too():
    def build(pipeline):
        target = pipeline | "Target" >> beam.Create([{"body": text} for text in TARGET])
        selects = SelectLike(target, k=9, alpha=1.0, ngrams=NGRAMS, text_field="body", key_field="id", seed=2)
        return dicts(pipeline) | selects | beam.Map(lambda record: (record["id"], record["body"]))

    assert sorted(elements(build)) == expected(ngram_weights(), 9, 2)


def test_short_texts_are_left_out_and_tokens_counted():
    lengths = {key: len(text.split()) for key, text in RAW}
    assert {*lengths.values()} == {8, 9}
    longer = of_records(dicts, k=15, min_example_length=9)
    assert sorted(record["id"] for record in longer) == [key for key, length in lengths.items() if length == 9]
    ranks = ngram_weights() + gumbel_noise(key_hashes(0, [key for key, _ in RAW]))
    order = np.argsort(-ranks)
    fitting = int(np.searchsorted(np.cumsum([lengths[place] for place in order]), 50, side="right"))
    assert sorted(record["id"] for record in of_records(dicts, tokens=50)) == sorted(order[:fitting].tolist())


def test_what_is_wrong_with_records_is_named():
    with pytest.raises(Exception, match="SelectLike: 30 documents have the key 'one', which must be of one alone"):
        selected(raw=[("one", text) for _, text in RAW], k=1, alpha=1.0, min_example_length=1)
    target = beam.Pipeline() | beam.Create(TARGET)
    for text_field, key_field in (("body", None), (None, "id")):
        with pytest.raises(ValueError, match=r"^records need both text_field and key_field"):
            SelectLike(target, k=1, text_field=text_field, key_field=key_field)
    with pytest.raises(ValueError, match=r"^ngram_estimator must be ratio or classifier, not 'auto'$"):
        SelectLike(target, k=1, ngram_estimator="auto")
    with pytest.raises(ValueError, match=r"^give either k or tokens$"):
        SelectLike(target, k=1, tokens=1)
    with pytest.raises(ValueError, match="no target; give it, or the inputs raw and target together"):
        dicts(beam.Pipeline()) | SelectLike(k=1, text_field="body", key_field="id")
    for field, message in (
        ("none", "a record has no field 'none': "),
        ("more", "the field 'more' of a record is list"),
    ):
        with pytest.raises(Exception, match=f"SelectLike: {message}"):
            of_records(dicts, k=1, text_field=field)
