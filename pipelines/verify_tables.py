"""The tables of a version and all that they name: every file there as its table says, and no file that no table names.

Owns the columns of the tables (DESIGN 9) as a reader expects them. Memory holds the tables of shards, a row a shard.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.checks import Checks, Problem
from pipelines.errors import NotFound, StorageError, shown
from pipelines.legible import counted
from pipelines.storage import Store
from pipelines.verify_file import FILES_AT_ONCE, PARQUET_ERRORS, Expected, Shape, look_at_all, stored_type
from pipelines.verify_manifest import MANIFEST, TABLES, VERSION, Finished, is_shard
from pipelines.verify_profile import Counted, profile_columns

LISTED_AT_ONCE: Final = 1 << 16
CLAIMS: Final = "_shardmill/versions"
SHARDS_COLUMNS: Final = {"path": "string", "rows": "int64", "bytes": "int64", "sha256": "string", "num_tokens": "int64"}
_KEY: Final = "fixed_size_binary[16]"
COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "dropped": {"doc_key": _KEY, "id": "string", "uri": "string", "row": "int64", "operator": "string", "reason": "string"},
    "duplicates": {
        "doc_key": _KEY,
        "id": "string",
        "operator": "string",
        "kept_doc_key": _KEY,
        "kept_id": "string",
        "similarity": "float",
        "num_duplicates": "int64",
    },
    "quarantine": {
        "doc_key": _KEY,
        "id": "string",
        "uri": "string",
        "row_group": "int32",
        "row": "int64",
        "operator": "string",
        "error": "string",
        "message": "string",
    },
}
"""Columns of the side tables (DESIGN 9); `dropped` may have more after these."""


# --- shards


def check_shards(finished: Finished, checks: Checks, counted: Counted | None = None) -> tuple[pa.Table, int] | None:
    """Check the table of shards, then every shard. Returns the table and the rows of the version's own shards, or None without a table.

    What the profile says of the texts is counted again meanwhile, and added to `counted`.
    """
    path = f"{finished.folder}/shards.parquet"
    read = _shards_table(finished.store, path)
    if isinstance(read, Problem):
        checks.judge("shards table", [read], "")
        return None
    table, digest = read
    described = finished.manifest["tables"]["shards"]
    problems = [
        *_differs(path, "sha256", digest, described["sha256"]),
        *_differs(path, "number of rows", table.num_rows, described["rows"]),
        *_table_problems(path, table),
    ]
    checks.judge("shards table", problems, f"{path} is the one that the manifest describes")
    rows = _check_each(finished, table, checks, Counted() if counted is None else counted)
    checks.judge("output", _output_problems(finished, table), "shards, rows, bytes and tokens of the manifest are the sums over the shards")
    return table, rows


def _shards_table(store: Store, path: str) -> tuple[pa.Table, str] | Problem:
    try:
        content = store.read(path)
        table = pq.read_table(io.BytesIO(content), use_threads=False)
        table.validate(full=True)
    except NotFound:
        return Problem(path, "it is missing; without it nothing says which shards belong to the version; restore it from a copy")
    except StorageError:
        raise
    except PARQUET_ERRORS as error:
        return Problem(path, f"it cannot be read as Parquet: {shown(error)}; restore it from a copy")
    found = {column.name: str(column.type) for column in table.schema}
    if found != SHARDS_COLUMNS:
        return Problem(path, f"its columns are {shown(found)}, expected {shown(SHARDS_COLUMNS)}")
    if any(table.column(name).null_count for name in ("path", "rows", "bytes", "sha256")):
        return Problem(path, "path, rows, bytes or sha256 of a shard is null; restore it from a copy")
    return table, hashlib.sha256(content).hexdigest()


def _differs(subject: str, what: str, found: Any, expected: Any) -> Iterator[Problem]:
    if found != expected:
        yield Problem(subject, f"its {what} is {found}, the manifest says {expected}")


def _table_problems(path: str, table: pa.Table) -> Iterator[Problem]:
    paths = table.column("path")
    for shard in paths:
        if not is_shard(shard.as_py()):
            yield Problem(path, f"{shown(shard)} is no path of a shard (data/v1/….parquet)")
    if pc.count_distinct(paths).as_py() != len(paths):
        counts = pc.value_counts(paths)
        for shard in counts.filter(pc.greater(counts.field("counts"), 1)).field("values"):
            yield Problem(path, f"{shown(shard)} is named more than once")


def _check_each(finished: Finished, table: pa.Table, checks: Checks, counted: Counted) -> int:
    own = tuple(f"data/{version}/" for version in finished.covers)
    columns = [(column["name"], stored_type(column["type"]), column["nullable"]) for column in finished.manifest["schema"]]
    shape = Shape(columns, counts_tokens=True, profile=profile_columns(finished))
    own_rows = 0

    def problems() -> Iterator[Problem]:
        nonlocal own_rows
        for expected, found in zip(_expected(table), look_at_all(finished.store, _expected(table), shape), strict=True):
            counted.join(found.counted)
            own_rows += found.rows if expected.path.startswith(own) else 0
            yield from found.problems

    proven = f"{table.num_rows} shards have the bytes, rows, columns and tokens that their table says"
    checks.judge("shards", problems(), proven)
    return own_rows


def _expected(table: pa.Table) -> Iterator[Expected]:
    for batch in table.to_batches(max_chunksize=FILES_AT_ONCE):
        for row in batch.to_pylist():
            if is_shard(row["path"]):
                yield Expected(row["path"], row["rows"], row["bytes"], row["sha256"], row["num_tokens"])


def _output_problems(finished: Finished, table: pa.Table) -> Iterator[Problem]:
    tokens = table.column("num_tokens").drop_null()
    sums = {
        "shards": table.num_rows,
        "rows": pc.sum(table.column("rows")).as_py() or 0,
        "bytes": pc.sum(table.column("bytes")).as_py() or 0,
        "tokens": (pc.sum(tokens).as_py() if len(tokens) else None),
    }
    for name, found in sums.items():
        said = finished.manifest["output"][name]
        if said != found:
            yield Problem(MANIFEST, f"output.{name} is {said}, but the shards of {finished.folder}/shards.parquet have {found}")


# --- side tables


def check_tables(finished: Finished, checks: Checks) -> bool:
    """Check the files of every side table, and that the version's folder has no others. Returns whether the tables can be believed."""
    whole = [checks.judge(f"{name} table", _side_problems(finished, name), _side_proven(finished, name)) for name in TABLES]
    checks.judge("version folder", _folder_problems(finished), f"{finished.folder} holds what the manifest names, and nothing else")
    return all(whole)


def _side_proven(finished: Finished, name: str) -> str:
    described = finished.manifest["tables"][name]
    size = f"{counted(described['rows'], 'row')} in {counted(len(described['files']), 'file')}"
    return f"{size} with the bytes and columns that the manifest says"


def side_files(finished: Finished, name: str) -> list[str]:
    """Paths of the files of a side table."""
    return [file["path"] for file in finished.manifest["tables"][name]["files"]]


def _side_problems(finished: Finished, name: str) -> Iterator[Problem]:
    described = finished.manifest["tables"][name]
    inside = f"{finished.folder}/{name}/"
    files = [Expected(file["path"], file["rows"], file["bytes"], file["sha256"]) for file in described["files"]]
    place = re.compile(re.escape(inside) + r"[^/\0]+\.parquet")
    for file in files:
        if not place.fullmatch(file.path):
            yield Problem(MANIFEST, f"tables.{name}.files names {shown(file.path)}, expected a Parquet file in {inside}")
            return
    shape = Shape([(column, kind, True) for column, kind in COLUMNS[name].items()], may_have_more=name == "dropped")
    for found in look_at_all(finished.store, files, shape):
        yield from found.problems
    if sum(file.rows for file in files) != described["rows"]:
        yield Problem(MANIFEST, f"tables.{name}.rows is {described['rows']}, but its files have {sum(file.rows for file in files)}")
    lines = sorted((file.path, f"{file.sha256}  {file.path}\n") for file in files)
    digest = hashlib.sha256("".join(line for _, line in lines).encode()).hexdigest()
    if digest != described["sha256"]:
        yield Problem(MANIFEST, f"tables.{name}.sha256 is {described['sha256']}, but the digest of its files is {digest}")


def learned_files(finished: Finished) -> list[str]:
    """Paths of the files that operators learned from the documents."""
    return [entry["path"] for entry in finished.manifest.get("learned", ())]


def _folder_problems(finished: Finished) -> Iterator[Problem]:
    folder = finished.folder
    missing = {f"{folder}/{name}" for name in (MANIFEST, "report.html", "shards.parquet")}
    known = missing | {path for name in TABLES for path in side_files(finished, name)} | {*learned_files(finished)}
    if "token_shards" in finished.manifest["tables"]:
        known.add(f"{folder}/token_shards.parquet")
    for info in finished.store.list(folder):
        missing.discard(info.path)
        if info.path not in known:
            yield Problem(info.path, f"nothing names it ({info.size} bytes): it is not part of {finished.version}; remove it")
    for path in sorted(missing - {f"{folder}/shards.parquet"}):
        yield Problem(path, "it is missing; restore it from a copy")


# --- strays


def check_strays(finished: Finished, checks: Checks) -> None:
    """Every file below `data/` is named by the table of some version, unless a run is making a version right now."""
    named, problems = _named(finished.store)
    own = f"{finished.folder}/shards.parquet"
    if any(problem.subject == own for problem in problems) or not finished.store.exists(own):
        checks.skip("strays", f"not checkable: {own} does not say which files are shards")
        return
    claimed = claimed_versions(finished)
    found = problems or _strays(finished.store, named, claimed)
    checks.judge("strays", found, f"every file in data/ is a shard of a version{_excused(claimed)}")


def _excused(claimed: Iterable[str]) -> str:
    names = ", ".join(sorted(claimed))
    return f"; those of {names}, which a run has begun and not finished, are not judged" if names else ""


def _named(store: Store) -> tuple[pa.Array, list[Problem]]:
    """Paths of the shards of all versions, each once, and what is wrong with the tables that cannot be read."""
    problems: list[Problem] = []
    named = pa.array([], pa.string())
    folders = sorted(str(child).rstrip("/") for child in store.children("versions") if isinstance(child, str))
    for path in (f"{folder}/shards.parquet" for folder in folders):
        read = _shards_table(store, path) if store.exists(path) else None
        if isinstance(read, Problem):
            problems.append(read)
        elif read is not None:
            named = pc.unique(pa.chunked_array([named, *read[0].column("path").chunks], pa.string()))
    return named, problems


def claimed_versions(finished: Finished) -> set[str]:
    """Versions that a run has begun and neither finished nor given up, by the claims that runs leave."""
    found = set()
    for info in finished.store.list(CLAIMS):
        name = info.path.rpartition("/")[2].removesuffix(".json")
        is_later = VERSION.fullmatch(name) is not None and int(name[1:]) > finished.number
        if is_later and b'"state":"claimed"' in finished.store.read(info.path):
            found.add(name)
    return found


def _strays(store: Store, named: pa.Array, claimed: set[str]) -> Iterator[Problem]:
    for chunk in listed(store, "data"):
        unknown = chunk.filter(pc.invert(pc.is_in(chunk.field("path"), value_set=named)))
        for entry in unknown.to_pylist():
            if entry["path"].split("/")[1] not in claimed:
                message = f"no version's table names it ({entry['size']} bytes); remove it with `shardmill gc`, or by hand"
                yield Problem(entry["path"], message)


def listed(store: Store, folder: str) -> Iterator[pa.StructArray]:
    """Everything in a folder: path and size, some thousands at a time."""
    objects = store.list(folder)
    while chunk := list(islice(objects, LISTED_AT_ONCE)):
        paths = pa.array([info.path for info in chunk], pa.string())
        sizes = pa.array([info.size for info in chunk], pa.int64())
        yield pa.StructArray.from_arrays([paths, sizes], ["path", "size"])
