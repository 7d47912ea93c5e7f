"""Why a document was dropped, in a sentence: what was measured and what was wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from operators.base import BatchOperator, Operator
from operators.decision import Test

MOST_DETAIL_CHARS: Final = 200
DIGITS: Final = (3, 4, 6, 9)
"""Of a number, as many as it takes to see that it is not its limit."""

SAID: Final[Mapping[str, str]] = {
    "alpha_word_frac": "{} of the words have a letter",
    "bullet_line_frac": "{} of the lines begin with a bullet",
    "char_dup_ratio": "{} of the characters are in lines that occurred before",
    "dup_line_char_frac": "{} of the characters are in lines that occurred before",
    "dup_line_frac": "{} of the lines occurred before",
    "dup_para_char_frac": "{} of the characters are in paragraphs that occurred before",
    "dup_para_frac": "{} of the paragraphs occurred before",
    "ellipsis_line_frac": "{} of the lines end with an ellipsis",
    "ellipsis_ratio": "{} ellipses by word",
    "hash_ratio": "{} hashes by word",
    "language_score": "the language's score is {}",
    "line_punct_ratio": "{} of the lines end with a mark",
    "list_ratio": "{} line feeds by word",
    "long_lines": "{} long lines",
    "mean_word_length": "{} characters in a word on average",
    "num_chars": "{} characters",
    "num_non_symbol_words": "{} words",
    "num_stop_words": "{} different stop words",
    "num_words": "{} words",
    "overlap": "{} of an evaluation item is in the text",
    "score": "the score is {}",
    "sentences": "{} sentences are left once lines are cut out",
    "short_line_ratio": "{} of the lines are short",
    **{f"top_{n}_gram": f"{{}} of the characters are in the most frequent {n} words in a row" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"{{}} of the characters are in {n} words in a row that occurred before" for n in range(5, 11)},
}
"""What a signal says, with its value in the place of the braces."""
SHARES: Final = frozenset(name for name, said in SAID.items() if " of " in said and name != "mean_word_length")
"""Signals whose values are told in per cent."""

FLAGS: Final[Mapping[str, str]] = {
    "contaminated": "it shares runs of words with evaluation items",
    "curly_bracket": "it holds a curly bracket",
    "document_removed_with_badwords": "it holds a word of its language's list",
    "domain": "its URL's domain is on a list",
    "empty": "there is no text in it",
    "empty_extraction": "there is no text on the page",
    "exact_duplicate": "it is the same as a document that stays",
    "hard_blacklisted": "its URL holds a word of a list",
    "label": "its likeliest label is none to keep",
    "language": "its language is none of those that are wanted",
    "lorem_ipsum": "it holds `lorem ipsum`",
    "near_duplicate": "it is nearly the same as a document that stays",
    "no_thresholds": "there are no thresholds for its language",
    "no_url": "it has no URL",
    "not_met": "the condition does not hold",
    "redacted": "it holds personal data",
    "sampled_out": "its lot was not drawn",
    "soft_blacklisted": "its URL holds several words of a list",
    "subdomain": "its URL's host is on a list",
    "blacklisted_subword": "its URL holds a part of a word of a list",
    "unknown": "the condition can be neither true nor false of it",
    "url": "its URL is on a list",
    "url_duplicate": "it has the same URL as a document that stays",
}


def explanation(operator: Operator, reason: str, signals: Mapping[str, float | None], detail: str | None = None) -> str:
    """Why a document went, such as `12 words, at least 50 wanted`; never empty.

    Args:
        operator: That dropped it.
        reason: For which.
        signals: Its signals by their names, as far as they are known.
        detail: What the operator said beside the reason. It is the document's or a list's text: whoever shows it makes it harmless.
    """
    tests = operator.declared_tests() if isinstance(operator, BatchOperator) else ()
    test = _failed([test for test in tests if test.reason == reason and test.signal is not None], signals)
    is_said = test is None or (test.is_fixed and reason in FLAGS)
    said = FLAGS.get(reason, f"dropped for {reason}") if test is None or is_said else _of(test, signals.get(str(test.signal)))
    return f"{said}: {detail[:MOST_DETAIL_CHARS]}" if detail else said


def _failed(tests: list[Test], signals: Mapping[str, float | None]) -> Test | None:
    """The first threshold that a document's signals fail, or else the first other test; one that may be it where that is not known."""
    for test in sorted(tests, key=lambda test: test.is_fixed):
        value = signals.get(str(test.signal))
        if value is not None and test.value is not None and _fails(test, value, test.value):
            return test
    return next((test for test in tests if not test.is_fixed), None)


def _fails(test: Test, value: float, limit: float) -> bool:
    if value == limit:
        return test.is_inclusive
    return (value > limit) == (test.side == "above")


def _of(test: Test, value: float | None) -> str:
    name = str(test.signal)
    most = ("less than" if test.is_inclusive else "at most") if test.side == "above" else ("more than" if test.is_inclusive else "at least")
    if value is None or test.value is None:
        found = "" if value is None else SAID.get(name, f"{name} is {{}}").format(_number(name, value)) + ", "
        limit = "what its language's thresholds say" if test.value is None else _number(name, test.value)
        return f"{found}{most} {limit} wanted ({f'`{test.setting}`' if found else name})"
    if test.side == "above" and test.is_inclusive and test.value == 0:
        return f"{SAID.get(name, f'{name} is {{}}').format(_number(name, value))}, nothing wanted"
    said = [(_number(name, value, digits), _number(name, test.value, digits)) for digits in DIGITS]
    found, limit = next((pair for pair in said if pair[0] != pair[1]), said[0])
    return f"{SAID.get(name, f'{name} is {{}}').format(found)}, {most} {limit} wanted"


def _number(name: str, value: float, digits: int = 3) -> str:
    if not math.isfinite(value):
        return str(value)
    if name in SHARES:
        return f"{100 * value:.{digits}g} %"
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1 else f"{value:.{digits}g}"
