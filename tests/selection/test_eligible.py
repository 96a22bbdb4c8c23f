import numpy as np
import pytest

from hir_transforms.documents.identity import identity_hash
from hir_transforms.documents.records import SourceFile
from hir_transforms.selection.eligible import EligibleRows, ScoreCounts, SelectionSettings
from hir_transforms.selection.gumbel import gumbel_noise
from hir_transforms.selection.threshold import Threshold, order_bits, pack_positions
from hir_transforms.weights.score_shards import ScoreShard
from tests.helpers.scores import write_scores

FILE = SourceFile(2, "/data/a.jsonl", "a.jsonl", 1000, 0.0)
OFFSETS = np.arange(5) * 100
WEIGHTS = np.array([1.0, 9.0, 3.0, 2.0, -np.inf])


def eligible(folder, *, top_k=True, duplicates=False):
    """Five documents, of which the second is short and the fourth a duplicate."""
    columns = {
        "file": [FILE.path] * 5,
        "offset": OFFSETS,
        "length": np.full(5, 9),
        "num_tokens": np.array([10, 9, 11, 12, 13]),
        "weight": WEIGHTS,
    }
    path = folder / "part-00000.parquet"
    write_scores(path, [FILE], columns)
    np.save(folder / "part-00000.npy", np.array([3]))
    settings = SelectionSettings(1, None, top_k, 7, 10, str(folder) if duplicates else None)
    return EligibleRows(ScoreShard(0, str(path), 5, 6), settings)


@pytest.mark.parametrize(("duplicates", "places"), [(False, [0, 2, 3, 4]), (True, [0, 2, 4])])
def test_short_documents_and_duplicates_are_not_eligible(tmp_path, duplicates, places):
    rows = eligible(tmp_path, duplicates=duplicates)
    assert rows.row_indices.tolist() == places
    assert rows.corpus_positions.tolist() == pack_positions(np.full(len(places), 2), OFFSETS[places]).tolist()
    assert rows.counts == ScoreCounts(6, 1, int(duplicates), len(places))


def test_keys_have_the_noise_of_seed_and_place_unless_top_k(tmp_path):
    places = [0, 2, 3, 4]
    assert eligible(tmp_path).keys(0, np.arange(4)).tolist() == WEIGHTS[places].tolist()
    noise = gumbel_noise(identity_hash(7, "a.jsonl", OFFSETS[places]))
    assert eligible(tmp_path, top_k=False).keys(0, np.arange(4)).tolist() == (WEIGHTS[places] + noise).tolist()


def test_rows_before_the_threshold_are_taken(tmp_path):
    rows = eligible(tmp_path)
    threshold = Threshold(int(order_bits(np.array([2.0]))[0]), int(rows.corpus_positions[2]))
    taken, keys = rows.taken(0, threshold)
    assert (taken.tolist(), keys.tolist()) == ([1], [3.0])
    assert rows.possible(0, 2.0).tolist() == [1, 2]
    assert rows.possible(0, 0.0, 2.5).tolist() == [0, 2]
