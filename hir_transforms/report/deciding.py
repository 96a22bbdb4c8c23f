"""Which n-grams decide a document's weight, by name: buckets have none, so each n-gram of the text is weighed."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

# Of a text, n-grams of so many characters are named.
_MOST_CHARACTERS = 4000
_MOST_TOKENS = 2  # of a named n-gram
_TOKENS = re.compile(r"\w+|[^\w\s]+")
_LONGEST_NAME = 60

# Texts in UTF-8 -> the sum of what their n-grams add to the weight, float64 [N].
Score = Callable[[Sequence[bytes]], npt.NDArray[np.float64]]
# The name of an n-gram, and what it adds.
Share = tuple[str, float]


def ngram_shares(text: str, ngrams: int, score: Score) -> list[Share]:
    """What each of the first n-grams of a text adds to its weight, all its occurrences together.

    Args:
        text: whose tokens are those of `wordpunct`.
        ngrams: the largest n.
        score: of texts.
    """
    tokens = _TOKENS.findall(text[:_MOST_CHARACTERS].lower())
    singles = Counter(tokens)
    pairs = Counter(itertools.pairwise(tokens)) if min(ngrams, _MOST_TOKENS) > 1 else Counter()
    if not tokens:
        return []
    scores = score([token.encode() for token in singles])
    of_token = dict(zip(singles, scores.tolist(), strict=True))
    found = [(token, count * of_token[token]) for token, count in singles.items()]
    if pairs:
        both = score([" ".join(pair).encode() for pair in pairs]).tolist()
        for (pair, count), total in zip(pairs.items(), both, strict=True):
            found.append((" ".join(pair), count * (total - of_token[pair[0]] - of_token[pair[1]])))
    return [(name[:_LONGEST_NAME], share) for name, share in found]


def strongest(shares: Iterable[Share], number: int) -> list[Share]:
    """Those that add or take most, the strongest first."""
    return sorted(shares, key=lambda share: (-abs(share[1]), share[0]))[:number]


def both_ends(shares: Iterable[Share], number: int) -> tuple[list[Share], list[Share]]:
    """Those that add most, and those that take most, each the strongest first."""
    ordered = sorted(shares, key=lambda share: (-share[1], share[0]))
    raising = [share for share in ordered[:number] if share[1] > 0]
    lowering = [share for share in reversed(ordered[-number:]) if share[1] < 0]
    return raising, lowering
