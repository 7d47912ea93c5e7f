"""Schedules as Kubernetes reads them.

Its cron is another dialect than that of Vixie and Debian, which `schedule` follows: what would mean something else there is refused.
"""

from __future__ import annotations

import re
from typing import Final

from cluster.target import TargetError

_MONTHS: Final = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS: Final = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: Final[tuple[tuple[str, int, int, list[str]], ...]] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_TERM: Final = re.compile(
    r"(?:(?P<star>\*)|(?P<first>[0-9]{1,2}|[a-z]{3})(?:-(?P<last>[0-9]{1,2}|[a-z]{3}))?)(?:/(?P<step>[0-9]{1,2}))?", re.ASCII
)
_HOUR_SECONDS: Final = 3600
_SHORT_SECONDS: Final = 60
REMEDY: Final = "write it in the five plain fields, or run `shardmill schedule FILE` and `submit.kuberay.cronjob: none`"


def kubernetes_cron(cron: str) -> str:
    """The same ticks for Kubernetes.

    Raises:
        TargetError: It cannot say them.
    """
    fields = cron.lower().split()
    if len(fields) != len(_FIELDS):
        raise TargetError(f"schedule.cron: Kubernetes has no {cron!r}: found {len(fields)} fields, expected 5; {REMEDY}")
    for text, (name, least, most, words) in zip(fields, _FIELDS, strict=True):
        for term in text.split(","):
            _check_term(cron, term, name, (least, most), words)
    days, weekdays = fields[2], fields[4]
    # Both restricted is "or" in both dialects, but they differ in whether `*/2` restricts.
    if (days.startswith("*/") and weekdays != "*") or (weekdays.startswith("*/") and days != "*"):
        raise TargetError(
            f"schedule.cron: {cron!r}: days of the month and of the week, one of them with `*/`, mean other ticks there; {REMEDY}"
        )
    return " ".join([*fields[:4], _without_seven(weekdays)])


def starting_deadline(cron: str, catch_up: str) -> int:
    """For how many seconds a missed tick is made up for.

    Kubernetes makes up for one, the latest. `last` (and `all`, since an ingestion takes in all that is new) is the longest time
    between two ticks, so that the latest one is always within it, and few enough ticks are for Kubernetes to count (100).
    """
    if catch_up == "skip":
        return _SHORT_SECONDS  # its controller looks every 10 s
    _, hour, day, month, weekday = cron.split()
    for field, hours in ((month, 366 * 24), (day, 31 * 24), (weekday, 7 * 24), (hour, 24)):
        if field != "*":
            return hours * _HOUR_SECONDS
    return _HOUR_SECONDS


def _check_term(cron: str, term: str, name: str, allowed: tuple[int, int], words: list[str]) -> None:
    match = _TERM.fullmatch(term)
    problem = f"schedule.cron: {cron!r}: Kubernetes has no {term!r} as {name}; {REMEDY}"
    if match is None:
        raise TargetError(problem)
    ends = [_number(match[end], words, allowed[0]) for end in ("first", "last") if match[end] is not None]
    if (
        any(end is None or not allowed[0] <= end <= allowed[1] for end in ends)
        or match["step"] in ("0", "00")
        or ends != sorted(ends, key=_key)
    ):
        raise TargetError(problem)
    if match["step"] is not None and match["first"] is not None and match["last"] is None:
        raise TargetError(problem)  # `5/10` is a range here and an error there, or the other way round


def _key(end: int | None) -> int:
    return -1 if end is None else end


def _number(text: str, words: list[str], least: int) -> int | None:
    if text.isdigit():
        return int(text)
    return words.index(text) + least if text in words else None


def _without_seven(field: str) -> str:
    """Days of the week with Sunday as 0: Kubernetes knows no 7."""
    days: list[str] = []
    for term in field.split(","):
        match = _TERM.fullmatch(term)
        assert match is not None
        last = match["last"] or match["first"]
        if last != "7":
            days.append(term)
            continue
        first = _number(match["first"], _DAYS, 0)
        assert first is not None
        days += [str(day % 7) for day in range(first, 8, int(match["step"] or 1))]
    return ",".join(days)
