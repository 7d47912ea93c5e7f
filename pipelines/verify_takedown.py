"""A version that a takedown made, against the one that it was made from: the same but for the documents that went, which carry nothing.

Owns what a takedown may change, as a reader of two manifests knows it. Written from the contract: nothing here uses the code that takes
documents out.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.checks import MAX_PROBLEMS, Checks, Problem
from pipelines.errors import LocationUnreadable, NotFound, shown
from pipelines.objectfile import opened_parquet
from pipelines.verify_file import PARQUET_ERRORS
from pipelines.verify_flattened import SUMMED, flattened_problems, grown_from, told_problems
from pipelines.verify_ledger import BATCH_ROWS
from pipelines.verify_manifest import MANIFEST, Finished
from pipelines.verify_tables import COLUMNS, side_files

NAME: Final = "takedown"
TYPE: Final = "takedown"
REASON: Final = "taken_down"
PURGED: Final = "purged.json"
SAME: Final = ("name", "run_id", "fingerprints", "config", "input", "schema", "licence", "warnings")
"""Keys of the manifest that a takedown leaves as they are."""


def find_purge(finished: Finished, checks: Checks) -> bool:
    """Whether a version was purged: its manifest stays, all else is gone, and there is nothing to check."""
    path = f"{finished.folder}/{PURGED}"
    try:
        if not finished.store.exists(path):
            return False
    except LocationUnreadable:  # told by the checks of what is there
        return False
    try:
        by = orjson.loads(finished.store.read(path))["purged_for"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        by = "a later version"
    message = f"{finished.version} was purged when documents were taken out; only its manifest is left: verify {shown(by)}"
    checks.judge("purged", [Problem(path, message)], "")
    return True


def check_takedown(finished: Finished, shards: pa.Table, checks: Checks) -> None:
    """Check a version that a takedown made, and that no version's dropped documents that were taken down carry their columns."""
    entry = finished.manifest["operators"][-1:]
    is_made = bool(entry) and entry[0]["type"] == TYPE and "documents" in entry[0]["settings"]
    told = finished.manifest.get("takedown")
    if told is None:
        if is_made:
            message = "takedown is missing, but the last operator took documents out; restore the manifest from a copy"
            checks.judge(NAME, [Problem(MANIFEST, message)], "")
        elif any(operator["type"] == TYPE for operator in finished.manifest["operators"]):
            checks.judge(NAME, _carried(finished), "documents that were taken down are listed without their columns")
        return
    if not is_made:
        checks.judge(NAME, [Problem(MANIFEST, "takedown is told, but the last operator is no takedown with a number of documents")], "")
        return
    problems = [*_entry_problems(finished, entry[0]), *_carried(finished)]
    parent = _parent(finished, told["of"])
    if isinstance(parent, Problem):
        problems.append(parent)
    elif parent is not None:
        problems += [*_differences(finished, parent, entry[0]), *_shard_problems(finished, shards, told["of"])]
    proven = f"{told['of']} without {entry[0]['settings']['documents']} documents, and the same but for these"
    checks.judge(
        NAME, problems, proven if parent is not None else "the documents that went are told; the version before is not in this copy"
    )


def _entry_problems(finished: Finished, entry: Mapping[str, Any]) -> Iterator[Problem]:
    name, said = entry["name"], entry["settings"]["documents"]
    dropped = finished.manifest["ledger"]["dropped"].get(name, {})
    if dropped != ({REASON: said} if said else {}):
        yield Problem(MANIFEST, f"operator {shown(name)}: settings.documents is {shown(said)}, but ledger.dropped says {shown(dropped)}")


def _parent(finished: Finished, name: str) -> Mapping[str, Any] | Problem | None:
    """The manifest of the version before; None if it is not here."""
    path = f"versions/{name}/{MANIFEST}"
    try:
        content = finished.store.read(path)
    except NotFound:
        return None
    if finished.manifest["parents"] != [hashlib.sha256(content).hexdigest()]:
        return Problem(MANIFEST, f"takedown.of is {name}, but parents is not the digest of {path}")
    found: Mapping[str, Any] = orjson.loads(content)
    return found


def _differences(finished: Finished, parent: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[Problem]:
    manifest, of = finished.manifest, finished.manifest["takedown"]["of"]
    grown = grown_from(parent) is not None
    for key in SAME if not grown else [key for key in SAME if key not in SUMMED]:
        if manifest.get(key) != parent.get(key):
            yield Problem(MANIFEST, f"{key} is not that of {of}, which a takedown does not change")
    if "ingest" in manifest:
        yield Problem(MANIFEST, "ingest is told, but a takedown accounts for all its versions itself, and was added to none")
    before = parent["ingest"]["lineage"]["ledger"] if grown else parent["ledger"]
    ledger = manifest["ledger"]
    rest = {name: reasons for name, reasons in ledger["dropped"].items() if name != entry["name"]}
    expected = (before["rows_in"], before["rows_out"] - entry["settings"]["documents"], before["dropped"], before["quarantined"])
    if (ledger["rows_in"], ledger["rows_out"], rest, ledger["quarantined"]) != expected:
        yield Problem(MANIFEST, f"ledger is not that of {of} less {entry['settings']['documents']} documents that were taken down")
    if grown:
        yield from flattened_problems(finished, parent, entry)
        return
    if manifest["operators"][:-1] != parent["operators"]:
        yield Problem(MANIFEST, f"operators: those before {shown(entry['name'])} are not those of {of}")
    told = parent.get("takedown", {})
    yield from told_problems(
        finished, {"covers": [*told.get("covers", [of]), finished.version], "runs": told.get("runs", [parent["run_id"]])}
    )
    if finished.pipelines != told.get("pipelines", []):
        yield Problem(MANIFEST, f"takedown.pipelines is not that of {of}, which a takedown does not change")


def _shard_problems(finished: Finished, shards: pa.Table, of: str) -> Iterator[Problem]:
    """Shards that are not the version's own are those of the version before, unchanged. Nothing, where its table is purged."""
    path = f"versions/{of}/shards.parquet"
    try:
        before = pq.read_table(io.BytesIO(finished.store.read(path)), use_threads=False)
    except NotFound:
        return
    except PARQUET_ERRORS as error:
        yield Problem(path, f"it cannot be read as Parquet: {shown(error)}; restore it from a copy")
        return
    own = pc.starts_with(shards.column("path"), f"data/{finished.version}/")
    known = {row["path"]: row for row in before.to_pylist()}
    for row in shards.filter(pc.invert(own)).to_pylist():
        if known.get(row["path"]) != row:
            yield Problem(f"{finished.folder}/shards.parquet", f"{row['path']} is not told as in {path}")


def _carried(finished: Finished) -> Iterator[Problem]:
    """Rows of the dropped table that were taken down and carry more than who they are."""
    names = pa.array([operator["name"] for operator in finished.manifest["operators"] if operator["type"] == TYPE], pa.string())
    for path in side_files(finished, "dropped"):
        with opened_parquet(finished.store, path) as file:
            more = [name for name in file.schema_arrow.names if name not in COLUMNS["dropped"]]
            if not more:
                continue
            row = 0
            for batch in file.iter_batches(BATCH_ROWS, columns=["operator", *more], use_threads=False):
                mine = pc.fill_null(pc.is_in(batch.column("operator"), value_set=names), False)
                for name in more:
                    bad = np.flatnonzero(pc.and_(mine, pc.is_valid(batch.column(name))).to_numpy(zero_copy_only=False))
                    for at in bad[: MAX_PROBLEMS + 1].tolist():
                        yield Problem(path, f"row {row + at} was taken down, but has its {shown(name)} still")
                row += batch.num_rows
