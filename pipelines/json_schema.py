"""The columns of JSON lines: their types from all lines that parse.

Owns inference. Integers are int64 (beyond it double), integers among floating-point numbers double, strings stay strings whatever they
look like. Where kinds conflict the first wins; lines of the other are told when they are read. A field that only ever holds empty objects,
or lies deeper than 32 levels, has no Parquet type and is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json as pj

from pipelines.columns import unified_schema
from pipelines.jsonlines import Lines

MAX_DEPTH = 32
SLOW_LINES = 64
# pyarrow builds types recursively: a line nested 100,000 deep overflows its stack.
MAX_OPENED = 400

Kind = Any  # "null", "bool", "int", "float", "str", ["list", Kind], or {name: Kind}


def inferred_schema(lines: Lines, text_column: str) -> pa.Schema:
    """The columns of a block's lines."""
    found: list[pa.Schema] = []
    safe = _safe_lines(lines)
    pending = [(0, len(lines))] if safe.all() else [(index, index + 1) for index in range(len(lines))]
    pending.reverse()
    while pending:
        first, stop = pending.pop()
        schema = _parsed_schema(lines, first, stop) if safe[first:stop].all() else None
        if schema is not None:
            found.append(schema)
        elif stop - first <= SLOW_LINES:
            found.append(_slow_schema(lines, first, stop))
        else:
            middle = (first + stop) // 2
            pending += [(middle, stop), (first, middle)]
    return unified_schema(dict.fromkeys(found), text_column)


def _safe_lines(lines: Lines) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which lines cannot be nested deeper than MAX_OPENED, by the number of brackets that they open."""
    if lines.data.count(b"[") + lines.data.count(b"{") <= MAX_OPENED or not len(lines):
        return np.ones(len(lines), dtype=np.bool_)
    octets = np.frombuffer(lines.data, dtype=np.uint8)
    opened = np.add.reduceat((octets == 0x5B) | (octets == 0x7B), lines.starts, dtype=np.int64)
    safe: np.ndarray[Any, np.dtype[np.bool_]] = opened <= MAX_OPENED
    return safe


def _parsed_schema(lines: Lines, first: int, stop: int) -> pa.Schema | None:
    if stop == first:
        return pa.schema([])
    span = lines.span(first, stop)
    try:
        table = pj.read_json(pa.BufferReader(span), read_options=pj.ReadOptions(use_threads=False, block_size=len(span) + 1))
        types = {field.name: json_type(field.type) for field in table.schema}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
        return None
    return pa.schema([pa.field(name, kind) for name, kind in types.items() if kind is not None])


def json_type(kind: pa.DataType, depth: int = 0) -> pa.DataType | None:
    """The type that a column is read with, for a type that pyarrow inferred; None: left out."""
    if depth > MAX_DEPTH:
        return None
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        item = json_type(kind.value_type, depth + 1)
        return None if item is None else pa.list_(item)
    if pa.types.is_struct(kind):
        children = [(child.name, json_type(child.type, depth + 1)) for child in kind]
        kept = [pa.field(name, child) for name, child in children if child is not None]
        return pa.struct(kept) if kept else None
    return kind


def _slow_schema(lines: Lines, first: int, stop: int) -> pa.Schema:
    """The columns of a few lines of which some do not parse or do not agree."""
    columns: dict[str, Kind] = {}
    for index in range(first, stop):
        try:
            value = orjson.loads(lines.line(index))
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            columns = _merged(columns, _kind(value, 0))
    types = {name: _type(kind) for name, kind in columns.items()}
    return pa.schema([pa.field(name, kind) for name, kind in types.items() if kind is not None])


def _kind(value: Any, depth: int) -> Kind:
    if value is None:
        return "null"
    if depth > MAX_DEPTH + 1:
        return {}
    if isinstance(value, dict):
        return {name: _kind(child, depth + 1) for name, child in value.items()}
    if isinstance(value, list):
        item: Kind = "null"
        for child in value:
            item = _merged(item, _kind(child, depth + 1))
        return ["list", item]
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -(2**63) <= value < 2**63 else "float"
    return "float" if isinstance(value, float) else "str"


def _merged(first: Kind, second: Kind) -> Kind:
    if first == "null":
        return second
    if isinstance(first, dict) and isinstance(second, dict):
        return first | {name: _merged(first[name], kind) if name in first else kind for name, kind in second.items()}
    if isinstance(first, list) and isinstance(second, list):
        return ["list", _merged(first[1], second[1])]
    return "float" if (first, second) == ("int", "float") else first


def _type(kind: Kind, depth: int = 0) -> pa.DataType | None:
    if depth > MAX_DEPTH:
        return None
    if isinstance(kind, dict):
        children = {name: _type(child, depth + 1) for name, child in kind.items()}
        kept = [pa.field(name, child) for name, child in children.items() if child is not None]
        return pa.struct(kept) if kept else None
    if isinstance(kind, list):
        item = _type(kind[1], depth + 1)
        return None if item is None else pa.list_(item)
    return {"null": pa.null(), "bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "str": pa.string()}[kind]
