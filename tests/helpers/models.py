"""Small embedding models with real weights."""

import json
import shutil
from pathlib import Path

import numpy as np

from hir_transforms.embeddings.model import find_model

# The first are the characters and the most frequent words of English.
NUM_TOKENS = 3000
_WORDS = "embeddings.word_embeddings.weight"


def write_small_transformer(folder: Path) -> str:
    """Writes all-MiniLM-L6-v2 with a tenth of its vocabulary, which is distilled in seconds; returns its path."""
    import safetensors.torch  # and torch: not for every test

    shutil.copytree(find_model("all-MiniLM-L6-v2").locate(), folder, copy_function=shutil.copy)
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights[_WORDS] = weights[_WORDS][:NUM_TOKENS].clone()
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    _edit(folder / "config.json", lambda config: config.update(vocab_size=NUM_TOKENS))
    _edit(folder / "tokenizer.json", lambda tokenizer: tokenizer["model"].update(vocab=_first(tokenizer)))
    (folder / "vocab.txt").unlink(missing_ok=True)
    return str(folder)


def _first(tokenizer):
    return {token: number for token, number in tokenizer["model"]["vocab"].items() if number < NUM_TOKENS}


def write_static_model(folder: Path, words: list[str], dim: int) -> None:
    """Writes a static model that knows these words, with made-up vectors."""
    from model2vec import StaticModel
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate(["[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.random.default_rng(0).normal(size=(len(vocabulary), dim)).astype(np.float32)
    StaticModel(vectors, tokenizer).save_pretrained(folder)


def _edit(path, change):
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")
