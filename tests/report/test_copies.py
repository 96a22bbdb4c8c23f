import numpy as np
import pytest

from hir_transforms.report import copies
from hir_transforms.report.copies import TextCopies


def parts_of(hashes, number):
    return [TextCopies.of(part) for part in np.array_split(hashes, number)]


def merged(parts):
    total = parts[0]
    for part in parts[1:]:
        total = part.merge(total)
    return total


def test_few_texts_are_counted_exactly():
    hashes = np.random.default_rng(0).integers(0, 300, 1000).astype(np.uint64)
    distinct = len(np.unique(hashes))
    found = merged(parts_of(hashes, 7)).summary()
    assert found == {"duplicates": 1000 - distinct, "share": pytest.approx(1 - distinct / 1000), "counted": 1000}
    nothing = TextCopies.of(np.empty(0, np.uint64))
    assert nothing.merge(nothing).summary() == {"duplicates": 0, "share": 0.0, "counted": 0}


def test_of_many_texts_a_sample_tells_whatever_the_order(monkeypatch):
    monkeypatch.setattr(copies, "MOST_TEXTS", 500)
    generator = np.random.default_rng(0)
    texts = generator.integers(0, 2**63, 4000).astype(np.uint64)
    hashes = generator.permutation(np.concatenate([texts, texts[:2000], texts[:1000]]))
    found = {str(merged(parts_of(hashes[order], 5)).summary()) for order in (slice(None), slice(None, None, -1))}
    assert len(found) == 1
    summary = merged(parts_of(hashes, 5)).summary()
    assert summary["counted"] == sum(np.isin(hashes, np.unique(hashes)[:500]))
    assert summary["share"] == pytest.approx(3000 / 7000, abs=0.05)
    assert summary["duplicates"] == pytest.approx(3000, abs=350)
