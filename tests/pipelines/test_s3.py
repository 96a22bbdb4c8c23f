"""Every stage with input, work folder and output on S3, over a real S3 server, against the same on a local disk."""

import gzip
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import embed, select
from pipelines.docstring_corpus import write_corpus
from tests.helpers.object_stores import S3, free_port, local_contents, s3_server, without_credentials

SIZES = {"scipy": 30, "numpy": 30, "scikit-learn": 40}
SETTINGS = ["--num_to_sample=10", "--raw_components=4", "--target_components=2", "--gmm_max_iter=3"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with raw.jsonl.gz, target.jsonl, raw.npy and target.npy."""
    folder = tmp_path_factory.mktemp("s3")
    raw, target = write_corpus(folder / "corpus", SIZES, 20)
    (folder / "raw.jsonl.gz").write_bytes(gzip.compress(raw.read_bytes()))
    (folder / "target.jsonl").write_bytes(target.read_bytes())
    rng = np.random.default_rng(0)
    np.save(folder / "raw.npy", rng.normal(size=(100, 8)).astype(np.float32))
    np.save(folder / "target.npy", rng.normal(size=(20, 8)).astype(np.float32))
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


def arguments(root, output, *flags, workers=1):
    return [
        f"--raw={root}/raw.jsonl.gz",
        f"--target={root}/target.jsonl",
        f"--raw_embeddings={root}/raw.npy",
        f"--target_embeddings={root}/target.npy",
        f"--output={root}/{output}",
        f"--direct_num_workers={workers}",
        *SETTINGS,
        *flags,
    ]


def comparable(contents, root):
    """What must not depend on where the files are: content, with the root of all paths taken out."""
    result = {}
    for name, data in contents.items():
        if name.endswith(".parquet"):
            table = pq.read_table(pa.BufferReader(data)).to_pydict()
            table["file"] = [path.removeprefix(f"{root}/") for path in table["file"]]
            result[name] = table
        else:
            result[name] = data.replace(f"{root}/".encode(), b"")
    return result


def test_the_selection_is_that_of_a_local_run_byte_for_byte(store, inputs):
    assert select.run(arguments(inputs, "out")) == 0
    assert select.run(arguments(store.root, "out", *store.flags, workers=2)) == 0
    on_s3, local = store.contents("out"), local_contents(inputs / "out")
    assert on_s3["part-00000-of-00001.jsonl"] == local["part-00000-of-00001.jsonl"]
    assert comparable(on_s3, store.root) == comparable(local, inputs)
    made_on_s3, made = store.contents("out.work"), local_contents(inputs / "out.work")
    assert made_on_s3.keys() == made.keys()
    for name in ("ngram/estimator.npz", "gmm/raw.npz", "gmm/target-0.npz"):
        assert made_on_s3[name] == made[name]
    assert not store.contents("out.incomplete")
