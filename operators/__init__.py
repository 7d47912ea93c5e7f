"""What is done to a batch of documents. `AnyOperator` is the literal, alphabetical union of every operator that a pipeline may name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from operators.base import Assets, BatchFn, BatchOperator, GroupOperator, KeysFn, Operator, OperatorError, Result, RowError, Verdicts
from operators.datatrove import Datatrove
from operators.exact_dedup import ExactDedup
from operators.language import LanguageFilter
from operators.length import LengthFilter
from operators.tokenize import Tokenize
from operators.where import FilterWhere

AnyOperator = Annotated[
    Datatrove | ExactDedup | FilterWhere | LanguageFilter | LengthFilter | Tokenize,
    Field(discriminator="type"),
]

__all__ = [
    "BY_TYPE",
    "AnyOperator",
    "Assets",
    "BatchFn",
    "BatchOperator",
    "Datatrove",
    "ExactDedup",
    "FilterWhere",
    "GroupOperator",
    "KeysFn",
    "LanguageFilter",
    "LengthFilter",
    "Operator",
    "OperatorError",
    "Result",
    "RowError",
    "Tokenize",
    "Verdicts",
]

BY_TYPE: dict[str, type[Operator]] = {
    "datatrove": Datatrove,
    "exact_dedup": ExactDedup,
    "filter_where": FilterWhere,
    "language_filter": LanguageFilter,
    "length_filter": LengthFilter,
    "tokenize": Tokenize,
}
"""Every operator by its `type`."""
