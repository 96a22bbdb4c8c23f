"""Rows of tables as JSON lines."""

import msgspec
import pyarrow as pa

from hir_transforms.common.errors import UserError

_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode_lines


def to_json_lines(rows: pa.Table, path: str) -> bytes:
    """The rows of a file as JSON objects, a line each, that hold all columns.

    Timestamps, dates and times become texts such as `2020-01-31 12:00:00.123456789`, durations numbers of their unit,
    decimals numbers of all their digits, binary values Base64, maps lists of pairs, and numbers that JSON has none of
    (NaN, infinities) null.

    Raises:
        UserError: for a text that is not UTF-8.
    """
    schema = pa.schema([field.with_type(_json_type(field.type)) for field in rows.schema])
    try:
        return _encode(rows.cast(schema).to_pylist())
    except UnicodeDecodeError:
        raise UserError(
            f"{path}: a selected row has a text that is not UTF-8, which JSON cannot hold; --output_format parquet can"
        ) from None


def _json_type(type_: pa.DataType) -> pa.DataType:
    """The type to cast to before Python, which has none for nanoseconds, is asked for values."""
    types = pa.types
    if types.is_timestamp(type_) or types.is_date(type_) or types.is_time(type_):
        return pa.string()
    if types.is_duration(type_):
        return pa.int64()
    if types.is_struct(type_):
        return pa.struct([field.with_type(_json_type(field.type)) for field in type_])
    if types.is_map(type_):
        return pa.map_(_json_type(type_.key_type), _json_type(type_.item_type))
    if types.is_list(type_) or types.is_large_list(type_):
        return (pa.list_ if types.is_list(type_) else pa.large_list)(
            type_.value_field.with_type(_json_type(type_.value_type))
        )
    if types.is_fixed_size_list(type_):
        return pa.list_(type_.value_field.with_type(_json_type(type_.value_type)), type_.list_size)
    if types.is_dictionary(type_) and _json_type(type_.value_type) != type_.value_type:
        return _json_type(type_.value_type)
    return type_
