"""One file of a version: is it there, with the bytes, rows, columns and tokens that its table says.

Owns the reading: bytes are hashed, footers parsed, tokens and texts counted in the same pass. Memory holds a few blocks and a batch of a
column a thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.checks import Problem
from pipelines.errors import InputError, NotFound, StorageError, shown
from pipelines.hashedfile import HashedFile
from pipelines.objectfile import as_parquet
from pipelines.storage import Store
from pipelines.verify_profile import Counted, ProfileColumns

NUM_THREADS: Final = 8
BLOCK_BYTES: Final = 4 << 20
PIECE_BYTES: Final = 1 << 20
BATCH_BYTES: Final = 8 << 20
TOKENS: Final = "num_tokens"
FILES_AT_ONCE: Final = 1024
PARQUET_ERRORS: Final = (pa.ArrowException, OSError, ValueError)

Columns = list[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a file must look: its columns (name, type, nullable), whether more may follow them, and what in it is counted."""

    columns: Columns
    may_have_more: bool = False
    counts_tokens: bool = False
    profile: ProfileColumns | None = None


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
    """What a file is: the problems found, the rows that its footer says, 0 where that cannot be read, and the profile of its texts."""

    problems: tuple[Problem, ...]
    rows: int = 0
    counted: Counted = field(default_factory=Counted)


def look(store: Store, expected: Expected, shape: Shape) -> Looked:
    """Compare a file with what its table says of it: size, bytes, rows, columns, tokens. Its bytes are fetched once, but for the footer."""
    path = expected.path
    try:
        with HashedFile(store, store.info(path), block_bytes=BLOCK_BYTES, num_ahead=1) as file:
            found, refusal = _read(file, expected, shape)
            problems = [*_bytes_problems(file, expected), *found.problems]
    except NotFound:
        return Looked((Problem(path, f"it is missing; expected {expected.bytes} bytes with {expected.rows} rows; restore it from a copy"),))
    except InputError as error:
        return Looked((Problem(path, error.message),))
    if refusal is not None and not problems:  # that the bytes are others says it already
        problems = [Problem(path, f"it cannot be read as Parquet: {shown(refusal)}; restore it from a copy")]
    return Looked(tuple(problems), found.rows, found.counted)


def _read(file: HashedFile, expected: Expected, shape: Shape) -> tuple[Looked, Exception | None]:
    """What the file says of itself as Parquet, as far as it can be read as that, and why no further."""
    found = Looked(())
    try:
        with as_parquet(file, PIECE_BYTES) as parquet:
            wrong_columns = tuple(_column_problems(parquet, expected, shape))
            found = Looked((*_row_problems(parquet, expected), *wrong_columns), int(parquet.metadata.num_rows))
            if not wrong_columns:
                tokens, counted = _counted(file, parquet, shape)
                wrong_tokens = _token_problems(expected, tokens) if shape.counts_tokens else ()
                found = replace(found, problems=(*found.problems, *wrong_tokens), counted=counted)
    except (InputError, StorageError):
        raise
    except PARQUET_ERRORS as error:
        return found, error
    return found, None


def _bytes_problems(file: HashedFile, expected: Expected) -> Iterator[Problem]:
    if file.size() != expected.bytes:
        yield Problem(expected.path, f"it has {file.size()} bytes, expected {expected.bytes}; restore it from a copy")
        return
    found = file.sha256()
    if found != expected.sha256:
        yield Problem(expected.path, f"its sha256 is {found}, expected {expected.sha256}: its bytes were changed; restore it from a copy")


def _row_problems(file: pq.ParquetFile, expected: Expected) -> Iterator[Problem]:
    if file.metadata.num_rows != expected.rows:
        yield Problem(expected.path, f"its footer says {file.metadata.num_rows} rows, its table {expected.rows}")


def _column_problems(file: pq.ParquetFile, expected: Expected, shape: Shape) -> Iterator[Problem]:
    found = [(column.name, stored_type(str(column.type)), bool(column.nullable)) for column in file.schema_arrow]
    columns = shape.columns
    if (found[: len(columns)] if shape.may_have_more else found) != columns:
        yield Problem(expected.path, f"its columns are {shown(_told(found, columns))}, expected {shown(_told(columns, found))}")


def _token_problems(expected: Expected, tokens: int | None) -> Iterator[Problem]:
    if tokens != expected.tokens:
        yield Problem(expected.path, f"its num_tokens add up to {tokens}, its table says {expected.tokens}")


def _told(columns: Columns, others: Columns) -> str:
    """Columns that the others have not; all, where only the order differs."""
    different = [column for column in columns if column not in others] or columns
    return ", ".join(f"{name} ({kind}{'' if nullable else ', not null'})" for name, kind, nullable in different) or "none"


# --- what is counted: columns one after the other as they lie in the file


def _counted(file: HashedFile, parquet: pq.ParquetFile, shape: Shape) -> tuple[int | None, Counted]:
    """The sum of `num_tokens`, None where there is no such column, and the profile of the texts."""
    position = parquet.schema_arrow.get_field_index(TOKENS) if shape.counts_tokens else -1
    has_tokens = position >= 0 and pa.types.is_integer(parquet.schema_arrow.field(position).type)
    wanted = {"tokens": TOKENS} if has_tokens else {}
    if shape.profile is not None:
        wanted |= {"text": shape.profile.text}
        wanted |= {} if shape.profile.language is None else {"language": shape.profile.language}
    tokens, found = 0, Counted()
    for group in range(parquet.num_row_groups) if wanted else ():
        read = _group(file, parquet, group, wanted)
        tokens += (pc.sum(read["tokens"]).as_py() or 0) if has_tokens else 0
        if shape.profile is not None:
            found.add(read["text"], read.get("language"), shape.profile.told)
    return (tokens if has_tokens else None), found


def _group(file: HashedFile, parquet: pq.ParquetFile, group: int, wanted: Mapping[str, str]) -> dict[str, pa.ChunkedArray]:
    """Columns of a row group by what they are wanted for; of texts only the bytes of each."""
    starts, sizes = _places(parquet, group)
    read = {}
    for what in sorted(wanted, key=lambda what: starts.get(wanted[what], 0)):
        name = wanted[what]
        file.pass_to(starts.get(name, 0))
        rows = max(1, parquet.metadata.row_group(group).num_rows * BATCH_BYTES // max(sizes.get(name, 0), BATCH_BYTES))
        batches = parquet.iter_batches(rows, [group], columns=[name], use_threads=False)
        columns = (batch.column(0) for batch in batches)
        kind = parquet.schema_arrow.field(name).type
        if what == "text":
            columns, kind = (pc.cast(pc.binary_length(column), pa.int64()) for column in columns), pa.int64()
        read[what] = pa.chunked_array(columns, kind)
    return read


def _places(parquet: pq.ParquetFile, group: int) -> tuple[dict[str, int], dict[str, int]]:
    """Where the columns of a row group begin in the file, and their bytes in memory."""
    row_group = parquet.metadata.row_group(group)
    chunks = [row_group.column(position) for position in range(row_group.num_columns)]
    starts = {chunk.path_in_schema: chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks}
    return starts, {chunk.path_in_schema: chunk.total_uncompressed_size for chunk in chunks}


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
