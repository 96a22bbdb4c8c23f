"""Object stores as servers on this machine, filled and read with their own clients rather than Beam's."""

import contextlib
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
from moto.server import ThreadedMotoServer

from hir_transforms.artifacts.runs import RUNS
from hir_transforms.commands.docstring_corpus import write_corpus
from tests.helpers.ports import free_port


class S3:
    """A bucket on an S3 server.

    Attributes:
        flags: of Beam, to reach it.
    """

    def __init__(self, endpoint: str, bucket: str) -> None:
        self.bucket = bucket
        self.root = f"s3://{bucket}"
        self.flags = [
            f"--s3_endpoint_url={endpoint}",
            "--s3_access_key_id=key",
            "--s3_secret_access_key=secret",
            "--s3_region_name=us-east-1",
        ]
        self._client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )
        self._client.create_bucket(Bucket=bucket)

    def upload(self, path: Path) -> str:
        """Puts a file at the top of the bucket; returns its URL."""
        self.put(path.name, path.read_bytes())
        return f"{self.root}/{path.name}"

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.bucket, Key=key)

    def contents(self, folder: str) -> dict[str, bytes]:
        """Content by key below a folder of the bucket, but for what tells how long runs took."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{folder}/")
        found = [one["Key"] for page in pages for one in page.get("Contents", [])]
        keys = [key for key in found if not key.endswith(RUNS)]
        return {
            key[len(folder) + 1 :]: self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys
        }


def write_inputs(folder: Path) -> None:
    """raw.jsonl.gz, target.jsonl, raw.npy and target.npy: 100 and 20 documents with rows of eight numbers."""
    raw, target = write_corpus(folder / "corpus", {"numpy": 60, "scikit-learn": 40}, 20)
    (folder / "raw.jsonl.gz").write_bytes(gzip.compress(raw.read_bytes()))
    (folder / "target.jsonl").write_bytes(target.read_bytes())
    rng = np.random.default_rng(0)
    np.save(folder / "raw.npy", rng.normal(size=(100, 8)).astype(np.float32))
    np.save(folder / "target.npy", rng.normal(size=(20, 8)).astype(np.float32))


def arguments(root: Path | str, output: str, *flags: str, workers: int = 1) -> list[str]:
    """Flags of a selection from these inputs, in the folder or bucket that holds them."""
    return [
        f"--raw={root}/raw.jsonl.gz",
        f"--target={root}/target.jsonl",
        f"--raw_embeddings={root}/raw.npy",
        f"--target_embeddings={root}/target.npy",
        f"--output={root}/{output}",
        f"--direct_num_workers={workers}",
        "--num_to_sample=10",
        "--raw_components=4",
        "--target_components=2",
        "--gmm_max_iter=3",
        *flags,
    ]


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """The endpoint of a server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def without_credentials(monkeypatch) -> None:
    """Hides whatever credentials of AWS this machine has."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
