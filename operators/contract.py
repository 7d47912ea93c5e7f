"""The contract of a batch operator as a check, for the tests of operators that a pipeline brings along.

    from operators.contract import check_contract

    def test_mine_keeps_the_contract():
        check_contract(Mine(limit=3))

Owns what is tried, and the documents that it is tried on. The project's own operators are tried harder (tests/test_operators_contract.py).
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from operators.base import BatchFn, BatchOperator, Learned, OperatorError, Result

TEXTS: Sequence[str | None] = (
    "The people of the town have been to the market, and that is what they came back with. It was a good day.\n" * 3,
    "Die Menschen in der Stadt waren auf dem Markt, und das ist es, was sie mitgebracht haben.",
    "",
    None,
    " \n\t ",
    "x" * 5000,
    "NUL \0 inside, <script>alert(1)</script>, and <|endoftext|> too",
    "e\u0301t\u00e9 \u2028 na\u00efve \U0001f600 \u4f60\u597d\u4e16\u754c \u202eright to left",
    "one two three " * 100,
    "# " * 30,
)
"""Documents that have found mistakes: none, nothing, only white space, one word, marks, every kind of character."""


class ContractError(AssertionError):
    """An operator does not keep the contract; the message says which promise, for which document."""


@dataclass(frozen=True, slots=True)
class LocalAssets:
    """A worker on which every asset is the local path that the operator names; its files must be there."""

    text_column: str = "text"
    seed: int = 0

    def path(self, uri: str) -> str:
        """The asset itself."""
        return uri

    def tables(self, uri: str) -> Mapping[str, Mapping[str, Any]]:
        """None.

        Raises:
            OperatorError: Always: reading YAML is the engine's.
        """
        raise OperatorError(f"{uri}: tables of YAML files are read by the engine; give `check_contract` assets of your own")

    def learned(self, name: str) -> Learned | None:  # noqa: ARG002
        """Nothing is learned in a test."""
        return None


def documents(texts: Sequence[str | None] = TEXTS) -> pa.RecordBatch:
    """A batch of documents with ids, URLs and a number beside the text, some of them null."""
    rows = range(len(texts))
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array([f"d{row}" for row in rows]),
            "text": pa.array(texts, pa.large_string()),
            "url": pa.array([f"https://site{row % 3}.example/{row}" if row % 4 else None for row in rows]),
            "score": pa.array([row / 4 if row % 3 else None for row in rows], pa.float64()),
        }
    )


def check_contract(operator: BatchOperator, batch: pa.RecordBatch | None = None, assets: LocalAssets | None = None) -> Result:
    """See that an operator keeps the contract on a batch, and return what it made of it.

    Args:
        operator: The operator, with the settings to be tried.
        batch: The documents; None: those of `documents()`, which are hard.
        assets: What it may ask of the worker; None: its files are local paths, the text is in `text`.

    Raises:
        ContractError: A promise is broken.
    """
    batch = documents() if batch is None else batch
    assets = assets or LocalAssets()
    judge = operator.open(assets)
    result = judge(batch)
    _check_form(result, batch, assets.text_column)
    _check_empty(judge, batch, result)
    rows = _rows(result)
    _check_same(_rows(judge(batch)), rows, "the same batch given twice")
    _check_same(_rows(pickle.loads(pickle.dumps(operator)).open(assets)(batch)), rows, "a worker that got the operator by pickle")  # noqa: S301  our own bytes
    alone = [row for place in range(batch.num_rows) for row in _rows(judge(batch.slice(place, 1)))]
    _check_same(alone, rows, "each document in a batch of its own")
    backwards = batch.take(pa.array(range(batch.num_rows - 1, -1, -1), pa.int64()))
    _check_same(_rows(judge(backwards))[::-1], rows, "the documents in the opposite order")
    return result


def _check_form(result: Result, batch: pa.RecordBatch, text_column: str) -> None:
    _require(result.batch.num_rows == batch.num_rows, f"{batch.num_rows} rows in, {result.batch.num_rows} out; expected as many out as in")
    kept = result.batch.schema.names[: batch.num_columns]
    _require(kept == batch.schema.names, f"the columns begin with {kept}; expected those of the input in their order, new ones behind them")
    for name in batch.schema.names:
        old, new = batch.column(name), result.batch.column(name)
        _require(old.type == new.type, f"column {name!r} is {new.type}, and was {old.type}; expected the same type")
        _require(
            name == text_column or old.equals(new), f"column {name!r} was changed; expected that of other columns than the text none is"
        )
    for name, values in (("reasons", result.reasons), ("details", result.details)):
        _require(
            values is None or len(values) == batch.num_rows, f"`{name}` is not as long as the batch; expected one a row, null for none"
        )
        _require(values is None or pa.types.is_string(values.type), f"`{name}` is not of type string")
    outside = [row for row in result.errors if not 0 <= row < batch.num_rows]
    _require(not outside, f"errors name the rows {outside}; expected positions in the batch")


def _check_empty(judge: BatchFn, batch: pa.RecordBatch, result: Result) -> None:
    empty = judge(batch.slice(0, 0)).batch
    same = empty.num_rows == 0 and empty.schema.equals(result.batch.schema)
    _require(same, f"an empty batch gave {empty.num_rows} rows of\n{empty.schema}\nexpected none, of\n{result.batch.schema}")


def _rows(result: Result) -> list[tuple[Any, ...]]:
    """What was made of each document: its values, its reason, its error."""
    reasons = [None] * result.batch.num_rows if result.reasons is None else result.reasons.to_pylist()
    values = result.batch.to_pylist()
    # repr, so that NaN is NaN.
    return [(repr(value), reasons[row], result.errors.get(row)) for row, value in enumerate(values)]


def _check_same(found: Sequence[tuple[Any, ...]], expected: Sequence[tuple[Any, ...]], when: str) -> None:
    for row, (other, one) in enumerate(zip(found, expected, strict=True)):
        _require(other == one, f"{when}: row {row} became {str(other)[:300]}; expected {str(one)[:300]}, whatever stands beside it")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ContractError(message)
