"""The preview of a published version: whole, and nothing but documents of its shards.

Its footer says of which shards and rows it is made; these are read there and compared.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.checks import Checks, Problem
from pipelines.errors import shown
from pipelines.objectfile import opened_parquet
from pipelines.published import PUBLISHED, PublishedStore
from pipelines.verify_file import PARQUET_ERRORS, Expected, Shape, look, stored_type
from pipelines.verify_manifest import Finished, is_shard

NAME: Final = "preview"
RUNS: Final = b"shardmill.preview"
"""Of the footer's metadata: a JSON list of [shard, first row in it, rows], in the order of the preview's rows."""
BATCH_ROWS: Final = 128


def check_preview(finished: Finished, store: PublishedStore, checks: Checks) -> None:
    """The file of the preview is the one that published.json describes, with the columns of the version."""
    told = store.told.preview
    if told is None:
        return  # none was asked for
    checks.judge(NAME, _problems(finished, store, dict(told)), f"{told['path']} has the {told['rows']} documents that {PUBLISHED} says")


def _problems(finished: Finished, store: PublishedStore, told: dict[str, object]) -> Iterator[Problem]:
    path, rows = str(told["path"]), int(str(told["rows"]))
    inside = f"preview/{finished.version}/"
    if re.fullmatch(re.escape(inside) + r"[^/\0]+\.parquet", path) is None:
        yield Problem(PUBLISHED, f"preview.path is {shown(path)}, expected a Parquet file in {inside}")
        return
    if rows > finished.manifest["output"]["rows"]:
        yield Problem(PUBLISHED, f"preview.rows is {rows}, but {finished.version} has {finished.manifest['output']['rows']} documents")
    columns = [(column["name"], stored_type(column["type"]), column["nullable"]) for column in finished.manifest["schema"]]
    found = look(store.hub, Expected(path, rows, int(str(told["bytes"])), str(told["sha256"])), Shape(columns))
    yield from found.problems


def check_preview_documents(store: PublishedStore, shards: pa.Table, checks: Checks) -> None:
    """Every document of the preview is the one that its footer names: of which shard, and which row there."""
    if store.told.preview is None or any(not check.ok for check in checks.made if check.name in (NAME, "shards", "shards table")):
        return
    path = str(store.told.preview["path"])
    with pq.ParquetFile(io.BytesIO(store.hub.read(path)), arrow_extensions_enabled=False) as file:
        preview, told = file.read(use_threads=False), (file.metadata.metadata or {}).get(RUNS)
    runs = _runs(told)
    if runs is None:
        checks.judge("preview documents", [Problem(path, f"its footer does not say of which shards it is ({RUNS.decode()})")], "")
        return
    problems = _different(store, path, preview, runs, set(shards.column("path").to_pylist()))
    checks.judge("preview documents", problems, f"its {preview.num_rows} documents are as they are in the shards")


def _runs(told: bytes | None) -> list[tuple[str, int, int]] | None:
    """Shard, first row and number of rows of each stretch of the preview; None if the footer tells something else."""
    try:
        listed = orjson.loads(told or b"")
        runs = [(path, start, rows) for path, start, rows in listed]
    except (orjson.JSONDecodeError, TypeError, ValueError):
        return None
    is_right = all(isinstance(path, str) and isinstance(start, int) and isinstance(rows, int) for path, start, rows in runs)
    return runs if is_right and all(start >= 0 and rows > 0 for _, start, rows in runs) else None


def _different(
    store: PublishedStore, path: str, preview: pa.Table, runs: Sequence[tuple[str, int, int]], shards: Collection[str]
) -> Iterator[Problem]:
    if sum(rows for _, _, rows in runs) != preview.num_rows:
        yield Problem(path, f"its footer tells of {sum(rows for _, _, rows in runs)} documents, but it has {preview.num_rows}")
        return
    first = 0
    for shard, start, rows in runs:
        of_shard = _rows(store, shard, start, rows, preview.schema.names) if shard in shards and is_shard(shard) else None
        if of_shard is None or not _same(of_shard, preview.slice(first, rows)):
            yield Problem(path, f"rows {first} to {first + rows - 1} are not rows {start} to {start + rows - 1} of {shown(shard)}")
        first += rows


def _rows(store: PublishedStore, shard: str, start: int, rows: int, columns: Sequence[str]) -> pa.Table | None:
    """Some rows of a shard; None if it has no such rows or columns."""
    found: list[pa.RecordBatch] = []
    before = 0
    try:
        with opened_parquet(store, shard) as file:
            for group in range(file.num_row_groups):
                found += _overlapping(file, group, before, start, start + rows, columns)
                before += file.metadata.row_group(group).num_rows
    except PARQUET_ERRORS:
        return None
    table = pa.Table.from_batches(found) if found else None
    return table if table is not None and table.num_rows == rows else None


def _overlapping(file: pq.ParquetFile, group: int, before: int, start: int, stop: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows from `start` to `stop` of a file that are in one of its row groups."""
    if before + file.metadata.row_group(group).num_rows <= start or before >= stop:
        return
    for batch in file.iter_batches(BATCH_ROWS, [group], columns=list(columns), use_threads=False):
        begin, end = max(start - before, 0), min(stop - before, batch.num_rows)
        if begin < end:
            yield batch.slice(begin, end - begin).select(list(columns))
        before += batch.num_rows
        if before >= stop:
            return


def _same(some: pa.Table, others: pa.Table) -> bool:
    """Whether rows are equal; also where a number in them is NaN, which Arrow tells from itself."""
    return bool(some.equals(others)) or repr(some.to_pylist()) == repr(others.to_pylist())
