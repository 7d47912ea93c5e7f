"""Guards of group operators: what tasks find out, what is too much, and how it is told.

A source that loses most of its documents, a document that very many were removed for, a key that a large share of the documents has:
each is what false duplicates look like. Tasks tell their largest; the driver compares them with the limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.base import GroupOperator
from operators.dedup import DedupOperator, Guards
from operators.keep import is_text
from pipelines.errors import GuardBreached, shown
from pipelines.redaction import redact_uri
from pipelines.rows import Ints, Mask, Rows, UnitFiles

MAX_TOLD: Final = 20
"""Of the largest that a task tells of, and of sources that the manifest names."""
MAX_EXAMPLES: Final = 3
MAX_SOURCES: Final = 100_000
"""Sources that are counted; a column with more of them names no sources."""
UNNAMED: Final = "(null)"


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit of a guard that was passed, as it stands in the manifest under `warnings`.

    Attributes:
        guard: Which one, by the name of its limit.
        subject: What passed it.
        found: How much it was: a share, or a number of documents.
        documents: Documents that it is about: removed ones of a source or for a document, those that have a key.
        examples: Ids of some of them.
    """

    operator: str
    guard: str
    subject: str
    found: float
    limit: float
    documents: int
    examples: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {name: getattr(self, name) for name in self.__slots__}


def sentence(breach: Mapping[str, Any]) -> str:
    """A breach for a person."""
    number, found, limit = f"{breach['documents']:,}", breach["found"], breach["limit"]
    what = {
        "max_source_share": f"{breach['subject']} lost {number} documents, {found:.1%} of its own",
        "max_removed_for": f"{number} documents were removed for {breach['subject']}",
        "max_key_share": f"{number} documents have the same key, {found:.1%} of all",
    }[breach["guard"]]
    allowed = f"{limit:,}" if breach["guard"] == "max_removed_for" else f"{limit:.1%}"
    examples = f", such as {', '.join(breach['examples'])}" if breach["examples"] else ""
    return f"{breach['operator']}: {what}{examples} (guards.{breach['guard']} is {allowed})"


# --- what tasks find out


def heavy_keys(sizes: Ints, places: Ints, least: int | None) -> list[list[int]]:
    """Keys that at least so many documents have: [documents, place of the first], the most first.

    Of several with the same first document only the largest, so that the bands of one crowd leave room for others however tasks are cut.
    """
    if least is None:
        return []
    found = [[int(sizes[at]), int(places[at])] for at in np.flatnonzero(sizes >= least).tolist()]
    largest: dict[int, int] = {}
    for number, place in sorted(found, key=lambda item: (-item[0], item[1])):
        largest.setdefault(place, number)
    return [[number, place] for place, number in largest.items()][:MAX_TOLD]


def least_heavy(operator: GroupOperator, num_documents: int) -> int | None:
    """From how many documents on a key is told of; None: the operator has no such guard, or there are too few documents."""
    guards = guards_of(operator)
    if guards is None or guards.max_key_share is None or num_documents < max(guards.min_documents, 1):
        return None
    return max(int(guards.max_key_share * num_documents) + 1, guards.min_documents, 2)


def guards_of(operator: GroupOperator) -> Guards | None:
    """The guards of an operator; None if it has none."""
    return operator.guards if isinstance(operator, DedupOperator) else None


def can_name_sources(kind: pa.DataType) -> bool:
    """Whether the values of a column of this type can be told as names of sources."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    of = pa.types
    checks = (is_text, of.is_integer, of.is_boolean, of.is_floating, of.is_decimal, of.is_date, of.is_timestamp, of.is_null)
    return any(check(plain) for check in checks)


class SourceCounts:
    """Documents of each source in a unit, and those of them that an operator would remove."""

    def __init__(self, column: str | None, files: UnitFiles) -> None:
        self._column = column
        self._folders = [redact_uri(uri.rpartition("/")[0]) for uri in files.uris]
        self._files = files
        self._found: dict[str, list[Any]] = {}

    def add(self, rows: Rows, goes: Mask) -> None:
        """Count some documents."""
        codes, names = self._codes(rows)
        removed = np.bincount(codes[goes], minlength=len(names))
        total = np.bincount(codes, minlength=len(names))
        for code, name in enumerate(names):
            counted = self._found.setdefault(name, [0, 0, None])
            counted[0] += int(total[code])
            counted[1] += int(removed[code])
            if removed[code] and counted[2] is None:
                first = np.zeros(len(rows), np.bool_)
                first[int(np.flatnonzero(goes & (codes == code))[0])] = True
                counted[2] = self._files.ids(rows.filter(first))[0].as_py()

    def told(self) -> dict[str, list[Any]]:
        """By source: [documents, removed, id of a removed one]; one too many of them where there are more than can be sources."""
        return dict(sorted(self._found.items())[: MAX_SOURCES + 1])

    def _codes(self, rows: Rows) -> tuple[Ints, list[str]]:
        if self._column is None:
            return rows.file, self._folders
        values = pc.cast(rows.batch.column(self._column), pa.string()).dictionary_encode(null_encoding="encode")
        names = [UNNAMED if name is None else shown(name) for name in values.dictionary.to_pylist()]
        return values.indices.to_numpy(zero_copy_only=False).astype(np.int64), names


# --- what the driver makes of it


@dataclass(slots=True)
class Findings:
    """What the tasks of one operator told.

    Attributes:
        heavy: Keys of very many documents: [documents, place of the first].
        stands: Documents that very many were removed for: [documents, id].
        sources: By name: [documents, removed, id of a removed one].
    """

    heavy: list[list[int]] = field(default_factory=list)
    stands: list[list[Any]] = field(default_factory=list)
    sources: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, detail: Mapping[str, Any]) -> None:
        """Take in what a task of the exchange told."""
        self.heavy += detail.get("heavy", ())
        self.stands += detail.get("stands", ())

    def add_sources(self, told: Mapping[str, Sequence[Any]]) -> None:
        """Take in what a unit told; no more once they are too many, when none is judged."""
        for name, (rows, removed, example) in told.items():
            if len(self.sources) > MAX_SOURCES:
                return
            counted = self.sources.setdefault(name, [0, 0, None])
            counted[0] += rows
            counted[1] += removed
            counted[2] = example if counted[2] is None else counted[2]


def breaches(operator: GroupOperator, findings: Findings, num_documents: int, ids: Mapping[int, str]) -> list[Breach]:
    """Limits that were passed.

    Args:
        operator: Whose guards they are.
        findings: What its tasks told.
        num_documents: Documents that came to it.
        ids: Ids of documents by place, of those that heavy keys name.
    """
    guards = guards_of(operator)
    if guards is None:
        return []
    name = operator.name or operator.type
    return [
        *_of_sources(name, guards, findings.sources),
        *_of_kept(name, guards, findings.stands),
        *_of_keys(name, guards, findings.heavy, num_documents, ids),
    ]


def _of_sources(name: str, guards: Guards, sources: Mapping[str, Sequence[Any]]) -> Iterator[Breach]:
    limit = guards.max_source_share
    if limit is None or len(sources) > MAX_SOURCES:
        return
    judged = [(source, *told) for source, told in sources.items() if told[0] >= max(guards.min_documents, 1) and told[1] > limit * told[0]]
    for source, rows, removed, example in sorted(judged, key=lambda item: (-item[2], item[0]))[:MAX_TOLD]:
        yield Breach(name, "max_source_share", source, removed / rows, limit, removed, [example])


def _of_kept(name: str, guards: Guards, stands: Iterable[Sequence[Any]]) -> Iterator[Breach]:
    limit = guards.max_removed_for
    if limit is None:
        return
    for number, kept in sorted(stands, key=lambda item: (-item[0], item[1]))[:MAX_TOLD]:
        yield Breach(name, "max_removed_for", kept, number, limit, number, [])


def _of_keys(name: str, guards: Guards, heavy: Iterable[Sequence[int]], num_documents: int, ids: Mapping[int, str]) -> Iterator[Breach]:
    if guards.max_key_share is None:
        return
    told = sorted(heavy, key=lambda item: (-item[0], item[1]))
    if told:  # the bands of one crowd of documents have keys of their own: the largest stands for them
        number = told[0][0]
        examples = list(dict.fromkeys(ids[place] for _, place in told))[:MAX_EXAMPLES]
        yield Breach(name, "max_key_share", "a key", number / num_documents, guards.max_key_share, number, examples)


def sentences(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Breaches for a person: the first of each guard, and how many more there are."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for breach in found:
        groups.setdefault((breach["operator"], breach["guard"]), []).append(breach)
    lines = []
    for (operator, guard), some in groups.items():
        lines += [sentence(breach) for breach in some[:MAX_EXAMPLES]]
        if len(some) > MAX_EXAMPLES:
            more = f"{'at least ' if len(some) >= MAX_TOLD else ''}{len(some) - MAX_EXAMPLES}"
            lines.append(f"{operator}: {more} more passed guards.{guard}: see `warnings` in the manifest")
    return lines


def enforce(operator: GroupOperator, found: Sequence[Breach]) -> None:
    """Stop the run where the pipeline asks for it.

    Raises:
        GuardBreached: There are breaches, and `on_breach` is `fail`.
    """
    guards = guards_of(operator)
    if guards is None or guards.on_breach == "warn" or not found:
        return
    lines = "; ".join(sentence(breach.to_json()) for breach in found[:MAX_EXAMPLES])
    more = f"; and {len(found) - MAX_EXAMPLES} more" if len(found) > MAX_EXAMPLES else ""
    raise GuardBreached(
        f"operator {lines}{more}: look at some of these documents; if they are true duplicates, raise the limit or set guards.on_breach to "
        "warn, else raise the threshold or put a filter in front"
    )


def bucket_sizes(keys: npt.NDArray[np.uint64], places: Ints, least: int = 1) -> tuple[Ints, Ints]:
    """Documents of each key that at least so many have, of sorted keys, and the first place of each."""
    from operators.kernels import buckets  # noqa: PLC0415  numba takes half a second to import

    starts, sizes = buckets.bucket_sizes(keys, least)
    if len(starts) == 0:
        return sizes, starts
    bounds = np.stack([starts, starts + sizes], axis=1).reshape(-1)
    return sizes, np.minimum.reduceat(np.append(places, 0), bounds)[::2]
