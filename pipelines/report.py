"""The report of a version: one HTML file that says what a run did, without a script and without the network.

A pure function of the manifest. Names of reasons, uris and settings may hold anything, so that every value goes through `_text`; lists are
bounded, so that the file stays under 1 MB whatever was run. The page itself forbids loading anything, by its content security policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from pipelines.card import MAX_OPERATORS, settings_text, with_settings
from pipelines.funnel import MAX_WARNING_CHARS, FunnelRow, balances, by_count, cut_text, funnel_rows, operator_warning_texts, warning_texts
from pipelines.growth_text import growth_sentences
from pipelines.legible import count, counted, legible, seconds, share, size
from pipelines.profile_tables import HEADS as PROFILE_HEADS
from pipelines.profile_tables import ProfileLine, ProfileTable, profile_sentence, profile_tables
from pipelines.report_style import STYLE
from pipelines.token_tables import HEADS, TokenLine, token_tables

MAX_ROWS: Final = 100
MAX_PARENTS: Final = 10
MAX_FILES: Final = 50
MAX_LEARNED: Final = 10
MAX_PACKAGES: Final = 50
MAX_NAME_CHARS: Final = 80
MAX_URI_CHARS: Final = 160
MAX_MESSAGE_CHARS: Final = 200
MAX_CONFIG_CHARS: Final = 20_000

_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">"""


def report(manifest: Mapping[str, Any]) -> str:
    """The report of a version as one HTML file."""
    rows = funnel_rows(manifest)
    title = f"{manifest['name']} {manifest['version']}"
    sections = (
        _verdict(manifest),
        _warnings(manifest),
        _figures(manifest, rows),
        _funnel(rows),
        _reasons(rows),
        _quarantine(manifest),
        _tokens(manifest),
        _profile(manifest),
        _input(manifest),
        _output(manifest),
        _operators(manifest),
        _environment(manifest),
        _checking(manifest),
    )
    body = "\n".join(line for section in sections for line in section)
    top = f'<header><p class="over">shardmill report</p><h1>{_text(title)}</h1><p class="quiet">{_made(manifest)}</p></header>'
    page = f"{_HEAD}\n<title>{escape(legible(title))} · shardmill report</title>\n<style>{STYLE}</style>\n</head>\n"
    return f"{page}<body>\n{top}\n<main>\n{body}\n</main>\n</body>\n</html>\n"


# --- what came of it


def _made(manifest: Mapping[str, Any]) -> str:
    licence = "" if manifest["licence"] is None else f" · licence {_text(manifest['licence'])}"
    return f"made {_text(manifest['created_at'])} · run {_code(manifest['run_id'])}{licence}"


def _verdict(manifest: Mapping[str, Any]) -> Iterator[str]:
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
    yield from (f"<p>{_text(sentence, MAX_WARNING_CHARS)}</p>" for sentence in growth_sentences(manifest))
    if ledger["rows_in"] == 0:
        yield "<p>The input had no rows.</p>"
    elif ledger["rows_out"] == 0:
        yield "<p>No document came through: see the funnel for where they went.</p>"
    if unreadable:
        yield f"<p>{counted(unreadable, 'file')} could not be read: see <a href='#input'>Input</a>.</p>"
    yield "</section>"


def _warnings(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What looks like false duplicates, and what operators told before the run; nothing, if there is neither."""
    kinds = (
        ("Limits were passed beyond which removing duplicates has probably gone wrong: look at some of these documents.", warning_texts),
        ("Operators told this before the run:", operator_warning_texts),
    )
    found = [(words, texts) for words, find in kinds if (texts := find(manifest))]
    if not found:
        return
    yield from _section("warnings", "Warnings")
    for words, texts in found:
        yield f"<p>{words}</p><ul>"
        yield from (f"<li>{_text(text, MAX_WARNING_CHARS)}</li>" for text in texts)
        yield "</ul>"
    yield "</section>"


def _figures(manifest: Mapping[str, Any], rows: Sequence[FunnelRow]) -> Iterator[str]:
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


def _funnel(rows: Sequence[FunnelRow]) -> Iterator[str]:
    yield from _section("funnel", "Funnel")
    yield (
        '<p class="quiet">The bar is all documents of the input: <span class="key kept"></span> still there after the step, '
        '<span class="key gone"></span> removed by it.</p>'
    )
    heads = ("step", "rows in", "dropped", "quarantined", "rows out", "kept", "CPU time")
    steps = rows[:-1]
    lines = [_step(row, rows[0].rows_in) for row in (*steps[:MAX_OPERATORS], rows[-1])]
    yield from _table("Rows by step", heads, lines, len(steps) - MAX_OPERATORS, numbers_from=1)
    yield "</section>"


def _step(row: FunnelRow, whole: int) -> list[str]:
    name = _text(row.name) if row.step != "operator" else _code(row.name)
    kind = f' <span class="quiet">{_text(row.type)}</span>' if row.type not in ("", row.name) else ""
    cut = f' <span class="quiet">{_text(cut_text(row.cut))}</span>' if row.cut else ""
    bar = "" if row.step == "total" else _bar(row.rows_out, max(row.rows_in - row.rows_out, 0), whole)
    numbers = [count(row.rows_in), count(row.num_dropped), count(row.quarantined), count(row.rows_out), share(row.rows_out, row.rows_in)]
    return [f"{name}{kind}{cut}{bar}", *numbers, "" if row.seconds is None else seconds(row.seconds)]


def _reasons(rows: Sequence[FunnelRow]) -> Iterator[str]:
    found = [(row, reason, number) for row in rows[:-1] for reason, number in row.dropped]
    yield from _section("reasons", "Why documents were dropped")
    if not found:
        yield "<p>No document was dropped.</p></section>"
        return
    most = max(number for _, _, number in found)
    whole = rows[0].rows_in
    lines = [
        [f"{_code(reason)}{_bar(0, number, most)}", _code(row.name), count(number), share(number, row.rows_in), share(number, whole)]
        for row, reason, number in found[:MAX_ROWS]
    ]
    heads = ("reason", "dropped by", "rows", "of the step", "of all")
    yield from _table("Dropped rows by reason", heads, lines, len(found) - MAX_ROWS, numbers_from=2)
    yield "</section>"


def _quarantine(manifest: Mapping[str, Any]) -> Iterator[str]:
    errors = by_count(manifest["ledger"]["quarantined"])
    yield from _section("quarantine", "Quarantine")
    if not errors:
        yield "<p>Every row could be processed.</p></section>"
        return
    whole = manifest["ledger"]["rows_in"]
    lines = [[_code(error), count(number), share(number, whole)] for error, number in errors[:MAX_ROWS]]
    yield from _table("Quarantined rows by error", ("error", "rows", "of all"), lines, len(errors) - MAX_ROWS, numbers_from=1)
    yield f"<p>Each row's file, place and message are in {_code('versions/' + manifest['version'] + '/quarantine')}.</p></section>"


def _tokens(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Whose tokens they are: nothing, where none are counted."""
    tables = list(token_tables(manifest))
    if not tables:
        return
    yield from _section("tokens", "Tokens")
    yield f"<p>{counted(manifest['tokens']['total'], 'token')} in {counted(manifest['output']['rows'], 'document')}.</p>"
    for table in tables:
        where = "the folder of the input file" if table.column is None else f"the column {_code(table.column)}"
        lines = [[f"{_token_name(line)}{'' if line.more else _bar(line.tokens, 0, table.most)}", *line.numbers] for line in table.lines]
        yield f'<p class="quiet">By {table.kind}, which is {where}:</p>'
        yield from _table(f"Tokens by {table.kind}", (table.kind, *HEADS), lines, 0, numbers_from=1)
    yield "</section>"


def _profile(manifest: Mapping[str, Any]) -> Iterator[str]:
    """How long the documents are and in which languages: nothing, where the manifest does not tell."""
    tables = list(profile_tables(manifest))
    if not tables:
        return
    yield from _section("documents", "Lengths and languages")
    yield f"<p>{profile_sentence(manifest)}</p>"
    for table in tables:
        by_length = table.kind == "length"
        words = f"length of {_code(table.column)} in UTF-8" if by_length else f"language, which is the column {_code(table.column)}"
        bar = "documents" if by_length else "text"
        yield f'<p class="quiet">By {words}; the bar is {bar}:</p>'
        lines = [[_profile_name(table, line), *line.numbers] for line in table.lines]
        yield from _table(f"Documents by {table.kind}", (table.kind, *PROFILE_HEADS), lines, 0, numbers_from=1)
    yield "</section>"


def _profile_name(table: ProfileTable, line: ProfileLine) -> str:
    if line.more:
        return f"{count(line.more)} more, in the manifest"
    return f"{line.name if table.kind == 'length' else _code(line.name)}{_bar(table.measure(line), 0, table.most)}"


def _token_name(line: TokenLine) -> str:
    return f"{count(line.more)} more, in the manifest" if line.more else _code(line.name)


# --- from what, and how


def _input(manifest: Mapping[str, Any]) -> Iterator[str]:
    source = manifest["input"]
    uris = source["uri"] if isinstance(source["uri"], list) else [source["uri"]]
    yield from _section("input", "Input")
    yield f"<p>{counted(source['files'], 'file')}, {counted(source['rows'], 'row')}, {size(source['bytes'])}, from</p><ul>"
    yield from (f"<li>{_code(uri, MAX_URI_CHARS)}</li>" for uri in uris[:MAX_FILES])
    yield from _more(len(uris) - MAX_FILES, "li")
    yield "</ul>"
    bad = source.get("unreadable", [])
    if source["unreadable_files"]:
        lines = [
            [_code(file["uri"], MAX_URI_CHARS), _code(file["error"]), _text(file["message"], MAX_MESSAGE_CHARS)] for file in bad[:MAX_FILES]
        ]
        heads = ("file that could not be read", "error", "message")
        yield from _table("Unreadable files", heads, lines, source["unreadable_files"] - len(lines), numbers_from=3)
        yield "<p>Their rows are unknown and in no count.</p>"
    yield "</section>"


def _output(manifest: Mapping[str, Any]) -> Iterator[str]:
    output, tables = manifest["output"], manifest["tables"]
    yield from _section("output", "Output")
    mean = f", {size(output['bytes'] // output['shards'])} each on average" if output["shards"] else ""
    yield f"<p>{counted(output['shards'], 'shard')} with {counted(output['rows'], 'row')}, {size(output['bytes'])} altogether{mean}.</p>"
    yield from _token_shards(manifest)
    yield from _learned(manifest)
    lines = [[_code(name), count(table["rows"]), _code(table["sha256"])] for name, table in tables.items()]
    yield from _table("Tables of the version", ("table", "rows", "sha256"), lines, 0, numbers_from=1, numbers_to=2)
    columns = manifest["schema"]
    shown = [[_code(column["name"]), _code(column["type"]), "yes" if column["nullable"] else "no"] for column in columns[:MAX_ROWS]]
    yield from _table("Columns", ("column", "type", "may be null"), shown, len(columns) - MAX_ROWS, numbers_from=3)
    yield "</section>"


def _token_shards(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Files for trainers, if there are any."""
    found = manifest["output"].get("token_shards")
    if found is None:
        return
    order = "in the order of the shards" if found["seed"] is None else f"shuffled within each shard by seed {_text(found['seed'])}"
    folders = ", ".join(_code(f"tokens/{manifest['version']}/{form}") for form in found["formats"])
    amount = f"{counted(found['documents'], 'document')}, {counted(found['tokens'], 'token')}"
    yield f"<p>Token shards for trainers in {folders}: {amount} in each, {order}, {size(found['bytes'])} altogether.</p>"


def _learned(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Files that operators learned from the documents, if there are any: a line each."""
    found = manifest.get("learned", ())
    for entry in found[:MAX_LEARNED]:
        place = _code(entry["path"], MAX_URI_CHARS)
        yield f"<p>{_code(entry['operator'])} learned {place} from {counted(entry['documents'], 'document')}.</p>"
    yield from _more(len(found) - MAX_LEARNED, "p")


def _operators(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield from _section("settings", "Settings")
    operators = manifest["operators"]
    if not operators:
        yield "<p>No operators: the documents are as they were read.</p>"
    for operator, lines in with_settings(operators):
        kind = "" if operator["type"] == operator["name"] else f" <span class='quiet'>{_text(operator['type'])}</span>"
        yield f"<details><summary>{_code(operator['name'])}{kind}</summary>{_block(lines)}</details>"
    yield from _more(len(operators) - MAX_OPERATORS, "p")
    whole = _block(settings_text(manifest["config"], MAX_CONFIG_CHARS))
    yield f"<details><summary>The whole pipeline, as it ran</summary>{whole}</details></section>"


def _environment(manifest: Mapping[str, Any]) -> Iterator[str]:
    environment = manifest["environment"]
    yield from _section("environment", "Environment")
    packages = sorted(environment["packages"].items())
    lines = [["Python", _code(environment["python"])], *([_text(name), _code(version)] for name, version in packages[:MAX_PACKAGES])]
    yield from _table("Versions of what decides results", ("package", "version"), lines, len(packages) - MAX_PACKAGES, numbers_from=2)
    prints = [[_text(name), _code(value)] for name, value in sorted(manifest["fingerprints"].items())]
    yield from _table("Fingerprints", ("of", "fingerprint"), prints, 0, numbers_from=2)
    yield "</section>"


def _checking(manifest: Mapping[str, Any]) -> Iterator[str]:
    uri = manifest["config"].get("output", {}).get("uri", "URI")
    yield from _section("verify", "Check it yourself")
    yield "<p>This page is what the run said of itself. From the files alone, this proves it or says what does not hold:</p>"
    yield _block([f"shardmill verify {legible(uri, 500)}"])
    parents = manifest["parents"]
    if parents:
        yield "<p>Made after the version whose manifest has the SHA-256 "
        yield ", ".join(_code(parent) for parent in parents[:MAX_PARENTS]) + ".</p>"
    yield "</section>"


# --- HTML


def _text(value: object, max_chars: int = MAX_NAME_CHARS) -> str:
    """A stranger's text: legible, escaped, and set apart so that letters that run from right to left turn nothing around them."""
    return f"<bdi>{escape(legible(value, max_chars))}</bdi>"


def _code(value: object, max_chars: int = MAX_NAME_CHARS) -> str:
    return f"<code>{_text(value, max_chars)}</code>"


def _block(lines: Iterable[str]) -> str:
    return f'<pre tabindex="0" dir="ltr"><code>{escape(chr(10).join(lines), quote=False)}</code></pre>'


def _section(name: str, title: str) -> Iterator[str]:
    yield f'<section id="{name}" aria-labelledby="{name}-title">'
    yield f'<h2 id="{name}-title">{title}</h2>'


def _bar(kept: int, gone: int, whole: int) -> str:
    """A bar that shows parts of a whole; it only repeats numbers that are in the table, so that it is hidden from screen readers."""
    widths = [("kept", kept), ("gone", gone)]
    parts = "".join(f'<i class="{name}" style="width:{100 * number / whole:.2f}%"></i>' for name, number in widths if number and whole)
    return f'<span class="bar" aria-hidden="true">{parts}</span>'


def _table(
    caption: str, heads: Sequence[str], lines: Sequence[Sequence[str]], more: int, *, numbers_from: int, numbers_to: int | None = None
) -> Iterator[str]:
    """A table that scrolls sideways, also by keyboard, where it is wider than the screen. The first cell of a line is its head."""
    last = len(heads) if numbers_to is None else numbers_to
    classes = [' class="n"' if numbers_from <= column < last else "" for column in range(len(heads))]
    yield f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}"><table><caption>{caption}</caption>'
    head = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in zip(heads, classes, strict=True))
    yield f"<thead><tr>{head}</tr></thead><tbody>"
    for line in lines:
        cells = "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(line[1:], classes[1:], strict=True))
        yield f'<tr><th scope="row">{line[0]}</th>{cells}</tr>'
    yield "</tbody></table></div>"
    yield from _more(more, "p")


def _more(number: int, tag: str) -> Iterator[str]:
    if number > 0:
        yield f"<{tag}>and {count(number)} more, which the manifest lists</{tag}>"
