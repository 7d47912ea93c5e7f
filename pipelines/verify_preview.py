"""The preview of a published version: whole, and nothing but documents of its shards.

Owns the search for its documents: shards are read in order until each was found, of most row groups one column alone.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.checks import Checks, Problem
from pipelines.errors import shown
from pipelines.objectfile import opened_parquet
from pipelines.published import PUBLISHED, PublishedStore
from pipelines.verify_file import PARQUET_ERRORS, Expected, Shape, look, stored_type
from pipelines.verify_manifest import Finished, is_shard

NAME: Final = "preview"


def check_preview(finished: Finished, store: PublishedStore, checks: Checks) -> None:
    """The file of the preview is the one that published.json describes, with the columns of the version."""
    told = store.told.preview
    if told is None:
        if finished.manifest["output"]["rows"]:
            checks.judge(NAME, [Problem(PUBLISHED, f"preview is null, but {finished.version} has documents")], "")
        return
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
    """Every document of the preview is one of the shards', as often as it is in the preview."""
    if store.told.preview is None or any(not check.ok for check in checks.made if check.name in (NAME, "shards", "shards table")):
        return
    path = str(store.told.preview["path"])
    preview = pq.read_table(io.BytesIO(store.hub.read(path)), use_threads=False)
    missing = _missing(store, preview, shards.column("path").to_pylist())
    problems = (Problem(path, f"a document of it is in no shard: {shown(row)}") for row in missing)
    checks.judge("preview documents", problems, f"each of its {preview.num_rows} documents is in the shards")


def _missing(store: PublishedStore, preview: pa.Table, paths: list[str]) -> Iterator[str]:
    """Documents of the preview that no shard has."""
    wanted = Counter(map(repr, preview.to_pylist()))
    key = _key(preview.schema)
    for path in filter(is_shard, paths):
        if not wanted:
            return
        try:
            _find(store, path, key, preview, wanted)
        except PARQUET_ERRORS as error:
            yield f"{path} cannot be read ({shown(error)})"
            return
    yield from wanted.elements()


def _key(schema: pa.Schema) -> str:
    """The column by which documents are looked for: `id`, or the first that can be compared and is small."""
    comparable = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_integer(field.type)]
    return "id" if "id" in comparable else next(iter(comparable), schema.names[0])


def _find(store: PublishedStore, path: str, key: str, preview: pa.Table, wanted: Counter[str]) -> None:
    """Take the documents of one shard off those that are wanted."""
    is_comparable = not pa.types.is_nested(preview.schema.field(key).type)
    with opened_parquet(store, path) as file:
        for group in range(file.num_row_groups if wanted else 0):
            rows = None
            if is_comparable:
                held = file.read_row_group(group, [key], use_threads=False).column(key)
                rows = pc.indices_nonzero(pc.is_in(held, value_set=preview.column(key).combine_chunks()))
                if not len(rows):
                    continue
            table = file.read_row_group(group, preview.schema.names, use_threads=False)
            found = table if rows is None else table.take(rows)
            for row in map(repr, found.to_pylist()):
                if wanted[row] > 1:
                    wanted[row] -= 1
                else:
                    del wanted[row]
