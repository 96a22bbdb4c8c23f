"""The words that tell clusters of documents apart."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hir_transforms.common.portable_log import portable_log

# Of a text, the words of so many characters count.
_MOST_CHARACTERS = 2000
_LONGEST = 40
_SHOWN = 8
_TOKENS = re.compile(r"\w+")  # those of `wordpunct` that are no punctuation


def words_of(text: str, tokenize: Callable[[str], Sequence[str]] = _TOKENS.findall) -> tuple[str, ...]:
    """The tokens of a text's beginning that have a letter or a digit, each once, sorted.

    Args:
        text: of any length.
        tokenize: cuts a text in lower case into tokens.
    """
    tokens = {token[:_LONGEST] for token in tokenize(text[:_MOST_CHARACTERS].lower())}
    return tuple(sorted(token for token in tokens if any(map(str.isalnum, token))))


def telling_words(
    clusters: npt.NDArray[np.int64], words: Sequence[Sequence[str]], num_clusters: int
) -> list[list[tuple[str, float]]]:
    """Of each cluster the words that are common in it and less so in all documents.

    Of the words that a larger share p of its documents has than the share q of all, those of the largest p log(p / q).
    What is common in all clusters is near to 0.

    Args:
        clusters: int [N], of each document.
        words: of each document, as `words_of` gives them.
        num_clusters: K.

    Returns:
        For each cluster (word, share of its documents that have it), the most telling first; few where there are few.
    """
    everywhere = Counter(word for of_document in words for word in of_document)
    within: list[Counter[str]] = [Counter() for _ in range(num_clusters)]
    sizes = np.bincount(clusters, minlength=num_clusters).tolist()
    for cluster, of_document in zip(clusters.tolist(), words, strict=True):
        within[cluster].update(of_document)
    found = []
    for size, counts in zip(sizes, within, strict=True):
        names = sorted(counts)
        share = np.array([counts[name] for name in names]) / max(1, size)
        of_all = np.array([everywhere[name] for name in names]) / max(1, len(words))
        telling = share * (portable_log(share) - portable_log(of_all))
        order = np.argsort(-telling, kind="stable")[:_SHOWN].tolist()
        found.append([(names[place], float(share[place])) for place in order if telling[place] > 0])
    return found
