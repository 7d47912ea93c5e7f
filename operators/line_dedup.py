r"""Cut lines out of documents which other documents have too. Owns what a line is; the rest is passages.py."""

from __future__ import annotations

from typing import ClassVar, Literal

from operators.passages import PassageOperator


class LineDedup(PassageOperator):
    r"""Keep one of each set of equal lines, and cut the others out of their documents.

    Lines end at line feeds. Two are equal if the 128-bit hashes of their normalised contents are; shorter ones than `min_chars`, and blank
    ones, stay. A line is cut out with its line feed, everything else stays as it is, blank lines too. A document whose last lines go ends
    where its last remaining one does. `within` and `per_domain` say among which documents lines are counted.

    Drop reason: `duplicate_lines`, of documents that were cut and have fewer than `min_remaining_chars` characters left.
    """

    type: Literal["line_dedup"] = "line_dedup"

    reason: ClassVar[str] = "duplicate_lines"
    kind: ClassVar[Literal["lines", "paragraphs"]] = "lines"
