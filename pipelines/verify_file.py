"""One file of a version: is it there, with the bytes, rows, columns and tokens that its table says.

Owns the reading: bytes are hashed, footers parsed, tokens added up. Memory holds a few blocks a thread.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.checks import Problem
from pipelines.errors import InputError, NotFound, StorageError, shown
from pipelines.objectfile import opened_parquet
from pipelines.storage import ObjectInfo, Store

NUM_THREADS: Final = 8
HASH_BLOCK_BYTES: Final = 8 << 20
FOOTER_BLOCK_BYTES: Final = 256 << 10
FILES_AT_ONCE: Final = 1024
PARQUET_ERRORS: Final = (pa.ArrowException, OSError, ValueError)

Columns = list[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a file must look: its columns (name, type, nullable), whether more may follow them, and whether its tokens are counted."""

    columns: Columns
    may_have_more: bool = False
    counts_tokens: bool = False


@dataclass(frozen=True, slots=True)
class Expected:
    """What a table says of one of its files. `tokens` is None where there are none to count."""

    path: str
    rows: int
    bytes: int
    sha256: str
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """What a file is: the problems found, and the rows that its footer says, 0 where that cannot be read."""

    problems: tuple[Problem, ...]
    rows: int = 0


def look(store: Store, expected: Expected, shape: Shape) -> Looked:
    """Compare a file with what its table says of it: size, bytes, rows, columns, tokens."""
    path = expected.path
    problems: list[Problem] = []
    try:
        info = store.info(path)
        problems += _bytes_problems(store, info, expected)
        with opened_parquet(store, path, block_bytes=FOOTER_BLOCK_BYTES, num_ahead=0) as file:
            rows = int(file.metadata.num_rows)
            problems += _footer_problems(file, expected, shape)
    except NotFound:
        return Looked((Problem(path, f"it is missing; expected {expected.bytes} bytes with {expected.rows} rows; restore it from a copy"),))
    except InputError as error:
        return Looked((Problem(path, error.message),))
    except StorageError:
        raise
    except PARQUET_ERRORS as error:
        # That the bytes are others says it already.
        return Looked(tuple(problems) or (Problem(path, f"it cannot be read as Parquet: {shown(error)}; restore it from a copy"),))
    return Looked(tuple(problems), rows)


def _bytes_problems(store: Store, info: ObjectInfo, expected: Expected) -> Iterator[Problem]:
    if info.size != expected.bytes:
        yield Problem(info.path, f"it has {info.size} bytes, expected {expected.bytes}; restore it from a copy")
        return
    state = hashlib.sha256()
    for start in range(0, info.size, HASH_BLOCK_BYTES):
        state.update(store.read_range(info.path, start, min(start + HASH_BLOCK_BYTES, info.size), etag=info.etag))
    found = state.hexdigest()
    if found != expected.sha256:
        yield Problem(info.path, f"its sha256 is {found}, expected {expected.sha256}: its bytes were changed; restore it from a copy")


def _footer_problems(file: pq.ParquetFile, expected: Expected, shape: Shape) -> Iterator[Problem]:
    if file.metadata.num_rows != expected.rows:
        yield Problem(expected.path, f"its footer says {file.metadata.num_rows} rows, its table {expected.rows}")
    found = [(column.name, stored_type(str(column.type)), bool(column.nullable)) for column in file.schema_arrow]
    columns = shape.columns
    if (found[: len(columns)] if shape.may_have_more else found) != columns:
        yield Problem(expected.path, f"its columns are {shown(_told(found, columns))}, expected {shown(_told(columns, found))}")
        return
    tokens = _tokens(file) if shape.counts_tokens else expected.tokens
    if tokens != expected.tokens:
        yield Problem(expected.path, f"its num_tokens add up to {tokens}, its table says {expected.tokens}")


def _told(columns: Columns, others: Columns) -> str:
    """Columns that the others have not; all, where only the order differs."""
    different = [column for column in columns if column not in others] or columns
    return ", ".join(f"{name} ({kind}{'' if nullable else ', not null'})" for name, kind, nullable in different) or "none"


def _tokens(file: pq.ParquetFile) -> int | None:
    position = file.schema_arrow.get_field_index("num_tokens")
    if position < 0 or not pa.types.is_integer(file.schema_arrow.field(position).type):
        return None
    batches = (file.read_row_group(group, ["num_tokens"], use_threads=False) for group in range(file.num_row_groups))
    return sum(pc.sum(batch.column("num_tokens")).as_py() or 0 for batch in batches)


def stored_type(name: str) -> str:
    """The name of a type as Parquet gives it back: it renames what lists hold, and knows neither seconds nor 64-bit dates."""
    name = re.sub(r"(list(?:_view)?)<[^:<>]*: ", r"\1<element: ", name)
    name = re.sub(r" \('[^']*'\)>", ">", name)
    return name.replace("timestamp[s", "timestamp[ms").replace("time32[s]", "time32[ms]").replace("date64[ms]", "date32[day]")


def look_at_all(store: Store, files: Iterable[Expected], shape: Shape) -> Iterator[Looked]:
    """Look at files, several at a time, in order."""
    remaining = iter(files)
    one = partial(look, store, shape=shape)
    with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="verify") as pool:
        while chunk := list(islice(remaining, FILES_AT_ONCE)):
            yield from pool.map(one, chunk)
