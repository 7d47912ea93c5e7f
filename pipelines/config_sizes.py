"""Sizes as people write them: `512MiB`, `1.5GB`, `1024`.

Owns the reading and the showing of byte counts. Knows nothing of files or settings.
"""

from __future__ import annotations

import re
from fractions import Fraction

UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgtp", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgtp", start=1)},
}
BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
MAX_BYTES = 2**63 - 1
# At most 19 digits on each side of the point: more than any store holds.
SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?) ?([A-Za-z]{0,3})")
PATTERN = r"^[0-9]{1,19}(\.[0-9]{1,19})? ?([kKmMgGtTpP]?[iI]?[bB])?$"


def parse_size(value: object, *, at_least: int = 1) -> int:
    """Bytes of a size such as 1024, `512MiB` (1024-based) or `100MB` (1000-based); upper and lower case are the same.

    Raises:
        ValueError: It is no size, it is no whole number of bytes, or it is out of range.
    """
    num_bytes = _bytes_of(value)
    if num_bytes is None:
        raise ValueError("expected a size in bytes, such as 512MiB, 100MB or 1048576")
    if num_bytes < at_least:
        raise ValueError(f"expected at least {show_size(at_least)}")
    if num_bytes > MAX_BYTES:
        raise ValueError(f"expected less than {show_size(MAX_BYTES + 1)}")
    return num_bytes


def _bytes_of(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if not isinstance(value, str | float):
        return None
    match = SIZE.fullmatch(str(value).strip())
    if match is None or match[2].lower() not in UNITS:
        return None
    exact = Fraction(match[1]) * UNITS[match[2].lower()]
    return int(exact) if exact.denominator == 1 else None


def show_size(num_bytes: int) -> str:
    """A byte count for a person, exact: in the largest 1024-based unit that divides it, such as `16MiB` or `1000B`."""
    power = 0
    while power + 1 < len(BINARY_UNITS) and num_bytes and num_bytes % 1024 == 0:
        num_bytes //= 1024
        power += 1
    return f"{num_bytes}{BINARY_UNITS[power]}"
