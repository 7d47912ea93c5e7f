"""What runs leave for each other: the keys of the documents that they kept, as immutable generations.

    <history>/generations/g00001.json    a generation: which run, which operators, where its tables lie; created once, never changed
    <history>/keys/<run>/…               rows of keys, in frames; a table of the files that they are of, and one of where the frames lie
    <history>/tombstones/t00001.arrow    doc_keys of documents that are struck: nothing is removed for them any more

A run takes a snapshot of the generations when it is planned; another that ends meanwhile is not in it, and a run that left its own
takes the same snapshot again. Files that the run reads itself, and those that a later generation has again, do not count: no document is
a duplicate of itself. A document of an earlier run has a negative place, so it precedes all; the texts of earlier runs are never read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.base import GroupOperator, Operator
from operators.minhash import MinhashDedup
from pipelines.commit import digest
from pipelines.errors import ConfigError, shown
from pipelines.exchange import Source
from pipelines.fingerprint import fingerprint, settings
from pipelines.frames import FrameRef
from pipelines.recall import (
    Keys,
    Recall,
    Snapshot,
    Words,
    counting,
    key_prefixes,
    load_generations,
    read_generations,
    read_table,
    struck_keys,
)
from pipelines.storage import Store

GENERATIONS: Final = "generations"
TOMBSTONES: Final = "tombstones"
NUMBERED: Final = re.compile(r"(generations/g|tombstones/t)(\d+)\.(json|arrow)")
KEYS_VERSION: Final = 1
"""Grows when an operator makes other keys or signatures of the same text: those of before cannot be compared with the new ones."""
NOT_OF_KEYS: Final = (
    *("name", "threshold", "verify", "guards", "annotate", "num_duplicates", "keep", "by", "priority"),
    *("min_documents", "min_remaining_chars"),
)
"""Settings that decide what happens to keys, not what they are."""
TEXT: Final = pa.dictionary(pa.int32(), pa.string())
PARTS: Final = pa.schema(
    [
        ("operator", TEXT),
        ("role", TEXT),
        ("path", TEXT),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("bytes", pa.int64()),
        ("first", pa.int64()),
        ("last", pa.int64()),
    ]
)
"""Frames of a generation: of which operator (by the identity of its keys), what for, and the first and last place of its part."""


# --- what there is


def generations_of(store: Store) -> list[str]:
    """Paths of all generations, by number."""
    return _numbered(store, GENERATIONS)


def tombstones_of(store: Store) -> list[str]:
    """Paths of all tombstones, by number."""
    return _numbered(store, TOMBSTONES)


def _numbered(store: Store, folder: str) -> list[str]:
    return sorted((info.path for info in store.list(folder) if NUMBERED.fullmatch(info.path)), key=number_of)


def number_of(path: str) -> int:
    """Number of a generation or of tombstones."""
    found = NUMBERED.fullmatch(path)
    assert found is not None
    return int(found[2])


def take_snapshot(
    store: Store,
    own: Words,
    base: str,
    operators: Sequence[GroupOperator],
    pinned: Sequence[str] | None = None,
    counts: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Snapshot:
    """What a run deduplicates against: every generation with documents that count, or those that it had when it left its own.

    So a finished run that is started again finds the snapshot of its plan, whatever others left meanwhile. Tombstones are those of now: a
    run whose documents were removed for one that is struck since then finds them again.

    Args:
        store: The history.
        own: Prefixes of the files that the run reads.
        base: Identity of the run without its history.
        operators: What the run compares documents by.
        pinned: The generations that the run had, if it has finished a version and left no generation yet.
        counts: Says of a generation that the run did not have whether it counts at all; None: each does.

    Raises:
        ConfigError: A generation has no keys of one of the operators, so that not all of its documents could be found.
        InputError: Something in the history is damaged.
    """
    every = load_generations(store, generations_of(store))
    had = next((one.body["history"] for one in reversed(every) if one.body["base"] == base), pinned)
    every = [one for one in every if (one.path in set(had) if had is not None else counts is None or counts(one.body))]
    masks = counting([one.prefixes for one in every], own)
    counted = [one for one, mask in zip(every, masks, strict=True) if mask.any()]
    for operator, identity in zip(operators, key_identities(operators), strict=True):
        for one in counted:
            _check(operator, identity, one.body, store.uri)
    prefixes = [one.prefixes[mask] for one, mask in zip(every, masks, strict=True)]
    tombstones, struck = _struck_among(store, np.concatenate([np.zeros(0, np.uint64), *prefixes]))
    words = [*(one.body["plan"] for one in counted), "struck", sha256(struck.tobytes()).hexdigest()]  # a plan decides what is left
    return Snapshot(store.uri, tuple(one.path for one in counted), tombstones, digest("history", *words))


def _struck_among(store: Store, prefixes: Words) -> tuple[tuple[str, ...], Keys]:
    """Tombstones of documents of some files, and the doc_keys of these."""
    found = {path: struck_keys(store, [path]) for path in tombstones_of(store)}
    found = {path: keys[np.isin(key_prefixes(keys), prefixes)] for path, keys in found.items()}
    paths = tuple(path for path, keys in found.items() if len(keys))
    return paths, np.unique(np.concatenate([np.zeros(0, "S16"), *(found[path] for path in paths)]))


# --- keys


def keys_identity(operator: Operator, number: int = 0) -> str:
    """What must be the same for two runs' keys of an operator to be comparable; `number`: operators before it that are set alike."""
    return fingerprint({**_facts(operator), "keys_version": KEYS_VERSION, "number": number})[:32]


def key_identities(operators: Sequence[GroupOperator]) -> list[str]:
    """`keys_identity` of each operator of a pipeline."""
    seen: Counter[str] = Counter()
    found = []
    for operator in operators:
        alone = keys_identity(operator)
        found.append(keys_identity(operator, seen[alone]))
        seen[alone] += 1
    return found


def _facts(operator: Operator) -> dict[str, Any]:
    facts = key_settings(operator)
    if isinstance(operator, MinhashDedup):
        facts |= {"preset": None, "bands": operator.curve.bands, "rows": operator.curve.rows}
    return facts


def key_settings(operator: Operator) -> dict[str, Any]:
    """The settings that decide what an operator's keys are."""
    return {name: value for name, value in settings(operator).items() if name not in NOT_OF_KEYS}


def _check(operator: GroupOperator, identity: str, body: Mapping[str, Any], uri: str) -> None:
    if identity in body["operators"]:
        return
    theirs = [known for known in body["operators"].values() if known["type"] == operator.type]
    raise ConfigError(
        f"history: {uri}: operator {operator.name or operator.type!r}: the generation of run {body['run_id']} ({body['name']}, "
        f"{body['output']}) {_what_it_has(operator, theirs, body)}; all runs that share a history deduplicate alike: use the same "
        "settings, or another history"
    )


def _what_it_has(operator: GroupOperator, theirs: Sequence[Mapping[str, Any]], body: Mapping[str, Any]) -> str:
    if not theirs:
        return f"has no keys of it, only those of {', '.join(known['name'] for known in body['operators'].values())}"
    mine = key_settings(operator)
    if any(known["settings"] == mine for known in theirs):
        return f"has its keys for {len(theirs)} of the operators that are set so, or as another release made them"
    other = [f"{key} is {mine[key]!r} here and {theirs[0]['settings'].get(key)!r} there" for key in mine]
    differing = [line for key, line in zip(mine, other, strict=True) if mine[key] != theirs[0]["settings"].get(key)]
    return f"has its keys with other settings ({shown('; '.join(differing))})"


@dataclass(frozen=True, slots=True)
class Remembered:
    """Rows of earlier runs for one operator and purpose: where they lie, and which places they have (0, 0 where rows have none)."""

    source: Source
    first: int
    last: int


class History:
    """The generations of a snapshot, as the operators of one pipeline ask for them."""

    def __init__(self, store: Store, snapshot: Snapshot, operators: Sequence[GroupOperator]) -> None:
        self.snapshot = snapshot
        generations = load_generations(store, snapshot.generations)
        self._tables = [read_table(store, one.path, str(one.body["parts"])) for one in generations]
        self._recall = Recall(generations, np.zeros(0, np.uint64), np.zeros(0, "S16"))
        self._identities = dict(zip((one.name for one in operators), key_identities(operators), strict=True))

    def remembered(self, operator: GroupOperator, role: str) -> list[Remembered]:
        """Rows that earlier runs left for an operator, a source a part."""
        identity = self._identities[operator.name]
        return [one for number, table in enumerate(self._tables) for one in self._of(number, table, identity, role)]

    def _of(self, number: int, table: pa.Table, identity: str, role: str) -> Iterator[Remembered]:
        mine = table.filter(pc.and_(pc.equal(table["operator"], identity), pc.equal(table["role"], role))).combine_chunks()
        if mine.num_rows == 0:
            return
        paths = mine["path"].combine_chunks()
        code = paths.indices.to_numpy()
        offset, length, size, first, last = (mine[name].to_numpy() for name in ("offset", "length", "bytes", "first", "last"))
        starts = np.flatnonzero(np.r_[True, code[1:] != code[:-1]])
        for start, stop in zip(starts.tolist(), np.r_[starts[1:], len(code)].tolist(), strict=True):
            path = paths.dictionary[int(code[start])].as_py()
            places = zip(offset[start:stop].tolist(), length[start:stop].tolist(), strict=True)
            source = Source(tuple(FrameRef(path, *place) for place in places), bytes=int(size[start:stop].sum()), generation=number)
            has_places = first[start] >= 0
            yield Remembered(source, *(self._recall.bounds(number, int(first[start]), int(last[start])) if has_places else (0, 0)))


# --- for a person


def describe(store: Store) -> list[dict[str, Any]]:
    """The generations for a person, in order.

    Raises:
        InputError: One is damaged.
    """
    wanted = ("number", "run_id", "name", "output", "version", "created_at", "rows", "num_files")
    return [
        {**{name: body[name] for name in wanted}, "operators": [_told(known) for known in body["operators"].values()]}
        for body in read_generations(store, generations_of(store))
    ]


def _told(known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: known[name] for name in ("name", "type", "documents")}
