"""The profile of documents: how long their texts are and in which languages, counted where documents are written and added up.

Owns the classes of lengths, how profiles are added to and taken from each other, and the bounds on languages: languages are told if there
are few enough of them in the whole run, so that what is told depends on the documents alone, never on how they were cut into units.
Knows nothing of units, records and stores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import LedgerImbalance
from pipelines.token_counts import MAX_COUNTED, MAX_TOLD, OTHER, named, usual_column

Amount = tuple[int, int]
"""Documents, and the UTF-8 bytes of their texts."""
NONE: Final[Amount] = (0, 0)


@dataclass(frozen=True, slots=True)
class ProfileColumns:
    """The columns that a profile is made of.

    Attributes:
        text: Whose bytes are counted.
        language: Whose values name a document's language; None: nothing names languages, and they are not counted.
    """

    text: str
    language: str | None

    @classmethod
    def of(cls, text: str, language: str | None, schema: pa.Schema, output: Collection[str]) -> Self | None:
        """The columns of an output; None where it has no text.

        Args:
            text: `input.text_column`.
            language: `output.language_column`, which is one of the documents' columns; None: the usual one.
            schema: Columns of the documents after the last operator.
            output: Those of them that are written.
        """
        if text not in output or not is_text(schema.field(text).type):
            return None
        return cls(text, usual_column(schema, "language", "lang") if language is None else language)


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a type are texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


@dataclass(slots=True)
class Profile:
    """Documents by the length of their texts and by language.

    Attributes:
        null_texts: Documents whose text is null; no class of lengths has them.
        lengths: By class: 0 has the empty texts, n those of 2**(n-1) bytes and more, below 2**n.
        languages: By name; None where none are counted.
        is_closed: Not all languages are told by name: `(other)` stands for all that have no name here.
    """

    columns: ProfileColumns
    null_texts: int = 0
    lengths: dict[int, Amount] = field(default_factory=dict)
    languages: dict[str, Amount] | None = None
    is_closed: bool = False

    @classmethod
    def empty(cls, columns: ProfileColumns) -> Self:
        """The profile of no document."""
        return cls(columns, languages=None if columns.language is None else {})

    @property
    def documents(self) -> int:
        """All documents."""
        return self.null_texts + sum(number for number, _ in self.lengths.values())

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of all texts."""
        return sum(size for _, size in self.lengths.values())

    def __add__(self, other: Profile) -> Profile:
        """The profile of the documents of both; without languages, where one has none."""
        found = self._copy()
        found.add(other)
        return found

    def __sub__(self, other: Profile) -> Profile:
        """The profile of the documents that are left when those of the other are taken out; without languages, where one has none.

        Raises:
            LedgerImbalance: The other has documents that are not in this one.
        """
        found = self._copy()
        found._add(other, -1)
        found._prove_positive()
        return found

    def add(self, other: Profile) -> None:
        """Add the documents of another profile."""
        self._add(other, 1)

    def _copy(self) -> Profile:
        return replace(self, lengths=dict(self.lengths), languages=None if self.languages is None else dict(self.languages))

    def _add(self, other: Profile, sign: int) -> None:
        self.null_texts += sign * other.null_texts
        for number, amount in other.lengths.items():
            self.lengths[number] = _sum(self.lengths.get(number, NONE), amount, sign)
        if self.languages is None or other.languages is None:
            self.languages, self.is_closed = None, False
            if self.columns.language is not None:
                self.columns = replace(self.columns, language=None)
            return
        if other.is_closed:
            self._close(other.languages)
        for name, amount in other.languages.items():
            place = OTHER if self.is_closed and name not in self.languages else name
            self.languages[place] = _sum(self.languages.get(place, NONE), amount, sign)
        self.bound()

    def bound(self) -> None:
        """Tell no language by name, if there are too many."""
        if self.languages is not None and len(self.languages) > MAX_COUNTED and not self.is_closed:
            self._close(())

    def _close(self, known: Collection[str]) -> None:
        """From now on only languages are told that are among the known ones, and were told until now."""
        assert self.languages is not None
        told = dict.fromkeys(known if not self.is_closed else (name for name in known if name in self.languages), NONE)
        for name, amount in self.languages.items():
            place = name if name in told else OTHER
            told[place] = _sum(told.get(place, NONE), amount, 1)
        self.languages, self.is_closed = told, True

    def _prove_positive(self) -> None:
        counted: list[tuple[object, Amount]] = [("null", (self.null_texts, 0))]
        counted += [(f"{_from(number)} bytes and more, below {1 << number}", amount) for number, amount in self.lengths.items()]
        counted += list((self.languages or {}).items())
        for what, (number, size) in counted:
            if number < 0 or size < 0:
                raise LedgerImbalance(f"the profile of documents: taking documents out leaves {number} ({size} bytes) of {what!r}")

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest under `documents`."""
        return {
            "text_column": self.columns.text,
            "language_column": self.columns.language,
            "text_bytes": self.text_bytes,
            "null_texts": self.null_texts,
            "lengths": [
                {"from_bytes": _from(number), "below_bytes": 1 << number, **_told(self.lengths[number])}
                for number in sorted(self.lengths)
                if self.lengths[number][0]
            ],
            "by_language": None if self.languages is None else self._by_language(self.languages),
        }

    def _by_language(self, languages: Mapping[str, Amount]) -> dict[str, dict[str, int]]:
        """The languages with most bytes, sorted by name, and one entry for all others."""
        names = [name for name, (number, _) in languages.items() if number and name != OTHER]
        names.sort(key=lambda name: (-languages[name][1], name))
        found = {name: languages[name] for name in names[:MAX_TOLD]}
        rest = languages.get(OTHER, NONE)
        for name in names[MAX_TOLD:]:
            rest = _sum(rest, languages[name], 1)
        if rest[0]:
            found[OTHER] = rest
        return {name: _told(found[name]) for name in sorted(found)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The profile that a manifest tells."""
        by_language = told["by_language"]
        return cls(
            ProfileColumns(told["text_column"], told["language_column"]),
            told["null_texts"],
            {int(entry["from_bytes"]).bit_length(): _amount(entry) for entry in told["lengths"]},
            None if by_language is None else {name: _amount(entry) for name, entry in by_language.items()},
            by_language is not None and OTHER in by_language,
        )


def _from(number: int) -> int:
    """The least bytes of a text in a class of lengths."""
    return 1 << number >> 1


def _sum(one: Amount, other: Amount, sign: int) -> Amount:
    return one[0] + sign * other[0], one[1] + sign * other[1]


def _told(amount: Amount) -> dict[str, int]:
    return {"documents": amount[0], "text_bytes": amount[1]}


def _amount(told: Mapping[str, int]) -> Amount:
    return told["documents"], told["text_bytes"]


# --- of documents


def profile_of(batch: pa.RecordBatch, text_column: str, language_column: str | None) -> Profile:
    """The profile of some documents.

    Args:
        batch: The documents.
        text_column: A column of texts.
        language_column: A column of strings, numbers or dates that names languages; None: languages are not counted.
    """
    found = Profile.empty(ProfileColumns(text_column, language_column))
    if batch.num_rows == 0:
        return found
    texts = batch.column(text_column)
    sizes = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    classes = np.frexp(sizes)[1]  # of an integer below 2**53 it is its number of bits
    found.null_texts = texts.null_count
    found.lengths = {number: amount for number, amount in enumerate(_amounts(classes, sizes, 1)) if amount[0]}
    if found.null_texts:
        found.lengths[0] = _sum(found.lengths[0], (found.null_texts, 0), -1)
    if language_column is not None:
        found.languages = _languages(batch.column(language_column), sizes)
        found.bound()
    return found


def _amounts(codes: Sequence[int], sizes: Sequence[int], least: int) -> Iterable[Amount]:
    """Documents and bytes by code. Sums of a batch's bytes are far below 2**53, so that they are exact as floats, which `bincount` adds."""
    numbers = np.bincount(codes, minlength=least)
    sums = np.bincount(codes, weights=sizes, minlength=least).astype(np.int64)
    return zip(numbers.tolist(), sums.tolist(), strict=True)


def _languages(values: pa.Array, sizes: Sequence[int]) -> dict[str, Amount]:
    encoded = pc.cast(values, pa.string()).dictionary_encode(null_encoding="encode")
    names = named(encoded.dictionary).to_pylist()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    # Two values that are one name: a null, and the text that stands for it.
    found: dict[str, Amount] = {}
    for name, amount in zip(names, _amounts(codes, sizes, len(names)), strict=True):
        found[name] = _sum(found.get(name, NONE), amount, 1)
    return found


def prove_profile(told: Mapping[str, Any], *, documents: int) -> None:
    """Check what is told of documents against how many the shards hold.

    Raises:
        LedgerImbalance: The units counted others, or languages do not add up to the texts.
    """
    by_length = sum(entry["documents"] for entry in told["lengths"]) + told["null_texts"]
    if by_length != documents:
        raise LedgerImbalance(f"the run: its units counted the lengths of {by_length} documents, the shards hold {documents}")
    if told["by_language"] is None:
        return
    for what, expected in (("documents", documents), ("text_bytes", told["text_bytes"])):
        found = sum(entry[what] for entry in told["by_language"].values())
        if found != expected:
            raise LedgerImbalance(f"the run: {what} by language add up to {found}, expected {expected}")
