"""The funnel of a run: what each step got, dropped and gave, as rows for every view of it, and as the table that ends `run`.

Reads the manifest alone (DESIGN 10). The manifest counts quarantined rows by error for the whole run; where they were is what is missing
between a step's rows in, rows out and drops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, Literal

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from pipelines.growth_text import rows_before
from pipelines.guards import sentences
from pipelines.legible import amount, count, counted, legible, seconds, share, size

READING: Final = "reading"
TOTAL: Final = "total"
TOP_REASONS: Final = 5
NAME_CHARS: Final = 28
MAX_BAR: Final = 24
MAX_WARNINGS: Final = 20
MAX_WARNING_CHARS: Final = 400
PLAIN_WIDTH: Final = 120
"""Into a file or pipe: as wide as most logs are read, whatever the size of a terminal that nobody looks at."""
HEADERS: Final = ("step", "rows in", "removed", "rows out", "kept", "CPU time")


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """One step of the funnel.

    Attributes:
        step: `read` comes first, `total` last.
        name: The operator's name; `reading` and `total` for these.
        type: The operator's type; empty for the others.
        rows_in: Rows that came to it.
        rows_out: Rows that it gave on.
        dropped: Reason and rows, most first, then by name. In the total: by operator, in the pipeline's order.
        quarantined: Rows that it put into quarantine.
        errors: Error and rows, most first; empty where the manifest does not say which errors were this step's.
        seconds: CPU seconds over all workers; None where they are not measured.
        cut: What an operator that edits texts took out: `passages`, their `chars`, and the `documents` that it changed.
    """

    step: Literal["read", "operator", "total"]
    name: str
    type: str
    rows_in: int
    rows_out: int
    dropped: tuple[tuple[str, int], ...]
    quarantined: int
    errors: tuple[tuple[str, int], ...]
    seconds: float | None
    cut: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_dropped(self) -> int:
        """Rows dropped for any reason."""
        return sum(number for _, number in self.dropped)

    @property
    def keep_rate(self) -> float | None:
        """Rows out of rows in; None if nothing came in."""
        return self.rows_out / self.rows_in if self.rows_in else None


def by_count(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Counts, the largest first, equal ones by name."""
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def funnel_rows(manifest: Mapping[str, Any]) -> list[FunnelRow]:
    """The steps of a run in order: reading, each operator, the total."""
    ledger = manifest["ledger"]
    operators = manifest["operators"]
    first = _rows_read(manifest)
    rows = [FunnelRow("read", READING, "", ledger["rows_in"], first, (), ledger["rows_in"] - first, (), None)]
    rows += [_operator(operator, ledger["dropped"].get(operator["name"], {})) for operator in operators]
    # One step alone has quarantined rows: then all errors are its own.
    guilty = [position for position, row in enumerate(rows) if row.quarantined]
    errors = by_count(ledger["quarantined"])
    if len(guilty) == 1:
        rows[guilty[0]] = replace(rows[guilty[0]], errors=errors)
    return [*rows, _total(ledger, rows, errors)]


def _rows_read(manifest: Mapping[str, Any]) -> int:
    """Rows that came to the first operators: of versions with other operators, each to its own."""
    operators, seen, rows = manifest["operators"], set[str](), 0
    for chain in _pipelines(manifest):
        rows += chain["rows_in"] if not seen & set(chain["versions"]) else 0
        seen |= set(chain["versions"])
    return rows if seen else int(operators[0]["rows_in"] if operators else manifest["ledger"]["rows_out"])


def _pipelines(manifest: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Through which operators the rows of versions went that had not all the same, of which `verify` says whether they add up."""
    found: Sequence[Mapping[str, Any]] = manifest.get("takedown", {}).get("pipelines", ())
    return found


def _operator(operator: Mapping[str, Any], dropped: Mapping[str, int]) -> FunnelRow:
    return FunnelRow(
        step="operator",
        name=operator["name"],
        type=operator["type"],
        rows_in=operator["rows_in"],
        rows_out=operator["rows_out"],
        dropped=by_count(dropped),
        quarantined=operator["rows_in"] - operator["rows_out"] - sum(dropped.values()),
        errors=(),
        seconds=operator["seconds"],
        cut=operator.get("removed", {}),
    )


def _total(ledger: Mapping[str, Any], rows: Sequence[FunnelRow], errors: tuple[tuple[str, int], ...]) -> FunnelRow:
    dropped = tuple((row.name, row.num_dropped) for row in rows if row.num_dropped)
    used = [row.seconds for row in rows if row.seconds is not None]
    quarantined = sum(ledger["quarantined"].values())
    return FunnelRow("total", TOTAL, "", ledger["rows_in"], ledger["rows_out"], dropped, quarantined, errors, sum(used) if used else None)


def balances(manifest: Mapping[str, Any]) -> bool:
    """Whether the manifest's own numbers add up: the ledger, each operator to the next, and the rows of the shards."""
    ledger = manifest["ledger"]
    rows = funnel_rows(manifest)
    gone = sum(sum(reasons.values()) for reasons in ledger["dropped"].values()) + sum(ledger["quarantined"].values())
    steps = rows[:-1]
    joined = bool(_pipelines(manifest)) or all(before.rows_out == after.rows_in for before, after in pairwise(steps))
    return (
        ledger["rows_in"] == ledger["rows_out"] + gone
        and joined
        and steps[-1].rows_out == ledger["rows_out"] == manifest["output"]["rows"] - rows_before(manifest)
        and all(row.quarantined >= 0 for row in steps)
        and sum(row.quarantined for row in steps) == sum(ledger["quarantined"].values())
    )


def few(counts: Sequence[tuple[str, int]], most: int = TOP_REASONS) -> str:
    """The first of some counts on one line: `too_short 12, language 3, +4 more (9)`."""
    words = [f"{legible(name, 60)} {count(number)}" for name, number in counts[:most]]
    rest = counts[most:]
    if rest:
        words.append(f"+{len(rest)} more ({count(sum(number for _, number in rest))})")
    return ", ".join(words)


def cut_text(cut: Mapping[str, int]) -> str:
    """What was cut out of texts: `cut 83,401 passages (8.2 M characters) out of 5,065 documents`."""
    chars = f"{amount(cut['chars'])} character{'' if cut['chars'] == 1 else 's'}"
    return f"cut {counted(cut['passages'], 'passage')} ({chars}) out of {counted(cut['documents'], 'document')}"


def warning_texts(manifest: Mapping[str, Any]) -> list[str]:
    """What the guards of a run warned of, as sentences; their names and ids are strangers' and may hold anything."""
    found = sentences(manifest.get("warnings", ()))
    more = [f"{count(len(found) - MAX_WARNINGS)} more: see `warnings` in the manifest"] if len(found) > MAX_WARNINGS else []
    return [legible(text, MAX_WARNING_CHARS) for text in found[:MAX_WARNINGS]] + more


def operator_warning_texts(manifest: Mapping[str, Any]) -> list[str]:
    """What operators told before the run, as sentences that begin with their names; bounded, and legible whatever a custom one says."""
    found = [f"{operator['name']}: {text}" for operator in manifest["operators"] for text in operator.get("warnings", ())]
    more = [f"{count(len(found) - MAX_WARNINGS)} more: see `operators` in the manifest"] if len(found) > MAX_WARNINGS else []
    return [legible(text, MAX_WARNING_CHARS) for text in found[:MAX_WARNINGS]] + more


# --- the table at the end of a run


def render_funnel(manifest: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the funnel: on a terminal with bars and to its width, elsewhere as plain text.

    Args:
        manifest: Of the finished version.
        console: Where to; None is standard output.
    """
    target = console or Console()
    width = target.width if target.is_terminal else PLAIN_WIDTH
    for line in funnel_lines(manifest, width, bars=target.is_terminal):
        # Lines are cut to the width already; rich must neither fold nor read markup in them.
        target.print(line if target.is_terminal else line.plain.rstrip(), soft_wrap=True, highlight=False, markup=False)


def funnel_lines(manifest: Mapping[str, Any], width: int, *, bars: bool) -> list[Text]:
    """The funnel as lines of at most `width` characters, if that is at least 60."""
    rows = funnel_rows(manifest)
    cells = [HEADERS, *(_cells(row) for row in rows)]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(HEADERS))]
    # Numbers are never cut; the names give way.
    widths[0] = max(8, min(widths[0], width - sum(widths[1:]) - 2 * (len(widths) - 1)))
    room = min(MAX_BAR, width - sum(widths) - 2 * len(widths)) if bars else 0
    lines = [Text(_joined(cells[0], widths), "bold")]
    for row, texts in zip(rows, cells[1:], strict=True):
        line = Text(_joined(texts, widths), "bold" if row.step == "total" else "")
        if row.step != "total" and room >= 8 and rows[0].rows_in:
            line.append("  " + _bar(row.rows_out / rows[0].rows_in, room), "cyan")
        lines.append(line)
        # The total says which errors there were, unless a single step answers for all of them.
        if row.step != "total" or not any(step.errors for step in rows[:-1]):
            lines += _details(row, width)
    for warning in (*operator_warning_texts(manifest), *warning_texts(manifest)):
        lines += [Text(text, "yellow") for text in _folded(f"warning: {warning}", width, "")]
    return [*lines, *(Text(text, "dim") for text in _folded(_closing(manifest), width, ""))]


def _cells(row: FunnelRow) -> tuple[str, ...]:
    gone = row.num_dropped + row.quarantined
    used = "" if row.seconds is None else seconds(row.seconds)
    return (legible(row.name, NAME_CHARS), count(row.rows_in), count(gone), count(row.rows_out), share(row.rows_out, row.rows_in), used)


def _joined(texts: Sequence[str], widths: Sequence[int]) -> str:
    name = texts[0] if cell_len(texts[0]) <= widths[0] else set_cell_size(texts[0], widths[0] - 1).rstrip() + "…"
    return "  ".join([set_cell_size(name, widths[0]), *(text.rjust(width) for text, width in zip(texts[1:], widths[1:], strict=True))])


def _details(row: FunnelRow, width: int) -> Iterator[Text]:
    if row.step != "total" and row.dropped:
        yield from (Text(text, "dim") for text in _folded(few(row.dropped), width, "  "))
    if row.cut:
        yield Text(f"  {cut_text(row.cut)}", "dim")
    if row.quarantined:
        errors = f": {few(row.errors)}" if row.errors else ""
        yield from (Text(text, "yellow") for text in _folded(f"{count(row.quarantined)} quarantined{errors}", width, "  "))


def _closing(manifest: Mapping[str, Any]) -> str:
    output, source = manifest["output"], manifest["input"]
    words = [
        f"{legible(manifest['name'], 60)} {legible(manifest['version'], 20)}: {counted(output['rows'], 'row')}",
        counted(output["shards"], "shard"),
        size(output["bytes"]),
    ]
    if output["tokens"] is not None:
        words.insert(1, counted(output["tokens"], "token"))
    new = f"{counted(manifest['ledger']['rows_out'], 'new row')} " if rows_before(manifest) else ""
    text = ", ".join(words) + f"; {new}from {counted(source['files'], 'file')}, {size(source['bytes'])}"
    return text + (f"; {counted(source['unreadable_files'], 'file')} could not be read" if source["unreadable_files"] else "")


def _folded(text: str, width: int, indent: str) -> Iterator[str]:
    """Lines broken between the items of a list, where that can be."""
    line = ""
    for item in text.split(", "):
        if line and len(indent) + len(line) + 2 + len(item) > width:
            yield f"{indent}{line},"
            line = item
        else:
            line = f"{line}, {item}" if line else item
    yield f"{indent}{line}"


def _bar(part: float, width: int) -> str:
    """A bar in eighths of a character; something that is not nothing shows."""
    eighths = min(max(round(part * width * 8), 1 if part > 0 else 0), width * 8)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]
