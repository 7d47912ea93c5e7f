"""Names of sources and languages as a reader of the manifest knows them: what a value of their column is told as."""

from __future__ import annotations

import hashlib
from typing import Final

OTHER: Final = "(other)"
NULL: Final = "(null)"
MAX_NAME_CHARS: Final = 200


def name_of(value: str | None) -> str:
    """A value as it is told: null as `(null)`, one of more than 200 characters by its first 183, `…` and 16 digits of its SHA-256."""
    if value is None:
        return NULL
    return value if len(value) <= MAX_NAME_CHARS else f"{value[:183]}…{hashlib.sha256(value.encode()).hexdigest()[:16]}"
