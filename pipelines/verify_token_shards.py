"""The token shards of a version: every file there as its table says, holding the documents of its Parquet shard in the promised order.

Owns the order as it is documented (token_order.py). Written from the contract: nothing here uses the code that writes token shards. Memory
holds the tokens of one shard in one format, and one row group of the ids of the Parquet shard.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.checks import Checks, Problem
from pipelines.errors import InputError, NotFound, StorageError, shown
from pipelines.legible import counted
from pipelines.objectfile import opened_parquet
from pipelines.storage import Store
from pipelines.verify_file import PARQUET_ERRORS
from pipelines.verify_manifest import MANIFEST, Finished
from pipelines.verify_tables import claimed_versions, listed
from pipelines.verify_token_files import RESTORE, SUFFIXES, Documents, Ints, Malformed, documents_in, file_name

TABLE: Final = "token_shards.parquet"
COLUMNS: Final = {
    "path": "string",
    "format": "string",
    "shard": "string",
    "documents": "int64",
    "tokens": "int64",
    "bytes": "int64",
    "sha256": "string",
}
SLICE_TOKENS: Final = 1 << 20
"""Tokens of the Parquet shard that are compared at once: taking them needs an int64 for each."""
SHARDS_AT_ONCE: Final = 1 << 13
EXPECTED: Final = pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items() if name not in ("bytes", "sha256")])
"""What is expected of a file before it is read."""

Row = Mapping[str, Any]


def check_token_shards(finished: Finished, shards: pa.Table, checks: Checks) -> None:
    """Check the table of token shards, every file that it names, and that nothing else is in `tokens/`.

    A version without token shards has no check of them, unless there are files of some.
    """
    described = finished.manifest["tables"].get("token_shards")
    if described is not None:
        _check_version(finished, shards, described, checks)
    elif _asked(finished):
        message = "config.output.token_shards asks for token shards, but tables.token_shards is missing; run the pipeline again"
        checks.judge("token shards", [Problem(MANIFEST, message)], "")
    _check_strays(finished, checks, has_table=described is not None)


def _asked(finished: Finished) -> bool:
    output = finished.manifest["config"].get("output")
    return isinstance(output, dict) and output.get("token_shards") is not None


# --- the table


def _check_version(finished: Finished, shards: pa.Table, described: Row, checks: Checks) -> None:
    path = f"{finished.folder}/{TABLE}"
    read = _table(finished.store, path)
    if isinstance(read, Problem):
        checks.judge("token shards table", [read], "")
        return
    table, digest = read
    summary = finished.manifest["output"].get("token_shards")
    problems = [
        *_differs(path, "sha256", digest, described["sha256"]),
        *_differs(path, "number of rows", table.num_rows, described["rows"]),
        *_expected_files(path, table, shards, summary),
        *_sums(table, summary),
    ]
    if not checks.judge(
        "token shards table", problems, f"{path} names the files of every shard, and is the one that the manifest describes"
    ):
        return
    proven = f"{counted(table.num_rows, 'file')} with the documents of their shards, in the order that the seed gives"
    checks.judge("token shards", _problems(finished.store, table, summary["seed"]), proven)


def _table(store: Store, path: str, columns: Sequence[str] = tuple(COLUMNS)) -> tuple[pa.Table, str] | Problem:
    """Columns of the table, each in one piece, and its digest; or what is wrong with it."""
    try:
        content = store.read(path)
        with pq.ParquetFile(io.BytesIO(content)) as file:
            found = {field.name: str(field.type) for field in file.schema_arrow}
            is_whole = found == COLUMNS and len(file.schema_arrow) == len(COLUMNS)
            table = file.read(list(columns) if is_whole else [], use_threads=False)
        table.validate(full=True)
    except NotFound:
        return Problem(path, f"it is missing; without it nothing says which token shards belong to the version; {RESTORE}")
    except StorageError:
        raise
    except PARQUET_ERRORS as error:
        return Problem(path, f"it cannot be read as Parquet: {shown(error)}; {RESTORE}")
    if not is_whole:
        return Problem(path, f"its columns are {shown(found)}, expected {shown(COLUMNS)}")
    if any(column.null_count for column in table.columns):
        return Problem(path, f"something in it is null; {RESTORE}")
    return table.combine_chunks(), hashlib.sha256(content).hexdigest()


def _differs(subject: str, what: str, found: Any, expected: Any) -> Iterator[Problem]:
    if found != expected:
        yield Problem(subject, f"its {what} is {found}, the manifest says {expected}")


def _expected_files(path: str, table: pa.Table, shards: pa.Table, summary: Row | None) -> Iterator[Problem]:
    """Every shard that has documents has its files in each format, under the names that follow from its own, and there are no others."""
    formats = [] if summary is None else [form for form in summary["formats"] if form in SUFFIXES]
    expected = pa.Table.from_batches(_files_of(shards, formats), EXPECTED).combine_chunks()
    places = pc.index_in(table.column("path"), value_set=expected.column("path")).combine_chunks()
    known = pc.fill_null(places, -1).to_numpy()
    is_first = np.zeros(len(known), bool)
    is_first[np.unique(known, return_index=True)[1]] = True
    wrong = (known < 0) | ~is_first | _contradicting(table, expected.take(places))
    for at in np.flatnonzero(wrong):
        (row,) = table.slice(at, 1).to_pylist()
        if known[at] < 0 or not is_first[at]:
            yield Problem(path, f"{shown(row['path'])} is there twice, or is no file of a shard's tokens in {', '.join(formats)}")
            continue
        (wanted,) = expected.slice(known[at], 1).to_pylist()
        told = f"{row['documents']} documents with {row['tokens']} tokens of {row['shard']} ({row['format']})"
        meant = f"{wanted['documents']} with {wanted['tokens']} of {wanted['shard']} ({wanted['format']})"
        yield Problem(path, f"{row['path']} is said to hold {told}, expected {meant}")
    is_there = pc.is_in(expected.column("path"), value_set=table.column("path"))
    for row in expected.filter(pc.invert(is_there)).sort_by("path").to_pylist():
        yield Problem(path, f"it does not name {row['path']}, a file of the tokens of {row['shard']}")


def _files_of(shards: pa.Table, formats: Iterable[str]) -> Iterator[pa.RecordBatch]:
    """The files that shards must have, some thousand shards at a time."""
    suffixes = [(form, suffix) for form in formats for suffix in SUFFIXES[form]]
    for batch in shards.select(["path", "rows", "num_tokens"]).to_batches(max_chunksize=SHARDS_AT_ONCE):
        rows = [
            {
                "path": file_name(shard["path"], form, suffix),
                "format": form,
                "shard": shard["path"],
                "documents": shard["rows"],
                "tokens": shard["num_tokens"],
            }
            for shard in batch.to_pylist()
            if shard["rows"]
            for form, suffix in suffixes
        ]
        yield pa.RecordBatch.from_pylist(rows, schema=EXPECTED)


def _contradicting(table: pa.Table, expected: pa.Table) -> npt.NDArray[np.bool_]:
    """Rows that differ from what is expected of them, where something is: nothing is known of the tokens of some shards."""
    found = np.zeros(table.num_rows, bool)
    for name in ("format", "shard", "documents", "tokens"):
        differs = pc.not_equal(table.column(name), expected.column(name))
        found |= pc.fill_null(differs, False).to_numpy()
    return found


def _sums(table: pa.Table, summary: Row | None) -> Iterator[Problem]:
    if summary is None:
        yield Problem(MANIFEST, "output.token_shards is missing, though tables.token_shards is there")
        return
    first = next(iter(summary["formats"]), None)
    of_format = table.filter(pc.equal(table.column("format"), pa.scalar(first, pa.string())))
    totals = of_format.group_by("shard", use_threads=False).aggregate([("documents", "last"), ("tokens", "last")])
    sums = {
        "shards": totals.num_rows,
        "documents": _sum(totals.column("documents_last")),
        "tokens": _sum(totals.column("tokens_last")),
        "files": table.num_rows,
        "bytes": _sum(table.column("bytes")),
    }
    for name, found in sums.items():
        if summary[name] != found:
            yield Problem(MANIFEST, f"output.token_shards.{name} is {summary[name]}, but the table of token shards has {found}")


def _sum(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)


# --- the files


def _problems(store: Store, table: pa.Table, seed: int | None) -> Iterator[Problem]:
    """What is wrong with the files, those of a shard in a format together: the table may name them in any order."""
    shards, forms = (_codes(table.column(name)) for name in ("shard", "format"))
    order = np.lexsort((forms, shards))
    is_new = (np.diff(shards[order], prepend=-1) != 0) | (np.diff(forms[order], prepend=-1) != 0)
    starts = np.flatnonzero(is_new).tolist()
    for first in range(0, len(starts), SHARDS_AT_ONCE):
        ends = [*starts[first : first + SHARDS_AT_ONCE + 1], len(order)][: SHARDS_AT_ONCE + 1]
        rows = table.take(pa.array(order[ends[0] : ends[-1]])).to_pylist()
        for start, stop in pairwise(end - ends[0] for end in ends):
            files = rows[start:stop]
            yield from _shard_problems(store, files[0]["shard"], files[0]["format"], files, seed)


def _codes(column: pa.ChunkedArray) -> Ints:
    """A number for each text, in the order in which they come first."""
    codes: Ints = pc.index_in(column, value_set=pc.unique(column)).to_numpy().astype(np.int64)
    return codes


def _shard_problems(store: Store, shard: str, form: str, files: Iterable[Row], seed: int | None) -> Iterator[Problem]:
    contents: dict[str, bytes] = {}
    problems: list[Problem] = []
    for row in files:
        read = _content(store, row)
        if isinstance(read, Problem):
            problems.append(read)
        else:
            contents[row["path"]] = read
    yield from problems
    if problems:
        return
    name = file_name(shard, form, SUFFIXES[form][0])
    try:
        held = documents_in(shard, form, contents)
        yield from _differences(store, shard, name, held, seed)
    except Malformed as error:
        yield Problem(name, f"{error}; {RESTORE}")
    except (NotFound, InputError, *PARQUET_ERRORS) as error:
        if isinstance(error, StorageError) and not isinstance(error, NotFound):
            raise
        yield Problem(name, f"it cannot be compared with {shard}, which cannot be read: {shown(error)}")


def _content(store: Store, row: Row) -> bytes | Problem:
    try:
        content = store.read(row["path"])
    except NotFound:
        return Problem(row["path"], f"it is missing; expected {row['bytes']} bytes with {row['documents']} documents; {RESTORE}")
    if len(content) != row["bytes"]:
        return Problem(row["path"], f"it has {len(content)} bytes, expected {row['bytes']}; {RESTORE}")
    found = hashlib.sha256(content).hexdigest()
    if found != row["sha256"]:
        return Problem(row["path"], f"its sha256 is {found}, expected {row['sha256']}: its bytes were changed; {RESTORE}")
    return content


# --- against the Parquet shard


def _differences(store: Store, shard: str, name: str, held: Documents, seed: int | None) -> Iterator[Problem]:
    """The first document that is not the one of the shard's row, if there is one."""
    tokens = pa.LargeListArray.from_arrays(held.starts, pa.array(held.tokens))
    position: Ints | None = None
    row = 0
    with opened_parquet(store, shard) as file:
        rows = int(file.metadata.num_rows)
        if rows != len(tokens):
            yield Problem(name, f"it holds {len(tokens)} documents, its shard {rows}; {RESTORE}")
            return
        position = positions(seed, shard, rows)
        for lists in _lists(file, len(held.tokens)):
            mine = tokens.take(pa.array(position[row : row + len(lists)]))
            if not _equal(mine, lists):
                at = row + _first_different(mine, lists)
                order = "as it is in the order of the shard" if seed is None else f"as the order of seed {seed} wants"
                message = f"document {position[at]} is not that of row {at} of {shard}, {order}"
                yield Problem(name, f"{message}; make the version again, or {RESTORE}")
                return
            row += len(lists)


def _lists(file: pq.ParquetFile, num_tokens: int) -> Iterator[pa.Array]:
    """The ids of the shard's rows, about SLICE_TOKENS at a time."""
    rows = max(1, file.metadata.num_rows * SLICE_TOKENS // max(1, num_tokens))
    for batch in file.iter_batches(batch_size=rows, columns=["input_ids"], use_threads=False):
        yield batch.column("input_ids")


def _lengths(lists: pa.Array) -> npt.NDArray[Any]:
    """Tokens of each row: none where there is no list."""
    lengths: npt.NDArray[Any] = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return lengths


def _equal(one: pa.Array, other: pa.Array) -> bool:
    same_lengths = np.array_equal(_lengths(one), _lengths(other))
    return same_lengths and np.array_equal(one.flatten().to_numpy(), other.flatten().to_numpy(zero_copy_only=False))


def _first_different(one: pa.Array, other: pa.Array) -> int:
    return next(row for row in range(len(one)) if not _equal(one.slice(row, 1), other.slice(row, 1)))


def positions(seed: int | None, shard: str, rows: int) -> Ints:
    """Where each row of a shard stands in its token shard, computed from the documented order: the ranks of the rows' keys."""
    found = np.empty(rows, np.int64)
    keys = np.arange(rows, dtype=np.uint64)
    number = re.search(r"part-(\d+)-[^/]*$", shard)
    if seed is not None and number is not None:
        state = _split_mix(np.array([(seed + int(number[1]) * _GOLDEN) % 2**64], np.uint64))[0]
        keys = _split_mix(state + keys * np.uint64(_GOLDEN))
    found[np.argsort(keys, kind="stable")] = np.arange(rows)
    return found


_GOLDEN: Final = 0x9E3779B97F4A7C15


def _split_mix(states: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The next number of SplitMix64 generators in these states (Steele, Lea, Flood, OOPSLA 2014)."""
    z = states + np.uint64(_GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


# --- strays


def _check_strays(finished: Finished, checks: Checks, *, has_table: bool) -> None:
    store, own = finished.store, f"{finished.folder}/{TABLE}"
    found = listed(store, "tokens")
    first = next(found, None)
    if first is None:
        return
    named, problems = _named(store)
    if any(problem.subject == own for problem in problems) or (has_table and not store.exists(own)):
        checks.skip("token strays", f"not checkable: {own} does not say which files are token shards")
        return
    strays = problems or _strays(chain([first], found), named, claimed_versions(finished))
    checks.judge("token strays", strays, "every file in tokens/ is one of a version's token shards")


def _strays(found: Iterable[pa.StructArray], named: pa.Array, claimed: set[str]) -> Iterator[Problem]:
    for chunk in found:
        for entry in chunk.filter(pc.invert(pc.is_in(chunk.field("path"), value_set=named))).to_pylist():
            if entry["path"].split("/")[1] not in claimed:
                message = f"no version's table of token shards names it ({entry['size']} bytes); remove it with `shardmill gc`, or by hand"
                yield Problem(entry["path"], message)


def _named(store: Store) -> tuple[pa.Array, list[Problem]]:
    """Paths of the token shards of all versions, each once, and what is wrong with the tables that cannot be read."""
    chunks: list[pa.Array] = []
    problems = []
    folders = sorted(str(child).rstrip("/") for child in store.children("versions") if isinstance(child, str))
    for path in (f"{folder}/{TABLE}" for folder in folders):
        read = _table(store, path, ["path"]) if store.exists(path) else None
        if isinstance(read, Problem):
            problems.append(read)
        elif read is not None:
            chunks += read[0].column("path").chunks
    return pc.unique(pa.chunked_array(chunks, pa.string())), problems
