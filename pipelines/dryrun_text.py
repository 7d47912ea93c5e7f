"""A dry run on the terminal: the funnel with its intervals, what thresholds do, documents to read, and what the real run will take.

What documents hold is made harmless here. On a terminal the offending place of a text is shown inverse, elsewhere between [[ and ]].
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from pipelines.funnel import NAME_CHARS, PLAIN_WIDTH, by_count, few
from pipelines.legible import NOTHING, count, counted, legible, seconds, share, size
from pipelines.study import DryRun, Estimate, Example, Excerpt, Moved, OperatorEstimate, Pair, Threshold, of_one_setting

MIN_WIDTH: Final = 30
MAX_EXCERPT_CHARS: Final = 240
BEFORE_CHARS: Final = 60
"""Of an excerpt, shown before its first mark."""
MAX_NOTE_CHARS: Final = 600
MAX_REASONS: Final = 5
"""Reasons of one operator of which documents are shown on a terminal; the page has more."""

Row = tuple[str, ...]


def render_dry_run(dry: DryRun, projected: Sequence[str] = (), console: Console | None = None, *, examples: int = 3) -> None:
    """Print a dry run.

    Args:
        dry: What was found out.
        projected: The projection as lines (projection_text.projection_lines).
        console: Where to; None is standard output.
        examples: How many documents of each reason.
    """
    target = console or Console()
    width = max(target.width if target.is_terminal else PLAIN_WIDTH, MIN_WIDTH)
    for line in dry_run_lines(dry, projected, width, examples=examples, marks=target.is_terminal):
        # Lines fit already; rich must neither fold nor read markup in them.
        target.print(line if target.is_terminal else line.plain.rstrip(), soft_wrap=True, highlight=False, markup=False)


def dry_run_lines(dry: DryRun, projected: Sequence[str], width: int, *, examples: int, marks: bool) -> list[Text]:
    """The dry run as lines of at most `width` characters; with `marks` places are styled, else between brackets."""
    lines = [*_head(dry, width), *_funnel(dry, width), *_thresholds(dry.thresholds, width)]
    if examples:
        lines += [*_examples(dry, width, examples, marks=marks), *_pairs(dry.pairs, width, examples, marks=marks)]
    if projected:
        lines += [Text(), Text("the real run", "bold"), *(Text(part) for line in projected for part in _as_it_is(line, width))]
    for note in dict.fromkeys(dry.notes):
        lines += [Text(part, "yellow") for part in _folded(f"note: {legible(note, MAX_NOTE_CHARS)}", width, "", "  ")]
    return lines


# --- the funnel


def _head(dry: DryRun, width: int) -> Iterator[Text]:
    source = dry.input
    about = "about " if source.get("is_estimate") else ""
    words = (
        f"{legible(dry.name, 60)}: dry run of {counted(source['documents'], 'document')} (seed {source['seed']}) out of "
        f"{about}{counted(source['rows'], 'row')} in {counted(source['files'], 'file')}, {size(source['bytes'])}; "
        f"{counted(source['row_groups'], 'row group')}, {size(source['read_bytes'])} read"
    )
    yield from (Text(line, "bold") for line in _folded(words, width, "", "  "))


def _funnel(dry: DryRun, width: int) -> Iterator[Text]:
    heads = ("step", "in", "out", "kept", "95 % interval", "CPU time")
    rows: list[Row] = [_cells(operator) for operator in dry.operators]
    rows.append(("total", "", "", _percent(dry.kept.value), _interval(dry.kept), ""))
    table = _fitted([heads, *rows], width, gives_way=(5, 1, 2))
    yield Text()
    yield Text(table[0], "bold")
    for operator, line in zip(dry.operators, table[1:], strict=False):
        yield Text(line)
        if operator.reasons:
            yield from (Text(part, "dim") for part in _folded(few(by_count(operator.reasons)), width, "  ", "  "))
        if operator.quarantined:
            words = f"{count(sum(operator.quarantined.values()))} quarantined: {few(by_count(operator.quarantined))}"
            yield from (Text(part, "yellow") for part in _folded(words, width, "  ", "  "))
        if operator.note:
            yield from (Text(part, "dim") for part in _folded(legible(operator.note, MAX_NOTE_CHARS), width, "  ", "  "))
    yield Text(table[-1], "bold")


def _cells(operator: OperatorEstimate) -> Row:
    mark = "*" if operator.is_corrected else ""
    return (
        f"{legible(operator.name, NAME_CHARS)}{mark}",
        count(operator.rows_in),
        count(operator.rows_out),
        _percent(operator.keep_rate.value) if operator.rows_in or operator.is_corrected else NOTHING,
        _interval(operator.keep_rate) if operator.rows_in or operator.is_corrected else NOTHING,
        seconds(operator.cpu_seconds),
    )


def _percent(rate: float) -> str:
    return share(round(rate * 1_000_000), 1_000_000)


def _interval(estimate: Estimate) -> str:
    return f"{_percent(estimate.low)} \u2013 {_percent(estimate.high)}"


def _fitted(rows: Sequence[Row], width: int, gives_way: Sequence[int] = ()) -> list[str]:
    """Rows as lines of a table; columns go, in the order given, and the first one is cut until it is as narrow as asked."""
    kept = list(range(len(rows[0])))
    for column in (-1, *gives_way):
        if column in kept:
            kept.remove(column)
        widths = [max(cell_len(row[column]) for row in rows) for column in kept]
        rest = sum(widths[1:]) + 2 * (len(widths) - 1)
        if rest + min(widths[0], 16) <= width:
            break
    widths[0] = max(min(widths[0], width - rest), 1)
    return [_line([row[column] for column in kept], widths) for row in rows]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0] if cell_len(cells[0]) <= widths[0] else set_cell_size(cells[0], widths[0] - 1).rstrip() + "…"
    rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  ".join([set_cell_size(first, widths[0]), *rest]).rstrip()


# --- thresholds


def _thresholds(thresholds: Sequence[Threshold], width: int) -> Iterator[Text]:
    told = [one for one in thresholds if one.now.alone or one.tighter.alone]
    if not thresholds:
        return
    yield Text()
    words = "thresholds: what each alone drops of the documents that reach its operator, and if it moves by 10 %"
    yield from (Text(line, "bold") for line in _folded(words, width, "", "  "))
    if told:
        heads = ("setting", "drops", "now", "looser", "tighter")
        shared = of_one_setting(told)
        rows = [(_setting(one, shared), _side(one), *(_moved(one, moved) for moved in (one.now, one.looser, one.tighter))) for one in told]
        table = _fitted([heads, *rows], width, gives_way=(1, 3, 4))
        yield Text(table[0], "dim")
        yield from map(Text, table[1:])
    silent = len(thresholds) - len(told)
    if silent:
        others = counted(silent, "threshold" if not told else "other threshold")
        words = f"{others}: none of these documents is dropped, tighter by 10 % neither"
        yield from (Text(line, "dim") for line in _folded(words, width, "", "  "))


def _setting(one: Threshold, shared: Collection[tuple[str, str]]) -> str:
    reason = f" ({one.limit.reason})" if (one.operator, one.limit.setting) in shared else ""
    return legible(f"{one.operator}.{one.limit.setting}{reason}", 80)


def _side(one: Threshold) -> str:
    return f"{one.limit.side} {_number(one.limit.value)}"


def _moved(one: Threshold, moved: Moved) -> str:
    where = "" if moved is one.now else f" at {_number(moved.value)}"
    return f"{count(moved.alone)} ({share(moved.alone, one.rows_in)}){where}"


def _number(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


# --- documents


def _examples(dry: DryRun, width: int, most: int, *, marks: bool) -> Iterator[Text]:
    if not dry.examples:
        return
    yield Text()
    yield Text("documents", "bold")
    shown: dict[str | None, int] = {}
    for (operator, reason), group in groupby(dry.examples, key=lambda example: (example.operator, example.reason)):
        some = list(group)[:most]
        shown[operator] = shown.get(operator, 0) + 1
        if shown[operator] > MAX_REASONS:
            continue
        title = "kept" if operator is None else f"{legible(operator, NAME_CHARS)}: {legible(reason, 60)}"
        yield from (Text(line, "bold") for line in _folded(title, width, "", "  "))
        for example in some:
            yield from _example(example, width, marks=marks)


def _example(example: Example, width: int, *, marks: bool) -> Iterator[Text]:
    if example.detail:
        yield from (Text(line) for line in _folded(legible(example.detail, 200), width, "  ", "    "))
    yield from (Text(line, "dim") for line in _folded(_place(example.document), width, "  ", "    "))
    yield from _excerpt(example.document, width, marks=marks)


def _place(document: Excerpt) -> str:
    where = "" if document.uri is None else f"{legible(document.uri, 200)} row {count(document.row or 0)}"
    name = "" if document.id is None else f"id {legible(document.id, 60)}"
    return ", ".join(filter(None, (where, name, counted(document.num_chars, "character"))))


def _pairs(pairs: Sequence[Pair], width: int, most: int, *, marks: bool) -> Iterator[Text]:
    if not pairs:
        return
    yield Text()
    yield Text("duplicates beside what is kept", "bold")
    for pair in (pair for _, some in groupby(pairs, key=lambda pair: pair.operator) for pair in list(some)[:most]):
        alike = "" if pair.similarity is None else f", {pair.similarity:.2f} alike"
        yield from (Text(line, "bold") for line in _folded(f"{legible(pair.operator, NAME_CHARS)}{alike}", width, "", "  "))
        for name, document in (("removed", pair.removed), ("kept", pair.kept)):
            yield from (Text(line, "dim") for line in _folded(f"{name}: {_place(document)}", width, "  ", "    "))
            yield from _excerpt(document, width, marks=marks)


def _excerpt(document: Excerpt, width: int, *, marks: bool) -> Iterator[Text]:
    """A few lines of a text around its first mark, indented; what cannot be printed is written as its code."""
    first = document.marks[0].start if document.marks else 0
    start = max(0, min(first - BEFORE_CHARS, len(document.text) - MAX_EXCERPT_CHARS))
    stop = min(len(document.text), start + MAX_EXCERPT_CHARS)
    text = Text("…" if document.first_char + start else "")
    at = start
    for mark in document.marks:
        begin, end = max(mark.start, at), min(mark.stop, stop)
        if begin < end:
            text.append(_printable(document.text[at:begin]))
            text.append(_printable(document.text[begin:end]) if marks else f"[[{_printable(document.text[begin:end])}]]", "reverse")
            at = end
    text.append(_printable(document.text[at:stop]))
    if document.first_char + stop < document.num_chars:
        text.append("…")
    for line in _wrapped(text, max(width - 4, 10)):
        yield Text("    ").append_text(line)


def _printable(text: str) -> str:
    return legible(text, max(len(text) * 10, 1))


def _wrapped(text: Text, width: int) -> Iterator[Text]:
    """Lines of at most `width` cells, broken at blanks where there are any; wide characters take two."""
    yield from text.wrap(_plain_console(), width, overflow="fold") if text.plain else ()


@cache
def _plain_console() -> Console:
    """What rich asks how wide a tab is; nothing is printed to it."""
    return Console(force_terminal=False, color_system=None)


# --- lines


def _folded(text: str, width: int, indent: str, hang: str) -> Iterator[str]:
    """Lines broken at blanks; the first begins with `indent`, the others with `hang`. A word that is too long is cut into pieces."""
    prefix, line = indent, ""
    for word in text.split(" "):
        if line and cell_len(prefix) + cell_len(line) + 1 + cell_len(word) > width:
            yield f"{prefix}{line}".rstrip()
            prefix, line = hang, word
        else:
            line = f"{line} {word}" if line else word
        room = max(width - cell_len(prefix), 10)
        while cell_len(line) > room:
            yield f"{prefix}{set_cell_size(line, room)}"
            line, prefix = line[len(set_cell_size(line, room).rstrip()) or 1 :], hang
    yield f"{prefix}{line}".rstrip()


def _as_it_is(text: str, width: int) -> Iterator[str]:
    """A line with the blanks that align it, if it fits."""
    indent = text[: len(text) - len(text.lstrip(" "))]
    return iter([text]) if cell_len(text) <= width else _folded(text.lstrip(" "), width, indent, f"{indent}    ")


def dry_json(dry: DryRun) -> Mapping[str, Any]:
    """The object of `--json`: the contract's keys first."""
    return {
        "operators": [operator.to_json() for operator in dry.operators],
        "projection": dict(dry.projection),
        "name": dry.name,
        "input": dict(dry.input),
        "kept": dry.kept.to_json(),
        "thresholds": [_threshold_json(one) for one in dry.thresholds],
        "notes": list(dry.notes),
    }


def _threshold_json(one: Threshold) -> dict[str, Any]:
    return {
        "operator": one.operator,
        "signal": one.signal,
        "setting": one.limit.setting,
        "reason": one.limit.reason,
        "side": one.limit.side,
        "rows_in": one.rows_in,
        **{name: {"value": moved.value, "alone": moved.alone, "dropped": moved.dropped} for name, moved in _moves(one)},
    }


def _moves(one: Threshold) -> list[tuple[str, Moved]]:
    return [("now", one.now), ("looser", one.looser), ("tighter", one.tighter)]
