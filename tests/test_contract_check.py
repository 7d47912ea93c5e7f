"""The check of an operator's contract, which users put into their tests, finds what breaks it."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import Field

from operators.base import BatchOperator, Result, null_text_errors
from operators.contract import ContractError, check_contract, documents
from operators.length import LengthFilter


class Broken(BatchOperator):
    """Break one promise."""

    type: Literal["broken"] = "broken"
    way: str = Field(description="Which.")

    def open(self, assets):
        seen = []

        def judge(batch: pa.RecordBatch) -> Result:
            seen.append(batch.num_rows)
            match self.way:
                case "loses":
                    return Result(batch.slice(0, batch.num_rows // 2))
                case "reorders":
                    return Result(batch.select(batch.schema.names[::-1]))
                case "edits":
                    return Result(batch.set_column(0, "id", pc.utf8_upper(batch.column("id"))))
                case "retypes":
                    return Result(batch.set_column(1, "text", pc.cast(batch.column("text"), pa.string())))
                case "short":
                    return Result(batch, pa.nulls(1, pa.string()))
                case "numbers":
                    return Result(batch, pa.nulls(batch.num_rows, pa.int64()))
                case "neighbours":
                    return Result(batch.append_column("n", pa.array([batch.num_rows] * batch.num_rows, pa.int64())))
                case "remembers":
                    return Result(batch.append_column("n", pa.array([len(seen)] * batch.num_rows, pa.int64())))
                case "untyped":
                    return Result(batch.append_column("n", pa.array([1] * batch.num_rows)))
                case "points":
                    return Result(batch, errors={batch.num_rows: null_text_errors(pa.array([None], pa.large_string()))[0]})
                case _:
                    raise AssertionError(self.way)

        return judge


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("loses", "10 rows in, 5 out"),
        ("reorders", "expected those of the input in their order"),
        ("edits", "column 'id' was changed"),
        ("retypes", "column 'text' is string, and was large_string"),
        ("short", "`reasons` is not as long as the batch"),
        ("numbers", "`reasons` is not of type string"),
        ("neighbours", "each document in a batch of its own: row 0"),
        ("remembers", "the same batch given twice: row 0"),
        ("untyped", "an empty batch gave 0 rows"),
        ("points", "errors name the rows"),
    ],
)
def test_a_broken_promise_is_named(way, message):
    """Whatever an operator does against the contract is told, with what was found and expected."""
    with pytest.raises(ContractError, match=message):
        check_contract(Broken(way=way))


def test_an_operator_that_keeps_the_contract_passes():
    """What it made of the documents comes back, for a test to look at."""
    result = check_contract(LengthFilter(min_chars=1, max_chars=1000))
    assert result.reasons.to_pylist()[2] == "too_short"
    assert result.errors[3].error == "null_text"
    assert check_contract(LengthFilter(), documents(["a"])).batch.num_rows == 1
