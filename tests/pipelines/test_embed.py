"""`embed`, and `select` with embeddings that exist already: by every way the selection is the same."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hir_transforms.artifacts.runs import RUNS
from hir_transforms.commands.docstring_corpus import write_corpus
from hir_transforms.embeddings.shards import read_shard
from pipelines import embed, select

SELECT = ["--num_to_sample=15", "--alpha=0.5", "--raw_components=4", "--target_components=2", "--gmm_max_iter=5"]
SMOOTHED = "--target_laplace_smoothing=1"  # else a line tells that the target has few n-grams


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """(raw, target): 60 and 20 real documents, with lines between that have no text."""
    raw, target = write_corpus(tmp_path_factory.mktemp("corpus") / "docs", {"numpy": 30, "scikit-learn": 50}, 20)
    lines = raw.read_bytes().splitlines(keepends=True)[:60]
    raw.write_bytes(b"".join([b"no json\n", *lines[:7], b'\n{"text": 1}\n', *lines[7:]]))
    return raw, target


@pytest.fixture(scope="module")
def embedded(corpus, tmp_path_factory):
    """The work folder of `embed` for both."""
    work = tmp_path_factory.mktemp("embedded") / "work"
    assert embed.run([*flags_of(corpus), f"--work_dir={work}", "--direct_num_workers=1"]) == 0
    return work


@pytest.fixture(scope="module")
def computed(corpus, embedded, tmp_path_factory):
    """Output of a `select` in that folder."""
    output = tmp_path_factory.mktemp("computed") / "out"
    shutil.copytree(embedded, output.parent / "work")
    assert run(corpus, output, f"--work_dir={output.parent / 'work'}") == 0
    return output


def flags_of(corpus):
    return [f"--raw={corpus[0]}", f"--target={corpus[1]}"]


def run(corpus, output, *flags):
    return select.run([*flags_of(corpus), f"--output={output}", "--direct_num_workers=1", *SELECT, *flags])


def rows_of(work, role):
    shards = sorted((work / "embeddings" / role).glob("*.avro"))
    return np.concatenate([batch.rows for shard in shards for batch in read_shard(str(shard))])


def same_selection(one, other):
    names = ("part-00000-of-00001.jsonl", "selection.parquet")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def manifest(folder, name="_manifest.json"):
    return json.loads((folder / name).read_text())


@pytest.fixture
def given(embedded, tmp_path):
    """Flags for embeddings in other files, after `change` has had its way with the arrays."""

    def write(suffix="npy", change=lambda raw, target: (raw, target)):
        flags = []
        changed = change(*(rows_of(embedded, role).copy() for role in ("raw", "target")))
        for role, rows in zip(("raw", "target"), changed, strict=True):
            path = tmp_path / f"{role}.{suffix}"
            if suffix == "npy":
                np.save(path, rows)
            else:
                pq.write_table(pa.table({"id": range(len(rows)), "embedding": list(rows)}), path, row_group_size=23)
            flags.append(f"--{role}_embeddings={path}")
        return flags

    return write


def test_the_manifest_says_what_was_embedded_and_how(corpus, embedded):
    stage = manifest(embedded / "embeddings" / "raw")
    assert stage["settings"]["name"] == "all-MiniLM-L6-v2"
    assert stage["settings"]["revision"]
    counts = stage["counts"]
    assert (counts["documents"], counts["dim"], counts["normalized"]) == (60, 384, True)
    (file,) = stage["inputs"]["raw"]["files"]
    assert file[:3] == [str(corpus[0]), corpus[0].name, corpus[0].stat().st_size]
    assert rows_of(embedded, "raw").shape == (60, 384)
    np.testing.assert_allclose(np.linalg.norm(rows_of(embedded, "target"), axis=1), 1, atol=1e-5)


def test_nothing_is_embedded_twice(corpus, embedded, computed, tmp_path, capsys):
    work = tmp_path / "work"
    shutil.copytree(embedded, work)
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.name != RUNS}
    assert embed.run([*flags_of(corpus), f"--work_dir={work}"]) == 0
    assert capsys.readouterr().out.count("unchanged, not computed again") == 2
    assert run(corpus, tmp_path / "out", f"--work_dir={work}") == 0
    assert "not computed again: embeddings/raw, embeddings/target" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in before if path.is_file()} == {
        path: time for path, time in before.items() if path.is_file()
    }
    assert same_selection(tmp_path / "out", computed)


def test_one_dataset_alone_in_the_folder_beside_an_output(corpus, embedded, tmp_path):
    output = tmp_path / "out"
    assert embed.run([f"--target={corpus[1]}", f"--output={output}", "--direct_num_workers=1"]) == 0
    (folder,) = (tmp_path / "out.work" / "embeddings").iterdir()
    assert folder.name == "target"
    np.testing.assert_array_equal(rows_of(tmp_path / "out.work", "target"), rows_of(embedded, "target"))


@pytest.mark.parametrize("pattern", ["", "*.avro"])
def test_shards_of_another_work_folder_give_the_same_selection(corpus, embedded, computed, tmp_path, pattern):
    flags = [f"--{role}_embeddings={embedded / 'embeddings' / role / pattern}" for role in ("raw", "target")]
    assert run(corpus, tmp_path / "out", *flags) == 0
    assert same_selection(tmp_path / "out", computed)
    stage = manifest(tmp_path / "out.work" / "embeddings" / "raw")
    assert stage["settings"]["model"] == "all-MiniLM-L6-v2"
    assert len(stage["inputs"]["raw_embeddings"]["files"]) == len(list((embedded / "embeddings/raw").glob("*.avro")))


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_in_corpus_order_give_the_same_selection(corpus, computed, given, tmp_path, suffix, dtype):
    flags = given(suffix, lambda *arrays: tuple(rows.astype(dtype) for rows in arrays))
    assert run(corpus, tmp_path / "out", *flags) == 0
    assert same_selection(tmp_path / "out", computed)


def test_several_files_of_half_precision(corpus, embedded, given, tmp_path):
    flags = given(change=lambda *arrays: tuple(rows.astype(np.float16) for rows in arrays))
    parts = tmp_path / "parts"
    parts.mkdir()
    rows = rows_of(embedded, "raw").astype(np.float16)
    for name, part in zip("abcd", np.split(rows, [1, 1, 41]), strict=True):
        np.save(parts / f"{name}.npy", part)
    assert run(corpus, tmp_path / "one", *flags) == 0
    assert run(corpus, tmp_path / "many", f"--raw_embeddings={parts}", flags[1]) == 0
    assert same_selection(tmp_path / "one", tmp_path / "many")
    np.testing.assert_array_equal(rows_of(tmp_path / "many.work", "raw"), rows.astype(np.float32))


def test_documents_without_a_finite_embedding_are_rejected(corpus, given, tmp_path):
    def change(raw, target):
        raw[[0, 30], 5] = np.nan
        raw[59, 0] = np.inf
        target[3, 1] = -np.inf
        return raw, target

    output = tmp_path / "out"
    assert run(corpus, output, *given(change=change)) == 0
    counts = manifest(output, "manifest.json")["counts"]
    assert (counts["read"], counts["rejected"]) == (62, 5)
    assert counts["read"] == counts["rejected"] + counts["short"] + counts["duplicate"] + counts["eligible"]
    rejects = {
        role: [
            json.loads(line)
            for path in sorted((output / "rejected").glob(f"{role}-*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        for role in ("raw", "target")
    }
    lines = {role: path.read_bytes() for role, path in zip(("raw", "target"), corpus, strict=True)}
    texts = {}
    for role, found in rejects.items():
        not_finite = [reject for reject in found if reject["reason"] == "embedding is not finite"]
        texts[role] = [json.loads(lines[role][one["offset"] :].split(b"\n", 1)[0])["text"] for one in not_finite]
        assert [one["excerpt"] for one in not_finite] == [text[:200] for text in texts[role]]
    usable = {
        role: [json.loads(line)["text"] for line in lines[role].splitlines() if b'"id"' in line] for role in lines
    }
    assert texts["raw"] == [usable["raw"][place] for place in (0, 30, 59)]
    assert texts["target"] == [usable["target"][3]]
    assert manifest(tmp_path / "out.work" / "embeddings" / "raw")["counts"]["documents"] == 57
    assert manifest(tmp_path / "out.work" / "gmm" / "target-0")["counts"]["rows"] == 19
    selected = pq.read_table(output / "selection.parquet")["offset"].to_pylist()
    assert not set(selected) & {one["offset"] for one in rejects["raw"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw, target: (raw[:-1], target), "--raw_embeddings: 59 rows in"),
        (lambda raw, target: (raw, np.tile(target, (2, 1))), "--target_embeddings: 40 rows in"),
        (lambda raw, target: (raw[:, :7], target), "raw's rows have 7 numbers, the target's 384"),
        (lambda raw, target: (raw[:0], target), "--raw_embeddings: no rows in"),
        (lambda raw, target: (raw * np.nan, target), "--raw: no document has a finite embedding"),
    ],
    ids=["too few", "too many", "dimensions", "empty", "none finite"],
)
def test_rows_that_do_not_fit_are_an_error_in_one_line(corpus, given, tmp_path, capsys, change, message):
    assert run(corpus, tmp_path / "out", *given(change=change), SMOOTHED) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_shards_of_other_documents_are_an_error(corpus, embedded, tmp_path, capsys):
    flags = [f"--{role}_embeddings={embedded / 'embeddings' / 'target'}" for role in ("raw", "target")]
    assert run(corpus, tmp_path / "out", *flags, SMOOTHED) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--raw_embeddings: " in line
    assert "has rows for 0 of" in line


def test_the_runs_own_embeddings_are_not_cleared_by_naming_them(corpus, embedded, tmp_path, capsys):
    work = tmp_path / "work"
    shutil.copytree(embedded, work)
    flags = [f"--work_dir={work}", f"--raw_embeddings={work / 'embeddings' / 'raw'}"]
    assert run(corpus, tmp_path / "out", *flags) == 2
    assert "leave the flag out to use them" in capsys.readouterr().err
    np.testing.assert_array_equal(rows_of(work, "raw"), rows_of(embedded, "raw"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--work_dir=w"], "--raw or --target is required"),
        (["--raw=/nowhere.jsonl"], "--work_dir is required"),
        (["--raw=/nowhere.jsonl", "--work_dir=w"], "--raw: no file matches /nowhere.jsonl"),
    ],
)
def test_errors_of_embed_take_one_line(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert embed.run(flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hir embed: error: {message}")
    assert not list(tmp_path.iterdir())


def test_a_missing_file_of_embeddings_is_an_error(corpus, tmp_path, capsys):
    assert run(corpus, tmp_path / "out", "--raw_embeddings=/nowhere/*.npy") == 2
    assert "--raw_embeddings: no file matches /nowhere/*.npy" in capsys.readouterr().err
