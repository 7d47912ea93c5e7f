"""What decides a result, written down and digested: settings, code, assets, library versions.

A stage's fingerprint covers everything that its records depend on but the rows themselves; `plan` compares the parts of two fingerprints
to say
why something would run again.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa

from operators.base import Operator
from operators.custom import source_files
from pipelines.commit import digest
from pipelines.errors import shown

ENGINE_MODULES: Final = (
    "chain",
    "columns",
    "conform",
    "documents",
    "exchange",
    "formats*",
    "grouping",
    "identity",
    "json*",
    "layers",
    "pack",
    "rows",
    "sizes",
    "unit",
)
"""Modules of this package that decide bytes of the output."""
ENGINE_LIBRARIES: Final = ("pyarrow", "numpy")

Facts = dict[str, Any]
"""A fingerprint's parts, JSON-able, so that two can be compared."""


def fingerprint(facts: Mapping[str, Any]) -> str:
    """128 bits over facts, whatever the order of their keys."""
    return digest(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS).decode())


def operator_facts(operator: Operator, assets: Mapping[str, str], seed: int) -> Facts:
    """Everything about an operator that decides its results."""
    facts: Facts = {
        "name": operator.name,
        "settings": operator.model_dump(mode="json", exclude={"name"}),
        "code": code_digest(source_files(type(operator))),
        "assets": {uri: assets[uri] for uri in operator.asset_uris()},
        "libraries": versions(operator.libraries),
    }
    if operator.seeded:
        facts["seed"] = seed
    return facts


def engine_facts() -> Facts:
    """Everything about this package and what it stands on that decides bytes."""
    here = Path(__file__).parent
    files = sorted({path for pattern in ENGINE_MODULES for path in here.glob(f"{pattern}.py")})
    return {
        "code": code_digest(files),
        "libraries": versions(ENGINE_LIBRARIES),
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Installed versions of distributions, sorted by name."""
    return {name: _version(name) for name in sorted(libraries)}


@lru_cache
def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def code_digest(files: Iterable[Path]) -> str:
    """Digest of source files' contents, by name; where they lie does not count."""
    state = hashlib.sha256()
    for path in sorted(files, key=lambda path: (path.name, str(path))):
        data = path.read_bytes()
        state.update(b"%d:%s:%d:" % (len(path.name), path.name.encode(), len(data)))
        state.update(data)
    return state.hexdigest()[:32]


def schema_facts(schema: pa.Schema) -> list[list[str]]:
    """A schema as JSON: names and types in order."""
    return [[field.name, str(field.type)] for field in schema]


def differences(before: Any, after: Any, place: str = "") -> list[str]:
    """What differs between two fingerprints' parts, one line each, for a person."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*after, *(key for key in before if key not in after)]
        return [line for key in keys for line in differences(before.get(key), after.get(key), f"{place}.{key}" if place else key)]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        names = [_label(item, number) for number, item in enumerate(after)]
        return [line for name, old, new in zip(names, before, after, strict=True) for line in differences(old, new, f"{place}[{name}]")]
    if before == after:
        return []
    return [f"{place}: {shown(_brief(before))} → {shown(_brief(after))}"]


def _label(item: Any, number: int) -> str:
    return str(item["name"]) if isinstance(item, dict) and "name" in item else str(number)


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} entries"
    if isinstance(value, str) and len(value) >= 32:
        return value[:8] + "…"
    return "none" if value is None else str(value)
