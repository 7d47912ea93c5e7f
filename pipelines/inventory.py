"""The inventory: the frozen list of input files with their row groups, made once, saved as Parquet.

Owns how a million files with ten row groups each are kept in columns, told apart and stored. Knows formats only through `describe`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import identity
from pipelines.columns import is_text, unified_schema, writable_type
from pipelines.documents import FileDescription, InputFile, Listed, ReadOptions, Reads, RowGroup, RowGroups
from pipelines.errors import InputError, UnreadableInput, shown
from pipelines.formats import describe, format_of

__all__ = ["FileDescription", "InputFile", "Inventory", "RowGroup", "describe", "take_inventory"]

INVENTORY_VERSION = 1
CHUNK_FILES = 256
CHUNK_SCANNED_BYTES = 256 << 20
NUM_THREADS = 16
SAVED_FILES = 1 << 16
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

GROUP_FIELDS = ("rows", "offset", "length", "num_bytes")


class Keeps(Protocol):
    """What saving asks of a store; `pipelines.storage.Store` is it."""

    def read(self, path: str) -> bytes:
        """The whole object."""

    def writer(self, path: str) -> Any:
        """A context that gives a sink; the object appears whole when it ends."""


class Inventory:
    """Input files and their row groups, in columns; files sorted by uri, row groups in file order.

    Attributes:
        num_files: Readable and unreadable ones.
        rows: Rows of all readable files.
        num_bytes: Sum of the files' sizes.
        schema: Columns of the documents: every column of any readable file in order of first appearance, then the path columns.
        group_file: int32, one a row group: the ordinal of its file.
        group_rows: int64, one a row group.
        group_lengths: int64, one a row group: its bytes in the file.
        group_bytes: int64, one a row group: estimate of its uncompressed size.
        file_sizes: int64, one a file: its bytes.
        file_first_group: int64, num_files + 1: file i has the row groups from [i] to [i + 1].
    """

    def __init__(self, files: pa.Table, groups: Int64s, file_first_group: Int64s, schemas: Sequence[pa.Schema], schema: pa.Schema) -> None:
        """Take the columns as they are.

        Args:
            files: uri, size, etag, format, schema (index into `schemas`), error, message, then one column a path column.
            groups: Four rows, rows, offset, length, num_bytes; one column a row group.
            file_first_group: See the class.
            schemas: The distinct schemas of files.
            schema: See the class.
        """
        self._files = pa.RecordBatch.from_arrays([_array(column) for column in files.columns], names=files.column_names)
        self._groups = groups
        self._schemas = tuple(schemas)
        self._path_columns = tuple(files.column_names[7:])
        self.schema = schema
        self.file_first_group = file_first_group
        self.group_rows: Int64s = self._groups[0]
        self.group_lengths: Int64s = self._groups[2]
        self.group_bytes: Int64s = self._groups[3]
        self.group_file: Int32s = np.repeat(np.arange(files.num_rows, dtype=np.int32), np.diff(file_first_group))
        self.file_sizes: Int64s = self._files.column("size").to_numpy()
        self.num_files = int(files.num_rows)
        self.rows = int(self.group_rows.sum())
        self.num_bytes = int(pc.sum(files.column("size")).as_py() or 0)
        self._fingerprint: str | None = None

    def __repr__(self) -> str:
        return f"Inventory({self.num_files} files, {len(self.group_rows)} row groups, {self.rows} rows, {self.num_bytes} bytes)"

    def file(self, ordinal: int, first: int = 0, stop: int | None = None) -> InputFile:
        """The file at a place in the inventory; with `first` and `stop`, only with those of its row groups."""
        row = self._files.slice(ordinal, 1).to_pylist()[0]
        start, end = self.file_first_group[ordinal : ordinal + 2].tolist()
        groups = self._groups[:, start:end]
        first_rows = np.cumsum(groups[0]) - groups[0]
        columns = (groups[0], first_rows, groups[1], groups[2], groups[3])
        some = tuple(RowGroup(*values) for values in zip(*(column[first:stop].tolist() for column in columns), strict=True))
        last = RowGroup(*(int(column[-1]) for column in columns)) if end > start else None
        row_groups = RowGroups(end - start, first, some, last)
        path_values = tuple((name, row[name]) for name in self._path_columns if row[name] is not None)
        return InputFile(
            ordinal=ordinal,
            uri=row["uri"],
            size=row["size"],
            etag=row["etag"],
            format=row["format"],
            rows=int(groups[0].sum()),
            row_groups=row_groups,
            schema=self._schemas[row["schema"]],
            path_values=path_values,
            error=row["error"],
            message=row["message"],
        )

    def identity(self, ordinal: int) -> tuple[str, str]:
        """Uri and etag of the file at a place in the inventory: what its content is known by."""
        return self._files.column("uri")[ordinal].as_py(), self._files.column("etag")[ordinal].as_py()

    def identities(self, first: int, stop: int) -> list[tuple[str, str]]:
        """The identities of the files from one place up to another, as far as there are any."""
        some = self._files.slice(first, stop - first)
        return list(zip(some.column("uri").to_pylist(), some.column("etag").to_pylist(), strict=True))

    @property
    def uris(self) -> pa.Array:
        """Addresses of the files, large_string, one a file."""
        return self._files.column("uri")

    def prefixes(self) -> bytes:
        """The first bytes of the doc_keys of every file's documents, `identity.PREFIX_BYTES` a file, in order."""
        return b"".join(identity.uri_prefix(uri) for uri in self.uris.to_pylist())

    def files_table(self) -> pa.Table:
        """Uri, size and etag of every file, and whether it could be read: what an ingestion knows a file by."""
        columns = [self._files.column(name) for name in ("uri", "size", "etag")]
        return pa.table([*columns, pc.is_null(self._files.column("error"))], names=["uri", "size", "etag", "is_read"])

    @property
    def unreadable(self) -> list[tuple[str, str, str]]:
        """Files that cannot be read at all: (uri, error, message)."""
        bad = self._files.filter(pc.is_valid(self._files.column("error")))
        columns = (bad.column(name).to_pylist() for name in ("uri", "error", "message"))
        return list(zip(*columns, strict=True))

    @property
    def fingerprint(self) -> str:
        """Hexadecimal sha256 over every file's uri, etag, path values and rows per row group, in order, and the schema."""
        if self._fingerprint is None:
            digest = hashlib.sha256(f"inventory {INVENTORY_VERSION}\n".encode())
            for field in self.schema:
                digest.update(json.dumps([field.name, str(field.type)]).encode())
            for name in ("uri", "etag", *self._path_columns):
                _hash_strings(digest, self._files.column(name))
            for numbers in (self.file_first_group, self.group_rows):
                digest.update(numbers.astype("<i8").tobytes())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def limited(self, rows: int) -> Inventory:
        """The first `rows` rows: whole files and row groups, the last row group cut. Its other numbers stay those of the file."""
        ends = np.cumsum(self.group_rows)
        num_groups = min(int(np.searchsorted(ends, max(rows, 0))) + 1, len(ends)) if rows > 0 else 0
        num_files = int(self.group_file[num_groups - 1]) + 1 if num_groups else 0
        groups = self._groups[:, :num_groups].copy()
        if num_groups and ends[num_groups - 1] > rows:
            groups[0, -1] -= ends[num_groups - 1] - rows
        bounds = np.minimum(self.file_first_group[: num_files + 1], num_groups)
        files = pa.Table.from_batches([self._files.slice(0, num_files)])
        return Inventory(files, groups, bounds, self._schemas, self.schema)

    @classmethod
    def joined(cls, pieces: Sequence[Self]) -> Self:
        """The files of inventories of one input, one after the other, with the columns of the last.

        A file that could not be read is left out where a later inventory has it again: each file is there once.
        """
        schemas: dict[pa.Schema, int] = {}
        tables = [piece._renumbered(schemas) for piece in pieces]  # noqa: SLF001  of the same class
        files = pa.concat_tables(tables, promote_options="default")
        kept = _without_replaced(files)
        lengths = np.concatenate([np.diff(piece.file_first_group) for piece in pieces])
        groups = np.concatenate([piece._groups for piece in pieces], axis=1)[:, np.repeat(kept, lengths)]  # noqa: SLF001
        bounds = np.concatenate([[0], np.cumsum(lengths[kept])]).astype(np.int64)
        return cls(files.filter(pa.array(kept)), np.ascontiguousarray(groups), bounds, tuple(schemas), pieces[-1].schema)

    def _renumbered(self, schemas: dict[pa.Schema, int]) -> pa.Table:
        """The files, whose schemas are named by their places among all of some inventories."""
        column = self._files.column("schema")
        places = pa.array([schemas.setdefault(schema, len(schemas)) for schema in self._schemas], column.type)
        table = pa.Table.from_batches([self._files])
        return table.set_column(table.column_names.index("schema"), "schema", places.take(column))

    def save(self, store: Keeps, path: str) -> None:
        """Write the inventory as one Parquet file: a row a file, its row groups as a list; distinct schemas stand in the metadata.

        The prefixes of the files' doc_keys are written beside it before: where the inventory is, they are.
        """
        with store.writer(prefixes_path(path)) as sink:
            sink.write(self.prefixes())
        with store.writer(path) as sink:
            first = self._saved_table(0, min(SAVED_FILES, self.num_files))
            with pq.ParquetWriter(sink, first.schema, compression="zstd") as writer:
                writer.write_table(first)
                for start in range(SAVED_FILES, self.num_files, SAVED_FILES):
                    writer.write_table(self._saved_table(start, min(start + SAVED_FILES, self.num_files)))

    def _saved_table(self, start: int, stop: int) -> pa.Table:
        bounds = self.file_first_group[start : stop + 1]
        columns = [pa.array(column[bounds[0] : bounds[-1]]) for column in self._groups]
        structs = pa.StructArray.from_arrays(columns, names=list(GROUP_FIELDS))
        row_groups = pa.ListArray.from_arrays(pa.array(bounds - bounds[0], pa.int32()), structs)
        metadata = {
            "version": INVENTORY_VERSION,
            "schema": _encoded(self.schema),
            "schemas": [_encoded(schema) for schema in self._schemas],
        }
        table = pa.Table.from_batches([self._files.slice(start, stop - start)]).append_column("row_groups", row_groups)
        return table.replace_schema_metadata({"shardmill.inventory": json.dumps(metadata)})

    @classmethod
    def load(cls, store: Keeps, path: str) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: The object is no inventory of this version.
            StorageError: The store failed.
        """
        try:
            reader = pq.ParquetFile(pa.BufferReader(store.read(path)))
            metadata = json.loads((reader.schema_arrow.metadata or {})[b"shardmill.inventory"])
        except (pa.ArrowException, OSError, KeyError) as error:
            raise InputError(f"{path}: not an inventory: {shown(error)}; plan the run again") from error
        if metadata["version"] != INVENTORY_VERSION:
            raise InputError(f"{path}: inventory version {metadata['version']}, expected {INVENTORY_VERSION}; plan the run again")
        files, groups, bounds = _loaded(reader)
        return cls(files, groups, bounds, [_decoded(text) for text in metadata["schemas"]], _decoded(metadata["schema"]))


def _without_replaced(files: pa.Table) -> npt.NDArray[np.bool_]:
    """Which files stay: all but those that could not be read and are there again later."""
    kept = np.ones(files.num_rows, np.bool_)
    bad = np.flatnonzero(pc.is_valid(files.column("error")).to_numpy())
    if len(bad):
        uris = files.column("uri")
        again = np.flatnonzero(pc.is_in(uris, value_set=uris.take(pa.array(bad)).combine_chunks()).to_numpy())
        last = dict(zip(uris.take(pa.array(again)).to_pylist(), again.tolist(), strict=True))
        kept[bad] = [last[uri] == at for uri, at in zip(uris.take(pa.array(bad)).to_pylist(), bad.tolist(), strict=True)]
    return kept


def prefixes_path(path: str) -> str:
    """Where the prefixes of the doc_keys lie: beside the inventory, a fiftieth of its size in memory."""
    return f"{path}.prefixes"


def load_prefixes(store: Keeps, path: str) -> npt.NDArray[np.uint8]:
    """The prefixes of the doc_keys by the ordinal of the file, from what `Inventory.save` wrote: one row a file.

    Raises:
        InputError: The object is cut.
        NotFound: The inventory was saved by a version that wrote none.
    """
    data = store.read(prefixes_path(path))
    if len(data) % identity.PREFIX_BYTES:
        raise InputError(f"{prefixes_path(path)}: {len(data)} bytes, expected {identity.PREFIX_BYTES} a file; remove it and run again")
    return np.frombuffer(data, np.uint8).reshape(-1, identity.PREFIX_BYTES)


def _loaded(reader: pq.ParquetFile) -> tuple[pa.Table, Int64s, Int64s]:
    """Files, groups and bounds, piece by piece, so that lists and columns of row groups are not in memory at once."""
    files: list[pa.Table] = []
    groups: list[Int64s] = [np.empty((4, 0), dtype=np.int64)]
    lengths: list[Int64s] = [np.zeros(1, dtype=np.int64)]
    for piece in range(reader.num_row_groups):
        table = reader.read_row_group(piece, use_threads=False)
        for lists in table.column("row_groups").chunks:
            groups.append(np.stack([child.to_numpy() for child in lists.flatten().flatten()]))
            lengths.append(lists.value_lengths().to_numpy())
        files.append(table.drop_columns(["row_groups"]).replace_schema_metadata(None))
    return pa.concat_tables(files), np.concatenate(groups, axis=1), np.cumsum(np.concatenate(lengths), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Files that one task describes; `first` is the ordinal of the first."""

    first: int
    files: tuple[Listed, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """What `describe_chunk` found, in columns, small enough to travel: see FileDescription."""

    first: int
    formats: tuple[str, ...]
    num_groups: Int64s
    groups: Int64s
    file_schemas: Int32s
    schemas: tuple[pa.Schema, ...]
    errors: dict[int, tuple[str, str]]


def describe_chunk(sources: Reads, options: ReadOptions, chunk: Chunk) -> Described:
    """Describe some files, footers in parallel. Runs wherever `map_files` runs it."""
    look = partial(describe, sources, options=options)
    if options.format == "parquet" or format_of(chunk.files[0].uri, options.format) == "parquet":
        with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="footers") as pool:
            found = list(pool.map(look, chunk.files))
    else:
        found = [look(file) for file in chunk.files]
    schemas: dict[pa.Schema, int] = {}
    return Described(
        first=chunk.first,
        formats=tuple(one.format for one in found),
        num_groups=np.array([len(one.groups) for one in found], dtype=np.int64),
        groups=np.concatenate([one.groups for one in found]),
        file_schemas=np.array([schemas.setdefault(one.schema, len(schemas)) for one in found], dtype=np.int32),
        schemas=tuple(schemas),
        errors={index: (one.error, one.message or "") for index, one in enumerate(found) if one.error is not None},
    )


MapFiles = Callable[[Callable[[Chunk], Described], list[Chunk]], Iterable[Described]]


def take_inventory(
    sources: Reads,
    patterns: Sequence[str],
    options: ReadOptions,
    *,
    map_files: MapFiles = map,
    only: Sequence[Listed] | None = None,
    like: pa.Schema | None = None,
) -> Inventory:
    """List the input and describe every file.

    Args:
        sources: Where to read; pickled with the function that `map_files` gets.
        patterns: Addresses, globs or folders.
        options: How to understand the files.
        map_files: Applies a function to chunks of files and gives its results in any order. Each chunk reads its footers with threads.
        only: These files of the listing, which is not made again.
        like: Columns that documents have even where none of the files has them, before those that only the files have. Files without any
            rows may then have none at all, and none of them needs to lie in a folder of `path_columns`.

    Raises:
        InputError: Nothing matches, no file can be read, or none has the text column as a string column.
        StorageError: A store failed.
    """
    listed = sources.find(patterns) if only is None else only
    if not listed:
        raise InputError(f"{shown(', '.join(patterns))}: no file matches; check input.uri")
    chunks = list(_chunks(listed, options))
    parts = sorted(map_files(partial(describe_chunk, sources, options), chunks), key=lambda part: part.first)
    return _assembled(listed, parts, options, like)


def _chunks(listed: Sequence[Listed], options: ReadOptions) -> Iterator[Chunk]:
    """Runs of files of one kind: a few hundred footers, or some 256 MiB of files that are scanned in full."""
    first, num_bytes, kind = 0, 0, ""
    for ordinal, file in enumerate(listed):
        file_kind = format_of(file.uri, options.format)
        num_bytes += 0 if file_kind == "parquet" else file.size
        full = ordinal - first >= CHUNK_FILES or num_bytes > CHUNK_SCANNED_BYTES
        if ordinal > first and (full or (file_kind == "parquet") != (kind == "parquet")):
            yield Chunk(first, tuple(listed[first:ordinal]))
            first, num_bytes = ordinal, 0 if file_kind == "parquet" else file.size
        kind = file_kind
    yield Chunk(first, tuple(listed[first:]))


def _assembled(listed: Sequence[Listed], parts: Sequence[Described], options: ReadOptions, like: pa.Schema | None) -> Inventory:
    schemas: dict[pa.Schema, int] = {}
    file_schemas: list[Int32s] = []
    errors: dict[int, tuple[str, str]] = {}
    for part in parts:
        numbers = np.array([schemas.setdefault(schema, len(schemas)) for schema in part.schemas], dtype=np.int32)
        file_schemas.append(numbers[part.file_schemas])
        errors.update({part.first + index: problem for index, problem in part.errors.items()})
    files = pa.table(
        {
            "uri": pa.array([file.uri for file in listed], pa.large_string()),
            "size": pa.array(np.fromiter((file.size for file in listed), np.int64, len(listed))),
            "etag": pa.array([file.etag for file in listed], pa.large_string()),
            "format": pa.array([name for part in parts for name in part.formats], pa.string()),
            "schema": pa.array(np.concatenate(file_schemas)),
            "error": _sparse(errors, 0, len(listed)),
            "message": _sparse(errors, 1, len(listed)),
            **_path_columns([file.uri for file in listed], options.path_columns, is_needed=like is None),
        }
    )
    bounds = np.concatenate([[0], np.cumsum(np.concatenate([part.num_groups for part in parts]))]).astype(np.int64)
    groups = np.ascontiguousarray(np.concatenate([part.groups for part in parts]).T)
    if len(errors) == len(listed):
        uri, (_, message) = listed[0].uri, errors[0]
        raise UnreadableInput(f"none of {len(listed)} input files can be read; the first: {uri}: {message}")
    _check_text(tuple(schemas), options, is_needed=like is None or bool(groups[0].any()))
    schema = _document_schema(tuple(schemas), options, like)
    return Inventory(files, groups, bounds, tuple(schemas), schema)


def _sparse(errors: dict[int, tuple[str, str]], part: int, length: int) -> pa.Array:
    values = pa.nulls(length, pa.string())
    if not errors:
        return values
    mask = np.zeros(length, dtype=np.bool_)
    mask[list(errors)] = True
    return pc.replace_with_mask(values, pa.array(mask), pa.array([errors[index][part] for index in sorted(errors)], pa.string()))


def _check_text(schemas: Sequence[pa.Schema], options: ReadOptions, *, is_needed: bool) -> None:
    text = options.text_column
    if is_needed and not any(schema.get_field_index(text) >= 0 and is_text(schema.field(text).type) for schema in schemas):
        columns = ", ".join(f"{field.name} ({field.type})" for field in unified_schema(schemas, text))
        raise InputError(f"no input file has a string column {text!r}; found: {shown(columns) or 'no columns'}; set input.text_column")


def _document_schema(schemas: Sequence[pa.Schema], options: ReadOptions, like: pa.Schema | None) -> pa.Schema:
    text = options.text_column
    unified = unified_schema(schemas if like is None else (like, *schemas), text)
    fields = [field.with_type(writable_type(field.type)) for field in unified if field.name not in options.path_columns]
    return pa.schema([*fields, *(pa.field(name, pa.string()) for name in options.path_columns)])


def _path_columns(uris: Sequence[str], names: Sequence[str], *, is_needed: bool) -> dict[str, pa.Array]:
    """Values of `name=value` folders, unquoted; null where a file has no such folder. They win over a column of the same name in the file.

    Raises:
        InputError: No file lies in such a folder, and one is needed, as no earlier files did.
    """
    values: dict[str, list[str | None]] = {name: [] for name in names}
    for uri in uris if names else ():
        pairs = dict(part.split("=", 1) for part in uri.split("/")[:-1] if "=" in part)
        for name, column in values.items():
            value = pairs.get(name)
            column.append(None if value is None or value == HIVE_NULL else unquote(value))
    for name, column in values.items():
        if is_needed and not any(value is not None for value in column):
            raise InputError(
                f"path column {name!r}: no input file lies in a folder {name}=…, for example not {uris[0]}; check path_columns"
            )
    return {name: pa.array(column, pa.string()) for name, column in values.items()}


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _hash_strings(digest: Any, values: pa.Array) -> None:
    lengths = pc.fill_null(pc.binary_length(values), -1)
    digest.update(lengths.to_numpy(zero_copy_only=False).astype("<i8").tobytes())
    joined = pa.concat_arrays([pc.fill_null(values, "").cast(pa.large_string())])
    offsets = np.frombuffer(joined.buffers()[1], dtype=np.int64)[joined.offset : joined.offset + len(joined) + 1]
    if len(offsets) and joined.buffers()[2] is not None:
        digest.update(memoryview(joined.buffers()[2])[offsets[0] : offsets[-1]])


def _encoded(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize()).decode("ascii")


def _decoded(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(text)))
