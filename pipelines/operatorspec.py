"""An operator on its way to a worker: its type, its settings as JSON and the pipeline's folder. No pickled classes.

A custom operator's class lives in a module of the pipeline's folder; the worker loads it again from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from operators.base import Operator
from pipelines.config_operators import operator_class


@dataclass(frozen=True, slots=True)
class OperatorSpec:
    """Enough to make the same operator in another process."""

    name: str
    type: str
    settings: str
    folder: str

    @classmethod
    def of(cls, operator: Operator, folder: Path) -> Self:
        """Describe an operator."""
        return cls(operator.name or operator.type, operator.type, operator.model_dump_json(), str(folder))

    def load(self) -> Operator:
        """The operator again."""
        return operator_class(self.type, Path(self.folder)).model_validate_json(self.settings)
