"""Reports for those who only need one of the right form."""


def any_report():
    """The JSON values of a report of a selection of nothing."""
    lengths = {"quantiles": {"0.5": 1}, "histogram": [[1, 2, 3]]}
    names = ("read", "rejected", "short", "duplicate", "eligible", "selected", "selected_tokens")
    return {
        "counts": dict.fromkeys(names, 3),
        "commands": {"select": "hir select", "evaluate": "hir evaluate"},
        "settings": {"top_k": True},
        "versions": {"numpy": "2"},
        "stages": [],
        "trials": [],
        "quality": {"effective_sample_size": [1.0], "copies": None, "unknown": "not known"},
        "labels": None,
        "ngrams": None,
        "what_if": [],
        "thresholds": [{"key": 0.5, "asked": 3, "proportion": 1.0}],
        "weights": {"weight": [[[0.0, 1.0, 3, 3]]]},
        "lengths": {"eligible": lengths, "selected": lengths},
        "documents": {kind: [] for kind in ("best", "above", "below", "worst", "random")},
    }
