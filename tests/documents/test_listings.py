import json
import zlib

import msgspec
import pytest

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.documents import listings
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.listings import Listing, load_files
from hir_transforms.documents.records import SourceFile
from tests.helpers.corpora import jsonl

FILES = [SourceFile(index, f"/data/ä-{index}.jsonl", f"ä-{index}.jsonl", index, 1.5) for index in range(12)]


@pytest.fixture(params=[5, 12])
def most(request, monkeypatch):
    """More files than a manifest may list, or just as many."""
    monkeypatch.setattr(listings, "MOST_IN_MANIFEST", request.param)
    return request.param


def test_the_files_come_back_from_the_manifest_and_the_work_folder(tmp_path, most):
    listing = Listing(FILES)
    listing.save(str(tmp_path))
    assert load_files(str(tmp_path), json.loads(json.dumps(listing.description))) == FILES


@pytest.mark.parametrize("change", [{"size": 99}, {"modified": 2.5}, {"path": "/data/x"}, {"name": "x"}])
def test_the_description_tells_every_change(most, change):
    changed = [*FILES[:-1], msgspec.structs.replace(FILES[-1], **change)]
    assert Listing(changed).description != Listing(FILES).description
    assert Listing(FILES[:-1]).description != Listing(FILES).description


def test_many_files_are_kept_once_for_all_stages(tmp_path, monkeypatch):
    monkeypatch.setattr(listings, "MOST_IN_MANIFEST", 2)
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_bytes(jsonl([name]))
    dataset = Dataset("raw", (f"{tmp_path}/*.jsonl",))
    for name in ("documents", "scores"):
        stage = Stage.create(name, str(tmp_path / "work"), {}, [dataset])
        stage.write_manifest({})
        manifest = stage.manifest()
        assert manifest
        described = manifest["inputs"]["raw"]["files"]
        assert set(described) == {"files", "bytes", "sha256"}
        assert load_files(stage.work_dir, described) == dataset.list_files()
    assert len(list((tmp_path / "work" / "inputs").iterdir())) == 1


def test_a_damaged_listing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(listings, "MOST_IN_MANIFEST", 2)
    listing = Listing(FILES)
    listing.save(str(tmp_path))
    (path,) = (tmp_path / "inputs").iterdir()
    for content in (path.read_bytes()[:-9], zlib.compress(b"[]")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"^--work_dir: .*\.json\.z is damaged"):
            load_files(str(tmp_path), listing.description)
