"""`url_dedup`: which spellings are one URL, checked against a plain Python reading of the same steps."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS, real_documents
from pydantic import ValidationError

from operators.base import OperatorError
from operators.kernels.canonical_urls import IGNORE_QUERY, KEEP_QUERY, SORT_QUERY, spell_urls, url_spelling
from operators.url_dedup import TRACKING, UrlDedup, canonical_urls, url_hosts

DEFAULTS = {"scheme": False, "www": False, "slash": False, "fragment": False, "query": SORT_QUERY, "names": TRACKING}
UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
PORTS = {"http": ("80",), "ws": ("80",), "https": ("443",), "wss": ("443",), "ftp": ("21",), "": ("80", "443")}


def spelt(*urls: str | None, **steps: object) -> list[str | None]:
    """The one spelling of each URL."""
    return canonical_urls(pa.array(urls, pa.large_string()), url_spelling(**(DEFAULTS | steps))).to_pylist()


def key_of(url: str, **choices: object) -> tuple[int, int]:
    keys = UrlDedup(**choices).open(ASSETS)(pa.record_batch({"text": ["t"], "url": [url]}))
    return keys.column("key_hi")[0].as_py(), keys.column("key_lo")[0].as_py()


# --- the reference


def escaped(part: str) -> str:
    data, out, at = part.encode(), [], 0
    while at < len(data):
        found = re.match(rb"%([0-9A-Fa-f]{2})", data[at:])
        byte = int(found[1], 16) if found else data[at]
        at += 3 if found else 1
        allowed = UNRESERVED if found else UNRESERVED + "!$&'()*+,;=:@/?"
        out.append(chr(byte) if chr(byte) in allowed else f"%{byte:02X}")
    return "".join(out)


def without_dots(path: str) -> str:
    stack: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        is_last = number == len(segments) - 1
        if segment == "..":
            stack = stack[:-1]
        elif segment != ".":
            stack.append(segment)
            continue
        if is_last:
            stack.append("")
    return "/" + "/".join(stack)


def reference(url: str, *, scheme: bool, www: bool, slash: bool, fragment: bool, query: int, names: tuple[str, ...]) -> str | None:
    """The spelling of a URL with an ASCII host."""
    url = url.strip("".join(map(chr, range(33))))
    found = re.match(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?//", url)
    name = (found[1] or "").lower() if found else ""
    rest = url[found.end() :] if found else url
    authority, tail = re.fullmatch(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()
    if not found and "@" in authority:
        return None
    matched = re.fullmatch(r"(\[[0-9A-Fa-f:.]{2,}\]|[^:\[]*)(?::([0-9]*))?", authority.rpartition("@")[2], re.DOTALL)
    if matched is None:
        return None
    host, port = matched[1].rstrip(".").lower(), (matched[2] or "").lstrip("0") if (matched[2] or "").strip("0") else (matched[2] or "")[:1]
    if not host or host[0] == "." or (host[0] != "[" and re.search(r'[\x00-\x20\x7f#/:<>?@\[\\\]^|"`{}]', host)):
        return None
    if int(port or 0) > 65535:
        return None
    if not www and re.match(r"www\.[^.].*\.", host + "." if "." in host[4:] else host):
        host = host[4:]
    if not found and ("." not in host or host[0] == "["):
        return None
    port = "" if not port or port in PORTS.get(name, ()) else ":" + port
    path, mark, rest = re.fullmatch(r"([^?#]*)(\?[^#]*)?(.*)", tail, re.DOTALL).groups()
    path = without_dots("/".join(map(escaped, path.split("/"))) or "/")
    out = (f"{name}://" if scheme and name else "") + host + port + (path if slash else path.rstrip("/"))
    pieces = [escaped(piece) for piece in (mark or "?")[1:].split("&") if piece]
    plain = tuple(name for name in names if not name.endswith("*"))
    prefixes = tuple(name[:-1] for name in names if name.endswith("*"))
    pieces = [
        piece for piece in pieces if (key := piece.partition("=")[0].lower()) not in plain and not key.startswith(prefixes or ("\0",))
    ]
    if query == SORT_QUERY:
        pieces.sort(key=lambda piece: piece.partition("=")[0].encode())
    if pieces and query != IGNORE_QUERY:
        out += "?" + "&".join(pieces)
    return out + ("#" + escaped(rest[1:]) if fragment and len(rest) > 1 else "")


PIECES = [
    *("http", "https", "HTTPS", "ftp", "x", ":", "/", "//", "://", "?", "#", "&", "=", "@", ".", "..", "/./", "/../", "www.", "WWW."),
    *(
        "h.com",
        "Example.COM",
        "localhost",
        "[::1]",
        "[",
        "]",
        ":80",
        ":443",
        ":0",
        ":00080",
        ":65536",
        "8080",
        "%7e",
        "%2F",
        "%2e",
        "%",
        "%4",
    ),
    *(
        "utm_source=1",
        "UTM_x",
        "gclid",
        "fbclid=",
        "a=1",
        "a=0",
        "b",
        "c=2",
        "é",
        "漢",
        " ",
        "\t",
        "\n",
        "\0",
        "\\",
        "|",
        "~",
        "+",
        ";",
        "user",
    ),
]
URLS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=12).map(lambda parts: "http://h.com" + "".join(parts)),
    st.text(max_size=20),
)


@settings(deadline=None, max_examples=500)
@given(URLS, st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([KEEP_QUERY, SORT_QUERY, IGNORE_QUERY]))
@example("http://www.com", False, False, False, False, 1)
@example("http://www..com/", False, False, False, False, 1)
@example("http://h.com/a/../../b/..", True, True, True, True, 0)
@example("http://h.com//../x", True, True, True, True, 0)
@example("//h.com:443?&b&a&&c#", True, True, True, True, 1)
def test_steps_are_those_that_are_stated(url, scheme, www, slash, fragment, query):
    """The kernel does what the reference does, for every host in ASCII and every combination of steps."""
    steps = {"scheme": scheme, "www": www, "slash": slash, "fragment": fragment, "query": query, "names": ("utm_*", "gclid", "fbclid")}
    _, _, hosts = spell_urls(np.array([0, len(url.encode())]), np.frombuffer(url.encode() or b"\0", np.uint8), url_spelling(**steps))
    if hosts[2, 0] == 1:  # the reference knows nothing of IDNA
        return
    assert spelt(url, **steps) == [reference(url, **steps)]


@settings(deadline=None, max_examples=300)
@given(URLS)
def test_spelling_twice_changes_nothing(url):
    """The one spelling is its own."""
    [once] = spelt(url, scheme=True, www=True)
    if once is not None:
        again = once if "://" in once else "//" + once
        assert spelt(again, scheme=True, www=True) == [once]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_pass(pieces):
    """Bytes that are no text neither crash the kernel nor lead it out of its row."""
    offsets = np.cumsum([0, *map(len, pieces)])
    data = np.frombuffer(b"".join(pieces) or b"\0", np.uint8)
    out_offsets, out, _ = spell_urls(offsets, data, url_spelling(**DEFAULTS))
    for row, piece in enumerate(pieces):
        alone = spell_urls(np.array([0, len(piece)]), np.frombuffer(piece or b"\0", np.uint8), url_spelling(**DEFAULTS))
        assert out[out_offsets[row] : out_offsets[row + 1]].tobytes() == alone[1][: alone[0][1]].tobytes()


SAME = [
    (
        "http://example.com/a",
        "https://www.EXAMPLE.com:443/a/#top",
        {"ignore_scheme", "ignore_www", "ignore_trailing_slash", "ignore_fragment"},
    ),
    ("http://example.com/a", "https://example.com/a", {"ignore_scheme"}),
    ("http://example.com/a", "http://www.example.com/a", {"ignore_www"}),
    ("http://example.com/a", "http://example.com/a/", {"ignore_trailing_slash"}),
    ("http://example.com/a#x", "http://example.com/a#y", {"ignore_fragment"}),
    ("http://example.com/~u", "http://user:pw@example.com./%7Eu", set()),
    ("http://example.com/%C3%BC", "http://example.com:80/x/../\u00fc", set()),
    ("http://b\u00fccher.example/", "http://XN--BCHER-KVA.example", set()),
    ("http://\u4f8b\u3048\u3002jp/", "http://xn--r8jz45g.jp", set()),
    ("http://faß.de/", "http://xn--fa-hia.de", set()),
    ("http://\uff41.com/", "http://a.com/", set()),
    ("http://%61.com/", "http://a.com/", set()),
]


@pytest.mark.parametrize(("first", "second", "steps"), SAME)
def test_spellings_of_one_page_have_one_key(first, second, steps):
    """The spellings are one with the steps, and two without any one of them."""
    assert key_of(first) == key_of(second)
    for step in steps:
        assert key_of(first, **{step: False}) != key_of(second, **{step: False})


DIFFERENT = [
    ("http://example.com/a", "http://example.com/A"),
    ("http://example.com/a", "http://example.com:8080/a"),
    ("http://example.com/a%2Fb", "http://example.com/a/b"),
    ("http://example.com/?a=1&a=2", "http://example.com/?a=2&a=1"),
    ("http://example.com/?ref=1", "http://example.com/"),
    ("http://example.com/", "http://example.org/"),
    ("http://www.com/", "http://com/"),
]


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_different_pages_have_different_keys(first, second):
    """What may lead to another page is another URL."""
    assert key_of(first) != key_of(second)


def test_queries():
    """Tracking goes; the order of parameters counts only if it is asked for; all of it may be ignored."""
    first, second = "http://h.com/p?b=2&a=1&UTM_Source=x&gclid=7", "http://h.com/p?a=1&b=2"
    assert key_of(first) == key_of(second)
    assert key_of(first, query="keep") != key_of(second, query="keep")
    assert key_of(first, query="ignore") == key_of("http://h.com/p")
    assert key_of(first, ignore_parameters=[]) != key_of(second, ignore_parameters=[])
    assert key_of("http://h.com/p?sid=1", ignore_parameters=["S*"]) == key_of("http://h.com/p")


NO_URLS = [
    *("", "  ", "mailto:ann@example.com", "javascript:void(0)", "/path", "../x.html", "not a url", "http://", "http:///x", "urn:isbn:1"),
    *("http://a b/", "http://h.com:99999/", "http://h.com:x/", "http://[::1", "http://.h.com", "data:text/html,x", "http://%00/"),
    "http://%ff/",
]


@pytest.mark.parametrize("url", [*NO_URLS, None])
def test_documents_without_a_url_take_no_part(url):
    """A null or a text without a host has no key, so such documents are never compared."""
    keys = UrlDedup().open(ASSETS)(pa.record_batch({"text": ["t", "t"], "url": pa.array([url, url], pa.string())}))
    assert keys.column("key_hi").null_count == keys.column("key_lo").null_count == 2


def test_within_and_keep_policies_are_those_of_the_others():
    """Only documents of one dump are compared, and the longest stays."""
    batch = pa.record_batch(
        {"text": ["a", "abc", "ab", "x"], "url": ["h.com/a", "http://h.com/a", "h.com/a#x", "h.com/a"], "dump": [1, 1, 1, 2]}
    )
    operator = UrlDedup(within=["dump"], keep="longest")
    keys = operator.open(ASSETS)(batch)
    rows = pa.RecordBatch.from_arrays([pa.array([0] * 4), pa.array(range(4)), *keys.columns], names=["file", "row", *keys.schema.names])
    rows = rows.sort_by([(name, "ascending") for name in ("key_hi", "key_lo", "file", "row")])
    verdicts, places = operator.decide(rows), rows.column("row").to_pylist()
    assert {places[gone]: places[kept] for gone, kept in zip(verdicts.removed, verdicts.kept, strict=True)} == {0: 1, 2: 1}


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_any_column_of_strings_will_do(kind):
    """The layout of the column changes nothing, nor does a slice of it."""
    urls = pa.array(["http://h.com/1", None, "http://h.com/2"])
    plain, other = (UrlDedup().open(ASSETS)(pa.record_batch({"text": ["a"] * 3, "url": values})) for values in (urls, urls.cast(kind)))
    assert plain.equals(other)
    sliced = UrlDedup().open(ASSETS)(pa.record_batch({"text": ["a"] * 3, "url": urls}).slice(2))
    assert sliced.equals(plain.slice(2))


def test_a_column_that_cannot_hold_urls_is_named():
    """Numbers are refused by the column's name, and an absent column likewise."""
    batch = pa.record_batch({"text": ["t"], "url": [1]})
    with pytest.raises(OperatorError, match="'url' is int64"):
        UrlDedup().open(ASSETS)(batch)
    with pytest.raises(OperatorError, match=r"no column 'uri'.*'url'"):
        UrlDedup(column="uri").open(ASSETS)(batch)


@pytest.mark.parametrize(
    "wrong", [{"ignore_parameters": ["*"]}, {"ignore_parameters": ["a=b"]}, {"ignore_parameters": ["a*b"]}, {"within": ["url"]}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    """A parameter that is none, and a column named twice."""
    with pytest.raises(ValidationError, match=r"query: ignore|name it once"):
        UrlDedup(**wrong)


def test_a_query_of_very_many_parameters_is_sorted_in_time():
    """A hundred thousand parameters in the worst order do not take time that grows with their square."""
    names = [f"p{number:06d}" for number in range(100_000)]
    assert spelt("h.com/?" + "&".join(reversed(names))) == ["h.com?" + "&".join(names)]


def test_hosts():
    """The host alone, for counting by site."""
    urls = ["https://www.Example.com:8080/a?b", "http://[::1]:80/", "http://b\u00fccher.example", "none", None]
    assert url_hosts(pa.array(urls, pa.large_string())).to_pylist() == ["example.com", "[::1]", "xn--bcher-kva.example", None, None]


def test_urls_of_real_documents_keep_their_host():
    """Of every URL of real pages the spelling has the host that Python's own parser finds."""
    urls = [url for url in real_documents("web-thirdparty-00000", limit=1000).column("url").to_pylist() if url and "://" in url]
    found = spelt(*urls, www=True)
    assert len(urls) > 100
    for url, spelling in zip(urls, found, strict=True):
        assert spelling is not None
        assert urlsplit("//" + spelling).hostname == (urlsplit(url).hostname or "").rstrip(".")
