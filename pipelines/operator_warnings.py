"""What operators tell a user while they are opened: heard by the driver, which opens each once, and by nobody on workers.

Owns the hearing and the bounds. What is warned of is a fact of the settings and files, the same wherever an operator is opened.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from operators.base import OperatorWarning
from pipelines.redaction import redact_environment, redact_uri

MAX_CHARS: Final = 500
MAX_WARNINGS: Final = 20
"""Of one operator: one that warns for each entry of a list would fill the manifest."""


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what operators warn of in the block; nothing of it is printed or raised, whatever the filters say.

    Warnings of other categories take their usual way.
    """
    found: list[str] = []
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, OperatorWarning):
            found.append(str(message))
        else:
            usual(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", OperatorWarning)
        warnings.showwarning = show
        yield found


def told(messages: Iterable[str]) -> tuple[str, ...]:
    """Warnings as they are kept and shown: each once and on one line, bounded, without the secrets of this process."""
    plain = (" ".join(redact_environment(redact_uri(message)).split()) for message in messages)
    cut = (text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…" for text in plain)
    return tuple(dict.fromkeys(text for text in cut if text))[:MAX_WARNINGS]


def warning_lines(warned: Mapping[str, Sequence[str]]) -> list[str]:
    """Warnings by operator as lines for a person."""
    return [f"warning: operator {name!r}: {text}" for name, texts in warned.items() for text in texts]
