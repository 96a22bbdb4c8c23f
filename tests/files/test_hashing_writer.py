import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms.files.hashing_writer import HashingWriter


def test_what_passes_is_counted_and_hashed():
    file = io.BytesIO()
    writer = HashingWriter(file)
    writer.write(b"ab")
    pq.write_table(pa.table({"a": [1]}), writer)  # which asks for more of a file than to write
    written = file.getvalue()
    assert written.startswith(b"abPAR1")
    assert (writer.bytes, writer.sha256.hexdigest()) == (len(written), hashlib.sha256(written).hexdigest())
