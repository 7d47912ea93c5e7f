"""Which of several documents stays. Owns the keep policy's settings and the words by which documents are put in keep order.

Keep order is the policy's key, then the content hash of the text, then the document's identity; the smaller stays. Every part of it is a
column of unsigned integers, so that the exchange orders documents without knowing what they were ordered by.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from operators.base import OperatorError, column_of

Keep = Literal["first", "longest", "newest", "highest", "lowest", "priority"]
Ranks = npt.NDArray[np.uint64]

WORST = np.uint64(2**64 - 1)
SIGN = np.uint64(1 << 63)
HEAD_BYTES = 16
WORDS = ("rank", "rank_next", "tie")
"""Columns of a document's place in keep order, the most important first."""

ZONE = r"^([^T ]*[T ][^+\-Zz]*)[+\-Zz].*$"
YEAR_FIRST = r"^\s*\d{4}(-\d\d|\d\d|\s*$)"


class KeepPolicy(BaseModel):
    """Settings that say which of several documents stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: Keep = Field(
        default="first",
        description="Which document stays: the `first` in the inventory's order; the `longest` text in characters; the `newest`, `highest` "
        "or `lowest` value in the column `by`; `priority`: whose value in `by` comes first in the list `priority`. Ties go to the smaller "
        "hash of the text, then of the document's identity.",
    )
    by: str | None = Field(
        default=None,
        min_length=1,
        description="Column that `newest` (dates, timestamps or ISO 8601 strings), `highest`, `lowest` (numbers, times or strings) and "
        "`priority` look at. A null or NaN there is worse than any value; of strings the first 16 bytes count.",
    )
    priority: list[str] = Field(
        default=[],
        description="Values of the column `by`, the best first, for `keep: priority`; a value that is not among them comes after them all, "
        "and null after that.",
    )

    @model_validator(mode="after")
    def _policy_fits(self) -> Self:
        needs_column = self.keep not in ("first", "longest")
        if needs_column and self.by is None:
            raise ValueError(f"keep is {self.keep!r} and by is null; name the column to compare in `by`")
        if not needs_column and self.by is not None:
            remedy = "remove `by`, or keep 'newest', 'highest', 'lowest' or 'priority'"
            raise ValueError(f"keep is {self.keep!r} and by is {self.by!r}; {remedy}")
        if self.keep == "priority" and not self.priority:
            raise ValueError("keep is 'priority' and priority is empty; list the values of `by` there, the best first")
        if self.keep != "priority" and self.priority:
            raise ValueError(f"keep is {self.keep!r} and priority has {len(self.priority)} values; remove them, or keep 'priority'")
        if repeated := sorted({value for value in self.priority if self.priority.count(value) > 1}):
            raise ValueError(f"priority names {', '.join(map(repr, repeated[:5]))} more than once; name each value once")
        return self

    def order_words(self, batch: pa.RecordBatch, text: pa.LargeStringArray) -> dict[str, pa.Array]:
        """The columns `rank`, for some policies `rank_next`, and `tie` (uint64, the smaller stays); none where the first stays.

        Which columns there are depends on the settings and the column's type alone.

        Raises:
            OperatorError: The column `by` is missing, or has no order that the policy could follow.
        """
        if self.keep == "first":
            return {}
        from operators.kernels.hashing import hash_bytes  # numba takes half a second to import

        ranks = self._ranks(batch, text)
        return dict(zip(WORDS, map(pa.array, ranks), strict=False)) | {"tie": pa.array(hash_bytes(text)[0])}

    def _ranks(self, batch: pa.RecordBatch, text: pa.LargeStringArray) -> list[Ranks]:
        if self.by is None:
            return [~pc.fill_null(pc.utf8_length(text), 0).to_numpy(zero_copy_only=False).astype(np.uint64)]
        values = column_of(batch, self.by)
        if pa.types.is_dictionary(values.type):
            values = pc.cast(values, values.type.value_type)
        if pa.types.is_null(values.type):
            values = pc.cast(values, pa.string())
        if self.keep == "priority":
            return [self._places(values)]
        if self.keep == "newest":
            values = self._times(values)
        return _absent_last(values, self._words(values), highest=self.keep != "lowest")

    def _places(self, values: pa.Array) -> Ranks:
        """Place of each value in `priority`; those that are not there behind it, nulls last."""
        kind = values.type
        if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            raise OperatorError(f"keep: priority: column {self.by!r} is {kind}; set `by` to a column of strings, integers or booleans")
        names = pc.cast(values, pa.large_string())
        places = pc.fill_null(pc.index_in(names, value_set=pa.array(self.priority, pa.large_string())), len(self.priority))
        places = pc.if_else(pc.is_null(names), pa.scalar(len(self.priority) + 1, pa.int32()), places)
        found: Ranks = places.to_numpy(zero_copy_only=False).astype(np.uint64)
        return found

    def _times(self, values: pa.Array) -> pa.Array:
        """Dates and times as they are; of ISO 8601 strings the digits, to the hundredth of a second, zones not looked at; else null."""
        if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
            return values
        if not is_text(values.type):
            raise OperatorError(
                f"keep: newest: column {self.by!r} is {values.type}; set `by` to dates, timestamps or ISO 8601 strings, or keep 'highest'"
            )
        values = pc.cast(values, pa.large_string())
        dated = pc.match_substring_regex(values, YEAR_FIRST)
        digits = pc.replace_substring_regex(pc.replace_substring_regex(values, ZONE, r"\1"), r"\D+", "")
        return pc.if_else(dated, digits, pa.scalar(None, pa.large_string()))

    def _words(self, values: pa.Array) -> list[Ranks]:
        """Words that sort as the column's values do; whatever where they are null."""
        kind = values.type
        if is_text(kind):
            return _string_words(values)
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            numbers = pc.fill_null(pc.cast(values, pa.float64(), safe=False), 0.0).to_numpy(zero_copy_only=False) + 0.0
            bits = numbers.view(np.uint64)
            return [np.where(bits & SIGN, ~bits, bits | SIGN)]
        if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
            values = pc.cast(values, pa.int32() if kind.bit_width == 32 else pa.int64())
        elif pa.types.is_boolean(kind):
            values = pc.cast(values, pa.int8())
        if not pa.types.is_integer(values.type):
            raise OperatorError(
                f"keep: {self.keep}: column {self.by!r} is {kind}, which has no order; set `by` to numbers, dates, times or strings"
            )
        whole = pc.fill_null(values, pa.scalar(0, values.type)).to_numpy(zero_copy_only=False)
        return [whole if whole.dtype == np.uint64 else whole.astype(np.int64).view(np.uint64) ^ SIGN]


def keep_keys(rows: pa.RecordBatch) -> list[npt.NDArray[np.integer[Any]]]:
    """Arrays for `np.lexsort` that put rows in keep order, as it wants them: the least important first.

    What the policy gave (`rank`, `rank_next`, `tie`), then `doc_key`, where there is such a column, then `file` and `row`.
    """
    names = rows.schema.names
    keys = [_numbers(rows.column(name)) for name in ("row", "file") if name in names]
    if "doc_key" in names:
        keys += reversed(_halves(rows.column("doc_key")))
    return keys + [_numbers(rows.column(name)) for name in reversed(WORDS) if name in names]


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _absent_last(values: pa.Array, words: list[Ranks], *, highest: bool) -> list[Ranks]:
    """The words, turned round if the highest value stays, behind all of which a null or NaN comes."""
    if highest:
        words = [~word for word in words]
    absent = pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False)
    if is_text(values.type):
        # An empty string would be as bad as none: let it share its place with the next one instead.
        words = [words[0], np.minimum(words[1], WORST - np.uint64(1))]
    elif values.type.bit_width == 64 and not pa.types.is_floating(values.type) and not pa.types.is_decimal(values.type):
        words = [*words, np.zeros(len(values), np.uint64)]  # some value has the worst word itself
    return [np.where(absent, WORST, word) for word in words]


def _string_words(values: pa.Array) -> list[Ranks]:
    """The first 16 bytes of each string as two big-endian words, so that they sort as the bytes do."""
    heads = pc.binary_slice(pc.cast(pc.fill_null(values, ""), pa.binary()), 0, HEAD_BYTES)
    padded = np.array(heads.to_numpy(zero_copy_only=False), dtype=f"S{HEAD_BYTES}") if len(heads) else np.zeros(0, f"S{HEAD_BYTES}")
    words = padded.view(">u8").reshape(-1, 2).astype(np.uint64)
    return [words[:, 0], words[:, 1]]


def _halves(keys: pa.Array) -> list[Ranks]:
    """The two big-endian words of 16-byte values, in the order in which their bytes sort."""
    data = keys.buffers()[1]
    if len(keys) == 0 or data is None:
        return [np.zeros(len(keys), np.uint64)] * 2
    words = np.frombuffer(data, ">u8", 2 * len(keys), 16 * keys.offset).astype(np.uint64).reshape(-1, 2)
    return [words[:, 0], words[:, 1]]


def _numbers(values: pa.Array) -> npt.NDArray[np.integer[Any]]:
    """A column as numbers; nulls read as 0."""
    numbers: npt.NDArray[np.integer[Any]] = pc.fill_null(values, pa.scalar(0, values.type)).to_numpy(zero_copy_only=False)
    return numbers
