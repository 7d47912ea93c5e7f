"""An operator on its way to a worker: its type, its settings as JSON and the pipeline's folder. No pickled classes.

A custom operator's class lives in a module of the pipeline's folder; the worker loads it again from there, or from what was shipped of
it to its node, and checks that it is the code
that the plan was made with: what is committed under a fingerprint was made by what the fingerprint covers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cluster.shipping import here
from operators.base import Operator
from pipelines.config_operators import operator_class
from pipelines.errors import CodeChanged
from pipelines.fingerprint import fingerprint, operator_code


@dataclass(frozen=True, slots=True)
class OperatorSpec:
    """Enough to make the same operator in another process, and to know that it is the same."""

    name: str
    type: str
    settings: str
    folder: str
    code: str

    @classmethod
    def of(cls, operator: Operator, folder: Path) -> Self:
        """Describe an operator."""
        code = fingerprint(operator_code(operator))
        return cls(operator.name or operator.type, operator.type, operator.model_dump_json(), str(folder), code)

    def load(self) -> Operator:
        """The operator again.

        Raises:
            CodeChanged: Its code or a library that decides its results is not what the plan was made with.
        """
        operator = operator_class(self.type, here(self.folder)).model_validate_json(self.settings)
        if fingerprint(operator_code(operator)) != self.code:
            raise CodeChanged(
                f"operator {self.name!r}: its code or its libraries on this worker are not those that the plan was made with: "
                "they were changed during the run, or the nodes differ; run again, with the same code everywhere"
            )
        return operator
