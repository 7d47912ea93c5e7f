"""Patterns that name some shards among others, for the card of a version that has only part of what a plan packed.

A version that one run made is named by one pattern. After a takedown some of its shards were replaced, but lie there still: patterns of
their numbers tell them apart, some five for each shard that is left out, where a list of all would be as long as the version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

SHARD: Final = re.compile(r"data/(?P<version>v\d+)/(?:.*/)?part-(?P<number>\d+)-(?P<plan>[^/\[\]*?]+)\.parquet")
"""A shard's name: its number is unique among those of one version and plan, whatever folder it is in."""

MAX_LISTED: Final = 100
"""Up to so many shards are listed one by one, so that whoever reads by the card has them in the version's order."""


def data_patterns(paths: Sequence[str], others: Iterable[str]) -> list[str]:
    """Patterns that match all of some shards, and none of the others that they may lie beside.

    Args:
        paths: Of the shards of a version.
        others: Of all shards that there are; those of the version among them do not matter.
    """
    hidden = set(others).difference(paths)
    if hidden and len(paths) <= MAX_LISTED:
        return list(paths)
    kept: dict[tuple[str, str], dict[str, str]] = {}
    loose: list[str] = []
    for path in paths:
        found = SHARD.fullmatch(path)
        numbers = None if found is None else kept.setdefault((found["version"], found["plan"]), {})
        if found is None or numbers is None or found["number"] in numbers:
            loose.append(path)
        else:
            numbers[found["number"]] = path
    beside = _beside(kept, hidden)
    return [pattern for group, numbers in kept.items() for pattern in _patterns(group, numbers, beside[group])] + loose


def _beside(kept: Iterable[tuple[str, str]], hidden: Iterable[str]) -> dict[tuple[str, str], set[str]]:
    """The numbers of shards that must not match, by version and plan."""
    found: dict[tuple[str, str], set[str]] = {group: set() for group in kept}
    for path in hidden:
        named = SHARD.fullmatch(path)
        if named is not None and (named["version"], named["plan"]) in found:
            found[named["version"], named["plan"]].add(named["number"])
    return found


def _patterns(group: tuple[str, str], numbers: dict[str, str], others: set[str]) -> list[str]:
    version, plan = group
    if not others:
        return [f"data/{version}/**/*-{plan}.parquet"]
    if others & numbers.keys():
        return list(numbers.values())
    made = [
        f"data/{version}/**/part-{digits}-{plan}.parquet"
        for width in sorted({len(number) for number in numbers})
        for digits in _told_apart("", width, _of_width(numbers, width), _of_width(others, width))
    ]
    return made if len(made) < len(numbers) else list(numbers.values())


def _of_width(numbers: Iterable[str], width: int) -> list[str]:
    return [number for number in numbers if len(number) == width]


def _told_apart(prefix: str, width: int, kept: Sequence[str], others: Sequence[str]) -> Iterator[str]:
    """Patterns of digits that match the kept numbers and none of the others; what is neither may match."""
    place = len(prefix)
    whole = []
    for digit in sorted({number[place] for number in kept}):
        inside, beside = ([number for number in some if number[place] == digit] for some in (kept, others))
        if beside:
            yield from _told_apart(prefix + digit, width, inside, beside)
        else:
            whole.append(digit)
    if whole:
        yield prefix + (whole[0] if len(whole) == 1 else f"[{''.join(whole)}]") + "?" * (width - place - 1)
