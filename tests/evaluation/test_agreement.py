import numpy as np
import pytest

from hir_transforms.evaluation.agreement import count_common, describe_pairs

SETS = [[1, 2, 3, 3, 2**63], [2**63, 3, 4], [7]]


def test_common_texts_are_those_of_sets():
    expected = [[len({*one} & {*other}) for other in SETS] for one in SETS]
    assert count_common([np.array(one, np.uint64) for one in SETS]).tolist() == expected


def test_overlap_and_jaccard_of_each_pair():
    common = count_common([np.array(one, np.uint64) for one in SETS])
    first, *others = describe_pairs(common)
    assert first == {
        "selections": [0, 1],
        "common": 2,
        "overlap": pytest.approx(2 / 3),
        "jaccard": pytest.approx(2 / 5),
    }
    assert [(pair["selections"], pair["overlap"], pair["jaccard"]) for pair in others] == [
        ([0, 2], 0, 0),
        ([1, 2], 0, 0),
    ]
