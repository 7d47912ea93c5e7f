"""A version that a takedown made of one that had grown: it tells of all versions of that one together what each of them told.

Owns how manifests of a lineage are followed and added up, as a reader of them does it. Written from the contract: nothing here uses the
code that ingests or takes documents out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from pipelines.checks import Problem
from pipelines.errors import NotFound, shown
from pipelines.storage import Store
from pipelines.verify_manifest import MANIFEST, TABLES, Finished, shape_problems

SUMMED: Final = ("input", "warnings")
"""Keys that tell of all versions, where there were several."""
OF_NEWEST: Final = ("uri", "limit", "history")


def grown_from(manifest: Mapping[str, Any]) -> str | None:
    """The version that a version was added to; None if it was not."""
    base: str | None = manifest.get("ingest", {}).get("base")
    return base


def lineage_of(store: Store, manifest: Mapping[str, Any]) -> list[Mapping[str, Any]] | Problem:
    """The manifests of a version and of all that it was added to, newest first; or why one cannot be had.

    Raises:
        NotFound: One is not in this copy.
    """
    found = [manifest]
    while (base := grown_from(found[-1])) is not None:
        path = f"versions/{base}/{MANIFEST}"
        content = store.read(path)
        if hashlib.sha256(content).hexdigest() not in found[-1]["parents"]:
            return Problem(path, f"its digest is not among the parents of {found[-1]['version']}, which was added to it; restore it")
        for problem in shape_problems(path, content, base):
            return problem
        older: dict[str, Any] = orjson.loads(content)
        if int(older["version"][1:]) >= int(found[-1]["version"][1:]):
            return Problem(path, f"it is of {shown(older['version'])}, which is not older than {found[-1]['version']}")
        found.append(older)
    return found


def told_problems(finished: Finished, expected: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    """What `takedown` tells of versions and runs; versions that were made before it told of runs have none."""
    told = finished.manifest["takedown"]
    for key, names in expected.items():
        if key in told and told[key] != list(names):
            yield Problem(MANIFEST, f"takedown.{key} is {shown(told[key])}, expected {shown(list(names))}")


def flattened_problems(finished: Finished, parent: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[Problem]:
    """What a version does not tell of its lineage as it should; `entry` is of the takedown itself."""
    told, source, lineage = finished.manifest["input"], parent["input"], parent["ingest"]["lineage"]
    for key in OF_NEWEST:
        if told.get(key) != source.get(key):
            yield Problem(MANIFEST, f"input.{key} is not that of {parent['version']}, which a takedown does not change")
    read = told["files"] - told["unreadable_files"], told["rows"]
    expected = lineage["files"] - lineage["unreadable_files"], lineage["rows"]
    if read != expected:
        yield Problem(MANIFEST, f"input tells of {read} files that could be read and rows, but the versions together of {expected}")
    try:
        manifests = lineage_of(finished.store, parent)
    except NotFound:
        return  # what the parent says of them together is all that is here
    if isinstance(manifests, Problem):
        yield manifests
        return
    oldest_first = list(reversed(manifests))
    takedowns = [(one["version"], one["run_id"], one.get("takedown", {})) for one in oldest_first]
    covers = [version for name, _, took in takedowns for version in took.get("covers", [name])]
    runs = [run for _, run_id, took in takedowns for run in took.get("runs", [run_id])]
    yield from told_problems(finished, {"covers": [*covers, finished.version], "runs": list(dict.fromkeys(runs))})
    yield from _operator_problems(finished, oldest_first, entry)
    for name in TABLES:
        rows = sum(one["tables"][name]["rows"] for one in oldest_first)
        rows += entry["settings"]["documents"] if name == "dropped" else 0
        if finished.manifest["tables"][name]["rows"] != rows:
            said = f"tables.{name}.rows is {finished.manifest['tables'][name]['rows']}"
            yield Problem(MANIFEST, f"{said}, but those of the versions together have {rows}")
    for key in ("warnings", "learned"):
        number = sum(len(one.get(key, ())) for one in oldest_first)
        if len(finished.manifest.get(key, ())) != number:
            yield Problem(MANIFEST, f"{key} has {len(finished.manifest.get(key, ()))} entries, but the versions together have {number}")


def _operator_problems(finished: Finished, manifests: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> Iterator[Problem]:
    """Rows of each operator are the sums over the versions, and its settings the newest's."""
    rows: dict[str, Counter[str]] = {}
    settings: dict[str, Mapping[str, Any]] = {}
    for one in manifests:
        for operator in one["operators"]:
            rows.setdefault(operator["name"], Counter()).update({key: operator[key] for key in ("rows_in", "rows_out")})
            settings[operator["name"]] = operator["settings"]
    names = {learned["operator"] for one in manifests for learned in one.get("learned", ())}
    found = {operator["name"]: operator for operator in finished.manifest["operators"] if operator["name"] != entry["name"]}
    if found.keys() != rows.keys():
        yield Problem(MANIFEST, f"operators: {shown(sorted(found))}, but the versions together had {shown(sorted(rows))}")
        return
    for name, operator in found.items():
        if any(operator[key] != number for key, number in rows[name].items()):
            said = f"rows_in {operator['rows_in']} and rows_out {operator['rows_out']}"
            yield Problem(MANIFEST, f"operator {shown(name)}: {said} are not the sums over the versions, {dict(rows[name])}")
        if not _is_same(operator["settings"], settings[name], names):
            yield Problem(MANIFEST, f"operator {shown(name)}: its settings are not those of the newest version that had it")


def _is_same(settings: Mapping[str, Any], before: Mapping[str, Any], learners: set[str]) -> bool:
    """Whether settings are the same; a file that an operator learned may be told by the name of the operator."""
    if settings.keys() != before.keys():
        return False
    changed = [(value, before[key]) for key, value in settings.items() if value != before[key]]
    return all(isinstance(value, str) and value in learners and f"/learned/{value}/" in str(path) for value, path in changed)
