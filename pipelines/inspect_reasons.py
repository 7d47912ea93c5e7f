"""Why an operator dropped a text, for a person: the places in it, and what was measured beside what was wanted.

Owns how operators become themselves again from what a manifest says of them. What cannot be opened here (a pipeline's own operators, those
whose lists or models are elsewhere) explains nothing, and nothing fails for it. Where texts are those of the input, an operator that came
after others that edit texts may have seen another: then that is said, and nothing is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa

from operators.base import BatchOperator, Learned, Operator, OperatorError
from operators.places import explanation, open_places
from pipelines.config_operators import built_in
from pipelines.errors import ShardmillError
from pipelines.excerpts import to_marks
from pipelines.study import Mark
from pipelines.text_edits import read_sentence
from pipelines.threshold_study import signals_by_row

UNKNOWN = (ShardmillError, OperatorError, OSError, LookupError, TypeError, ValueError)
"""What opening an operator from the words of a manifest may end with; pydantic's and Arrow's errors are ValueErrors."""

Find = Callable[[str, str | None, str, str | None], tuple[Mark, ...]]
Explain = Callable[[str, str | None, str], str | None]


@dataclass(frozen=True, slots=True)
class _Here:
    """What operators may ask for where there are no assets."""

    text_column: str
    seed: int = 0

    def path(self, uri: str) -> str:
        raise OperatorError(f"{uri}: not here")

    def tables(self, uri: str) -> Mapping[str, Mapping[str, Any]]:
        raise OperatorError(f"{uri}: not here")

    def learned(self, name: str) -> Learned | None:  # noqa: ARG002  of the contract
        return None


class Reasons:
    """Explains what the operators of one version dropped; each is opened when it is first asked."""

    def __init__(self, manifest: Mapping[str, Any], text_column: str, *, is_seen: bool) -> None:
        """Open nothing yet. `is_seen`: texts are as operators saw them, not as they were read."""
        self._operators = manifest["operators"]
        self._is_seen = is_seen
        self._entries = {str(entry["name"]): entry for entry in manifest["operators"]}
        self._assets = _Here(text_column)
        self._find = cache(self._finder)
        self._explain = cache(self._explainer)

    def marks(
        self, operator: str | None, reason: str | None, detail: str | None, text: str | None, language: object = None
    ) -> tuple[Mark, ...]:
        """The places in a text for which it was dropped; none where there is none to be shown, or nothing is known."""
        if operator is None or reason is None or not text:
            return ()
        try:
            return self._find(operator)(reason, detail, text, language if isinstance(language, str) else None)
        except UNKNOWN:
            return ()

    def sentence(self, operator: str | None, reason: str | None, detail: str | None, text: str | None) -> str | None:
        """What was measured and what was wanted; None where nothing is known beyond the reason."""
        if operator is None or reason is None or text is None:
            return detail
        try:
            return self._explain(operator)(reason, detail, text)
        except UNKNOWN:
            return detail

    def note(self, operator: str | None) -> str | None:
        """What a reader must know of the text that is shown; None where the operator saw the same."""
        return None if self._is_seen or operator is None else read_sentence(self._operators, operator)

    def _operator(self, name: str) -> Operator | None:
        entry = self._entries.get(name)
        kind = None if entry is None else built_in().get(str(entry["type"]))
        if entry is None or kind is None:
            return None
        return kind.model_validate({**entry["settings"], "type": entry["type"], "name": name})

    def _finder(self, name: str) -> Find:
        try:
            operator = self._operator(name)
            if operator is None:
                return lambda *_: ()
            find = open_places(operator, self._assets)
        except UNKNOWN:
            return lambda *_: ()
        return lambda reason, detail, text, language: to_marks(find(reason, detail, text, language))

    def _explainer(self, name: str) -> Explain:
        try:
            operator = self._operator(name)
            if not isinstance(operator, BatchOperator) or not operator.declared_tests():
                return lambda _reason, detail, _text: detail
            # Of a text that the operator did not see like this, nothing that is measured is what it measured.
            measures = None if self.note(name) is not None else operator.open_measures(self._assets)
        except UNKNOWN:
            return lambda _reason, detail, _text: detail

        def explain(reason: str, detail: str | None, text: str) -> str:
            signals: dict[str, float | None] = {}
            if measures is not None:
                batch = pa.record_batch({self._assets.text_column: pa.array([text], pa.large_string())})
                found = signals_by_row(measures, measures.measure(batch), name, 0)
                signals = {signal.removeprefix(f"{name}."): value for signal, value in found.items()}
            return explanation(operator, reason, signals, detail)

        return explain
