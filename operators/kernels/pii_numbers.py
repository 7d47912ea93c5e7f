"""Numbers that identify: IP addresses, IBAN, payment cards and US social security numbers, each from its first digit on.

A recognizer takes the place of a digit before which there is none and gives where the number ends, 0 if there is none of its kind.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from operators.kernels.lean import lean_kernel
from operators.kernels.pii_bytes import (
    ALNUM,
    BYTES,
    COLON,
    DIGIT,
    DOT,
    EQUALS,
    HEX_LETTER,
    LETTER,
    MINUS,
    SLASH,
    SPACE,
    UPPER,
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

VERSION_WORDS = (
    *("version", "versions", "ver", "v", "release", "releases", "build", "firmware", "rev", "revision", "patch", "update", "upgrade"),
    *("section", "sections", "sec", "sect", "chapter", "clause", "rule", "table", "figure", "fig", "article", "appendix", "part"),
    *("paragraph", "para", "step", "item", "annex", "exercise", "theorem", "lemma"),
)
_LENGTHS_BY_COUNTRY: Final = """
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18
    FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27
    MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27
    SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
IBAN_LENGTHS: Final = {entry[:2]: int(entry[2:]) for entry in _LENGTHS_BY_COUNTRY.split()}
"""Length of an IBAN by country: SWIFT IBAN Registry, release 99."""


ALL_DIGITS: Final = (
    *("AT", "BA", "BE", "CR", "CZ", "DE", "DK", "EE", "EG", "ES", "FI", "FO", "GL", "HR", "HU", "IL", "IS", "LT", "LY", "ME", "MN", "MR"),
    *("NO", "PL", "PT", "RS", "SD", "SE", "SI", "SK", "SO", "TL", "TN", "VA", "XK"),
)
"""Countries whose account numbers have no letters, so that length and digits alone tell an IBAN."""

DIGITS_ONLY: Final = 128
CHECKED: Final = 2


def _iban_lengths() -> npt.NDArray[np.uint8]:
    lengths = np.zeros(26 * 26, np.uint8)
    for country, length in IBAN_LENGTHS.items():
        lengths[(ord(country[0]) - 65) * 26 + ord(country[1]) - 65] = length | (DIGITS_ONLY if country in ALL_DIGITS else 0)
    return lengths


_VERSION_CODES = word_codes(*VERSION_WORDS)
_LENGTHS = _iban_lengths()


@lean_kernel
def quad_at(data: Any, at: Any, stop: Any) -> Any:
    """Where four dotted groups of one to three digits end, 0 if there are none, and the address that they are, -1 if none."""
    place, address, is_address = at, np.int64(0), True
    for group in range(4):
        if group:
            if place >= stop or data[place] != DOT:
                return np.int64(0), np.int64(-1)
            place += 1
        first, value = place, np.int64(0)
        while place < stop and place - first < 4 and BYTES[data[place]] & DIGIT != 0:
            value = value * 10 + np.int64(data[place] - ZERO)
            place += 1
        size = place - first
        if size == 0 or size > 3:
            return np.int64(0), np.int64(-1)
        if value > 255 or (size > 1 and data[first] == ZERO):
            is_address = False
        address = (address << 8) | value
    return place, address if is_address else np.int64(-1)


@lean_kernel
def is_public_ipv4(address: Any) -> Any:
    """Is an IPv4 address one that IANA's registry of special purposes calls globally reachable."""
    top, two, three = address >> 24, address >> 16, address >> 8
    if top == 0 or top == 10 or top == 127 or top >= 240:
        return False
    if two == 0xA9FE or two == 0xC0A8 or 0xAC10 <= two <= 0xAC1F or 0x6440 <= two <= 0x647F or two == 0xC612 or two == 0xC613:
        return False
    if three == 0xC00000:
        return address == 0xC0000009 or address == 0xC000000A
    return not (three == 0xC00002 or three == 0xC63364 or three == 0xCB0071)


@lean_kernel
def is_like_a_version(address: Any) -> Any:
    """Are the first three groups of an address single digits, as versions have them, and it is none such as 8.8.8.8, 8.8.4.4 or 1.2.3.4."""
    first, second, third, fourth = address >> 24, (address >> 16) & 255, (address >> 8) & 255, address & 255
    if first > 9 or second > 9 or third > 9 or address == 0x01020304:
        return False
    return not (first == second and third == fourth and third != 0)


@lean_kernel
def is_alone(data: Any, at: Any, end: Any, start: Any, stop: Any) -> Any:
    """Does a dotted number stand by itself: no longer one, no version of a program, no part of a name."""
    if is_a(data, end, start, stop, WORD) or (is_sign(data, end, start, stop, DOT) and is_a(data, end + 1, start, stop, WORD)):
        return False
    if is_sign(data, end, start, stop, MINUS) and is_a(data, end + 1, start, stop, LETTER):
        return False
    if at == start:
        return True
    before = data[at - 1]
    if before == DOT or BYTES[before] & WORD != 0 or (before == MINUS and is_a(data, at - 2, start, stop, ALNUM)):
        return False
    if before == SLASH and is_a(data, at - 2, start, stop, LETTER):
        return False
    if before == EQUALS and is_sign(data, at - 2, start, stop, EQUALS):
        return False
    if before == 0xA7 or (before == SPACE and is_sign(data, at - 2, start, stop, np.uint8(0xA7))):
        return False  # the last byte of a section sign
    code, _ = word_before(data, at, start)
    return not is_one_of(code, _VERSION_CODES)


@lean_kernel
def ipv6_at(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """Where a public IPv6 address ends that begins here: in 2000::/3, not for documentation or protocols, at least three groups written."""
    if at + 5 > stop or data[at + 4] != COLON or data[at] < 50 or data[at] > 51:
        return np.int64(0)
    if is_a(data, at - 1, start, stop, WORD) or is_sign(data, at - 1, start, stop, COLON) or is_sign(data, at - 1, start, stop, DOT):
        return np.int64(0)
    place, end, count, gap = at, at, 0, -1
    first, second = np.int64(0), np.int64(0)
    while True:
        begin, value = place, np.int64(0)
        while place < stop and place - begin < 5 and BYTES[data[place]] & (DIGIT | HEX_LETTER) != 0:
            sign = np.int64(data[place])
            value = value * 16 + (sign - 48 if sign < 58 else (sign & 31) + 9)
            place += 1
        if place == begin:
            break
        if place - begin > 4 or count == 8:
            return np.int64(0)
        if count == 0:
            first = value
        elif count == 1 and gap != 1:
            second = value
        count += 1
        end = place
        if place >= stop or data[place] != COLON:
            break
        place += 1
        if place < stop and data[place] == COLON:
            if gap >= 0:
                return np.int64(0)
            gap = count
            place += 1
            end = place
    if first < 0x2000 or (gap < 0 and count != 8) or (gap >= 0 and count > 7) or count < 3:
        return np.int64(0)
    if is_a(data, end, start, stop, WORD) or (gap == count and is_sign(data, end, start, stop, COLON)):
        return np.int64(0)
    if is_sign(data, end, start, stop, DOT) and is_a(data, end + 1, start, stop, DIGIT):
        return np.int64(0)
    is_special = (first == 0x2001 and (second < 0x200 or second == 0xDB8)) or first == 0x2002 or (first == 0x3FFF and second < 0x1000)
    return np.int64(0) if is_special else end


@lean_kernel
def iban_at(data: Any, at: Any, start: Any, stop: Any, wanted: Any) -> Any:
    """Where an IBAN ends whose check digits begin here: its country's length, in one or in groups of four, the remainder right.

    Unless `wanted` is `CHECKED` the remainder may be wrong where all is digits.
    """
    if at - 2 < start or BYTES[data[at - 1]] & UPPER == 0 or BYTES[data[at - 2]] & UPPER == 0 or is_a(data, at - 3, start, stop, ALNUM):
        return np.int64(0)
    country = (np.int64(data[at - 2]) - 65) * 26 + np.int64(data[at - 1]) - 65
    length = np.int64(_LENGTHS[country] & ~np.uint8(DIGITS_ONLY))
    is_checked = wanted == CHECKED or _LENGTHS[country] & DIGITS_ONLY == 0
    if length == 0 or not is_a(data, at + 1, start, stop, DIGIT):
        return np.int64(0)
    is_spaced = is_sign(data, at + 2, start, stop, SPACE)
    place, read, rest, kinds = at + 2, np.int64(4), np.int64(0), np.uint8(0)
    while read < length:
        if is_spaced and read % 4 == 0:
            if not is_sign(data, place, start, stop, SPACE):
                return np.int64(0)
            place += 1
        if place >= stop or BYTES[data[place]] & (DIGIT | UPPER) == 0:
            return np.int64(0)
        kinds |= BYTES[data[place]]
        rest = _appended(rest, np.int64(data[place]))
        place += 1
        read += 1
    if is_a(data, place, start, stop, ALNUM):
        return np.int64(0)
    for i in range(-2, 2):
        rest = _appended(rest, np.int64(data[at + i]))
    if is_checked or kinds & UPPER != 0:
        return place if rest == 1 else np.int64(0)
    check = _value(data, at, at + 2)
    return place if 2 <= check <= 98 else np.int64(0)


@lean_kernel
def _appended(rest: Any, sign: Any) -> Any:
    """Remainder by 97 of a number to which a digit, or the two digits of a letter, are appended."""
    return (rest * 10 + sign - 48) % 97 if sign < 58 else (rest * 100 + sign - 55) % 97


@lean_kernel
def ssn_at(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """Where a US social security number ends that begins here: written 3-2-4 with hyphens, no part of it one that is never issued."""
    end = at + 11
    if end > stop or data[at + 3] != MINUS or data[at + 6] != MINUS or not number_begins(data, at, start):
        return np.int64(0)
    if (
        run_end(data, at, stop, DIGIT) != at + 3
        or run_end(data, at + 4, stop, DIGIT) != at + 6
        or run_end(data, at + 7, stop, DIGIT) != end
    ):
        return np.int64(0)
    area = _value(data, at, at + 3)
    is_issued = area != 0 and area != 666 and area < 900 and _value(data, at + 4, at + 6) != 0 and _value(data, at + 7, end) != 0
    return end if is_issued and number_ends(data, end, start, stop) else np.int64(0)


@lean_kernel
def _value(data: Any, at: Any, stop: Any) -> Any:
    """The number that some digits are."""
    value = np.int64(0)
    for i in range(at, stop):
        value = value * 10 + np.int64(data[i] - ZERO)
    return value


@lean_kernel
def card_at(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """Where the number of a payment card ends that begins here: an issuer's prefix and length, usual grouping, the check digit right."""
    end = run_end(data, at, stop, DIGIT)
    size = end - at
    if size != 4 and not 14 <= size <= 16:
        return np.int64(0)
    if not number_begins(data, at, start):
        return np.int64(0)
    if size != 4:
        return end if _is_card(data, at, end, start, stop) else np.int64(0)
    if _is_group(data, at - 5, start, stop):
        return np.int64(0)  # a piece of a fingerprint
    return _grouped_card_end(data, at, start, stop)


@lean_kernel
def _is_card(data: Any, at: Any, end: Any, start: Any, stop: Any) -> Any:
    """Are some digits the number of a card, and do they end there."""
    return number_ends(data, end, start, stop) and _is_issued(data, at, end) and _luhn(data, at, end)


@lean_kernel
def _grouped_card_end(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """Where the longest card number ends that is grouped 4-4-4-4, 4-6-5, 4-6-4 or 4-4-4-4-3 with one kind of separator; 0 without one."""
    if at + 5 > stop or not (data[at + 4] == SPACE or data[at + 4] == MINUS):
        return np.int64(0)
    separator, place, pattern, best = data[at + 4], at + 4, np.int64(4), np.int64(0)
    for _ in range(4):
        if not (is_sign(data, place, start, stop, separator) and is_a(data, place + 1, start, stop, DIGIT)):
            break
        end = run_end(data, place + 1, stop, DIGIT)
        if end - place - 1 > 6:
            break
        pattern = pattern * 16 + end - place - 1
        place = end
        is_usual = pattern == 0x4444 or pattern == 0x465 or pattern == 0x464 or pattern == 0x44443
        if is_usual and not _is_group(data, end + 1, start, stop) and _is_card(data, at, end, start, stop):
            best = end
    return best


@lean_kernel
def _is_group(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """Do just four letters and digits, not letters alone, begin at a place."""
    kinds = np.uint8(0)
    for place in range(at, at + 4):
        if not is_a(data, place, start, stop, ALNUM):
            return False
        kinds |= BYTES[data[place]]
    return kinds & DIGIT != 0 and not is_a(data, at - 1, start, stop, ALNUM) and not is_a(data, at + 4, start, stop, ALNUM)


@lean_kernel
def _is_issued(data: Any, at: Any, end: Any) -> Any:
    """Do the first digits and the length belong together."""
    prefix, size = np.int64(0), 0
    for i in range(at, end):
        if BYTES[data[i]] & DIGIT != 0:
            prefix = prefix * 10 + np.int64(data[i] - ZERO) if size < 4 else prefix
            size += 1
    two, three = prefix // 100, prefix // 10
    if size == 14:
        return two == 36 or two == 38 or two == 39 or 300 <= three <= 305
    if size == 15:
        return two == 34 or two == 37
    if prefix // 1000 == 4 or two == 62:
        return size == 16 or size == 19
    is_mastercard = 51 <= two <= 55 or 2221 <= prefix <= 2720
    is_discover = prefix == 6011 or two == 65 or 644 <= three <= 649
    return size == 16 and (is_mastercard or is_discover or 3528 <= prefix <= 3589)


@lean_kernel
def _luhn(data: Any, at: Any, end: Any) -> Any:
    """Is the check digit right."""
    total, is_doubled = np.int64(0), False
    for i in range(end - 1, at - 1, -1):
        if BYTES[data[i]] & DIGIT == 0:
            continue
        digit = np.int64(data[i] - ZERO)
        if is_doubled:
            digit = 2 * digit - 9 if digit > 4 else 2 * digit
        total += digit
        is_doubled = not is_doubled
    return total % 10 == 0
