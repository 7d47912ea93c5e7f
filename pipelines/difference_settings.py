"""Settings of two versions, value by value: which came, went or changed, and which operators were added, removed, moved or set otherwise.

Pure. Knows JSON values and the shape of an operator in a manifest; nothing of secrets, since manifests have none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

MAX_DEPTH: Final = 20
"""Settings nested deeper are compared as one value."""

What = Literal["added", "removed", "moved", "changed"]
Placed = tuple[int, Mapping[str, Any]]
"""An operator of a manifest and its place in the pipeline, from 1."""


class Absent(Enum):
    """That a setting is not there, which is another thing than null."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Change:
    """A value before and after, at a dotted path; `ABSENT` where a version does not have it."""

    path: str
    old: Any
    new: Any

    def to_json(self) -> dict[str, Any]:
        """Path and values; one that is absent has no key."""
        values = {"old": self.old, "new": self.new}
        return {"path": self.path, **{key: value for key, value in values.items() if value is not ABSENT}}


@dataclass(frozen=True, slots=True)
class OperatorChange:
    """An operator that is not the same in both versions.

    Attributes:
        what: `added`, `removed`, `moved` (to another place among those that both have), or `changed` (settings alone).
        old_place: In the pipeline, from 1; None where it is not there. So is `new_place`.
        settings: What differs, its `type` too; every setting of one that was added or removed.
        old_rows: Rows in and out; None where it is not there. So is `new_rows`.
    """

    name: str
    type: str
    what: What
    old_place: int | None
    new_place: int | None
    settings: tuple[Change, ...]
    old_rows: tuple[int, int] | None
    new_rows: tuple[int, int] | None

    def to_json(self) -> dict[str, Any]:
        """Everything of it."""
        return {
            "name": self.name,
            "type": self.type,
            "what": self.what,
            "place": {"old": self.old_place, "new": self.new_place},
            "settings": [change.to_json() for change in self.settings],
            "rows_in": {"old": self.old_rows and self.old_rows[0], "new": self.new_rows and self.new_rows[0]},
            "rows_out": {"old": self.old_rows and self.old_rows[1], "new": self.new_rows and self.new_rows[1]},
        }


def compare_values(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """What differs between two flat mappings, in the order of the old one, then what is new."""
    for path in {**old, **new}:
        before, after = old.get(path, ABSENT), new.get(path, ABSENT)
        if not _equal(before, after):
            yield Change(path, before, after)


def _equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; true is not 1, but 1 and 1.0 are one number."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def compare_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """What differs between two nested settings: the innermost values, by dotted path. A mapping that only one has is one value."""
    yield from _compared(old, new, "", 0)


def _compared(old: Mapping[str, Any], new: Mapping[str, Any], place: str, depth: int) -> Iterator[Change]:
    for change in compare_values(old, new):
        path = f"{place}{change.path}"
        if isinstance(change.old, Mapping) and isinstance(change.new, Mapping) and depth < MAX_DEPTH:
            yield from _compared(change.old, change.new, f"{path}.", depth + 1)
        else:
            yield Change(path, change.old, change.new)


def settings_of(config: Mapping[str, Any], without: Collection[str]) -> dict[str, Any]:
    """The settings of a pipeline file but those at the given paths, which are one or two steps long."""
    kept = {key: value for key, value in config.items() if key not in without}
    return {key: _without(value, key, without) for key, value in kept.items()}


def _without(value: Any, section: str, without: Collection[str]) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: inner for key, inner in value.items() if f"{section}.{key}" not in without}


# --- operators


def compare_operators(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[OperatorChange]:
    """Operators that are not the same, by name: in the order of the new pipeline, then those that went."""
    before, after = ({str(operator["name"]): (place, operator) for place, operator in enumerate(one, 1)} for one in (old, new))
    moved = _moved([name for name in before if name in after], [name for name in after if name in before])
    for name, (place, operator) in after.items():
        if name not in before:
            yield _change("added", None, (place, operator), tuple(compare_values({}, operator["settings"])))
            continue
        settings = tuple(compare_settings(_told(before[name][1]), _told(operator)))
        if name in moved or settings:
            yield _change("moved" if name in moved else "changed", before[name], (place, operator), settings)
    for name, found in before.items():
        if name not in after:
            yield _change("removed", found, None, tuple(compare_values(found[1]["settings"], {})))


def _told(operator: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": operator["type"], **operator["settings"]}


def _change(what: What, old: Placed | None, new: Placed | None, settings: tuple[Change, ...]) -> OperatorChange:
    last = new or old
    assert last is not None
    places = [None if one is None else one[0] for one in (old, new)]
    rows = [None if one is None else (one[1]["rows_in"], one[1]["rows_out"]) for one in (old, new)]
    return OperatorChange(str(last[1]["name"]), str(last[1]["type"]), what, places[0], places[1], settings, rows[0], rows[1])


def _moved(old: Sequence[str], new: Sequence[str]) -> set[str]:
    """The fewest names that must move to make one order of the same names the other: all but a longest ascending run."""
    place = {name: number for number, name in enumerate(old)}
    ends: list[int] = []  # of the ascending runs of each length, the one that ends lowest
    before: dict[int, int] = {}
    for name in new:
        at = bisect_left(ends, place[name])
        if at:
            before[place[name]] = ends[at - 1]
        ends[at : at + 1] = [place[name]]
    kept: set[int] = set()
    last = ends[-1] if ends else None
    while last is not None:
        kept.add(last)
        last = before.get(last)
    return {name for name in old if place[name] not in kept}
