"""A few documents sent through a run's batch operators again, in the driver: to see what an operator saw, and what it measured.

Owns how far that goes. What could end this process, take long or be different is not tried again: operators from a pipeline's folder, those
that run other libraries' blocks, and those that need what the run learned. Nothing of a result depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.base import Assets, BatchOperator, LearningOperator, Operator, Result
from operators.custom import is_custom
from pipelines.chain import OpenedOperator, open_chain
from pipelines.conform import plain_batch

FOREIGN: Final = frozenset({"datatrove"})


class CannotReplay(Exception):
    """An operator, or one before it, is not tried again; the message says why."""


class Replay:
    """The batch operators of a pipeline, each opened when it is first needed."""

    def __init__(self, operators: Sequence[Operator], schema: pa.Schema, assets: Assets) -> None:
        """Open nothing yet.

        Args:
            operators: Of the pipeline, in order.
            schema: Columns of the documents as they are read.
            assets: For opening them.
        """
        self.assets = assets
        self._operators = operators
        self._schema = schema
        self._opened: list[OpenedOperator] = []
        self._learners = [operator.name or "" for operator in operators if isinstance(operator, LearningOperator)]

    def operator(self, name: str) -> BatchOperator | None:
        """The batch operator of this name; None if there is none."""
        return next((one for one in self.batch_operators if _name(one) == name), None)

    @property
    def batch_operators(self) -> list[BatchOperator]:
        """Those that there are, in order."""
        return [operator for operator in self._operators if isinstance(operator, BatchOperator)]

    def before(self, name: str, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Documents as they came to an operator, given as they were read; none of those before it dropped them.

        Raises:
            CannotReplay: An operator before it is not tried again, or failed.
        """
        place = next((at for at, operator in enumerate(self._operators) if _name(operator) == name), len(self._operators))
        number = sum(isinstance(operator, BatchOperator) for operator in self._operators[:place])
        for opened in self._first(number):
            batch = applied(opened, batch).batch
        return batch

    def steps(self, batch: pa.RecordBatch) -> Iterator[tuple[BatchOperator, pa.RecordBatch, Result]]:
        """Send documents through the operators; of each, the documents that reach it and what it makes of them. Drops what it drops.

        Raises:
            CannotReplay: An operator is not tried again, or failed.
        """
        for number, operator in enumerate(self.batch_operators, 1):
            result = applied(self._first(number)[-1], batch)
            yield operator, batch, result
            goes = (
                np.zeros(batch.num_rows, np.bool_) if result.reasons is None else pc.is_valid(result.reasons).to_numpy(zero_copy_only=False)
            )
            stays = ~np.asarray(goes, np.bool_)
            stays[list(result.errors)] = False
            batch = result.batch.filter(pa.array(stays))

    def _first(self, number: int) -> list[OpenedOperator]:
        """The first operators, opened."""
        for operator in self.batch_operators[len(self._opened) : number]:
            if is_custom(operator.type) or operator.type in FOREIGN or operator.learned_names(self._learners):
                raise CannotReplay(f"{_name(operator)!r} is not tried again for a report")
            schema = self._opened[-1].schema if self._opened else self._schema
            try:
                self._opened += open_chain([operator], schema, self.assets)
            except Exception as error:
                raise CannotReplay(f"{_name(operator)!r} could not be opened for it: {error}") from error
        return self._opened[:number]


def applied(opened: OpenedOperator, batch: pa.RecordBatch) -> Result:
    """What an operator makes of documents, with plain columns.

    Raises:
        CannotReplay: It failed.
    """
    try:
        result = opened.apply(batch)
        plain = pa.RecordBatch.from_arrays(plain_batch(result.batch).columns, schema=opened.schema)
    except Exception as error:
        # Notes of pages say this, and the error's own words may quote a document.
        raise CannotReplay(f"{opened.name!r} failed: {type(error).__name__}") from error
    return Result(plain, result.reasons, result.errors, result.details)


def _name(operator: Operator) -> str:
    return operator.name or operator.type
