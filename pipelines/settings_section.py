"""What every section of a pipeline file is: a frozen model whose broken rules know the keys that are to blame.

Owns the form of problems. Knows no section.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where in the pipeline (keys and positions from the root) and a message for a person."""

    path: tuple[str | int, ...]
    message: str


class Section(BaseModel):
    """Base of every section: frozen, and every key known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        problems = tuple(self.problems())
        if problems:
            # They travel in the context, so that the loader can name the line of each key that is to blame.
            message = "; ".join(f"{path_text(problem.path)}: {problem.message}" for problem in problems)
            raise PydanticCustomError("rules", "{message}", {"message": message, "problems": problems})
        return self

    def problems(self) -> Iterator[Problem]:
        """What is wrong between the keys of this section; paths start at the section."""
        yield from ()


def path_text(path: tuple[str | int, ...]) -> str:
    """A path as people write it: `operators[1].min_score`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
