"""The scheduler: waits for ticks, does the work of each once, and leaves a record of it.

It remembers nothing but what is in the output (tick_log.py): it may be killed at any moment, started again anywhere, and there may be
several. One has the lease, the others stand by. The work itself, the clock and whom to tell are parameters.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from os import getpid
from typing import Any, Final, Literal, NoReturn, Protocol, TypeVar

from pipelines import faults
from pipelines.errors import Conflict, LeaseHeld, LeaseLost, ShardmillError, StorageError, VersionConflict
from pipelines.lease import LEASE_SECONDS, Lease, current
from pipelines.legible import seconds as show_seconds
from pipelines.redaction import redact_environment, redact_uri
from pipelines.runbook import TICKS_MISSED, entry_for, pointer
from pipelines.tick_log import Position, TickLog
from pipelines.ticks import PRESENT, CatchUp, Tick, due, instant_text

CONFIGURATION: Final = 2
"""Exit status of what a later tick cannot mend."""
LONGEST_WAIT: Final = 30.0
"""Then the clock is looked at again: it may have been set, and a machine that slept does not count the time."""
STANDBY_SECONDS: Final = LEASE_SECONDS / 3
BUSY_SECONDS: Final = 10.0
"""Between two looks at whether another run of the output has ended."""
PAUSE_SECONDS: Final = 60.0
"""Between two tries of a store that does not answer."""
EARLY: Final = timedelta(seconds=5)
"""Whoever is started for a tick by another clock may come a little before it."""
MAX_MESSAGE_CHARS: Final = 1000

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a tick's work: a version, nothing since nothing was new, or a failure; where the runbook tells more is only said."""

    kind: Literal["version", "nothing_new", "failed"]
    version: str | None = None
    message: str = ""
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in a record."""
        return {"outcome": self.kind, "version": self.version, "message": self.message}


@dataclass(frozen=True, slots=True)
class Done:
    """A tick at its end."""

    tick: Tick
    id: str
    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"tick": self.tick.text, "wall": self.tick.wall.isoformat(timespec="minutes"), "id": self.id, **self.outcome.to_json()}


Act = Callable[[Tick, str], Outcome]
"""The work of a tick, given the tick and its id.

Raises LeaseHeld, LeaseLost or VersionConflict while another run is at the output: it is asked again then.
"""
Tell = Callable[[str], None]


class Clock(Protocol):
    """The present, and a way to let it pass."""

    def now(self) -> datetime:
        """The present instant, with a time zone."""

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, or somewhat earlier or later."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the schedule is, and the tick that somebody began and did not bring to its end."""

    position: Position
    owed: datetime | None


class Scheduler:
    """Does the ticks of one schedule, for as long as it runs or once."""

    def __init__(self, log: TickLog, catch_up: CatchUp, act: Act, clock: Clock, tell: Tell) -> None:
        self._log = log
        self._catch_up: CatchUp = catch_up
        self._act = act
        self._clock = clock
        self._tell = tell
        self._came = clock.now()
        self._doing = "starting"
        self._is_patient = False
        self._by = f"{socket.gethostname()}:{getpid()}"

    def run(self) -> NoReturn:
        """Do every tick as it comes, and those that are owed; ends only by an interrupt, or where the pipeline itself is wrong.

        Raises:
            ShardmillError: The store cannot be used at the start, or the pipeline is refused, which no later tick would mend.
        """
        self._log.open(self._came)
        self._is_patient = True
        while True:
            with ExitStack() as stack:
                lease = stack.push(self._take_turn())
                try:
                    self._attend(lease)
                except LeaseLost as error:
                    self._tell(f"another scheduler took over, this one stands by ({error.message})")

    def once(self) -> list[Done]:
        """Do what is due now, and return what was done.

        Raises:
            LeaseHeld: Another scheduler is at work and goes on.
            ShardmillError: The store cannot be used, or the pipeline is refused.
        """
        self._log.open(self._came - PRESENT)
        with ExitStack() as stack:
            lease = stack.push(self._take_turn())
            done: list[Done] = []
            place, now = self._place(), self._soon()
            self._tell_ahead(place.position.settled, now)
            while (tick := self._next_due(place, now)) is not None:
                place = self._begun(tick, place)
                done.append(self._do(tick, lease))
            return done

    # --- whose turn it is

    def _take_turn(self) -> Lease:
        """The lease of the schedule, waited for; the caller gives it back.

        Raises:
            LeaseHeld: Another scheduler has it, and this one does not stand by for ever.
        """
        waited, is_told = 0.0, False
        while True:
            try:
                return self._patiently(self._entered)
            except LeaseHeld:
                holder = self._holder()
                if not self._is_patient and waited > LEASE_SECONDS * 1.25:
                    raise LeaseHeld(f"{self._log.name}: another scheduler{holder} is at work; it does what is due") from None
                if not is_told:
                    self._tell(f"another scheduler{holder} is at work; this one stands by")
                is_told = True
            pause = STANDBY_SECONDS if self._is_patient else min(STANDBY_SECONDS, 2.0)
            self._clock.wait(pause)
            waited += pause

    def _entered(self) -> Lease:
        return Lease(self._log.store, lambda: self._doing, path=self._log.lease_path).__enter__()

    def _holder(self) -> str:
        try:
            found, _ = current(self._log.store, self._log.lease_path)
        except StorageError:
            return ""
        return "" if found is None else f" (process {found.pid} on {found.host}: {found.doing})"

    def _patiently(self, action: Callable[[], Result]) -> Result:
        """What an action returns; a store that fails is asked again until it does not, unless this is the start."""
        while True:
            try:
                return action()
            except StorageError as error:
                if not self._is_patient:
                    raise
                self._tell(f"the store does not do what it should, asking again in {PAUSE_SECONDS:.0f} s: {_redacted(error.message)}")
                self._clock.wait(PAUSE_SECONDS)

    # --- ticks

    def _attend(self, lease: Lease) -> NoReturn:
        """Do ticks as they come for as long as the lease is ours.

        Raises:
            LeaseLost: It is another's.
        """
        place = self._place()
        while True:
            now = self._patiently(self._clock.now)
            tick = self._next_due(place, now)
            if tick is None:
                self._wait_for_next(place, now, lease)
            else:
                lease.check()
                place = self._begun(tick, place)
                self._do(tick, lease)

    def _place(self) -> _Place:
        """Where the schedule is, as the store has it."""
        position = self._patiently(lambda: self._log.open(self._came))
        return _Place(position, self._patiently(lambda: self._log.owed(position)))

    def _next_due(self, place: _Place, now: datetime) -> Tick | None:
        settled = place.position.settled
        found = due(self._log.schedule, done=settled, now=now, catch_up=self._catch_up, since=self._came, owed=place.owed)
        return next(found, None)

    def _begun(self, tick: Tick, place: _Place) -> _Place:
        """The place after a tick was begun.

        Raises:
            LeaseLost: Another scheduler is at work.
        """
        self._doing = f"tick {tick.text}"
        if tick.instant == place.owed:
            return _Place(place.position, None)
        return _Place(self._patiently(lambda: self._moved(place.position, tick)), None)

    def _moved(self, position: Position, tick: Tick) -> Position:
        try:
            return self._log.begin(position, tick, self._by)
        except Conflict:
            raise LeaseLost(f"{self._log.name}: another scheduler has begun {tick.text}, or a later tick") from None

    def _do(self, tick: Tick, lease: Lease) -> Done:
        """Do the work of a tick that was begun, and record what came of it.

        Raises:
            LeaseLost: Another scheduler is at work.
        """
        begun, name = self._patiently(self._clock.now), self._log.id_of(tick)
        faults.point("schedule.begun")
        outcome = self._worked(tick, name, lease)
        faults.point("schedule.acted")
        ended = self._patiently(self._clock.now)
        told = {**outcome.to_json(), "begun": instant_text(begun), "ended": instant_text(ended), "by": self._by, "epoch": lease.epoch}
        is_first = self._patiently(lambda: self._log.finish(tick, told))
        faults.point("schedule.recorded")
        also = "" if is_first else " (another scheduler has recorded this tick before)"
        self._tell(f"{wall_text(tick)}: {_described(outcome)}{also}")
        return Done(tick, name, outcome)

    def _worked(self, tick: Tick, name: str, lease: Lease) -> Outcome:
        is_told = False
        while True:
            try:
                return self._act(tick, name)
            except (LeaseHeld, LeaseLost, VersionConflict) as error:
                if not is_told:
                    self._tell(f"{wall_text(tick)}: waits for another run of the output: {_redacted(error.message)}")
                is_told = True
            except ShardmillError as error:
                if error.exit_status == CONFIGURATION:
                    raise
                return _failed(error, error.message)
            except Exception as error:  # noqa: BLE001  a task's edge: the next tick is to be done whatever happened to this one
                return _failed(error, f"{type(error).__name__}: {error}")
            self._clock.wait(BUSY_SECONDS)
            lease.check()

    # --- waiting, and telling

    def _soon(self) -> datetime:
        """The present; where a tick comes within seconds, its instant, waited for."""
        now = self._clock.now()
        upcoming = next(self._log.schedule.between(now, now + EARLY), None)
        while upcoming is not None and now < upcoming.instant:
            self._clock.wait((upcoming.instant - now).total_seconds())
            now = self._clock.now()
        return now

    def _wait_for_next(self, place: _Place, now: datetime, lease: Lease) -> None:
        """Return when the next tick has come. Nothing is due now, so that it is the same one however the clock is set meanwhile.

        Raises:
            LeaseLost: Another scheduler is at work.
        """
        upcoming = next(self._log.schedule.after(max(now, place.position.settled)), None)
        self._doing = "waits" if upcoming is None else f"waits for {upcoming.text}"
        if upcoming is not None:
            self._tell(next_text(upcoming, now))
        self._tell_ahead(place.position.settled, now)
        while upcoming is None or now < upcoming.instant:
            lease.check()
            left = LONGEST_WAIT if upcoming is None else (upcoming.instant - now).total_seconds()
            self._clock.wait(min(left, LONGEST_WAIT))
            now = self._patiently(self._clock.now)

    def _tell_ahead(self, settled: datetime, now: datetime) -> None:
        """Tell of a schedule that stands still because a clock ran ahead once."""
        if settled > now + PRESENT:
            path = self._log.store.locate(self._log.position_path)
            self._tell(
                f"the latest tick that was begun, {instant_text(settled)}, lies ahead of the store's clock, {instant_text(now)}: till then "
                f"none is done; if the clock was wrong at that time, stop every scheduler of this output and remove {path}"
            )


def wall_text(tick: Tick) -> str:
    """A tick as the clocks of its zone show it: `2026-11-22 03:00 CET`."""
    return f"{tick.wall:%Y-%m-%d %H:%M %Z}"


def next_text(tick: Tick, now: datetime) -> str:
    """When the next tick comes, in both zones, and how long it takes until then."""
    also = "" if tick.wall.tzname() == "UTC" else f" ({tick.instant:%H:%M} UTC)"
    return f"next: {wall_text(tick)}{also}, in {show_seconds((tick.instant - now).total_seconds())}"


def _described(outcome: Outcome) -> str:
    if outcome.kind == "nothing_new":
        return "nothing new" + (f" since {outcome.version}" if outcome.version is not None else "")
    if outcome.kind == "version":
        return f"{outcome.version}" + (f": {outcome.message}" if outcome.message else "")
    return f"failed: {outcome.message}{outcome.remedy}"


def _failed(error: Exception, message: str) -> Outcome:
    """What came of a tick whose work failed, and where the runbook tells what to do."""
    return Outcome("failed", message=_redacted(message), remedy=f"; {pointer(entry_for(error) or TICKS_MISSED)}")


def _redacted(message: str) -> str:
    """A message as it may be kept: one line, bounded, without secrets."""
    return redact_environment(redact_uri(" ".join(message.split())))[:MAX_MESSAGE_CHARS]
