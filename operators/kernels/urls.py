"""URLs judged by block lists, over Arrow's offsets and bytes: host, registered domain, address, words and parts of words.

Owns how a URL and a list's line are brought to the form in which they are compared. There are two: `exact`, as datatrove 0.10 compares
them, and the plain one, where neither case nor scheme, `www.`, fragment or the last slash matter.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.hashing import murmur128
from operators.kernels.lean import lean_kernel
from operators.kernels.phrases import Phrases, first_phrases
from operators.kernels.string_sets import StringSet, find
from operators.kernels.unicode import SPACE, Tables, class_of, decode, decode_last, encode, lower_of

Bytes = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

REASONS: Final = ("domain", "subdomain", "url", "hard_blacklisted", "soft_blacklisted", "blacklisted_subword", "no_url")
ALLOWED, STAYS, DOMAIN, SUBDOMAIN, URL, HARD, SOFT, SUBWORD = -2, -1, 0, 1, 2, 3, 4, 5

EXACT_LINE, DOMAIN_LINE, URL_LINE, WORD_LINE = 0, 1, 2, 3
"""Kinds of a list's lines: as it is, a domain (also of a hosts file), an address, a word of letters and digits."""

ALLOW_ENTRY, DOMAIN_ENTRY, URL_ENTRY, HARD_ENTRY, SOFT_ENTRY = 1, 2, 3, 4, 5
"""Kinds of entries: on which list one stands."""

ENDS, HAS_WILDCARD = 1, 2
"""Of a node in the tree of public suffixes: a suffix ends here; any label before it makes one too."""

MAX_DETAIL_BYTES: Final = 200
DOT, SLASH, COLON = 46, 47, 58

ALNUM = np.array([0 if byte > 127 or not chr(byte).isalnum() else ord(chr(byte).lower()) for byte in range(256)], np.uint8)
"""The lower case of an ASCII letter or digit, 0 of anything else."""
SCHEME = np.array([ALNUM[byte] != 0 or chr(byte) in "+-." for byte in range(256)], np.bool_)


class UrlRules(NamedTuple):
    """What URLs are judged by.

    Attributes:
        entries: The entries of all lists but the sub-words, by their kinds.
        suffixes: Every node of the tree of public suffixes, such as `uk` and `co.uk`, and `!city.kobe.jp` for an exception.
        suffix_flags: uint8, by slot of `suffixes`.
        root_flags: Flags of the tree's root.
        soft_threshold: How many different soft words are enough, at least 1.
        exact: 1 to compare as datatrove does, else 0.
    """

    entries: StringSet
    suffixes: StringSet
    suffix_flags: Bytes
    root_flags: int
    soft_threshold: int
    exact: int


@lean_kernel
def _after_scheme(data: Any, start: Any, stop: Any) -> Any:
    """Where a URL goes on behind `scheme://` or `//`; at its start if there is neither."""
    at = start
    while at + 1 < stop and not (data[at] == SLASH and data[at + 1] == SLASH):
        at += 1
    if at + 1 >= stop:
        return start
    if at == start:
        return start + 2
    if at - start < 2 or data[at - 1] != COLON:
        return start
    for each in range(start, at - 1):
        if not SCHEME[data[each]]:
            return start
    return at + 2


@lean_kernel
def _is_ideographic_dot(data: Any, at: Any, stop: Any) -> Any:
    """Whether U+3002, U+FF0E or U+FF61 is at a place: full stops that browsers take for dots."""
    if at + 2 >= stop:
        return False
    a, b, c = data[at], data[at + 1], data[at + 2]
    return (a == 0xE3 and b == 0x80 and c == 0x82) or (a == 0xEF and b == 0xBC and c == 0x8E) or (a == 0xEF and b == 0xBD and c == 0xA1)


@lean_kernel
def _host(data: Any, start: Any, stop: Any, tables: Any) -> Any:
    """Bounds of the host in a URL, as tldextract finds them in any text: without user, port, white space and last dots."""
    begin = _after_scheme(data, start, stop)
    end = begin
    after_user = begin
    while end < stop and data[end] != SLASH and data[end] != 63 and data[end] != 35:  # / ? #
        if data[end] == 64:  # @
            after_user = end + 1
        end += 1
    begin = after_user
    if begin < end and data[begin] == 91:  # [
        for at in range(begin, end):
            if data[at] == 93:
                return begin, at + 1
    at = begin
    while at < end and data[at] != COLON:
        at += 1
    end = at
    while begin < end:
        code, size = decode(data, begin, end)
        if class_of(tables, code) & SPACE == 0:
            break
        begin += size
    while begin < end:
        code, size = decode_last(data, begin, end)
        if class_of(tables, code) & SPACE == 0:
            break
        end -= size
    while begin < end:
        if data[end - 1] == DOT:
            end -= 1
        elif end - 3 >= begin and _is_ideographic_dot(data, end - 3, end):
            end -= 3
        else:
            break
    return begin, end


@lean_kernel
def _lowered(data: Any, start: Any, stop: Any, out: Any, size: Any, tables: Any) -> Any:
    """Write the lower case, character by character, from `out[size]`; returns where it ends, at most twice as many bytes."""
    at = start
    while at < stop:
        byte = data[at]
        if byte < 0x80:
            out[size] = byte + 32 if 65 <= byte <= 90 else byte
            size += 1
            at += 1
            continue
        code, num_bytes = decode(data, at, stop)
        if code == 0xFFFD and num_bytes == 1:
            out[size] = byte
            size += 1
        else:
            size += encode(lower_of(tables, code), out, size)
        at += num_bytes
    return size


@lean_kernel
def _dotted(data: Any, start: Any, stop: Any, out: Any, size: Any) -> Any:
    """Copy a host, with every kind of full stop as a dot, from `out[size]`; returns where it ends."""
    at = start
    while at < stop:
        if _is_ideographic_dot(data, at, stop):
            out[size] = DOT
            at += 3
        else:
            out[size] = data[at]
            at += 1
        size += 1
    return size


@lean_kernel
def _num_suffix_labels(rules: Any, low: Any, stop: Any) -> Any:
    """How many labels of the host `low[1:stop]` are its public suffix, 0 if it has none. `low[0]` is written to."""
    flags = np.int64(rules.root_flags)
    num_labels, num_suffix = 0, 0
    end = stop
    while True:
        begin = end
        while begin > 1 and low[begin - 1] != DOT:
            begin -= 1
        slot = find(rules.suffixes, low, begin, stop, 0)
        if slot < 0:
            break
        num_labels += 1
        flags = np.int64(rules.suffix_flags[slot])
        if flags & ENDS:
            num_suffix = num_labels
        if begin == 1:
            return num_suffix
        end = begin - 1
    if flags & HAS_WILDCARD:
        before = low[begin - 1]
        low[begin - 1] = 33  # !
        is_exception = find(rules.suffixes, low, begin - 1, stop, 0) >= 0
        low[begin - 1] = before
        return num_labels if is_exception else num_labels + 1
    return num_suffix


@lean_kernel
def _registered(host: Any, start: Any, stop: Any, num_suffix: Any) -> Any:
    """Where the registered domain begins, one label before the suffix; -1 if there is no such label or it is empty."""
    at, dots = stop, 0
    while at > start:
        if host[at - 1] == DOT:
            dots += 1
            if dots == num_suffix:
                break
        at -= 1
    if dots < num_suffix or num_suffix == 0:
        return -1
    end = at - 1
    at = end
    while at > start and host[at - 1] != DOT:
        at -= 1
    return at if at < end else -1


@lean_kernel
def _key(data: Any, start: Any, stop: Any, out: Any, tables: Any) -> Any:
    """Write an address without scheme, `www.`, fragment, last slashes and capitals from `out[0]`; returns where it begins and ends."""
    at = _after_scheme(data, start, stop)
    end = at
    while end < stop and data[end] != 35:  # #
        end += 1
    while end > at and data[end - 1] == SLASH:
        end -= 1
    size = _lowered(data, at, end, out, 0, tables)
    www = size > 4 and out[0] == 119 and out[1] == 119 and out[2] == 119 and out[3] == DOT
    return (4 if www else 0), size


@lean_kernel
def _copy(source: Any, start: Any, stop: Any, out: Any, at: Any) -> Any:
    """Write what was found to the details, cut between characters if it is long; returns where it ends."""
    if stop - start > MAX_DETAIL_BYTES:
        stop = start + MAX_DETAIL_BYTES
        while stop > start and source[stop] & 0xC0 == 0x80:
            stop -= 1
    for each in range(start, stop):
        out[at] = source[each]
        at += 1
    return at


@lean_kernel
def _domain_verdict(rules: Any, data: Any, start: Any, stop: Any, host: Any, low: Any, tables: Any) -> Any:
    """Reason and bounds in `host` of what was found. Both buffers hold the host from place 1 on afterwards."""
    begin, end = _host(data, start, stop, tables)
    size = _dotted(data, begin, end, host, 1)
    low_size = _lowered(host, 1, size, low, 1, tables)
    num_suffix = _num_suffix_labels(rules, low, low_size)
    if rules.exact == 0:
        size = low_size
        for at in range(1, size):
            host[at] = low[at]
    registered = _registered(host, 1, size, num_suffix)
    if registered < 0:
        # datatrove looks up no host without a suffix, such as an IP address, though lists hold them.
        if rules.exact != 0 or size == 1:
            return STAYS, 1, 1
        registered = np.int64(1)
    qualified = registered if registered == 2 and host[1] == DOT else np.int64(1)
    if find(rules.entries, host, registered, size, ALLOW_ENTRY) >= 0 or find(rules.entries, host, qualified, size, ALLOW_ENTRY) >= 0:
        return ALLOWED, 1, 1
    if find(rules.entries, host, registered, size, DOMAIN_ENTRY) >= 0:
        return DOMAIN, registered, size
    if registered != qualified and find(rules.entries, host, qualified, size, DOMAIN_ENTRY) >= 0:
        return SUBDOMAIN, qualified, size
    return STAYS, 1, 1


@lean_kernel
def _word_verdict(rules: Any, data: Any, start: Any, stop: Any, low: Any, out: Any, at: Any, soft_slots: Any) -> Any:
    """Reason by the words of a URL, and where what was found ends in `out`; the soft words found stand there with spaces between."""
    num_soft, soft_end, here = 0, at, start
    while here < stop:
        while here < stop and ALNUM[data[here]] == 0:
            here += 1
        begin = here
        while here < stop and ALNUM[data[here]] != 0:
            low[here - begin] = data[here] if rules.exact != 0 else ALNUM[data[here]]
            here += 1
        size = here - begin
        if find(rules.entries, low, 0, size, HARD_ENTRY) >= 0:
            return HARD, _copy(low, 0, size, out, at)
        slot = find(rules.entries, low, 0, size, SOFT_ENTRY)
        if slot < 0 or num_soft >= rules.soft_threshold:
            continue
        known = False
        for each in range(num_soft):
            known = known or soft_slots[each] == slot
        if not known:
            soft_slots[num_soft] = slot
            if num_soft > 0:
                out[soft_end] = 32
                soft_end += 1
            num_soft += 1
            soft_end = _copy(low, 0, size, out, soft_end)
    if num_soft >= rules.soft_threshold:
        return SOFT, soft_end
    return STAYS, at


@lean_kernel
def _verdict(rules: Any, data: Any, start: Any, stop: Any, tables: Any, host: Any, low: Any, out: Any, at: Any, soft_slots: Any) -> Any:
    """Reason of a URL, sub-words left out, and where its detail ends in `out`, of which it begins at `at`."""
    reason, begin, end = _domain_verdict(rules, data, start, stop, host, low, tables)
    if reason == ALLOWED:
        return ALLOWED, at
    if reason != STAYS:
        return reason, _copy(host, begin, end, out, at)
    if rules.exact != 0:
        found = find(rules.entries, data, start, stop, URL_ENTRY) >= 0
    else:
        begin, end = _key(data, start, stop, low, tables)
        found = find(rules.entries, low, begin, end, URL_ENTRY) >= 0
    if found:
        return URL, _copy(data, start, stop, out, at)
    return _word_verdict(rules, data, start, stop, low, out, at, soft_slots)


@lean_kernel
def _judge(
    offsets: Any, data: Any, rules: Any, tables: Any, reasons: Any, ends: Any, out: Any, joined_ends: Any, joined: Any, scratches: Any
) -> None:
    """The reason of each URL, its detail, and of those that stay the letters and digits, in which sub-words are looked for."""
    host, low, soft_slots = scratches
    at, size = 0, 0
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        if start < stop:
            reasons[row], at = _verdict(rules, data, start, stop, tables, host, low, out, at, soft_slots)
        if reasons[row] == STAYS:
            for here in range(start, stop):
                if ALNUM[data[here]] != 0:
                    joined[size] = ALNUM[data[here]]
                    size += 1
        ends[row + 1], joined_ends[row + 1] = at, size


class Judgement(NamedTuple):
    """What became of some URLs.

    Attributes:
        reasons: int8, by row: place in `REASONS`, or below 0 where the document stays. An empty URL stays.
        subwords: int32, by row: number of the sub-word that was found, or -1.
        ends: int64: bounds of the rows' details in `details`; of sub-words there is none.
        details: What was found, UTF-8.
    """

    reasons: npt.NDArray[np.int8]
    subwords: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int64]
    details: Bytes


def judge_urls(offsets: npt.NDArray[np.int64], data: Bytes, rules: UrlRules, subwords: Phrases, tables: Tables) -> Judgement:
    """Judge each URL: by its registered domain, its host, itself, its words, then parts of words. The first list that has it decides.

    `subwords` is one group that is not bounded.
    """
    num_rows, num_bytes = len(offsets) - 1, int(offsets[-1] - offsets[0])
    reasons = np.full(num_rows, STAYS, np.int8)
    ends, joined_ends = np.zeros(num_rows + 1, np.int64), np.zeros(num_rows + 1, np.int64)
    details, joined = np.empty(2 * num_bytes, np.uint8), np.empty(num_bytes, np.uint8)
    room = 2 * int(np.diff(offsets).max(initial=0)) + 8  # a character of two bytes may have a lower case of three
    scratches = np.empty(room, np.uint8), np.empty(room, np.uint8), np.zeros(rules.soft_threshold, np.int64)
    _judge(offsets, data, rules, tables, reasons, ends, details, joined_ends, joined, scratches)
    joined_ends.flags.writeable = joined.flags.writeable = False  # as text columns are: the search is compiled for those
    found = first_phrases(joined_ends, joined, np.zeros(num_rows, np.int32), subwords, tables)
    reasons[found >= 0] = SUBWORD
    return Judgement(reasons, found, ends, details)


@lean_kernel
def _strip(data: Any, start: Any, stop: Any) -> Any:
    while start < stop and (data[start] == 32 or 9 <= data[start] <= 13):
        start += 1
    while stop > start and (data[stop - 1] == 32 or 9 <= data[stop - 1] <= 13):
        stop -= 1
    return start, stop


@lean_kernel
def _listed_domain(data: Any, start: Any, stop: Any) -> Any:
    """Bounds of the domain in a stripped line: of a hosts file behind the address, of an address of the web its host, else the first word.

    `*.` and dots around it are no part of it.
    """
    end = _word_end(data, start, stop)
    if end < stop and _is_ip_address(data, start, end):
        begin, _ = _strip(data, end, stop)
        if data[begin] != 35:  # else a listed address and a comment
            start, end = begin, _word_end(data, begin, stop)
    for at in range(start, end - 2):
        if data[at] == 58 and data[at + 1] == 47 and data[at + 2] == 47:  # ://
            start = at + 3
            break
    for at in range(start, end):
        if data[at] == 47:  # /
            end = at
            break
    if start < end and data[start] == 42:  # *
        start += 1
    while start < end and data[start] == DOT:
        start += 1
    while end > start and data[end - 1] == DOT:
        end -= 1
    return start, end


@lean_kernel
def _word_end(data: Any, start: Any, stop: Any) -> Any:
    """Where the word that begins at `start` ends."""
    while start < stop and data[start] > 32:
        start += 1
    return start


@lean_kernel
def _is_ip_address(data: Any, start: Any, end: Any) -> Any:
    """Whether a word is an address such as a line of a hosts file begins with; `bad.cc` is none, though its letters are hexadecimal."""
    has_letter, has_colon = False, False
    for at in range(start, end):
        byte = data[at]
        if 97 <= byte <= 102:
            has_letter = True
        elif byte == 58:
            has_colon = True
        elif byte != DOT and not 48 <= byte <= 57:
            return False
    return has_colon or not has_letter


@lean_kernel
def _scan_lines(data: Any, kind: Any, first: Any, second: Any, scratch: Any, tables: Any) -> Any:
    """Write the fingerprint of each entry in some lines; returns how many there were."""
    count, at = 0, 0
    while at < len(data):
        start = at
        while at < len(data) and data[at] != 10:
            at += 1
        begin, end = _strip(data, start, at)
        is_comment = (start < at and data[start] == 35) or (kind != EXACT_LINE and begin < end and data[begin] == 35)
        at += 1
        if is_comment or begin == end:
            continue
        if kind == EXACT_LINE:
            first[count], second[count] = murmur128(data, begin, end)
            count += 1
            continue
        size = 0
        if kind == DOMAIN_LINE:
            begin, end = _listed_domain(data, begin, end)
            size, begin = _lowered(data, begin, end, scratch, 0, tables), 0
        elif kind == URL_LINE:
            begin, size = _key(data, begin, end, scratch, tables)
        else:
            for each in range(begin, end):
                if ALNUM[data[each]] != 0:
                    scratch[size] = ALNUM[data[each]]
                    size += 1
            begin = 0
        if begin < size:
            first[count], second[count] = murmur128(scratch, begin, size)
            count += 1
    return count


def list_fingerprints(lines: bytes, kind: int, entry: int, tables: Tables) -> tuple[U64, U64]:
    """The fingerprints of the entries in some whole lines of a list, as entries of a kind; blank lines and comments (`#`) have none."""
    data = np.frombuffer(lines, np.uint8)
    num_lines = lines.count(b"\n") + 1
    first, second = np.empty(num_lines, np.uint64), np.empty(num_lines, np.uint64)
    count = _scan_lines(data, kind, first, second, np.empty(2 * len(data) + 8, np.uint8), tables)
    return first[:count].copy(), second[:count] ^ np.uint64(entry)
