"""What became of the documents of a version, as parts of its report: the verdict, the funnel, reasons, tokens, lengths and languages.

From the manifest alone. Lists are bounded, so that the file stays small whatever was run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from pipelines.card import MAX_OPERATORS
from pipelines.funnel import MAX_WARNING_CHARS, FunnelRow, balances, by_count, cut_text, operator_warning_texts, warning_texts
from pipelines.growth_text import growth_sentences
from pipelines.legible import count, counted, legible, seconds, share, size
from pipelines.profile_tables import HEADS as PROFILE_HEADS
from pipelines.profile_tables import ProfileLine, ProfileTable, profile_sentence, profile_tables
from pipelines.report_charts import GONE, KEPT, PALETTE, QUARANTINED, Bar, Chart, Piece, bars, with_numbers
from pipelines.report_html import bar, code, section, table, text
from pipelines.report_signals import Drawn
from pipelines.token_tables import HEADS, TokenLine, token_tables

MAX_ROWS: Final = 100
MAX_EXCHANGES: Final = 20
MAX_SETS: Final = 24
"""Sizes of sets that are told one by one; with more, sizes from one power of two to the next are told together."""


def made_line(manifest: Mapping[str, Any]) -> str:
    """When and by which run it was made, and under which licence it is."""
    licence = "" if manifest["licence"] is None else f" · licence {text(manifest['licence'])}"
    return f"made {text(manifest['created_at'])} · run {code(manifest['run_id'])}{licence}"


def verdict_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Whether every row is accounted for."""
    ledger, unreadable = manifest["ledger"], manifest["input"]["unreadable_files"]
    dropped = sum(sum(reasons.values()) for reasons in ledger["dropped"].values())
    equation = (
        f"{count(ledger['rows_in'])} rows in = {count(ledger['rows_out'])} out + {count(dropped)} dropped + "
        f"{count(sum(ledger['quarantined'].values()))} quarantined"
    )
    good = balances(manifest)
    words = "Every row is accounted for" if good else "The numbers do not add up"
    advice = "" if good else " Do not use this version; run <code>shardmill verify</code> to see what does not hold."
    yield f'<section class="verdict {"good" if good else "bad"}" aria-label="Verdict">'
    yield f"<p><strong>{words}.</strong> {equation if good else equation.replace('=', '≠')}.{advice}</p>"
    yield from (f"<p>{text(sentence, MAX_WARNING_CHARS)}</p>" for sentence in growth_sentences(manifest))
    if ledger["rows_in"] == 0:
        yield "<p>The input had no rows.</p>"
    elif ledger["rows_out"] == 0:
        yield "<p>No document came through: see the funnel for where they went.</p>"
    if unreadable:
        yield f"<p>{counted(unreadable, 'file')} could not be read: see <a href='#input'>Input</a>.</p>"
    yield "</section>"


def warning_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What looks like false duplicates, and what operators told before the run; nothing, if there is neither."""
    kinds = (
        ("Limits were passed beyond which removing duplicates has probably gone wrong: look at some of these documents.", warning_texts),
        ("Operators told this before the run:", operator_warning_texts),
    )
    found = [(words, texts) for words, find in kinds if (texts := find(manifest))]
    if not found:
        return
    yield from section("warnings", "Warnings")
    for words, texts in found:
        yield f"<p>{words}</p><ul>"
        yield from (f"<li>{text(told, MAX_WARNING_CHARS)}</li>" for told in texts)
        yield "</ul>"
    yield "</section>"


def figure_lines(manifest: Mapping[str, Any], rows: Sequence[FunnelRow]) -> Iterator[str]:
    """The few numbers that say how large it is."""
    output, total = manifest["output"], rows[-1]
    figures = [("documents", count(output["rows"])), ("kept", share(total.rows_out, total.rows_in))]
    if output["tokens"] is not None:
        figures.append(("tokens", count(output["tokens"])))
    figures += [("shards", count(output["shards"])), ("size", size(output["bytes"]))]
    if total.seconds is not None:
        figures.append(("CPU time", seconds(total.seconds)))
    yield '<dl class="figures">'
    yield from (f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)
    yield "</dl>"


def funnel(rows: Sequence[FunnelRow]) -> Drawn:
    """What each step got, gave and removed."""
    steps = rows[:-1]
    found = [Bar(row.name, _fates(row, rows[0].rows_in)) for row in steps]
    about = "Of all documents of the input: what is still there after each step, and what it removed."
    colours = {"kept": KEPT, "dropped": GONE, "quarantined": QUARANTINED}
    chart = bars("funnel-steps", "Documents by step", about, found, axis="documents", colours=colours)
    heads = ("step", "rows in", "dropped", "quarantined", "rows out", "kept", "CPU time")
    lines = [_step(row, rows[0].rows_in) for row in (*steps[:MAX_OPERATORS], rows[-1])]
    key = (
        '<p class="quiet">The bar is all documents of the input: <span class="key kept"></span> still there after the step, '
        '<span class="key gone"></span> removed by it.</p>'
    )
    numbers = [key, *table("Rows by step", heads, lines, len(steps) - MAX_OPERATORS, numbers_from=1)]
    return Drawn([*section("funnel", "Funnel"), *with_numbers(chart, numbers), "</section>"], drawn(chart))


def _fates(row: FunnelRow, whole: int) -> tuple[Piece, ...]:
    told = (("kept", row.rows_out), ("dropped", row.num_dropped), ("quarantined", max(row.quarantined, 0)))
    return tuple(
        Piece(
            kind, number, f"{row.name}: {count(number)} {kind}, {share(number, row.rows_in)} of what came in, {share(number, whole)} of all"
        )
        for kind, number in told
    )


def _step(row: FunnelRow, whole: int) -> list[str]:
    name = text(row.name) if row.step != "operator" else code(row.name)
    kind = f' <span class="quiet">{text(row.type)}</span>' if row.type not in ("", row.name) else ""
    cut = f' <span class="quiet">{text(cut_text(row.cut))}</span>' if row.cut else ""
    shown = "" if row.step == "total" else bar(row.rows_out, max(row.rows_in - row.rows_out, 0), whole)
    numbers = [count(row.rows_in), count(row.num_dropped), count(row.quarantined), count(row.rows_out), share(row.rows_out, row.rows_in)]
    return [f"{name}{kind}{cut}{shown}", *numbers, "" if row.seconds is None else seconds(row.seconds)]


def reasons(rows: Sequence[FunnelRow]) -> Drawn:
    """Why documents were dropped, the operators in their order."""
    found = [(row, reason, number) for row in rows[:-1] for reason, number in row.dropped]
    if not found:
        return Drawn([*section("reasons", "Why documents were dropped"), "<p>No document was dropped.</p></section>"], [])
    most = max(number for _, _, number in found)
    whole = rows[0].rows_in
    shown = [Bar(reason, (Piece("dropped", number, _dropped(row, reason, number, whole)),)) for row, reason, number in found]
    chart = bars(
        "reasons-rows", "Documents dropped, by reason", "In the order of the operators.", shown, axis="documents", colours={"dropped": GONE}
    )
    lines = [
        [f"{code(reason)}{bar(0, number, most)}", code(row.name), count(number), share(number, row.rows_in), share(number, whole)]
        for row, reason, number in found[:MAX_ROWS]
    ]
    heads = ("reason", "dropped by", "rows", "of the step", "of all")
    numbers = table("Dropped rows by reason", heads, lines, len(found) - MAX_ROWS, numbers_from=2)
    return Drawn([*section("reasons", "Why documents were dropped"), *with_numbers(chart, numbers), "</section>"], drawn(chart))


def _dropped(row: FunnelRow, reason: str, number: int, whole: int) -> str:
    return f"{reason}: {count(number)} dropped by {row.name}, {share(number, row.rows_in)} of what came in, {share(number, whole)} of all"


def quarantine_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Which errors rows were put aside for."""
    errors = by_count(manifest["ledger"]["quarantined"])
    yield from section("quarantine", "Quarantine")
    if not errors:
        yield "<p>Every row could be processed.</p></section>"
        return
    whole = manifest["ledger"]["rows_in"]
    lines = [[code(error), count(number), share(number, whole)] for error, number in errors[:MAX_ROWS]]
    yield from table("Quarantined rows by error", ("error", "rows", "of all"), lines, len(errors) - MAX_ROWS, numbers_from=1)
    yield f"<p>Each row's file, place and message are in {code('versions/' + manifest['version'] + '/quarantine')}.</p></section>"


def duplicates(sizes: Mapping[str, Sequence[tuple[int, int]]]) -> Drawn:
    """How large the sets of duplicates are; empty where none is known."""
    known = [(operator, found) for operator, found in sizes.items() if found][:MAX_EXCHANGES]
    if not known:
        return Drawn([], [])
    lines, charts = [*section("duplicates", "Duplicates")], list[Chart]()
    for place, (operator, found) in enumerate(known):
        documents = sum(held * number for held, number in found)
        sets = sum(number for _, number in found)
        lines.append(f"<h3>{code(operator)}</h3>")
        largest = max(held for held, _ in found)
        lines.append(f"<p>{counted(sets, 'set')} of {counted(documents, 'document')}; the largest has {counted(largest, 'document')}.</p>")
        told = _classes(found)
        shown = [Bar(name, (Piece("sets", number, f"{name} documents each: {counted(number, 'set')}"),)) for name, number, _ in told]
        title = f"Sets of duplicates by size: {operator}"
        chart = bars(f"duplicates-{place}", title, "How many documents a set has.", shown, axis="sets", colours={"sets": PALETTE[0]})
        rows = [[name, count(number), count(held)] for name, number, held in told]
        caption = f"Sets of duplicates of {escape(legible(operator))}"
        lines += with_numbers(chart, table(caption, ("documents in a set", "sets", "documents"), rows, 0, numbers_from=1))
        charts += drawn(chart)
    return Drawn([*lines, "</section>"], charts)


def _classes(found: Sequence[tuple[int, int]]) -> list[tuple[str, int, int]]:
    """Sizes as they are told, each with its sets and their documents."""
    if len(found) <= MAX_SETS:
        return [(count(documents), number, documents * number) for documents, number in sorted(found)]
    classes: dict[int, list[int]] = {}
    for documents, number in found:
        held = classes.setdefault(max(documents, 1).bit_length(), [0, 0])
        held[0] += number
        held[1] += documents * number
    return [(f"{count(1 << bits - 1)} to {count((1 << bits) - 1)}", classes[bits][0], classes[bits][1]) for bits in sorted(classes)]


def tokens(manifest: Mapping[str, Any]) -> Drawn:
    """Whose tokens they are: nothing, where none are counted."""
    tables = list(token_tables(manifest))
    if not tables:
        return Drawn([], [])
    lines, charts = [*section("tokens", "Tokens")], list[Chart]()
    lines.append(f"<p>{counted(manifest['tokens']['total'], 'token')} in {counted(manifest['output']['rows'], 'document')}.</p>")
    for found in tables:
        where = "the folder of the input file" if found.column is None else f"the column {code(found.column)}"
        shown = [
            Bar(line.name, (Piece("tokens", line.tokens, f"{line.name}: {counted(line.tokens, 'token')}, {line.numbers[2]}"),))
            for line in found.lines
            if not line.more
        ]
        title = f"Tokens by {found.kind}"
        chart = bars(f"tokens-{found.kind}", title, "", shown, axis="tokens", colours={"tokens": PALETTE[0]})
        rows = [[f"{_token_name(line)}{'' if line.more else bar(line.tokens, 0, found.most)}", *line.numbers] for line in found.lines]
        lines.append(f'<p class="quiet">By {found.kind}, which is {where}:</p>')
        lines += with_numbers(chart, table(title, (found.kind, *HEADS), rows, 0, numbers_from=1))
        charts += drawn(chart)
    return Drawn([*lines, "</section>"], charts)


def profile(manifest: Mapping[str, Any]) -> Drawn:
    """How long the documents are and in which languages: nothing, where the manifest does not tell."""
    tables = list(profile_tables(manifest))
    if not tables:
        return Drawn([], [])
    lines, charts = [*section("documents", "Lengths and languages"), f"<p>{profile_sentence(manifest)}</p>"], list[Chart]()
    for found in tables:
        by_length = found.kind == "length"
        words = f"length of {code(found.column)} in UTF-8" if by_length else f"language, which is the column {code(found.column)}"
        lines.append(f'<p class="quiet">By {words}; the bar is {"documents" if by_length else "text"}:</p>')
        chart = _profile_chart(found)
        rows = [[_profile_name(found, line), *line.numbers] for line in found.lines]
        lines += with_numbers(chart, table(f"Documents by {found.kind}", (found.kind, *PROFILE_HEADS), rows, 0, numbers_from=1))
        charts += drawn(chart)
    return Drawn([*lines, "</section>"], charts)


def _profile_chart(found: ProfileTable) -> Chart | None:
    shown = [Bar(line.name, (Piece("of", found.measure(line), _profile_says(line)),)) for line in found.lines if not line.more]
    axis = "documents" if found.kind == "length" else "bytes of text"
    return bars(f"profile-{found.kind}", f"Documents by {found.kind}", "", shown, axis=axis, colours={"of": PALETTE[0]})


def _profile_says(line: ProfileLine) -> str:
    documents, of_documents, amount, of_text = line.numbers
    return f"{line.name}: {documents} documents, {of_documents}; {amount} of text, {of_text}"


def _profile_name(found: ProfileTable, line: ProfileLine) -> str:
    if line.more:
        return f"{count(line.more)} more, in the manifest"
    return f"{line.name if found.kind == 'length' else code(line.name)}{bar(found.measure(line), 0, found.most)}"


def _token_name(line: TokenLine) -> str:
    return f"{count(line.more)} more, in the manifest" if line.more else code(line.name)


def drawn(chart: Chart | None) -> list[Chart]:
    """The chart, if there is one."""
    return [] if chart is None else [chart]
