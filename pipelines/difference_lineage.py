"""The versions that a grown version is made of, for whoever compares it: each has the inventory and the side tables of its own run.

Owns how they are opened, and what they tell together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from pipelines.errors import InputError, shown
from pipelines.flattening import flattened
from pipelines.lineage import followed
from pipelines.storage import Store
from pipelines.verify_manifest import MANIFEST, Finished, shape_problems


def versions_of(finished: Finished) -> list[Finished]:
    """The versions that a version is made of, oldest first, itself last; alone where it was not added to another.

    Raises:
        InputError: One is not here any more, or is not what it was.
    """
    if finished.parts:
        return list(finished.parts)
    older = followed(finished.store, finished.manifest)[1:]
    for manifest in older:
        name = str(manifest.get("version"))
        for problem in shape_problems(f"versions/{name}/{MANIFEST}", orjson.dumps(manifest), name):
            raise InputError(f"{finished.store.locate(problem.subject)}: {shown(problem.message)}; `shardmill verify` says more")
    return [*(replace(finished, manifest=one, version=one["version"], is_current=False) for one in reversed(older)), finished]


def looked_up(finished: Finished) -> Finished:
    """The same, which knows the versions that it is made of: they are read once.

    Raises:
        InputError: One is not here any more, or is not what it was.
    """
    return replace(finished, parts=tuple(versions_of(finished)))


def whole(store: Store, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The manifest of a version as if one run had made it and all that it is made of.

    Raises:
        InputError: One of these versions is not in the store any more, or is not what it was.
    """
    parts = versions_of(Finished(store, manifest, manifest["version"], is_current=False))
    return manifest if len(parts) == 1 else flattened([part.manifest for part in reversed(parts)]).manifest
