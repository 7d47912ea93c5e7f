"""What a version was made from and of, as parts of its report: input, output, settings, environment, and how to check it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipelines.card import MAX_OPERATORS, settings_text, with_settings
from pipelines.legible import count, counted, legible, size
from pipelines.report_html import block, code, more_lines, section, table, text

MAX_ROWS: Final = 100
MAX_PARENTS: Final = 10
MAX_FILES: Final = 50
MAX_LEARNED: Final = 10
MAX_PACKAGES: Final = 50
MAX_URI_CHARS: Final = 160
MAX_MESSAGE_CHARS: Final = 200
MAX_CONFIG_CHARS: Final = 20_000


def input_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """From which files."""
    source = manifest["input"]
    uris = source["uri"] if isinstance(source["uri"], list) else [source["uri"]]
    yield from section("input", "Input")
    yield f"<p>{counted(source['files'], 'file')}, {counted(source['rows'], 'row')}, {size(source['bytes'])}, from</p><ul>"
    yield from (f"<li>{code(uri, MAX_URI_CHARS)}</li>" for uri in uris[:MAX_FILES])
    yield from more_lines(len(uris) - MAX_FILES, "li")
    yield "</ul>"
    bad = source.get("unreadable", [])
    if source["unreadable_files"]:
        lines = [
            [code(file["uri"], MAX_URI_CHARS), code(file["error"]), text(file["message"], MAX_MESSAGE_CHARS)] for file in bad[:MAX_FILES]
        ]
        heads = ("file that could not be read", "error", "message")
        yield from table("Unreadable files", heads, lines, source["unreadable_files"] - len(lines), numbers_from=3)
        yield "<p>Their rows are unknown and in no count.</p>"
    yield "</section>"


def output_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Shards, tables and columns of the version."""
    output, tables = manifest["output"], manifest["tables"]
    yield from section("output", "Output")
    mean = f", {size(output['bytes'] // output['shards'])} each on average" if output["shards"] else ""
    yield f"<p>{counted(output['shards'], 'shard')} with {counted(output['rows'], 'row')}, {size(output['bytes'])} altogether{mean}.</p>"
    yield from _token_shards(manifest)
    yield from _learned(manifest)
    lines = [[code(name), count(table["rows"]), code(table["sha256"])] for name, table in tables.items()]
    yield from table("Tables of the version", ("table", "rows", "sha256"), lines, 0, numbers_from=1, numbers_to=2)
    columns = manifest["schema"]
    shown = [[code(column["name"]), code(column["type"]), "yes" if column["nullable"] else "no"] for column in columns[:MAX_ROWS]]
    yield from table("Columns", ("column", "type", "may be null"), shown, len(columns) - MAX_ROWS, numbers_from=3)
    yield "</section>"


def _token_shards(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Files for trainers, if there are any."""
    found = manifest["output"].get("token_shards")
    if found is None:
        return
    order = "in the order of the shards" if found["seed"] is None else f"shuffled within each shard by seed {text(found['seed'])}"
    folders = ", ".join(code(f"tokens/{manifest['version']}/{form}") for form in found["formats"])
    amount = f"{counted(found['documents'], 'document')}, {counted(found['tokens'], 'token')}"
    yield f"<p>Token shards for trainers in {folders}: {amount} in each, {order}, {size(found['bytes'])} altogether.</p>"


def _learned(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Files that operators learned from the documents, if there are any: a line each."""
    found = manifest.get("learned", ())
    for entry in found[:MAX_LEARNED]:
        place = code(entry["path"], MAX_URI_CHARS)
        yield f"<p>{code(entry['operator'])} learned {place} from {counted(entry['documents'], 'document')}.</p>"
    yield from more_lines(len(found) - MAX_LEARNED, "p")


def operators_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The settings of each operator, and the whole pipeline."""
    yield from section("settings", "Settings")
    operators = manifest["operators"]
    if not operators:
        yield "<p>No operators: the documents are as they were read.</p>"
    for operator, lines in with_settings(operators):
        kind = "" if operator["type"] == operator["name"] else f" <span class='quiet'>{text(operator['type'])}</span>"
        yield f"<details><summary>{code(operator['name'])}{kind}</summary>{block(lines)}</details>"
    yield from more_lines(len(operators) - MAX_OPERATORS, "p")
    whole = block(settings_text(manifest["config"], MAX_CONFIG_CHARS))
    yield f"<details><summary>The whole pipeline, as it ran</summary>{whole}</details></section>"


def environment_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What decided the result beside the settings."""
    environment = manifest["environment"]
    yield from section("environment", "Environment")
    packages = sorted(environment["packages"].items())
    lines = [["Python", code(environment["python"])], *([text(name), code(version)] for name, version in packages[:MAX_PACKAGES])]
    yield from table("Versions of what decides results", ("package", "version"), lines, len(packages) - MAX_PACKAGES, numbers_from=2)
    prints = [[text(name), code(value)] for name, value in sorted(manifest["fingerprints"].items())]
    yield from table("Fingerprints", ("of", "fingerprint"), prints, 0, numbers_from=2)
    yield "</section>"


def checking_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """How to prove what the page says."""
    uri = manifest["config"].get("output", {}).get("uri", "URI")
    yield from section("verify", "Check it yourself")
    yield "<p>This page is what the run said of itself. From the files alone, this proves it or says what does not hold:</p>"
    yield block([f"shardmill verify {legible(uri, 500)}"])
    parents = manifest["parents"]
    if parents:
        yield "<p>Made after the version whose manifest has the SHA-256 "
        yield ", ".join(code(parent) for parent in parents[:MAX_PARENTS]) + ".</p>"
    yield "</section>"
