"""Whether a token is a URL for spaCy's English tokenizer: its regular expression (after Diego Perini, MIT licence) as code."""

from __future__ import annotations

from typing import Any

from operators.kernels.jit import kernel
from operators.kernels.unicode import decode
from operators.kernels.words_english_rules import DECIMAL, LOWER, WORD, english_class


@kernel
def _is_url_end(numbers: Any, data: Any, at: Any, stop: Any) -> Any:
    """Whether a port, a path or nothing follows the host."""
    if at < stop and data[at] == ord(":"):
        digits, end = 0, at + 1
        while end < stop:
            code, size = decode(data, end, stop)
            if not english_class(numbers, code) & DECIMAL:
                break
            digits += 1
            end += size
        if digits < 2 or digits > 5:
            return False
        at = end
    return at == stop or data[at] == ord("/") or data[at] == ord("?") or data[at] == ord("#")


@kernel
def _octet(numbers: Any, data: Any, at: Any, stop: Any) -> Any:
    """Digits at a place: how many (at most 4 are counted), the place after them, and the digits, four bits each.

    Where spaCy's expression says "any digit" it takes those of any script: they are 10 here, and no rule that names digits takes them.
    """
    num_digits, digits = 0, 0
    while at < stop and num_digits < 4:
        code, size = decode(data, at, stop)
        if not english_class(numbers, code) & DECIMAL:
            break
        digits = digits << 4 | (code - 48 if code < 58 else 10)
        num_digits += 1
        at += size
    return num_digits, at, digits


@kernel
def _is_octet(num_digits: Any, digits: Any, place: Any) -> Any:
    """Whether digits may stand at a place (0 to 3) of a public address."""
    is_outer = place == 0 or place == 3
    if num_digits == 1:
        return not is_outer or 1 <= digits <= 9
    if num_digits == 2:
        return not is_outer or 1 <= digits >> 4 <= 9
    if num_digits != 3:
        return False
    first, second, third = digits >> 8, digits >> 4 & 15, digits & 15
    if first != 2:
        return first == 1
    if place == 0:
        return second <= 1 or (second == 2 and third <= 3)
    return second <= 4 or (second == 5 and third <= (4 if place == 3 else 5))


@kernel
def _is_address(numbers: Any, data: Any, at: Any, stop: Any) -> Any:
    """Whether a public IPv4 address stands at a place, and no more than a port and a path after it."""
    num_first, num_second, first, second = 0, 0, 0, 0
    for place in range(4):
        if place > 0:
            if at >= stop or data[at] != ord("."):
                return False
            at += 1
        num_digits, at, digits = _octet(numbers, data, at, stop)
        if not _is_octet(num_digits, digits, place):
            return False
        if place == 0:
            num_first, first = num_digits, digits
        elif place == 1:
            num_second, second = num_digits, digits
    is_private = (num_first == 2 and first == 0x10) or (num_first == 3 and first == 0x127)
    if num_first == 3 and num_second == 3:
        is_private |= (first == 0x169 and second == 0x254) or (first == 0x192 and second == 0x168)
    if num_first == 3 and num_second == 2 and first == 0x172:
        is_private |= 0x16 <= second <= 0x19 or second >> 4 == 2 or second == 0x30 or second == 0x31
    return not is_private and _is_url_end(numbers, data, at, stop)


@kernel
def _is_host_char(code: Any) -> Any:
    """Whether a character may begin or end a part of a host's name."""
    return 48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122 or 0xA1 <= code <= 0xFFFF


@kernel
def _is_domain(numbers: Any, data: Any, at: Any, stop: Any) -> Any:
    """Whether the name of a host stands at a place, and no more than a port and a path after it."""
    num_labels = 0
    while at < stop:
        if num_labels > 0:
            size, end = 0, at
            while end < stop and size < 64:
                code, length = decode(data, end, stop)
                if not english_class(numbers, code) & LOWER:
                    break
                size += 1
                end += length
            if 2 <= size <= 63 and _is_url_end(numbers, data, end, stop):
                return True
        size = 0
        is_edge = False
        while at < stop and data[at] != ord("."):
            code, length = decode(data, at, stop)
            is_edge = _is_host_char(code)
            if not is_edge and (size == 0 or (code != ord("_") and code != ord("-"))):
                return False
            size += 1
            at += length
        if size == 0 or size > 64 or not is_edge:
            return False
        at += 1
        num_labels += 1
    return False


@kernel
def _is_host(numbers: Any, data: Any, at: Any, stop: Any) -> Any:
    return _is_address(numbers, data, at, stop) or _is_domain(numbers, data, at, stop)


@kernel
def is_url(numbers: Any, data: Any, start: Any, stop: Any) -> Any:
    """Whether `data[start:stop]`, in which there is no white space, is a URL: scheme, user, host, port, path (all but the host at will)."""
    has_dot = False
    for at in range(start + 1, stop - 1):
        if data[at] == ord("."):
            has_dot = True
            break
    if not has_dot:
        return False
    if _is_host(numbers, data, start, stop):
        return True
    at, size = start, 0
    while at < stop:
        code, length = decode(data, at, stop)
        if not english_class(numbers, code) & WORD and code != ord("+") and code != ord("-") and code != ord("."):
            break
        size += 1
        at += length
    has_scheme = size >= 2 and at + 3 <= stop and data[at] == ord(":") and data[at + 1] == ord("/") and data[at + 2] == ord("/")
    if has_scheme and _is_host(numbers, data, at + 3, stop):
        return True
    # Whatever stands before an "@" may be a user. A host has no "@" in it, so that each byte is looked at about once.
    at = start + 1
    while at < stop and not (data[at] == ord("@") and _is_host(numbers, data, at + 1, stop)):
        at += 1
    return at < stop
