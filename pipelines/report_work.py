"""Time, memory and attempts in a report: by operator, by kind of work, and of the largest pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pipelines.legible import NOTHING, count, counted, legible, seconds, size
from pipelines.report_charts import PALETTE, Bar, Chart, Piece, bars, with_numbers
from pipelines.report_html import code, section, table, text
from pipelines.report_signals import Drawn
from pipelines.study import WorkCost

MAX_KINDS: Final = 60
MAX_OWN_COLOURS: Final = len(PALETTE) - 1
MAX_PIECES: Final = 24
MAX_UNIT_CHARS: Final = 40
OTHER: Final = "all other"

Totals = Sequence[tuple[str, int, float, int | None, int]]


def work(operators: Sequence[tuple[str, float]], works: Sequence[WorkCost], totals: Totals) -> Drawn:
    """The section of costs; `operators` with their CPU seconds. Empty where nothing was measured."""
    if not (any(used > 0 for _, used in operators) or works or totals):
        return Drawn([], [])
    charts: list[Chart] = []
    lines = [*section("work", "Time and memory"), *_by_operator(operators, charts), *_totals(totals), *_pieces(works, charts)]
    return Drawn([*lines, "</section>"], charts)


def _by_operator(operators: Sequence[tuple[str, float]], charts: list[Chart]) -> Iterator[str]:
    whole = sum(used for _, used in operators)
    if whole <= 0:
        return
    shown = operators[:MAX_KINDS]
    found = [Bar(name, (Piece("time", used, f"{name}: {seconds(used)}, {100 * used / whole:.1f}%"),)) for name, used in shown]
    title = "CPU time by operator"
    chart = bars("work-operators", title, "Over all workers.", found, axis="seconds", colours={"time": PALETTE[0]}, form=".3~g")
    charts += [chart] if chart is not None else []
    lines = [[code(name), seconds(used), f"{100 * used / whole:.1f}%"] for name, used in shown]
    heads = ("operator", "CPU time", "of all")
    yield from with_numbers(chart, table(title, heads, lines, len(operators) - len(shown), numbers_from=1))


def _totals(totals: Totals) -> Iterator[str]:
    """What each kind of work took, and how much of it was tried again."""
    if not totals:
        return
    again = sum(retries for *_, retries in totals)
    yield "<h3>By kind of work</h3>"
    yield f"<p>{counted(again, 'attempt')} beyond the first.</p>" if again else "<p>No piece of work was tried again.</p>"
    lines = [
        [text(kind), count(number), seconds(used), memory(peak), count(retries)] for kind, number, used, peak, retries in totals[:MAX_KINDS]
    ]
    heads = ("work", "pieces", "CPU time", "largest peak of memory", "attempts beyond the first")
    yield from table("Work by kind", heads, lines, len(totals) - len(lines), numbers_from=1)


def _pieces(works: Sequence[WorkCost], charts: list[Chart]) -> Iterator[str]:
    """The largest pieces: where their time went, and how much memory their workers had."""
    if not works:
        return
    shown = works[:MAX_PIECES]
    yield "<h3>The largest pieces of work</h3>"
    colours = _colours(shown)
    timed = [Bar(_name(one), tuple(_parts(one, colours))) for one in shown]
    held = [Bar(_name(one), (Piece("memory", one.peak_bytes or 0, f"{_name(one)}: {memory(one.peak_bytes)}"),)) for one in shown]
    time = bars("work-time", "CPU time by piece", "Of the pieces that took most.", timed, axis="seconds", colours=colours, form=".3~g")
    about = "Resident memory of the worker when it had done the piece."
    peak = bars("work-memory", "Peak of memory by piece", about, held, axis="bytes", colours={"memory": PALETTE[1]})
    charts += [chart for chart in (time, peak) if chart is not None]
    if peak is not None:
        yield peak.figure()
    heads = ("piece", "rows", "CPU time", "peak of memory", "attempts", "most time in")
    lines = [
        [text(_name(one)), count(one.rows), seconds(sum(one.seconds.values())), memory(one.peak_bytes), count(one.attempts), _most(one)]
        for one in shown
    ]
    yield from with_numbers(time, table("The largest pieces of work", heads, lines, 0, numbers_from=1, numbers_to=5))


def memory(peak: int | None) -> str:
    """Bytes, or a dash where they are not known."""
    return NOTHING if peak is None else size(peak)


def _name(one: WorkCost) -> str:
    return f"{legible(one.kind, MAX_UNIT_CHARS)} {one.number}" + (f", stage {one.stage}" if one.stage else "")


def _colours(works: Sequence[WorkCost]) -> Mapping[str, str]:
    """A colour for each of those that took most time, in that order, and one for all others."""
    used: dict[str, float] = {}
    for one in works:
        for name, value in one.seconds.items():
            used[name] = used.get(name, 0) + value
    most = sorted(used, key=lambda name: (-used[name], name))
    own = most if len(most) <= len(PALETTE) else most[:MAX_OWN_COLOURS]
    named = dict(zip(own, PALETTE, strict=False))
    return named if len(own) == len(most) else {**named, OTHER: PALETTE[-1]}


def _parts(one: WorkCost, colours: Mapping[str, str]) -> Iterator[Piece]:
    used = dict.fromkeys(colours, 0.0)
    for name, value in one.seconds.items():
        used[name if name in colours else OTHER] += value
    for name, value in used.items():
        yield Piece(name, value, f"{_name(one)}: {legible(name, MAX_UNIT_CHARS)}, {seconds(value)} of {seconds(sum(one.seconds.values()))}")


def _most(one: WorkCost) -> str:
    found = sorted(one.seconds.items(), key=lambda item: (-item[1], item[0]))[:1]
    return f"{code(found[0][0])} {seconds(found[0][1])}" if found else NOTHING
