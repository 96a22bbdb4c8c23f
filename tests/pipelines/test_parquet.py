"""Parquet files as input and output of whole commands, against the same texts as JSON lines."""

import datetime
import json
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hir_transforms.commands.docstring_corpus import write_corpus
from pipelines import embed, evaluate, fit, resample, score, select
from tests.helpers.arrow import save_dataset, write_arrow
from tests.helpers.folders import contents

FLAGS = ["--num_to_sample=40", "--alpha=1", "--num_tokens_to_fit=all"]
RAW, TARGET = 160, 40


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Paths of the same documents: raw and target as lines, raw in a row group, raw in several, and the target."""
    folder = tmp_path_factory.mktemp("parquet")
    raw, target = write_corpus(folder / "lines", {"numpy": 100, "scikit-learn": 100}, TARGET)
    tables = {path.stem: table_of(path) for path in (raw, target)}
    pq.write_table(tables["raw"], folder / "one.parquet")
    pq.write_table(tables["raw"].slice(0, 90), folder / "several-0.parquet", row_group_size=40)
    pq.write_table(tables["raw"].slice(90), folder / "several-1.parquet", row_group_size=33, compression="zstd")
    pq.write_table(tables["target"], folder / "target.parquet")
    return SimpleNamespace(
        raw=raw,
        target=target,
        one=folder / "one.parquet",
        several=folder / "several-*.parquet",
        parquet_target=folder / "target.parquet",
        table=tables["raw"],
    )


def table_of(path):
    texts = [json.loads(line)["text"] for line in path.read_bytes().splitlines()]
    numbers = range(len(texts))
    when = [datetime.datetime(2020, 1, 1) + datetime.timedelta(days=number) for number in numbers]
    return pa.table(
        {
            "doc": [{"content": text, "number": number} for number, text in zip(numbers, texts, strict=True)],
            "text": texts,
            "tags": [[f"t{number}"] * (number % 3) for number in numbers],
            "when": pa.array(when, pa.timestamp("ms", tz="UTC")),
            "price": pa.array([Decimal(number) / 4 for number in numbers], pa.decimal128(10, 2)),
            "maybe": [None if number % 2 else number for number in numbers],
            "kind": pa.array(["a", "b"] * (len(texts) // 2)).dictionary_encode(),
        }
    )


def run(command, raw, target, output, *flags, workers=1):
    paths = [f"--raw={raw}", f"--target={target}", f"--output={output}", f"--direct_num_workers={workers}"]
    return command.run([*paths, *flags])


def rows(output):
    return pa.concat_tables(map(pq.read_table, sorted(output.glob("part-*.parquet"))))


def texts_of_lines(output):
    return [
        json.loads(line)["text"]
        for path in sorted(output.glob("part-*.jsonl"))
        for line in path.open(encoding="utf-8")
    ]


@pytest.fixture(scope="module")
def from_lines(corpus, tmp_path_factory):
    """The output of the top 40 of the lines."""
    output = tmp_path_factory.mktemp("lines") / "out"
    assert run(select, corpus.raw, corpus.target, output, *FLAGS, "--top_k") == 0
    return output


@pytest.mark.parametrize("raw", ["one", "several"])
def test_the_best_rows_are_those_of_lines_with_all_columns(corpus, from_lines, tmp_path, raw):
    output = tmp_path / "out"
    shards = [*FLAGS, "--top_k", "--num_shards=3"]
    assert run(select, getattr(corpus, raw), corpus.parquet_target, output, *shards) == 0
    selected = rows(output)
    assert selected["text"].to_pylist() == texts_of_lines(from_lines)
    assert selected.schema.equals(corpus.table.schema)
    place = {text: row for row, text in enumerate(corpus.table["text"].to_pylist())}
    assert selected.equals(corpus.table.take([place[text] for text in selected["text"].to_pylist()]))
    weights = [pq.read_table(folder / "selection.parquet")["weight"].to_numpy() for folder in (output, from_lines)]
    np.testing.assert_array_equal(*weights)
    manifest = json.loads((output / "manifest.json").read_text())
    assert [shard["documents"] for shard in manifest["shards"]] == [13, 13, 14]
    assert {shard["name"] for shard in manifest["shards"]} == {f"part-0000{n}-of-00003.parquet" for n in range(3)}


def test_workers_change_no_byte_of_a_sample(corpus, tmp_path):
    several = [*FLAGS[:2], "--num_tokens_to_fit=5000", "--num_shards=2", "--compression=zstd"]
    for workers, more in ((1, []), (2, []), (1, ["--direct_runner_bundle_repeat=2"])):
        folder = tmp_path / f"{workers}{len(more)}"
        assert run(select, corpus.several, corpus.target, folder / "out", *several, *more, workers=workers) == 0
        made = contents(folder / "out"), contents(folder / "out.work")
        if workers == 1 and not more:
            expected = made
        assert made == expected
    assert len(rows(tmp_path / "10" / "out")) == 40


def test_rows_as_json_lines(corpus, from_lines, tmp_path):
    output = tmp_path / "out"
    flags = [*FLAGS, "--top_k", "--output_format=jsonl", "--text_field=doc.content", "--target_text_field=text"]
    assert run(select, corpus.one, corpus.target, output, *flags) == 0
    (path,) = output.glob("part-*.jsonl")
    records = [json.loads(line) for line in path.open()]
    assert [record["text"] for record in records] == texts_of_lines(from_lines)
    number = records[0]["doc"]["number"]
    assert records[0] == {
        "doc": {"content": records[0]["text"], "number": number},
        "text": records[0]["text"],
        "tags": [f"t{number}"] * (number % 3),
        "when": f"{datetime.datetime(2020, 1, 1) + datetime.timedelta(days=number)}.000Z",
        "price": number / 4,
        "maybe": None if number % 2 else number,
        "kind": "ab"[number % 2],
    }


def test_scores_of_rows_are_resampled_with_and_without_raw(corpus, tmp_path):
    output, again = tmp_path / "out", tmp_path / "again"
    assert run(select, corpus.several, corpus.target, output, *FLAGS) == 0
    expected = contents(output)
    flags = [f"--work_dir={output}.work", f"--output={again}", "--direct_num_workers=1", "--overwrite"]
    inputs = [f"--raw={corpus.several}", f"--target={corpus.target}"]
    assert resample.run([*flags, *inputs, *FLAGS]) == 0
    assert contents(again) == expected
    assert resample.run([*flags, "--num_to_sample=40"]) == 0
    assert rows(again).equals(rows(output))
    assert resample.run([*flags, "--num_to_sample=7", "--output_format=jsonl"]) == 0
    assert len(texts_of_lines(again)) == 7


def test_an_embedded_mixture_with_separate_targets(corpus, tmp_path):
    """Rows of embeddings that are given, and shards that `embed` makes of them, find the documents of each row."""
    lines = {"raw": 200, "target": TARGET}
    generator = np.random.default_rng(0)
    for role, count in lines.items():
        np.save(tmp_path / f"{role}.npy", generator.normal(role == "target", size=(count, 8)).astype(np.float32))
    given = [f"--{role}_embeddings={tmp_path / role}.npy" for role in lines]
    mixture = [*given, "--num_to_sample=40", "--alpha=0.5", "--num_tokens_to_fit=all", "--top_k"]
    mixture += ["--raw_components=2", "--target_components=1"]
    selected = {}
    for name, raw, target in (("lines", corpus.raw, corpus.target), ("rows", corpus.several, corpus.parquet_target)):
        assert run(select, raw, target, tmp_path / name, *mixture) == 0
        selected[name] = pq.read_table(tmp_path / name / "selection.parquet")["weight"].to_numpy()
    # A mixture starts from documents that are drawn by their identities, which are others.
    np.testing.assert_allclose(selected["rows"], selected["lines"], rtol=0.05)
    assert rows(tmp_path / "rows")["text"].to_pylist() == texts_of_lines(tmp_path / "lines")

    embedded = [f"--work_dir={tmp_path}/embedded", "--direct_num_workers=1"]
    assert embed.run([f"--raw={corpus.several}", given[0], *embedded]) == 0
    shards = f"--raw_embeddings={tmp_path}/embedded/embeddings/raw"
    assert run(select, corpus.several, corpus.parquet_target, tmp_path / "shards", *mixture[1:], shards) == 0
    assert rows(tmp_path / "shards").equals(rows(tmp_path / "rows"))

    classifier = ["--embedding_estimator=classifier", "--separate_targets", "--target_proportions=1,1"]
    targets = f"{tmp_path}/t-0.parquet,{tmp_path}/t-1.jsonl"
    target_table = pq.read_table(corpus.parquet_target)
    pq.write_table(target_table.slice(0, 25), tmp_path / "t-0.parquet")
    (tmp_path / "t-1.jsonl").write_bytes(b"".join(corpus.target.read_bytes().splitlines(keepends=True)[25:]))
    assert run(select, corpus.several, targets, tmp_path / "two", *mixture, *classifier) == 0
    targets_of = pq.read_table(tmp_path / "two" / "selection.parquet")["target"].to_pylist()
    assert (targets_of.count(0), targets_of.count(1)) == (20, 20)
    assert len(rows(tmp_path / "two")) == 40


def test_given_weights_that_are_no_numbers_are_rejected_with_the_text_of_their_row(corpus, tmp_path):
    weights = np.arange(200, dtype=np.float64)
    weights[[3, 150]] = np.nan
    np.save(tmp_path / "w.npy", weights)
    flags = [
        f"--ngram_weights={tmp_path}/w.npy",
        "--num_to_sample=5",
        "--alpha=1",
        "--top_k",
        "--min_example_length=0",
    ]
    assert run(select, corpus.several, corpus.target, tmp_path / "out", *flags) == 0
    rejected = [json.loads(line) for path in (tmp_path / "out" / "rejected").iterdir() for line in path.open()]
    texts = corpus.table["text"].to_pylist()
    assert sorted((reject["offset"], reject["excerpt"]) for reject in rejected) == sorted(
        [(3, texts[3][:200]), (60, texts[150][:200])]
    )
    assert rows(tmp_path / "out")["text"].to_pylist() == texts[195:]


def test_bad_rows_are_counted_and_kept(corpus, tmp_path, capfd):
    bad = corpus.table.set_column(1, "text", pa.array([None, *corpus.table["text"].to_pylist()[1:]]))
    pq.write_table(bad, tmp_path / "bad.parquet", row_group_size=50)
    assert run(select, tmp_path / "bad.parquet", corpus.target, tmp_path / "out", *FLAGS, "--id_field=maybe") == 0
    assert "200 read, 1 rejected" in capfd.readouterr().out
    (path,) = (tmp_path / "out" / "rejected").iterdir()
    assert json.loads(path.read_text()) == {
        "file": str(tmp_path / "bad.parquet"),
        "offset": 0,
        "reason": "field 'text' is not a string",
        "excerpt": "None",
    }
    selection = pq.read_table(tmp_path / "out" / "selection.parquet")
    assert selection["id"].to_pylist() == [
        str(row) if row % 2 == 0 else None for row in selection["offset"].to_pylist()
    ]
    assert run(select, tmp_path / "bad.parquet", corpus.target, tmp_path / "o", *FLAGS, "--text_field=maybe") == 2
    error = capfd.readouterr().err
    assert "no text in" in error
    assert "bad.parquet, row 0: field 'maybe' is not a string" in error


@pytest.mark.parametrize("command", [fit, score, embed, select])
def test_a_broken_file_is_one_line(corpus, tmp_path, capfd, command):
    (tmp_path / "a.parquet").write_bytes(corpus.one.read_bytes()[:-100])
    arguments = [f"--raw={tmp_path}/a.parquet", f"--output={tmp_path}/out"]
    if command is not embed:
        arguments += [f"--target={corpus.target}", "--alpha=1"]
    if command is select:
        arguments += ["--num_to_sample=5"]
    assert command.run(arguments) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"hir {command.__name__.rpartition('.')[2]}: error: ")
    assert f"{tmp_path}/a.parquet" in error
    assert error.count("\n") == 1


def test_parquet_of_lines_has_the_types_of_their_values(corpus, tmp_path, capfd):
    lines = [json.loads(line) | {"number": number} for number, line in enumerate(corpus.raw.open())]
    lines[0]["number"] = 0.5
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = [*FLAGS, "--num_to_sample=200", "--num_shards=3", "--min_example_length=0", "--output_format=parquet"]
    assert run(select, tmp_path / "raw.jsonl", corpus.target, tmp_path / "out", *flags) == 0
    tables = [pq.read_table(path) for path in sorted((tmp_path / "out").glob("part-*-of-00003.parquet"))]
    assert pa.concat_tables(tables).to_pylist() == lines
    assert {table.schema.field("number").type for table in tables} == {pa.float64()}
    lines[-1]["number"] = "a"
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    capfd.readouterr()
    assert run(select, tmp_path / "raw.jsonl", corpus.target, tmp_path / "none", *flags) == 2
    assert "--output_format: the field 'number' of the selected lines holds values that are" in capfd.readouterr().err
    assert not (tmp_path / "none").exists()


def test_rows_beside_lines_are_written_with_the_types_of_json(corpus, tmp_path):
    raw = f"{corpus.several},{corpus.raw}"
    flags = [*FLAGS, "--num_to_sample=400", "--min_example_length=0", "--output_format=parquet", "--no_report"]
    assert run(select, raw, corpus.target, tmp_path / "out", *flags) == 0
    table = pq.read_table(tmp_path / "out" / "part-00000-of-00001.parquet")
    assert table["text"].to_pylist() == corpus.table["text"].to_pylist() * 2
    assert (table.schema.field("when").type, table["when"].null_count) == (pa.string(), 200)


def test_lines_and_rows_together_are_written_as_lines(corpus, tmp_path):
    raw = f"{corpus.several},{corpus.raw}"
    flags = [*FLAGS, "--skip_duplicates", "--num_to_sample=170"]
    assert run(select, raw, corpus.target, tmp_path / "out", *flags) == 0
    assert len(texts_of_lines(tmp_path / "out")) == 170


def test_rows_that_changed_after_they_were_scored_are_not_copied(corpus, tmp_path, capfd):
    path = tmp_path / "a.parquet"
    path.write_bytes(corpus.one.read_bytes())
    assert run(score, path, corpus.target, tmp_path / "s", "--alpha=1", f"--work_dir={tmp_path}/work") == 0
    pq.write_table(corpus.table.slice(1), path)
    flags = [f"--work_dir={tmp_path}/work", f"--output={tmp_path}/out", "--num_to_sample=5"]
    assert resample.run(flags) == 2
    assert "changed since it was scored" in capfd.readouterr().err


def test_a_saved_dataset_is_that_of_parquet(corpus, from_lines, tmp_path):
    save_dataset(tmp_path / "raw", corpus.table, 3)
    save_dataset(tmp_path / "target" / "train", pq.read_table(corpus.parquet_target), 1)
    (tmp_path / "target" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    flags = [*FLAGS, "--top_k"]
    assert run(select, tmp_path / "raw", tmp_path / "target", tmp_path / "out", *flags) == 0
    selected = rows(tmp_path / "out")
    assert selected["text"].to_pylist() == texts_of_lines(from_lines)
    assert selected.schema.equals(corpus.table.schema)
    assert run(select, tmp_path / "raw", tmp_path / "target", tmp_path / "two", *flags, workers=2) == 0
    assert contents(tmp_path / "two.work") == contents(tmp_path / "out.work")
    evaluated = [f"--selected={tmp_path / 'out'}", f"--target={tmp_path / 'target'}", f"--json={tmp_path}/e.json"]
    assert evaluate.run([*evaluated, "--direct_num_workers=1"]) == 0
    assert json.loads((tmp_path / "e.json").read_text())


def test_a_column_that_parquet_has_no_type_for_is_one_line(corpus, tmp_path, capfd):
    interval = pa.array([(1, 2, 3)] * len(corpus.table), pa.month_day_nano_interval())
    write_arrow(tmp_path / "raw.arrow", corpus.table.append_column("gap", interval), 50)
    assert run(select, tmp_path / "raw.arrow", corpus.target, tmp_path / "out", *FLAGS) == 2
    error = capfd.readouterr().err
    assert (
        "the column 'gap' is month_day_nano_interval, which Parquet does not have; --output_format jsonl can" in error
    )
    assert run(select, tmp_path / "raw.arrow", corpus.target, tmp_path / "out", *FLAGS, "--output_format=jsonl") == 0
    assert json.loads(next((tmp_path / "out").glob("part-*")).read_text().splitlines()[0])["gap"] == [1, 2, 3]


def test_rows_in_an_object_store(corpus, tmp_path, memory_store):
    content = corpus.one.read_bytes()
    memory_store.put("mem://bucket/raw/one.parquet", content)
    memory_store.put("mem://bucket/target.parquet", corpus.parquet_target.read_bytes())
    raw, target = "mem://bucket/raw/*.parquet", "mem://bucket/target.parquet"
    assert run(select, raw, target, "mem://bucket/out", *FLAGS, "--top_k") == 0
    assert run(select, corpus.one, corpus.parquet_target, tmp_path / "out", *FLAGS, "--top_k") == 0
    name = "part-00000-of-00001.parquet"
    assert memory_store.objects[f"mem://bucket/out/{name}"] == (tmp_path / "out" / name).read_bytes()
