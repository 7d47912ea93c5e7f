"""Cut paragraphs out of documents which other documents have too. Owns what a paragraph is; the rest is passages.py."""

from __future__ import annotations

from typing import ClassVar, Literal

from operators.passages import PassageOperator


class ParagraphDedup(PassageOperator):
    """Keep one of each set of equal paragraphs, and cut the others out of their documents.

    A paragraph is a run of lines that are not blank, as long as it goes. Two are equal if the 128-bit hashes of their normalised contents
    are; shorter ones than `min_chars` stay. A paragraph is cut out with the blank lines behind it; where the last ones of a document go,
    what is behind the last of all stands behind the last that stays. `within` and `per_domain` say among which documents paragraphs are
    counted.

    Drop reason: `duplicate_paragraphs`, of documents that were cut and have fewer than `min_remaining_chars` characters left.
    """

    type: Literal["paragraph_dedup"] = "paragraph_dedup"

    reason: ClassVar[str] = "duplicate_paragraphs"
    kind: ClassVar[Literal["lines", "paragraphs"]] = "paragraphs"
