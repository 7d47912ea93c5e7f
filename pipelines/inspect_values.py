"""Values of columns as they are shown: plain ones of JSON, bounded, whatever the column holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

MAX_ITEMS: Final = 20
"""Elements of a list that are shown: a column of token ids has thousands."""


@dataclass(frozen=True, slots=True)
class Many:
    """The first elements of a longer list."""

    first: tuple[Any, ...]
    count: int


def value_of(scalar: pa.Scalar) -> Any:
    """A value of a column: None, bool, int, float, str, a list, a mapping, or `Many`."""
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_dictionary(kind):
        return value_of(scalar.value)
    if pa.types.is_struct(kind):
        return {field.name: value_of(scalar[position]) for position, field in enumerate(kind)}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_map(kind):
        return _list(scalar.values)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return text_of(scalar)
    found = scalar.as_py()
    if isinstance(found, bytes):
        return found.hex()
    return found if isinstance(found, bool | int | float | str) else str(found)


def _list(values: pa.Array) -> list[Any] | Many:
    first = [value_of(value) for value in values[:MAX_ITEMS]]
    return first if len(values) <= MAX_ITEMS else Many(tuple(first), len(values))


def text_of(scalar: pa.Scalar) -> str | None:
    """A text, whatever bytes it is made of."""
    if not scalar.is_valid:
        return None
    raw = scalar.as_buffer()
    return "" if raw is None else raw.to_pybytes().decode("utf-8", "replace")


def as_json(value: Any, max_chars: int | None) -> Any:
    """A value as JSON can hold it: numbers that are none as null, long strings cut, of long lists the first elements and the count."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value if max_chars is None else value[:max_chars]
        case dict():
            return {name: as_json(each, max_chars) for name, each in value.items()}
        case list():
            return [as_json(each, max_chars) for each in value]
        case Many():
            return {"first": as_json(list(value.first), max_chars), "count": value.count}
        case _:
            return value
