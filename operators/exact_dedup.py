"""Keep one of each set of equal documents. Owns what counts as equal (columns, normalisation) and which one stays (the keep policy)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.base import Assets, GroupOperator, KeysFn, OperatorError, Verdicts, column_of, text_of
from operators.combining import LONG_RUN_EXPRESSION, ordered

NOT_WORD = r"[^\p{L}\p{M}\p{N}]+"
WORST = np.uint64(2**64 - 1)
SIGN = np.uint64(1 << 63)

Normalization = Literal["none", "whitespace", "lowercase", "words"]
Ranks = npt.NDArray[np.uint64]


class ExactDedup(GroupOperator):
    """Keep one of each set of documents that are equal in some columns, by default in their text.

    Documents are equal if the 128-bit hashes of their values are. A null is equal to a null, but a document in which every compared
    column is null is left alone. Removed documents name the kept one, with similarity 1.

    `keep` decides which one stays: `first` in the inventory's order, the `longest` text (in characters), or the one with the `highest` or
    `lowest` value in the column `by`; a null or NaN there is worse than any value, and of strings the first 16 bytes count (enough for
    ISO dates to the minute). Ties go to the smaller hash of the text, then to the first in the inventory's order, so that the choice does
    not depend on how files are named unless it must.

    Drop reason: `exact_duplicate`.
    """

    type: Literal["exact_dedup"] = "exact_dedup"
    columns: list[str] | None = Field(
        default=None, min_length=1, description="Columns that are compared; null: the text. `[url]` keeps one document for each URL."
    )
    normalize: Normalization = Field(
        default="none",
        description="What is ignored in compared strings: `none` nothing; `whitespace` Unicode form (NFC) and the amount and kind of white "
        "space; `lowercase` also case; `words` also everything but letters, marks and digits.",
    )
    within: list[str] = Field(default=[], description="Compare only documents with equal values in these columns (FineWeb: per dump).")
    keep: Literal["first", "longest", "highest", "lowest"] = Field(default="first", description="Which of equal documents stays.")
    by: str | None = Field(default=None, description="Column of numbers, times or strings that `highest` and `lowest` look at.")

    reason: ClassVar[str] = "exact_duplicate"
    one_kept_per_key: ClassVar[bool] = True
    sources: ClassVar[str] = "MurmurHash3 x64_128; Unicode NFC and simple lower case"

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if (self.by is None) == (self.keep in ("highest", "lowest")):
            remedy = "name the column to compare in `by`" if self.by is None else "remove `by`, or keep 'highest' or 'lowest'"
            raise ValueError(f"keep is {self.keep!r} and by is {self.by!r}; {remedy}")
        names = [*(self.columns or []), *self.within]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"columns and within name {', '.join(repeated)} more than once; name each column once")
        return self

    def open(self, assets: Assets) -> KeysFn:
        """Return the function from a batch to `key_hi`, `key_lo` and, unless the first stays, `rank`, (`rank_next`,) `tie`."""
        from operators.kernels.hashing import hash_bytes  # numba takes half a second to import

        compared = self.columns if self.columns is not None else [assets.text_column]

        def keys(batch: pa.RecordBatch) -> pa.RecordBatch:
            values = [normalized(column_of(batch, name), self.normalize) for name in compared]
            columns = self._key(values, [column_of(batch, name) for name in self.within])
            if self.keep != "first":
                text = text_of(batch, assets.text_column)
                columns |= self._rank(batch, text) | {"tie": pa.array(hash_bytes(text)[0])}
            return pa.RecordBatch.from_pydict(columns)

        return keys

    def decide(self, rows: pa.RecordBatch) -> Verdicts:
        """Keep the best of each group by rank, tie, file and row; rows with a null key are in no group."""
        hi, lo = _numbers(rows, "key_hi"), _numbers(rows, "key_lo")
        keyed = pc.is_valid(rows.column("key_hi")).to_numpy(zero_copy_only=False)
        starts = np.flatnonzero(np.r_[True, (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1]) | ~keyed[1:] | ~keyed[:-1]][: len(hi)])
        sizes = np.diff(np.r_[starts, len(hi)])
        best = starts.copy()
        if self.keep != "first":
            group = np.repeat(np.arange(len(starts)), sizes)
            ranked = [name for name in ("row", "file", "tie", "rank_next", "rank") if name in rows.schema.names]
            order = np.lexsort([*(_numbers(rows, name) for name in ranked), group])
            best = order[starts]
        kept = np.repeat(best, sizes)
        removed = np.flatnonzero(kept != np.arange(len(hi)))
        return Verdicts(
            removed=removed.astype(np.int64),
            kept=kept[removed].astype(np.int64),
            similarity=np.ones(len(removed), np.float32),
            num_duplicates=(np.repeat(sizes, sizes)[removed] - 1).astype(np.int64),
        )

    def _key(self, values: list[pa.Array], within: list[pa.Array]) -> dict[str, pa.Array]:
        from operators.kernels.hashing import UnhashableError, combine

        try:
            first, second = combine([*values, *within])
        except UnhashableError as error:
            names = ", ".join(repr(name) for name in [*(self.columns or ["the text"]), *self.within])
            raise OperatorError(f"{self.type}: {error} (columns compared: {names}); compare columns of plain values instead") from None
        absent = np.logical_and.reduce([pc.is_null(value).to_numpy(zero_copy_only=False) for value in values])
        return {"key_hi": pa.array(first, mask=absent), "key_lo": pa.array(second, mask=absent)}

    def _rank(self, batch: pa.RecordBatch, text: pa.Array) -> dict[str, pa.Array]:
        """Order-preserving words for the keep policy: the smaller, the better."""
        if self.by is None:
            ranks = [~pc.fill_null(pc.utf8_length(text), 0).to_numpy(zero_copy_only=False).astype(np.uint64)]
        else:
            values = column_of(batch, self.by)
            ranks = self._ordered(values)
            if self.keep == "highest":
                ranks = [~rank for rank in ranks]
            absent = pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False)
            ranks = [np.where(absent, WORST, rank) for rank in ranks]
        return dict(zip(("rank", "rank_next"), map(pa.array, ranks), strict=False))

    def _ordered(self, values: pa.Array) -> list[Ranks]:
        """Words that sort as the column's values do."""
        kind = values.type
        if pa.types.is_dictionary(kind):
            return self._ordered(pc.cast(values, kind.value_type))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
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
            raise OperatorError(f"{self.type}: column {self.by!r} is {kind}, which has no order; set `by` to numbers, times or strings")
        whole = pc.fill_null(values, pa.scalar(0, values.type)).to_numpy(zero_copy_only=False)
        return [whole if whole.dtype == np.uint64 else whole.astype(np.int64).view(np.uint64) ^ SIGN]


def normalized(values: pa.Array, how: Normalization) -> pa.Array:
    """Strings without what `how` says to ignore; columns of other types as they are."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = pc.cast(values, kind.value_type)
    is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type)
    if how == "none" or not is_text:
        return values
    from operators.kernels.spaces import collapse_spaces

    values = _composed(pc.cast(values, pa.large_string()))
    if how in ("lowercase", "words"):
        values = pc.utf8_lower(values)
    if how == "words":
        values = pc.replace_substring_regex(values, NOT_WORD, " ")
    return collapse_spaces(values)


def _composed(values: pa.LargeStringArray) -> pa.LargeStringArray:
    """Strings in Unicode's composed form (NFC), which ASCII is already."""
    plain = pc.fill_null(pc.string_is_ascii(values), True)
    if pc.all(plain).as_py() is not False:
        return values
    foreign = pc.invert(plain)
    texts = values.filter(foreign)
    # Arrow, too, takes time that grows with the square of a run of marks.
    runs = pc.match_substring_regex(texts, LONG_RUN_EXPRESSION)
    if pc.any(runs).as_py():
        texts = pc.replace_with_mask(texts, runs, pa.array(map(ordered, texts.filter(runs).to_pylist()), pa.large_string()))
    return pc.replace_with_mask(values, foreign, pc.utf8_normalize(texts, form="NFC"))


def _string_words(values: pa.Array) -> list[Ranks]:
    """The first 16 bytes of each string as two big-endian words, so that they sort as the bytes do."""
    heads = pc.binary_slice(pc.cast(pc.fill_null(values, ""), pa.binary()), 0, 16)
    padded = np.array(heads.to_numpy(zero_copy_only=False), dtype="S16") if len(heads) else np.zeros(0, "S16")
    words = padded.view(">u8").reshape(-1, 2).astype(np.uint64)
    return [words[:, 0], words[:, 1]]


def _numbers(rows: pa.RecordBatch, name: str) -> npt.NDArray[np.integer[Any]]:
    """A column of `decide`'s rows as numbers; nulls read as 0."""
    values = rows.column(name)
    numbers: npt.NDArray[np.integer[Any]] = pc.fill_null(values, pa.scalar(0, values.type)).to_numpy(zero_copy_only=False)
    return numbers
