"""What a version that was ingested tells of those that it adds to, as sentences for every view of it.

Reads the manifest alone. After a takedown a version accounts for all its documents itself, and there is nothing more to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.legible import count, counted, legible, share


def rows_before(manifest: Mapping[str, Any]) -> int:
    """Documents of a version that its own ledger does not account for: those of the versions that it adds to."""
    rows: int = _growth(manifest)["ledger"]["rows_out"] - manifest["ledger"]["rows_out"] if _base(manifest) is not None else 0
    return rows


def growth_sentences(manifest: Mapping[str, Any]) -> list[str]:
    """How many documents are new, and what went in over all versions; none for a version that adds to no other."""
    base = _base(manifest)
    if base is None:
        return []
    whole = _growth(manifest)
    ledger = whole["ledger"]
    dropped = sum(sum(reasons.values()) for reasons in ledger["dropped"].values())
    new = f"{counted(manifest['ledger']['rows_out'], 'document')} came with this version"
    went_in = f"{counted(ledger['rows_in'], 'document')} of {counted(whole['files'], 'file')} went in"
    here = f"{count(ledger['rows_out'])} are here ({share(ledger['rows_out'], ledger['rows_in'])})"
    lost = f"{count(dropped)} were dropped, and {count(sum(ledger['quarantined'].values()))} could not be processed"
    return [
        f"{new}; the other {count(rows_before(manifest))} are those of {legible(base, 20)}, and what follows tells of the new ones.",
        f"Over {counted(len(whole['versions']), 'version')}, {went_in}: {here}, {lost}.",
        *_left_out(manifest["ingest"]),
    ]


def _left_out(entry: Mapping[str, Any]) -> list[str]:
    """Files that were not what they were, where that was passed over."""
    found = []
    for what, told in (("changed", "has changed since; what is new in them is not here"), ("vanished", "has vanished since")):
        number = entry[what]["files"]
        if number and entry[what]["policy"] == "keep":
            words = told if number == 1 else told.replace("has ", "have ", 1)
            found.append(f"{counted(number, 'file')} that an earlier version took in {words}.")
    return found


def _base(manifest: Mapping[str, Any]) -> str | None:
    base: str | None = None if "takedown" in manifest else manifest.get("ingest", {}).get("base")
    return base


def _growth(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    lineage: Mapping[str, Any] = manifest["ingest"]["lineage"]
    return lineage
