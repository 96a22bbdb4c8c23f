"""What every result is: a folder with a manifest and a table."""

import html
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms.common.extras import require_extra
from hir_transforms.files import storage


@dataclass(frozen=True, repr=False)
class Result(ABC):
    """A finished result; what it holds is read from its folder when it is asked for.

    Attributes:
        folder: where it is, on any file system.
    """

    folder: str

    @property
    @abstractmethod
    def manifest(self) -> dict[str, Any]:
        """What the result was made of, its settings, and what was counted; raises `UserError` if it is gone."""

    @property
    @abstractmethod
    def table(self) -> pa.Table:
        """A row for each document; raises `UserError` if it is gone."""

    @property
    def counts(self) -> dict[str, Any]:
        """What was counted, by name."""
        return self.manifest["counts"]

    def to_pandas(self) -> Any:
        """`table` as a `pandas.DataFrame`; raises `UserError` where pandas is not installed."""
        require_extra("pandas", "to_pandas()")
        return self.table.to_pandas()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.folder!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the folder, and the counts that are numbers."""
        numbers = {name: value for name, value in self.counts.items() if isinstance(value, int)}
        return f"<p><code>{html.escape(self.folder)}</code></p>{html_table(numbers)}"


def html_table(values: Mapping[str, int]) -> str:
    """A table of two columns, names and numbers."""
    rows = (f"<tr><th>{html.escape(name)}</th><td>{value:,}</td></tr>" for name, value in values.items())
    return f"<table>{''.join(rows)}</table>"


def read_tables(paths: Iterable[str]) -> pa.Table:
    """The rows of Parquet files of the same columns, one after the other."""
    tables = []
    for path in paths:
        with storage.open_raw(path) as raw, pq.ParquetFile(raw) as file:
            tables.append(file.read())
    return pa.concat_tables(tables)
