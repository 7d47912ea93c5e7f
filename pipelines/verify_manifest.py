"""The manifest of a version as it lies there: found, whole, of the right shape, the same in both places, with the parents that it names.

Owns the shape of DESIGN 10 as a reader sees it. Written from the contract, not from the code that writes manifests.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pipelines.checks import Checks, Problem
from pipelines.errors import NotFound, shown
from pipelines.storage import Store

MANIFEST: Final = "manifest.json"
MANIFEST_VERSION: Final = 1
VERSION: Final = re.compile(r"v[1-9][0-9]*")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
SHARD: Final = re.compile(r"data/v[1-9][0-9]*/(?!\.{1,2}/)([^/\0]+/(?!\.{1,2}/))*[^/\0]+\.parquet")
TABLES: Final = ("dropped", "duplicates", "quarantine")


def is_shard(path: str) -> bool:
    """Whether a path is one that a shard may have: a Parquet file in or below a version's folder of data."""
    return SHARD.fullmatch(path) is not None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


KINDS: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "text": ("a string", lambda value: isinstance(value, str)),
    "text or null": ("a string or null", lambda value: value is None or isinstance(value, str)),
    "texts": ("a string or a list", lambda value: isinstance(value, str | list)),
    "count": ("a whole number, 0 or more", _is_whole),
    "object or null": ("an object or null", lambda value: value is None or isinstance(value, dict)),
    "count or null": ("a whole number, 0 or more, or null", lambda value: value is None or _is_whole(value)),
    "number": ("a number, 0 or more", lambda value: _is_whole(value) or (isinstance(value, float) and value >= 0)),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "object": ("an object", lambda value: isinstance(value, dict)),
    "list": ("a list", lambda value: isinstance(value, list)),
    "version": ("a version, as v1", _matches(VERSION)),
    "version or null": ("a version, as v1, or null", lambda value: value is None or _matches(VERSION)(value)),
    "digest": ("64 hexadecimal digits", _matches(DIGEST)),
    "time": ("a time, as 2026-01-31T12:00:00Z", _matches(TIME)),
}

LEDGER: Final = {
    "": "object",
    ".rows_in": "count",
    ".rows_out": "count",
    ".dropped": "object",
    ".dropped.{}": "object",
    ".dropped.{}.{}": "count",
    ".quarantined": "object",
    ".quarantined.{}": "count",
}
INGEST: Final[Mapping[str, str]] = {
    "ingest": "object",
    "ingest.base": "version or null",
    "ingest.tick": "text or null",
    "ingest.new_files": "count",
    "ingest.known_files": "count",
    **{
        f"ingest.{what}{path}": kind
        for what in ("changed", "vanished")
        for path, kind in (("", "object"), (".policy", "text"), (".files", "count"), (".examples", "list"), (".examples.[]", "text"))
    },
    "ingest.data_files": "list",
    "ingest.data_files.[]": "text",
    "ingest.lineage": "object",
    "ingest.lineage.versions": "list",
    "ingest.lineage.versions.[]": "version",
    **{f"ingest.lineage.{name}": "count" for name in ("files", "rows", "bytes", "unreadable_files")},
    **{f"ingest.lineage.ledger{path}": kind for path, kind in LEDGER.items()},
}
CHAIN: Final = {"rows_in": "count", "rows_out": "count", "operators": "list", "operators.[]": "object", "operators.[].name": "text"}

# `[]` is every element of a list, `{}` every value of an object.
FIELDS: Final[Mapping[str, str]] = {
    "manifest_version": "count",
    "name": "text",
    "version": "version",
    "run_id": "text",
    "created_at": "time",
    "fingerprints": "object",
    "fingerprints.config": "text",
    "fingerprints.inputs": "text",
    "fingerprints.code": "text",
    "config": "object",
    "environment": "object",
    "environment.python": "text",
    "environment.packages": "object",
    "environment.packages.{}": "text",
    "input": "object",
    "input.uri": "texts",
    "input.files": "count",
    "input.rows": "count",
    "input.bytes": "count",
    "input.unreadable_files": "count",
    "input.history": "object",
    "input.history.generations": "list",
    "input.history.generations.[]": "text",
    "input.history.tombstones": "list",
    "input.history.tombstones.[]": "text",
    **{f"ledger{path}": kind for path, kind in LEDGER.items()},
    "operators": "list",
    "operators.[]": "object",
    "operators.[].name": "text",
    "operators.[].type": "text",
    "operators.[].settings": "object",
    "operators.[].rows_in": "count",
    "operators.[].rows_out": "count",
    "operators.[].seconds": "number",
    "operators.[].assets": "object",
    "operators.[].assets.{}": "text",
    "operators.[].removed": "object",
    **{f"operators.[].removed.{name}": "count" for name in ("chars", "documents", "passages")},
    "operators.[].settings_before": "list",
    "operators.[].settings_before.[]": "object",
    "operators.[].settings_before.[].type": "text",
    "operators.[].settings_before.[].settings": "object",
    "operators.[].settings_before.[].versions": "list",
    "operators.[].settings_before.[].versions.[]": "version",
    "operators.[].warnings": "list",
    "operators.[].warnings.[]": "text",
    "warnings": "list",
    "warnings.[]": "object",
    **{f"warnings.[].{name}": "text" for name in ("operator", "guard", "subject")},
    **{f"warnings.[].{name}": "number" for name in ("found", "limit")},
    "warnings.[].documents": "count",
    "warnings.[].examples": "list",
    "warnings.[].examples.[]": "text",
    "output": "object",
    "output.shards": "count",
    "output.rows": "count",
    "output.bytes": "count",
    "output.tokens": "count or null",
    "output.token_shards": "object",
    "output.token_shards.formats": "list",
    "output.token_shards.formats.[]": "text",
    "output.token_shards.seed": "count or null",
    **{f"output.token_shards.{name}": "count" for name in ("shards", "documents", "tokens", "files", "bytes")},
    "tokens": "object or null",
    "tokens.total": "count",
    "tokens.source_column": "text or null",
    "tokens.language_column": "text or null",
    **{
        f"tokens.{by}{path}": kind
        for by, whole in (("by_source", "object"), ("by_language", "object or null"))
        for path, kind in (("", whole), (".{}", "object"), (".{}.documents", "count"), (".{}.tokens", "count"))
    },
    "documents": "object or null",
    "documents.text_column": "text",
    "documents.language_column": "text or null",
    "documents.text_bytes": "count",
    "documents.null_texts": "count",
    "documents.lengths": "list",
    "documents.lengths.[]": "object",
    **{f"documents.lengths.[].{name}": "count" for name in ("from_bytes", "below_bytes", "documents", "text_bytes")},
    "documents.by_language": "object or null",
    "documents.by_language.{}": "object",
    **{f"documents.by_language.{{}}.{name}": "count" for name in ("documents", "text_bytes")},
    "tables": "object",
    "tables.shards": "object",
    "tables.shards.rows": "count",
    "tables.shards.sha256": "digest",
    "tables.token_shards": "object",
    "tables.token_shards.rows": "count",
    "tables.token_shards.sha256": "digest",
    **{
        f"tables.{table}{path}": kind
        for table in TABLES
        for path, kind in (
            ("", "object"),
            (".rows", "count"),
            (".sha256", "digest"),
            (".files", "list"),
            (".files.[]", "object"),
            (".files.[].path", "text"),
            (".files.[].rows", "count"),
            (".files.[].bytes", "count"),
            (".files.[].sha256", "digest"),
        )
    },
    "learned": "list",
    "learned.[]": "object",
    **{f"learned.[].{name}": "text" for name in ("operator", "path")},
    **{f"learned.[].{name}": "count" for name in ("bytes", "documents", "sample_bytes")},
    "learned.[].sha256": "digest",
    "schema": "list",
    "schema.[]": "object",
    "schema.[].name": "text",
    "schema.[].type": "text",
    "schema.[].nullable": "flag",
    **INGEST,
    "takedown": "object",
    "takedown.of": "version",
    "takedown.covers": "list",
    "takedown.covers.[]": "version",
    "takedown.runs": "list",
    "takedown.runs.[]": "text",
    "takedown.pipelines": "list",
    "takedown.pipelines.[]": "object",
    "takedown.pipelines.[].versions": "list",
    "takedown.pipelines.[].versions.[]": "version",
    **{f"takedown.pipelines.[].{path}": kind for path, kind in CHAIN.items()},
    **{f"takedown.pipelines.[].operators.[].{name}": "count" for name in ("rows_in", "rows_out")},
    "takedown.data_files": "list",
    "takedown.data_files.[]": "text",
    "parents": "list",
    "parents.[]": "digest",
    "licence": "text or null",
}
OPTIONAL: Final = frozenset(
    {
        *("ingest", "takedown", "takedown.runs", "takedown.pipelines", "operators.[].settings_before"),
        *("input.history", "operators.[].assets", "operators.[].removed", "operators.[].warnings"),
        *("output.token_shards", "tables.token_shards"),
        *("tokens", "documents", "learned", "warnings"),
    }
)
"""Not every version has these: what earlier runs left, what operators were given, cut out, warned of and learned, what guards warned of,
counts of tokens and documents; and what was ingested and taken out."""
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Finished:
    """A version whose manifest has the right shape.

    Attributes:
        is_current: Whether it is the output's current version.
        parts: The versions that it is made of, oldest first, itself last, once somebody has looked them up.
    """

    store: Store
    manifest: Mapping[str, Any]
    version: str
    is_current: bool
    parts: tuple[Finished, ...] = ()

    @property
    def folder(self) -> str:
        """Where the version's tables lie."""
        return f"versions/{self.version}"

    @property
    def covers(self) -> tuple[str, ...]:
        """The versions whose shards the ledger accounts for: its own, and those that takedowns went on from."""
        return tuple(self.manifest.get("takedown", {}).get("covers", (self.version,)))

    @property
    def runs(self) -> int:
        """How many runs lost the documents that its tables list."""
        return len(self.manifest.get("takedown", {}).get("runs", (self.version,)))

    @property
    def pipelines(self) -> list[Mapping[str, Any]]:
        """Which operators the rows of which versions went through, where these had not all the same."""
        return list(self.manifest.get("takedown", {}).get("pipelines", ()))

    @property
    def number(self) -> int:
        """1 for v1."""
        return int(self.version[1:])


def find_manifest(store: Store, version: str | None, checks: Checks) -> Finished | None:
    """The version to verify, the current one if `version` is None. None if there is none that could be looked at any further."""
    root = _read(store, MANIFEST)
    if root is None:
        problem = Problem(MANIFEST, f"{store.uri}: no manifest.json: nothing is finished here; run the pipeline, or check the address")
        checks.judge("manifest", [problem], "")
        return None
    current = _parsed(root)
    current_name = current.get("version") if isinstance(current, dict) else None
    if version is None or version == current_name:
        return _accept(store, MANIFEST, root, current_name, checks, is_current=True)
    if not isinstance(current_name, str):
        problem = Problem(MANIFEST, "it names no version: truncated or overwritten; restore it from its version's folder")
        checks.judge("current", [problem], "")
    path = f"versions/{version}/{MANIFEST}"
    data = _read(store, path) if VERSION.fullmatch(version) else None
    if data is None:
        checks.judge("manifest", [Problem(path, f"version {shown(version)!r} is not finished here; the current one is {current_name}")], "")
        return None
    return _accept(store, path, data, version, checks, is_current=False)


def _accept(store: Store, path: str, data: bytes, name: str | None, checks: Checks, *, is_current: bool) -> Finished | None:
    problems = list(shape_problems(path, data, name))
    checks.judge("manifest", problems, f"{path} has every key, with the right types")
    if is_current and name is not None and VERSION.fullmatch(str(name)):
        checks.judge("current", _copy_problems(store, data, name), f"manifest.json is versions/{name}/manifest.json, byte for byte")
    if problems:
        return None
    manifest: dict[str, Any] = orjson.loads(data)
    return Finished(store, manifest, manifest["version"], is_current)


def _read(store: Store, path: str) -> bytes | None:
    try:
        return store.read(path)
    except NotFound:
        return None


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def shape_problems(path: str, data: bytes, name: str | None) -> Iterator[Problem]:
    """What is missing or of the wrong type in a manifest. `name`: the version whose it must be."""
    try:
        manifest = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        yield Problem(path, f"it is no JSON ({shown(error)}) in {len(data)} bytes: truncated or overwritten; restore it from a copy")
        return
    if not isinstance(manifest, dict):
        yield Problem(path, f"found {shown(manifest)!r}, expected an object")
        return
    for field, kind in FIELDS.items():
        expected, is_right = KINDS[kind]
        for place, value in _values(manifest, field.split("."), ""):
            if value is _ABSENT:
                if field in OPTIONAL:
                    continue
                yield Problem(path, f"{place} is missing; expected {expected}")
            elif not is_right(value):
                yield Problem(path, f"{place}: found {shown(value)!r}, expected {expected}")
    if manifest.get("manifest_version", MANIFEST_VERSION) != MANIFEST_VERSION:
        found = f"found {shown(manifest['manifest_version'])}, expected {MANIFEST_VERSION}"
        yield Problem(path, f"manifest_version: {found}; verify with a shardmill that knows it")
    if name is not None and manifest.get("version", name) != name:
        yield Problem(path, f"version: found {shown(manifest['version'])!r}, expected {name!r}, whose folder it is in")


def _values(value: Any, steps: list[str], place: str) -> Iterator[tuple[str, Any]]:
    """Values at a path, with their places. Where a step above is missing or of another type, nothing: its own field tells."""
    if not steps:
        yield place, value
        return
    step, *rest = steps
    match step, value:
        case "[]", list():
            for position, element in enumerate(value):
                yield from _values(element, rest, f"{place}[{position}]")
        case "{}", dict():
            for key, element in value.items():
                yield from _values(element, rest, f"{place}.{shown(key)}")
        case _, dict():
            inner = f"{place}.{step}".removeprefix(".")
            if step in value or not rest:
                yield from _values(value.get(step, _ABSENT), rest, inner)


def _copy_problems(store: Store, root: bytes, name: str) -> Iterator[Problem]:
    path = f"versions/{name}/{MANIFEST}"
    copy = _read(store, path)
    if copy is None:
        yield Problem(path, "it is missing; expected a copy of manifest.json")
    elif copy != root:
        yield Problem(path, f"it is not manifest.json byte for byte ({_brief(copy)} here, {_brief(root)} there): one of them was changed")


def _brief(data: bytes) -> str:
    return f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:12]}…"


def check_parents(finished: Finished, checks: Checks) -> None:
    """Every parent is an older version of this output whose manifest is unchanged."""
    parents = finished.manifest["parents"]
    older = _older_manifests(finished)
    if parents and not older:
        checks.skip("parents", f"not checkable: no older version is here to compare the {len(parents)} parents with")
        return
    here = {hashlib.sha256(data).hexdigest() for data in older.values()}
    missing = [parent for parent in parents if parent not in here]
    names = ", ".join(sorted(older))
    problems = [Problem(MANIFEST, f"parents: {parent} is the digest of no older version's manifest ({names})") for parent in missing]
    checks.judge("parents", problems, f"the {len(parents)} parents are here, unchanged" if parents else "it has no parents")


def _older_manifests(finished: Finished) -> dict[str, bytes]:
    names = [str(child).rstrip("/").rpartition("/")[2] for child in finished.store.children("versions") if isinstance(child, str)]
    older = [name for name in names if VERSION.fullmatch(name) and int(name[1:]) < finished.number]
    found = {name: _read(finished.store, f"versions/{name}/{MANIFEST}") for name in older}
    return {name: data for name, data in found.items() if data is not None}
