"""Keys and tokens that give access, by the prefixes and lengths their issuers document, and private keys in PEM.

A recognizer takes the place of a telling sign inside the prefix and gives where the secret begins and ends, (0, 0) if it is none.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from operators.kernels.lean import lean_kernel
from operators.kernels.pii_bytes import (
    BYTES,
    DIGIT,
    DOT,
    LOWER,
    MINUS,
    SPACE,
    UPPER,
    WORD,
    has_at,
    is_a,
    is_sign,
    run_end,
)

AWS_CHARS: Final = 16
GITHUB_CHARS: Final = 36
GITHUB_FINE_CHARS: Final = 22
GOOGLE_CHARS: Final = 35
HUGGING_FACE_CHARS: Final = 30
JWT_CHARS: Final = 8
OPENAI_CHARS: Final = 32
SLACK_CHARS: Final = 10
STRIPE_CHARS: Final = 16
MOST_LABEL: Final = 30

AKIA, AIZA, EYJ, HF, SK = b"AKIA", b"AIza", b"eyJ", b"hf_", b"sk-"
GITHUB_FINE, BEGIN, END, PRIVATE_KEY = b"github_pat_", b"-----BEGIN ", b"-----END ", b"PRIVATE KEY-----"
XOX, DASHES, SK_LIVE, SK_TEST, RK_LIVE, RK_TEST = b"xox", b"-----", b"sk_live_", b"sk_test_", b"rk_live_", b"rk_test_"
SLACK_KINDS, GITHUB_KINDS = b"abeoprs", b"opsru"


@lean_kernel
def _token_end(data: Any, at: Any, stop: Any, with_minus: Any) -> Any:
    """Where the run of letters, digits, underscores and, if wanted, hyphens ends that begins at a place."""
    while at < stop and (BYTES[data[at]] & WORD != 0 or (with_minus and data[at] == MINUS)):
        at += 1
    return at


@lean_kernel
def _kinds(data: Any, at: Any, end: Any) -> Any:
    """The kinds of all bytes of a run together."""
    kinds = np.uint8(0)
    for i in range(at, end):
        kinds |= BYTES[data[i]]
    return kinds


@lean_kernel
def _is_inside(data: Any, at: Any, start: Any) -> Any:
    """Does a place lie inside a longer token."""
    return is_a(data, at - 1, start, at, WORD) or is_sign(data, at - 1, start, at, MINUS)


@lean_kernel
def key_id_at(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """An AWS access key id, from its "K"."""
    first = at - 1
    if first < start or not has_at(data, first, stop, AKIA) or _is_inside(data, first, start):
        return np.int64(0), np.int64(0)
    end = run_end(data, first + 4, stop, UPPER | DIGIT)
    return (first, end) if end == first + 4 + AWS_CHARS and not is_a(data, end, start, stop, WORD) else (np.int64(0), np.int64(0))


@lean_kernel
def google_at(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """A Google API key, from its "z"."""
    first = at - 2
    if first < start or not has_at(data, first, stop, AIZA) or _is_inside(data, first, start):
        return np.int64(0), np.int64(0)
    end = _token_end(data, first + 4, stop, True)
    return (first, end) if end == first + 4 + GOOGLE_CHARS else (np.int64(0), np.int64(0))


@lean_kernel
def web_token_at(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """A JSON web token, from the "J" of its header."""
    first = at - 2
    if first < start or not has_at(data, first, stop, EYJ) or _is_inside(data, first, start) or is_sign(data, first - 1, start, stop, DOT):
        return np.int64(0), np.int64(0)
    place = first
    for part in range(3):
        if part and not is_sign(data, place, start, stop, DOT):
            return np.int64(0), np.int64(0)
        begin = place + 1 if part else place
        if part == 1 and not has_at(data, begin, stop, EYJ):
            return np.int64(0), np.int64(0)
        place = _token_end(data, begin, stop, True)
        if place - begin < JWT_CHARS:
            return np.int64(0), np.int64(0)
    return first, place


@lean_kernel
def underscored_at(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """A token of GitHub, Stripe or Hugging Face, from the first underscore of its prefix."""
    nothing = (np.int64(0), np.int64(0))
    first = run_start(data, at, start)
    if _is_inside(data, first, start):
        return nothing
    size, prefix, fewest, needed = at - first, np.int64(0), 0, np.uint8(0)
    if size == 3 and data[first] == 103 and data[first + 1] == 104 and _is_among(data[at - 1], GITHUB_KINDS):
        prefix, fewest = np.int64(4), GITHUB_CHARS
    elif size == 6 and has_at(data, first, stop, GITHUB_FINE):
        prefix, fewest = np.int64(11), GITHUB_FINE_CHARS
    elif size == 2 and has_at(data, first, stop, HF):
        prefix, fewest, needed = np.int64(3), HUGGING_FACE_CHARS, np.uint8(UPPER | LOWER)
    elif size == 2 and _is_stripe(data, first, stop):
        prefix, fewest = np.int64(8), STRIPE_CHARS
    if prefix == 0:
        return nothing
    end = _token_end(data, first + prefix, stop, False)
    return (first, end) if end - first - prefix >= fewest and _kinds(data, first + prefix, end) & needed == needed else nothing


@lean_kernel
def run_start(data: Any, at: Any, start: Any) -> Any:
    """Where the lower-case letters before a place begin, at most seven of them."""
    first = at
    while first > start and at - first < 7 and BYTES[data[first - 1]] & LOWER != 0:
        first -= 1
    return first


@lean_kernel
def _is_among(sign: Any, signs: Any) -> Any:
    """Is a byte one of some."""
    for i in range(len(signs)):  # noqa: SIM110  a kernel knows no generators
        if sign == signs[i]:
            return True
    return False


@lean_kernel
def _is_stripe(data: Any, at: Any, stop: Any) -> Any:
    """Is a prefix one of Stripe's for secret and restricted keys."""
    is_secret = has_at(data, at, stop, SK_LIVE) or has_at(data, at, stop, SK_TEST)
    return is_secret or has_at(data, at, stop, RK_LIVE) or has_at(data, at, stop, RK_TEST)


@lean_kernel
def hyphened_at(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """A token of Slack or OpenAI, from the hyphen of its prefix, or a private key in PEM, from its first one."""
    nothing = (np.int64(0), np.int64(0))
    if at + 1 < stop and data[at + 1] == MINUS:
        begin, end = _pem_at(data, at, start, stop)
        if end:
            return begin, end
    if at - 2 >= start and data[at - 1] == 107:
        first, fewest, needed = at - 2, OPENAI_CHARS, np.uint8(DIGIT | UPPER | LOWER)
        if not has_at(data, first, stop, SK):
            return nothing
    elif at - 4 >= start and _is_among(data[at - 1], SLACK_KINDS) and has_at(data, at - 4, stop, XOX):
        first, fewest, needed = at - 4, SLACK_CHARS, np.uint8(DIGIT)
    else:
        return nothing
    if _is_inside(data, first, start):
        return nothing
    end = _token_end(data, at + 1, stop, True)
    if end - at - 1 < fewest or _kinds(data, at + 1, end) & needed != needed:
        return nothing
    return first, end


@lean_kernel
def _pem_at(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """A private key in PEM with all that is between its two lines; nothing in between has five hyphens."""
    nothing = (np.int64(0), np.int64(0))
    if is_sign(data, at - 1, start, stop, MINUS) or not has_at(data, at, stop, BEGIN):
        return nothing
    place = _label_end(data, at + len(BEGIN), stop)
    if place == 0:
        return nothing
    while place < stop and not has_at(data, place, stop, DASHES):
        place += 1
    if not has_at(data, place, stop, END):
        return nothing
    end = _label_end(data, place + len(END), stop)
    return (at, end) if end else nothing


@lean_kernel
def _label_end(data: Any, at: Any, stop: Any) -> Any:
    """Where a label such as "RSA PRIVATE KEY-----" ends, 0 if it is another."""
    for place in range(at, min(stop, at + MOST_LABEL)):
        if has_at(data, place, stop, PRIVATE_KEY):
            return place + len(PRIVATE_KEY)
        if BYTES[data[place]] & (UPPER | DIGIT) == 0 and data[place] != SPACE:
            break
    return np.int64(0)
