"""Keep a fraction of the documents. Owns how a document's lot is drawn: from a hash of what it holds, so that it is the same everywhere."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.base import Assets, BatchFn, BatchOperator, OperatorError, Result, column_of, null_text_errors, strings_of, text_of

U64 = npt.NDArray[np.uint64]

Rate = float
ALL_LOTS = 1 << 64


class Sample(BatchOperator):
    """Keep a fraction `rate` of the documents, or another one for each value of the column `by`.

    A document's lot is a 64-bit hash of `key` (its text, or a column) and the seed, and it stays if the lot is below the rate: neither
    other documents nor the number of workers matter, documents with equal keys stay or go together (a column of domains keeps whole
    domains), and a lower rate keeps a subset of what a higher one keeps. Therefore two samples in a row need two seeds. Where the key is
    null, the text decides.

    datatrove's SamplerFilter draws from a generator instead, so that its sample depends on the order of the documents.

    Drop reason: `sampled_out`.
    """

    type: Literal["sample"] = "sample"
    rate: float | None = Field(
        default=None, ge=0, le=1, description="Fraction to keep; with `rates`, of documents with no rate of their own."
    )
    rates: dict[str, Rate] = Field(
        default={}, description="Fraction to keep for each value of the column `by`; without `rate` the others stay."
    )
    by: str | None = Field(default=None, min_length=1, description="Column whose values `rates` names, such as the language or the source.")
    key: str | None = Field(
        default=None, min_length=1, description="Column that decides instead of the text; equal values stay or go together (a group)."
    )
    seed: int | None = Field(default=None, ge=0, lt=1 << 63, description="Seed of the lots; null: `execution.seed`.")

    seeded: ClassVar[bool] = True
    sources: ClassVar[str] = "MurmurHash3 x64_128 of the key, mixed with the seed"

    @model_validator(mode="after")
    def _rates_fit(self) -> Self:
        if bool(self.rates) != (self.by is not None):
            remedy = "name the column in `by`" if self.by is None else "give `rates`, or remove `by`"
            raise ValueError(f"rates has {len(self.rates)} values and by is {self.by!r}; {remedy}")
        if self.rate is None and not self.rates:
            raise ValueError("no rate is given; set `rate` to the fraction to keep, such as 0.1")
        wrong = [f"{value}: {rate}" for value, rate in self.rates.items() if not 0 <= rate <= 1]
        if wrong:
            raise ValueError(f"rates of {', '.join(wrong[:5])} are no fractions; expected 0 to 1")
        return self

    def open(self, assets: Assets) -> BatchFn:
        """Return the function that draws; nothing is loaded."""
        seed = assets.seed if self.seed is None else self.seed

        def draw(batch: pa.RecordBatch) -> Result:
            text = text_of(batch, assets.text_column)
            lots = self._lots(batch, text, seed)
            limits, any_stays = self._limits(batch)
            stays = pa.array((lots <= limits) & any_stays)
            reasons = pc.if_else(stays, pa.scalar(None, pa.string()), pa.scalar("sampled_out"))
            return Result(batch, reasons, null_text_errors(text))

        return draw

    def _lots(self, batch: pa.RecordBatch, text: pa.LargeStringArray, seed: int) -> U64:
        from operators.kernels.hashing import UnhashableError, combine

        if self.key is None:
            return drawn(combine([text])[0], seed)
        keys = column_of(batch, self.key)
        try:
            lots = drawn(combine([keys])[0], seed)
        except UnhashableError as error:
            raise OperatorError(f"{self.type}: column {self.key!r} is {keys.type}; a key must be a string, number or time") from error
        if keys.null_count or pa.types.is_null(keys.type):
            absent = pc.is_null(keys).to_numpy(zero_copy_only=False)
            lots = np.where(absent, drawn(combine([text])[0], seed), lots)
        return lots

    def _limits(self, batch: pa.RecordBatch) -> tuple[U64, npt.NDArray[np.bool_]]:
        """Highest lot that stays for each document, and whether any does."""
        others = 1.0 if self.rate is None else self.rate
        all_rates = [*self.rates.values(), others]
        limits = np.array([max(int(rate * ALL_LOTS) - 1, 0) for rate in all_rates], np.uint64)
        any_stays = np.array([int(rate * ALL_LOTS) > 0 for rate in all_rates])
        if self.by is None:
            places = np.zeros(batch.num_rows, np.int64)
        else:
            places = pc.index_in(
                strings_of(batch, self.by, "rates need one of strings, numbers or booleans"), pa.array(list(self.rates), pa.large_string())
            )
            places = pc.fill_null(places, len(self.rates)).to_numpy(zero_copy_only=False)
        return limits[places], any_stays[places]


def drawn(hashes: U64, seed: int) -> U64:
    """The lots of some hashes under a seed: uniform over 64 bits, and unlike those of another seed (the finalizer of splitmix64)."""
    mixed = hashes + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % ALL_LOTS)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
