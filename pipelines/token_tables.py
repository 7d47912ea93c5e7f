"""Tokens by source and by language as a person reads them: the largest first, and what is left in one line.

Reads the manifest alone. Knows neither HTML nor Markdown: report and card lay the lines out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pipelines.legible import count, share

MAX_LINES: Final = 20
MAX_FOLDER_CHARS: Final = 50
HEADS: Final = ("documents", "tokens", "of all tokens", "tokens a document")


@dataclass(frozen=True, slots=True)
class TokenLine:
    """One name with its counts; `more`: how many names it stands for, where it is the line of what is left."""

    name: str
    documents: int
    tokens: int
    total: int
    more: int = 0

    @property
    def numbers(self) -> list[str]:
        """Its cells under `HEADS`."""
        mean = count(round(self.tokens / self.documents)) if self.documents else ""
        return [count(self.documents), count(self.tokens), share(self.tokens, self.total), mean]


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Counts by one kind of name.

    Attributes:
        kind: `source` or `language`.
        column: Which column names it; None: the folder of the input file.
        lines: The largest first, equal ones by name.
    """

    kind: str
    column: str | None
    lines: tuple[TokenLine, ...]

    @property
    def most(self) -> int:
        """Tokens of the largest line."""
        return max((line.tokens for line in self.lines), default=0)


def token_tables(manifest: Mapping[str, Any]) -> Iterator[TokenTable]:
    """The tables of a manifest; none where there are no token counts, or no document."""
    told = manifest.get("tokens")
    if told is None:
        return
    for kind in ("source", "language"):
        counts = told[f"by_{kind}"]
        if counts:
            column = told[f"{kind}_column"]
            lines = _lines(counts, told["total"])
            yield TokenTable(kind, column, tuple(lines if column is not None else map(_ending, lines)))


def _ending(line: TokenLine) -> TokenLine:
    """Of a long folder the end is shown, in which folders differ."""
    if len(line.name) <= MAX_FOLDER_CHARS:
        return line
    end = line.name[1 - MAX_FOLDER_CHARS :]
    return replace(line, name="…" + end[max(end.find("/"), 0) :])


def _lines(counts: Mapping[str, Mapping[str, int]], total: int) -> Iterator[TokenLine]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1]["tokens"], item[0]))
    # One that is left is told rather than counted.
    first = MAX_LINES if len(ordered) > MAX_LINES + 1 else len(ordered)
    yield from (TokenLine(name, told["documents"], told["tokens"], total) for name, told in ordered[:first])
    rest = [told for _, told in ordered[first:]]
    if rest:
        yield TokenLine("", sum(told["documents"] for told in rest), sum(told["tokens"] for told in rest), total, more=len(rest))
