import sys

import nltk
import pytest

from hir_transforms.ngrams.word_tokenizer import load_word_tokenizer


def test_word_tokenize_without_its_data(monkeypatch):
    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(ValueError, match=r"nltk\.downloader punkt_tab"):
        load_word_tokenizer()


def test_word_tokenize_without_nltk(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(ValueError, match=r"pip install 'hir-beam\[nltk\]'$"):
        load_word_tokenizer()


def test_word_tokenize_of_a_version_with_other_tokens(monkeypatch):
    monkeypatch.setattr(nltk, "__version__", "3.10.1")
    with pytest.raises(ValueError, match=r"NLTK 3\.10\.1 gives other tokens: pip install 'hir-beam\[nltk\]'$"):
        load_word_tokenizer()
