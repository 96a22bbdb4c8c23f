import functools
import heapq
import itertools
import pickle
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from data_selection import HashedNgramDSIR
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import stats

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import find_user_error
from hir_transforms.documents.identity import identity_hash
from hir_transforms.documents.records import SourceFile
from hir_transforms.selection import select
from hir_transforms.selection.eligible import EligibleRows, ScoreCounts, SelectionSettings
from hir_transforms.selection.gumbel import gumbel_noise
from hir_transforms.selection.measures import from_pieces, merge_pieces, to_pieces
from hir_transforms.selection.picked import read_picked
from hir_transforms.selection.select import (
    MAX_TOP,
    PickDocuments,
    advance_selection,
    end_top,
    measure_shard,
    offer_first,
    start_selection,
)
from hir_transforms.selection.threshold import MAX_PASSES
from hir_transforms.weights.parts import part_path
from hir_transforms.weights.score_shards import ScoreShard
from tests.helpers.scores import complete_scores, write_scores

MIN_LENGTH = 10
# Of shards that a test reads itself.
SCORES = Stage.create("scores", "/work", {})
WEIGHTS = st.sampled_from([-np.inf, -1e6, -1.0, 0.0, -0.0, 1.0, 1e6]) | st.floats(-50, 50)
# (file, weights of two targets, tokens, shard, is a duplicate); its offset grows with its place in the list.
DOCUMENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.tuples(WEIGHTS, WEIGHTS),
        st.sampled_from([0, 9, 10, 500]),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=40,
)


@dataclass(frozen=True)
class Document:
    """A row of the oracle."""

    file: int
    offset: int
    weights: tuple[float, ...]
    num_tokens: int
    duplicate: bool = False

    @property
    def length(self):
        return self.offset // 10 + 1


def wanted(num_to_sample=None, *, tokens=None, top_k=True, seed=0, duplicates=None):
    return SelectionSettings(num_to_sample, tokens, top_k, seed, MIN_LENGTH, duplicates)


def file_of(index):
    # In another order than the corpus.
    return SourceFile(index, f"/data/{9 - index}.jsonl", f"{9 - index}.jsonl", 1, 0.0)


def write_shards(folder, documents, num_targets=1, rejected=0):
    """Shards in `folder/scores`, files of duplicates in `folder`; returns shards and the oracle's documents."""
    shards = []
    places = [
        Document(file, 100 * place, weights[:num_targets], tokens, duplicate)
        for place, (file, weights, tokens, _, duplicate) in enumerate(documents)
    ]
    for index in range(4):
        rows = [row for row, document in zip(places, documents, strict=True) if document[3] == index]
        path = part_path(f"{folder}/scores", index) if rows else None
        if path:
            columns = {
                "file": pa.array([file_of(row.file).path for row in rows]),
                "offset": np.array([row.offset for row in rows]),
                "length": np.array([row.length for row in rows]),
                "num_tokens": np.array([row.num_tokens for row in rows]),
                "weight": np.array([row.weights for row in rows], float),
            }
            write_scores(path, [file_of(file) for file in dict.fromkeys(row.file for row in rows)], columns)
            np.save(f"{folder}/part-{index:05d}.npy", np.flatnonzero([row.duplicate for row in rows]))
        shards.append(ScoreShard(index, path, len(rows), rejected))
    return shards, places


def key_of(document, selection, target=0):
    weight = document.weights[target] + 0.0
    if selection.top_k:
        return weight
    purpose = f"target-{target}" if target else ""
    name, offset = file_of(document.file).name, np.array([document.offset])
    return weight + gumbel_noise(identity_hash(selection.seed, name, offset, purpose=purpose))[0]


def is_eligible(document, selection):
    return document.num_tokens >= MIN_LENGTH and not (selection.duplicates and document.duplicate)


def shares_of(budget, proportions):
    shares = [int(budget * proportion) for proportion in proportions]
    return [*shares[:-1], budget - sum(shares[:-1])]


def expected_rows(documents, selection, proportions=(1.0,)):
    """(file, offset, length, weight, key, target) in corpus order: target after target, sorted one by one."""
    left = [document for document in documents if is_eligible(document, selection)]
    chosen = []
    for target, share in enumerate(shares_of(selection.budget, proportions)):
        left.sort(key=lambda document: (-key_of(document, selection, target), document.file, document.offset))
        room = share
        while left and share:
            room -= left[0].num_tokens if selection.counts_tokens else 1
            if room < 0:
                break
            chosen.append((left.pop(0), target))
    return [
        (
            file_of(document.file).path,
            document.offset,
            document.length,
            document.weights[target],
            key_of(document, selection, target),
            target,
        )
        for document, target in sorted(chosen, key=lambda item: (item[0].file, item[0].offset))
    ]


def expected_counts(documents, selection, rejected):
    long = [document for document in documents if document.num_tokens >= MIN_LENGTH]
    eligible = sum(is_eligible(document, selection) for document in long)
    return ScoreCounts(rejected, len(documents) - len(long), len(long) - eligible, eligible)


def rows_of(picked):
    """The rows of picked files in corpus order, each file by itself."""
    names = ("position", "file", "offset", "length", "weight", "key", "target")
    rows = [
        row
        for file in picked
        for table, _ in read_picked([file])
        for row in zip(*(table[name].to_pylist() for name in names), strict=True)
    ]
    return [row[1:] for row in sorted(rows)]


def select_rows(shards, selection, folder, proportions=(1.0,), *, given=None):
    """Runs the transform on shards beside the folder of picked files; `given` proportions, or those of the manifest.

    Returns (selected rows in corpus order, picked files, final state).
    """
    scores = complete_scores(Path(folder).parent, shards, proportions)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        picked, state = (
            pipeline
            | beam.Create([scores])
            | PickDocuments(selection, folder, num_targets=len(proportions), proportions=given)
        )
        picked | "ListPicked" >> beam.combiners.ToList() | "KeepPicked" >> beam.Map(keep, f"{folder}.picked")
        state | "KeepState" >> beam.Map(keep, f"{folder}.state")
    picked, state = (pickle.loads(Path(f"{folder}.{name}").read_bytes()) for name in ("picked", "state"))  # noqa: S301
    return rows_of(picked), picked, state


def keep(element, path):
    Path(path).write_bytes(pickle.dumps(element))


def top_thresholds(shards, selection):
    """The end by `Top.Of`'s rule, without a pipeline."""
    state = start_selection(SCORES, (1.0,), selection, gathers=True)
    offered = [one for shard in shards for one in offer_first(shard, state, selection)]
    counts = [one.value for one in offered if isinstance(one, beam.pvalue.TaggedOutput)]
    ranks = [one for one in offered if isinstance(one, tuple)]
    best = heapq.nlargest(selection.budget + 1, ranks)
    return end_top(best, functools.reduce(ScoreCounts.merge, counts), state, selection)


def refine(shards, selection, proportions=(1.0,)):
    """The end of the state machine, driven without a pipeline; with the number of passes."""
    state = start_selection(SCORES, tuple(proportions), selection)
    passes = 0
    while state.search.threshold is None:
        passes += 1
        measured = [one for shard in shards for one in measure_shard(shard, state, selection)]
        merged = {}
        for shard, one in zip(shards, measured, strict=True):
            for key, piece in to_pieces(one, shard.index):
                merged[key] = merge_pieces(merged[key], piece) if key in merged else piece
        state = advance_selection(state, from_pieces(merged.items()), selection)
    return state, passes


@st.composite
def cases(draw):
    """Documents, settings whose budget the eligible ones can meet, and proportions."""
    documents = draw(
        DOCUMENTS.filter(lambda some: any(tokens >= MIN_LENGTH and not last for _, _, tokens, _, last in some))
    )
    skip = draw(st.booleans())
    num_tokens = [
        tokens for _, _, tokens, _, duplicate in documents if tokens >= MIN_LENGTH and not (skip and duplicate)
    ]
    proportions = draw(st.sampled_from([(1.0,), (0.5, 0.5), (0.3, 0.7), (0.0, 1.0), (1.0, 0.0)]))
    by_tokens = draw(st.booleans())
    # What an earlier target leaves of its share of tokens is lost for the later ones.
    most = sum(num_tokens) if by_tokens else len(num_tokens)
    budget = draw(st.sampled_from([1, most]) | st.integers(1, most))
    return documents, by_tokens, budget, draw(st.booleans()), draw(st.integers(-5, 5)), skip, proportions


def settings_of(case, folder):
    _, by_tokens, budget, top_k, seed, skip, _ = case
    tokens = budget if by_tokens else None
    return wanted(
        None if by_tokens else budget, tokens=tokens, top_k=top_k, seed=seed, duplicates=folder if skip else None
    )


@settings(max_examples=3, phases=(Phase.generate,))
@given(cases())
def test_the_documents_of_the_largest_keys_are_selected(case):
    documents, *_, proportions = case
    with tempfile.TemporaryDirectory() as folder:
        selection = settings_of(case, folder)
        shards, places = write_shards(folder, documents, len(proportions), rejected=2)
        rows, picked, state = select_rows(shards, selection, f"{folder}/picked", proportions)
        assert rows == expected_rows(places, selection, proportions)
        assert replace(state.counts, weights=()) == expected_counts(places, selection, 8)
        assert len(state.counts.weights) == len(state.shares)
        assert list(state.shares) == shares_of(selection.budget, proportions)
        selected = [[row for row in rows if row[-1] == target] for target in range(len(proportions))]
        for target, of_target in enumerate(selected):
            assert sum(file.documents[target] for file in picked) == len(of_target)
        tokens = {(file_of(place.file).path, place.offset): place.num_tokens for place in places}
        assert sum(sum(file.tokens) for file in picked) == sum(tokens[row[:2]] for row in rows)
        assert sum(file.bytes for file in picked) == sum(row[2] + 1 for row in rows)


@given(cases())
def test_top_and_refinement_find_the_same_thresholds(case):
    documents, *_, proportions = case
    with tempfile.TemporaryDirectory() as folder:
        selection = settings_of(case, folder)
        shards, places = write_shards(folder, documents, len(proportions))
        refined, passes = refine(shards, selection, proportions)
        assert passes <= MAX_PASSES * len(proportions)
        assert refine(shards[::-1], selection, proportions)[0].thresholds == refined.thresholds
        if len(proportions) == 1 and not selection.counts_tokens:
            by_top = top_thresholds(shards, selection)
            assert (by_top.thresholds, by_top.counts) == (refined.thresholds, refined.counts)
        expected = expected_rows(places, selection, proportions)
        for target, threshold in enumerate(refined.thresholds):
            taken = {
                (row.rows.files[row.rows.file[place]].path, int(row.rows.offset[place]))
                for row in (EligibleRows(shard, selection) for shard in shards if shard.path)
                for place in row.row_indices[row.taken(target, threshold)[0]]
            }
            assert {row[:2] for row in expected if row[-1] == target} <= taken
            assert taken <= {row[:2] for row in expected if row[-1] <= target}


@pytest.mark.parametrize(("k", "top_k"), [(1, False), (70, True), (199, False), (200, True)])
@pytest.mark.parametrize("kind", ["normal", "equal", "-inf", "ties", "large"])
def test_both_routes_select_the_same_documents(tmp_path, kind, k, top_k):
    generator = np.random.default_rng(0)
    weights = {
        "normal": generator.normal(size=200),
        "equal": np.ones(200),
        "-inf": np.where(generator.random(200) < 0.7, -np.inf, 1.0),
        "ties": generator.integers(0, 3, 200) / 2.0,
        "large": generator.choice([-1e6, 1e6], 200),
    }[kind]
    documents = [(place // 50, (weight,), 20, place % 4, False) for place, weight in enumerate(weights.tolist())]
    shards, places = write_shards(tmp_path, documents)
    selection = wanted(k, top_k=top_k, seed=3)
    by_top, _, top_state = select_rows(shards, selection, f"{tmp_path}/top")
    state, _ = refine(shards, selection)
    assert (state.thresholds, state.counts) == (top_state.thresholds, top_state.counts)
    assert by_top == expected_rows(places, selection)


def test_the_refinement_runs_in_a_pipeline(tmp_path):
    generator = np.random.default_rng(0)
    documents = [
        (place // 1500, (weight,), 20, place % 4, False)
        for place, weight in enumerate(np.round(generator.normal(size=3000), 1).tolist())
    ]
    shards, places = write_shards(tmp_path, documents)
    selection = wanted(1234, seed=1)
    rows, _, _ = select_rows(shards[::-1], selection, f"{tmp_path}/picked")
    assert rows == expected_rows(places, selection)


@pytest.mark.parametrize("k", [2, 7])
def test_many_shards_are_read_in_few_tasks(tmp_path, monkeypatch, k):
    monkeypatch.setattr(select, "_MAX_TASKS", 2)
    monkeypatch.setattr(select, "MAX_TOP", 5)
    documents = [(0, (float(place % 7),), 20, place % 4, False) for place in range(20)]
    shards, places = write_shards(tmp_path, documents)
    rows, *_ = select_rows(shards, wanted(k), f"{tmp_path}/picked")
    assert rows == expected_rows(places, wanted(k))
    state = start_selection(complete_scores(tmp_path, shards), (1.0,), wanted(k))
    assert [listed for listed, _ in select.list_tasks(state)] == [tuple(shards[:2]), tuple(shards[2:])]


def test_given_proportions_come_before_those_of_the_scores(tmp_path):
    documents = [(0, (1.0, 1.0), 20, place % 4, False) for place in range(20)]
    shards, places = write_shards(tmp_path, documents, num_targets=2)
    rows, _, state = select_rows(shards, wanted(8), f"{tmp_path}/picked", (0.5, 0.5), given=(0.25, 0.75))
    assert state.shares == (2, 6)
    assert rows == expected_rows(places, wanted(8), (0.25, 0.75))


def test_passes_that_are_not_needed_read_nothing(tmp_path):
    shards, _ = write_shards(tmp_path, [(0, (1.0,), 20, 0, False)])
    selection = wanted(tokens=20)
    state, passes = refine(shards, selection)
    assert [listed for listed, _ in select._list_measuring(state)] == [()]
    Path(shards[0].path).unlink()
    assert passes < MAX_PASSES
    assert list(measure_shard(shards[0], state, selection)) == []
    assert advance_selection(state, None, selection) is state


@pytest.mark.parametrize("shift", [1, 3])
@pytest.mark.parametrize("top_k", [True, False])
def test_neither_shards_nor_their_order_matter(tmp_path, top_k, shift):
    generator = np.random.default_rng(0)
    documents = [
        (place // 50, (weight,), 20, place * shift % 4, False)
        for place, weight in enumerate(generator.normal(size=200).tolist())
    ]
    selection = wanted(70, top_k=top_k, seed=3)
    shards, places = write_shards(tmp_path, documents)
    assert select_rows(shards[::-1], selection, f"{tmp_path}/picked")[0] == expected_rows(places, selection)


def test_ties_go_to_the_earlier_document(tmp_path):
    documents = [(file, (1.0,), 20, shard, False) for file, shard in ((2, 0), (1, 1), (0, 2), (2, 3), (0, 0), (1, 1))]
    shards, _ = write_shards(tmp_path, documents)
    rows, _, _ = select_rows(shards, wanted(3), f"{tmp_path}/picked")
    assert [(row[0], row[1]) for row in rows] == [
        ("/data/9.jsonl", 200),
        ("/data/9.jsonl", 400),
        ("/data/8.jsonl", 100),
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_keys_are_weights_plus_the_noise_of_seed_and_identity(tmp_path, seed):
    documents = [
        (file, (weight, -weight), 20, 0, False) for file, weight in ((0, 0.5), (3, -2.0), (0, -np.inf), (1, 7.0))
    ]
    (shard, *_), places = write_shards(tmp_path, documents, num_targets=2)
    for top_k in (True, False):
        selection = wanted(1, top_k=top_k, seed=seed)
        for target in (0, 1):
            keys = EligibleRows(shard, selection).keys(target, np.arange(len(documents)))
            assert keys.tolist() == [key_of(place, selection, target) for place in places]


# Budgets whose thresholds are found by `Top.Of` and by passes that refine.
ROUTES = {"top": 3, "refining": MAX_TOP + 1}
MESSAGES = {
    **{
        f"documents by {route}": (
            wanted(k),
            (1.0,),
            f"--num_to_sample: {k} documents asked for, but only 2 are eligible "
            "(11 read, 8 rejected, 1 shorter than 10 tokens); ask for fewer, or lower --min_example_length",
        )
        for route, k in ROUTES.items()
    },
    "tokens": (
        wanted(tokens=511),
        (1.0,),
        "--num_tokens_to_sample: 511 tokens asked for, but eligible documents have only 510 "
        "(11 read, 8 rejected, 1 shorter than 10 tokens); ask for fewer, or lower --min_example_length",
    ),
    "targets": (
        wanted(5),
        (0.3, 0.7),
        "--num_to_sample: 5 documents asked for, of which target 2 of 2 takes 4, but there are only 1 that no target "
        "before has taken (11 read, 8 rejected, 1 shorter than 10 tokens); ask for fewer, or lower "
        "--min_example_length",
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_too_few_documents_are_an_error(tmp_path, name):
    selection, proportions, message = MESSAGES[name]
    documents = [(0, (0.0, 1.0), 500, 0, False), (0, (1.0, 0.0), 9, 1, False), (1, (1.0, 2.0), 10, 1, False)]
    shards, _ = write_shards(tmp_path, documents, len(proportions), rejected=2)
    with pytest.raises(Exception, match="--num_to") as caught:
        select_rows(shards, selection, f"{tmp_path}/picked", proportions)
    assert find_user_error(caught.value) == message


@pytest.mark.parametrize("k", ROUTES.values(), ids=ROUTES)
def test_no_document_at_all_is_an_error(tmp_path, k):
    shards, _ = write_shards(tmp_path, [], rejected=2)
    with pytest.raises(Exception, match="--num_to") as caught:
        select_rows(shards, wanted(k, duplicates=str(tmp_path)), f"{tmp_path}/picked")
    assert find_user_error(caught.value) == (
        f"--num_to_sample: {k} documents asked for, but only 0 are eligible (8 read, 8 rejected, 0 shorter than 10 "
        "tokens, 0 duplicates); ask for fewer, or lower --min_example_length"
    )


def inclusion_probabilities(weights, k):
    """Of each document in k draws, one after the other without replacement, each with probability ~ exp(weight)."""
    odds = np.exp(np.array(weights) - max(weights))
    included = np.zeros(len(odds))
    for sample in itertools.permutations(range(len(odds)), k):
        probability, left = 1.0, odds.sum()
        for drawn in sample:
            probability *= odds[drawn] / left
            left -= odds[drawn]
        included[list(sample)] += probability
    return included


def taken_offsets(shards, selection, threshold):
    """Offsets of the documents that come before a threshold."""
    eligible = [EligibleRows(shard, selection) for shard in shards if shard.path]
    return np.concatenate([row.rows.offset[row.row_indices[row.taken(0, threshold)[0]]] for row in eligible])


SEEDS = range(1000)


@pytest.fixture(scope="module")
def sampled():
    """How often each of 8 documents is among 3 selected ones, over many seeds; with the seeds' samples."""
    weights = [-2.0, -1.0, 0.0, 0.0, 0.5, 1.0, 1.5, 3.0]
    with tempfile.TemporaryDirectory() as folder:
        shards, _ = write_shards(folder, [(place % 3, (w,), 20, place % 4, False) for place, w in enumerate(weights)])
        samples = []
        for seed in SEEDS:
            selection = wanted(3, top_k=False, seed=seed)
            (threshold,) = top_thresholds(shards, selection).thresholds
            samples.append(tuple(sorted(taken_offsets(shards, selection, threshold) // 100)))
    return weights, samples


def test_inclusion_is_that_of_sequential_sampling_without_replacement(sampled):
    weights, samples = sampled
    assert {len(sample) for sample in samples} == {3}
    subsets = list(itertools.combinations(range(len(weights)), 3))
    odds = np.exp(weights)
    expected = []
    for subset in subsets:
        total = 0.0
        for a, b, c in itertools.permutations(odds[list(subset)]):
            total += a / odds.sum() * b / (odds.sum() - a) * c / (odds.sum() - a - b)
        expected.append(total * len(samples))
    counts = Counter(samples)
    observed = [counts[subset] for subset in subsets]
    # Rare subsets are counted together.
    rare = np.array(expected) < 5
    pooled = [np.append(values[~rare], values[rare].sum()) for values in map(np.array, (observed, expected))]
    assert stats.chisquare(*pooled).pvalue > 0.001
    included = np.bincount(np.concatenate(samples), minlength=len(weights)) / len(samples)
    np.testing.assert_allclose(included, inclusion_probabilities(weights, 3), atol=0.03)


def test_another_seed_gives_another_sample(sampled):
    _, samples = sampled
    assert len(set(samples)) > 20
    assert sum(one != other for one, other in itertools.pairwise(samples)) > len(samples) / 2


def test_huge_weights_decide_without_overflow(tmp_path):
    weights = [1e6, -1e6, 0.0, 1e6 - 1, -1e6, 1e6]
    shards, _ = write_shards(tmp_path, [(0, (weight,), 20, place % 4, False) for place, weight in enumerate(weights)])
    chosen = []
    with np.errstate(all="raise"):
        for seed in range(200):
            selection = wanted(4, top_k=False, seed=seed)
            (threshold,) = refine(shards, selection)[0].thresholds
            chosen.append({*(taken_offsets(shards, selection, threshold) // 100)})
    # All that weigh much, then the one of 0: the odds of the others against it are exp(-1e6).
    assert chosen == [{0, 2, 3, 5}] * 200


@pytest.mark.parametrize("proportions", [(0.5, 0.5), (0.2, 0.3, 0.5), (0.0, 0.55, 0.45), (1 / 3, 1 / 3, 1 / 3)])
def test_targets_get_what_dsir_gives_them(tmp_path, proportions):
    """`data-selection` itself, given the weights of separate targets."""
    generator = np.random.default_rng(0)
    num_targets, num_documents, k = len(proportions), 120, 47
    weights = generator.normal(size=(num_documents, num_targets))
    tokens = generator.choice([9, 10, 500], num_documents)
    raw = tmp_path / "raw.jsonl"
    raw.write_text("".join(f"{place}\n" for place in range(num_documents)))
    model = HashedNgramDSIR(
        [str(raw)],
        [],
        str(tmp_path / "cache"),
        num_proc=1,
        min_example_length=MIN_LENGTH,
        separate_targets=True,
        target_proportions=list(proportions),
    )
    model.perexample_metadata_dir.mkdir()
    np.save(model.log_importance_weights_dir / "0.npy", weights)
    np.save(model.perexample_metadata_dir / "0.npy", tokens)
    model.resample(str(tmp_path / "dsir"), k, cache_dir=str(tmp_path / "part"), top_k=True)
    expected = [int(line) for path in (tmp_path / "dsir").rglob("*.jsonl") for line in path.read_text().split()]

    pairs = enumerate(zip(weights.tolist(), tokens.tolist(), strict=True))
    documents = [(0, tuple(row), num_tokens, place % 4, False) for place, (row, num_tokens) in pairs]
    shards, _ = write_shards(tmp_path, documents, num_targets)
    rows, _, state = select_rows(shards, wanted(k), f"{tmp_path}/picked", proportions)
    assert [row[1] // 100 for row in rows] == sorted(expected)
    assert sum(state.shares) == k
