"""Documents of a sample to read: some that are kept, and some for each reason for which they go, with the place that it is about.

Which ones is drawn by the seed, so that nobody reads the first ones only. Everything is bounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from operators.base import GroupOperator, Operator
from pipelines.dryrun_fates import Fates, Ints
from pipelines.dryrun_observer import DroppedText, Seen
from pipelines.dryrun_run import SampleRun
from pipelines.rows import CARRIED_PREFIX, DROPPED
from pipelines.study import Example, Excerpt

MAX_CHARS: Final = 600
"""Of a document's excerpt."""
MAX_REASONS: Final = 30
"""Of one operator; a careless one may have as many as documents."""


@dataclass(frozen=True)
class Origins:
    """Where the documents of a sample come from, one entry each."""

    ids: Sequence[str]
    uris: pa.Array
    row: Ints

    def uri(self, position: int) -> str:
        """Address of a document's file."""
        return str(self.uris[position].as_py())


def ranks(seed: int, doc_keys: Sequence[bytes]) -> Ints:
    """One number a document, drawn by the seed: the smallest are shown. They do not depend on what else is in the sample."""
    salt = seed.to_bytes(16, "little", signed=True)
    words = [hashlib.blake2b(key, digest_size=8, salt=salt).digest() for key in doc_keys]
    return (np.frombuffer(b"".join(words), "<u8") >> np.uint64(1)).astype(np.int64)


class Examples:
    """Chooses and makes the examples of one dry run."""

    def __init__(self, operators: Sequence[Operator], documents: pa.Table, text_column: str, ran: SampleRun, fates: Fates) -> None:
        self._operators = operators
        self._documents = documents
        self._text_column = text_column
        self._ran = ran
        self._fates = fates

    def made(self, origins: Origins, order: Ints, seen: Seen, most: int) -> Iterator[Example]:
        """At most so many documents that stay, then as many of each reason, in the pipeline's order."""
        by_rank = np.argsort(order, kind="stable")
        stayed = by_rank[self._fates.stayed[by_rank]][:most]
        for row in stayed.tolist():
            yield Example(None, None, None, self._document(origins, row, self._kept_text(row)))
        for position, operator in enumerate(self._operators):
            name = str(operator.name)
            for reason in list(self._fates.reasons(position))[:MAX_REASONS]:
                for dropped in self._dropped(operator, position, reason, by_rank, seen, most):
                    document = self._document(origins, dropped.row, dropped.text, dropped.num_chars)
                    yield Example(name, reason, dropped.detail, document)
            for error in list(self._fates.errors(position))[:MAX_REASONS]:
                for row in self._rows(position, error, by_rank, most, is_quarantined=True):
                    text = self._text(self._documents, self._text_column, row)
                    yield Example(name, error, self._message(row), self._document(origins, row, text))

    def _dropped(self, operator: Operator, position: int, reason: str, by_rank: Ints, seen: Seen, most: int) -> Sequence[DroppedText]:
        """Documents as the operator was given them."""
        name = str(operator.name)
        if not isinstance(operator, GroupOperator) and name in seen.operators:
            return [dropped for _, dropped in seen.operators[name].dropped.get(reason, ())]
        rows = self._rows(position, reason, by_rank, most)
        texts = [self._text(self._ran.dropped, self._dropped_column, int(self._fates.place[row])) for row in rows]
        return [DroppedText(row, reason, None, text, len(text), None) for row, text in zip(rows, texts, strict=True)]

    def _rows(self, position: int, why: str, by_rank: Ints, most: int, *, is_quarantined: bool = False) -> list[int]:
        fates = self._fates
        chosen = (fates.left == position) & (fates.why == why) & (fates.is_quarantined == is_quarantined)
        return [int(row) for row in by_rank[chosen[by_rank]][:most]]

    def _document(self, origins: Origins, row: int, text: str, num_chars: int | None = None) -> Excerpt:
        return Excerpt(
            id=origins.ids[row],
            uri=origins.uri(row),
            row=int(origins.row[row]),
            text=text[:MAX_CHARS],
            num_chars=len(text) if num_chars is None else num_chars,
        )

    # --- texts

    def _kept_text(self, row: int) -> str:
        """As it is in the output; where the output has no text, as it came."""
        if self._text_column in self._ran.output.column_names:
            return self._text(self._ran.output, self._text_column, int(self._fates.place[row]))
        return self._text(self._documents, self._text_column, row)

    @property
    def _dropped_column(self) -> str:
        """What the text is called in the table of dropped documents."""
        name, names = self._text_column, [*DROPPED.names, "detail"]
        while name in names and CARRIED_PREFIX + name in self._ran.dropped.column_names:
            name = CARRIED_PREFIX + name
        return name

    def _text(self, table: pa.Table, column: str, row: int) -> str:
        """A text, with a mark where it is no UTF-8; empty where there is none."""
        if row < 0 or column not in table.column_names:
            return ""
        value = table.column(column)[row]
        return value.as_buffer().to_pybytes().decode("utf-8", "replace") if value.is_valid and hasattr(value, "as_buffer") else ""

    def _message(self, row: int) -> str:
        table = self._ran.quarantine
        at = np.flatnonzero(table["row"].to_numpy() == row)
        return str(table["message"][int(at[0])].as_py()) if len(at) else ""
