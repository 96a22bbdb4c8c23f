import functools
import heapq
import itertools
import tempfile

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hir_transforms.errors import find_user_error
from hir_transforms.numerics.gumbel import gumbel_noise, identity_hash
from hir_transforms.records import SourceFile
from hir_transforms.score_shards import ScoreShard, read_scores, write_scores
from hir_transforms.selecting import (
    Candidate,
    ScoreCounts,
    SelectDocuments,
    Selection,
    SelectionSettings,
    _offer,
    selection_keys,
)

MIN_LENGTH = 10
WEIGHTS = st.sampled_from([-np.inf, -1.0, 0.0, -0.0, 1.0]) | st.floats(-50, 50)
# (file, weight, tokens, shard) of each document; its offset grows with its place in the list.
DOCUMENTS = st.lists(
    st.tuples(st.integers(0, 3), WEIGHTS, st.sampled_from([0, 9, 10, 500]), st.integers(0, 3)), max_size=40
)


def file_of(index):
    # In another order than the corpus.
    return SourceFile(index, f"/data/{9 - index}.jsonl", f"{9 - index}.jsonl", 1, 0.0)


def write_shards(folder, documents, rejected=0):
    """Score shards of documents; returns them and each document as (file index, offset, weight, tokens)."""
    shards = []
    places = [(file, 100 * place, weight, tokens) for place, (file, weight, tokens, _) in enumerate(documents)]
    for index in range(4):
        rows = [row for row, (_, _, _, shard) in zip(places, documents, strict=True) if shard == index]
        path = f"{folder}/part-{index}.parquet" if rows else None
        if path:
            files, offsets, weights, tokens = zip(*rows, strict=True)
            columns = {
                "file": pa.array([file_of(file).path for file in files]),
                "offset": np.array(offsets),
                "length": np.array(offsets) // 10 + 1,
                "num_tokens": np.array(tokens),
                "weight": np.array(weights, float),
            }
            write_scores(path, [file_of(file) for file in dict.fromkeys(files)], columns)
        shards.append(ScoreShard(index, path, len(rows), rejected))
    return shards, places


def key_of(place, settings):
    file, offset, weight, _ = place
    if settings.top_k:
        return weight
    return weight + gumbel_noise(identity_hash(settings.seed, file_of(file).name, np.array([offset])))[0]


def expected_candidates(places, settings):
    """The k documents by (key, earlier first), in corpus order: sorted one by one."""
    eligible = [place for place in places if place[3] >= settings.min_example_length]
    best = sorted(eligible, key=lambda place: (-key_of(place, settings), place))[: settings.num_to_sample]
    return [
        Candidate(key_of(place, settings), -place[0], -place[1], file_of(place[0]).path, place[1] // 10 + 1, place[2])
        for place in sorted(best)
    ]


def assert_selects(shards, settings, expected):
    """Checks the one `Selection` of a pipeline."""

    def check(selections):
        assert selections == [expected]

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create(shards) | SelectDocuments(settings), check)


@st.composite
def cases(draw):
    """Documents, and settings that select 1 to all of the eligible ones."""
    documents = draw(DOCUMENTS)
    eligible = sum(tokens >= MIN_LENGTH for _, _, tokens, _ in documents)
    assume(eligible)
    k = draw(st.sampled_from([1, eligible]) | st.integers(1, eligible))
    return documents, SelectionSettings(k, draw(st.booleans()), draw(st.integers(-5, 5)), MIN_LENGTH)


def expected_selection(documents, places, wanted, rejected):
    eligible = sum(tokens >= MIN_LENGTH for _, _, tokens, _ in documents)
    return Selection(expected_candidates(places, wanted), ScoreCounts(rejected, len(documents) - eligible, eligible))


@settings(max_examples=5)
@given(cases())
def test_the_k_best_are_selected(case):
    documents, wanted = case
    with tempfile.TemporaryDirectory() as folder:
        shards, places = write_shards(folder, documents, rejected=2)
        assert_selects(shards, wanted, expected_selection(documents, places, wanted, 8))


@given(cases())
def test_the_shards_offer_the_k_best(case):
    documents, wanted = case
    with tempfile.TemporaryDirectory() as folder:
        shards, places = write_shards(folder, documents, rejected=2)
        offered = [list(_offer(shard, wanted)) for shard in shards]
    expected = expected_selection(documents, places, wanted, 8)
    candidates = [[one for one in offer if isinstance(one, Candidate)] for offer in offered]
    assert all(len(offer) <= wanted.num_to_sample for offer in candidates)
    best = heapq.nlargest(wanted.num_to_sample, itertools.chain(*candidates))
    assert sorted(best, key=lambda candidate: candidate.place) == expected.candidates
    counts = [one.value for offer in offered for one in offer if not isinstance(one, Candidate)]
    assert functools.reduce(ScoreCounts.merge, counts) == expected.counts


@pytest.mark.parametrize("top_k", [True, False])
def test_neither_shards_nor_their_order_matter(tmp_path, top_k):
    generator = np.random.default_rng(0)
    documents = [(place // 50, weight, 20, 0) for place, weight in enumerate(generator.normal(size=200).tolist())]
    wanted = SelectionSettings(70, top_k, 3, MIN_LENGTH)
    _, places = write_shards(tmp_path, documents)
    expected = Selection(expected_candidates(places, wanted), ScoreCounts(0, 0, 200))
    for shift in (1, 3):
        folder = tmp_path / str(shift)
        spread = [(*document[:3], place * shift % 4) for place, document in enumerate(documents)]
        shards, _ = write_shards(folder, spread)
        assert_selects(shards[::-1], wanted, expected)


def test_ties_go_to_the_earlier_document(tmp_path):
    documents = [(file, 1.0, 20, shard) for file, shard in ((2, 0), (1, 1), (0, 2), (2, 3), (0, 0), (1, 1))]
    wanted = SelectionSettings(3, True, 0, MIN_LENGTH)
    shards, places = write_shards(tmp_path, documents)
    expected = expected_candidates(places, wanted)
    assert [candidate.place for candidate in expected] == [(0, 200), (0, 400), (1, 100)]
    assert_selects(shards, wanted, Selection(expected, ScoreCounts(0, 0, 6)))


@pytest.mark.parametrize("seed", [0, 1])
def test_keys_are_weights_plus_the_noise_of_seed_and_identity(tmp_path, seed):
    documents = [(file, weight, 20, 0) for file, weight in ((0, 0.5), (3, -2.0), (0, -np.inf), (1, 7.0))]
    (shard, *_), places = write_shards(tmp_path, documents)
    rows = read_scores(shard.path)
    for top_k in (True, False):
        wanted = SelectionSettings(1, top_k, seed, MIN_LENGTH)
        assert selection_keys(rows, wanted).tolist() == [key_of(place, wanted) for place in places]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (
            [(0, 0.0, 500, 0), (0, 1.0, 9, 1), (1, 1.0, 10, 1)],
            "--num_to_sample: 3 documents asked for, but only 2 are eligible "
            "(11 read, 8 rejected, 1 shorter than 10 tokens); ask for fewer, or lower --min_example_length",
        ),
        (
            [],
            "--num_to_sample: 3 documents asked for, but only 0 are eligible "
            "(8 read, 8 rejected, 0 shorter than 10 tokens); ask for fewer, or lower --min_example_length",
        ),
    ],
)
def test_too_few_documents_are_an_error(tmp_path, documents, message):
    shards, _ = write_shards(tmp_path, documents, rejected=2)
    pipeline = beam.Pipeline(runner="FnApiRunner")
    pipeline | beam.Create(shards) | SelectDocuments(SelectionSettings(3, True, 0, MIN_LENGTH))
    with pytest.raises(Exception, match="--num_to_sample") as caught:
        pipeline.run()
    assert find_user_error(caught.value) == message


def test_candidates_are_ordered_by_key_then_place():
    candidates = [
        Candidate(key, -file, -offset, "a", 1, 0.0)
        for key in (-np.inf, 0.0, 2.0)
        for file in (1, 0)
        for offset in (10, 0)
    ]
    assert all(before < after for before, after in itertools.pairwise(candidates))
    assert [candidate.place for candidate in candidates[:4]] == [(1, 10), (1, 0), (0, 10), (0, 0)]
