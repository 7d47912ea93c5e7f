"""Signals in a report: how each is distributed, where its thresholds are, and what moving a threshold would do."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby, pairwise
from typing import Final

from pipelines.legible import NOTHING, count, counted, legible, share
from pipelines.report_charts import GONE, KEPT, MAX_LINES, Chart, Column, Line, Piece, columns, with_numbers
from pipelines.report_html import code, json_block, section, table, text
from pipelines.study import Histogram, Limit, Moved, Threshold, of_one_setting

MAX_BYTES: Final = 750_000
"""Of HTML and JSON for all histograms together; a usual one takes 15 KB."""
MAX_BUCKETS: Final = 120
MAX_THRESHOLDS: Final = 150
MAX_UNIT_CHARS: Final = 24
MAX_DOC_CHARS: Final = 240
COLOURS: Final = {"kept": KEPT, "dropped": GONE}


@dataclass(frozen=True, slots=True)
class Drawn:
    """HTML lines of a section, and the charts for which it has figures."""

    lines: list[str]
    charts: list[Chart]


def signals(histograms: Sequence[Histogram], thresholds: Sequence[Threshold], studied: int) -> Drawn:
    """The section of signals; empty where there are none."""
    if not histograms and not thresholds:
        return Drawn([], [])
    of = f", over a sample of {counted(studied, 'document')}" if studied else ""
    lines = [
        *section("signals", "Signals and thresholds"),
        f'<p class="quiet">What operators measure{of}. Each is of the documents that reach its operator; a dashed line is a threshold.</p>',
        *_thresholds(thresholds),
    ]
    shown = list(_within_budget(histograms))
    for operator, members in groupby(shown, key=lambda item: item[0].operator):
        lines.append(f"<h3>{code(operator)}</h3>")
        lines += [line for _, _, found in members for line in found]
    if len(shown) < len(histograms):
        lines.append(f"<p>{counted(len(histograms) - len(shown), 'more signal')} left out, so that this file stays small.</p>")
    return Drawn([*lines, "</section>"], [chart for _, chart, _ in shown if chart is not None])


def _within_budget(histograms: Sequence[Histogram]) -> Iterator[tuple[Histogram, Chart | None, list[str]]]:
    """The first histograms, each with its chart and its HTML, as many as there is room for."""
    room = MAX_BYTES
    for place, histogram in enumerate(map(_clean, histograms)):
        chart = _chart(place, histogram)
        lines = list(with_numbers(chart, _numbers(histogram)))
        room -= sum(len(line.encode()) for line in lines) + (0 if chart is None else len(json_block(chart.spec).encode()))
        if room < 0:
            return
        yield histogram, chart, lines


def number(value: float) -> str:
    """A measurement as short as it can be read: `0.65`, `1,200`, `1.5e+06`."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) < 1e9 and (abs(value) >= 1000 or value == int(value)) else f"{value:.4g}"


def _thresholds(found: Sequence[Threshold]) -> Iterator[str]:
    """What each test drops alone, and the whole operator with it, as it is set and moved by a tenth to either side."""
    if not found:
        return
    yield (
        '<p class="quiet">Alone: what this test would drop if it were the only one of its operator. In all: what the operator drops. '
        "Looser and tighter: the threshold moved by 10 %.</p>"
    )
    shared = of_one_setting(found)
    lines = [
        [
            f'{code(one.limit.setting)} <span class="quiet">{text(one.operator)}</span>',
            f"{text(one.signal)} {one.limit.side} {number(one.limit.value)}{_reason(one, shared)}",
            *(_moved(moved, one) for moved in (one.looser, one.now, one.tighter)),
        ]
        for one in found[:MAX_THRESHOLDS]
    ]
    heads = ("setting", "drops", "looser", "as it is set", "tighter")
    yield from table("Thresholds, and what moving them does", heads, lines, len(found) - len(lines), numbers_from=2)


def _reason(one: Threshold, shared: Collection[tuple[str, str]]) -> str:
    """Which of several tests of one setting this is."""
    return f": {code(one.limit.reason)}" if (one.operator, one.limit.setting) in shared else ""


def _moved(moved: Moved, of: Threshold) -> str:
    at = f'<span class="quiet line">at {number(moved.value)}</span>'
    return f'{share(moved.alone, of.rows_in)} alone<span class="line">{share(moved.dropped, of.rows_in)} in all</span>{at}'


def _chart(place: int, histogram: Histogram) -> Chart | None:
    found = [
        Column(start, stop, _pieces(here, whole, gone, legible(histogram.unit, MAX_UNIT_CHARS)))
        for start, stop, here, whole, gone in zip(
            histogram.edges, histogram.edges[1:], _ranges(histogram), histogram.counts, histogram.dropped, strict=False
        )
    ]
    lines = [Line(limit.value, f"{limit.setting} {number(limit.value)}", _says(limit)) for limit in histogram.limits[:MAX_LINES]]
    about = f"{legible(histogram.doc, MAX_DOC_CHARS)} {'; '.join(f'{_says(limit)}' for limit in histogram.limits[:MAX_LINES])}".strip()
    unit = legible(histogram.unit, MAX_UNIT_CHARS) or "value"
    return columns(f"signal-{place}", histogram.signal, about, found, lines, axis=unit, colours=COLOURS, is_log=histogram.is_log)


def _ranges(histogram: Histogram) -> list[str]:
    """The buckets in words; the first and last hold what lies beyond them, too, such as the zeros of what grows by a factor."""
    told = [f"{number(start)} to {number(stop)}" for start, stop in pairwise(histogram.edges)]
    if len(told) > 1:
        told[0], told[-1] = f"below {number(histogram.edges[1])}", f"{number(histogram.edges[-2])} or more"
    return told


def _pieces(here: str, whole: int, gone: int, unit: str) -> tuple[Piece, ...]:
    here = f"{here} {unit}".rstrip()
    return (
        Piece("kept", whole - gone, f"{here}: {counted(whole - gone, 'document')} kept"),
        Piece("dropped", gone, f"{here}: {counted(gone, 'document')} dropped"),
    )


def _says(limit: Limit) -> str:
    return f"{limit.setting} is {number(limit.value)}: documents {limit.side} it are dropped ({limit.reason})"


def _numbers(histogram: Histogram) -> Iterator[str]:
    whole = sum(histogram.counts) + histogram.absent
    rows = zip(_ranges(histogram), histogram.counts, histogram.dropped, strict=False)
    lines = [[here, count(n), share(n, whole), count(gone)] for here, n, gone in rows if n]
    if histogram.absent:
        lines.append(["no value", count(histogram.absent), share(histogram.absent, whole), NOTHING])
    caption = escape(f"Documents by {legible(histogram.signal)}")
    yield from table(caption, (text(histogram.unit or "value", MAX_UNIT_CHARS), "documents", "of all", "dropped"), lines, 0, numbers_from=1)


def _clean(histogram: Histogram) -> Histogram:
    """With as many buckets as fit, finite and ascending edges, and no more dropped than there are."""
    edges = [edge if math.isfinite(edge) else math.copysign(1e300, edge) for edge in histogram.edges if not math.isnan(edge)]
    size = min(len(edges) - 1, len(histogram.counts), len(histogram.dropped), MAX_BUCKETS)
    if size < 1 or any(left >= right for left, right in pairwise(edges)):
        return replace(histogram, edges=(), counts=(), dropped=())
    counts = histogram.counts[:size]
    gone = tuple(min(max(lost, 0), all_) for lost, all_ in zip(histogram.dropped, counts, strict=False))
    return replace(histogram, edges=tuple(edges[: size + 1]), counts=counts, dropped=gone)
