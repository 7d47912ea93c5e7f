"""Where `words_unicode_data` comes from: the Unicode properties that the installed `regex` package knows, written down as plain text.

    python -m operators.kernels.words_unicode_source > operators/kernels/words_unicode_data.py

No pipeline imports this; a test does, where `regex` is installed, and compares what it finds with what is kept.
"""

from __future__ import annotations

import sys
import textwrap
from typing import Final

import regex

WIDTH = 138
REGEX_VERSION: Final = "2026.11.15"
UNICODE_VERSION: Final = "18.0.0"  # of that regex, by its documentation; the module has no number to ask for

PROPERTIES: Final = (
    "Other",
    "ALetter",
    "Hebrew_Letter",
    "Numeric",
    "ExtendNumLet",
    "MidLetter",
    "MidNumLet",
    "Single_Quote",
    "MidNum",
    "Double_Quote",
    "Extend",
    "Format",
    "ZWJ",
    "Regional_Indicator",
    "Newline",
)
"""Values of Word_Break by number; those that are not here are Other, but all white space is Newline, which nothing is joined to."""

BY_CHARACTER: Final = r"[\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Word_Break=Katakana}]"
"""Letters of scripts written without spaces that Unicode would join; those of Han, Hiragana and the rest it does not."""

EVERY: Final = "".join(map(chr, range(sys.maxunicode + 1)))
SILENT: Final = 32
PICTOGRAPH: Final = 64


def classes() -> str:
    """Runs of code points of equal classes, `first:classes` in hexadecimal."""
    values = {code: number for number, name in enumerate(PROPERTIES) for code in _members(rf"\p{{Word_Break={name}}}")}
    values |= dict.fromkeys(_members(BY_CHARACTER) - {code for code, value in values.items() if PROPERTIES[value] != "ALetter"}, 0)
    values |= dict.fromkeys((code for code in range(sys.maxunicode + 1) if chr(code).isspace()), PROPERTIES.index("Newline"))
    silent, pictographs = _members(r"[\p{Z}\p{Cc}\p{Cf}]"), _members(r"\p{Extended_Pictographic}")
    runs, last = [], -1
    for code in range(sys.maxunicode + 1):
        bits = values.get(code, 0) + SILENT * (code in silent) + PICTOGRAPH * (code in pictographs)
        if bits != last:
            runs.append(f"{code:x}:{bits:x}")
            last = bits
    return " ".join(runs)


def is_same_unicode() -> bool:
    """Whether the installed `regex` is the one that was asked; a later one may know a later Unicode."""
    return regex.__version__ == REGEX_VERSION


def _members(pattern: str) -> set[int]:
    return {code for match in regex.finditer(f"(?:{pattern})+", EVERY) for code in range(match.start(), match.end())}


def main() -> None:
    """Write the module."""
    lines = [
        f'"""Properties of Unicode {UNICODE_VERSION} that decide where words end.',
        "",
        "Copyright (C) 1991-2025 Unicode, Inc.; Unicode License V3. Written by words_unicode_source, not to be edited.",
        '"""',
        "",
        "from typing import Final",
        "",
        f'UNICODE_VERSION: Final = "{UNICODE_VERSION}"',
        "",
        'CLASSES: Final = """',
        *textwrap.wrap(classes(), WIDTH, break_long_words=False, break_on_hyphens=False),
        '"""',
        "",
    ]
    sys.stdout.write("\n".join(lines))


if __name__ == "__main__":
    main()
