"""Ticks of a schedule against a plain walk over every minute, as Debian's cron does it, in zones whose clocks are set in all ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.ticks import FOLD, PRESENT, Schedule, due, identity, instant_of, instant_text, tick_id

BEGIN = datetime(2026, 2, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "Asia/Kathmandu",  # a quarter of an hour off, never changed
    "Africa/Casablanca",  # back in summer, for Ramadan
)
MORE_ZONES = (*ZONES, "UTC", "Antarctica/Troll", "America/Havana", "Asia/Beirut", "Pacific/Chatham", "Africa/Cairo", "America/Santiago")


# --- the reference


def values(field, low, high):
    """The numbers that a field of cron stands for."""
    found = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            first, last = low, high
        elif not last:
            last = high if step else first
        found |= set(range(int(first), int(last) + 1, int(step or 1)))
    return found


@cache
def parsed(cron):
    minutes, hours, days, months, weekdays = [values(field, *span) for field, span in zip(cron.split(), RANGES, strict=True)]
    return minutes, hours, days, months, {day % 7 for day in weekdays}


@cache
def date_matches(cron, date):
    _, _, days, months, weekdays = parsed(cron)
    both = any(cron.split()[position].startswith("*") for position in (2, 4))
    rules = (date.day in days, (date.weekday() + 1) % 7 in weekdays)
    return date.month in months and (all(rules) if both else any(rules))


def matches(cron, wall):
    minutes, hours, *_ = parsed(cron)
    return wall.minute in minutes and wall.hour in hours and date_matches(cron, wall.date())


@lru_cache(maxsize=1)
def walk(zone, begin, days):
    """Every minute later than `begin`, by the minute that is shown: the instant, the wall time, whether it comes again; and gaps."""
    info, instant, walked, gaps = ZoneInfo(zone), begin, {minute: [] for minute in range(60)}, []
    before = begin.astimezone(info).replace(tzinfo=None, fold=0)
    for _ in range(days * 1440):
        instant += MINUTE
        wall = instant.astimezone(info)
        shown = wall.replace(tzinfo=None, fold=0)
        walked[shown.minute].append((instant, shown, wall.fold))
        if shown - before > MINUTE:
            gaps.append((instant, [before + MINUTE * number for number in range(1, (shown - before) // MINUTE)]))
        before = shown
    return walked, gaps


def reference(cron, zone, begin, days):
    """What cron does, a minute at a time."""
    by_the_clock = any(cron.split()[position].startswith("*") for position in (0, 1))
    walked, gaps = walk(zone, begin, days)
    minutes, hours, *_ = parsed(cron)
    found = set()
    for minute in minutes:
        for instant, shown, comes_again in walked[minute]:
            if shown.hour in hours and date_matches(cron, shown.date()) and (by_the_clock or not comes_again):
                found.add(instant)
    for instant, skipped in gaps:
        if not by_the_clock and any(matches(cron, wall) for wall in skipped):
            found.add(instant)
    return sorted(found)


def instants(cron, zone, begin, until):
    return [tick.instant for tick in Schedule(cron, zone).between(begin, until)]


# --- 400 days


@pytest.mark.parametrize("zone", ZONES)
def test_in_400_days_no_tick_is_missing_and_none_comes_twice(zone):
    """Daily, in the hour that changes, every so often, and by days: the ticks are those of the plain walk."""
    for cron in ("0 3 * * *", "30 2 * * *", "15 1,2 * * *", "*/20 2 * * *", "45 */6 * * *", "0 0 1,15 * 1", "7-59/13 0-3 * * 0"):
        assert instants(cron, zone, BEGIN, BEGIN + timedelta(days=400)) == reference(cron, zone, BEGIN, 400), cron


@pytest.mark.chaos
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
def test_every_minute_ticks_at_every_minute(zone):
    """Whatever the clocks do, there is a tick a minute: 576,000 in 400 days."""
    ticks = instants("* * * * *", zone, BEGIN, BEGIN + timedelta(days=400))
    assert len(ticks) == 400 * 1440
    assert all(later - earlier == MINUTE for earlier, later in pairwise(ticks))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_a_daily_tick_comes_once_on_each_day_of_the_calendar(zone):
    """Also on the day that lacks the time and on the day that has it twice."""
    walls = [tick.wall for tick in Schedule("30 2 * * *", zone).between(BEGIN, BEGIN + timedelta(days=400))]
    days = [wall.date() for wall in walls]
    assert days == [days[0] + timedelta(days=number) for number in range(400)]
    assert {wall.strftime("%H:%M") for wall in walls} == {"02:30", "03:00"}


def test_a_time_that_is_skipped_ticks_when_the_clocks_have_changed_and_one_that_comes_twice_the_first_time():
    """As Debian's cron: 02:30 in Berlin is 03:00 on the last Sunday of March, and that of summer time in October."""
    berlin = Schedule("30 2 * * *", "Europe/Berlin")
    spring = berlin.between(datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 29, 12, tzinfo=UTC))
    autumn = berlin.between(datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 10, 25, 12, tzinfo=UTC))
    assert [tick.wall.isoformat() for tick in spring] == ["2026-03-29T03:00:00+02:00"]
    assert [tick.wall.isoformat() for tick in autumn] == ["2026-10-25T02:30:00+02:00"]


def test_a_line_that_begins_with_a_star_goes_by_what_the_clock_shows():
    """Every half an hour from two to three: not at all in March, four times in October."""
    berlin = Schedule("*/30 2 * * *", "Europe/Berlin")
    assert not list(berlin.between(datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 29, 12, tzinfo=UTC)))
    autumn = berlin.between(datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 10, 25, 12, tzinfo=UTC))
    assert [tick.wall.strftime("%H:%M%z") for tick in autumn] == ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]


def test_no_clock_is_set_back_further_than_is_looked_for():
    """Wall times that come again are found by looking back so far: in no zone is it too little."""
    for name in available_timezones():
        zone = ZoneInfo(name)
        offsets = [(BEGIN + timedelta(days=5 * number)).astimezone(zone).utcoffset() for number in range(400)]
        assert all(later - earlier >= -FOLD for earlier, later in pairwise(offsets)), name


# --- any line, any zone, any window


@st.composite
def fields(draw, low, high):
    def term():
        first = draw(st.integers(low, high))
        step = draw(st.sampled_from(["", f"/{draw(st.integers(1, high))}"]))
        return draw(st.sampled_from([f"*{step}", f"{first}{step}", f"{first}-{draw(st.integers(first, high))}{step}"]))

    return ",".join(term() for _ in range(draw(st.integers(1, 2))))


crons = st.tuples(
    fields(0, 59), fields(0, 23), st.one_of(st.just("*"), fields(1, 28)), st.just("*"), st.one_of(st.just("*"), fields(0, 7))
).map(" ".join)


@cache
def changes(zone):
    """Where the clocks of a zone change in two years; where they never do, some instant."""
    info = ZoneInfo(zone)
    hours = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number) for number in range(2 * 365 * 24)]
    found = [late for early, late in pairwise(hours) if early.astimezone(info).utcoffset() != late.astimezone(info).utcoffset()]
    return found or [datetime(2026, 5, 5, tzinfo=UTC)]


@st.composite
def windows(draw):
    """A zone, and instants to the second within a day and a half of a change of its clocks, sorted."""
    zone = draw(st.sampled_from(MORE_ZONES))
    change = draw(st.sampled_from(changes(zone)))
    offsets = st.one_of(st.integers(-129_600, 129_600), st.integers(-120, 120).map(lambda minutes: minutes * 60))
    return zone, sorted(change + timedelta(seconds=draw(offsets)) for _ in range(draw(st.integers(3, 6))))


@settings(max_examples=100, deadline=None)
@given(cron=crons, window=windows())
@example(cron="* 3 * * *", window=("Australia/Lord_Howe", [datetime(2026, 10, 3, 15, tzinfo=UTC), datetime(2026, 10, 4, 15, tzinfo=UTC)]))
@example(cron="* * * * *", window=("Europe/Berlin", [datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 10, 25, 12, tzinfo=UTC)]))
@example(cron="10 * * * *", window=("Europe/Berlin", [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 2, tzinfo=UTC)]))
@example(cron="0 13-13/2 * * *", window=("UTC", [datetime(2026, 5, 5, tzinfo=UTC), datetime(2026, 5, 6, tzinfo=UTC)]))
@example(cron="*/30 0 8 * *", window=("America/Santiago", [datetime(2026, 9, 5, 15, tzinfo=UTC), datetime(2026, 9, 8, 15, tzinfo=UTC)]))
def test_the_ticks_of_any_window_are_those_of_the_plain_walk(cron, window):
    """Around every change of clocks, for any line: the same instants in the same order."""
    zone, (begin, *_, end) = window
    start = begin.replace(second=0)
    expected = [instant for instant in reference(cron, zone, start, 4) if begin < instant <= end]
    assert instants(cron, zone, begin, end) == expected


@settings(max_examples=100, deadline=None)
@given(cron=crons, window=windows())
def test_a_window_that_is_split_anywhere_has_the_same_ticks(cron, window):
    """So that nothing depends on when somebody looked."""
    zone, splits = window
    pieces = [tick for begin, end in pairwise(splits) for tick in instants(cron, zone, begin, end)]
    assert pieces == instants(cron, zone, splits[0], splits[-1])


@settings(max_examples=100, deadline=None)
@given(cron=crons, window=windows())
def test_the_latest_tick_is_the_last_one(cron, window):
    """It is found from behind, and is the same."""
    zone, (begin, *_, end) = window
    found = Schedule(cron, zone).latest(begin, end)
    assert ([] if found is None else [found.instant]) == instants(cron, zone, begin, end)[-1:]


# --- what is due


@settings(max_examples=100, deadline=None)
@given(cron=crons, window=windows(), draw=st.data())
def test_a_scheduler_that_is_started_again_at_any_instant_does_each_tick_once(cron, window, draw):
    """With `all`, whoever looks whenever, the clock put back or not: all ticks, each once, in order."""
    zone, (begin, *nows) = window
    schedule, done, did = Schedule(cron, zone), begin, []
    for now in draw.draw(st.permutations(nows)):
        for tick in due(schedule, done=done, now=now, catch_up="all", since=now):
            did.append(tick.instant)
            done = tick.instant
    assert did == instants(cron, zone, begin, max(nows))


@settings(max_examples=100, deadline=None)
@given(cron=crons, window=windows())
def test_last_makes_up_for_the_latest_of_what_was_missed(cron, window):
    """At each look at most one tick, the latest; none twice."""
    zone, (begin, *nows) = window
    schedule, done = Schedule(cron, zone), begin
    for now in nows:
        found = [tick.instant for tick in due(schedule, done=done, now=now, catch_up="last", since=now)]
        assert found == instants(cron, zone, done, now)[-1:]
        done = found[0] if found else done


def at(hour, minute=0, second=0):
    return datetime(2026, 11, 22, hour, minute, second, tzinfo=UTC)


def hourly(**given):
    return [tick.text[11:16] for tick in due(Schedule("0 * * * *"), **given)]


def test_skip_passes_over_what_came_before_anybody_was_there():
    """Ticks before the start are no more; those since then are done, and after a long one the latest of them."""
    assert hourly(done=at(1), now=at(5, 30), catch_up="skip", since=at(5, 20)) == []
    assert hourly(done=at(1), now=at(6), catch_up="skip", since=at(5, 20)) == ["06:00"]
    assert hourly(done=at(1), now=at(9, 1), catch_up="skip", since=at(5, 20)) == ["09:00"]
    assert hourly(done=at(1), now=at(5, 30), catch_up="last", since=at(5, 20)) == ["05:00"]
    assert hourly(done=at(1), now=at(5, 30), catch_up="all", since=at(5, 20)) == ["02:00", "03:00", "04:00", "05:00"]


def test_who_comes_minutes_after_a_tick_was_there_for_it():
    """A pod that took its time to start, or a service that was started again, does the tick also with `skip`."""
    start = at(5) + PRESENT
    assert hourly(done=at(1), now=start, catch_up="skip", since=start - timedelta(seconds=1)) == ["05:00"]
    assert hourly(done=at(1), now=start, catch_up="skip", since=start) == []


@pytest.mark.parametrize("catch_up", ["skip", "last", "all"])
def test_a_tick_that_was_begun_is_done_first_whatever_is_caught_up(catch_up):
    """Somebody was there for it, and died."""
    given = {"done": at(3), "now": at(3, 30), "catch_up": catch_up, "since": at(3, 25), "owed": at(3)}
    assert hourly(**given) == ["03:00"]
    assert hourly(**{**given, "now": at(4)}) == ["03:00", "04:00"]


# --- names


def test_the_id_of_a_tick_is_the_same_for_whoever_makes_it_and_fit_for_a_job():
    """It says what and when, holds only what jobs may be called, and differs between schedules, outputs and instants."""
    first, second = list(Schedule("0 3 * * *", "Europe/Berlin").between(BEGIN, BEGIN + timedelta(days=2)))
    whose = identity("s3://clean/x", "My_Web-Crawl of long ago, the second one", Schedule("0 3 * * *", "Europe/Berlin"))
    made = tick_id(whose, "My_Web-Crawl of long ago, the second one", first)
    assert made.startswith("my-web-crawl-of-long-ago-th-20260201t0200z-"[:28])
    assert len(made) <= 52
    assert made == tick_id(whose, "My_Web-Crawl of long ago, the second one", first)
    others = [identity("s3://clean/y", "w", Schedule("0 3 * * *")), identity("s3://clean/x", "w", Schedule("0 3 * * *", "Europe/Paris"))]
    assert len({tick_id(one, "w", tick) for one in (whose, *others) for tick in (first, second)}) == 6
    assert tick_id(whose, "___", first).startswith("tick-2026")


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_is_read_as_it_was_written(instant):
    """To the second."""
    instant = instant.replace(microsecond=0)
    assert instant_of(instant_text(instant)) == instant
