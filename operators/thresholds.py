"""Thresholds as data: which numbers judge which document, the same for all or by the document's language.

Owns the lines of thresholds and the matching of languages to the files of FineWeb-2's table. Knows no YAML: the worker hands it parsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from operators.base import Assets, OperatorError, strings_of
from operators.languages import individual, iso639_3, script_of

Ints = npt.NDArray[np.int32]

NO_PROFILE = -1
ENGLISH, UNICODE = 0, 1
KEYS = {"stop_words": "stopwords"}
"""Settings that the table calls otherwise."""
NOT_TESTED = {"line_punct_thr": -1}
"""Numbers by which the table says that there is no such test for a language."""

FROM_TABLE = "from_table"
"""Context of validating what a table says: FineWeb-2's has shares above 1, by which nothing is tested; in a pipeline they are mistakes."""


class ByLanguageSettings(Protocol):
    """What an operator says of its thresholds."""

    @property
    def type(self) -> str:
        """The operator's type, for messages."""

    @property
    def words(self) -> str:
        """`english`, `unicode` or `by_language`."""

    @property
    def thresholds(self) -> str | None:
        """The table, if there is one."""

    @property
    def language_column(self) -> str:
        """Column with each document's language."""

    def by_language(self) -> tuple[str, ...]:
        """Settings whose value depends on the document's language."""

    def profile_values(self, values: Mapping[str, Any]) -> tuple[float, ...]:
        """Thresholds in the kernel's order, of settings without any that is by_language."""


@dataclass(frozen=True)
class Profiles:
    """The lines of thresholds that an operator judges by.

    Attributes:
        table: float64 (profiles, thresholds), nan for a test that is not made.
        settings: What each line was made from, for what is not a number (stop words).
        words: int8, how each line's documents are split into words: `ENGLISH` or `UNICODE`.
        column: Column that tells a document's line; None if one line judges all.
        lines: Line by language, as files of the table are called.
    """

    table: npt.NDArray[np.float64]
    settings: Sequence[Mapping[str, Any]]
    words: npt.NDArray[np.int8]
    column: str | None
    lines: Mapping[str, int]

    @classmethod
    def of(cls, operator: ByLanguageSettings, assets: Assets) -> Profiles:
        """The lines that an operator's settings ask for.

        Raises:
            OperatorError: The table is empty, or a language's file misses something.
        """
        given = {name: getattr(operator, name) for name in type(operator).model_fields}  # type: ignore[attr-defined]
        if not operator.by_language():
            return cls._alike(operator, given)
        assert operator.thresholds is not None
        rows = assets.tables(operator.thresholds)
        if not rows:
            raise OperatorError(f"{operator.type}: {operator.thresholds} holds no .yml file; expected one a language, such as deu_Latn.yml")
        settings = [_resolved(operator, given, language, row) for language, row in rows.items()]
        words = [_split(operator.words, language) for language in rows]
        table = np.array([operator.profile_values(each) for each in settings], np.float64)
        lines = {language: line for line, language in enumerate(rows)}
        return cls(table, settings, np.array(words, np.int8), operator.language_column, lines)

    @classmethod
    def _alike(cls, operator: ByLanguageSettings, given: Mapping[str, Any]) -> Profiles:
        """The same numbers for every document; only words may differ, by language."""
        values = operator.profile_values(given)
        if operator.words != "by_language":
            return cls(np.array([values]), [given], np.array([_split(operator.words, "")], np.int8), None, {})
        table = np.array([values, values])
        return cls(table, [given, given], np.array([ENGLISH, UNICODE], np.int8), operator.language_column, {})

    def of_rows(self, batch: pa.RecordBatch) -> Ints:
        """The line of each row; `NO_PROFILE` where its language is null or has no line.

        Raises:
            OperatorError: The column of languages is not there, or holds no strings.
        """
        if self.column is None:
            return np.zeros(batch.num_rows, np.int32)
        languages = strings_of(batch, self.column, "languages must be strings").dictionary_encode()
        found = [self._line(language) for language in languages.dictionary.to_pylist()]
        indices = pc.fill_null(languages.indices, len(found)).to_numpy(zero_copy_only=False)
        lines: Ints = np.array([*found, self._line(None)], np.int32)[indices]
        return lines

    def _line(self, language: str | None) -> int:
        """The line of a language: the file of its own name, else the only one of the same language (and script, if it names one)."""
        if not self.lines:
            return _split("by_language", language or "")
        if language is None:
            return NO_PROFILE
        if language in self.lines:
            return self.lines[language]
        code, script = individual(language), script_of(language)
        same = [name for name in self.lines if individual(name) == code and script in (None, script_of(name))]
        # Where a language is written in several scripts and the label does not say which, its most usual one is not for us to guess.
        return self.lines[same[0]] if len(same) == 1 else NO_PROFILE


def _resolved(operator: ByLanguageSettings, given: Mapping[str, Any], language: str, row: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(given)
    for name in operator.by_language():
        key = KEYS.get(name, name)
        if key not in row:
            raise OperatorError(f"{operator.type}: {language}.yml says no {key!r}; give `{name}` a value in the pipeline")
        found[name] = None if row[key] == NOT_TESTED.get(name) else row[key]
    try:
        resolved = type(operator).model_validate(found, context=FROM_TABLE)  # type: ignore[attr-defined]
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"][:1])
        raise OperatorError(f"{operator.type}: {language}.yml: {where}{first['msg']}") from error
    return {name: getattr(resolved, name) for name in found}


def _split(words: str, language: str) -> int:
    if words == "by_language":
        return ENGLISH if iso639_3(language) == "eng" else UNICODE
    return ENGLISH if words == "english" else UNICODE
