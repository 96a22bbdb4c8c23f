"""What a file is, by its first bytes, where it is not JSON lines."""

import re

from hir_transforms.common.errors import UserError

_DECOMPRESS = "compressed with {}; name it .{}"
_KINDS = (
    (rb"\x1f\x8b\x08", _DECOMPRESS.format("gzip", "gz")),
    (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", _DECOMPRESS.format("bzip2", "bz2")),
    (rb"\xfd7zXZ\x00", _DECOMPRESS.format("xz", "xz")),
    (rb"\x28\xb5\x2f\xfd", _DECOMPRESS.format("zstandard", "zst")),
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)", "a zip archive; unpack it"),
    (rb"PAR1", "a Parquet file; name it .parquet"),
    (rb"ARROW1\x00\x00|\xff\xff\xff\xff.{3}\x00", "an Arrow file; name it .arrow"),
    (rb"Obj\x01", "an Avro file; convert it to JSON lines"),
    (rb"\x93NUMPY", "a NumPy array, not text"),
    (rb"\xff\xfe|\xfe\xff", "text in UTF-16; convert it to UTF-8"),
)
_PATTERNS = [(re.compile(pattern, re.DOTALL), kind) for pattern, kind in _KINDS]


def require_text(path: str, first_bytes: bytes) -> None:
    """Raises `UserError` for the content of a file (uncompressed) that begins like that of another format."""
    for pattern, kind in _PATTERNS:
        if pattern.match(first_bytes):
            raise UserError(f"{path} is {kind}")
