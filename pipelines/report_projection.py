"""The projection of a dry run as tables: what the real run will take and give, with the bounds of what was told from a sample.

Keys that it knows have names and come first, in its order; any other is shown under its own name: whoever projects may tell more. A key's
ending says its unit (`_bytes`, `_seconds`), those within a key inherit it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from pipelines.legible import NOTHING, amount, count, legible, seconds, size
from pipelines.report_html import code, section, table, text

MAX_LINES: Final = 300
MAX_TABLES: Final = 12
MAX_COLUMNS: Final = 12
NAMES: Final = {
    "output_rows": "documents in the output",
    "output_tokens": "tokens",
    "output_bytes": "size of the output",
    "output_uncompressed_bytes": "its size, uncompressed",
    "output_shards": "shards",
    "token_shards": "token shards",
    "dropped_bytes": "table of dropped documents",
    "duplicates_bytes": "table of duplicates",
    "quarantine_bytes": "quarantine",
    "history_bytes": "history for later runs",
    "intermediate_bytes": "intermediates between stages",
    "input_bytes": "input",
    "cpu_seconds": "CPU time",
    "wall_seconds": "wall time",
    "cores": "on how many cores",
    "worker_peak_bytes": "peak of memory of a worker",
    "driver_peak_bytes": "peak of memory of the driver",
    "units": "units of work",
    "stages": "stages",
    "tasks": "tasks",
    "commits": "commits of units",
    "requests": "requests to the store",
    "cost": "cost",
    "hub": "publishing on the Hub",
}
TABLES: Final = {"cpu_seconds_by": "CPU time by operator", "by_cores": "By number of cores"}
FLAGS: Final = {"cores_are_an_example", "notes"}


def projection_lines(projection: Mapping[str, Any]) -> Iterator[str]:
    """The section of the projection; nothing where there is none."""
    if not projection:
        return
    yield from section("projection", "What the real run will take")
    if projection.get("cores_are_an_example"):
        yield '<p class="quiet">The number of cores is an example: name your own with <code>--cores</code>.</p>'
    keys = [*(key for key in NAMES if key in projection), *(key for key in projection if key not in NAMES and key not in FLAGS)]
    plain = [key for key in keys if not _is_table(key, projection[key])]
    lines = [line for key in plain for line in _lines(NAMES.get(key, _words(key)), key, projection[key])]
    heads = ("of the run", "expected", "with 95 %, between")
    yield from table("The real run", heads, lines[:MAX_LINES], len(lines) - MAX_LINES, numbers_from=1)
    for key in [key for key in keys if _is_table(key, projection[key])][:MAX_TABLES]:
        yield from _table(key, projection[key])
    yield "</section>"


def _is_table(key: str, value: Any) -> bool:
    return key in TABLES or (isinstance(value, list | tuple) and bool(value) and all(isinstance(entry, Mapping) for entry in value))


def _lines(name: str, key: str, value: Any) -> Iterator[list[str]]:
    """One line, or one for each value within, if there are some."""
    if isinstance(value, Mapping) and not _is_estimate(value):
        for inner, entry in value.items():
            unit = inner if _has_unit(str(inner)) else key
            yield from _lines(f"{name}: {_words(inner)}", unit, entry)
        return
    shown, between = told(key, value)
    yield [escape(legible(name)), shown, between]


def _table(key: str, value: Any) -> Iterator[str]:
    title = escape(legible(TABLES.get(key, _words(key))))
    yield f"<h3>{title}</h3>"
    if isinstance(value, Mapping):
        rows = [[code(name), *told(key, entry)] for name, entry in value.items()]
        yield from table(title, ("of", "expected", "with 95 %, between"), rows[:MAX_LINES], len(rows) - MAX_LINES, numbers_from=1)
        return
    columns = list(dict.fromkeys(column for entry in value for column in entry))[:MAX_COLUMNS]
    rows = [[_cell(column, entry.get(column)) for column in columns] for entry in value]
    yield from table(
        title, [escape(legible(_words(column))) for column in columns], rows[:MAX_LINES], len(rows) - MAX_LINES, numbers_from=1
    )


def _cell(key: str, value: Any) -> str:
    if isinstance(value, Mapping) and not _is_estimate(value):
        return "; ".join(
            f"{escape(legible(_words(inner)))} {told(str(inner), entry)[0]}" for inner, entry in list(value.items())[:MAX_COLUMNS]
        )
    shown, between = told(key, value)
    return f'{shown} <span class="quiet">{between}</span>' if between else shown


def told(key: str, value: Any) -> tuple[str, str]:
    """A value and the bounds between which it lies, as HTML; the bounds are empty where it is exact."""
    if isinstance(value, Mapping) and _is_estimate(value):
        low, high = _number(key, value["low"], about=True), _number(key, value["high"], about=True)
        return _number(key, value["value"], about=True), f"{low} to {high}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_number(key, entry) for entry in value[:MAX_COLUMNS]), ""
    return _number(key, value), ""


def _number(key: str, value: Any, *, about: bool = False) -> str:
    """A number in the unit of its key; `about`: no more digits than a sample can tell."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float) or not math.isfinite(value):
        return text(value)
    if "bytes" in key:
        return size(round(value))
    if "seconds" in key:
        return seconds(float(value))
    if about and abs(value) >= 1000:
        return amount(round(value))
    return count(round(value)) if value == round(value) or abs(value) >= 1000 else f"{value:,.3g}"


def _has_unit(key: str) -> bool:
    return "bytes" in key or "seconds" in key


def _is_estimate(value: Mapping[str, Any]) -> bool:
    return {"value", "low", "high"} <= set(value)


def _words(key: object) -> str:
    return str(key).replace("_", " ")
