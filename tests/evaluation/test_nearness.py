import numpy as np
import pytest
from scipy.spatial.distance import cdist, jensenshannon
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize

from hir_transforms.evaluation.nearness import NUM_CLUSTERS, cluster_rows


def around(center, number, seed):
    rows = np.zeros((number, 8)) + np.eye(8)[center]
    return (rows + np.random.default_rng(seed).normal(0, 0.01, rows.shape)).astype(np.float32)


def test_cosines_are_those_of_all_pairs_and_clusters_those_of_the_rows():
    sets = {
        "target": np.concatenate([around(0, 30, 0), around(1, 10, 1)]),
        "selected": around(0, 20, 2) * 3,
        "random": np.concatenate([around(1, 20, 3), around(2, 20, 4)]),
    }
    found = cluster_rows(sets)
    target = found["target"]
    expected = KMeans(NUM_CLUSTERS, n_init=1, random_state=0).fit(
        normalize(np.concatenate([*sets.values()]).astype(np.float64))
    )
    assert np.concatenate([one.clusters for one in found.values()]).tolist() == expected.labels_.tolist()
    for name, rows in sets.items():
        cosines = 1 - cdist(rows.astype(np.float64), sets["target"].astype(np.float64), "cosine")
        assert found[name].cosine(target) == pytest.approx(cosines.mean(), abs=1e-9)
        counts = found[name].counts
        assert counts.sum() == len(rows)
        distance = jensenshannon(target.counts, counts, base=2)
        assert found[name].cluster_distance(target) == pytest.approx(distance, abs=1e-7)
    assert found["selected"].cluster_distance(target) < found["random"].cluster_distance(target)
    first = found["random"].first(20)
    assert first.counts.tolist() == np.bincount(found["random"].clusters[:20], minlength=NUM_CLUSTERS).tolist()
    assert first.cosine(target) == pytest.approx(
        1 - cdist(sets["random"][:20].astype(np.float64), sets["target"].astype(np.float64), "cosine").mean()
    )


def test_a_set_like_the_target_is_not_told_from_it():
    rows = around(0, 40, 0)
    found = cluster_rows({"target": rows, "selected": rows})
    assert found["selected"].cluster_distance(found["target"]) == 0
    found = cluster_rows({"target": np.zeros((2, 3), np.float32), "selected": np.ones((1, 3), np.float32)})
    assert found["selected"].cosine(found["target"]) == 0
    assert found["selected"].num_clusters == 2
