"""What a version tells of tokens and lengths, less the documents that go.

Owns the subtraction. Where the column that names a source or language is not in the shards, or rows of partitioned shards cannot be told
apart, nobody can say whose the documents were: what was told by name then is summed up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipelines.document_profile import Profile
from pipelines.errors import LedgerImbalance, shown
from pipelines.takedown_rewrite import Removed
from pipelines.token_counts import KINDS, OTHER, named, prove_tokens

Told = Mapping[str, Any]


def tokens_left(told: Told | None, removed: Removed, folders: pa.Array | None, *, documents: int) -> dict[str, Any] | None:
    """Tokens by source and language without some documents; None where none are counted.

    Args:
        told: As the version before tells them.
        removed: The documents that go.
        folders: Those of the files that these came from; None: that cannot be told.
        documents: How many stay.

    Raises:
        LedgerImbalance: What is left does not add up.
    """
    if told is None:
        return None
    total = told["total"] - int(removed.tokens.sum())
    left: dict[str, Any] = {**told, "total": total}
    for kind in KINDS:
        counts = told[f"by_{kind}"]
        if counts is None:
            continue
        names = folders if told[f"{kind}_column"] is None else removed.names.get(kind)
        if names is not None:
            left[f"by_{kind}"] = _less(counts, named(names), removed)
        elif kind == "source":
            left["by_source"] = {OTHER: {"documents": documents, "tokens": total}} if documents else {}
        else:
            left |= {"by_language": None, "language_column": None}
    prove_tokens(left, documents=documents, tokens=total)
    return left


def _less(counts: Told, names: pa.Array, removed: Removed) -> dict[str, dict[str, int]]:
    left = {name: dict(entry) for name, entry in counts.items()}
    grouped = pa.table({"name": names, "tokens": removed.tokens}).group_by("name", use_threads=False)
    for row in grouped.aggregate([([], "count_all"), ("tokens", "sum")]).to_pylist():
        entry = left.get(row["name"], left.get(OTHER, {"documents": 0, "tokens": 0}))
        entry["documents"] -= row["count_all"]
        entry["tokens"] -= row["tokens_sum"]
        if min(entry.values()) < 0:
            raise LedgerImbalance(f"the version tells fewer documents or tokens of {shown(row['name'])} than are taken out of it")
    return {name: entry for name, entry in left.items() if entry["documents"]}


def profile_left(told: Told | None, removed: Removed | None) -> dict[str, Any] | None:
    """The profile of the documents that stay; None where there is none."""
    if told is None or removed is None or removed.profile is None:
        return None if told is None else dict(told)
    return (Profile.from_json(told) - removed.profile).to_json()
