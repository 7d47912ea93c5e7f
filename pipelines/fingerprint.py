"""What decides a result, written down and digested: settings, code, assets, library versions.

A stage's fingerprint covers everything that its records depend on but the rows themselves; `plan` compares the parts of two fingerprints
to say why something would run again.
"""

from __future__ import annotations

import ast
import hashlib
import math
import platform
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa

from operators.base import LearningOperator, Operator
from operators.custom import is_custom, source_files
from pipelines.commit import digest
from pipelines.errors import shown
from pipelines.redaction import redact_uri

ENGINE_MODULES: Final = (
    "chain",
    "columns",
    "conform",
    "document_keys",
    "document_profile",
    "documents",
    "exchange",
    "footers",
    "formats*",
    "frames",
    "gathering",
    "grouping",
    "guards",
    "history*",
    "identity",
    "inventory*",
    "json*",
    "judging",
    "key_parts",
    "layers",
    "learned",
    "learning",
    "lots",
    "machine",
    "near_*",
    "output_counts",
    "pack",
    "partition_folders",
    "partitioning",
    "passage_grouping",
    "plan",
    "poison",
    "profile_counts",
    "quarantine",
    "recall",
    "results",
    "rows",
    "sizes",
    "stages",
    "steps",
    "taken_out",
    "token_counts",
    "token_formats",
    "token_ids",
    "token_order",
    "token_shards",
    "tombstones",
    "unit",
    "units",
    "verdicts",
)
"""Modules of this package that decide bytes of the output."""
ENGINE_KERNELS: Final = ("gather", "hashing")
"""Kernels that the engine calls itself, and no operator leads to."""
ENGINE_LIBRARIES: Final = ("brotli", "numpy", "orjson", "pyarrow", "resiliparse", "zstandard")

SHOWN_DIGITS: Final = 8
"""Of the digest of a text that may be secret: two such texts differ, and neither can be told from it."""

Facts = dict[str, Any]
"""A fingerprint's parts, JSON-able, so that two can be compared."""


def fingerprint(facts: Mapping[str, Any]) -> str:
    """128 bits over facts, whatever the order of their keys."""
    return digest(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS).decode())


def operator_facts(operator: Operator, assets: Mapping[str, str], seed: int, learning: Collection[str] = ()) -> Facts:
    """Everything about an operator that decides its results.

    `learning`: names of operators that learn. What they have learned counts where it is known; here, that it is used.
    """
    facts: Facts = {
        "name": operator.name,
        "settings": settings(operator),
        "assets": _asset_facts(operator, assets, learning),
        **operator_code(operator),
    }
    if operator.seeded:
        facts["seed"] = seed
    used = operator.learned_names(learning)
    return {**facts, "learned": list(used)} if used else facts


def sampling_facts(operator: LearningOperator, assets: Mapping[str, str], seed: int, learning: Collection[str] = ()) -> Facts:
    """Everything about an operator that learns that decides what a document gives to its sample."""
    facts = operator_facts(operator, assets, seed, learning)
    given = {key: facts["settings"][key] for key in ("type", *operator.SAMPLING)}
    return {**facts, "settings": given, "libraries": {}}


def _asset_facts(operator: Operator, assets: Mapping[str, str], learning: Collection[str]) -> dict[str, str]:
    """sha256 of the operator's assets by their uris without secrets; two that then look alike are told apart."""
    found: dict[str, str] = {}
    for uri in operator.asset_uris_beside(learning):
        plain = redact_uri(uri)
        while plain in found:
            plain += "'"
        found[plain] = assets[uri]
    return found


def settings(operator: Operator) -> Facts:
    """The settings of an operator, the same for the same values in every process, without passwords and signatures of URIs.

    How an asset is reached decides nothing, its content does: a new signature is no change. Of another URI it is.
    """
    dumped = canonical(operator.model_dump(mode="python", exclude={"name", *operator.for_speed}))
    found: Facts = _without_secrets(dumped, frozenset(operator.asset_uris()))
    return found


def _without_secrets(value: Any, assets: frozenset[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_secrets(item, assets) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item, assets) for item in value]
    if not isinstance(value, str) or (plain := redact_uri(value)) == value:
        return value
    return plain if value in assets else f"{plain} {digest(value)[:SHOWN_DIGITS]}"


def canonical(value: Any) -> Any:
    """A value as JSON can hold it: sets sorted, floats that JSON has no word for spelled out, everything else by its text."""
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((canonical(item) for item in value), key=lambda item: orjson.dumps(item, option=orjson.OPT_SORT_KEYS))
    if isinstance(value, Enum):
        return canonical(value.value)
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if -(1 << 53) < value < 1 << 53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    return str(value)


def operator_code(operator: Operator) -> Facts:
    """The sources and the libraries that decide what an operator does."""
    sources = source_files(type(operator))
    imported = imported_libraries(sources) if is_custom(operator.type) else ()
    return {"code": code_digest(sources), "libraries": versions({*operator.libraries, *imported})}


def imported_libraries(sources: Iterable[Path]) -> set[str]:
    """Distributions that source files import: a custom operator's libraries decide its results, and it need not name them."""
    names: set[str] = set()
    for path in sources:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    known = _distributions()
    return {distribution for name in names - {"operators", "pydantic"} for distribution in known.get(name, ())}


@lru_cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


@lru_cache
def engine_facts() -> Facts:
    """Everything about this package and what it stands on that decides bytes; as it was when this process first asked."""
    here = Path(__file__).parent
    files = sorted({path for pattern in ENGINE_MODULES for path in here.glob(f"{pattern}.py")})
    files += [here.parent / "operators" / "kernels" / f"{name}.py" for name in ENGINE_KERNELS]
    return {
        "code": code_digest(files),
        "libraries": versions(ENGINE_LIBRARIES),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "unicode": unicodedata.unidata_version,
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
