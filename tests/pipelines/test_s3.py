"""Every stage with input, work folder and output on S3, over a real S3 server, against the same on a local disk."""

import gzip
import io
import json
import sys
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.aws.clients.s3 import boto3_client
from apache_beam.io.aws.clients.s3.messages import S3ClientError
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import list_files
from hir_transforms.files import object_stores, storage
from hir_transforms.files.s3 import SharedS3FileSystem
from pipelines import embed, resample, select
from tests.helpers.folders import contents
from tests.helpers.object_stores import (
    S3,
    arguments,
    s3_server,
    without_credentials,
    write_inputs,
)
from tests.helpers.ports import free_port


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with raw.jsonl.gz, target.jsonl, raw.npy and target.npy."""
    folder = tmp_path_factory.mktemp("s3")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def endpoint():
    with s3_server() as address:
        yield address


@pytest.fixture(scope="module")
def store(endpoint, inputs):
    """A bucket with the inputs."""
    bucket = S3(endpoint, "data")
    for path in inputs.iterdir():
        if path.is_file():
            bucket.upload(path)
    return bucket


@pytest.fixture(autouse=True)
def options(store):
    """The options of the store, for file operations outside a command; afterwards none."""
    FileSystems.set_options(PipelineOptions(store.flags))
    yield
    FileSystems.set_options(PipelineOptions([]))


def comparable(contents, root):
    """What must not depend on where the files are: content, with the root of all paths taken out."""
    result = {}
    for name, data in contents.items():
        if name.endswith(".parquet"):
            table = pq.read_table(pa.BufferReader(data)).to_pydict()
            table["file"] = [path.removeprefix(f"{root}/") for path in table["file"]]
            result[name] = table
        elif name == "manifest.json":  # its fingerprint is of the paths, too
            result[name] = json.loads(data.replace(f"{root}/".encode(), b"")) | {"fingerprint": None}
        else:
            result[name] = data.replace(f"{root}/".encode(), b"")
    return result


@pytest.fixture(scope="module")
def selected(store, inputs):
    """The same selection in `out` of the bucket, by two worker processes, and of the local folder."""
    assert select.run(arguments(inputs, "out")) == 0
    assert select.run(arguments(store.root, "out", *store.flags, workers=2)) == 0


def test_the_selection_is_that_of_a_local_run_byte_for_byte(store, selected, inputs):
    on_s3, local = store.contents("out"), contents(inputs / "out")
    assert on_s3["part-00000-of-00001.jsonl"] == local["part-00000-of-00001.jsonl"]
    assert comparable(on_s3, store.root) == comparable(local, inputs)
    made_on_s3, made = store.contents("out.work"), contents(inputs / "out.work")
    assert made_on_s3.keys() == made.keys()
    for name in ("ngram/estimator.npz", "gmm/raw.npz", "gmm/target-0.npz"):
        assert made_on_s3[name] == made[name]
    assert not store.contents("out.incomplete")


def test_another_run_skips_what_is_finished_and_overwrites_if_told(store, selected, capsys):
    assert select.run(arguments(store.root, "out", *store.flags)) == 2
    assert "exists and is not empty; add --overwrite" in capsys.readouterr().err
    before = store.contents("out")
    assert select.run(arguments(store.root, "out", *store.flags, "--overwrite", "--num_shards=4")) == 0
    told = capsys.readouterr().err
    assert f"unchanged in {store.root}/out.work, not computed again: documents, counts/raw" in told
    assert told.endswith("gmm_weights, scores\n")
    after = store.contents("out")
    shards = [after[f"part-{shard:05d}-of-00004.jsonl"] for shard in range(4)]
    assert b"".join(shards) == before["part-00000-of-00001.jsonl"]
    assert "part-00000-of-00001.jsonl" not in after


def test_a_run_that_died_while_it_published_is_repaired_by_the_same_command(store, selected):
    flags = [f"--work_dir={store.root}/out.work", *store.flags, "--num_shards=3"]
    assert select.run(arguments(store.root, "whole", *flags)) == 0
    complete = store.contents("whole")
    for name, content in complete.items():
        store.put(f"again.incomplete/output/{name}", content)
    old = {"kind": "hir output", "fingerprint": "old", "shards": [], "files": ["left-over"]}
    store.put("again.incomplete/_started.json", json.dumps({"kind": "hir output"}).encode())
    store.put("again.incomplete/replaced/manifest.json", json.dumps(old).encode())
    store.put("again/part-00000-of-00003.jsonl", b"half")
    store.put("again/left-over", b"")
    assert select.run(arguments(store.root, "again", *flags)) == 0
    assert store.contents("again") == complete
    assert not store.contents("again.incomplete")


def test_every_other_stage_and_the_shards_of_hir_embed(store, inputs, small_transformer):
    """`embed`, then selections with projection, checkpoints, scaled weights, given mixtures."""
    lines = gzip.decompress((inputs / "raw.jsonl.gz").read_bytes()).splitlines(keepends=True)[:12]
    store.put("few.jsonl", b"".join(lines))
    common = [f"--raw={store.root}/few.jsonl", "--direct_num_workers=1", *store.flags]
    assert embed.run([*common, f"--work_dir={store.root}/few.work", f"--embedding_model={small_transformer}"]) == 0
    flags = [
        *common,
        f"--target={store.root}/few.jsonl",
        f"--raw_embeddings={store.root}/few.work/embeddings/raw",
        f"--target_embeddings={store.root}/few.work/embeddings/raw",
        f"--gmm_checkpoint_dir={store.root}/checkpoints",
        "--num_to_sample=3",
        "--min_example_length=0",
        "--raw_components=2",
        "--target_components=1",
        "--gmm_max_iter=2",
    ]
    more = ["--embedding_dim=4", "--weight_scaling=standardize", "--raw_max_samples=8", "--compression=gzip"]
    assert select.run([*flags, *more, f"--output={store.root}/more"]) == 0
    made = store.contents("more.work")
    stages = [
        "counts/raw",
        "counts/target",
        "documents",
        "embeddings/raw",
        "embeddings/target",
        "gmm/raw",
        "gmm/target-0",
        "gmm_weights",
        "ngram",
        "ngram_weights",
        "projection",
        "scores",
    ]
    assert sorted(name for name in made if name.endswith("manifest.json")) == [
        f"{one}/_manifest.json" for one in stages
    ]
    assert len(gzip.decompress(store.contents("more")["part-00000-of-00001.jsonl.gz"]).splitlines()) == 3
    assert any(name.startswith("raw/") for name in store.contents("checkpoints"))
    given = [f"--raw_gmm={store.root}/more.work/gmm/raw.npz", f"--target_gmm={store.root}/more.work/gmm/target-0.npz"]
    assert select.run([*flags, *given, f"--output={store.root}/given", "--weight_scaling=standardize"]) == 0
    assert json.loads(store.contents("given")["manifest.json"])["counts"]["selected"] == 3
    work = [f"--work_dir={store.root}/given.work", "--direct_num_workers=1", "--min_example_length=0", *store.flags]
    flags = [f"--output={store.root}/resampled", "--num_to_sample=2", "--skip_duplicates"]
    assert resample.run([*work, *flags]) == 0
    assert json.loads(store.contents("resampled")["manifest.json"])["counts"]["selected"] == 2
    assert "duplicates/_manifest.json" in store.contents("given.work")


def message_of(capsys, *argv):
    assert select.run(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error.removeprefix("hir select: error: ").rstrip("\n")


def test_what_is_missing_is_one_line(store, capsys):
    flags = ["--num_to_sample=1", "--alpha=1", *store.flags]
    store.put("few/a.jsonl", b"{}")
    target, output = f"--target={store.root}/target.jsonl", f"--output={store.root}/new"

    def message(*changed):
        return message_of(capsys, target, output, *flags, *changed)

    assert message("--raw=s3://no-such-bucket/a.jsonl").startswith("--raw: s3://no-such-bucket cannot be reached: ")
    assert message("--raw=s3://data/nothing-*") == "--raw: no file matches s3://data/nothing-*"
    assert message("--raw=s3://data/nothing").endswith("no file matches s3://data/nothing")
    assert message("--raw=s3://data") == "--raw: s3://data is a whole bucket; name a file or folder in it"
    assert message("--raw=s3://data/few").endswith("name the files in it, such as s3://data/few/*.jsonl")
    raw = f"--raw={store.root}/raw.jsonl.gz"
    assert "there is no such bucket" in message(raw, "--output=s3://no-such-bucket/out")
    assert "must not hold any of" in message(raw, "--output=s3://data/out*")
    assert "cannot be reached: Could not connect" in message(raw, f"--s3_endpoint_url=http://127.0.0.1:{free_port()}")


def test_missing_credentials_and_a_missing_extra_are_one_line(store, capsys, monkeypatch):
    without_credentials(monkeypatch)
    flags = [f"--raw={store.root}/raw.jsonl.gz", f"--target={store.root}/target.jsonl", f"--output={store.root}/new"]
    message = message_of(capsys, *flags, "--num_to_sample=1", store.flags[0], "--s3_region_name=us-east-1")
    assert "Unable to locate credentials" in message
    monkeypatch.setitem(sys.modules, "boto3", None)
    message = message_of(capsys, *flags, "--num_to_sample=1")
    assert message == "--raw: s3:// needs boto3, not installed here: pip install 'hir-beam[aws]'"


def test_the_empty_objects_that_stand_for_folders_are_no_files(store):
    store.put("shown/", b"")
    store.put("shown/a.jsonl", b"{}\n")
    assert [file.path for file in list_files([f"{store.root}/shown/*"], flag="--raw")] == [
        f"{store.root}/shown/a.jsonl"
    ]
    assert storage.list_folder(f"{store.root}/shown") == [f"{store.root}/shown/a.jsonl"]
    storage.remove_folder(f"{store.root}/shown")
    assert not store.contents("shown")


def test_a_copy_that_fails_is_an_error(store):
    with pytest.raises(S3ClientError):
        object_stores.copy(f"{store.root}/nothing", f"{store.root}/copy")


class BreaksOff(io.RawIOBase):
    """Sixteen megabytes of a file, and then no more."""

    def __init__(self, error):
        self._left, self._error = 16 << 20, error

    def readable(self):
        return True

    def read(self, size=-1):
        if size > self._left:
            raise self._error
        self._left -= size
        return bytes(size)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("broken")])
def test_an_upload_that_breaks_off_leaves_nothing(store, error):
    filesystem = object_stores.filesystem(store.root)
    assert isinstance(filesystem, SharedS3FileSystem)
    with pytest.raises(type(error)):
        filesystem.upload(cast(BinaryIO, BreaksOff(error)), f"{store.root}/broken/object")
    assert not store.contents("broken")


def test_objects_of_any_size_are_written_and_read(store):
    for size in (0, 1, 20 << 20):  # the last one in parts
        content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        path = f"{store.root}/sizes/{size}"
        storage.write_bytes(path, content)
        assert storage.read_bytes(path) == store.contents("sizes")[str(size)] == content
        assert storage.size_and_time(path)[0] == size
    with pytest.raises(UserError, match=r"^cannot read s3://data/sizes: "):  # names that begin with it are others
        storage.size_and_time(f"{store.root}/sizes")


def test_a_process_makes_one_client(store, monkeypatch):
    filesystems = [object_stores.filesystem(store.root) for _ in range(3)]
    assert len({id(one.client.client) for one in filesystems if isinstance(one, SharedS3FileSystem)}) == 1
    storage.write_bytes(f"{store.root}/one/object", b"content")
    monkeypatch.setattr(boto3_client, "boto3", None)  # no more can be made
    assert storage.read_bytes(f"{store.root}/one/object") == b"content"
    assert storage.exists(f"{store.root}/one/object")
    object_stores.copy(f"{store.root}/one/object", f"{store.root}/one/copy")
    assert storage.size_and_time(f"{store.root}/one/copy")[0] == 7
    storage.remove_folder(f"{store.root}/one")
    assert not store.contents("one")


def test_readers_of_one_client_do_not_share_their_places(store):
    for name in ("a", "b"):
        storage.write_bytes(f"{store.root}/two/{name}", name.encode() * (17 << 20))
    with storage.open_raw(f"{store.root}/two/a") as a, storage.open_raw(f"{store.root}/two/b") as b:
        for _ in range(17):
            assert (a.read(1 << 20), b.read(1 << 20)) == (b"a" * (1 << 20), b"b" * (1 << 20))
