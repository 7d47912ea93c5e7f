"""The card of an output: README.md, whose front matter tells `load_dataset` and the Hub which files are the current version.

A pure function of the manifest. Everything in it may come from strangers (names of reasons, settings, the licence), so that everything in
the text is escaped for Markdown. What a published card has besides is in card_published.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pipelines.card_front import Config, filtered_languages, front_matter
from pipelines.funnel import MAX_WARNING_CHARS, FunnelRow, balances, by_count, cut_text, funnel_rows, operator_warning_texts, warning_texts
from pipelines.growth_text import growth_sentences
from pipelines.legible import MAX_CHARS, count, counted, legible, seconds, share, size
from pipelines.operator_sources import operator_source
from pipelines.profile_tables import HEADS as PROFILE_HEADS
from pipelines.profile_tables import ProfileLine, profile_sentence, profile_tables
from pipelines.token_tables import HEADS, token_tables

MAX_ROWS: Final = 100
MAX_OPERATORS: Final = 100
MAX_LEARNED: Final = 10
MAX_VERSIONS: Final = 10
MAX_SETTINGS_CHARS: Final = 4000
MAX_ALL_SETTINGS_CHARS: Final = 40_000


def card(manifest: Mapping[str, Any], globs: Sequence[str] | None = None) -> str:
    """The card of a version.

    Args:
        manifest: Of the version.
        globs: Paths of its data files relative to the output, one pattern a version and plan. None: see `data_globs`.
    """
    patterns = data_globs(manifest) if globs is None else list(globs)
    sections = (
        front_matter(manifest, [Config("default", "train", patterns)], filtered_languages(manifest)),
        summary_lines(manifest),
        _loading(manifest),
        *account(manifest),
        _checking(manifest),
    )
    return joined(sections)


def account(manifest: Mapping[str, Any]) -> tuple[Iterator[str], ...]:
    """The sections that are the same wherever a card stands: what went in, what became of it, and what came out."""
    return (
        source_lines(manifest),
        funnel_lines(manifest),
        operator_lines(manifest),
        token_lines(manifest),
        profile_lines(manifest),
        column_lines(manifest),
    )


def joined(sections: Iterable[Iterator[str]]) -> str:
    """Sections as one text, an empty line between them; those without a line leave none."""
    made = (list(section) for section in sections)
    return "\n".join(line for section in made if section for line in (*section, "")).rstrip("\n") + "\n"


def data_globs(manifest: Mapping[str, Any]) -> list[str]:
    """The patterns of a version's shards: those that a takedown left, those of all versions that it was grown from, or those of one run."""
    for key in ("takedown", "ingest"):
        if key in manifest:
            return list(manifest[key]["data_files"])
    return [data_glob(manifest["version"], manifest["run_id"])]


def data_glob(version: str, plan: str) -> str:
    """The pattern of a version's shards, in whatever folders: the first 8 digits of its plan's fingerprint are in their names."""
    return f"data/{version}/**/*-{plan[:8]}.parquet"


# --- text


def summary_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What the version is, and what became of the documents that went in."""
    output, ledger = manifest["output"], manifest["ledger"]
    dropped = sum(sum(reasons.values()) for reasons in ledger["dropped"].values())
    quarantined = sum(ledger["quarantined"].values())
    tokens = "" if output["tokens"] is None else f", {counted(output['tokens'], 'token')}"
    yield f"# {escaped(manifest['name'])}"
    yield ""
    yield (
        f"Version {code(manifest['version'])}, made by shardmill at {code(manifest['created_at'])}: "
        f"{counted(output['rows'], 'document')}{tokens} in {counted(output['shards'], 'Parquet file')}, {size(output['bytes'])}."
    )
    yield ""
    yield (
        f"{counted(ledger['rows_in'], 'document')} went in: {count(ledger['rows_out'])} are here "
        f"({share(ledger['rows_out'], ledger['rows_in'])}), {count(dropped)} were dropped, and {count(quarantined)} "
        "could not be processed and are in quarantine."
    )
    for sentence in growth_sentences(manifest):
        yield ""
        yield escaped(sentence, MAX_WARNING_CHARS)
    if not balances(manifest):
        yield ""
        yield "**These numbers do not add up: do not use this version.**"
    if manifest["licence"] is not None:
        yield ""
        yield f"Licence: {code(manifest['licence'])}"


def _loading(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Load it", "")
    yield from ("```python", "from datasets import load_dataset", "")
    yield from ('dataset = load_dataset("FOLDER_OR_HUB_NAME", split="train")', "```", "")
    yield (
        "`FOLDER_OR_HUB_NAME` is the folder that holds this file, or the dataset's name on the Hub. Only the files of version "
        f"{code(manifest['version'])} are read. From any storage, streamed: `pipelines.open_dataset(URI)`."
    )
    yield from token_shard_lines(manifest)
    yield from learned_lines(manifest)


def learned_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Which files operators learned from the documents, if there are any: a line each."""
    found = manifest.get("learned", ())
    if found:
        yield ""
    for entry in found[:MAX_LEARNED]:
        yield f"- {code(entry['path'])}: learned by {code(entry['operator'])} from {counted(entry['documents'], 'document')}."
    if len(found) > MAX_LEARNED:
        yield f"- and {count(len(found) - MAX_LEARNED)} more, which `manifest.json` lists."


def token_shard_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Where the files for trainers are, if there are any."""
    found = manifest["output"].get("token_shards")
    if found is None:
        return
    folders = ", ".join(code(f"tokens/{manifest['version']}/{form}") for form in found["formats"])
    order = "in the order of the Parquet files" if found["seed"] is None else f"in an order drawn from seed {found['seed']}"
    yield ""
    yield (
        f"Token ids for trainers, {counted(found['documents'], 'document')} with {counted(found['tokens'], 'token')}: {folders}. "
        f"One token shard is one Parquet file, its documents {order}."
    )


def source_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Where the documents come from."""
    source = manifest["input"]
    uris = source["uri"] if isinstance(source["uri"], list) else [source["uri"]]
    yield from ("## What went in", "")
    yield from (f"- {code(uri)}" for uri in uris[:MAX_ROWS])
    if len(uris) > MAX_ROWS:
        yield f"- and {count(len(uris) - MAX_ROWS)} more"
    yield ""
    unreadable = source["unreadable_files"]
    bad = f" {counted(unreadable, 'file')} could not be read and {'is' if unreadable == 1 else 'are'} not counted." if unreadable else ""
    yield f"{counted(source['files'], 'file')}, {counted(source['rows'], 'document')}, {size(source['bytes'])}.{bad}"


def funnel_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What each step kept, why documents were dropped, and what was warned of."""
    rows = funnel_rows(manifest)
    yield from ("## What became of it", "")
    yield "| step | rows in | dropped | quarantined | rows out | kept | CPU time |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    yield from (_funnel_line(row) for row in (*rows[:-1][:MAX_OPERATORS], rows[-1]))
    yield from _reasons(rows[:-1])
    yield from _cuts(rows[:-1])
    errors = by_count(manifest["ledger"]["quarantined"])
    if errors:
        yield from ("", "| error that led to quarantine | rows |", "|---|--:|")
        yield from (f"| {code(error)} | {count(number)} |" for error, number in errors[:MAX_ROWS])
        yield from _rest(errors, columns=2)
    warnings = warning_texts(manifest)
    if warnings:
        yield from ("", "The run warned of what looks like false duplicates:", "")
        yield from (f"- {escaped(text, MAX_WARNING_CHARS)}" for text in warnings)
    told = operator_warning_texts(manifest)
    if told:
        yield from ("", "Operators told this before the run:", "")
        yield from (f"- {escaped(text, MAX_WARNING_CHARS)}" for text in told)


def _funnel_line(row: FunnelRow) -> str:
    name = code(row.name) if row.step == "operator" else row.name
    numbers = [count(row.rows_in), count(row.num_dropped), count(row.quarantined), count(row.rows_out), share(row.rows_out, row.rows_in)]
    return f"| {' | '.join([name, *numbers, '' if row.seconds is None else seconds(row.seconds)])} |"


def _reasons(rows: Sequence[FunnelRow]) -> Iterator[str]:
    reasons = [(row, reason, number) for row in rows for reason, number in row.dropped]
    if not reasons:
        return
    yield from ("", "| dropped by | reason | rows | of all |", "|---|---|--:|--:|")
    whole = rows[0].rows_in
    yield from (
        f"| {code(row.name)} | {code(reason)} | {count(number)} | {share(number, whole)} |" for row, reason, number in reasons[:MAX_ROWS]
    )
    yield from _rest([(reason, number) for _, reason, number in reasons], columns=3)


def token_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Tokens by source and language; nothing where none are counted."""
    tables = list(token_tables(manifest))
    if tables:
        yield from ("## Tokens", "", f"{counted(manifest['tokens']['total'], 'token')} in all.")
    for table in tables:
        head = f"{table.kind} ({'folder of the input file' if table.column is None else f'column {code(table.column)}'})"
        yield from ("", f"| {head} | {' | '.join(HEADS)} |", f"|---|{'--:|' * len(HEADS)}")
        for line in table.lines:
            name = f"{count(line.more)} more, in the manifest" if line.more else code(line.name)
            yield f"| {name} | {' | '.join(line.numbers)} |"


def profile_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """How long the documents are and in which languages, as Markdown; nothing where the manifest does not tell."""
    tables = list(profile_tables(manifest))
    if tables:
        yield from ("## Lengths and languages", "", profile_sentence(manifest))
    for table in tables:
        head = f"length of {code(table.column)} in UTF-8" if table.kind == "length" else f"language (column {code(table.column)})"
        yield from ("", f"| {head} | {' | '.join(PROFILE_HEADS)} |", f"|---|{'--:|' * len(PROFILE_HEADS)}")
        yield from (f"| {_profile_name(table.kind, line)} | {' | '.join(line.numbers)} |" for line in table.lines)


def _profile_name(kind: str, line: ProfileLine) -> str:
    if kind == "length":
        return line.name
    return f"{count(line.more)} more, in the manifest" if line.more else code(line.name)


def _cuts(rows: Sequence[FunnelRow]) -> Iterator[str]:
    cuts = [row for row in rows if row.cut]
    if cuts:
        yield ""
        yield from (f"- {code(row.name)} {cut_text(row.cut)}." for row in cuts[:MAX_ROWS])


def _rest(counts: Sequence[tuple[str, int]], columns: int) -> Iterator[str]:
    """A line for what a bounded table leaves out."""
    rest = counts[MAX_ROWS:]
    if rest:
        yield f"| {count(len(rest))} more |{' |' * (columns - 2)} {count(sum(number for _, number in rest))} |"


def operator_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Every operator with its settings, and where they come from."""
    yield from ("## Operators", "")
    if not manifest["operators"]:
        yield "None: the documents are as they were read."
    else:
        yield "In this order, with every setting:"
    for number, (operator, shown) in enumerate(with_settings(manifest["operators"]), 1):
        name, kind = operator["name"], operator["type"]
        yield from ("", f"{number}. {code(name)}{'' if name == kind else f', of type {code(kind)}'}", "")
        source = operator_source(operator)
        if source is not None:
            yield from (f"    {source}", "")
        yield from (f"    {line}".rstrip() for line in _block(shown))
        yield from _set_otherwise(operator)
    if len(manifest["operators"]) > MAX_OPERATORS:
        yield from ("", f"and {count(len(manifest['operators']) - MAX_OPERATORS)} more, which `manifest.json` lists.")


def _set_otherwise(operator: Mapping[str, Any]) -> Iterator[str]:
    """That older versions, whose documents are here, were made with other settings."""
    versions = [version for one in operator.get("settings_before", ()) for version in one["versions"]]
    if versions:
        named = ", ".join(map(code, versions[:MAX_VERSIONS])) + (
            f" and {count(more)} more" if (more := len(versions) - MAX_VERSIONS) > 0 else ""
        )
        yield from ("", f"    Of the documents here, those of {named} were made with other settings, which `manifest.json` tells.")


def _block(shown: Sequence[str]) -> list[str]:
    """A block of JSON. No line of it can end the block: JSON has none that begins with a backtick."""
    if shown == ["{}"]:
        return ["(no settings)"]
    return ["```text" if shown[-1] == "…" else "```json", *shown, "```"]


def with_settings(operators: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], list[str]]]:
    """The operators with the text of their settings, within a bound for each and one for all."""
    left = MAX_ALL_SETTINGS_CHARS
    for operator in operators[:MAX_OPERATORS]:
        shown = settings_text(operator["settings"], min(MAX_SETTINGS_CHARS, max(left, 0)))
        left -= sum(map(len, shown))
        yield operator, shown


def settings_text(settings: Mapping[str, Any], max_chars: int) -> list[str]:
    """Settings as lines of readable JSON; cut, with `…` as the last line, where they are longer than `max_chars`."""
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    lines = [line[: len(line) - len(line.lstrip())] + legible(line.lstrip(), 1000) for line in text[:max_chars].split("\n")]
    return lines if len(text) <= max_chars else [*lines[:-1], "…"]


def column_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The columns and their types."""
    yield from ("## Columns", "", "| column | type |", "|---|---|")
    columns = manifest["schema"]
    yield from (f"| {code(field['name'])} | {code(field['type'])} |" for field in columns[:MAX_ROWS])
    if len(columns) > MAX_ROWS:
        yield f"| {count(len(columns) - MAX_ROWS)} more | |"


def _checking(manifest: Mapping[str, Any]) -> Iterator[str]:
    folder = f"versions/{manifest['version']}"
    yield from ("## Check it", "", "```", "shardmill verify FOLDER_OR_HUB_NAME", "```", "")
    yield (
        "reads every file and compares digests, rows and the accounting with the manifest. Beside this file, "
        f"{code('manifest.json')} says what made the version, and {code(folder + '/report.html')} shows it; {code(folder + '/dropped')}, "
        f"{code(folder + '/duplicates')} and {code(folder + '/quarantine')} list every document that is not here, and why."
    )
    yield ""
    yield fingerprint_line(manifest)


def fingerprint_line(manifest: Mapping[str, Any]) -> str:
    """Which run made the version, and of what."""
    prints = ", ".join(f"{code(name)} {code(value)}" for name, value in sorted(manifest["fingerprints"].items()))
    return f"Run {code(manifest['run_id'])}, fingerprints: {prints}"


# --- Markdown


def escaped(text: object, max_chars: int = MAX_CHARS) -> str:
    """A stranger's text as Markdown that shows it as it is: every character that could mean something is escaped."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~&$:!])", r"\\\1", legible(text, max_chars))


def code(text: object) -> str:
    """A stranger's text as a code span that also holds inside a table."""
    shown = legible(text) or "(empty)"
    if not re.search(r"[|\\`]|^ | $", shown):
        return f"`{shown}`"
    # In a table, renderers disagree on backslashes and pipes within backticks; character references are the same everywhere.
    return "<code>" + re.sub(r"[^\w .,;=/-]|_", lambda found: f"&#{ord(found[0])};", shown) + "</code>"
