"""The page of a dry run: what a pipeline will do, told from a sample, in the look of a report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from pipelines.card import MAX_OPERATORS
from pipelines.legible import NOTHING, count, counted, legible, seconds, size
from pipelines.report_charts import GONE, KEPT, Bar, Piece, bars, with_numbers
from pipelines.report_html import code, section, table, text
from pipelines.report_page import Part, page
from pipelines.report_projection import projection_lines, told
from pipelines.report_samples import samples
from pipelines.report_signals import Drawn, signals
from pipelines.report_version import drawn
from pipelines.study import DryRun, Estimate, OperatorEstimate

MAX_NOTES: Final = 40
MAX_NOTE_CHARS: Final = 400
MAX_REASONS: Final = 200


def dry_run_page(dry: DryRun) -> str:
    """What a dry run found, as one HTML file."""
    funnel, reasons = _funnel(dry), _reasons(dry.operators)
    studied = dry.input.get("documents", 0)
    measured = signals(dry.histograms, dry.thresholds, studied if isinstance(studied, int) else 0)
    parts = (
        Part("verdict", None, list(_verdict(dry))),
        Part("figures", None, list(_figures(dry))),
        Part("funnel", "Funnel", funnel.lines),
        Part("reasons", "Reasons", reasons.lines),
        Part("signals", "Signals and thresholds", measured.lines),
        Part("samples", "Documents to read", samples(dry.examples, dry.pairs, ())),
        Part("projection", "What it will take", list(projection_lines(dry.projection))),
        Part("sample", "The sample", list(_sample(dry.input))),
        Part("notes", "Notes", list(note_lines((*dry.notes, *_projection_notes(dry.projection))))),
    )
    under = "what the pipeline will do, told from a sample"
    return page(kind="dry run", title=dry.name, under=under, parts=parts, charts=[*funnel.charts, *reasons.charts, *measured.charts])


def percent(rate: float) -> str:
    """A share of one as percent; never 0 % or 100 % unless it is."""
    if not math.isfinite(rate):
        return NOTHING
    if 0 < rate < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= rate < 1 else f"{100 * rate:.1f}%"


def between(rate: Estimate) -> str:
    """The bounds of a share."""
    return f"{percent(rate.low)} to {percent(rate.high)}"


def note_lines(notes: Sequence[str]) -> Iterator[str]:
    """What the reader should know of the page itself; nothing without notes."""
    if not notes:
        return
    yield from section("notes", "Notes")
    yield "<ul>"
    yield from (f"<li>{text(note, MAX_NOTE_CHARS)}</li>" for note in notes[:MAX_NOTES])
    yield "</ul></section>"


def _verdict(dry: DryRun) -> Iterator[str]:
    yield '<section class="verdict" aria-label="Verdict">'
    yield f"<p><strong>About {percent(dry.kept.value)} of all rows will be kept</strong>: with 95 % probability between "
    yield f"{percent(dry.kept.low)} and {percent(dry.kept.high)}.</p>"
    yield "<p>Nothing was written to the output.</p></section>"


def _figures(dry: DryRun) -> Iterator[str]:
    projection = dry.projection
    named = (
        ("output_rows", "documents"),
        ("output_tokens", "tokens"),
        ("output_bytes", "size"),
        ("cpu_seconds", "CPU time"),
        ("wall_seconds", "wall time"),
        ("units", "units"),
    )
    found = [(label, *told(key, projection[key])) for key, label in named if projection.get(key) is not None]
    if not found:
        return
    yield '<dl class="figures">'
    for label, value, bounds in found:
        yield f"<div><dt>{label}</dt><dd>{value}{f'<small>{bounds}</small>' if bounds else ''}</dd></div>"
    yield "</dl>"


def _funnel(dry: DryRun) -> Drawn:
    """Of the documents that reach an operator, how many pass."""
    operators = dry.operators[:MAX_OPERATORS]
    rates = [*((one.name, one.keep_rate) for one in operators), ("the whole pipeline", dry.kept)]
    found = [Bar(name, _pieces(name, rate), _bounds(rate)) for name, rate in rates]
    about = "Of the documents that reach each operator; the thin line ends where the 95 % interval does."
    colours = {"kept": KEPT, "removed": GONE}
    chart = bars("funnel-rates", "Expected share kept", about, found, axis="kept", colours=colours, form="~%", most=1)
    heads = ("operator", "kept, over the input", "95 % interval", "in the sample: rows in", "rows out", "CPU time")
    lines = [_line(one) for one in operators]
    lines.append(["the whole pipeline", percent(dry.kept.value), between(dry.kept), "", "", ""])
    numbers = table("Expected share kept by operator", heads, lines, len(dry.operators) - len(operators), numbers_from=1)
    told_of = [f"<li>{code(one.name)}: {text(one.note, MAX_NOTE_CHARS)}</li>" for one in operators if one.note]
    corrected = ["<ul>", *told_of, "</ul>"] if told_of else []
    return Drawn([*section("funnel", "Funnel"), *with_numbers(chart, numbers), *corrected, "</section>"], drawn(chart))


def _pieces(name: str, rate: Estimate) -> tuple[Piece, ...]:
    value = min(max(rate.value, 0.0), 1.0) if math.isfinite(rate.value) else 0.0
    says = f"{name}: {percent(rate.value)} kept, with 95 % between {percent(rate.low)} and {percent(rate.high)}"
    return (Piece("kept", value, says), Piece("removed", 1 - value, f"{name}: {percent(1 - value)} removed"))


def _bounds(rate: Estimate) -> tuple[float, float]:
    return (min(max(rate.low, 0.0), 1.0), min(max(rate.high, 0.0), 1.0))


def _line(one: OperatorEstimate) -> list[str]:
    kind = f' <span class="quiet">{text(one.type)}</span>' if one.type not in ("", one.name) else ""
    note = ' <span class="quiet">corrected</span>' if one.is_corrected else ""
    rate = f"{percent(one.keep_rate.value)}{note}"
    return [f"{code(one.name)}{kind}", rate, between(one.keep_rate), count(one.rows_in), count(one.rows_out), seconds(one.cpu_seconds)]


def _reasons(operators: Sequence[OperatorEstimate]) -> Drawn:
    """Why documents of the sample were dropped."""
    found = [
        (one, reason, number) for one in operators for reason, number in sorted(one.reasons.items(), key=lambda item: (-item[1], item[0]))
    ]
    opening = list(section("reasons", "Why documents of the sample are dropped"))
    if not found:
        return Drawn([*opening, "<p>No document of the sample is dropped.</p></section>"], [])
    shown = [
        Bar(
            reason,
            (
                Piece(
                    "dropped",
                    number,
                    f"{reason}: {counted(number, 'document')} dropped by {one.name}, {_of(number, one.rows_in)} of what reached it",
                ),
            ),
        )
        for one, reason, number in found
    ]
    about = "In the order of the operators."
    chart = bars("reasons-rows", "Documents of the sample, by reason", about, shown, axis="documents", colours={"dropped": GONE})
    lines = [[code(reason), code(one.name), count(number), _of(number, one.rows_in)] for one, reason, number in found[:MAX_REASONS]]
    numbers = table(
        "Dropped documents by reason", ("reason", "dropped by", "documents", "of the step"), lines, len(found) - len(lines), numbers_from=2
    )
    return Drawn([*opening, *with_numbers(chart, numbers), "</section>"], drawn(chart))


def _of(number: int, whole: int) -> str:
    return percent(number / whole) if whole else NOTHING


def _sample(of: Mapping[str, Any]) -> Iterator[str]:
    """What the input is, and what was read of it."""
    if not of:
        return
    yield from section("sample", "The sample")
    lines = [[escape(legible(str(name).replace("_", " "))), _amount(str(name), value)] for name, value in list(of.items())[:MAX_NOTES]]
    yield from table("Input and sample", ("of the input", "value"), lines, len(of) - len(lines), numbers_from=1)
    yield "</section>"


def _amount(name: str, value: Any) -> str:
    if name == "seed" or isinstance(value, str | bool):
        return text(value)
    return size(value) if "bytes" in name and isinstance(value, int) else told(name, value)[0]


def _projection_notes(projection: Mapping[str, Any]) -> tuple[str, ...]:
    notes = projection.get("notes", ())
    return tuple(str(note) for note in notes) if isinstance(notes, list | tuple) else (str(notes),)
