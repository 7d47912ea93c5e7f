r"""Classes of characters for RE2, whose own `\s` and `\w` know only ASCII."""

from __future__ import annotations

WHITE_SPACE = r"\s\x{0B}\x{1C}-\x{1F}\x{85}\p{Z}"
"""What goes between the brackets of a class: the characters at which Python's `str.split()` splits."""
