"""Keep one of each set of equal documents. Owns what counts as equal (columns, normalisation) and which one stays (the keep policy)."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.base import Assets, KeysFn, column_of
from operators.combining import LONG_RUN_EXPRESSION, ordered
from operators.dedup import KeyedDedup
from operators.keep import is_text

NOT_WORD = r"[^\p{L}\p{M}\p{N}]+"

Normalization = Literal["none", "whitespace", "lowercase", "words"]


class ExactDedup(KeyedDedup):
    """Keep one of each set of documents that are equal in some columns, by default in their text.

    Documents are equal if the 128-bit hashes of their values are. A null is equal to a null, but a document in which every compared
    column is null is left alone. Removed documents name the kept one, with similarity 1.

    `keep` decides which one stays. Where its rule does not decide, the smaller hash of the text does, then the document's identity, so
    that the choice does not depend on how files are named unless it must.

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

    reason: ClassVar[str] = "exact_duplicate"
    sources: ClassVar[str] = "MurmurHash3 x64_128; Unicode NFC and simple lower case"

    @model_validator(mode="after")
    def _columns_are_named_once(self) -> Self:
        names = [*(self.columns or []), *self.within]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"columns and within name {', '.join(repeated)} more than once; name each column once")
        return self

    def open(self, assets: Assets) -> KeysFn:
        """Return the function from a batch to `key_hi`, `key_lo` and, unless the first stays, `rank`, (`rank_next`,) `tie`."""
        compared = self.columns if self.columns is not None else [assets.text_column]

        def keys(batch: pa.RecordBatch) -> pa.RecordBatch:
            values = [normalized(column_of(batch, name), self.normalize) for name in compared]
            return self._rows(batch, assets.text_column, compared, values)

        return keys


def normalized(values: pa.Array, how: Normalization) -> pa.Array:
    """Strings without what `how` says to ignore; columns of other types as they are."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = pc.cast(values, kind.value_type)
    if how == "none" or not is_text(values.type):
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
