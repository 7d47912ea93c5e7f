"""Operators that cut passages out of documents which others have too. Owns their settings, their keys and which occurrences go.

A passage's key is the hash of its content within its scope. Keys are counted by documents, in one go where all rows of some keys are at
hand, else by folding them piece by piece (`fold`, `merged`) and judging them afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.base import Assets, GroupOperator, KeysFn, OperatorError, Verdicts, column_of, text_of
from operators.exact_dedup import Normalization, normalized
from operators.url_dedup import url_hosts, urls_of

if TYPE_CHECKING:
    from operators.kernels.passages import Passages

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
U64 = npt.NDArray[np.uint64]

KEYS = pa.schema([("index", pa.int64()), ("passage", pa.int32()), ("key_hi", pa.uint64()), ("key_lo", pa.uint64())])
"""What a passage operator's function gives: a row for each passage that may go."""


@dataclass(frozen=True, slots=True)
class PassageRows:
    """Occurrences of passages, sorted by key, then `file`, `row`, `passage`: the place of each one in the inventory's order."""

    key_hi: U64
    key_lo: U64
    file: Ints
    row: Ints
    passage: Numbers

    def starts(self) -> Ints:
        """Positions of the first rows of the keys."""
        return _starts(self.key_hi, self.key_lo)


@dataclass(frozen=True, slots=True)
class PassageCounts:
    """How many documents have each of some keys, sorted by key, each once; where it occurs first, and in which document last."""

    key_hi: U64
    key_lo: U64
    documents: Ints
    first_file: Ints
    first_row: Ints
    first_passage: Numbers
    last_file: Ints
    last_row: Ints

    def frequent(self, min_documents: int) -> PassageCounts:
        """Only the keys that at least so many documents have."""
        chosen = self.documents >= min_documents
        return PassageCounts(*(getattr(self, name)[chosen] for name in self.__slots__))


def fold(rows: PassageRows) -> PassageCounts:
    """Count the documents of each key; a document that has a passage twice counts once."""
    starts = rows.starts()
    is_other = np.ones(len(rows.key_hi), np.bool_)
    is_other[1:] = (rows.file[1:] != rows.file[:-1]) | (rows.row[1:] != rows.row[:-1])
    is_other[starts] = True
    ends = np.r_[starts[1:], len(rows.key_hi)][: len(starts)] - 1
    return PassageCounts(
        rows.key_hi[starts],
        rows.key_lo[starts],
        _sums(is_other, starts),
        rows.file[starts],
        rows.row[starts],
        rows.passage[starts],
        rows.file[ends],
        rows.row[ends],
    )


def merged(before: PassageCounts, after: PassageCounts) -> PassageCounts:
    """The counts of both; of each key, the places of `after` must not come before those of `before`.

    A document whose passages lie on both sides counts once.
    """
    both = {name: np.concatenate([getattr(before, name), getattr(after, name)]) for name in PassageCounts.__slots__}
    order = np.lexsort((both["key_lo"], both["key_hi"]))
    both = {name: values[order] for name, values in both.items()}
    starts = _starts(both["key_hi"], both["key_lo"])
    ends = np.r_[starts[1:], len(order)][: len(starts)] - 1
    is_pair = ends > starts
    is_split = (both["last_file"][starts] == both["first_file"][ends]) & (both["last_row"][starts] == both["first_row"][ends]) & is_pair
    return PassageCounts(
        both["key_hi"][starts],
        both["key_lo"][starts],
        _sums(both["documents"], starts) - is_split,
        *(both[name][starts] for name in ("first_file", "first_row", "first_passage")),
        *(both[name][ends] for name in ("last_file", "last_row")),
    )


@dataclass(frozen=True, slots=True)
class Edited:
    """Texts without some of their passages.

    Attributes:
        texts: The texts; one of which nothing was cut has the same bytes as before.
        chars_removed: Characters (code points) that went from each.
        emptied: Texts that were cut and have fewer than `min_remaining_chars` characters left.
    """

    texts: pa.LargeStringArray
    chars_removed: Ints
    emptied: Bools


class PassageOperator(GroupOperator):
    """Settings of every operator that cuts out passages, and what it does with them.

    It gives a row a passage instead of a row a document, and decides about passages: the engine asks `decide_passages`, or folds and
    judges, then has the texts edited.
    """

    kind: ClassVar[Literal["lines", "paragraphs"]]
    may_edit_text: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("idna",)
    sources: ClassVar[str] = "CCNet (arXiv:1911.00359); Llama 3 (arXiv:2407.21783); MurmurHash3 x64_128; Unicode NFC and simple lower case"

    within: list[str] = Field(default=[], description="Count a passage only among documents with equal values in these columns.")
    per_domain: bool = Field(
        default=False,
        description="Count a passage only among documents of the same host, by `url_column`: finds what a site has on each of its pages. "
        "The host is in lower case and without `www.`; a document without one is left alone.",
    )
    url_column: str = Field(default="url", min_length=1, description="Column that holds the documents' URLs, for `per_domain`.")
    normalize: Normalization = Field(
        default="whitespace",
        description="What is ignored in a passage, beside white space at its ends: `none` nothing; `whitespace` Unicode form (NFC) and the "
        "amount and kind of white space; `lowercase` also case; `words` also everything but letters, marks and digits (CCNet "
        "ignores case, punctuation and accents, and which digits there are).",
    )
    min_chars: int = Field(
        default=30,
        ge=1,
        description="Shorter passages are never cut out (characters, white space at the ends not counted): headings, braces and the like "
        "repeat by chance. FineWeb's filters call a line of up to 30 characters short; CCNet takes lines of any length: 1.",
    )
    min_documents: int = Field(
        default=2,
        ge=1,
        description="A passage is cut out only if at least so many documents of its scope have it (CCNet: 2; Llama 3: 7 in each 30 million "
        "documents). A document that has it twice counts once.",
    )
    keep: Literal["first", "none"] = Field(
        default="first",
        description="`first`: the first occurrence in the inventory's order stays; `none`: all go, as is right for boilerplate.",
    )
    min_remaining_chars: int = Field(
        default=1,
        ge=0,
        description="A document that was cut is dropped if fewer characters are left, white space at the ends not counted.",
    )

    @model_validator(mode="after")
    def _something_can_stay(self) -> Self:
        if self.keep == "none" and self.min_documents == 1:
            raise ValueError("keep is 'none' and min_documents is 1; every passage would go: raise min_documents, or keep 'first'")
        if repeated := sorted({name for name in self.within if self.within.count(name) > 1}):
            raise ValueError(f"within names {', '.join(repeated)} more than once; name each column once")
        return self

    def open(self, assets: Assets) -> KeysFn:
        """Return the function from a batch to its passages (`KEYS`): those that are long enough, in order."""

        def keys(batch: pa.RecordBatch) -> pa.RecordBatch:
            text = text_of(batch, assets.text_column)
            scope, in_scope = self._scope(batch)
            valid = pc.is_valid(text).to_numpy(zero_copy_only=False) & in_scope
            documents, numbers, first, second = self._passages(text, valid)
            if scope is not None:
                from operators.kernels.passages import scoped

                first, second = scoped(documents, *scope, first, second)
            return pa.RecordBatch.from_arrays([pa.array(values) for values in (documents, numbers, first, second)], schema=KEYS)

        return keys

    def decide(self, rows: pa.RecordBatch) -> Verdicts:  # noqa: ARG002  the contract's signature
        """Refuse: there are verdicts on passages only.

        Raises:
            OperatorError: Always.
        """
        raise OperatorError(f"{self.type}: was asked to decide about documents; it decides about passages: call decide_passages")

    def decide_passages(self, rows: PassageRows) -> Ints:
        """Positions of the occurrences that go, in ascending order; every occurrence of the keys in `rows` is there."""
        return self.judge(rows, fold(rows))

    def judge(self, rows: PassageRows, counts: PassageCounts) -> Ints:
        """Positions of the occurrences that go, in ascending order, by counts that were folded; a key that is not counted stays."""
        starts = rows.starts()
        place, known = _find(counts, rows.key_hi[starts], rows.key_lo[starts])
        goes = np.zeros(len(starts), np.bool_)
        goes[known] = counts.documents[place[known]] >= self.min_documents
        sizes = np.diff(np.r_[starts, len(rows.key_hi)])
        removed = np.repeat(goes, sizes)
        if self.keep == "first":
            of_row = np.repeat(place, sizes)[removed]
            is_first = (
                (rows.file[removed] == counts.first_file[of_row])
                & (rows.row[removed] == counts.first_row[of_row])
                & (rows.passage[removed] == counts.first_passage[of_row])
            )
            removed[removed] = ~is_first
        return np.flatnonzero(removed).astype(np.int64)

    def edit(self, texts: pa.LargeStringArray, documents: Ints, passages: Numbers) -> Edited:
        """Cut passages out of texts.

        Args:
            texts: The texts that the keys were made of.
            documents: Positions of the passages' texts, in ascending order.
            passages: Their numbers in these, in ascending order in each text, none twice.

        Raises:
            OperatorError: A text has no passage of that number: it is not the one that the keys were made of.
        """
        from operators.kernels.buffers import text_array, text_buffers
        from operators.kernels.passages import KINDS, cut_passages

        if len(documents) == 0:
            return Edited(texts, np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_))
        cut = cut_passages(*text_buffers(texts), KINDS[self.kind], documents.astype(np.int64), passages.astype(np.int32))
        if cut.num_passages != len(passages):
            raise OperatorError(
                f"{self.type}: {len(passages)} passages are to be cut out of {len(texts)} texts, which have {cut.num_passages} of them; "
                "expected the texts that the keys were made of: the input or an operator before this one does not give the same text twice"
            )
        return Edited(text_array(cut.offsets, cut.data, texts), cut.removed, (cut.left >= 0) & (cut.left < self.min_remaining_chars))

    def _scope(self, batch: pa.RecordBatch) -> tuple[tuple[U64, U64] | None, Bools]:
        """The hash of each document's scope, None if there is only one scope, and which documents are in any."""
        columns = [column_of(batch, name) for name in self.within]
        in_scope = np.ones(batch.num_rows, np.bool_)
        if self.per_domain:
            hosts = url_hosts(urls_of(batch, self.url_column, self.type))
            in_scope = pc.is_valid(hosts).to_numpy(zero_copy_only=False)
            columns.append(hosts)
        if not columns:
            return None, in_scope
        from operators.kernels.hashing import UnhashableError, combine

        try:
            return combine(columns), in_scope
        except UnhashableError as error:
            raise OperatorError(f"{self.type}: {error} (within: {', '.join(self.within)}); name columns of plain values instead") from None

    def _passages(self, text: pa.LargeStringArray, valid: Bools) -> tuple[Ints, Numbers, U64, U64]:
        """Document, number and hash of each passage that is long enough."""
        from operators.kernels.buffers import text_buffers
        from operators.kernels.passages import AS_IS, KINDS, MAPPED, SPACES, byte_map, find_passages

        how = {"none": AS_IS, "whitespace": SPACES}.get(self.normalize, MAPPED)
        bytes_map = byte_map(lowercase=self.normalize in ("lowercase", "words"), words=self.normalize == "words")
        offsets, data = text_buffers(text)
        found = find_passages(offsets, data, valid, KINDS[self.kind], how, self.min_chars, bytes_map)
        if not found.foreign.any():
            return found.documents, found.numbers, found.first, found.second
        stays = self._hash_foreign(text, found)
        return found.documents[stays], found.numbers[stays], found.first[stays], found.second[stays]

    def _hash_foreign(self, text: pa.LargeStringArray, found: Passages) -> Bools:
        """Write the hashes of passages that are not all ASCII; returns which passages have anything to compare."""
        from operators.kernels.buffers import text_buffers
        from operators.kernels.hashing import hash_bytes
        from operators.kernels.passages import copied

        rows = np.flatnonzero(found.foreign)
        offsets, data = copied(text_buffers(text)[1], found.begins[rows], found.ends[rows])
        passages = pa.LargeStringArray.from_buffers(len(rows), pa.py_buffer(offsets), pa.py_buffer(data))
        passages = _spaced(passages) if self.normalize == "whitespace" else normalized(passages, self.normalize)
        found.first[rows], found.second[rows] = hash_bytes(passages)
        stays = np.ones(len(found.documents), np.bool_)
        stays[rows] = pc.not_equal(passages, "").to_numpy(zero_copy_only=False)
        return stays


def _spaced(passages: pa.LargeStringArray) -> pa.LargeStringArray:
    """`normalized(passages, "whitespace")`, where the library composes only what is not found composed already."""
    from operators.kernels.buffers import text_buffers
    from operators.kernels.composed import composition, find_plain
    from operators.kernels.spaces import collapse_spaces
    from operators.kernels.unicode import tables

    plain = np.zeros(len(passages), np.bool_)
    find_plain(*text_buffers(passages), tables(), composition(), plain)
    found = collapse_spaces(passages)
    if plain.all():
        return found
    others = pa.array(~plain)
    return pc.replace_with_mask(found, others, normalized(passages.filter(others), "whitespace"))


def _starts(key_hi: U64, key_lo: U64) -> Ints:
    """Positions at which another key begins."""
    is_new = np.ones(len(key_hi), np.bool_)
    is_new[1:] = (key_hi[1:] != key_hi[:-1]) | (key_lo[1:] != key_lo[:-1])
    return np.flatnonzero(is_new).astype(np.int64)


def _sums(values: npt.NDArray[np.int64] | Bools, starts: Ints) -> Ints:
    """The sum of the values of each group."""
    if len(starts) == 0:
        return np.zeros(0, np.int64)
    return np.add.reduceat(values.astype(np.int64), starts)


def _find(counts: PassageCounts, key_hi: U64, key_lo: U64) -> tuple[Ints, Bools]:
    """Where each key stands in the counts, and whether it does. Several keys with one upper half are rare: they are 64 bits of a hash."""
    num_keys = len(counts.key_hi)
    place = np.searchsorted(counts.key_hi, key_hi).astype(np.int64)
    if num_keys == 0:
        return place, np.zeros(len(place), np.bool_)
    while True:
        here = np.minimum(place, num_keys - 1)
        is_earlier = (place < num_keys) & (counts.key_hi[here] == key_hi) & (counts.key_lo[here] < key_lo)
        if not is_earlier.any():
            return here, (place < num_keys) & (counts.key_hi[here] == key_hi) & (counts.key_lo[here] == key_lo)
        place += is_earlier
