"""Tokens of texts, put together from those of their words, which are remembered."""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Between these characters, and before and after those that stand alone, every BERT tokenizer starts afresh: it takes
# them for blanks, or for punctuation, whatever stands around them. Words in between go to the tokenizer as they are.
_BLANKS = r" \t\n\r"
_ALONE = r"!-/:-@\[-`{-~"
# What the remembered words may take, counted as `_WORD_BYTES` each and `_CHARACTER_BYTES` a character.
_MAX_BYTES = 64 << 20
_WORD_BYTES, _CHARACTER_BYTES = 150, 5


class TokenCache:
    """Token numbers of texts, the same that a tokenizer of BERT's kind gives, several times as fast.

    Args:
        tokenizer: one for which `is_word_by_word`.
    """

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._tokens: dict[str, bytes] = {}
        self._bytes = 0
        added = [re.escape(token["content"]) for token in _added_tokens(tokenizer)]
        self._words = re.compile("|".join([*added, f"[^{_BLANKS}{_ALONE}]+", f"[{_ALONE}]"]))

    def tokens(self, texts: Sequence[str], max_tokens: int | None) -> list[np.ndarray]:
        """The tokens of each text, int32 arrays; of those with more than `max_tokens`, the first."""
        words = [self._words.findall(text) for text in texts]
        if self._bytes > _MAX_BYTES:
            self._tokens, self._bytes = {}, 0
        known = self._tokens  # another thread may put a new one in its place
        unknown = list(set().union(*words).difference(known))
        for word, encoding in zip(
            unknown, self._tokenizer.encode_batch_fast(unknown, add_special_tokens=False), strict=True
        ):
            known[word] = np.array(encoding.ids, np.int32).tobytes()
        self._bytes += len(unknown) * _WORD_BYTES + sum(map(len, unknown)) * _CHARACTER_BYTES
        joined = (b"".join(map(known.__getitem__, of_text)) for of_text in words)
        return [np.frombuffer(tokens, np.int32)[:max_tokens] for tokens in joined]


def is_word_by_word(tokenizer: "Tokenizer") -> bool:
    """Whether the tokens of a text are those of its words, one after the other: so it is with BERT's tokenizers."""
    described = json.loads(tokenizer.to_str())
    kinds = [(described[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
    plain = all(
        not (token["normalized"] or token["single_word"] or token["lstrip"] or token["rstrip"])
        for token in described["added_tokens"]
    )
    return kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"] and plain


def _added_tokens(tokenizer: "Tokenizer") -> list[dict[str, str]]:
    """Those that a tokenizer finds in a text before all else, the longest first, as it does."""
    added: list[dict[str, str]] = json.loads(tokenizer.to_str())["added_tokens"]
    return sorted(added, key=lambda token: -len(token["content"]))
