import numpy as np
import pytest

from hir_transforms.evaluation.divergence import jensen_shannon_distance, kl_divergence, kl_reduction
from hir_transforms.evaluation.two_samples import DrawnDocument, two_sample_auc
from hir_transforms.report.quality import RANDOM, SELECTED, MeasuredTexts, describe_quality

NUM_BUCKETS = 5000


def documents(number, seed, highest=200):
    generator = np.random.default_rng(seed)
    found = []
    for hashed in generator.integers(0, 2**63, number).tolist():
        buckets = np.unique(generator.integers(0, highest, 30)) * (NUM_BUCKETS // 250)
        counts = generator.integers(1, 5, len(buckets))
        found.append(DrawnDocument(hashed, buckets.astype(np.int32), counts.astype(np.int32)))
    return found


def counted(some):
    sums = np.zeros((2, NUM_BUCKETS), np.int64)
    for one in some:
        sums[one.half, one.buckets] += one.counts
    return sums


@pytest.mark.parametrize("num_targets", [1, 2])
def test_measures_are_those_of_all_buckets(num_targets):
    targets = [documents(40, seed, highest=100 + 20 * seed) for seed in range(num_targets)]
    sets = {SELECTED: documents(30, 5, highest=120), RANDOM: documents(50, 6)}
    found = describe_quality(MeasuredTexts.of(targets, sets), (SELECTED, RANDOM))
    assert found
    # Of the larger set as many count as the smaller has, in the order of hashes.
    kept = {name: sorted(one, key=lambda document: document.hash)[:30] for name, one in sets.items()}
    counts = {name: counted(one) for name, one in kept.items()}
    of_targets = np.stack([counted(one).sum(axis=0) for one in targets])
    of_all = [one for target in targets for one in target]
    for name, measures in found["sets"].items():
        sums = counts[name].sum(axis=0)
        expected = kl_reduction(of_targets, counts[RANDOM].sum(axis=0), sums)
        assert measures["kl_reduction"] == pytest.approx(expected, abs=1e-12)
        mean = np.mean([kl_divergence(target, sums) for target in of_targets])
        assert measures["kl"] == pytest.approx(mean, abs=1e-12)
        distance = jensen_shannon_distance(of_targets.sum(axis=0), sums)
        assert measures["jensen_shannon"] == pytest.approx(distance, abs=1e-12)
        sample = sorted(of_all, key=lambda document: document.hash)
        assert measures["auc"] == two_sample_auc(counted(of_all), sample, counts[name], kept[name])
    assert (found["documents"], found["target_documents"]) == (30, 40 * num_targets)
    assert found["sets"][RANDOM]["kl_reduction"] == 0


def test_nothing_is_measured_against_a_target_without_text():
    nothing = DrawnDocument(1, np.empty(0, np.int32), np.empty(0, np.int32))
    sets = {SELECTED: documents(3, 0), RANDOM: documents(3, 1)}
    assert describe_quality(MeasuredTexts.of([[nothing]], sets), (SELECTED, RANDOM)) is None
    sets = {SELECTED: [nothing], RANDOM: documents(3, 1)}
    assert describe_quality(MeasuredTexts.of([documents(3, 2)], sets), (SELECTED, RANDOM)) is None
