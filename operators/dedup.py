"""What all operators that remove duplicates share: their settings, the guards against removing too much, and how equal keys are decided.

Owns no notion of what a duplicate is. The engine reads the settings by attribute: it writes the marks of `annotate`, the column
`num_duplicates`, and judges the guards, since only it sees all documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from operators.base import GroupOperator, OperatorError, Verdicts, column_of, text_of
from operators.keep import KeepPolicy, keep_keys


class Guards(BaseModel):
    """Limits beyond which removing duplicates has probably gone wrong.

    Runs elsewhere lost whole sources to one bad key or to chains of documents of which only neighbours are alike, and it was found
    afterwards (marin #6854: of 859,092 documents of a source 2 were left, of 154,406 another 2,613; #6851: 743,779 documents of one
    template in one cluster; text-dedup #129: every copy went). A breach is counted and shown with examples; null turns a guard off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_column: str | None = Field(
        default=None, min_length=1, description="Column that names a document's source; null: the folder of its input file."
    )
    max_source_share: float | None = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Greatest share (0 to 1) of a source's documents that may be removed. Our choice: sources that others lost to "
        "false clusters had lost 97 % and more; null: no limit.",
    )
    max_removed_for: int | None = Field(
        default=1000,
        ge=0,
        description="Most documents that may be removed for one kept document. Our choice; the false clusters that others report have "
        "10,000 to 743,779 documents; null: no limit.",
    )
    max_key_share: float | None = Field(
        default=0.01,
        gt=0,
        le=1,
        description="Greatest share (0 to 1) of all documents that may have one key: beyond it the key says nothing, as that of a URL that "
        "every page of a crawl was given. Our choice; null: no limit.",
    )
    min_documents: int = Field(
        default=100,
        ge=0,
        description="Sources, keys and inputs of fewer documents than this are not judged by shares: few copies are many there.",
    )
    on_breach: Literal["warn", "fail"] = Field(
        default="warn", description="`warn` shows a breach in the funnel and the report, with examples; `fail` also ends the run."
    )


class DedupOperator(KeepPolicy, GroupOperator):
    """Settings of every operator that keeps some of the documents that are alike and removes the others."""

    within: list[str] = Field(default=[], description="Compare only documents with equal values in these columns (FineWeb: per dump).")
    annotate: bool = Field(
        default=False,
        description="Remove nothing, but add a struct column named as the operator: `kept_id`, `kept_doc_key`, `similarity`, "
        "`num_duplicates`; null for documents that would stay.",
    )
    num_duplicates: str | None = Field(
        default=None,
        min_length=1,
        description="Name of an int64 column to add: how many documents a kept one stands for besides itself (up-sampling uses it); null: "
        "none is added.",
    )
    guards: Guards = Field(default=Guards(), description="Limits beyond which removing duplicates has probably gone wrong.")

    @model_validator(mode="after")
    def _within_names_columns_once(self) -> Self:
        if repeated := sorted({name for name in self.within if self.within.count(name) > 1}):
            raise ValueError(f"within names {', '.join(repeated)} more than once; name each column once")
        return self

    def _scope(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """The columns in which documents must agree to be compared."""
        return [column_of(batch, name) for name in self.within]


class KeyedDedup(DedupOperator):
    """An operator for which documents are duplicates of each other if their keys are equal: one of each key stays."""

    one_kept_per_key: ClassVar[bool] = True

    def decide(self, rows: pa.RecordBatch) -> Verdicts:
        """Keep the first of each group in keep order; rows with a null key are in no group."""
        hi, lo = _words(rows, "key_hi"), _words(rows, "key_lo")
        keyed = pc.is_valid(rows.column("key_hi")).to_numpy(zero_copy_only=False)
        starts = np.flatnonzero(np.r_[True, (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1]) | ~keyed[1:] | ~keyed[:-1]][: len(hi)])
        sizes = np.diff(np.r_[starts, len(hi)])
        best = starts.copy()
        if self.keep != "first":
            group = np.repeat(np.arange(len(starts)), sizes)
            best = np.lexsort([*keep_keys(rows), group])[starts]
        kept = np.repeat(best, sizes)
        removed = np.flatnonzero(kept != np.arange(len(hi)))
        return Verdicts(
            removed=removed.astype(np.int64),
            kept=kept[removed].astype(np.int64),
            similarity=np.ones(len(removed), np.float32),
            num_duplicates=(np.repeat(sizes, sizes)[removed] - 1).astype(np.int64),
        )

    def _rows(self, batch: pa.RecordBatch, text_column: str, names: Sequence[str], values: Sequence[pa.Array]) -> pa.RecordBatch:
        """The rows of `open()`'s function: the key of compared values within the scope, null where all of them are, and the order words.

        Args:
            batch: The documents.
            text_column: Name of the column with their text.
            names: What is compared, for a message.
            values: What is compared, a column each.

        Raises:
            OperatorError: A column is missing or cannot be compared.
        """
        from operators.kernels.hashing import UnhashableError, combine  # numba takes half a second to import

        try:
            first, second = combine([*values, *self._scope(batch)])
        except UnhashableError as error:
            compared = ", ".join(map(repr, [*names, *self.within]))
            raise OperatorError(f"{self.type}: {error} (columns compared: {compared}); compare columns of plain values instead") from None
        absent = np.logical_and.reduce([pc.is_null(value).to_numpy(zero_copy_only=False) for value in values])
        columns = {"key_hi": pa.array(first, mask=absent), "key_lo": pa.array(second, mask=absent)}
        if self.keep != "first":
            columns |= self.order_words(batch, text_of(batch, text_column))
        return pa.RecordBatch.from_pydict(columns)


def _words(rows: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    """A column of keys; nulls read as 0."""
    numbers: npt.NDArray[Any] = pc.fill_null(rows.column(name), pa.scalar(0, pa.uint64())).to_numpy(zero_copy_only=False)
    return numbers
