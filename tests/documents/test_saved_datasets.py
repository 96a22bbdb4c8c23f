import json

import pyarrow as pa
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.saved_datasets import saved_files
from tests.helpers.arrow import save_dataset

TABLE = pa.table({"text": ["a", "b", "c"]})


def names(pattern):
    return [file.name for file in Dataset("raw", (str(pattern),)).list_files()]


def test_the_files_of_a_saved_dataset(tmp_path):
    save_dataset(tmp_path / "saved", TABLE, 2)
    (tmp_path / "saved" / "cache-1.arrow").write_bytes(b"of no interest")
    assert names(tmp_path / "saved") == ["saved/data-00000-of-00002.arrow", "saved/data-00001-of-00002.arrow"]
    assert saved_files(str(tmp_path)) is None


def test_a_saved_dataset_in_an_object_store(tmp_path, memory_store):
    save_dataset(tmp_path / "saved", TABLE, 2)
    for path in (tmp_path / "saved").iterdir():
        memory_store.put(f"mem://bucket/saved/{path.name}", path.read_bytes())
    assert names("mem://bucket/saved") == names(tmp_path / "saved")


def test_one_split_is_read_and_of_several_one_must_be_named(tmp_path):
    for split in ("train", "test"):
        save_dataset(tmp_path / "both" / split, TABLE, 1)
    (tmp_path / "both" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    with pytest.raises(
        UserError, match=r"^--raw: .*both holds the splits train, test; name the folder of one of them$"
    ):
        names(tmp_path / "both")
    assert names(tmp_path / "both" / "test") == ["test/data-00000-of-00001.arrow"]
    (tmp_path / "both" / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    assert names(tmp_path / "both") == ["both/train/data-00000-of-00001.arrow"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("state.json", "{", "state.json is not what save_to_disk"),
        ("state.json", '{"_data_files": [1]}', "state.json is not what save_to_disk"),
        ("state.json", '{"_data_files": [{"filename": "../a.arrow"}]}', "names '../a.arrow', which is not in it"),
        ("state.json", '{"_data_files": [{"filename": "none.arrow"}]}', "lacks .*none.arrow, which it names"),
        ("state.json", '{"_data_files": []}', "is a folder; name the files in it"),
        ("dataset_dict.json", '{"splits": [".."]}', "names '..', which is not in it"),
        ("dataset_dict.json", '{"splits": []}', "holds the splits ; name"),
    ],
)
def test_a_description_that_leads_nowhere_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        names(tmp_path)
