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
        "clusters": None,
        "what_if": [],
        "thresholds": [{"key": 0.5, "asked": 3, "proportion": 1.0}],
        "weights": {"weight": [[[0.0, 1.0, 3, 3]]]},
        "lengths": {"eligible": lengths, "selected": lengths},
        "documents": {kind: [] for kind in ("best", "above", "below", "worst", "random")},
    }


def full_report(nasty):
    """One that has every section, with a nasty text in every place that users fill."""
    measures = {"kl_reduction": 0.25, "kl": 0.1, "jensen_shannon": 0.2, "auc": 0.6}
    counted = {"documents": 9, "missing": 2, "commonest": [[nasty, 5], ["law", 2]], "precision": 0.5}
    document = {"file": nasty, "offset": 10**12, "weight": -1234567.5, "ngram": 1.5, "gmm": "inf", "tokens": 10**9}
    document |= {"text": nasty, "deciding": [[nasty, 2.5], ["law", -1e9]]}
    course = [-9.5 + 0.1 * number for number in range(30)]
    return any_report() | {
        "quality": {
            "effective_sample_size": [12.5, None],
            "copies": {"duplicates": 2, "share": 0.01, "counted": 2},
            "sets": {"selected": measures, "ngrams": measures, "random": measures},
            **{"documents": 200, "target_documents": 40},
        },
        "labels": {"field": nasty, "wanted": nasty, "sets": {"selected": counted, "random": counted}},
        "ngrams": {"documents": 50, "raising": [[nasty, 5.0]] * 20, "lowering": [["the", -1e12]] * 20},
        "clusters": [
            {
                "words": [[nasty, 0.9], ["law", 0.5]],
                "documents": {"target": 5, "selected": 4, "ngrams": 3, "random": 1},
            }
        ]
        * 20,
        "what_if": [
            {
                "documents": 100 * 2**number,
                "key": -float(number),
                "kl_reduction": 0.5 / (1 + number),
                "measured_documents": 90,
            }
            for number in range(5)
        ],
        "stages": [{"stage": "gmm/raw", "counts": {"rows": 5}, "warning": nasty, "log_likelihood": course}],
        "trials": [{"ngram_estimator": nasty, "found": 0.5, "none": None}] * 3,
        "documents": {kind: [document] for kind in ("best", "above", "below", "worst", "random")},
    }
