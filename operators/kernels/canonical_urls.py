"""One spelling for all spellings of a URL, over Arrow's offsets and bytes.

Owns the steps (RFC 3986, section 6.2, and what crawls add: `www.`, tracking parameters); which of them are taken, `UrlSpelling` says. A
host of other letters than ASCII is written as it is: IDNA is not for a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.lean import lean_kernel
from operators.kernels.lines import copy

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

GROWTH: Final = 3
"""An escaped byte takes three."""
ROOM: Final = 8
PERCENT, AMPERSAND, DOT, SLASH, COLON, EQUALS, QUESTION, AT, BRACKET, HASH = (ord(sign) for sign in "%&./:=?@[#")
NO_URL: Final = -1
LONGEST_SCHEME: Final = 5
PORT_SCHEMES: Final = np.array([int.from_bytes(name, "big") for name in (b"http", b"https", b"ws", b"wss", b"ftp", b"", b"")], np.int64)
"""Schemes as numbers, the first letter the highest byte; none may be either one of the web."""
PORTS: Final = np.array([80, 443, 80, 443, 21, 80, 443], np.int64)
MAX_PORT: Final = 65535

KEEP_QUERY, SORT_QUERY, IGNORE_QUERY = 0, 1, 2
UNRESERVED: Final = 1  # an escape of it is undone
PLAIN: Final = 2  # stands in a path or a query as it is
SCHEME: Final = 4
FORBIDDEN: Final = 8  # in a host, percent-encoded or not (WHATWG URL, forbidden host code points)


def _classes() -> Bytes:
    classes = np.zeros(256, np.uint8)
    alnum = [byte for byte in range(128) if chr(byte).isalnum()]
    classes[[*alnum, *b"-._~"]] |= UNRESERVED | PLAIN
    classes[[*b"!$&'()*+,;=:@/?"]] |= PLAIN
    classes[[*alnum, *b"+-."]] |= SCHEME
    classes[[*range(33), 127, *b'#/:<>?@[\\]^|"`{}']] |= FORBIDDEN
    return classes


def _digits() -> Bytes:
    digits = np.full(256, 255, np.uint8)
    for byte in b"0123456789abcdefABCDEF":
        digits[byte] = int(chr(byte), 16)
    return digits


CLASSES: Final = _classes()
HEX_VALUES: Final = _digits()
HEX_DIGITS: Final = np.frombuffer(b"0123456789ABCDEF", np.uint8)


class UrlSpelling(NamedTuple):
    """Which steps are taken, 1 or 0, and the names of parameters that go.

    Attributes:
        query: `KEEP_QUERY`, `SORT_QUERY` or `IGNORE_QUERY`.
        name_offsets: int64, bounds of the names.
        names: uint8, lower-case names one behind the other.
        prefixes: uint8, one a name: 1 if everything that begins with it goes.
    """

    scheme: int
    www: int
    slash: int
    fragment: int
    query: int
    name_offsets: Ints
    names: Bytes
    prefixes: Bytes


def url_spelling(*, scheme: bool, www: bool, slash: bool, fragment: bool, query: int, names: Sequence[str]) -> UrlSpelling:
    """The steps: whether scheme, `www.`, last slashes and fragment stay; a name that ends with `*` stands for all that begin with it."""
    plain = [name.removesuffix("*").encode() for name in names]
    return UrlSpelling(
        scheme=int(scheme),
        www=int(www),
        slash=int(slash),
        fragment=int(fragment),
        query=query,
        name_offsets=np.cumsum([0, *map(len, plain)], dtype=np.int64),
        names=np.frombuffer(b"".join(plain) or b"\0", np.uint8),
        prefixes=np.array([name.endswith("*") for name in names] or [False], np.uint8),
    )


@lean_kernel
def _low(byte: Any) -> Any:
    """The lower case of an ASCII letter; other bytes as they are."""
    return byte + np.uint8(32) if 65 <= byte <= 90 else byte


@lean_kernel
def _is_default_port(data: Any, start: Any, stop: Any, port: Any) -> Any:
    """Whether a port is the one of the scheme `data[start:stop]`; without a scheme, of either scheme of the web."""
    if stop - start > LONGEST_SCHEME:
        return False
    scheme = np.int64(0)
    for at in range(start, stop):
        scheme = (scheme << 8) | np.int64(_low(data[at]))
    found = False
    for i in range(len(PORTS)):
        found = found or (PORT_SCHEMES[i] == scheme and PORTS[i] == port)
    return found


@lean_kernel
def _scheme_end(data: Any, start: Any, stop: Any) -> Any:
    """Where the scheme ends if `scheme://` begins a URL; `start` if `//` does; else `NO_URL`."""
    at = start
    if at < stop and CLASSES[data[at]] & SCHEME and not (48 <= data[at] <= 57 or data[at] in (43, 45, 46)):
        while at < stop and CLASSES[data[at]] & SCHEME:
            at += 1
        if at == stop or data[at] != COLON:
            return NO_URL
    mark = at if at == start else at + 1
    if mark + 1 < stop and data[mark] == SLASH and data[mark + 1] == SLASH:
        return at
    return NO_URL


@lean_kernel
def _escaped(data: Any, at: Any, stop: Any, out: Any, end: Any) -> Any:
    """Write bytes with the one spelling of escapes and return where they end.

    What needs no escape has none; others are in capitals; a percent sign that begins no escape is one itself.
    """
    while at < stop:
        byte = data[at]
        at += 1
        if byte == PERCENT and at + 1 < stop and HEX_VALUES[data[at]] < 16 and HEX_VALUES[data[at + 1]] < 16:
            byte = HEX_VALUES[data[at]] * np.uint8(16) + HEX_VALUES[data[at + 1]]
            at += 2
            is_plain = CLASSES[byte] & UNRESERVED != 0
        else:
            is_plain = CLASSES[byte] & PLAIN != 0
        if is_plain:
            out[end] = byte
            end += 1
        else:
            out[end] = PERCENT
            out[end + 1] = HEX_DIGITS[byte >> 4]
            out[end + 2] = HEX_DIGITS[byte & 15]
            end += 3
    return end


@lean_kernel
def _authority_end(data: Any, start: Any, stop: Any) -> Any:
    """Where the authority of a URL ends, and where its host and port begin in it (behind the user, if there is one)."""
    end, host = start, start
    while end < stop and data[end] != SLASH and data[end] != QUESTION and data[end] != HASH:
        if data[end] == AT:
            host = end + 1
        end += 1
    return end, host


@lean_kernel
def _port(data: Any, start: Any, stop: Any) -> Any:
    """A port in decimal digits; -1 if there are none, -2 if it is no port."""
    port = -1
    for at in range(start, stop):
        if not 48 <= data[at] <= 57:
            return -2
        port = (0 if port < 0 else port * 10) + np.int64(data[at]) - 48
        if port > MAX_PORT:
            return -2
    return port


@lean_kernel
def _host_end(data: Any, start: Any, stop: Any) -> Any:
    """Where a host ends that a port may follow; an address in brackets holds colons."""
    at = start
    if at < stop and data[at] == BRACKET:
        while at < stop and data[at] != 93:
            at += 1
        return min(at + 1, stop)
    while at < stop and data[at] != COLON:
        at += 1
    return at


@lean_kernel
def _host(data: Any, start: Any, stop: Any, keep_www: Any, out: Any, end: Any) -> Any:
    """Write a host in lower case; returns where it ends, or `NO_URL`, and whether it is one for IDNA: with its `www.` then."""
    is_address = data[start] == BRACKET
    while stop > start and data[stop - 1] == DOT:
        stop -= 1
    if start == stop or data[start] == DOT:
        return NO_URL, False
    if is_address and (stop - start < 4 or data[stop - 1] != 93):
        return NO_URL, False
    is_foreign = False
    for at in range(start, stop):
        byte = data[at]
        if is_address:
            is_bracket = at in (start, stop - 1)
            if not (is_bracket or HEX_VALUES[byte] < 16 or byte in (COLON, DOT)):
                return NO_URL, False
        elif CLASSES[byte] & FORBIDDEN:
            return NO_URL, False
        is_foreign = is_foreign or byte >= 0x80 or byte == PERCENT
    if not keep_www and not is_foreign and stop - start > 4:
        is_www = data[start + 3] == DOT and data[start + 4] != DOT
        for at in range(start, start + 3):
            is_www = is_www and _low(data[at]) == 119
        if is_www:
            for at in range(start + 4, stop):
                if data[at] == DOT:
                    start += 4
                    break
    for at in range(start, stop):
        out[end] = _low(data[at])
        end += 1
    return end, is_foreign


@lean_kernel
def _path(data: Any, at: Any, stop: Any, keep_slash: Any, out: Any, end: Any) -> Any:
    """Write a path without its dot segments and return where it ends. It begins with a slash, or is empty."""
    floor = end
    out[end] = SLASH
    end += 1
    at += 1
    while at <= stop:
        segment, begin = end, at
        while at < stop and data[at] != SLASH:
            at += 1
        end = _escaped(data, begin, at, out, end)
        if end - segment <= 2 and end > segment and out[segment] == DOT and out[end - 1] == DOT:
            if end - segment == 2 and segment > floor + 1:
                segment -= 1
                while out[segment - 1] != SLASH:
                    segment -= 1
            end = segment
        elif at < stop:
            out[end] = SLASH
            end += 1
        at += 1
    while not keep_slash and end > floor and out[end - 1] == SLASH:
        end -= 1
    return end


@lean_kernel
def _goes(out: Any, start: Any, stop: Any, spelling: Any) -> Any:
    """Whether a parameter is one of those that go, by its name, in any case."""
    end = start
    while end < stop and out[end] != EQUALS:
        end += 1
    for name in range(len(spelling.name_offsets) - 1):
        begin, size = spelling.name_offsets[name], spelling.name_offsets[name + 1] - spelling.name_offsets[name]
        if end - start < size or (end - start > size and spelling.prefixes[name] == 0):
            continue
        same = True
        for at in range(size):
            if _low(out[start + at]) != spelling.names[begin + at]:
                same = False
                break
        if same:
            return True
    return False


@lean_kernel
def _name_is_after(out: Any, first: Any, first_stop: Any, second: Any, second_stop: Any) -> Any:
    """Whether the name of one parameter sorts behind that of another, as bytes."""
    while True:
        first_ends = first == first_stop or out[first] == EQUALS
        second_ends = second == second_stop or out[second] == EQUALS
        if first_ends or second_ends:
            return second_ends and not first_ends
        if out[first] != out[second]:
            return out[first] > out[second]
        first += 1
        second += 1


@lean_kernel
def _merge_pass(out: Any, spans: Any, old: Any, new: Any, count: Any, width: Any) -> None:
    """Merge neighbouring sorted runs of so many parameters from two rows of `spans` into two others; equal names keep their order."""
    for begin in range(0, count, 2 * width):
        left, right = np.int64(begin), min(begin + width, count)
        left_stop, right_stop = right, min(begin + 2 * width, count)
        for place in range(begin, right_stop):
            takes_right = left == left_stop or (
                right < right_stop and _name_is_after(out, spans[old, left], spans[old + 1, left], spans[old, right], spans[old + 1, right])
            )
            taken = right if takes_right else left
            spans[new, place], spans[new + 1, place] = spans[old, taken], spans[old + 1, taken]
            left, right = (left, right + 1) if takes_right else (left + 1, right)


@lean_kernel
def _sorted(out: Any, begin: Any, count: Any, scratch: Any, spans: Any) -> None:
    """Put `count` parameters, written one behind the other from `begin` on, in the order of their names."""
    in_order = True
    for i in range(1, count):
        in_order = in_order and not _name_is_after(out, spans[0, i - 1], spans[1, i - 1], spans[0, i], spans[1, i])
    if in_order:
        return
    width, turn = 1, 0
    while width < count:
        _merge_pass(out, spans, turn, 2 - turn, count, width)
        turn = 2 - turn
        width *= 2
    size = 0
    for i in range(count):
        size = copy(out, spans[turn, i], spans[turn + 1, i], scratch, size)
        scratch[size] = AMPERSAND
        size += 1
    copy(scratch, 0, size - 1, out, begin)


@lean_kernel
def _query(data: Any, at: Any, stop: Any, spelling: Any, out: Any, end: Any, scratch: Any, spans: Any) -> Any:
    """Write a query from its question mark on, without parameters that are empty or go; returns where it ends."""
    floor, count = end, 0
    out[end] = QUESTION
    end += 1
    while at < stop:
        begin = at
        while at < stop and data[at] != AMPERSAND:
            at += 1
        if at > begin:
            written = _escaped(data, begin, at, out, end)
            if not _goes(out, end, written, spelling):
                spans[0, count], spans[1, count] = end, written
                count += 1
                out[written] = AMPERSAND
                end = written + 1
        at += 1
    if count == 0:
        return floor
    if spelling.query == SORT_QUERY:
        _sorted(out, floor + 1, count, scratch, spans)
    return end - 1


@lean_kernel
def _authority(data: Any, start: Any, stop: Any, spelling: Any, out: Any, end: Any) -> Any:
    """Write scheme, host and port of a URL.

    Returns:
        Where the authority ends in `data`, or `NO_URL`; in `out` where the host begins, where it ends, and where all of it ends; whether
        the host is one for IDNA.
    """
    scheme = _scheme_end(data, start, stop)
    begin = start if scheme == NO_URL else scheme + (2 if scheme == start else 3)
    authority, host = _authority_end(data, begin, stop)
    host_end = _host_end(data, host, authority)
    port = _port(data, host_end + 1, authority)
    if host == host_end or port == -2 or (host_end < authority and data[host_end] != COLON):
        return NO_URL, end, end, end, False
    if spelling.scheme and scheme > start:
        for at in range(start, scheme):
            out[end] = _low(data[at])
            end += 1
        out[end], out[end + 1], out[end + 2] = COLON, SLASH, SLASH
        end += 3
    host_begin = end
    end, is_foreign = _host(data, host, host_end, spelling.www, out, host_begin)
    if end == NO_URL:
        return NO_URL, host_begin, host_begin, host_begin, False
    if scheme == NO_URL:
        dotted = False
        for at in range(host_begin, end):
            dotted = dotted or out[at] == DOT
        if not dotted or host > begin or out[host_begin] == BRACKET:
            return NO_URL, host_begin, host_begin, host_begin, False
    host_stop = end
    if port >= 0 and not _is_default_port(data, start, max(scheme, start), port):
        out[end] = COLON
        divisor = 10000
        while divisor > 1 and port < divisor:
            divisor //= 10
        end += 1
        while divisor > 0:
            out[end] = 48 + port // divisor % 10
            end += 1
            divisor //= 10
    return authority, host_begin, host_stop, end, is_foreign


@lean_kernel
def _spell(offsets: Any, data: Any, spelling: Any, out_offsets: Any, out: Any, hosts: Any, scratch: Any, spans: Any) -> None:
    """Write the one spelling of each URL; `hosts` tells bounds of its host in it, and 1 if IDNA has to look at that, -1 if it is no URL."""
    end = np.int64(0)
    for row in range(len(offsets) - 1):
        floor, start, stop = end, offsets[row], offsets[row + 1]
        while start < stop and data[start] <= 32:
            start += 1
        while stop > start and data[stop - 1] <= 32:
            stop -= 1
        at, host_begin, host_stop, end, is_foreign = _authority(data, start, stop, spelling, out, end)
        hosts[0, row], hosts[1, row], hosts[2, row] = host_begin - floor, host_stop - floor, 1 if is_foreign else 0
        if at == NO_URL:
            hosts[2, row] = NO_URL
            end = floor
        else:
            path_end = at
            while path_end < stop and data[path_end] != QUESTION and data[path_end] != HASH:
                path_end += 1
            query_end = path_end
            while query_end < stop and data[query_end] != HASH:
                query_end += 1
            end = _path(data, at, path_end, spelling.slash, out, end)
            if spelling.query != IGNORE_QUERY and query_end > path_end:
                end = _query(data, path_end + 1, query_end, spelling, out, end, scratch, spans)
            if spelling.fragment and query_end + 1 < stop:
                out[end] = HASH
                end = _escaped(data, query_end + 1, stop, out, end + 1)
        out_offsets[row + 1] = end


def spell_urls(offsets: Ints, data: Bytes, spelling: UrlSpelling) -> tuple[Ints, Bytes, Ints]:
    """The one spelling of each URL, empty where there is none.

    Returns:
        Offsets from zero, bytes, and an array of three rows: where the host begins and ends in each URL's spelling, and 1 if the host has
        letters or escapes that IDNA has to look at (its `www.` is there then), 0 if not, -1 if the text is no URL.
    """
    num_rows, num_bytes = len(offsets) - 1, int(offsets[-1] - offsets[0])
    longest = int(np.diff(offsets).max(initial=0))
    out_offsets, hosts = np.zeros(num_rows + 1, np.int64), np.zeros((3, num_rows), np.int64)
    out, scratch = np.empty(GROWTH * num_bytes + ROOM * num_rows, np.uint8), np.empty(GROWTH * longest + ROOM, np.uint8)
    most = min(int(np.count_nonzero(data[offsets[0] : offsets[-1]] == AMPERSAND)), longest) + 1
    _spell(offsets, data, spelling, out_offsets, out, hosts, scratch, np.empty((4, most), np.int64))
    return out_offsets, out, hosts
