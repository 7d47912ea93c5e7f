"""Telephone numbers: international ones, North American ones by their shape, others behind a word such as "Tel."."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from operators.kernels.lean import lean_kernel
from operators.kernels.pii_bytes import (
    CLOSE,
    DIGIT,
    DOT,
    MINUS,
    OPEN,
    PLUS,
    SPACE,
    WORD,
    ZERO,
    is_a,
    is_one_of,
    is_sign,
    number_begins,
    number_ends,
    run_end,
    word_before,
    word_codes,
)

PHONE_WORDS = (
    *("tel", "telephone", "phone", "phones", "fax", "telefax", "mobile", "mob", "cell", "cellphone", "ph", "telefon", "telefono"),
    *("fon", "whatsapp", "hotline", "handy", "mobil", "tfno", "tlf"),
)
NUMBER_WORDS = ("no", "nr", "num", "number", "office", "home", "work")

NATIONAL, INTERNATIONAL, NAMED = 1, 2, 3
FEWEST_NAMED: Final = 7
FEWEST_INTERNATIONAL: Final = 9
MOST_DIGITS: Final = 15  # E.164
MOST_IN_BRACKETS: Final = 5

COUNTRY_CODES: Final = (
    *(1, 7, 20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57, 58, 60, 61, 62, 63, 64, 65),
    *(66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98, 211, 212, 213, 216, 218, *range(220, 270), 290, 291, 297, 298, 299),
    *(*range(350, 360), *range(370, 380), 380, 381, 382, 383, 385, 386, 387, 389, 420, 421, 423, *range(500, 510), *range(590, 600)),
    *(670, *range(672, 684), *range(685, 693), 800, 808, 850, 852, 853, 855, 856, 870, 878, 880, 881, 882, 883, 886, 888),
    *(960, 961, 962, 963, 964, 965, 966, 967, 968, 970, 971, 972, 973, 974, 975, 976, 977, 979, 992, 993, 994, 995, 996, 998),
)
"""Country codes of ITU-T E.164 (list of 15 November 2016); none begins another."""


def _countries() -> npt.NDArray[np.bool_]:
    """By the first three digits of a number: does a country code begin it."""
    known = np.zeros(1000, np.bool_)
    for code in COUNTRY_CODES:
        size = 10 ** (3 - len(str(code)))
        known[code * size : (code + 1) * size] = True
    return known


_COUNTRIES = _countries()
_PHONE_CODES = word_codes(*PHONE_WORDS)
_NUMBER_CODES = word_codes(*NUMBER_WORDS)


@lean_kernel
def _is_named(data: Any, at: Any, start: Any) -> Any:
    """Does a word such as "Tel." or "phone no." stand before a place."""
    code, place = word_before(data, at, start)
    if is_one_of(code, _NUMBER_CODES):
        code, place = word_before(data, place, start)
    return code != 0 and is_one_of(code, _PHONE_CODES) and not is_a(data, place - 1, start, at, WORD)


@lean_kernel
def _is_north_american(number: Any) -> Any:
    """May ten digits be a number of the North American plan: neither area nor exchange begins with 0 or 1."""
    return (number // 1_000_000_000) % 10 >= 2 and (number // 1_000_000) % 10 >= 2


@lean_kernel
def _joint(data: Any, at: Any, start: Any, stop: Any, is_open: Any) -> Any:
    """What joins two groups of digits: its size, 0 if nothing does, and whether it opens a bracket."""
    place = at
    if is_open:
        if not is_sign(data, place, start, stop, CLOSE):
            return np.int64(0), False
        place += 1
    elif is_sign(data, place, start, stop, DOT):
        return np.int64(1 if is_a(data, place + 1, start, stop, DIGIT) else 0), False
    if is_sign(data, place, start, stop, SPACE) or is_sign(data, place, start, stop, MINUS):
        place += 1
    opens = not is_open and is_sign(data, place, start, stop, OPEN)
    if opens:
        place += 1
    return (place - at, opens) if is_a(data, place, start, stop, DIGIT) else (np.int64(0), False)


@lean_kernel
def phone_at(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """Where a telephone number begins and ends whose first digit is here; (0, 0) if there is none."""
    first, is_open, form = at, False, 0
    if is_sign(data, at - 1, start, stop, OPEN):
        end = run_end(data, at, stop, DIGIT)
        is_open = end - at <= MOST_IN_BRACKETS and is_sign(data, end, start, stop, CLOSE)
        first = at - 1 if is_open else at
    if is_sign(data, first - 1, start, stop, PLUS):
        first -= 1
        form = INTERNATIONAL
        if is_a(data, first - 1, start, stop, WORD) or is_sign(data, first - 1, start, stop, PLUS) or data[at] == ZERO:
            return np.int64(0), np.int64(0)
    elif run_end(data, at, stop, DIGIT) - at == 3 or (data[at] == ZERO + 1 and not is_a(data, at + 1, start, stop, DIGIT)):
        form = NATIONAL if number_begins(data, first, start) else 0
    if form != INTERNATIONAL and _is_named(data, first, start):
        form = NAMED
    if form == 0:
        return np.int64(0), np.int64(0)
    end = _end(data, at, start, stop, is_open, form)
    return (first, end) if end else (np.int64(0), np.int64(0))


@lean_kernel
def _end(data: Any, at: Any, start: Any, stop: Any, is_open: Any, form: Any) -> Any:
    """Where the longest number of a form ends whose groups of digits begin here; 0 if there is none."""
    place, best, digits, number, shape = at, np.int64(0), 0, np.int64(0), np.int64(0)
    is_dotted, is_undotted, is_shaped = False, is_open, is_open
    while True:
        begin = place
        while place < stop and digits <= MOST_DIGITS and is_a(data, place, start, stop, DIGIT):
            number = number * 10 + np.int64(data[place] - ZERO)
            digits += 1
            place += 1
        if digits > MOST_DIGITS:
            return best
        shape = shape * 16 + (place - begin)
        if not is_open and number_ends(data, place, start, stop):
            is_ten = (shape == 0x334 and is_shaped) or (shape == 0x1334 and is_shaped and number // 10_000_000_000 == 1)
            if form != INTERNATIONAL and is_ten and _is_north_american(number):
                return place
            if (form == INTERNATIONAL and _is_international(number, digits)) or (form == NAMED and digits >= FEWEST_NAMED):
                best = place
        if form == NATIONAL and not (shape == 3 or shape == 0x33 or shape == 1 or shape == 0x13 or shape == 0x133):
            return best
        size, opens = _joint(data, place, start, stop, is_open)
        if size == 0:
            return best
        if size == 1 and data[place] == DOT:
            is_dotted = True
        else:
            is_undotted = True
        if is_dotted and is_undotted:
            return best
        is_shaped = is_shaped or data[place] != SPACE or opens
        is_open = opens
        place += size


@lean_kernel
def _is_international(number: Any, digits: Any) -> Any:
    """May the digits behind a plus be a telephone number: country 1 has eleven, the others nine or more."""
    leading = number
    while leading >= 1000:
        leading //= 10
    if leading < 200:
        return digits == 11 and _is_north_american(number % 10_000_000_000)
    return digits >= FEWEST_INTERNATIONAL and _COUNTRIES[leading]
