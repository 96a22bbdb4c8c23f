import itertools

import numpy as np

from hir_transforms.documents.records import SourceFile
from hir_transforms.report.noted import NUMBER, NotedDocument, NotedDocuments, first_rows

FILE = SourceFile(0, "/data/a", "a", 1, 0.0)


def test_the_first_rows_are_those_of_a_sort_also_among_ties():
    generator = np.random.default_rng(0)
    for size in (0, 1, NUMBER, 500):
        order = generator.integers(0, 5, size).astype(np.float64)
        file, offset = generator.integers(0, 3, size), generator.permutation(size)
        expected = sorted(range(size), key=lambda row: (order[row], file[row], offset[row]))[:NUMBER]
        assert first_rows(order, file, offset).tolist() == expected


def test_the_first_of_all_parts_are_kept_in_any_order():
    documents = [NotedDocument((float(number % 7), 0, number), FILE, number, 1, {}) for number in range(40)]
    parts = [NotedDocuments(tuple(documents[first::4])) for first in range(4)]
    found = set()
    for order in itertools.permutations(parts):
        total = NotedDocuments(())
        for part in order:
            total = total.merge(part)
        found.add(tuple(document.offset for document in total.documents))
    (offsets,) = found
    assert list(offsets) == sorted(range(40), key=lambda number: (number % 7, number))[:NUMBER]
