"""What a version tells as if one run over the input of all versions that it is made of had made it, instead of a row of ingestions.

Pure: manifests go in, and what they say together comes out. Rows are summed by the operator's name, since the tables of lost documents name
operators. Where versions had other operators, or in another order, `pipelines` tells through which ones the rows of each of them went.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipelines.lineage import INGEST, runs_of
from pipelines.results import TABLES, files_digest
from pipelines.tombstones import TAKEDOWN

Manifest = Mapping[str, Any]
FOLDER: Final = re.compile(r"versions/v\d+/")
SUMMED: Final = ("files", "rows", "bytes", "unreadable_files")
FACTS: Final = ("type", "settings")
"""Of an operator, what may differ between versions."""


@dataclass(frozen=True, slots=True)
class Flat:
    """The account of a version over all versions that it is made of.

    Attributes:
        manifest: With the sums in their places, and without `ingest` and `takedown`. The number of files counts one that could be read
            only later as often as it was tried.
        covers: The versions whose shards the ledger accounts for, oldest first.
        runs: That made them.
        pipelines: Rows by operator of versions that had the same ones, where not all had; see `pipelines_of`.
    """

    manifest: dict[str, Any]
    covers: list[str]
    runs: list[str]
    pipelines: list[dict[str, Any]]


def flattened(manifests: Sequence[Manifest]) -> Flat:
    """What the versions of a lineage tell together.

    Args:
        manifests: Of the versions, the newest first.
    """
    newest, oldest_first = manifests[0], list(reversed(manifests))
    made = {key: value for key, value in oldest_first[-1].items() if key not in (INGEST, TAKEDOWN)}
    pipelines = pipelines_of(oldest_first)
    if len(manifests) > 1:
        lineage = newest[INGEST]["lineage"]
        made |= {
            "input": _input(oldest_first, lineage),
            "ledger": lineage["ledger"],
            "operators": _operators(oldest_first, is_one_pipeline=not pipelines),
            "tables": {**newest["tables"], **{name: _table([one["tables"][name] for one in oldest_first]) for name in TABLES}},
        }
        for key in ("warnings", "learned"):
            if any(key in one for one in manifests):
                made[key] = [entry for one in oldest_first for entry in one.get(key, ())]
    runs = list(dict.fromkeys(run for one in oldest_first for run in runs_of(one)))
    return Flat(made, [version for one in oldest_first for version in covers_of(one)], runs, pipelines)


def covers_of(manifest: Manifest) -> list[str]:
    """The versions whose shards the ledger of a version accounts for: its own, and what takedowns went on from."""
    return list(manifest.get(TAKEDOWN, {}).get("covers", [manifest["version"]]))


def moved(path: str, folder: str) -> str:
    """The path of a file of any version in the folder of another one."""
    return FOLDER.sub(lambda _: f"{folder}/", path, count=1)


def _input(manifests: Sequence[Manifest], lineage: Manifest) -> dict[str, Any]:
    newest = manifests[-1]["input"]
    summed = {key: lineage[key] for key in SUMMED}
    unreadable = [file for one in manifests for file in one["input"].get("unreadable", ())]
    return {**newest, **summed, **({"unreadable": unreadable} if "unreadable" in newest else {})}


def _table(told: Sequence[Manifest]) -> dict[str, Any]:
    """A side table of files of several versions; empty ones are left out, but for one that says which columns there are."""
    every = [file for table in told for file in table["files"]]
    files = [file for file in every if file["rows"]] or every[-1:]
    digest = files_digest((file["path"], file["sha256"]) for file in files)
    return {"rows": sum(file["rows"] for file in files), "sha256": digest, "files": files}


# --- operators


def named_as_learned(operators: Sequence[Manifest], learned: Mapping[str, str]) -> list[dict[str, Any]]:
    """Operators whose settings name the operator that learned a file instead of the file: what became of it is told under `learned`.

    Args:
        operators: Of a version.
        learned: Operators by the paths of the files that they learned.
    """
    return [{**operator, "settings": {key: _name(value, learned) for key, value in operator["settings"].items()}} for operator in operators]


def _name(value: Any, learned: Mapping[str, str]) -> Any:
    if not isinstance(value, str):
        return value
    return next((operator for path, operator in learned.items() if value.endswith(f"/{path}")), value)


def _operators(manifests: Sequence[Manifest], *, is_one_pipeline: bool) -> list[dict[str, Any]]:
    """Every operator once, in the order of the newest version's pipeline; takedowns, which may come first or last, are last."""
    learned = {entry["path"]: entry["operator"] for one in manifests for entry in one.get("learned", ())}
    told = [(covers_of(one), {entry["name"]: entry for entry in named_as_learned(one["operators"], learned)}) for one in manifests]
    names = _order([list(entries) for _, entries in reversed(told)])
    if not is_one_pipeline:
        last = {name: entry["type"] for _, entries in told for name, entry in entries.items()}
        names = [name for name in names if last[name] != TAKEDOWN] + sorted(
            (name for name in names if last[name] == TAKEDOWN), key=lambda name: (len(name), name)
        )
    return [_merged([(versions, entries[name]) for versions, entries in told if name in entries]) for name in names]


def _order(sequences: Sequence[Sequence[str]]) -> list[str]:
    """All names, in the order of the first sequence; those that only later ones have follow the one that they follow there."""
    order = list(sequences[0])
    for sequence in sequences[1:]:
        at = 0
        for name in sequence:
            if name not in order:
                order.insert(at, name)
            at = order.index(name) + 1
    return order


def _merged(told: Sequence[tuple[list[str], Manifest]]) -> dict[str, Any]:
    """One operator of several versions: the newest's settings, all rows, and in `settings_before` what was set otherwise."""
    newest = told[-1][1]
    made = {**newest, **{key: sum(entry[key] for _, entry in told) for key in ("rows_in", "rows_out")}}
    made["seconds"] = round(sum(entry["seconds"] for _, entry in told), 3)
    if any("removed" in entry for _, entry in told):
        removed: Counter[str] = Counter()
        for _, entry in told:
            removed.update(entry.get("removed", {}))
        made["removed"] = dict(sorted(removed.items()))
    warnings = list(dict.fromkeys(text for _, entry in told for text in entry.get("warnings", ())))
    before = _settings_before(told)
    return {**made, **({"warnings": warnings} if warnings else {}), **({"settings_before": before} if before else {})}


def _settings_before(told: Sequence[tuple[list[str], Manifest]]) -> list[dict[str, Any]]:
    """Settings, and types, of older versions that are not the newest's, with the versions that had them."""
    newest = {key: told[-1][1][key] for key in FACTS}
    found = [dict(one) for _, entry in told for one in entry.get("settings_before", ())]
    for versions, entry in told:
        inner = {version for one in entry.get("settings_before", ()) for version in one["versions"]}
        mine = {key: entry[key] for key in FACTS}
        had = [version for version in versions if version not in inner]
        same = next((one for one in found if {key: one[key] for key in FACTS} == mine), None)
        if mine == newest or not had:
            continue
        if same is None:
            found.append({"versions": had, **mine})
        else:
            same["versions"] = [*same["versions"], *had]
    return [one for one in found if {key: one[key] for key in FACTS} != newest]


# --- pipelines


def pipelines_of(manifests: Sequence[Manifest]) -> list[dict[str, Any]]:
    """Which operators the rows of which versions went through, in which order; nothing where all versions had the same ones.

    A chain begins with the rows that were read, or with what the chains before it gave whose versions it has. What operators follow in the
    manifest, and are in no chain, got what all chains gave.
    """
    oldest = manifests[0]
    told: list[dict[str, Any]] = list(oldest.get(TAKEDOWN, {}).get("pipelines", ()))
    sequences = {tuple(entry["name"] for entry in one["operators"]) for one in manifests}
    if len(manifests) == 1 or (not told and len(sequences) == 1):
        return told
    groups: dict[tuple[str, ...], list[Manifest]] = {}
    for one in manifests[1:] if told else manifests:
        groups.setdefault(tuple(entry["name"] for entry in one["operators"]), []).append(one)
    if told:
        known = {entry["name"] for chain in told for entry in chain["operators"]}
        tail = [entry for entry in oldest["operators"] if entry["name"] not in known]
        told.append(_chain(covers_of(oldest), tail, oldest["ledger"]["rows_out"]))
    return [*told, *(_chain_of_all(group) for group in groups.values())]


def _chain(versions: list[str], operators: Sequence[Manifest], rows_out: int) -> dict[str, Any]:
    rows = [{key: entry[key] for key in ("name", "rows_in", "rows_out")} for entry in operators]
    return {"versions": versions, "rows_in": rows[0]["rows_in"] if rows else rows_out, "rows_out": rows_out, "operators": rows}


def _chain_of_all(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """Of versions that had the same operators."""
    chains = [_chain(covers_of(one), one["operators"], one["ledger"]["rows_out"]) for one in manifests]
    columns = zip(*(chain["operators"] for chain in chains), strict=True)
    return {
        "versions": [version for chain in chains for version in chain["versions"]],
        **{key: sum(chain[key] for chain in chains) for key in ("rows_in", "rows_out")},
        "operators": [_summed(entries) for entries in columns],
    }


def _summed(entries: Sequence[Manifest]) -> dict[str, Any]:
    return {"name": entries[0]["name"], **{key: sum(entry[key] for entry in entries) for key in ("rows_in", "rows_out")}}
