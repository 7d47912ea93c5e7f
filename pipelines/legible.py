"""Numbers and strangers' text as a person reads them: counts, sizes, times, shares, and names that may hold anything.

Names of reasons, uris and messages come from documents and from users' code. Shown raw they could redraw a terminal, turn the reading
direction of the rest of a line, or fill a page. Knows nothing of HTML, Markdown or YAML: those escape what comes from here.
"""

from __future__ import annotations

from typing import Final

MAX_CHARS: Final = 120
NOTHING: Final = "\u2013"


def legible(text: object, max_chars: int = MAX_CHARS) -> str:
    """Text on one line, bounded, with what cannot be printed written as its code; letters of every script stay."""
    # Cut first: a message may be megabytes long, and one character may become ten.
    raw = str(text)
    cut = raw[:max_chars]
    shown = cut if cut.isprintable() else "".join(map(_character, cut))
    return shown if len(shown) <= max_chars and len(raw) <= max_chars else shown[: max_chars - 1] + "…"


def _character(character: str) -> str:
    if character.isprintable():  # which marks that turn the direction of writing are not
        return character
    if character.isspace() and character not in "\x0b\x0c\x1c\x1d\x1e\x1f\x85":
        return " "
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def count(number: int) -> str:
    """`28113` as `28,113`."""
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """`1 shard`, `2 shards`, `1,234 shards`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def amount(number: int) -> str:
    """A count of what nobody counts one by one: exact below a million, then with two digits or so and `M`, `G`, `T`."""
    if abs(number) < 1_000_000:
        return count(number)
    value = float(number)
    for unit in ("M", "G", "T"):
        value /= 1000 if unit != "M" else 1_000_000
        if abs(value) < 999.5 or unit == "T":
            break
    return f"{value:,.{1 if abs(value) < 99.95 else 0}f} {unit}"


def size(num_bytes: int) -> str:
    """Bytes with three digits or so and a binary unit: `1.46 GiB`; below 1 KiB exact."""
    if abs(num_bytes) < 1024:
        return f"{num_bytes} B"
    value = float(num_bytes)
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        value /= 1024
        if abs(value) < 999.5 or unit == "PiB":
            break
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{digits}f} {unit}"


def seconds(value: float) -> str:
    """A time as the two largest units: `0.21 s`, `12.3 s`, `4 min 05 s`, `3 h 20 min`, `2 d 03 h`."""
    if value < 0.995:
        return f"{value:.2f} s"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days:,} d {hours:02d} h"


def share(part: int, whole: int) -> str:
    """A part of a whole in percent; a dash of nothing. Not 0 % or 100 % unless it is exactly that."""
    if whole == 0:
        return NOTHING
    percent = 100 * part / whole
    if 0 < percent < 0.05:
        return "<0.1%"
    if 99.95 <= percent < 100:
        return ">99.9%"
    return f"{percent:.1f}%"
