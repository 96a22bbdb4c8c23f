import numpy as np
import pytest

from hir_transforms.report.words import telling_words, words_of


def test_words_are_tokens_without_punctuation():
    text = "The law, the LAW -- of __init__ and ___ in 1984! Élan's 好的"
    assert words_of(text) == ("1984", "__init__", "and", "in", "law", "of", "s", "the", "élan", "好的")
    assert words_of("It's -- __init__ , ___ !", str.split) == ("__init__", "it's")
    assert words_of(f"{'x' * 5000} end") == ("x" * 40,)
    assert words_of("... --- !") == ()


def test_telling_words_are_common_in_the_cluster_and_not_everywhere():
    generator = np.random.default_rng(0)
    clusters = generator.integers(0, 2, 200)
    topics = [["law", "court"], ["song", "album"]]
    words = [("the", *topics[cluster], f"rare{number}") for number, cluster in enumerate(clusters.tolist())]
    found = telling_words(clusters, words, 3)
    assert [sorted(word for word, _ in one[:2]) for one in found[:2]] == [["court", "law"], ["album", "song"]]
    assert all(share == 1 for one in found[:2] for _, share in one[:2])
    assert "the" not in {word for one in found for word, _ in one}
    assert found[2] == []  # of no document


@pytest.mark.parametrize("clusters", [[0, 0, 0], []])
def test_of_one_cluster_nothing_is_told_apart(clusters):
    assert telling_words(np.array(clusters, np.int64), [("a", "b")] * len(clusters), 1) == [[]]
