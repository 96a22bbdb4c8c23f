import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from model2vec import StaticModel
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense

from hir_transforms.common.errors import UserError
from hir_transforms.embeddings.model import find_model
from hir_transforms.embeddings.static_model import StaticEncoder, load_static_model

TEXTS = ["a text of a garden", "", "兔" * 700, "The word, (the-word) [UNK] é \x00" * 300, "x" * 5000, "a b\n" * 3000]


@pytest.fixture(scope="module")
def library_model(static_folder):
    return StaticModel.from_pretrained(static_folder, quantize_to="float32")


def test_vectors_are_to_the_bit_those_of_the_library(static_folder, library_model):
    encoder = load_static_model(find_model(static_folder))
    rows = encoder.encode(TEXTS)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, library_model.encode(TEXTS))
    np.testing.assert_array_equal(np.concatenate([encoder.encode([text]) for text in TEXTS]), rows)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 0, 0, 1, 0, 1], atol=1e-6)


@pytest.mark.parametrize("max_length", [None, 3])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_models_own_settings_count(static_folder, max_length, normalize):
    model = StaticModel.from_pretrained(
        static_folder, normalize=normalize, max_length=max_length, quantize_to="float32"
    )
    np.testing.assert_array_equal(StaticEncoder(model).encode(TEXTS), model.encode(TEXTS))


def test_a_model_with_a_mapping_of_tokens_gives_what_the_library_gives(static_folder):
    model = StaticModel.from_pretrained(static_folder, vocabulary_quantization=20, quantize_to="float32")
    assert model.token_mapping is not None
    np.testing.assert_array_equal(StaticEncoder(model).encode(TEXTS), model.encode(TEXTS))


def test_a_prompt_comes_before_each_text(static_folder, library_model):
    model = find_model(static_folder, prompt="the word ")
    expected = library_model.encode(["the word of a text"])
    np.testing.assert_array_equal(load_static_model(model).encode(["of a text"]), expected)


def test_texts_of_one_topic_are_close(static_folder):
    texts = ["the army fought a battle", "soldiers died in the war", "the song of a music album"]
    rows = load_static_model(find_model(static_folder)).encode(texts)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.1


def test_models_that_sentence_transformers_saves_are_static_too(static_folder, tmp_path):
    """And normalised where it normalises; but with a layer of its own, one is left to that library."""
    model = SentenceTransformer(static_folder)
    for number, modules in enumerate(([*model], [model[0]], [model[0], Dense(256, 8)])):
        folder = str(tmp_path / f"{number}")
        one = SentenceTransformer(modules=modules).float()
        one.save_pretrained(folder)
        found = find_model(folder)
        assert found.is_static == (number < 2)
        if found.is_static:
            np.testing.assert_allclose(load_static_model(found).encode(TEXTS[:1]), one.encode(TEXTS[:1]), atol=1e-6)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_broken_model_is_one_line(static_folder, tmp_path, name):
    folder = tmp_path / "broken"
    shutil.copytree(static_folder, folder)
    (folder / name).write_bytes(b"{}")
    with pytest.raises(UserError, match=f"^--embedding_model: {folder} cannot be loaded: .*$") as caught:
        load_static_model(find_model(str(folder)))
    assert "\n" not in str(caught.value)


def test_a_transformer_is_not_static(small_transformer):
    assert not find_model(small_transformer).is_static
    assert json.loads(Path(small_transformer, "config.json").read_text("utf-8"))["model_type"] == "bert"
