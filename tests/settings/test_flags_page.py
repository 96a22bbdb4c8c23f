import re
from pathlib import Path

from hir_transforms.settings.config import SETTINGS
from hir_transforms.settings.flags_page import flags_page, main

PAGE = Path(__file__).parents[2] / "docs" / "flags.md"


def test_the_page_is_in_step_with_the_declared_settings(tmp_path):
    assert main([str(tmp_path / "flags.md")]) == 0
    assert PAGE.read_text("utf-8") == (tmp_path / "flags.md").read_text("utf-8"), "run 'make template'"


def test_the_page_has_a_row_of_four_cells_for_each_setting():
    rows = re.findall(r"^\| `--(\w+).*", flags_page(), re.MULTILINE)
    assert sorted(rows) == sorted(SETTINGS)
    lines = [line for line in flags_page().splitlines() if line.startswith("| `--")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}
    assert "| `--seed N` | 0 | select, resample | seed of the sample |" in lines
    assert "| `--top_k` |  | select, resample |" in flags_page()
    assert "select, fit, score, resample*" in flags_page()
