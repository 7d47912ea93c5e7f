"""Which score each language must be above: one for all, a table's, or one's own, by label and script.

Owns the matching of languages, in whatever style they are written, to the labels of a model, and the reading of tables of scores.
"""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from operators.base import Assets, OperatorError
from operators.kernels.script_names import SCRIPTS
from operators.languages import individual, script_of, uses_wikipedia_codes

KEY: Final = "language_score"
SHOWN: Final = 8
CJK: Final = {"jpn": "Jpan", "kor": "Hang"}
"""Languages whose script has a name of its own, though Chinese characters are part of it."""


class Labels:
    """A model's labels, and what they are called here.

    With `by_script` a document's label names its language as ISO 639-3 does and the script of the document (`eng_Latn`), unless the
    model's own labels do so. A *kind* is then the document's script; else all documents are of kind 0.
    """

    def __init__(self, labels: Sequence[str], *, by_script: bool) -> None:
        self.labels = list(labels)
        self.own_scripts = [script_of(label) for label in labels]
        self.by_script = by_script and not all(self.own_scripts)
        of_wikipedia = uses_wikipedia_codes(self.labels)
        self.codes = [individual(label, of_wikipedia=of_wikipedia) for label in labels]
        self.num_kinds = len(SCRIPTS) if self.by_script else 1

    def names(self) -> list[str]:
        """What is written for a document, by kind and label."""
        if not self.by_script:
            return self.labels
        return [self._name(label, script) for script in SCRIPTS for label in range(len(self.labels))]

    def _name(self, label: int, script: str) -> str:
        if self.own_scripts[label]:
            return self.labels[label]
        code = self.codes[label]
        return f"{code}_{CJK[code] if code in CJK and script in {'Hani', 'Jpan', 'Hang'} else script}"

    def matching(self, language: str) -> npt.NDArray[np.bool_]:
        """By kind and label, whether it is a language, given in any style: `en`, `eng`, `eng_Latn` or a label; none if it is not known."""
        found = np.zeros((self.num_kinds, len(self.labels)), np.bool_)
        if language in self.labels:
            found[:, self.labels.index(language)] = True
            return found
        code, script = individual(language), script_of(language)
        for label, (known, own) in enumerate(zip(self.codes, self.own_scripts, strict=True)):
            if known != code:
                continue
            if script is None or own is not None or not self.by_script:
                # A label without a script, where documents' scripts are not looked at, is the language in whatever script.
                found[:, label] = script is None or own is None or own == script
            else:
                for kind, name in enumerate(SCRIPTS):
                    found[kind, label] = self._name(label, name) == f"{code}_{script}"
        return found

    def nearest(self, language: str) -> str:
        """What to say of a language that is not known."""
        near = difflib.get_close_matches(language, self.labels, n=1) or [each for each in self.labels if each[:2] == language[:2]][:1]
        return f"did you mean {near[0]!r}?" if near else f"it knows {len(self.labels)}, such as {', '.join(self.labels[:SHOWN])}"


def least_scores(labels: Labels, default: float, tables: Sequence[Mapping[str, float]]) -> npt.NDArray[np.float64]:
    """By kind and label, the score to be above; later tables win, and in one table a language with its script over one without."""
    found = np.full((labels.num_kinds, len(labels.labels)), default, np.float64)
    for table in tables:
        for language in sorted(table, key=lambda name: (script_of(name) is not None, name)):
            found[labels.matching(language)] = table[language]
    return found


def score_table(assets: Assets, uri: str, who: str) -> dict[str, float]:
    """Scores by language from a file: JSON {label: score}, CSV lines label,score, or FineWeb-2's folder or archive of YAML files.

    Raises:
        OperatorError: The file holds something else, or nothing.
    """
    name = uri.partition("?")[0].lower()
    try:
        if name.endswith(".json"):
            rows = json.loads(Path(assets.path(uri)).read_text(encoding="utf-8"))
            found = {language: _score(score) for language, score in rows.items()}
        elif name.endswith(".csv"):
            with Path(assets.path(uri)).open(encoding="utf-8", newline="") as file:
                found = _of_lines([row for row in csv.reader(file) if row])
        else:
            found = {language: _score(row[KEY]) for language, row in assets.tables(uri).items() if KEY in row}
    except (ValueError, TypeError, AttributeError, KeyError, OSError) as error:
        raise OperatorError(f"{who}: thresholds {uri!r} cannot be read ({error}); {_EXPECTED}") from error
    if not found:
        raise OperatorError(f"{who}: thresholds {uri!r} holds no language's score; {_EXPECTED}")
    return found


_EXPECTED: Final = (
    "expected JSON {label: score}, CSV lines `label,score`, or a folder or archive of YAML files (deu_Latn.yml) with the key "
    f"`{KEY}`, scores from 0 to 1"
)


def _of_lines(rows: list[list[str]]) -> dict[str, float]:
    """Scores of CSV lines; the first may be a header."""
    if rows and len(rows[0]) > 1 and not rows[0][1].strip().replace(".", "", 1).isdigit():
        rows = rows[1:]
    return {row[0].strip(): _score(row[1]) for row in rows if len(row) > 1 or _refused(row)}


def _refused(row: list[str]) -> bool:
    raise ValueError(f"the line {','.join(row)[:60]!r} is not label,score")


def _score(value: Any) -> float:
    score = float(value)
    if not 0 <= score <= 1:
        raise ValueError(f"a score of {score} is not between 0 and 1")
    return score
