import apache_beam as beam
import numpy as np
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.embeddings.model import find_model
from hir_transforms.embeddings.model_handler import SentenceTransformerHandler
from hir_transforms.embeddings.static_model import load_static_model
from hir_transforms.embeddings.transforms import ComputeEmbeddings
from tests.helpers.collections import elements

NAME = "all-MiniLM-L6-v2"
TEXTS = {"a": "a short text", "b": "a rather longer text about gardens " * 50, "c": ""}


def embedded(transform):
    found = elements(lambda pipeline: pipeline | beam.Create([*TEXTS.items()]) | transform)
    assert [key for key, _ in sorted(found, key=lambda one: one[0])] == [*TEXTS]
    return dict(found)


def test_a_vector_is_that_of_its_text_alone():
    model = SentenceTransformerHandler(find_model(NAME)).load_model()
    for key, vector in embedded(ComputeEmbeddings(NAME)).items():
        assert vector.dtype == np.float32
        np.testing.assert_array_equal(vector, model.encode([TEXTS[key]], show_progress_bar=False)[0])


def test_vectors_of_a_batch_are_nearly_the_same():
    alone, together = embedded(ComputeEmbeddings(find_model(NAME))), embedded(ComputeEmbeddings(NAME, batch_size=3))
    for key, vector in alone.items():
        np.testing.assert_allclose(together[key], vector, atol=1e-5)


def test_a_static_model_needs_no_transformer(static_folder):
    expected = load_static_model(find_model(static_folder)).encode([*TEXTS.values()])
    for size in (1, 3):
        found = embedded(ComputeEmbeddings(static_folder, batch_size=size))
        np.testing.assert_array_equal([found[key] for key in TEXTS], expected)


def test_a_model_is_not_distilled_without_a_work_folder(static_folder):
    with pytest.raises(UserError, match="'hir distill', and give its folder"):
        beam.Pipeline() | beam.Create([("a", "text")]) | ComputeEmbeddings("static:all-MiniLM-L6-v2")


def test_a_missing_model_is_an_error(tmp_path):
    with pytest.raises(UserError, match="is a folder without a model"):
        beam.Pipeline() | beam.Create([("a", "text")]) | ComputeEmbeddings(str(tmp_path))
