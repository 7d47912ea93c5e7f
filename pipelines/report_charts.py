"""Charts of the report: Vega-Lite specifications as plain data, and the figures in which the page draws them.

Whatever a mark shows is told in words beside it (`says`): for a screen reader, for the keyboard, and as a tooltip. Places are computed
here, not by Vega, and no specification holds an expression with anything of a run in it; names are made legible and distinct, and
everything is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from pipelines.legible import legible

MAX_BARS: Final = 40
MAX_SAYS_CHARS: Final = 160
NAME_CHARS: Final = 60
MAX_ABOUT_CHARS: Final = 480
MAX_LINES: Final = 4
BAR_STEP: Final = 24
PLAIN: Final = "~s"
EXACT: Final = ".4~g"
PERCENT: Final = "~%"

KEPT: Final = "var(--kept)"
GONE: Final = "var(--gone)"
QUARANTINED: Final = "var(--ill)"
PALETTE: Final = ("var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)")


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart.

    Attributes:
        name: An id of our own making: letters, digits and hyphens.
        title: Plain text, as are all others.
        about: What it shows, in one sentence or two.
        spec: Vega-Lite, without width and colours of text, which the page gives.
    """

    name: str
    title: str
    about: str
    spec: Mapping[str, Any]

    def figure(self) -> str:
        """Where it is drawn; without a script there is nothing to see, and the table below it stays open."""
        title, about = escape(legible(self.title)), escape(legible(self.about, MAX_ABOUT_CHARS))
        return (
            f'<figure class="chart" data-chart="{self.name}" hidden><figcaption id="{self.name}-title"><strong>{title}</strong> '
            f'<span class="quiet" id="{self.name}-about">{about}</span></figcaption>'
            f'<div class="plot" role="application" aria-roledescription="chart" aria-labelledby="{self.name}-title" '
            f'aria-describedby="chart-keys"></div></figure>'
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a bar: of what kind it is, how long, and what is said of it."""

    kind: str
    value: float
    says: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of one part or more, and between which bounds its end may lie."""

    name: str
    pieces: tuple[Piece, ...]
    bounds: tuple[float, float] | None = None


def with_numbers(chart: Chart | None, lines: Iterable[str]) -> Iterator[str]:
    """A chart with the table of its numbers below it; the table alone where there is no chart."""
    if chart is None:
        yield from lines
        return
    yield chart.figure()
    yield f'<details class="numbers" open><summary>The numbers<span class="vh"> of: {escape(legible(chart.title))}</span></summary>'
    yield from lines
    yield "</details>"


def bars(
    name: str,
    title: str,
    about: str,
    found: Sequence[Bar],
    *,
    axis: str,
    colours: Mapping[str, str],
    form: str = PLAIN,
    most: float | None = None,
) -> Chart | None:
    """Bars that lie, the first one on top; None where none of them has a length.

    Args:
        name: Id of the chart.
        title: Of the chart.
        about: What it shows.
        found: The bars; those beyond the first `MAX_BARS` are left to the table.
        axis: What their length is.
        colours: By kind of piece, in the order of the legend, which there is if there are two or more.
        form: How d3 writes numbers of the axis.
        most: Where the axis ends; None: behind the longest bar.
    """
    shown = found[:MAX_BARS]
    if not any(piece.value > 0 for bar in shown for piece in bar.pieces):
        return None
    names = distinct([bar.name for bar in shown])
    scale = {"zero": True, "nice": True} if most is None else {"domain": [0, most]}
    along = {"field": "from", "type": "quantitative", "scale": scale, "axis": {"title": axis, "labelExpr": _numbers(form), "tickCount": 5}}
    return Chart(name, title, about, {"height": BAR_STEP * len(shown), "layer": _bar_layers(names, shown, along, colours)})


def _bar_layers(names: Sequence[str], shown: Sequence[Bar], along: Mapping[str, Any], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """The bars, and the bounds of those that have some."""
    order = {"field": "name", "type": "nominal", "sort": names, "axis": {"title": None, "domain": False, "ticks": False}}
    kinds = [kind for kind in colours if any(piece.kind == kind and piece.value > 0 for bar in shown for piece in bar.pieces)]
    labels = dict(zip(kinds, distinct(kinds), strict=True))
    values = [value for label, bar in zip(names, shown, strict=True) for value in _laid(label, bar, labels)]
    colour = _colour(labels, colours)
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": values},
            "mark": {"type": "bar", "height": {"band": 0.68}, "minBandSize": 3},
            "encoding": {"y": order, "x": along, "x2": {"field": "to"}, "color": colour, "description": {"field": "says"}},
        }
    ]
    limits = [
        {"name": label, "from": bar.bounds[0], "to": bar.bounds[1]}
        for label, bar in zip(names, shown, strict=True)
        if bar.bounds is not None and all(map(math.isfinite, bar.bounds))
    ]
    if limits:
        layers += _error_bars(limits, order)
    return layers


def _laid(name: str, bar: Bar, labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Pieces of a bar one behind the other."""
    at = 0.0
    for piece in bar.pieces:
        value = piece.value if math.isfinite(piece.value) else 0.0
        if value > 0 or len(bar.pieces) == 1:
            stop = at + max(value, 0)
            kind = labels.get(piece.kind, "")
            yield {"name": name, "kind": kind, "from": at, "to": stop, "says": legible(piece.says, MAX_SAYS_CHARS)}
            at = stop


def _colour(labels: Mapping[str, str], colours: Mapping[str, str]) -> dict[str, Any]:
    legend = {"orient": "top", "title": None, "direction": "horizontal", "columns": 3} if len(labels) > 1 else None
    scale = {"domain": list(labels.values()), "range": [colours[kind] for kind in labels]}
    return {"field": "kind", "type": "nominal", "scale": scale, "legend": legend}


def _error_bars(limits: Sequence[Mapping[str, Any]], order: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A line from bound to bound with an end at each; the words of the bar tell them."""
    data = {"values": list(limits)}
    line = {"y": order, "x": {"field": "from", "type": "quantitative"}, "x2": {"field": "to"}}
    yield {"data": data, "mark": {"type": "rule", "color": "var(--ink)", "strokeWidth": 1.5, "aria": False}, "encoding": line}
    for end in ("from", "to"):
        place = {"y": order, "x": {"field": end, "type": "quantitative"}}
        yield {"data": data, "mark": {"type": "tick", "color": "var(--ink)", "thickness": 1.5, "size": 9, "aria": False}, "encoding": place}


@dataclass(frozen=True, slots=True)
class Column:
    """A bucket of a histogram: from where to where, and its pieces from below to above."""

    start: float
    stop: float
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line across a histogram, with a few words at it."""

    at: float
    label: str
    says: str


def columns(
    name: str,
    title: str,
    about: str,
    found: Sequence[Column],
    lines: Sequence[Line],
    *,
    axis: str,
    colours: Mapping[str, str],
    is_log: bool,
) -> Chart | None:
    """Columns that stand on a continuous axis, with lines across; None where all are empty. Lines beyond the axis stand at its end."""
    values = [value for column in found for value in _stacked(column)]
    if not values:
        return None
    low, high = found[0].start, found[-1].stop
    is_log = is_log and low > 0
    form = PLAIN if max(abs(low), abs(high)) >= 10_000 else EXACT
    scale = {"type": "log" if is_log else "linear", "domain": [low, high], "nice": False} | ({} if is_log else {"zero": False})
    across = {"type": "quantitative", "scale": scale, "axis": {"title": axis, "labelExpr": _numbers(form), "grid": False, "tickCount": 6}}
    up = {
        "field": "from",
        "type": "quantitative",
        "scale": {"zero": True},
        "axis": {"title": "documents", "labelExpr": _numbers(PLAIN), "tickCount": 4},
    }
    kinds = [kind for kind in colours if any(value["kind"] == kind for value in values)]
    over = {"x": {"field": "start", **across}, "x2": {"field": "stop"}, "y": up, "y2": {"field": "to"}}
    over |= {"color": _colour({kind: kind for kind in kinds}, colours), "description": {"field": "says"}}
    layers: list[dict[str, Any]] = [{"data": {"values": values}, "mark": {"type": "bar", "binSpacing": 1}, "encoding": over}]
    for place, line in enumerate([line for line in lines if not math.isnan(line.at)][:MAX_LINES]):
        layers += _across(line, place, (low, high), is_log=is_log)
    return Chart(name, title, about, {"height": 180, "layer": layers})


def _stacked(column: Column) -> Iterator[dict[str, Any]]:
    at = 0.0
    for piece in column.pieces:
        if piece.value > 0:
            says = legible(piece.says, MAX_SAYS_CHARS)
            yield {"start": column.start, "stop": column.stop, "kind": piece.kind, "from": at, "to": at + piece.value, "says": says}
            at += piece.value


def _across(line: Line, place: int, domain: tuple[float, float], *, is_log: bool) -> Iterator[dict[str, Any]]:
    """A line and its words, on that side of it on which there is more room."""
    low, high = domain
    at = min(max(line.at, low), high)
    middle = math.sqrt(low * high) if is_log else (low + high) / 2
    data = {"values": [{"at": at, "label": legible(line.label, NAME_CHARS), "says": legible(line.says, MAX_SAYS_CHARS)}]}
    x = {"field": "at", "type": "quantitative"}
    rule = {"type": "rule", "color": "var(--ink)", "strokeWidth": 2, "strokeDash": [5, 3]}
    yield {"data": data, "mark": rule, "encoding": {"x": x, "description": {"field": "says"}}}
    side = {"align": "left", "dx": 5} if at <= middle else {"align": "right", "dx": -5}
    words = {"type": "text", "baseline": "top", "dy": 2 + 15 * place, "fontWeight": 600, "color": "var(--ink)", "aria": False, **side}
    yield {"data": data, "mark": words, "encoding": {"x": x, "y": {"value": 0}, "text": {"field": "label"}}}


def _numbers(form: str) -> str:
    """Each number of an axis by itself: d3 would write zero as `0k` where the others are thousands."""
    return f"format(datum.value, '{form}')"


def distinct(names: Sequence[str]) -> list[str]:
    """Names as they are drawn: legible, short, and no two the same."""
    shown: list[str] = []
    for name in names:
        label = legible(name, NAME_CHARS) or "(empty)"
        number = 2
        while label in shown:
            label = f"{legible(name, NAME_CHARS - 6)} ({number})"
            number += 1
        shown.append(label)
    return shown
