"""When a schedule ticks: instants and their wall times, which of them are to be done, and what each is called. Pure.

Owns the meaning of a cron line in a time zone. Knows no clock and no store; which times of day match is cronsim's business, asked without
a time zone. What a change of the clocks does to them is decided here, as Debian's cron does it, in every zone:

- A line that names its minutes and hours (`30 2 * * *`) ticks once for each wall time: one that is skipped ticks when the clocks have
  changed, one that comes twice ticks the first time.
- A line whose minutes or hours begin with `*` goes by what the clock shows: what is skipped does not tick, what comes twice does so twice.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim

CatchUp = Literal["skip", "last", "all"]

PRESENT: Final = timedelta(minutes=10)
"""Who comes this soon after a tick was there for it: a service that is started again, a pod whose image had to be fetched first."""
FOLD: Final = timedelta(hours=3)
"""No clock is set back by more (a test looks at all zones); wall times this far behind may come once more."""
MINUTE: Final = timedelta(minutes=1)
ONE: Final = re.compile(r"\b(\w+)-\1/[0-9]+", re.IGNORECASE)
"""A range of one number, with a step."""
NAME_CHARS: Final = 27
"""Of the 52 characters that an id of a job may have; the rest is the instant and the digest."""


@dataclass(frozen=True, slots=True, order=True)
class Tick:
    """One tick: the instant in UTC, and the same instant as the clocks of the schedule's time zone show it."""

    instant: datetime
    wall: datetime

    @property
    def text(self) -> str:
        """The instant as it stands in records: `2026-11-22T02:00Z`."""
        return instant_text(self.instant)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A checked cron line (settings_schedule.py) in a time zone of the IANA database."""

    cron: str
    timezone: str = "UTC"

    def after(self, instant: datetime) -> Iterator[Tick]:
        """All ticks later than an instant, in their order; it ends where nothing comes for fifty years."""
        zone = ZoneInfo(self.timezone)
        waiting: list[datetime] = []
        last = instant = instant.astimezone(UTC)
        for wall in self._walls(instant.astimezone(zone).replace(tzinfo=None) - FOLD):
            found = self._instants(wall, zone)
            for one in found:
                heapq.heappush(waiting, one)
            # Second passings of a wall time wait here until the first passings of later ones have come past them.
            while found and waiting and waiting[0] <= found[0]:
                if (first := heapq.heappop(waiting)) > last:
                    yield Tick(first, first.astimezone(zone))
                    last = first
        while waiting:
            if (first := heapq.heappop(waiting)) > last:
                yield Tick(first, first.astimezone(zone))
                last = first

    def between(self, after: datetime, until: datetime) -> Iterator[Tick]:
        """The ticks later than `after` and not later than `until`, in their order."""
        for tick in self.after(after):
            if tick.instant > until:
                return
            yield tick

    def latest(self, after: datetime, until: datetime) -> Tick | None:
        """The last tick later than `after` and not later than `until`; however long that is, it is found at once."""
        width = timedelta(hours=1)
        while after < until:
            begin = max(after, until - width)
            found = list(self.between(begin, until))
            if found or begin == after:
                return found[-1] if found else None
            width *= 4
        return None

    def _walls(self, begin: datetime) -> Iterator[datetime]:
        """Times of day that match, as a clock would show them that nobody ever sets."""
        # cronsim takes 13-13/2 for 13/2, which is 13 to the end.
        yield from CronSim(ONE.sub(r"\1", self.cron), begin)

    def _instants(self, wall: datetime, zone: ZoneInfo) -> list[datetime]:
        """When a wall time ticks: never, once or twice, in order."""
        passings = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        real = [instant for instant in dict.fromkeys(passings) if instant.astimezone(zone).replace(tzinfo=None, fold=0) == wall]
        if self.goes_by_the_clock:
            return real
        return real[:1] or self._instants_after_gap(wall, zone)

    def _instants_after_gap(self, wall: datetime, zone: ZoneInfo) -> list[datetime]:
        """The first minute that there is after a wall time that is skipped."""
        found: list[datetime] = []
        while not found:
            wall += MINUTE
            passing = wall.replace(tzinfo=zone).astimezone(UTC)
            found = [passing] if passing.astimezone(zone).replace(tzinfo=None, fold=0) == wall else []
        return found

    @property
    def goes_by_the_clock(self) -> bool:
        """Whether the line's minutes or hours begin with `*`, so that it ticks by what the clock shows."""
        minutes, hours, *_ = self.cron.split()
        return minutes.startswith("*") or hours.startswith("*")


def due(
    schedule: Schedule, *, done: datetime, now: datetime, catch_up: CatchUp, since: datetime, owed: datetime | None = None
) -> Iterator[Tick]:
    """The ticks that are to be done now, oldest first.

    A tick that came while its predecessor was at work, or while another scheduler failed to, was not missed: somebody was there.

    Args:
        schedule: When it ticks.
        done: Ticks up to this instant are settled: done, or passed over.
        now: The present.
        catch_up: What becomes of ticks that are not done yet. skip: of those that came before somebody was there none is done, and of
            those since then the latest; last: the latest of all; all: each.
        since: When the scheduler came, or one that it follows without a gap; it counts as there for `PRESENT` before.
        owed: A tick that was begun and not brought to its end: it is done whatever `catch_up` is.
    """
    if owed is not None:
        yield Tick(owed, owed.astimezone(ZoneInfo(schedule.timezone)))
        done = max(done, owed)
    if catch_up == "all":
        yield from schedule.between(done, now)
        return
    latest = schedule.latest(max(done, since - PRESENT) if catch_up == "skip" else done, now)
    if latest is not None:
        yield latest


def identity(output_uri: str, name: str, schedule: Schedule) -> str:
    """What a schedule is known by: 16 hexadecimal digits of the output, the pipeline's name, the line and the time zone."""
    return _digest(output_uri, name, schedule.cron, schedule.timezone)[:16]


def tick_id(identity: str, name: str, tick: Tick) -> str:
    """The id of a tick's work, `<name>-20261122t0200z-<8 digits>`: the same for whoever does it, and fit for the id of a job."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:NAME_CHARS].strip("-") or "tick"
    return f"{slug}-{tick.instant:%Y%m%dt%H%Mz}-{_digest(identity, tick.text)[:8]}"


def instant_text(instant: datetime) -> str:
    """An instant as it stands in records: `2026-11-22T02:00Z`, with seconds where there are any."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds").removesuffix(":00") + "Z"


def instant_of(text: str) -> datetime:
    """Inverse of `instant_text`."""
    return datetime.fromisoformat(text)


def _digest(*parts: str) -> str:
    """SHA-256 of texts, each with its length, so that no two lists of them are the same."""
    return hashlib.sha256(b"".join(b"%d:%s" % (len(part.encode()), part.encode()) for part in parts)).hexdigest()
