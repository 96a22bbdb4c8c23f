import bz2
import gzip
import io
import lzma
import zipfile

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.file_kinds import require_text
from hir_transforms.documents.read_tasks import plan_tasks
from hir_transforms.documents.reading import DocumentReader
from tests.helpers.corpora import jsonl

LINES = jsonl(["one", "two"])
TABLE = pa.table({"text": ["one", "two"]})


def written(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def zipped(buffer):
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.jsonl", LINES)


def arrow(new_writer):
    def write(buffer):
        with new_writer(buffer, TABLE.schema) as writer:
            writer.write_table(TABLE)

    return write


def avro(buffer):
    schema = {"type": "record", "name": "Line", "fields": [{"name": "text", "type": "string"}]}
    fastavro.writer(buffer, schema, TABLE.to_pylist())


OTHERS = {
    "gzip": (gzip.compress(LINES), "compressed with gzip; name it .gz"),
    "bzip2": (bz2.compress(LINES), "compressed with bzip2; name it .bz2"),
    "empty bzip2": (bz2.compress(b""), "compressed with bzip2; name it .bz2"),
    "xz": (lzma.compress(LINES), "compressed with xz; name it .xz"),
    "zstandard": (zstandard.compress(LINES), "compressed with zstandard; name it .zst"),
    "zip": (written(zipped), "a zip archive; unpack it"),
    "empty zip": (written(lambda buffer: zipfile.ZipFile(buffer, "w").close()), "a zip archive; unpack it"),
    "Parquet": (written(lambda buffer: pq.write_table(TABLE, buffer)), "a Parquet file; name it .parquet"),
    "Arrow file": (written(arrow(pa.ipc.new_file)), "an Arrow file; name it .arrow"),
    "Arrow stream": (written(arrow(pa.ipc.new_stream)), "an Arrow file; name it .arrow"),
    "Avro": (written(avro), "an Avro file; convert it to JSON lines"),
    "NumPy": (written(lambda buffer: np.save(buffer, np.zeros(3))), "a NumPy array, not text"),
    "UTF-16": (LINES.decode().encode("utf-16"), "text in UTF-16; convert it to UTF-8"),
}


@pytest.mark.parametrize(("content", "kind"), OTHERS.values(), ids=OTHERS)
def test_another_format_is_named(tmp_path, content, kind):
    with pytest.raises(UserError, match=f"^/data/a.jsonl is {kind}$"):
        require_text("/data/a.jsonl", content)
    for name, stored in {"a.jsonl": content, "b.jsonl.gz": gzip.compress(content)}.items():
        (tmp_path / name).write_bytes(stored)
        dataset = Dataset("raw", (str(tmp_path / name),))
        with pytest.raises(UserError, match=f"{name} is {kind}"):
            list(DocumentReader(dataset).read(next(plan_tasks(dataset.list_files()))))


@pytest.mark.parametrize("content", [LINES, b"\xef\xbb\xbf" + LINES, b"", b"\n", b"[1]", b"PK", b"BZh", b"\xff\n"])
def test_what_may_be_lines_is_not(content):
    require_text("/data/a.jsonl", content)
