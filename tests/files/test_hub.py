"""`hf://`, over a local folder in place of the hub: what is tested is all but the hub's own file system."""

import json
import re
from datetime import UTC, datetime
from types import SimpleNamespace

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from hir_transforms.commands.docstring_corpus import write_corpus
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.files import storage
from pipelines import select

COMMITTED = SimpleNamespace(date=datetime(2024, 5, 1, tzinfo=UTC))


class FolderHub(DirFileSystem):
    """Tells of files what the hub's file system tells: nothing of their time but a commit, where that is asked for."""

    def info(self, path, *, refresh, expand_info):
        return self._as_hub(super().info(path))

    def find(self, path, *, detail, refresh, expand_info):
        if not self.exists(path):
            raise FileNotFoundError(path)
        return {name: self._as_hub(info) for name, info in super().find(path, detail=True).items()}

    def _as_hub(self, info):
        return {"name": info["name"], "size": info["size"], "type": info["type"], "last_commit": COMMITTED}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder that stands for the hub."""
    folder = tmp_path / "hub"
    (folder / "datasets" / "owner" / "name" / "data").mkdir(parents=True)
    monkeypatch.setattr(huggingface_hub, "HfFileSystem", lambda: FolderHub(str(folder), LocalFileSystem()))
    return folder / "datasets" / "owner" / "name"


def test_files_are_found_by_patterns_and_read(hub):
    for name in ("data/a-1.jsonl", "data/a-0.jsonl", "data/b.jsonl", "a-2.jsonl"):
        (hub / name).write_text(name)
    files = Dataset("raw", ("hf://datasets/owner/name/data/a-*.jsonl",)).list_files()
    assert [(file.path, file.name, file.size, file.modified) for file in files] == [
        (f"hf://datasets/owner/name/data/a-{number}.jsonl", f"a-{number}.jsonl", 14, COMMITTED.date.timestamp())
        for number in (0, 1)
    ]
    assert storage.read_bytes(files[1].path) == b"data/a-1.jsonl"
    assert len(Dataset("raw", ("hf://datasets/owner/name/**",)).list_files()) == 4
    assert len(Dataset("raw", ("hf://datasets/owner/name/data/b.jsonl",)).list_files()) == 1


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("hf://datasets/owner/name/data/c.jsonl", "no file matches"),
        ("hf://datasets/owner/none/*.jsonl", "no file matches"),
        ("hf://datasets/owner/name", "is a folder; name the files in it, such as hf://datasets/owner/name/*.jsonl"),
    ],
)
def test_what_is_not_there_is_one_line(hub, pattern, message):
    (hub / "a.jsonl").write_text("a")
    with pytest.raises(UserError, match=re.escape(message)):
        Dataset("raw", (pattern,)).list_files()


def test_a_selection_from_the_hub(hub, tmp_path):
    raw, target = write_corpus(tmp_path / "lines", {"numpy": 60, "scikit-learn": 60}, 20)
    texts = [json.loads(line)["text"] for line in raw.read_bytes().splitlines()]
    pq.write_table(pa.table({"text": texts}), hub / "data" / "train-00000.parquet", row_group_size=40)
    flags = [f"--target={target}", "--num_to_sample=20", "--alpha=1", "--direct_num_workers=1"]
    for name, files in (("hub", "hf://datasets/owner/name/data"), ("local", hub / "data")):
        assert select.run([f"--raw={files}/train-*.parquet", f"--output={tmp_path / name}-out", *flags]) == 0
    shards = [(tmp_path / f"{name}-out" / "part-00000-of-00001.parquet").read_bytes() for name in ("hub", "local")]
    assert shards[0] == shards[1]


def test_the_hub_is_not_written(hub, tmp_path, capfd):
    arguments = ["--raw=/a.jsonl", "--target=/b.jsonl", "--num_to_sample=2", "--output=hf://datasets/owner/name/out"]
    assert select.run(arguments) == 2
    assert "--output: must be a folder that can be written, which the hub is not" in capfd.readouterr().err
    with pytest.raises(UserError, match="the hub is only read"):
        storage.write_bytes("hf://datasets/owner/name/a", b"")
