"""What an evaluation found, as a table for a terminal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hir_transforms.evaluation.labels import MAX_CHARACTERS

_LABELS_SHOWN = 10
# The heading of a column, the JSON names that lead to its number, and how it is shown.
_COLUMNS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("documents", ("documents",), "d"),
    ("tokens", ("tokens",), "d"),
    ("median", ("lengths", "quantiles", "0.5"), "d"),
    ("duplicates", ("duplicates",), "d"),
    ("precision", ("precision",), ".4f"),
    *(
        (f"{heading}{suffix}", (name, key), ".4f")
        for name, suffix in (("target", ""), ("heldout", " held out"))
        for heading, key in (
            *(("KL reduction", "kl_reduction"), ("KL", "kl"), ("JS", "jensen_shannon"), ("AUC", "auc")),
            *(("cosine", "cosine"), ("clusters", "cluster_distance")),
        )
    ),
)
_LEGEND = (
    "KL reduction: nats nearer to the target than a random selection, by DSIR's formula; more is better.",
    "JS: Jensen-Shannon distance to the target's n-grams; AUC: 0.5 where documents cannot be told apart.",
)


_EMBEDDED_LEGEND = (
    "cosine: of the embeddings of both, the mean of all pairs; clusters: Jensen-Shannon distance of the shares that",
    "k-means' clusters of embeddings have; both of a sample of at most {most} documents of each.",
)


def render_table(found: Mapping[str, Any]) -> str:
    """Lines of text.

    Args:
        found: what `describe_evaluation` gives.
    """
    named = [(f"selected {number}", one) for number, one in enumerate(found["selections"], 1)]
    others = [(name, found[name]) for name in ("raw", "target", "heldout") if name in found]
    if "raw" in found:
        named += [(f"random for {number}", _random(one)) for number, (_, one) in enumerate([*named], 1)]
    lines = [
        f"{name}: {', '.join(map(_printable, one['files']))}" for name, one in (*named, *others) if "files" in one
    ]
    lines += ["", *_aligned([*named, *others]), "", *_LEGEND]
    embedded = [one["embedded"] for _, one in (*named, *others) if "embedded" in one]
    lines += [line.format(most=f"{max(embedded):,}") for line in _EMBEDDED_LEGEND] if embedded else []
    for pair in found["pairs"]:
        first, second = (number + 1 for number in pair["selections"])
        lines.append(
            f"selected {first} and {second}: {pair['common']} texts in common, "
            f"overlap {pair['overlap']:.4f}, Jaccard {pair['jaccard']:.4f}"
        )
    if "labels" in found["target"]:
        lines += ["", *_labels([*named[: len(found["selections"])], *others])]
    return "\n".join(lines)


def _random(selection: Mapping[str, Any]) -> dict[str, Any]:
    """The row of the random selection of a selection's size."""
    measured = {
        name: {key.removesuffix("_random"): value for key, value in selection[name].items() if key.endswith("_random")}
        for name in ("target", "heldout")
        if name in selection
    }
    return {"documents": selection["documents"], **measured}


def _look_up(one: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = one
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _aligned(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """A line of headings and one for each row; columns without a number are left out."""
    columns = [["", *(name for name, _ in rows)]]
    for heading, path, shown in _COLUMNS:
        values = [_look_up(one, path) for _, one in rows]
        if any(value is not None for value in values):
            columns.append([heading, *("" if value is None else format(value, shown) for value in values)])
    return _columns(columns)


def _columns(columns: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in columns]
    aligned: list[Callable[[str, int], str]] = [str.ljust, *([str.rjust] * (len(columns) - 1))]
    return [
        "  ".join(align(cell, width) for cell, width, align in zip(row, widths, aligned, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


def _labels(sets: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """The share of each of the commonest labels of the first selection, in all sets."""
    listed = [label for label, _ in sets[0][1]["labels"]["commonest"][:_LABELS_SHOWN]]
    columns = [["label", *map(_printable, listed)]]
    for name, one in sets:
        counts = dict(one["labels"]["commonest"])
        shares = [f"{counts[label] / one['documents']:.4f}" if label in counts else "" for label in listed]
        columns.append([name, *shares])
    return _columns(columns)


def _printable(text: str) -> str:
    """Text that a terminal shows and does not obey."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= MAX_CHARACTERS else f"...{shown[-MAX_CHARACTERS:]}"
