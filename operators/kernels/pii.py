"""Personal data in text: one pass over the bytes finds it, one copy replaces it.

A pass looks closer only where a byte tells something: a digit where a number begins, an "@", a sign inside the prefix of a token. Whatever
it then does is bounded or goes over bytes that no other look goes over again, so that no text takes more than linear time.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import Bytes, Offsets
from operators.kernels.jit import kernel
from operators.kernels.lean import lean_kernel
from operators.kernels.pii_bytes import (
    BYTES,
    CLOSE,
    COLON,
    DIGIT,
    DOT,
    HEX_LETTER,
    MINUS,
    OPEN,
    PLUS,
    SPACE,
    UPPER,
    WORD,
    has_at,
    is_a,
    is_sign,
    run_end,
)
from operators.kernels.pii_email import email_at
from operators.kernels.pii_numbers import CHECKED, card_at, iban_at, ipv6_at, is_alone, is_like_a_version, is_public_ipv4, quad_at, ssn_at
from operators.kernels.pii_phone import phone_at
from operators.kernels.pii_secrets import google_at, hyphened_at, key_id_at, underscored_at, web_token_at
from operators.kernels.unicode import num_chars

KINDS: Final = ("email", "ipv4", "ipv6", "phone", "iban", "credit_card", "ssn", "secret")
EMAIL, IPV4, IPV6, PHONE, IBAN, CARD, SSN, SECRET = range(len(KINDS))
NO_KIND: Final = -1
NUMBER_SIGN, EMAIL_SIGN, HYPHEN_SIGN, UNDERSCORE_SIGN, KEY_SIGN, TOKEN_SIGN, GOOGLE_SIGN = range(1, 8)
SECRET_SIGNS: Final = {"-": HYPHEN_SIGN, "_": UNDERSCORE_SIGN, "K": KEY_SIGN, "J": TOKEN_SIGN, "z": GOOGLE_SIGN}
MASK: Final = np.uint8(ord("*"))
SHORTEST: Final = 7  # digits of the shortest number that is written in one
LETTER_A, LETTER_B, LETTER_I, LETTER_Y = (np.uint8(ord(letter)) for letter in "ABIy")
LETTER_F, LETTER_H, LETTER_K, LETTER_S, LETTER_U, LETTER_X = (np.uint8(ord(letter)) for letter in "fhksux")
LETTER_LOWER_B: Final = np.uint8(ord("b"))

HASH_START: Final = np.uint64(0xCBF29CE484222325)
HASH_STEP: Final = np.uint64(0x100000001B3)
HASH_SHIFT: Final = np.uint64(33)


class Targets(NamedTuple):
    """What is looked for and what takes its place.

    Attributes:
        signs: uint8, by byte: what it tells, 0 is nothing.
        wanted: uint8, by kind: 1 where it is looked for.
        begins: uint8, by byte: 1 where the first digit of a replacement is.
        offsets, data: The replacements, one behind the other: number `i` is `data[offsets[i]:offsets[i + 1]]`.
        leads: int64, by replacement: how many signs such as "+(" stand before its first digit.
        first: int64, by kind: its first replacement; the last entry is their number. A kind without one is masked.
    """

    signs: Bytes
    wanted: Bytes
    begins: Bytes
    offsets: Offsets
    data: Bytes
    leads: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]


class Found(NamedTuple):
    """What was found, in order of place: of row `i` it is number `rows[i]` to `rows[i + 1]`.

    Attributes:
        rows: int64, one more than there are rows.
        begins, ends: int64, places in the data.
        kinds: int64, numbers of `KINDS`.
    """

    rows: npt.NDArray[np.int64]
    begins: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]


def texts(strings: list[bytes]) -> tuple[Offsets, Bytes]:
    """Strings as a kernel takes them: offsets and bytes."""
    offsets = np.cumsum([0, *map(len, strings)], dtype=np.int64)
    offsets.flags.writeable = False
    return offsets, np.frombuffer(b"".join(strings) or b"*", np.uint8)


def targets(replacements: dict[str, tuple[str, ...]], *, check_ibans: bool = False) -> Targets:
    """Look for the kinds that are named; what is found becomes one of its replacements, or is masked if there are none."""
    wanted = np.array([kind in replacements for kind in KINDS], np.uint8)
    wanted[IBAN] *= CHECKED if check_ibans else 1
    signs = np.zeros(256, np.uint8)
    if wanted[[IPV4, IPV6, PHONE, IBAN, CARD, SSN]].any():
        signs[48:58] = NUMBER_SIGN
    if wanted[EMAIL]:
        signs[ord("@")] = EMAIL_SIGN
    if wanted[SECRET]:
        for sign, number in SECRET_SIGNS.items():
            signs[ord(sign)] = number
    by_kind = [[string.encode() for string in replacements.get(kind, ())] for kind in KINDS]
    strings = [string for of_kind in by_kind for string in of_kind]
    leads = np.array([len(string) - len(string.lstrip(b"+(")) for string in strings] or [0], np.int64)
    begins = np.zeros(256, np.uint8)
    begins[[string.lstrip(b"+(")[0] for string in strings if string.lstrip(b"+(")]] = 1
    first = np.cumsum([0, *map(len, by_kind)], dtype=np.int64)
    made = Targets(signs, wanted, begins, *texts(strings), leads, first)
    for array in made:
        array.flags.writeable = False
    return made


@kernel
def _replacement_at(data: Any, at: Any, start: Any, stop: Any, targets: Any) -> Any:
    """Where a replacement ends whose first digit is here; 0 if there is none."""
    for i in range(len(targets.offsets) - 1):
        place, size = targets.offsets[i] + targets.leads[i], targets.offsets[i + 1] - targets.offsets[i] - targets.leads[i]
        if size <= stop - at and targets.data[place] == data[at]:
            is_there = has_at(data, at, stop, targets.data[place : place + size])
            if is_there and not is_a(data, at + size, start, stop, WORD):
                return at + size
    return np.int64(0)


@kernel
def _is_replacement(data: Any, begin: Any, end: Any, targets: Any) -> Any:
    """Are some bytes one of the replacements."""
    for i in range(len(targets.offsets) - 1):
        place = targets.offsets[i]
        if targets.offsets[i + 1] - place == end - begin and has_at(data, begin, end, targets.data[place : place + end - begin]):
            return True
    return False


@lean_kernel
def _number_at(data: Any, at: Any, start: Any, stop: Any, wanted: Any) -> Any:
    """The number whose first digit is here: where it begins and ends, and its kind. Of no kind: the end is where to go on."""
    end, address = quad_at(data, at, stop)
    is_longer = is_sign(data, end, start, stop, DOT) and is_a(data, end + 1, start, stop, DIGIT)
    if end and not is_longer and not is_sign(data, at - 1, start, stop, PLUS):
        is_found = wanted[IPV4] and address >= 0 and is_public_ipv4(address) and not is_like_a_version(address)
        is_found = is_found and is_alone(data, at, end, start, stop)
        return at, end, IPV4 if is_found else NO_KIND
    if wanted[IPV6]:
        end = ipv6_at(data, at, start, stop)
        if end:
            return at, end, IPV6
    if wanted[IBAN]:
        end = iban_at(data, at, start, stop, wanted[IBAN])
        if end:
            return at - 2, end, IBAN
    if wanted[SSN]:
        end = ssn_at(data, at, start, stop)
        if end:
            return at, end, SSN
    if wanted[CARD]:
        end = card_at(data, at, start, stop)
        if end:
            return at, end, CARD
    if wanted[PHONE]:
        begin, end = phone_at(data, at, start, stop)
        if end:
            return begin, end, PHONE
    return at, run_end(data, at, stop, DIGIT), NO_KIND


@lean_kernel
def _secret_at(data: Any, at: Any, start: Any, stop: Any, sign: Any) -> Any:
    """Where the secret begins and ends that a sign tells of; (0, 0) if there is none."""
    if sign == HYPHEN_SIGN:
        return hyphened_at(data, at, start, stop)
    if sign == UNDERSCORE_SIGN:
        return underscored_at(data, at, start, stop)
    if sign == KEY_SIGN:
        return key_id_at(data, at, start, stop)
    if sign == TOKEN_SIGN:
        return web_token_at(data, at, start, stop)
    return google_at(data, at, start, stop)


@lean_kernel
def _next_place(data: Any, at: Any, start: Any, stop: Any, signs: Any) -> Any:
    """The next place that deserves a closer look. A loop of its own, since in `find` the compiler counts references at each step."""
    while at < stop:
        sign = signs[data[at]]
        if sign == 0:
            at += 1
        elif sign == NUMBER_SIGN:
            end = at + 1
            while end < stop and BYTES[data[end]] & DIGIT != 0:
                end += 1
            if end - at >= SHORTEST or _goes_on(data, at, end, start, stop):
                return at
            at = end
        elif sign == EMAIL_SIGN or _may_be_prefix(data, at, start, stop, sign):
            return at
        else:
            at += 1
    return stop


@lean_kernel
def _goes_on(data: Any, at: Any, end: Any, start: Any, stop: Any) -> Any:
    """May a short run of digits be the first part of a longer number."""
    if end >= stop:
        return False
    following, is_capital = data[end], is_a(data, at - 1, start, stop, UPPER)
    if following == SPACE and is_capital:
        return True
    if following == SPACE or following == MINUS or following == DOT:  # noqa: SIM109  faster than a tuple
        return end + 1 < stop and (data[end + 1] == OPEN or BYTES[data[end + 1]] & DIGIT != 0)
    if BYTES[following] & HEX_LETTER != 0 or following == COLON or following == CLOSE or following == OPEN:  # noqa: SIM109
        return True
    return is_capital and BYTES[following] & UPPER != 0


@lean_kernel
def _may_be_prefix(data: Any, at: Any, start: Any, stop: Any, sign: Any) -> Any:
    """May a sign be the one in the prefix of a secret that it tells of; looks at its neighbours alone."""
    before = data[at - 1] if at > start else SPACE
    if sign == HYPHEN_SIGN:
        if at + 5 < stop and data[at + 1] == MINUS and before != MINUS and data[at + 5] == LETTER_B:
            return True
        earlier = data[at - 2] if at - 1 > start else SPACE
        return (before == LETTER_K and earlier == LETTER_S) or earlier == LETTER_X
    if sign == UNDERSCORE_SIGN:
        earlier = data[at - 2] if at - 1 > start else SPACE
        if earlier == LETTER_H or before == LETTER_K:
            return True
        return before == LETTER_F or (before == LETTER_LOWER_B and earlier == LETTER_U)
    if sign == KEY_SIGN:
        return before == LETTER_A
    return before == LETTER_Y if sign == TOKEN_SIGN else before == LETTER_I


@kernel
def find(offsets: Any, data: Any, chosen: Any, targets: Any) -> Any:
    """Find personal data in the chosen rows (uint8, one a row), none of it overlapping.

    Of two that overlap the one that begins first counts; but an email address counts before all that begins or ends inside it.
    """
    num_rows, count, signs, wanted = len(offsets) - 1, 0, targets.signs, targets.wanted
    rows = np.zeros(num_rows + 1, np.int64)
    begins, ends, kinds = np.empty(256, np.int64), np.empty(256, np.int64), np.empty(256, np.int64)
    for row in range(num_rows):
        start, stop, first = offsets[row], offsets[row + 1], count
        at, last = (start, start) if chosen[row] else (stop, stop)
        while at < stop:
            at = _next_place(data, at, start, stop, signs)
            if at == stop:
                break
            sign = signs[data[at]]
            if sign == NUMBER_SIGN:
                end = _replacement_at(data, at, start, stop, targets) if targets.begins[data[at]] else np.int64(0)
                begin, end, kind = (at, end, NO_KIND) if end else _number_at(data, at, start, stop, wanted)
                at = end
            elif sign == EMAIL_SIGN:
                begin, end = email_at(data, at, start, stop)
                kind = EMAIL if end else NO_KIND
                while end and count > first and ends[count - 1] > begin:
                    count -= 1
                last = begin if end else last
                at = end or at + 1
            else:
                begin, end = _secret_at(data, at, start, stop, sign)
                kind = SECRET if end else NO_KIND
                at = end or at + 1
            if kind == NO_KIND or begin < last:
                continue
            last = end
            if _is_replacement(data, begin, end, targets):
                continue
            if count == len(begins):
                begins, ends, kinds = _doubled(begins), _doubled(ends), _doubled(kinds)
            begins[count], ends[count], kinds[count] = begin, end, kind
            count += 1
        rows[row + 1] = count
    return rows, begins[:count].copy(), ends[:count].copy(), kinds[:count].copy()


@kernel
def _doubled(values: Any) -> Any:
    """The values with as much room again."""
    larger = np.empty(2 * len(values), np.int64)
    larger[: len(values)] = values
    return larger


@lean_kernel
def _choice(data: Any, begin: Any, end: Any, kind: Any, first: Any) -> Any:
    """Number of the replacement for a match, which depends on its bytes alone (FNV-1a); -1 if it is masked."""
    num_choices = first[kind + 1] - first[kind]
    if num_choices == 0:
        return np.int64(-1)
    digest = HASH_START
    for i in range(begin, end):
        digest = (digest ^ np.uint64(data[i])) * HASH_STEP
    digest ^= digest >> HASH_SHIFT
    return first[kind] + np.int64(digest % np.uint64(num_choices))


@kernel
def replace(offsets: Any, data: Any, found: Any, targets: Any) -> Any:
    """The texts with what was found replaced: offsets from zero, and bytes."""
    num_rows = len(offsets) - 1
    choices = np.empty(len(found.begins), np.int64)
    size = offsets[num_rows] - offsets[0]
    for i in range(len(choices)):
        choice = _choice(data, found.begins[i], found.ends[i], found.kinds[i], targets.first)
        choices[i] = choice
        if choice >= 0:
            size += targets.offsets[choice + 1] - targets.offsets[choice] - (found.ends[i] - found.begins[i])
    out, out_offsets, end = np.empty(size, np.uint8), np.zeros(num_rows + 1, np.int64), np.int64(0)
    place = offsets[0]
    for row in range(num_rows):
        for i in range(found.rows[row], found.rows[row + 1]):
            length = found.begins[i] - place
            out[end : end + length] = data[place : place + length]
            end, place, choice = end + length, found.ends[i], choices[i]
            if choice < 0:
                length = place - found.begins[i]
                out[end : end + length] = MASK
            else:
                begin = targets.offsets[choice]
                length = targets.offsets[choice + 1] - begin
                out[end : end + length] = targets.data[begin : begin + length]
            end += length
        length = offsets[row + 1] - place
        out[end : end + length] = data[place : place + length]
        end, place = end + length, offsets[row + 1]
        out_offsets[row + 1] = end
    return out_offsets, out


@kernel
def in_characters(offsets: Any, data: Any, found: Any) -> Any:
    """Where each match begins and ends in its text, counted in code points."""
    begins, ends = np.empty(len(found.begins), np.int32), np.empty(len(found.begins), np.int32)
    for row in range(len(offsets) - 1):
        place, count = offsets[row], 0
        for i in range(found.rows[row], found.rows[row + 1]):
            count += num_chars(data, place, found.begins[i])
            begins[i] = count
            count += num_chars(data, found.begins[i], found.ends[i])
            ends[i], place = count, found.ends[i]
    return begins, ends
