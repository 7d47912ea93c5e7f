"""Documents of a sample to read: some that are kept, and some for each reason for which they go, with the place that it is about.

Which ones is drawn by the seed, so that nobody reads the first ones only. Everything is bounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from operators.base import Assets, GroupOperator, Operator
from operators.places import FindPlaces, explanation, open_places
from pipelines.dryrun_fates import Ints, Mask
from pipelines.dryrun_observer import DroppedText, Seen
from pipelines.dryrun_signals import Signals
from pipelines.dryrun_texts import Origins, Texts
from pipelines.excerpts import excerpt, to_marks
from pipelines.study import Example, Excerpt, Mark

MAX_REASONS: Final = 30
"""Of one operator; a careless one may have as many as documents."""


def ranks(seed: int, doc_keys: Sequence[bytes]) -> Ints:
    """One number a document, drawn by the seed: the smallest are shown. They do not depend on what else is in the sample."""
    salt = seed.to_bytes(16, "little", signed=True)
    words = [hashlib.blake2b(key, digest_size=8, salt=salt).digest() for key in doc_keys]
    return (np.frombuffer(b"".join(words), "<u8") >> np.uint64(1)).astype(np.int64)


class Examples:
    """Chooses and makes the examples of one dry run.

    Args:
        operators: In the pipeline's order.
        texts: Of the sample.
        origins: Of its documents.
        order: Numbers that say which documents come first; those that stay, and those of each reason.
        marking: Makes the excerpts.
        most: Documents of a reason.
    """

    def __init__(self, operators: Sequence[Operator], texts: Texts, origins: Origins, order: Ints, marking: Marking, most: int) -> None:
        self._operators = operators
        self._texts = texts
        self._fates = texts.fates
        self._origins = origins
        self._by_rank = np.argsort(order, kind="stable")
        self._marking = marking
        self._most = most

    def made(self, seen: Seen) -> Iterator[Example]:
        """Documents that stay, then some of each reason, in the pipeline's order."""
        for row in self._first(self._fates.stayed):
            yield Example(None, None, None, self._marking.kept(self._origins, row, self._texts.last(row)))
        for position, operator in enumerate(self._operators):
            for reason in list(self._fates.reasons(position))[:MAX_REASONS]:
                for dropped in self._dropped(operator, position, reason, seen):
                    yield self._marking.dropped(self._origins, operator, dropped)
            for error in list(self._fates.errors(position))[:MAX_REASONS]:
                for row in self._rows(position, error, is_quarantined=True):
                    document = self._marking.plain(self._origins, row, self._texts.came(row))
                    yield Example(str(operator.name), error, self._message(row), document)

    def _dropped(self, operator: Operator, position: int, reason: str, seen: Seen) -> Sequence[DroppedText]:
        """Documents as the operator was given them; of one that compares documents, as they were dropped."""
        found = seen.operators.get(str(operator.name))
        if not isinstance(operator, GroupOperator) and found is not None:
            return [dropped for _, dropped in found.dropped.get(reason, ())]
        texts = [(row, self._texts.last(row)) for row in self._rows(position, reason)]
        return [DroppedText(row, reason, None, text, len(text), None) for row, text in texts]

    def _rows(self, position: int, why: str, *, is_quarantined: bool = False) -> list[int]:
        fates = self._fates
        return self._first((fates.left == position) & (fates.why == why) & (fates.is_quarantined == is_quarantined))

    def _first(self, mask: Mask) -> list[int]:
        return [int(row) for row in self._by_rank[mask[self._by_rank]][: self._most]]

    def _message(self, row: int) -> str:
        table = self._texts.ran.quarantine
        at = np.flatnonzero(table["row"].to_numpy() == row)
        return str(table["message"][int(at[0])].as_py()) if len(at) else ""


class Marking:
    """Makes excerpts of documents, with the place that they are about and the signals that were measured of them.

    Args:
        operators: In the pipeline's order.
        assets: As the operators are opened with.
        signals: Of the sample.
    """

    def __init__(self, operators: Sequence[Operator], assets: Assets, signals: Signals) -> None:
        self._names = [str(operator.name) for operator in operators]
        self._assets = assets
        self._signals = signals
        self._finds: dict[str, FindPlaces] = {}

    def kept(self, origins: Origins, row: int, text: str) -> Excerpt:
        """A document that stays, with all of its signals."""
        return self._excerpt(origins, row, text, len(text), (), self._names)

    def plain(self, origins: Origins, row: int, text: str) -> Excerpt:
        """A document without anything that is told of it."""
        return self._excerpt(origins, row, text, len(text), (), ())

    def dropped(self, origins: Origins, operator: Operator, dropped: DroppedText) -> Example:
        """A document that was dropped: why, where in it, and its signals up to there."""
        name = str(operator.name)
        if name not in self._finds:
            self._finds[name] = open_places(operator, self._assets)
        places = to_marks(self._finds[name](dropped.reason, dropped.detail, dropped.text, dropped.language))
        names = self._names[: self._names.index(name) + 1]
        document = self._excerpt(origins, dropped.row, dropped.text, dropped.num_chars, places, names)
        why = explanation(operator, dropped.reason, self._signals.of_operator(dropped.row, name), dropped.detail)
        return Example(name, dropped.reason, why, document)

    def _excerpt(self, origins: Origins, row: int, text: str, num_chars: int, places: Sequence[Mark], names: Sequence[str]) -> Excerpt:
        first_char, shown, marks = excerpt(text, places)
        return Excerpt(
            id=origins.ids[row],
            uri=origins.uri(row),
            row=int(origins.row[row]),
            text=shown,
            num_chars=num_chars,
            first_char=first_char,
            marks=marks,
            signals=self._signals.of(row, names),
        )
