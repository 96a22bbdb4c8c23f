import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.ngrams.kernel import bucket_cache

# Few distinct bits, so that keys and checks often agree in part.
hashes = st.sampled_from([0, 1, 2**23, 2**24, 2**40, 2**63, 2**64 - 1])
steps = st.lists(st.tuples(hashes, hashes, st.integers(0, 2**24 - 1)), max_size=30)


@given(steps)
def test_a_set_keeps_its_four_newest_entries(entries):
    cache = bucket_cache.new_cache(1)
    newest = [(0, 0, 0)] * 4  # an empty set: four entries of zeros
    for key, check, bucket in entries:
        bucket_cache.remember(cache, np.uint64(key), np.uint64(check), np.uint64(bucket))
        newest = [(key, check >> 24, bucket), *newest][:4]
        for other_key, other_check, _ in entries:
            found = int(bucket_cache.look_up(cache, np.uint64(other_key), np.uint64(other_check)))
            held = [entry[2] for entry in newest if entry[:2] == (other_key, other_check >> 24)]
            assert found == (held[0] if held else int(bucket_cache.ABSENT))


def test_sets_are_chosen_over_the_whole_cache():
    cache = bucket_cache.new_cache(8)
    for i in range(8):
        bucket_cache.remember(cache, np.uint64(i << 61 | 1), np.uint64(0), np.uint64(i))
    assert cache[1::8].tolist() == list(range(8))
