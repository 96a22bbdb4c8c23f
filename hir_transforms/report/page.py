"""The report as one page of HTML that opens offline: its charts are SVG, and it has no script."""

import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, Template

from hir_transforms.report.template import TEMPLATE

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MOST_CHARACTERS = 400
_WIDTH, _HEIGHT = 600.0, 150.0
_COUNTS = ("read", "rejected", "short", "duplicate", "eligible", "selected", "selected_tokens")
_PART_NAMES = {
    "weight": "weight: what documents are selected by",
    "ngram": "n-gram part",
    "gmm": "embedding part",
}
_MEASURES = {
    "precision": "precision",
    "kl_reduction": "KL reduction",
    "kl": "KL",
    "jensen_shannon": "JS",
    "auc": "AUC",
    "cosine": "cosine",
    "cluster_distance": "clusters",
}
_LABELS_SHOWN = 20
_SETS = {
    "selected": "this weight",
    "ngrams": "n-grams alone",
    "random": "random documents",
    "target": "the target",
}
_DOCUMENT_NAMES = {
    "best": "Largest weights",
    "above": "Selected, nearest to the line",
    "below": "Not selected, nearest to the line",
    "worst": "Smallest weights",
    "random": "Selected, at random",
}


def render_page(report: Mapping[str, Any]) -> str:
    """The page.

    Args:
        report: the JSON values of `describe_report`.
    """
    counts = report["counts"]
    top_k = bool(report["settings"].get("top_k"))
    return page_template().render(
        report=report,
        counts=[(name, counts[name], _share(counts[name], counts["read"])) for name in _COUNTS],
        settings=[(name, _short(value)) for name, value in sorted(report["settings"].items()) if value is not None],
        charts=[*_charts(report, top_k)],
        kinds=[(name, report["documents"][kind]) for kind, name in _DOCUMENT_NAMES.items()],
        top_k=top_k,
        quality=_quality(report["quality"], report["labels"]),
        labels=_labels(report["labels"]),
        clusters=_clusters(report["clusters"]),
        courses=[*_courses(report["stages"])],
        trials=_trials(report["trials"]),
        what_if=_what_if(report["what_if"], counts["selected"]),
    )


@functools.cache
def page_template() -> Template:
    """Compiled once a process: it takes longer than to render a page, and a page that is too large is made again."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters |= {"plain": _plain, "number": _number, "signed": lambda share: f"{share:+.3g}"}
    return environment.from_string(TEMPLATE)


def _plain(text: Any) -> str:
    """Text whose control characters are shown instead of obeyed."""
    return _CONTROL.sub(lambda found: _picture(ord(found[0])), f"{text}")


def _picture(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else "\N{REPLACEMENT CHARACTER}"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _short(value)


def _share(count: int, total: int) -> str:
    return f"{count / total:.2%}" if total else ""


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else f"{value}"
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} ..."


def _charts(report: Mapping[str, Any], top_k: bool) -> Any:
    """Charts of the weights' histograms, and of lengths."""
    several = len(report["thresholds"]) > 1
    for part in ("weight", "ngram", "gmm"):
        for target, bins in enumerate(report["weights"].get(part, [])):
            name = f"{_PART_NAMES[part]}{f', target {target + 1}' if several else ''}"
            key = report["thresholds"][target]["key"]
            line = key if part == "weight" and top_k and isinstance(key, float) else None
            yield _chart(name, "log weight", bins, line)
    lengths = report["lengths"]
    if lengths["eligible"]:
        selected = {low: number for low, _, number in (lengths["selected"] or {"histogram": []})["histogram"]}
        bins = [[low, high, number, selected.get(low, 0)] for low, high, number in lengths["eligible"]["histogram"]]
        yield _chart("length: each bin is twice as wide as the one before", "tokens", bins, None)


def _quality(quality: Mapping[str, Any], labels: Mapping[str, Any] | None) -> dict[str, Any]:
    """A table of the measures: of each set of documents, those that any of them has."""
    sets = {name: dict(one) for name, one in quality.get("sets", {}).items()}
    for name, one in (labels or {"sets": {}})["sets"].items():
        if name in sets and "precision" in one:
            sets[name]["precision"] = one["precision"]
    measures = [name for name in _MEASURES if any(one.get(name) is not None for one in sets.values())]
    return {
        "headings": [_MEASURES[name] for name in measures],
        "rows": [(_SETS[kind], [one.get(name) for name in measures]) for kind, one in sets.items()],
    }


def _labels(labels: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A table of the shares of the commonest labels of the selection and of the target; None without labels."""
    if not labels:
        return None
    sets = labels["sets"]
    named = [
        label for name in ("selected", "target", "random") if name in sets for label, _ in sets[name]["commonest"]
    ]
    rows = [
        (label, [_share(dict(one["commonest"]).get(label, 0), one["documents"]) for one in sets.values()])
        for label in [*dict.fromkeys(named)][:_LABELS_SHOWN]
    ]
    missing = [_share(one["missing"], one["documents"]) for one in sets.values()]
    return {
        "headings": [f"{_SETS[name]} ({_number(one['documents'])})" for name, one in sets.items()],
        "rows": rows,
        "missing": missing if any(one["missing"] for one in sets.values()) else None,
    }


def _clusters(clusters: Sequence[Mapping[str, Any]] | None) -> dict[str, Any] | None:
    """A table of the words of each cluster, and of its shares of the sets; None without clusters."""
    if not clusters:
        return None
    names = [name for name in _SETS if name in clusters[0]["documents"]]
    sizes = {name: sum(one["documents"][name] for one in clusters) for name in names}
    return {
        "headings": [f"{_SETS[name]} ({_number(sizes[name])})" for name in names],
        "rows": [
            ([word for word, _ in one["words"]], [_share(one["documents"][name], sizes[name]) for name in names])
            for one in clusters
        ],
    }


def _courses(stages: Sequence[Mapping[str, Any]]) -> Any:
    """A curve of the log likelihood of each mixture by iteration: (name, points, first, last)."""
    for stage in stages:
        values = stage.get("log_likelihood", [])
        if len(values) > 1:
            low, high = min(values), max(values)
            points = [
                (
                    round(_WIDTH * number / (len(values) - 1), 2),
                    round(_HEIGHT * (high - value) / ((high - low) or 1.0), 2),
                )
                for number, value in enumerate(values)
            ]
            yield stage["stage"], points, values[0], values[-1]


def _trials(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """A table of whatever the trials tell: numbers and texts, one trial a row; None where nothing was tried."""
    if not trials:
        return None
    names = list(dict.fromkeys(name for one in trials for name in one))
    return {
        "headings": [name.replace("_", " ") for name in names],
        "rows": [[_number(one[name]) if one.get(name) is not None else "" for name in names] for one in trials],
    }


def _what_if(cuts: Sequence[Mapping[str, Any]], selected: int) -> dict[str, Any] | None:
    """A curve of the KL reduction over the logarithm of the number of documents; None where there are no cuts."""
    if not cuts:
        return None
    measured = [one for one in cuts if "kl_reduction" in one]
    if len(measured) < 2:
        return {"points": []}
    least, most = measured[0]["documents"], measured[-1]["documents"]
    reductions = [one["kl_reduction"] for one in measured]
    low, high = min(reductions), max(reductions)

    def across(documents: int) -> float:
        return round(_WIDTH * min(max(math.log(documents / least) / math.log(most / least), 0.0), 1.0), 2)

    return {
        "points": [
            (
                across(one["documents"]),
                round(_HEIGHT * (high - one["kl_reduction"]) / ((high - low) or 1.0), 2),
                f"{_number(one['documents'])} documents: {_number(one['kl_reduction'])}",
            )
            for one in measured
        ],
        "now": across(selected),
        "least": least,
        "most": most,
        "low": low,
        "high": high,
    }


def _chart(name: str, unit: str, bins: Sequence[Sequence[float]], line: float | None) -> dict[str, Any]:
    """Bars of a histogram: for each set, its bins' shares of its largest bin."""
    step = _WIDTH / max(1, len(bins))
    most = [max([1.0, *(one[place] for one in bins)]) for place in (2, 3)]
    bars = [
        {
            "x": round(number * step, 2),
            "width": round(max(step - 1, 0.5), 2),
            "title": f"{_number(low)} to {_number(high)}: {_number(eligible)} eligible, {_number(selected)} selected",
            "heights": [round(_HEIGHT * one / peak, 2) for one, peak in zip((eligible, selected), most, strict=True)],
        }
        for number, (low, high, eligible, selected) in enumerate(bins)
    ]
    at = None
    if line is not None and bins and bins[0][0] < bins[-1][1]:
        at = min(max((line - bins[0][0]) / (bins[-1][1] - bins[0][0]), 0.0), 1.0)
    return {
        "name": name,
        "unit": unit,
        "bars": bars,
        "low": bins[0][0] if bins else 0,
        "high": bins[-1][1] if bins else 0,
        "line": None if at is None else round(at * _WIDTH, 2),
        "at": line,
        "most": [int(peak) for peak in most],
    }
