import numpy as np
import pytest
from scipy.spatial.distance import cdist, jensenshannon

from hir_transforms.report.embedded import describe_embedded


def around(center, number, seed):
    rows = np.zeros((number, 8)) + np.eye(8)[center]
    return (rows + np.random.default_rng(seed).normal(0, 0.01, rows.shape)).astype(np.float32)


def test_cosines_are_those_of_all_pairs_and_clusters_those_of_the_rows():
    target = np.concatenate([around(0, 30, 0), around(1, 10, 1)])
    sets = {"selected": around(0, 20, 2) * 3, "random": np.concatenate([around(1, 20, 3), around(2, 20, 4)])}
    found = describe_embedded(target, sets)
    for name, rows in sets.items():
        cosines = 1 - cdist(rows.astype(np.float64), target.astype(np.float64), "cosine")
        assert found[name]["cosine"] == pytest.approx(cosines.mean(), abs=1e-9)
        of_target, own = np.array(found[name]["clusters"]).T
        assert (of_target.sum(), own.sum()) == (len(target), len(rows))
        assert found[name]["cluster_distance"] == pytest.approx(jensenshannon(of_target, own, base=2), abs=1e-9)
    assert found["selected"]["cluster_distance"] < found["random"]["cluster_distance"]
    assert describe_embedded(target, sets) == found


def test_a_set_like_the_target_is_not_told_from_it():
    rows = around(0, 40, 0)
    assert describe_embedded(rows, {"selected": rows})["selected"]["cluster_distance"] == 0
    assert (
        describe_embedded(np.zeros((2, 3), np.float32), {"selected": np.ones((1, 3), np.float32)})["selected"][
            "cosine"
        ]
        == 0
    )
