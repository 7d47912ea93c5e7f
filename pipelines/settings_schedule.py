"""The section `schedule` of a pipeline file: when the pipeline ingests what is new.

Owns its keys, and which cron lines and time zones are taken: those that cron itself, Kubernetes and this build understand alike.
"""

from __future__ import annotations

import difflib
import re
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator

from pipelines.errors import shown
from pipelines.settings_section import Section
from pipelines.ticks import CatchUp

FIELDS: Final = (
    ("minute", 0, 59, "0 to 59"),
    ("hour", 0, 23, "0 to 23"),
    ("day of month", 1, 31, "1 to 31"),
    ("month", 1, 12, "1 to 12 or JAN to DEC"),
    ("day of week", 0, 7, "0 to 7 or SUN to SAT, where 0 and 7 are Sunday"),
)
ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
WORD: Final = r"(?:\*|[0-9]+|[A-Za-z]{3})"
FIELD: Final = re.compile(rf"{WORD}(?:-{WORD})?(?:/[0-9]+)?(?:,{WORD}(?:-{WORD})?(?:/[0-9]+)?)*", re.ASCII)
"""What cron's own fields look like: `L`, `W` and `#` are other schedulers' words, which neither cron nor Kubernetes knows."""
ANY_DAY: Final = datetime(2024, 1, 1)  # noqa: DTZ001  a wall time
MACHINES_OWN: Final = re.compile(r"(?:posix/|right/).*|localtime|posixrules|Factory")
"""Names in a zone database that mean something else on each machine, or count leap seconds."""


class ScheduleConfig(Section):
    """When `shardmill schedule` ingests. None of it decides what a run makes."""

    cron: str = Field(
        min_length=1,
        max_length=200,
        description="Five fields of cron: minute, hour, day of month, month, day of week.",
        examples=["0 3 * * *"],
    )
    timezone: str = Field(
        default="UTC", min_length=1, max_length=100, description="Time zone of the IANA database.", examples=["Europe/Berlin"]
    )
    catch_up: CatchUp = Field(
        default="last",
        description="Ticks that nobody was there for. skip: they are passed over; last: the latest of them is made up for; all: each is, "
        "oldest first.",
    )

    @field_validator("cron")
    @classmethod
    def _is_a_cron_line(cls, value: str) -> str:
        line = " ".join(value.split())
        problem = cron_problem(line)
        if problem is not None:
            raise ValueError(problem)
        return line

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        problem = timezone_problem(value)
        if problem is not None:
            raise ValueError(problem)
        return value


def cron_problem(line: str) -> str | None:
    """What is wrong with a cron line, as found, expected and remedy; None if nothing is."""
    if line.startswith("@"):
        same = ALIASES.get(line.lower())
        remedy = f"write '{same}', which is the same" if same is not None else "write the times, as '0 3 * * *'"
        return f"{shown(line)!r} is no line of five fields; {remedy}"
    fields = line.split()
    if len(fields) != len(FIELDS):
        names = ", ".join(name for name, *_ in FIELDS)
        return f"{shown(line)!r} has {len(fields)} field{'' if len(fields) == 1 else 's'}; expected five: {names}, as '0 3 * * *'"
    for position, field in enumerate(fields):
        problem = _field_problem(position, field)
        if problem is not None:
            return problem
    try:
        next(CronSim(line, ANY_DAY))
    except (CronSimError, StopIteration):
        return f"{shown(line)!r} never comes: no month of it has such a day; expected a day that there is, as '0 3 28 2 *'"
    return None


def _field_problem(position: int, field: str) -> str | None:
    name, low, high, values = FIELDS[position]
    written = f"{name} {shown(field)!r}"
    if re.fullmatch(r"(?:L|LW|[0-9]{1,2}[LW])", field, re.ASCII | re.IGNORECASE):
        return f"{written} is not of cron; for the last days name all that it may be (28-31): a tick with nothing new costs nothing"
    if FIELD.fullmatch(field) is None:
        return f"{written} is not of cron; expected {values}; ranges (1-5), lists (1,15) and steps (*/15) of them; or `*`"
    for step in re.findall(r"/([0-9]+)", field):
        if not 0 < int(step[:9]) <= high:
            return f"{written} has a step of {step[:9]}, expected 1 to {high}: a step does not go beyond its field"
    fields = ["*"] * len(FIELDS)
    fields[position] = field
    try:
        CronSim(" ".join(fields), ANY_DAY)
    except (CronSimError, ValueError):
        turned = re.search(r"([0-9]{1,2})-([0-9]{1,2})(?![0-9])", field)
        if turned is not None and low <= int(turned[2]) < int(turned[1]) <= high:
            first, last = turned.groups()
            return f"{written} runs backwards; write '{first}-{high},{low}-{last}'"
        return f"{written} is none; expected {values}; ranges, lists and steps of them; or `*`"
    return None


def timezone_problem(name: str) -> str | None:
    """What is wrong with the name of a time zone, with the nearest one that there is; None if nothing is."""
    try:
        if MACHINES_OWN.fullmatch(name) is None:
            ZoneInfo(name)
            return None
    except (KeyError, ValueError, OSError):
        pass
    if re.fullmatch(r"(?:UTC|GMT)?[+-]?[0-9:]+|[A-Z]{3,5}", name, re.ASCII):
        remedy = "an offset, or a short name of one, knows no changes of the clocks: name a place, as 'Europe/Berlin', or UTC"
    else:
        near = _nearest_zone(name)
        remedy = f"did you mean {near!r}?" if near is not None else "expected a name of the IANA database, as 'Europe/Berlin' or 'UTC'"
    return f"there is no time zone {shown(name)!r}; {remedy}"


def _nearest_zone(name: str) -> str | None:
    """By the whole name, else by the place: people write `Berlin` and `new york`."""
    names = sorted(name for name in available_timezones() if MACHINES_OWN.fullmatch(name) is None)
    asked = re.sub(r"^(?:posix|right)/", "", name).strip().replace(" ", "_").lower()
    whole = {known.lower(): known for known in names}
    places = {known.rpartition("/")[2].lower(): known for known in reversed(names)}
    if asked in whole:
        return whole[asked]
    place = asked.rpartition("/")[2]
    for wanted, known in ((place, places), (asked, whole), (place, places)):
        close = [wanted] if wanted in known else difflib.get_close_matches(wanted, known, n=1, cutoff=0.75)
        if close:
            return known[close[0]]
    return None
