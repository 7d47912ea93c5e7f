"""The scheduler with a clock that is given: each tick's work once, whatever is killed, set or cut off meanwhile. Nothing here waits."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import schedule as module
from pipelines.errors import ConfigError, Conflict, LeaseHeld, StorageError, Unavailable, UnitError, VersionConflict
from pipelines.lease import Lease
from pipelines.schedule import Outcome, Scheduler
from pipelines.storage import open_store
from pipelines.tick_log import TickLog
from pipelines.ticks import Schedule

NAMES = itertools.count()
START = datetime(2026, 10, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Killed(BaseException):
    """The process is gone at this point: nothing is said, nothing is written any more."""


@dataclass
class FakeClock:
    """A clock that goes on when somebody waits; it ends the process at `until`."""

    present: datetime = START
    until: datetime = START + 3 * DAY
    hook: object = None
    longest: float = 0.0

    def now(self):
        return self.present

    def wait(self, seconds):
        assert 0 < seconds <= module.PAUSE_SECONDS
        self.longest = max(self.longest, seconds)
        self.present += timedelta(seconds=seconds)
        if self.hook is not None:
            self.hook(self)
        if self.present > self.until:
            raise Killed


@dataclass
class World:
    """One output and what is done to it."""

    cron: str = "0 */6 * * *"
    timezone: str = "UTC"
    acted: list = field(default_factory=list)
    told: list = field(default_factory=list)
    answers: list = field(default_factory=list)

    def __post_init__(self):
        self.log = TickLog(open_store(f"memory://schedule-{next(NAMES)}"), "w", Schedule(self.cron, self.timezone))

    def act(self, tick, name):
        answer = self.answers.pop(0) if self.answers else Outcome("nothing_new", "v1")
        if isinstance(answer, BaseException):
            raise answer
        self.acted.append(tick.text[5:16])
        assert name == self.log.id_of(tick)
        return answer

    def run(self, clock=None, catch_up="last", act=None):
        """A scheduler until the end of its clock."""
        clock = clock or FakeClock()
        with pytest.raises(Killed):
            Scheduler(self.log, catch_up, act or self.act, clock, self.told.append).run()

    def once(self, present, catch_up="last", until=None):
        clock = FakeClock(present, until or present + DAY)
        return [one.tick.text[5:16] for one in Scheduler(self.log, catch_up, self.act, clock, self.told.append).once()]

    def records(self):
        return [info.path.rpartition("/")[2] for info in self.log.store.list(f"{self.log.folder}/ticks")]

    def record(self, day, hour):
        return self.log.record(datetime(2026, 10, day, hour, tzinfo=UTC))


# --- the loop


def test_each_tick_is_done_when_it_comes_and_leaves_one_record():
    """Three days of four ticks; each line tells what came of it, and when the next one is."""
    world = World()
    world.run(FakeClock(until=START + timedelta(hours=25)))
    assert world.acted == ["10-24T18:00", "10-25T00:00", "10-25T06:00", "10-25T12:00"]
    assert world.records() == ["20261024t1800z.json", "20261025t0000z.json", "20261025t0600z.json", "20261025t1200z.json"]
    assert world.told[:3] == [
        "next: 2026-10-24 18:00 UTC, in 6 h 00 min",
        "2026-10-24 18:00 UTC: nothing new since v1",
        "next: 2026-10-25 00:00 UTC, in 6 h 00 min",
    ]
    record = world.record(24, 18)
    assert record["id"].startswith("w-20261024t1800z-")
    assert (record["outcome"], record["version"], record["begun"]) == ("nothing_new", "v1", "2026-10-24T18:00Z")


def test_a_scheduler_that_is_started_again_does_no_tick_twice():
    """It finds what was done in the output."""
    world = World()
    for hours in (7, 8, 13, 13.5, 20):
        clock = FakeClock(START + timedelta(hours=hours - 1), START + timedelta(hours=hours))
        world.run(clock, catch_up="all")
    assert world.acted == ["10-25T00:00", "10-25T06:00"]  # the first start, at six o'clock, was after the tick of that moment


@pytest.mark.parametrize(
    ("catch_up", "did"),
    [
        ("skip", ["10-24T18:00", "10-26T12:00"]),
        ("last", ["10-24T18:00", "10-26T06:00", "10-26T12:00"]),
        ("all", ["10-24T18:00", "10-25T00:00", "10-25T06:00", "10-25T12:00", "10-25T18:00", "10-26T00:00", "10-26T06:00", "10-26T12:00"]),
    ],
)
def test_what_was_missed_is_caught_up_with_as_the_pipeline_says(catch_up, did):
    """Nobody was there for a day and a half; it does not matter to what is done that the same scheduler comes back."""
    world = World()
    world.run(FakeClock(START, START + timedelta(hours=7)), catch_up)
    world.run(FakeClock(START + timedelta(hours=43), START + timedelta(hours=49)), catch_up)
    assert world.acted == did


@pytest.mark.parametrize("catch_up", ["skip", "last", "all"])
def test_a_tick_that_was_begun_by_one_that_died_is_done_by_the_next(catch_up):
    """Killed in the middle of the work, or between the work and its record: whoever comes, hours later, does it first."""
    world = World(answers=[Killed()])
    world.run(catch_up=catch_up)
    assert world.acted == []
    assert world.records() == []
    world.run(FakeClock(START + timedelta(hours=9), START + timedelta(hours=10)), catch_up)
    assert world.acted == ["10-24T18:00"]
    assert world.records() == ["20261024t1800z.json"]


def test_ticks_that_come_while_one_is_at_work_are_not_missed():
    """After a long ingestion the latest of them is done, and with `all` each: somebody was there."""
    for catch_up, then in (("skip", ["10-25T06:00"]), ("last", ["10-25T06:00"]), ("all", ["10-25T00:00", "10-25T06:00"])):
        world, clock = World(), FakeClock(until=START + timedelta(hours=20))

        def act(tick, name, world=world, clock=clock):
            if not world.acted:
                clock.present += timedelta(hours=13)
            return world.act(tick, name)

        world.run(clock, catch_up, act)
        assert world.acted == ["10-24T18:00", *then]


@settings(max_examples=30, deadline=None)
@given(draw=st.data())
def test_kills_restarts_and_clocks_that_are_set_change_nothing(draw):
    """Killed at any of its steps, with the clock set back and forth: every tick has its record, in order, twice only if a kill hid it."""
    world, present = World("*/20 * * * *", "Australia/Lord_Howe"), START
    hidden = 0
    for _ in range(draw.draw(st.integers(1, 6))):
        kill_at = draw.draw(st.integers(0, 12))
        steps = itertools.count()

        def step(kill_at=kill_at, steps=steps):
            if next(steps) == kill_at:
                raise Killed

        def act(tick, name, step=step):
            nonlocal hidden
            step()
            outcome = world.act(tick, name)
            hidden += 1
            step()
            hidden -= 1
            return outcome

        jump = draw.draw(st.integers(-3600, 3600))
        clock = FakeClock(present + timedelta(seconds=jump), present + timedelta(minutes=draw.draw(st.integers(61, 240))))
        world.run(clock, "all", act)
        present = max(present, clock.present)
    until = present + timedelta(seconds=1)
    world.run(FakeClock(present, until), "all")
    since = world.log.open(present).since
    expected = [tick.text[5:16] for tick in world.log.schedule.between(since, until)]
    assert list(dict.fromkeys(world.acted)) == expected == sorted(expected)
    assert len(world.acted) == len(expected) + hidden
    assert len(world.records()) == len(expected)


def test_a_clock_that_was_ahead_is_told():
    """A tick of next year was begun when the clock was wrong: nothing is done until then, and the message names what to remove."""
    world = World()
    world.run(FakeClock(START + 365 * DAY, START + 365 * DAY + timedelta(hours=7)))
    world.run(FakeClock())
    assert len(world.acted) == 1
    assert any("lies ahead of the store's clock" in line and line.endswith(world.log.position_path) for line in world.told)
    world.told.clear()
    assert world.once(START + 2 * DAY) == []
    assert any("lies ahead of the store's clock" in line for line in world.told)


@pytest.mark.parametrize("what", ["position", "record"])
def test_a_damaged_object_of_a_schedule_is_named(what):
    """With what becomes of the schedule once it is removed."""
    world = World()
    six = START + timedelta(hours=6)
    assert world.once(six) == ["10-24T18:00"]
    path = world.log.position_path if what == "position" else world.log.path_of(six)
    world.log.store.delete([path])
    world.log.store.create(path, b"half of an obj")
    with pytest.raises(StorageError, match=rf"{path}: it is damaged .*; remove it: "):
        world.once(six + timedelta(minutes=1))
    world.log.store.delete([path])
    assert world.once(six + timedelta(minutes=2)) == ["10-24T18:00"]


# --- what can go wrong with a tick


def test_a_tick_that_fails_is_recorded_and_the_next_one_is_done():
    """What the run says of itself, and a bug too; no secret of an address is kept."""
    answers = [UnitError("s3://key:word@b/x: broken"), ZeroDivisionError("bug"), Outcome("version", "v2", "7 documents in 1 shards")]
    world = World(answers=answers)
    world.run(FakeClock(until=START + timedelta(hours=19)))
    lines = [line.partition("; see docs/")[0] for line in world.told if not line.startswith("next")]
    assert lines == [
        "2026-10-24 18:00 UTC: failed: s3://[redacted]@b/x: broken",
        "2026-10-25 00:00 UTC: failed: ZeroDivisionError: bug",
        "2026-10-25 06:00 UTC: v2: 7 documents in 1 shards",
    ]
    assert world.record(24, 18)["message"] == "s3://[redacted]@b/x: broken"
    assert world.record(25, 6)["version"] == "v2"


def test_a_run_by_hand_at_the_same_second_is_waited_for():
    """The output is busy, then another run finishes the version: the tick is asked again until it is free, and is done once."""
    world = World(answers=[LeaseHeld("busy"), LeaseHeld("busy"), VersionConflict("v2 is there")])
    world.run(FakeClock(until=START + timedelta(hours=7)))
    assert world.acted == ["10-24T18:00"]
    assert sum("waits for another run" in line for line in world.told) == 1


def test_a_pipeline_that_is_refused_ends_the_scheduler_and_the_tick_is_owed():
    """No later tick would mend it; once it is mended the tick is done."""
    world = World(answers=[ConfigError("p.yaml:3: no")])
    with pytest.raises(ConfigError):
        Scheduler(world.log, "skip", world.act, FakeClock(), world.told.append).run()
    assert world.records() == []
    world.run(FakeClock(START + timedelta(hours=11), START + timedelta(hours=11, minutes=1)), "skip")
    assert world.acted == ["10-24T18:00"]


def test_a_store_that_does_not_answer_for_an_hour_loses_nothing(monkeypatch):
    """The work is done once, and its record comes when the store does."""
    world, failures = World(answers=[Outcome("version", "v1")]), itertools.count()
    finish = world.log.finish

    def failing(tick, told):
        if next(failures) < 60:
            raise Unavailable("no answer")
        return finish(tick, told)

    monkeypatch.setattr(world.log, "finish", failing)
    world.run(FakeClock(until=START + timedelta(hours=8)))
    assert world.acted == ["10-24T18:00"]
    assert world.record(24, 18)["version"] == "v1"
    assert sum("asking again" in line for line in world.told) == 60


def test_a_store_that_cannot_be_used_at_the_start_ends_it_at_once(monkeypatch):
    """A wrong address is not waited for."""
    world = World()

    def failing(now):
        raise Unavailable("no answer")

    monkeypatch.setattr(world.log, "open", failing)
    with pytest.raises(Unavailable):
        Scheduler(world.log, "last", world.act, FakeClock(), world.told.append).run()


# --- several


def test_a_second_scheduler_stands_by_and_takes_over():
    """While the first one lives it does nothing; then it does what comes, and what the first one left."""
    world = World()
    first = Lease(world.log.store, lambda: "tick 2026-10-24T18:00Z", path=world.log.lease_path).__enter__()

    def hook(clock):
        if clock.present > START + timedelta(hours=20) and not world.acted:
            first.__exit__(None, None, None)

    world.run(FakeClock(until=START + timedelta(hours=25), hook=hook))
    assert world.acted == ["10-25T06:00", "10-25T12:00"]
    assert "is at work; this one stands by" in world.told[0]
    assert "tick 2026-10-24T18:00Z" in world.told[0]


def test_without_a_lease_of_two_schedulers_only_one_begins_a_tick():
    """The lease only saves double work: what counts is the swap of the position, and the first record."""
    world = World()
    one, other = (TickLog(world.log.store, "w", world.log.schedule) for _ in range(2))
    mine, theirs = one.open(START), other.open(START + DAY)
    assert mine == theirs
    first, second = itertools.islice(world.log.schedule.after(START), 2)
    moved = one.begin(mine, first, "one")
    with pytest.raises(Conflict):
        other.begin(theirs, first, "other")
    with pytest.raises(Conflict):
        other.begin(other.open(START), first, "other")  # it is begun, however late one looks
    assert one.owed(moved) == other.owed(other.open(START)) == first.instant
    assert one.finish(first, {"by": "one"})
    assert not other.finish(first, {"by": "other"})
    assert one.record(first.instant)["by"] == "one"
    assert one.owed(moved) is None
    assert other.begin(other.open(START), second, "other").begun == second.instant


def test_a_scheduler_whose_lease_was_taken_begins_nothing_and_stands_by():
    """It was stopped for long; another one did the tick meanwhile."""
    world = World()

    def hook(clock):
        if clock.present >= START + timedelta(hours=6) and not world.records():
            tick = next(world.log.schedule.after(START))
            world.log.begin(world.log.open(START), tick, "other")
            world.log.finish(tick, {"outcome": "nothing_new", "by": "other"})

    world.run(FakeClock(until=START + timedelta(hours=13), hook=hook))
    assert world.acted == ["10-25T00:00"]
    assert any("another scheduler took over" in line for line in world.told)


# --- once


def test_once_does_what_is_due_and_nothing_more():
    """Started for a tick by cron it does that one, also the very first time; again, nothing is due."""
    world = World()
    six = START + timedelta(hours=6)
    assert world.once(six + timedelta(seconds=2)) == ["10-24T18:00"]
    assert world.once(six + timedelta(seconds=3)) == []
    assert world.once(six + timedelta(hours=13)) == ["10-25T06:00"]
    assert World().once(six + timedelta(hours=1)) == []  # by hand, an hour after a tick that nobody had asked for


def test_once_waits_for_a_tick_that_comes_within_seconds():
    """The clock that started it goes before that of the store."""
    assert World().once(START + timedelta(hours=5, minutes=59, seconds=56)) == ["10-24T18:00"]


def test_once_with_skip_passes_over_what_is_long_ago():
    """Whoever calls it hourly does not do the tick of the night in the morning."""
    world = World()
    world.once(START)
    assert world.once(START + timedelta(hours=7), "skip") == []
    assert world.once(START + timedelta(hours=12, minutes=4), "skip") == ["10-25T00:00"]


def test_once_does_not_stand_by_for_ever():
    """Another scheduler lives and does what is due: after the time in which a dead one is known, this one ends and says so."""
    world = World()
    with Lease(world.log.store, path=world.log.lease_path), pytest.raises(LeaseHeld, match=r"another scheduler .*is at work"):
        world.once(START + timedelta(hours=6))
    assert world.acted == []


def test_once_ends_with_the_error_of_the_store(monkeypatch):
    """Whoever calls it calls it again."""
    world = World()
    monkeypatch.setattr(world.log, "finish", lambda *_: (_ for _ in ()).throw(Unavailable("no answer")))
    with pytest.raises(Unavailable):
        world.once(START + timedelta(hours=6))
    monkeypatch.undo()
    assert world.once(START + timedelta(hours=6, minutes=1)) == ["10-24T18:00"]


def test_every_wait_is_short_enough_to_notice_a_clock_that_was_set():
    """A machine that slept over a tick does it within half a minute of its waking."""
    world, clock = World(), FakeClock(until=START + timedelta(hours=8))
    slept = []

    def hook(clock):
        if not slept and clock.present > START + timedelta(hours=1):
            slept.append(clock.present)
            clock.present = START + timedelta(hours=6, minutes=30)

    clock.hook = hook
    world.run(clock, "skip")
    assert world.acted == ["10-24T18:00"]
    assert world.record(24, 18)["begun"] == "2026-10-24T18:30Z"
    assert clock.longest <= 30
