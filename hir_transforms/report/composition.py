"""What a selection is made of: labels, where documents have them, and the n-grams that decide."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from hir_transforms.evaluation.labels import LabelCounts, precision
from hir_transforms.report.deciding import both_ends
from hir_transforms.report.facts import Facts
from hir_transforms.report.quality import NGRAMS, RANDOM, SELECTED
from hir_transforms.report.words import telling_words

_NAMED_NGRAMS = 20


def describe_labels(facts: Facts, field: str | None, wanted: str | None) -> dict[str, Any] | None:
    """The labels of samples of what is selected, of all that may be, and of the target; JSON values.

    Args:
        facts: of the selection.
        field: that holds the labels; None where none are asked for.
        wanted: the label of wanted documents; None for none.
    """
    if field is None:
        return None
    labels = {
        name: [one.label for one in facts.documents(name)]
        for name in (SELECTED, NGRAMS, RANDOM)
        if name in facts.samples
    }
    if facts.target:
        labels["target"] = [one.label for one in facts.target]
    return {
        "field": field,
        "wanted": wanted,
        "sets": {name: _describe(one, wanted) for name, one in labels.items()},
    }


def _describe(labels: Iterable[str | None], wanted: str | None) -> dict[str, Any]:
    counts = LabelCounts()
    for counted in Counter(labels).items():
        counts = counts.merge(LabelCounts.of(counted, wanted))
    found = {"documents": counts.documents, **counts.summary()}
    return found if wanted is None else found | {"precision": precision(counts)}


def describe_clusters(facts: Facts) -> list[dict[str, Any]] | None:
    """The clusters of embeddings, those with most documents of the target first; JSON values.

    Of each how many documents of each set are in it, and the words that tell it apart; None without embeddings.
    """
    if not facts.clustered:
        return None
    counts = {name: one.counts.tolist() for name, one in facts.clustered.items()}
    words = telling_words(*facts.words_of_clusters)
    found = [
        {"words": [*map(list, telling)], "documents": {name: one[number] for name, one in counts.items()}}
        for number, telling in enumerate(words)
    ]
    return sorted(found, key=lambda one: [-documents for documents in one["documents"].values()])


def describe_ngrams(facts: Facts) -> dict[str, Any] | None:
    """The n-grams that add most to the weights of some documents, and those that take most; JSON values."""
    shares = facts.ngram_shares
    if not shares:
        return None
    raising, lowering = both_ends(shares, _NAMED_NGRAMS)
    return {
        "documents": sum(bool(read.named) for read in facts.read.values()),
        "raising": [list(share) for share in raising],
        "lowering": [list(share) for share in lowering],
    }
