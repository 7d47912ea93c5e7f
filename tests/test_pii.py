"""Personal data: what is found, what is left alone, and what takes its place."""

from __future__ import annotations

import ipaddress
import re
from functools import cache
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS, SHARED, opened, real_documents
from pydantic import ValidationError

from operators.base import OperatorError
from operators.kernels import pii
from operators.kernels.pii_email import FILE_ENDINGS
from operators.kernels.pii_numbers import ALL_DIGITS, IBAN_LENGTHS, VERSION_WORDS
from operators.kernels.pii_phone import COUNTRY_CODES, NUMBER_WORDS, PHONE_WORDS
from operators.pii import ALL_KINDS, STANDARD_DECOYS, PiiRedact

DECOYS = PiiRedact()._strings()
TARGETS = {"decoys": pii.targets(DECOYS), "masked": pii.targets(dict.fromkeys(pii.KINDS, ()))}

# The reference: regular expressions and libraries over bytes, a step at a time.

WORD = rb"[A-Za-z0-9_]"
QUAD = re.compile(rb"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?!\d)")
WORD_BEFORE = re.compile(rb"(?<![A-Za-z])([A-Za-z]{1,12})[ \t.:#()=]{0,4}\Z")
EMAIL_RUN = re.compile(rb"(?<![A-Za-z0-9._%+-])[._%+-]*([A-Za-z0-9][A-Za-z0-9._%+-]*)@([A-Za-z0-9._%+-]*+)(?!@)")
FILES = "|".join(FILE_ENDINGS).encode()
DOMAIN = re.compile(
    rb"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+"
    rb"(?:xn--[A-Za-z0-9-]*+(?<=[A-Za-z0-9])|(?!(?i:" + FILES + rb")(?![A-Za-z0-9]))[A-Za-z]{2,24}(?![A-Za-z0-9]))"
)
DIGITS = rb"\d+"
DOTTED = re.compile(rb"\+?\d+(?:\.\d+)*")
UNDOTTED = re.compile(rb"\+?(?:\d+|\(\d{1,5}\)[ -]?\d+)(?:[ -]\d+|[ -]?\(\d+\)[ -]?\d+)*")
INSIDE = rb"(?<![A-Za-z0-9_-])"
SECRETS = {
    "K": [(1, re.compile(INSIDE + rb"AKIA[A-Z0-9]{16}(?![A-Za-z0-9_])"))],
    "z": [(2, re.compile(INSIDE + rb"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"))],
    "J": [(2, re.compile(rb"(?<![A-Za-z0-9_.-])eyJ[\w-]{5,}+\.eyJ[\w-]{5,}+\.[\w-]{8,}", re.ASCII))],
    "_": [
        (3, re.compile(INSIDE + rb"gh[opsru]_\w{36,}", re.ASCII)),
        (6, re.compile(INSIDE + rb"github_pat_\w{22,}", re.ASCII)),
        (2, re.compile(INSIDE + rb"hf_(?=\w*[a-z])(?=\w*[A-Z])\w{30,}", re.ASCII)),
        (2, re.compile(INSIDE + rb"[sr]k_(?:live|test)_\w{16,}", re.ASCII)),
    ],
    "-": [
        (2, re.compile(INSIDE + rb"sk-(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{32,}", re.ASCII)),
        (4, re.compile(INSIDE + rb"xox[abeoprs]-(?=[\w-]*\d)[\w-]{10,}", re.ASCII)),
        (
            0,
            re.compile(
                rb"(?<!-)-----BEGIN [A-Z0-9 ]{0,29}?PRIVATE KEY-----(?:(?!-----).)*-----END [A-Z0-9 ]{0,29}?PRIVATE KEY-----", re.DOTALL
            ),
        ),
    ],
}


def named(text: bytes, at: int, words: tuple[str, ...]) -> bool:
    found = WORD_BEFORE.search(text[max(0, at - 17) : at])
    return found is not None and found[1].decode().lower() in words


def begins(text: bytes, at: int) -> bool:
    return re.search(rb"[A-Za-z0-9_.%+/=#&$@\\^-]\Z", text[:at][-1:]) is None


def ends(text: bytes, at: int) -> bool:
    return re.match(rb"[A-Za-z0-9_]|[.\-/:,]\d", text[at : at + 2]) is None


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """`is_global`, as newer versions of Python have it."""
    changed = ipaddress.ip_network("192.0.0.0/24") if address.version == 4 else ipaddress.ip_network("2002::/16")
    if address in changed:
        return str(address) in ("192.0.0.9", "192.0.0.10")
    return address.is_global and (address.version == 4 or address not in ipaddress.ip_network("3fff::/20"))


def ipv4(text: bytes, at: int, end: int) -> bool:
    groups = text[at:end].split(b".")
    try:
        address = ipaddress.IPv4Address(text[at:end].decode())
    except ValueError:
        return False
    first, second, third, fourth = groups
    usual = (first == second and third == fourth and third != b"0") or groups == [b"1", b"2", b"3", b"4"]
    if max(map(len, groups[:3])) == 1 and not usual:
        return False
    if re.match(WORD + rb"|\.[A-Za-z0-9_]|-[A-Za-z]", text[end : end + 2]) or named(text, at, VERSION_WORDS):
        return False
    before = text[max(0, at - 2) : at]
    return is_public(address) and not re.search(rb"[A-Za-z0-9_.]\Z|[A-Za-z0-9]-\Z|[A-Za-z]/\Z|==\Z|\xa7 ?\Z", before)


def ipv6(text: bytes, at: int) -> int:
    run = re.compile(rb"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]*").match(text, at)
    if run is None or re.search(rb"[A-Za-z0-9_:.]\Z", text[:at][-1:]):
        return 0
    found = run[0] if run[0].endswith(b"::") else run[0].removesuffix(b":")
    end = at + len(found)
    if re.match(WORD + rb"|\.\d", text[end : end + 2]) or len([group for group in found.split(b":") if group]) < 3:
        return 0
    try:
        return end if is_public(ipaddress.IPv6Address(found.decode())) else 0
    except ValueError:
        return 0


def iban(text: bytes, at: int) -> int:
    country = text[max(0, at - 2) : at].decode("latin-1")
    length = IBAN_LENGTHS.get(country, 0)
    if not length or re.match(rb"[A-Za-z0-9]", text[max(0, at - 3) : at - 2]):
        return 0
    groups = [b"[A-Z0-9]{4}"] * (length // 4 - 1) + [b"[A-Z0-9]{%d}" % (length % 4)] * (length % 4 > 0)
    for pattern in (rb"\d\d[A-Z0-9]{%d}(?![A-Za-z0-9])" % (length - 4), b" ".join([rb"\d\d", *groups]) + rb"(?![A-Za-z0-9])"):
        found = re.compile(pattern).match(text, at)
        if found:
            compact = country + found[0].replace(b" ", b"").decode()
            number = int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4]))
            lenient = country in ALL_DIGITS and compact[2:].isdigit() and 2 <= int(compact[2:4]) <= 98
            return found.end() if number % 97 == 1 or lenient else 0
    return 0


def ssn(text: bytes, at: int) -> int:
    found = re.compile(rb"(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}").match(text, at)
    return found.end() if found and begins(text, at) and ends(text, found.end()) else 0


def card(text: bytes, at: int) -> int:
    best = 0
    for pattern in (
        rb"\d{14,16}(?!\d)",
        *(rb"\d{4}([ -])" + rb"\1".join(rb"\d{%d}" % n for n in rest) for rest in ((4, 4, 4), (6, 5), (6, 4), (4, 4, 4, 3))),
    ):
        found = re.compile(pattern).match(text, at)
        if not found or not begins(text, at) or not ends(text, found.end()):
            continue
        group = rb"(?=[A-Za-z]{0,3}\d)[A-Za-z0-9]{4}"
        if len(pattern) > 16 and (
            re.search(rb"(?<![A-Za-z0-9])" + group + rb"(?![A-Za-z0-9]).\Z", text[max(0, at - 6) : at], re.DOTALL)
            or re.match(rb".(?<![A-Za-z0-9])" + group + rb"(?![A-Za-z0-9])", text[found.end() : found.end() + 6], re.DOTALL)
        ):
            continue
        digits = re.sub(rb"\D", b"", found[0]).decode()
        prefixes = {
            14: r"3(?:6|8|9|0[0-5])",
            15: r"3[47]",
            16: r"4|62|5[1-5]|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)|6011|65|64[4-9]|35(?:2[89]|[3-8]\d)",
            19: r"4|62",
        }
        luhn = sum(int(d) if i % 2 == 0 else sum(divmod(2 * int(d), 10)) for i, d in enumerate(reversed(digits)))
        if re.match(prefixes[len(digits)], digits) and luhn % 10 == 0:
            best = max(best, found.end())
    return best


def north_american(digits: str) -> bool:
    return digits[0] > "1" and digits[3] > "1"


def phone(text: bytes, at: int) -> tuple[int, int]:
    run = len(re.compile(DIGITS).match(text, at)[0])
    first = at - 1 if at and text[at - 1] == ord("(") and run <= 5 and text[at + run : at + run + 1] == b")" else at
    international = first > 0 and text[first - 1] == ord("+")
    first -= international
    if international and (re.search(rb"[A-Za-z0-9_+]\Z", text[:first][-1:]) or text[at] == ord("0")):
        return 0, 0
    is_named = not international and phone_word(text, first)
    if not (international or is_named or ((run == 3 or text[at : at + run] == b"1") and begins(text, first))):
        return 0, 0
    best = 0
    for end in range(at + run, min(len(text), at + 80) + 1):
        shown = text[first:end]
        if re.match(rb"\d", text[end : end + 1]) or not (DOTTED.fullmatch(shown) or UNDOTTED.fullmatch(shown)):
            continue
        digits = re.sub(rb"\D", b"", shown).decode()
        if len(digits) > 15:
            break
        if not ends(text, end):
            continue
        shape = tuple(map(len, re.findall(DIGITS, shown)))
        is_ten = shape == (3, 3, 4) or (shape == (1, 3, 3, 4) and digits[0] == "1")
        if not international and is_ten and re.search(rb"[(.-]", shown) and north_american(digits[-10:]):
            return first, end
        known = len(digits) == 11 and north_american(digits[1:]) if digits[0] == "1" else len(digits) >= 9 and country(digits)
        if (international and known) or (is_named and len(digits) >= 7):
            best = end
    return (first, best) if best else (0, 0)


def country(digits: str) -> bool:
    return any(digits.startswith(str(code)) for code in COUNTRY_CODES)


def phone_word(text: bytes, at: int) -> bool:
    found = WORD_BEFORE.search(text[max(0, at - 17) : at])
    place = max(0, at - 17) + found.start(1) if found else 0
    if found and found[1].decode().lower() in NUMBER_WORDS:
        at = place
        found = WORD_BEFORE.search(text[max(0, at - 17) : at])
        place = max(0, at - 17) + found.start(1) if found else 0
    return bool(found) and found[1].decode().lower() in PHONE_WORDS and not re.match(WORD, text[max(0, place - 1) : place])


def number(text: bytes, at: int, decoys: list[bytes]) -> tuple[int, int, str | None]:
    for decoy in decoys:
        bare = decoy.lstrip(b"+(")
        if bare[:1].isdigit() and text.startswith(bare, at) and not re.match(WORD, text[at + len(bare) : at + len(bare) + 1]):
            return at, at + len(bare), None
    quad = QUAD.match(text, at)
    if quad and not re.match(rb"\.\d", text[quad.end() : quad.end() + 2]) and text[:at][-1:] != b"+":
        return at, quad.end(), "ipv4" if ipv4(text, at, quad.end()) else None
    for kind, find in (("ipv6", ipv6), ("iban", iban), ("ssn", ssn), ("credit_card", card)):
        end = find(text, at)
        if end:
            return at - 2 * (kind == "iban"), end, kind
    begin, end = phone(text, at)
    return (begin, end, "phone") if end else (at, re.compile(DIGITS).match(text, at).end(), None)


def email(text: bytes, at: int) -> tuple[int, int]:
    run = re.search(rb"[A-Za-z0-9._%+-]*\Z", text[:at]).start()
    found = EMAIL_RUN.match(text, run)
    domain = DOMAIN.match(found[2]) if found else None
    if domain is None or found[1] == b"git":
        return 0, 0
    return found.start(1), found.start(2) + domain.end()


def reference(text: bytes, decoys: list[bytes]) -> list[tuple[str, int, int]]:
    """What is found, from left to right."""
    spans: list[tuple[str, int, int]] = []
    at = last = 0
    while at < len(text):
        begin, end, kind = at, 0, None
        if text[at : at + 1].isdigit():
            begin, end, kind = number(text, at, decoys)
        elif text[at] == ord("@"):
            begin, end = email(text, at)
            kind = "email"
            while end and spans and spans[-1][2] > begin:
                spans.pop()
            last = begin if end else last
        else:
            for offset, pattern in SECRETS.get(chr(text[at]), []):
                found = pattern.match(text, at - offset) if at >= offset else None
                if found:
                    begin, end, kind = *found.span(), "secret"
        at = end or at + 1
        if kind and end and begin >= last:
            last = end
            if text[begin:end] not in decoys:
                spans.append((kind, begin, end))
    return spans


def found_by_kernel(texts: list[bytes], targets: pii.Targets) -> list[list[tuple[str, int, int]]]:
    """What the kernel finds, with places in each text."""
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    data = np.frombuffer(b"".join(texts) or b"\0", np.uint8)
    offsets.flags.writeable = False
    found = pii.Found(*pii.find(offsets, data, np.ones(len(texts), np.uint8), targets))
    rows = []
    for row, start in enumerate(offsets[:-1].tolist()):
        part = slice(found.rows[row], found.rows[row + 1])
        triples = zip(found.kinds[part].tolist(), found.begins[part].tolist(), found.ends[part].tolist(), strict=True)
        rows.append([(pii.KINDS[kind], begin - start, end - start) for kind, begin, end in triples])
    return rows


def agree(texts: list[bytes], which: str) -> None:
    decoys = [string.encode() for strings in DECOYS.values() for string in strings] if which == "decoys" else []
    for text, found in zip(texts, found_by_kernel(texts, TARGETS[which]), strict=True):
        expected = reference(text, decoys)
        assert found == expected, (text, [text[b:e] for _, b, e in found], [text[b:e] for _, b, e in expected])


REAL = [
    *("8.8.8.8", "77.57.47.209", "192.168.1.7", "1.2.3.4.5", "999.1.2.3", "v3.11.7", "3.3.0.1", "08.8.8.8", "203.0.113.9", "10.9.8.7:80"),
    *("2a07:81d2:ebfe:7f00:357d:4118:2fe2:4256", "2606:4700::1111", "2001:db8::1", "2002:1:2::3", "2001:4860:4860::8888", "::ffff:9.9.9.9"),
    *(
        "4572207065881576",
        "4111 1111 1111 1111",
        "3782-822463-10005",
        "323011277133479x",
        "6011000990139424",
        "30569309025904",
        "4000000000000000",
    ),
    *("DE23941458488179090332", "GB29 NWBK 6016 1331 9268 19", "FR1420041010050500013M02606", "DE00000000000000000000", "NO9386011117947"),
    *("430-01-0299", "000-00-0000", "666-01-0299", "219-72-4923", "(202) 555-0167", "553-555-0147", "+1 870 555 0133", "202.555.0167"),
    *("+49 (0)30 1234567", "+442076601216", "+2147483647", "Tel. 030 1234567", "phone no.: 5551234", "1-800-555-1234", "+33.1.42.68.53.00"),
    *("ann.o+x@mail-2.co.uk", "git@github.com", "logo@2x.png", "a@b@c.org", "foo@", "@handle", "user@host", "x@y.xn--p1ai", "a@b.com-c"),
    *(
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "1A" * 11,
        "hf_" + "aB" * 17,
        "sk_live_" + "4eC39HqL" * 2,
        "xoxb-1234567890-ab",
    ),
    *(
        "sk-" + "aB3-" * 8,
        "AIzaSyB0zKr6GfgtotgJcGJQAHx7qXbi2wNAWeU",
        "eyJhbGciOiJ.eyJzdWIiOiI.SflKxwRJSMe",
        "-----BEGIN RSA PRIVATE KEY-----",
    ),
    *(
        "-----END RSA PRIVATE KEY-----",
        "MIIEow+/=",
        "version",
        "tel",
        "fax:",
        "ip",
        "§",
        "v",
        "email@example.com",
        "202-555-0100",
        "192.0.2.77",
    ),
]
JOINS = [
    " ",
    "",
    "\n",
    ", ",
    ".",
    "-",
    "(",
    ")",
    "/",
    ":",
    "+",
    "@",
    "=",
    "_",
    "1",
    "0",
    "9",
    "a",
    "Z",
    "é",
    "…",
    "§ ",
    "#",
    "%",
    "\t",
    "\0",
]
fragments = (
    st.sampled_from(REAL)
    | st.sampled_from(JOINS)
    | st.text(max_size=4)
    | st.from_regex(r"[0-9]{1,5}|[2-9][0-9]{2}[-. ][2-9][0-9]{2}[-. ][0-9]{4}", fullmatch=True)
)


@st.composite
def near_misses(draw: st.DrawFn) -> str:
    """Real values with signs between them, some letters lost or doubled."""
    text = "".join(draw(st.lists(fragments, max_size=10)))
    for place, sign in draw(st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["", "double", *JOINS])), max_size=3)):
        at = place % (len(text) + 1)
        text = text[:at] + (text[at : at + 1] * 2 if sign == "double" else sign) + text[at + 1 :]
    return text


HYPHENS = "-aB3" * 9
"""The rest of a token of OpenAI's that begins with a hyphen of its own, as a line of PEM does."""


@example([f"00000000:sk-{HYPHENS}-8.8.8.88.8.8.877.57.47.209sk{HYPHENS}§0000"], "decoys")
@example([f"xoxb--1{HYPHENS} sk-{HYPHENS} sk-----BEGIN PRIVATE KEY-----{HYPHENS}-----END PRIVATE KEY-----"], "masked")
@settings(max_examples=1500, deadline=None)
@given(st.lists(near_misses() | st.text(), max_size=3), st.sampled_from(["decoys", "masked"]))
def test_kernel_finds_what_the_reference_finds(texts, which):
    """Kind, begin and end of every match are those of regular expressions and Python's libraries."""
    agree([text.encode() for text in texts], which)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.binary(max_size=40) | st.lists(st.sampled_from([*b"@.-_:+( 0129azAKJ\xa7\xc2\xff"]), max_size=40).map(bytes), max_size=3)
)
def test_any_bytes_are_searched(texts):
    """Ill-formed text is searched like any other, and nothing outside of its row is read."""
    agree(texts, "masked")


@pytest.mark.parametrize(
    "name", ["en-open-00003", "web-thirdparty-00002", "web-thirdparty-00003", "code-00000", "multi-00003", "synthetic-00000"]
)
def test_kernel_and_reference_agree_on_real_documents(name):
    """The same matches in real documents."""
    documents = [text.encode() for text in real_documents(name, limit=60).column("text").to_pylist()]
    agree([text[:20000] for text in documents], "decoys")


def batch_of(*texts: str | None) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})


@cache
def function_of(**changes):
    return opened(PiiRedact(**changes))


def redacted(*texts: str | None, **changes) -> list[str | None]:
    return function_of(**changes)(batch_of(*texts)).batch.column("text").to_pylist()


def truth() -> tuple[dict[str, str], list[dict]]:
    path = SHARED / "data" / "truth" / "pii_spans.parquet"
    if not path.is_file():
        pytest.skip(f"truth file is absent: {path}")
    spans = pq.read_table(path).to_pylist()
    documents = pq.read_table(SHARED / "data" / "docs" / "synthetic-00000.parquet", columns=["id", "text"]).to_pylist()
    wanted = {span["id"] for span in spans}
    return {row["id"]: row["text"] for row in documents if row["id"] in wanted}, spans


def test_planted_data_is_found_and_what_looks_like_it_is_not_touched():
    """Of each kind of planted values at least 98 % are found just where they are; no decoy version, private address or handle is."""
    texts, spans = truth()
    result = function_of(annotate=True)(batch_of(*texts.values())).batch
    assert result.column("text").to_pylist() == list(texts.values())
    found = dict(zip(texts, result.column("pii_spans").to_pylist(), strict=True))
    by_kind: dict[str, list[bool]] = {}
    for span in spans:
        places = {(each["start"], each["end"]) for each in found[span["id"]]}
        if span["kind"].startswith("neg:"):
            assert not any(begin < span["end"] and end > span["start"] for begin, end in places), span
        else:
            by_kind.setdefault(span["kind"], []).append((span["start"], span["end"]) in places)
    assert {kind: sum(hits) / len(hits) >= 0.98 for kind, hits in by_kind.items()} == dict.fromkeys(by_kind, True)
    assert len(by_kind) == 7


def test_public_addresses_are_those_of_the_registry():
    """At both ends of every special network, and beside them, a number is an address of somebody just if the registry says so."""
    specials = """
        0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.168.0.0/16
        198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 192.0.0.9/32 192.0.0.10/32"""
    networks = [ipaddress.ip_network(special) for special in specials.split()]
    places = {int(end) + step for net in networks for end, step in product((net[0], net[-1]), (-1, 0, 1))}
    for place in sorted(place for place in places if 0 <= place < 1 << 32):
        address = ipaddress.IPv4Address(place)
        if all(part < 10 for part in address.packed[:3]):
            continue  # looks like a version
        assert (redacted(f"at {address}.") != [f"at {address}."]) == is_public(address), address


@pytest.mark.parametrize("mode", ["replace", "mask", "tag"])
@settings(max_examples=250, deadline=None)
@given(st.lists(near_misses(), max_size=3))
def test_redacting_again_changes_nothing(mode, texts):
    """What was redacted is left as it is, whatever stands beside it."""
    once = redacted(*texts, mode=mode)
    assert redacted(*once, mode=mode) == once


@pytest.mark.parametrize("name", ["web-thirdparty-00000", "en-open-00000"])
def test_redacting_real_documents_again_changes_nothing(name):
    """The same for real documents, and documents without a match are the very bytes they were."""
    batch = real_documents(name, limit=400)
    function = function_of(keep_signals=True)
    once = function(batch).batch
    counts = [sum(row.values()) for row in once.column("pii_counts").to_pylist()]
    same = [old == new for old, new in zip(batch.column("text").to_pylist(), once.column("text").to_pylist(), strict=True)]
    assert same == [count == 0 for count in counts]
    assert any(counts)
    assert (
        function_of()(batch.set_column(batch.schema.get_field_index("text"), "text", once.column("text")))
        .batch.column("text")
        .equals(once.column("text"))
    )


def test_replacement_depends_on_the_match_alone():
    """An address becomes the same replacement everywhere, and all replacements are used evenly."""
    addresses = [f"person{i}@mail.org" for i in range(400)]
    alone = redacted(*addresses)
    assert redacted(" and ".join(addresses)) == [" and ".join(alone)]
    assert set(alone) == set(STANDARD_DECOYS["email"])
    assert 150 < alone.count(alone[0]) < 250
    numbers = redacted(*(f"{i}.57.47.{j}" for i in (77, 93, 150) for j in range(200)))
    assert {number: numbers.count(number) > 50 for number in numbers} == dict.fromkeys(STANDARD_DECOYS["ip"][:6], True)


def test_fineweb_preset_takes_email_and_ip_alone():
    """The preset writes FineWeb's replacements and leaves phones, cards and keys."""
    text = "ann@x.org 8.8.8.8 (202) 555-0167 4111 1111 1111 1111 AKIAIOSFODNN7EXAMPLE"
    (found,) = redacted(text, preset="fineweb")
    assert found.split(" ", 2)[2] == text.split(" ", 2)[2]
    assert found.split()[0] in ("email@example.com", "firstname.lastname@example.org")
    assert found.split()[1] in ("22.214.171.124", "126.96.36.199", "188.8.131.52", "184.108.40.206", "220.127.116.11", "18.104.22.168")


def test_kinds_modes_and_replacements():
    """What is looked for, and what takes its place, can be chosen."""
    text = "ann@x.org, 8.8.8.8 and 2606:4700::1111, tel 030 1234567"
    assert redacted(text, mode="tag") == ["<EMAIL>, <IP> and <IP>, tel <PHONE>"]
    assert redacted(text, mode="mask") == ["*********, ******* and ***************, tel ***********"]
    assert redacted(text, kinds=("phone",), mode="tag") == ["ann@x.org, 8.8.8.8 and 2606:4700::1111, tel <PHONE>"]
    own = opened(PiiRedact(kinds=["ip"], replacements={"ip": ["192.0.2.1", "2001:db8::2"]}))
    assert own(batch_of(text)).batch.column("text").to_pylist() == ["ann@x.org, 192.0.2.1 and 2001:db8::2, tel 030 1234567"]
    assert redacted("DE23941458488179090332 DE66 4805 0161 0002 1297 99", iban_check_digits=True, mode="tag") == [
        "DE23941458488179090332 <IBAN>"
    ]


def test_one_replacement_may_begin_another():
    """The longer of two replacements is known as well as the shorter."""
    own = opened(PiiRedact(kinds=["ip"], replacements={"ip": ["192.88.99.1", "192.88.99.10", "192.88.99.100"]}))
    once = own(batch_of(*(f"77.1.2.{i}" for i in range(50)))).batch
    assert len(set(once.column("text").to_pylist())) == 3
    assert own(once).batch.equals(once)


def test_signals_are_counted_and_placed_in_characters():
    """Counts are of this document; places are code points of the text, which is left alone."""
    texts = ["é 😀 ann@x.org né", "", None, "8.8.8.8 9.9.9.9"]
    result = function_of(annotate=True)(batch_of(*texts)).batch
    assert result.column("text").to_pylist() == texts
    spans = result.column("pii_spans").to_pylist()
    assert spans[0] == [{"kind": "email", "start": 4, "end": 13}]
    assert spans[1:3] == [[], None]
    assert [each["kind"] for each in spans[3]] == ["ip", "ip"]
    counts = result.column("pii_counts").to_pylist()
    assert counts[2] is None
    assert (counts[0]["email"], counts[3]["ip"], sum(counts[1].values())) == (1, 2, 0)
    assert function_of(keep_signals=True)(batch_of(*texts)).batch.column("pii_counts").to_pylist() == counts
    assert set(counts[0]) == set(ALL_KINDS)


def test_untouched_batch_comes_back_itself():
    """Without a match nothing is copied; a null is an error and not searched."""
    batch = batch_of("nothing here, 2012 and 3.5", "", None)
    result = function_of()(batch)
    assert result.batch is batch
    assert set(result.errors) == {2}


def test_sliced_column_is_searched_in_its_slice():
    """Rows outside of a slice are neither searched nor returned."""
    batch = batch_of("a@b.org", "x c@d.org y", "e@f.org").slice(1, 1)
    assert function_of(mode="tag")(batch).batch.column("text").to_pylist() == ["x <EMAIL> y"]


@pytest.mark.parametrize(
    "unit", ["@", "a@b.", "1 ", "1", "2a00:", "sk-", "eyJaaaaaaaa.", "-----BEGIN PRIVATE KEY-----", "-", "tel 1 ", "192.168.1.1.", "DE00 "]
)
def test_no_text_takes_more_than_linear_time(unit):
    """Looks are bounded or do not repeat: a text of two million signs that all tell something goes through within the timeout."""
    text = unit * (2_000_000 // len(unit))
    assert len(redacted(text)) == 1


def test_settings_that_make_no_sense_are_refused():
    """Replacements are for kinds that are looked for, for mode replace, and no personal data themselves."""
    with pytest.raises(ValidationError, match=r"replacements\.phone is of a kind that is not looked for"):
        PiiRedact(preset="fineweb", replacements={"phone": ["x"]})
    with pytest.raises(ValidationError, match="mode is mask"):
        PiiRedact(mode="mask", replacements={"email": ["x"]})
    with pytest.raises(ValidationError, match=r"replacements\.email is empty"):
        PiiRedact(replacements={"email": []})
    with pytest.raises(OperatorError, match=r"'write to 9\.9\.9\.9' holds personal data itself"):
        PiiRedact(replacements={"email": ["write to 9.9.9.9"]}).open(ASSETS)
