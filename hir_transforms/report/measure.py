"""The first look at a score shard: histograms of weights and lengths, and the documents that a report shows."""

from typing import Any

import numpy as np

from hir_transforms.evaluation.lengths import count_lengths
from hir_transforms.report.copies import TextCopies
from hir_transforms.report.histograms import FloatHistogram
from hir_transforms.report.noted import NotedDocument, NotedDocuments, first_rows
from hir_transforms.report.rows import ReportedRows
from hir_transforms.selection.select import SelectionState


def measure_rows(rows: ReportedRows, text_hashes: np.ndarray, state: SelectionState) -> dict[str, Any]:
    """What is kept of a shard: by name arrays, numbers and what merges.

    Args:
        rows: of the shard.
        text_hashes: uint64 [N], of their texts.
        state: with all thresholds.
    """
    num_tokens, selected = rows.eligible.num_tokens, rows.selected
    every = np.ones_like(selected)
    members = np.stack([every, selected], axis=1)
    found: dict[str, Any] = {
        "lengths": count_lengths(num_tokens),
        "lengths-selected": count_lengths(num_tokens[selected]),
        "tokens": int(num_tokens[selected].sum()),
        "selected": int(selected.sum()),
        "copies": TextCopies.of(text_hashes[selected]),
    }
    for name, values in rows.parts.items():
        for target in range(values.shape[1]):
            found[f"{name}-{target}"] = FloatHistogram.of(values[:, target], members)
    if rows.keys.shape[1] == 1:
        found["keys"] = FloatHistogram.of(rows.keys[:, 0], every[:, np.newaxis])
    if (ngram_keys := rows.ngram_keys) is not None:
        found["ngram-keys"] = FloatHistogram.of(ngram_keys, every[:, np.newaxis])
    return found | _noted(rows, state)


def _noted(rows: ReportedRows, state: SelectionState) -> dict[str, NotedDocuments]:
    eligible, chosen = rows.eligible, rows.chosen
    of_shard, indices = eligible.rows, eligible.row_indices
    every = np.arange(len(indices))
    with np.errstate(invalid="ignore"):
        over = rows.keys - np.array([threshold.least_key for threshold in state.thresholds])
    over[np.isnan(over)] = 0.0  # of two infinities
    nearest = np.where(chosen >= 0, chosen, over.argmax(axis=1))
    weight = rows.parts["weight"][every, nearest]
    distance = over[every, nearest]
    places, offsets = of_shard.file[indices], of_shard.offset[indices]
    corpus = np.array([file.index for file in of_shard.files], np.int64)[places]
    selected = np.flatnonzero(rows.selected)
    orders = {
        "best": (every, -weight),
        "above": (selected, distance),
        "below": (np.flatnonzero(~rows.selected), -distance),
        "worst": (every, weight),
        "random": (selected, rows.hashes.astype(np.float64)),
    }
    found = {}
    for kind, (among, order) in orders.items():
        firsts = among[first_rows(order[among], corpus[among], offsets[among])]
        found[kind] = NotedDocuments(
            tuple(
                NotedDocument(
                    (float(order[row]), int(corpus[row]), int(offsets[row])),
                    of_shard.files[places[row]],
                    int(offsets[row]),
                    int(of_shard.length[indices[row]]),
                    {
                        "tokens": int(eligible.num_tokens[row]),
                        "key": float(rows.keys[row, nearest[row]]),
                        "target": int(nearest[row]),
                        **{name: float(values[row, nearest[row]]) for name, values in rows.parts.items()},
                    },
                )
                for row in firsts.tolist()
            )
        )
    return found
