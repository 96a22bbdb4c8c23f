"""A report of bounded size: whatever settings, labels or counts are long, long lists and texts are cut."""

from typing import Any

from hir_transforms.common.fingerprints import to_json
from hir_transforms.report.page import render_page

MAX_BYTES = 1_000_000
# Of each list and each object so many entries are kept, and of each text ten times as many characters: the first
# numbers by which both files fit.
_LIMITS = (1000, 300, 100, 30, 10, 3)


def fit_report(content: dict[str, Any]) -> tuple[bytes, bytes]:
    """The page and the JSON of a report, each of at most `MAX_BYTES`.

    Args:
        content: JSON values, as `describe_report` gives them.
    """
    for limit in _LIMITS:
        cut = cut_long(content, limit)
        page, data = render_page(cut).encode(), to_json(cut)
        if max(len(page), len(data)) <= MAX_BYTES:
            break
    return page, data


def cut_long(value: Any, limit: int, *, is_whole: bool = True) -> Any:
    """JSON values with at most `limit` entries of lists and of objects, and texts of ten times as many characters.

    What is left out is told in the place of the last. The outermost object keeps all its entries.
    """
    if isinstance(value, str):
        longest = 10 * limit
        return value if len(value) <= longest else f"{value[:longest]} ... ({len(value)} characters)"
    if isinstance(value, list | tuple):
        kept = [cut_long(one, limit, is_whole=False) for one in value[:limit]]
        # A list of texts tells how many are left out; one of numbers, or of rows, has no place for that.
        if len(value) > limit and isinstance(value[0], str):
            kept[-1] = f"... {len(value) - limit + 1} more"
        return kept
    if isinstance(value, dict):
        names = list(value) if is_whole else list(value)[:limit]
        return {name: cut_long(value[name], limit, is_whole=False) for name in names}
    return value
