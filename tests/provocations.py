"""Tests that provoke what the runbook tells of: each one names the line of an entry that it shows, and must lead to the entry."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from pipelines.runbook import entries, pointer

BOX = re.compile(r"```text\n(.*?)```", re.DOTALL)


def lines_of(entry: str) -> list[str]:
    """The messages in an entry's box, as patterns: `…` stands for anything."""
    (box,) = BOX.findall(entries()[entry])
    return box.splitlines()


def pattern(line: str) -> re.Pattern[str]:
    """A message of the runbook as an expression."""
    return re.compile(".*".join(re.escape(part) for part in line.split("…")))


def shows(entry: str, number: int, text: str) -> None:
    """What was printed has this line of the entry, and no traceback.

    Raises:
        AssertionError: It has not.
    """
    assert pattern(lines_of(entry)[number]).search(text), f"{lines_of(entry)[number]!r} is not in:\n{text}"
    assert "Traceback" not in text


def provokes(entry: str, *numbers: int, leads: bool = True) -> Callable[[Callable[..., str]], Callable[..., None]]:
    """The test gives what was printed: it must have the entry's lines of these numbers, and lead to the entry."""

    def decorate(test: Callable[..., str]) -> Callable[..., None]:
        @functools.wraps(test)
        def checked(*words: Any, **named: Any) -> None:
            text = test(*words, **named)
            for number in numbers:
                shows(entry, number, text)
            assert pointer(entry) in text or not leads, f"nothing leads to {entry}:\n{text}"

        return checked

    return decorate
