"""JSON lines become batches, and the lines that cannot are told why.

Owns parsing with a given schema and the diagnosis of bad lines. Good blocks are parsed whole by pyarrow; only in a block that holds bad
lines are they sought, by bisection. A line's fate is that of the line alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
import pyarrow as pa
import pyarrow.json as pj

from pipelines.errors import shown
from pipelines.jsonlines import Lines

TWICE = "was specified twice"


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no document."""

    error: str
    message: str
    id: str | None


@dataclass(frozen=True, slots=True)
class JsonReader:
    """Parses lines into batches of `schema`; fields that it does not name are ignored."""

    schema: pa.Schema
    text_column: str
    id_column: str | None

    def parse(self, lines: Lines, first: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch | BadLine]]:
        """Batches and bad lines of some lines, in order, each with its first line."""
        pending = [(first, stop)]
        while pending:
            first, stop = pending.pop()
            if first == stop:
                continue
            batch = self._batch(lines.span(first, stop), stop - first) if lines.framed[first:stop].all() else None
            if batch is not None:
                yield first, batch
            elif stop - first == 1:
                yield first, self._one(lines.line(first))
            else:
                middle = (first + stop) // 2
                pending += [(middle, stop), (first, middle)]

    def _batch(self, span: memoryview, num_lines: int) -> pa.RecordBatch | None:
        """The lines as one batch, or None where any of them is not exactly one object that fits the schema."""
        try:
            table = self._table(span)
            # Several objects on one line, or a NUL that pyarrow takes for the end, give another number of rows.
            return _single_batch(table, self.schema) if table.num_rows == num_lines else None
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
            return None

    def _table(self, span: memoryview | bytes) -> pa.Table:
        return pj.read_json(
            pa.BufferReader(span),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(span) + 1),
            parse_options=pj.ParseOptions(explicit_schema=self.schema, unexpected_field_behavior="ignore"),
        )

    def _one(self, line: bytes) -> pa.RecordBatch | BadLine:
        """A line that did not parse with others: its row, or why it is bad."""
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            return self._not_json(line)
        if not isinstance(value, dict):
            return BadLine("schema_mismatch", f"a line holds a JSON {_name(value)} where an object was expected", None)
        reason = self._reason(line)
        if TWICE in reason and (batch := self._batch(memoryview(orjson.dumps(value)), 1)) is not None:
            return batch  # a name given twice: the last value counts, as in most JSON parsers
        text = value.get(self.text_column)
        if text is not None and not isinstance(text, str):
            message = f"field {self.text_column!r} is a JSON {_name(text)}; text must be a string"
            return BadLine("text_not_string", message, self._id(value))
        return BadLine("schema_mismatch", reason, self._id(value))

    def _reason(self, line: bytes) -> str:
        try:
            self._table(line)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            return shown(str(error).removeprefix("JSON parse error: ").removesuffix(" in row 0"))
        return "the line does not hold exactly one object"

    def _not_json(self, line: bytes) -> BadLine:
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            return BadLine("invalid_utf8", f"the line holds a byte that is not UTF-8 at {error.start}", None)
        except json.JSONDecodeError as error:
            return BadLine("invalid_json", f"{error.msg} at character {error.pos} of the line", None)
        except (RecursionError, ValueError):
            return BadLine("invalid_json", "the line is nested too deeply or holds a number too long", None)
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except (UnicodeEncodeError, RecursionError):
            return BadLine("invalid_utf8", "a string holds a lone surrogate, which no UTF-8 can express", self._id(value))
        return BadLine(
            "invalid_json", "a number is NaN or beyond the range of floating-point numbers, or nesting is too deep", self._id(value)
        )

    def _id(self, value: object) -> str | None:
        found = value.get(self.id_column) if isinstance(value, dict) and self.id_column is not None else None
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            return None
        return str(found).encode("utf-8", "replace").decode("utf-8")


def _single_batch(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    columns = [table.column(name) for name in schema.names]
    arrays = [column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _name(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
