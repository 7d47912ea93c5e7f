"""Keep documents by the length of their text. Owns the length filter and nothing else."""

from __future__ import annotations

from typing import Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.base import Assets, BatchFn, BatchOperator, Result, null_text_errors, text_of
from operators.decision import Measured, Measures, Signal, Test, fixed_limits

CHARS = Signal("num_chars", "characters", "Characters of the text, Unicode code points.", "Python's `len`")


class LengthFilter(BatchOperator):
    """Keep documents whose text has at least `min_chars` and at most `max_chars` characters.

    Characters are Unicode code points, as Python's `len` counts them. Both bounds are inclusive.

    Drop reasons: `too_short`, `too_long`.
    """

    type: Literal["length_filter"] = "length_filter"
    min_chars: int = Field(default=0, ge=0, description="Fewest characters (code points) that a document may have.")
    max_chars: int | None = Field(default=None, ge=0, description="Most characters that a document may have; null: no limit.")

    @model_validator(mode="after")
    def _some_length_passes(self) -> Self:
        if self.max_chars is not None and self.max_chars < self.min_chars:
            raise ValueError(f"max_chars ({self.max_chars}) is below min_chars ({self.min_chars}); no document could pass")
        return self

    def declared_tests(self) -> tuple[Test, ...]:
        """Too few characters, then too many."""
        most = float("inf") if self.max_chars is None else self.max_chars
        tests = []
        if self.min_chars > 0:
            tests.append(Test("too_short", CHARS.name, "min_chars", "below", self.min_chars, is_whole=True, high=most))
        if self.max_chars is not None:
            tests.append(Test("too_long", CHARS.name, "max_chars", "above", self.max_chars, is_whole=True, low=self.min_chars))
        return tuple(tests)

    def open_measures(self, assets: Assets) -> Measures:
        """Count characters; nothing is loaded."""
        tests = self.declared_tests()

        def measure(batch: pa.RecordBatch) -> Measured:
            num_chars = pc.cast(pc.utf8_length(text_of(batch, assets.text_column)), pa.float64()).to_numpy(zero_copy_only=False)
            return Measured(num_chars[:, None], fixed_limits(tests, batch.num_rows))

        return Measures((CHARS,), tests, measure)

    def open(self, assets: Assets) -> BatchFn:
        """Return the function that measures and judges; nothing is loaded."""

        def judge(batch: pa.RecordBatch) -> Result:
            text = text_of(batch, assets.text_column)
            num_chars = pc.utf8_length(text)
            short = pc.less(num_chars, pa.scalar(self.min_chars, pa.int64()))
            reasons = pc.if_else(short, pa.scalar("too_short"), pa.scalar(None, pa.string()))
            if self.max_chars is not None:
                long = pc.greater(num_chars, pa.scalar(self.max_chars, pa.int64()))
                reasons = pc.if_else(long, pa.scalar("too_long"), reasons)
            return Result(batch, reasons, null_text_errors(text))

        return judge
