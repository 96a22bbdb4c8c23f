"""Texts in nested, joined and differently named fields, through whole commands."""

import json

import pyarrow.parquet as pq
import pytest

from hir_transforms.commands.docstring_corpus import write_corpus
from pipelines import resample, select

FLAGS = ["--num_to_sample=20", "--alpha=1", "--top_k", "--num_tokens_to_fit=all", "--direct_num_workers=1"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A corpus (raw, target), and what is selected from it."""
    folder = tmp_path_factory.mktemp("plain")
    raw, target = write_corpus(folder / "docstrings", {"numpy": 60, "scikit-learn": 40}, 20)
    assert select.run([f"--raw={raw}", f"--target={target}", f"--output={folder}/out", *FLAGS]) == 0
    return raw, target, folder / "out"


def rewrite(source, path, record):
    texts = [json.loads(line)["text"] for line in source.read_bytes().splitlines()]
    path.write_text("".join(json.dumps(record(text)) + "\n" for text in texts))


def selected(output, text_of):
    weights = pq.read_table(output / "selection.parquet")["weight"].to_pylist()
    lines = (output / "part-00000-of-00001.jsonl").read_text().splitlines()
    return weights, [text_of(json.loads(line)) for line in lines]


def test_where_the_text_is_changes_no_weight(plain, tmp_path):
    raw, target, output = plain
    expected = selected(output, lambda record: record["text"])
    halves = lambda text: dict(zip(("title", "text"), (text + "\n").split("\n", 1), strict=True))
    rewrite(raw, tmp_path / "a.jsonl", lambda text: {"doc": halves(text), "text": "another"})
    rewrite(target, tmp_path / "target.jsonl", lambda text: {"body": text})
    files = [f"--raw={tmp_path}/a.jsonl", f"--target={tmp_path}/target.jsonl"]
    fields = ["--text_field=doc.title,doc.text", "--target_text_field=body"]
    output, again = tmp_path / "out", tmp_path / "again"
    assert select.run([*files, *fields, f"--output={output}", *FLAGS]) == 0
    joined = lambda record: f"{record['doc']['title']}\n{record['doc']['text']}".removesuffix("\n")
    weights, texts = selected(output, joined)
    assert weights == pytest.approx(expected[0])
    assert texts == [text.removesuffix("\n") for text in expected[1]]
    resampled = [*files, *fields, f"--work_dir={output}.work", f"--output={again}", *FLAGS]
    assert resample.run(resampled) == 0
    assert selected(again, joined) == (weights, texts)
    assert resample.run([*resampled[:2], *resampled[3:], "--overwrite"]) == 2  # the target's field is another
