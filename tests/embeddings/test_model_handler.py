import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from hir_transforms.common.errors import UserError
from hir_transforms.documents.records import DocumentBatch, DocumentGroup, SourceFile
from hir_transforms.embeddings.model import find_model
from hir_transforms.embeddings.model_handler import SentenceTransformerHandler, cut_long_texts


def test_rows_of_a_group_do_not_depend_on_other_groups():
    def group(texts, block):
        file = SourceFile(0, "raw.jsonl", "raw.jsonl", 0, 0.0)
        offsets = np.arange(len(texts))
        return DocumentGroup((0, block), [DocumentBatch(file, block, offsets, offsets, texts)])

    handler = SentenceTransformerHandler(find_model("all-MiniLM-L6-v2"))
    model = handler.load_model()
    groups = [group(["a short text", "a rather longer text about gardens " * 50], 0), group(["another"], 1)]
    together: list[Any] = list(handler.run_inference(groups, model))
    for one, expected in zip(groups, together, strict=True):
        alone: Any
        (alone,) = handler.run_inference([one], model)
        assert alone.example is one
        assert alone.inference.dtype == np.float32
        np.testing.assert_array_equal(alone.inference, expected.inference)
    assert together[0].inference.shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(together[0].inference, axis=1), 1, rtol=1e-5)


@pytest.fixture(scope="module")
def model():
    return SentenceTransformerHandler(find_model("all-MiniLM-L6-v2")).load_model()


LONG_TEXTS = [
    "word " * 5000,
    "antidisestablishmentarianism, (hyper-)parameters; " * 300,
    "ein zwei drei Übermäßig " * 400,
    "一二三四五六七八九十 " * 500,
    "\u0301" * 9000 + " tail",  # accents alone: no token before the cut
    "x" * 9000,
    "tab\tand\nnew line without a blank\n" * 400,
    "short",
    "",
]


def test_cut_texts_have_the_vectors_of_the_whole_texts(model):
    cut = cut_long_texts(model, LONG_TEXTS)
    for text, kept in zip(LONG_TEXTS, cut, strict=True):
        assert text.startswith(kept)
    assert sum(map(len, cut[:4])) < sum(map(len, LONG_TEXTS[:4])) / 4
    np.testing.assert_array_equal(model.encode(cut), model.encode(LONG_TEXTS))


def test_cut_texts_have_the_tokens_of_the_whole_texts(model):
    def tokens(texts):
        return model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)["input_ids"]

    generator = np.random.default_rng(0)
    alphabet = [*"aB ,.é兔\n\t\u0301\u200b-_", "the ", "ing ", "1234", "don't "]
    texts = ["".join(generator.choice(alphabet, size)) for size in generator.integers(0, 9000, 200)]
    assert tokens(cut_long_texts(model, texts)) == tokens(texts)


def test_a_prompt_comes_before_each_text(model):
    file = SourceFile(0, "raw.jsonl", "raw.jsonl", 0, 0.0)
    group = DocumentGroup((0, 0), [DocumentBatch(file, 0, np.arange(1), np.arange(1), ["a text"])])
    handler = SentenceTransformerHandler(find_model("all-MiniLM-L6-v2", prompt="query: "))
    (prediction,) = handler.run_inference([group], model)
    np.testing.assert_array_equal(prediction.inference, model.encode(["query: a text"]))


def test_the_batch_size_is_what_is_asked_for(model):
    """A text's last bits may follow from those beside it, so the handler must give the library's own result."""
    texts = [f"text {number} " * (number + 1) for number in range(40)]
    group = SimpleNamespace(texts=texts)
    found = find_model("all-MiniLM-L6-v2")
    for size, expected in ((0, 4), (1, 1), (32, 32)):
        handler = SentenceTransformerHandler(replace(found, batch_size=size))
        (prediction,) = handler.run_inference([group], model)
        np.testing.assert_array_equal(prediction.inference, model.encode(texts, batch_size=expected))
    assert not np.array_equal(model.encode(texts, batch_size=32), model.encode(texts, batch_size=1))


@pytest.fixture
def copied_model(tmp_path):
    """A folder with a copy of the default model, and its weights apart."""
    folder = tmp_path / "model"
    shutil.copytree(find_model("all-MiniLM-L6-v2").locate(), folder)
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    return folder, weights


def message_of_loading(folder):
    with pytest.raises(UserError) as caught:
        SentenceTransformerHandler(find_model(str(folder))).load_model()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pickled_weights_are_read_where_they_are_only_arrays(copied_model, model):
    folder, weights = copied_model
    torch.save(weights, folder / "pytorch_model.bin")
    pickled = SentenceTransformerHandler(find_model(str(folder))).load_model()
    np.testing.assert_array_equal(pickled.encode(["a text"]), model.encode(["a text"]))


def test_pickled_weights_that_hold_other_objects_are_named(copied_model):
    folder, weights = copied_model
    torch.save({**weights, "more": Path("/tmp")}, folder / "pytorch_model.bin")
    message = message_of_loading(folder)
    assert message.startswith(f"--embedding_model: the weights of {folder} are pickled Python objects")
    assert message.endswith("convert them to safetensors")


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_weights_that_cannot_be_read_are_one_line(copied_model, content):
    folder, _ = copied_model
    (folder / "model.safetensors").write_bytes(content)
    assert message_of_loading(folder).startswith(f"--embedding_model: {folder} cannot be loaded: ")
