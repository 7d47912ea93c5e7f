"""Rows of a batch as Python mappings, for foreign code that wants them; a column is converted when a row is first asked for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import pyarrow as pa


class LazyColumns:
    """Columns of a batch that become Python values only if somebody looks."""

    def __init__(self, columns: dict[str, pa.Array]) -> None:
        self.columns = columns
        self._values: dict[str, list[Any]] = {}

    def value(self, name: str, row: int) -> Any:
        """One value of a column.

        Raises:
            KeyError: There is no such column.
        """
        values = self._values.get(name)
        if values is None:
            values = self._values[name] = self.columns[name].to_pylist()
        return values[row]


class RowMetadata(MutableMapping[str, Any]):
    """A row that reads through to its columns; what is written or deleted concerns the row alone."""

    __slots__ = ("_columns", "_gone", "_row", "_written")

    def __init__(self, columns: LazyColumns, row: int) -> None:
        self._columns, self._row = columns, row
        self._written: dict[str, Any] = {}
        self._gone: frozenset[str] = frozenset()

    def __getitem__(self, key: str) -> Any:
        if key in self._written:
            return self._written[key]
        if key in self._gone:
            raise KeyError(key)
        return self._columns.value(key, self._row)

    def __setitem__(self, key: str, value: Any) -> None:
        self._written[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._written.pop(key, None)
        self._gone |= {key}

    def __contains__(self, key: object) -> bool:
        return key in self._written or (key in self._columns.columns and key not in self._gone)

    def __iter__(self) -> Iterator[str]:
        own = (name for name in self._columns.columns if name not in self._written and name not in self._gone)
        return iter([*own, *self._written])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}
