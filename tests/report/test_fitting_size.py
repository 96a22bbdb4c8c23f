import json

import pytest

from hir_transforms.report.fitting_size import MAX_BYTES, cut_long, fit_report
from tests.helpers.reports import any_report


def test_what_is_short_stays_as_it_is():
    report = any_report()
    page, data = fit_report(report)
    assert json.loads(data) == json.loads(json.dumps(report))
    assert page.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize(
    "long",
    [
        {"settings": {"raw": [f"/data/{number}/{'x' * 200}.jsonl" for number in range(20_000)], "top_k": True}},
        {"settings": {"text_field": "x" * 5_000_000}},
        {"commands": {"select": "--raw " * 500_000, "evaluate": "--raw " * 500_000}},
        {"trials": [{f"{number}-{'x' * 50}": "y" * 900 for number in range(200)}] * 200},
        {
            "stages": [
                {"stage": f"gmm/{number}", "counts": {}, "log_likelihood": [1.0] * 200} for number in range(5000)
            ]
        },
        {"thresholds": [{"key": 1.0, "asked": 1, "proportion": 1e-5}] * 100_000},
    ],
)
def test_no_report_is_larger_than_its_limit(long):
    for content in fit_report({**any_report(), **long}):
        assert len(content) <= MAX_BYTES


def test_labels_of_any_length_fit():
    commonest = [["\u202e" * 99 + f"{number}", 20] for number in range(100)]
    many = {"documents": 2000, "missing": 0, "commonest": commonest, "precision": 0.5}
    labels = {"field": "x" * 10_000, "wanted": "y" * 1_000_000, "sets": dict.fromkeys(["selected", "random"], many)}
    for content in fit_report({**any_report(), "labels": labels}):
        assert len(content) <= MAX_BYTES


def test_what_is_left_out_is_told():
    assert cut_long({"files": ["a", "b", "c"]}, 2) == {"files": ["a", "... 2 more"]}
    assert cut_long("x" * 25, 2) == "x" * 20 + " ... (25 characters)"
    assert cut_long({"rows": [[1], [2], [3]], "n": 1.5, "no": None}, 2) == {"rows": [[1], [2]], "n": 1.5, "no": None}
