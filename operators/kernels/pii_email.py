"""Email addresses, from their "@" on."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from operators.kernels.lean import lean_kernel
from operators.kernels.pii_bytes import (
    ALNUM,
    BYTES,
    DOT,
    LETTER,
    LOCAL,
    LOCAL_SIGN,
    MINUS,
    UNDERSCORE,
    has_at,
    is_a,
    is_one_of,
    is_sign,
    run_end,
    word_before,
    word_codes,
)

FILE_ENDINGS = (
    *("png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "html", "htm", "json", "xml", "txt", "pdf", "tar", "gz", "exe", "dll"),
    *("yml", "yaml", "tgz", "ico", "php", "jar", "bmp", "woff", "ts"),
)
"""What ends a file's name and is no top-level domain, so that `logo@2x.png` is no address."""

MOST_LETTERS: Final = 24
GIT, PUNYCODE = b"git@", b"xn--"

_FILE_CODES = word_codes(*FILE_ENDINGS)


@lean_kernel
def email_at(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """Where the email address begins and ends whose "@" is here; (0, 0) if there is none.

    The part before the "@" begins with a letter or digit; `git` alone is a service, not a person. Of `a@b@c.org` only the last
    "@" makes an address.
    """
    first = at
    while first > start and BYTES[data[first - 1]] & LOCAL != 0:
        first -= 1
    while first < at and BYTES[data[first]] & (LOCAL_SIGN | UNDERSCORE) != 0:
        first += 1
    if first == at or has_at(data, first, stop, GIT):
        return np.int64(0), np.int64(0)
    end = _domain_end(data, at + 1, stop)
    return (first, end) if end else (np.int64(0), np.int64(0))


@lean_kernel
def _domain_end(data: Any, at: Any, stop: Any) -> Any:
    """Where the longest domain name ends that begins here, 0 if there is none: labels with dots, letters alone in the last."""
    place, end, is_first = at, np.int64(0), True
    while True:
        begin = place
        place = run_end(data, begin, stop, LETTER)
        if not is_first and _is_top_level(data, begin, place, stop):
            end = place
        while place < stop and (BYTES[data[place]] & ALNUM != 0 or data[place] == MINUS):
            place += 1
        if place == begin or data[begin] == MINUS or data[place - 1] == MINUS:
            break
        if not is_first and has_at(data, begin, stop, PUNYCODE):
            end = place
        is_first = False
        if not is_sign(data, place, at, stop, DOT):
            break
        place += 1
    place = run_end(data, place, stop, LOCAL)
    return np.int64(0) if is_sign(data, place, at, stop, np.uint8(64)) else end


@lean_kernel
def _is_top_level(data: Any, begin: Any, end: Any, stop: Any) -> Any:
    """May some letters be a top-level domain."""
    if not 2 <= end - begin <= MOST_LETTERS or is_a(data, end, begin, stop, ALNUM):
        return False
    code, _ = word_before(data, end, begin)
    return not is_one_of(code, _FILE_CODES)
