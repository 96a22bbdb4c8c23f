"""`distill`, and selections with static models: distilled on the way, or given."""

import json

import numpy as np
import pytest
from model2vec import StaticModel

from hir_transforms.embeddings.model import find_model
from hir_transforms.embeddings.shards import read_shard
from pipelines import distill, embed, select
from tests.helpers.corpora import jsonl

RAW = [f"the war of {number} was a battle of soldiers " * 9 for number in range(20)]
RAW += [f"the song {number} of the music album was a hit " * 9 for number in range(20)]
TARGET = ["a song by the band, from an album of music " * 9, "music of a singer: the first album " * 9] * 4
SELECT = ["--num_to_sample=15", "--alpha=0", "--top_k", "--raw_components=2", "--target_components=1"]


@pytest.fixture
def corpus(tmp_path):
    """The flags of raw and target."""
    (tmp_path / "raw.jsonl").write_bytes(jsonl(RAW))
    (tmp_path / "target.jsonl").write_bytes(jsonl(TARGET))
    return [f"--raw={tmp_path / 'raw.jsonl'}", f"--target={tmp_path / 'target.jsonl'}", "--min_example_length=0"]


def selected(output):
    return [json.loads(line)["text"] for line in (output / "part-00000-of-00001.jsonl").read_bytes().splitlines()]


def test_static_models_select_by_topic_whether_distilled_or_given(
    corpus, small_transformer, static_folder, tmp_path, capsys
):
    """And to the byte the same with two processes, and from embeddings that `hir embed` made."""
    distilled = [*corpus, *SELECT, f"--embedding_model=static:{small_transformer}"]
    assert select.run([*distilled, f"--output={tmp_path / 'out'}", "--direct_num_workers=1"]) == 0
    assert len([text for text in selected(tmp_path / "out") if "music" in text]) == 15
    given = [*corpus, f"--embedding_model={static_folder}", f"--work_dir={tmp_path / 'given'}"]
    assert embed.run([corpus[0], corpus[1], *given[-2:], "--direct_num_workers=2"]) == 0
    assert select.run([*given, *SELECT, f"--output={tmp_path / 'other'}", "--direct_num_workers=1"]) == 0
    for name in ("part-00000-of-00001.jsonl", "selection.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    capsys.readouterr()
    again = [*distilled, f"--output={tmp_path / 'out'}", "--overwrite", "--seed=1", "--direct_num_workers=1"]
    assert select.run(again) == 0
    assert "distilled" not in capsys.readouterr().err
    batches = [
        batch
        for path in sorted((tmp_path / "out.work" / "embeddings" / "raw").glob("*.avro"))
        for batch in read_shard(str(path))
    ]
    assert {(batch.model, batch.revision) for batch in batches} == {
        (f"static:{small_transformer}", find_model(static_folder).revision)
    }
    expected = StaticModel.from_pretrained(static_folder, quantize_to="float32").encode(RAW)
    np.testing.assert_array_equal(np.concatenate([batch.rows for batch in batches]), expected)


def test_distill_makes_a_model_to_keep(small_transformer, static_folder, tmp_path, capsys):
    output = tmp_path / "kept"
    assert distill.run([f"--embedding_model=static:{small_transformer}", f"--output={output}"]) == 0
    told = capsys.readouterr()
    assert told.out == f"a static model of {small_transformer}: --embedding_model {output}\n"
    assert told.err == f"{small_transformer} is distilled into {output}, once: one to two minutes\n"
    assert find_model(str(output)).revision == find_model(static_folder).revision
    assert distill.run([f"--embedding_model={small_transformer}", f"--output={output}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hir distill: error: --output: {output} exists already")


def test_what_is_static_already_is_an_error_in_one_line(corpus, static_folder, tmp_path, capsys):
    assert distill.run([f"--embedding_model={static_folder}", f"--output={tmp_path / 'kept'}"]) == 2
    model = f"--embedding_model=static:{static_folder}"
    assert embed.run([corpus[0], f"--work_dir={tmp_path / 'work'}", model]) == 2
    said = f"error: --embedding_model: {static_folder} is static already"
    assert capsys.readouterr().err.splitlines() == [f"hir distill: {said}", f"hir embed: {said}"]


def test_static_of_no_model_is_an_error_in_one_line(corpus, tmp_path, capsys):
    assert embed.run([corpus[0], f"--work_dir={tmp_path / 'work'}", "--embedding_model=static:/nowhere/model"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hir embed: error: --embedding_model: no model '/nowhere/model'")
