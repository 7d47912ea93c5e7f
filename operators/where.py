"""Keep documents for which a condition over their columns holds. The condition's language is `operators.expression`'s."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from operators.base import Assets, BatchFn, BatchOperator, OperatorError, Result
from operators.expression import ExpressionError, parse


class FilterWhere(BatchOperator):
    """Keep documents for which `where` is true.

    A condition such as `language_score > 0.8 and length(text) >= 100 or source in ('a', 'b')`: columns by name (`column('odd name')`
    where that is no identifier), fields of structs as `metadata.source`, numbers, quoted strings, true, false; `and or not`,
    `== != < <= > >=` (also chained), `in` and `not in` a list, `is None`, `is not None`, `+ - * /` in float64. Functions: length
    (characters of a string, elements of a list), bytes, words (split at white space), lower, contains, starts_with, ends_with, matches (a
    regular expression as RE2 reads it, anywhere in the text), abs, coalesce. Times compare with quoted ISO dates, UTC unless they say.

    A null is unknown, as in SQL, and so is a division by zero.

    Drop reasons: `not_met` (the condition is false), `unknown` (a null leaves it neither true nor false).
    """

    type: Literal["filter_where"] = "filter_where"
    where: str = Field(min_length=1, max_length=10_000, description="The condition.")

    @field_validator("where")
    @classmethod
    def _is_a_condition(cls, value: str) -> str:
        try:
            parse(value)
        except ExpressionError as error:
            raise ValueError(f"where: {error}") from None
        return value

    def open(self, assets: Assets) -> BatchFn:  # noqa: ARG002 -- it needs none
        """Return the function that evaluates the condition; whether columns and types fit shows at the first batch, an empty one too."""
        condition = parse(self.where)

        def judge(batch: pa.RecordBatch) -> Result:
            try:
                holds = condition(batch)
            except OperatorError as error:
                raise OperatorError(f"{self.type}: where: {error}") from None
            no_reason = pa.scalar(None, pa.string())
            reasons = pc.if_else(holds, no_reason, pa.scalar("not_met"))
            return Result(batch, pc.if_else(pc.is_null(holds), pa.scalar("unknown"), reasons))

        return judge
