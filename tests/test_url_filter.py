"""Documents kept by their URL."""

from __future__ import annotations

import gzip
import random
import tracemalloc

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS, SHARED, FakeAssets, opened, real_documents
from pydantic import ValidationError

from operators.base import OperatorError
from operators.url import UrlFilter

LISTS = SHARED / "data" / "assets" / "blocklists"
HOSTS = [
    "example.com",
    "Example.COM",
    "blog.example.com",
    "bbc.co.uk",
    "co.uk",
    "com",
    "a.b.kobe.jp",
    "city.kobe.jp",
    "x.city.kobe.jp",
    "www.ck",
]
HOSTS += [
    "foo.ck",
    "a.foo.ck",
    "пример.рф",
    "www.ПРИМЕР.РФ",
    "xn--e1afmkfd.xn--p1ai",
    "食狮.公司.cn",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "user.blogspot.com",
]
PIECES = [
    "http://",
    "https://",
    "HTTP://",
    "//",
    ":",
    "/",
    "?",
    "#",
    "@",
    "www.",
    ".",
    "..",
    "\u3002",
    "\uff0e",
    " ",
    "\u00a0",
    "[",
    "]",
    "*",
    "!",
    "-",
]
PIECES += ["sex", "SEX", "free", "video", "porn", "p-o-r-n", "a", "\u0130", "\u212a", "é", "%20", "0", "xn--", "=", "&"]
URLS = st.lists(st.sampled_from([*HOSTS, *PIECES]), min_size=1, max_size=8).map("".join)
STRUCTURED = st.tuples(
    st.sampled_from(["http://", "https://", "//", "", "ftp://u:p@", "a b://"]),
    st.lists(st.sampled_from(["www", "blog", "", "a"]), max_size=3).map(lambda labels: "".join(f"{label}." for label in labels)),
    st.sampled_from(HOSTS),
    st.sampled_from(["", ":80", "/", "/sex/", "/SEX", "?free=video", "#free-free", "/po/rn", ".", "/free/\u00e9/video.html", ":"]),
).map("".join)
RULES = {
    "domains": [
        "example.com",
        "blog.example.com",
        "bbc.co.uk",
        "b.kobe.jp",
        "x.city.kobe.jp",
        "city.kobe.jp",
        "a.foo.ck",
        "foo.ck",
        "www.ck",
        "пример.рф",
        "ПРИМЕР.РФ",
        "xn--e1afmkfd.xn--p1ai",
        "食狮.公司.cn",
        "127.0.0.1",
        "user.blogspot.com",
        ".example.com",
        "www..example.com",
    ],
    "urls": ["http://www.ck/", "https://example.com/sex/", "//localhost"],
    "words": ["sex", "Ga-y"],
    "soft_words": ["free", "video", "a", "html", "#www"],
    "subwords": ["porn", "F.r_eefr"],
}


def judged(operator: UrlFilter, urls: list[str | None], assets: FakeAssets = ASSETS) -> list[tuple[str | None, str | None]]:
    batch = pa.record_batch({"text": pa.array(["x"] * len(urls), pa.large_string()), "url": pa.array(urls, pa.string())})
    result = opened(operator, assets)(batch)
    result.batch.validate(full=True)
    details = [None] * len(urls) if result.details is None else result.details.to_pylist()
    return list(zip(result.reasons.to_pylist(), details, strict=True))


def reference(rules: dict[str, list[str]]):
    """datatrove's own filter, with tldextract's bundled suffixes instead of a download."""
    from datatrove.pipeline.filters import URLFilter
    from tldextract import TLDExtract

    block = URLFilter(
        soft_word_threshold=2,
        extra_domains=rules.get("domains"),
        extra_urls=rules.get("urls"),
        banned_words=rules.get("words"),
        soft_banned_words=rules.get("soft_words"),
        banned_subwords=rules.get("subwords"),
        use_integrated_lists=False,
    )
    block.tldextractor = TLDExtract(cache_dir=None, suffix_list_urls=())
    return block


def datatrove_reasons(block, urls: list[str]) -> list[str | None]:
    import warnings

    from datatrove.data import Document

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # `registered_domain`
        found = [block.filter(Document(text="x", id="0", metadata={"url": url})) for url in urls]
    return [None if verdict is True else verdict[1] for verdict in found]


BLOCK = reference(RULES)
OPERATOR = UrlFilter(preset="datatrove", **RULES)
FUNCTION = opened(OPERATOR)


@settings(deadline=None, max_examples=400)
@given(st.lists(URLS | STRUCTURED | st.text(min_size=1), min_size=1, max_size=20))
def test_preset_datatrove_is_datatrove(urls):
    """Any text as a URL has the reason that datatrove's filter gives, or none."""
    batch = pa.record_batch({"text": ["x"] * len(urls), "url": urls})
    assert FUNCTION(batch).reasons.to_pylist() == datatrove_reasons(BLOCK, urls)


def test_every_public_suffix_is_cut_as_tldextract_cuts_it():
    """Under each rule of the list, wildcards and exceptions too, the same domain is the registered one."""
    from tldextract import TLDExtract

    extract = TLDExtract(cache_dir=None, suffix_list_urls=())
    names = sorted({rule.lstrip("*.!") for rule in extract.tlds})
    urls = [f"http://{before}{name}/" for name in names for before in ("", "a.", "b.a.", "c.b.a.")]
    domains = {extract(url).top_domain_under_public_suffix for url in urls} - {""}
    operator = UrlFilter(preset="datatrove", domains=sorted(domains))
    assert [reason for reason, _ in judged(operator, urls)] == [
        "domain" if extract(url).top_domain_under_public_suffix in domains else None for url in urls
    ]


def test_real_urls_with_real_lists_as_datatrove():
    """URLs of the documents, and such as the lists hold, have the reasons that datatrove gives."""
    urls = [
        url for url in real_documents("en-open-00003", "web-thirdparty-00001", "web-thirdparty-00003", limit=1500)["url"].to_pylist() if url
    ]
    with gzip.open(LISTS / "ut1" / "gambling.domains.gz", "rt") as file:
        domains = file.read().split()[:5000]
    with gzip.open(LISTS / "ut1" / "adult.urls.gz", "rt") as file:
        adult = file.read().split()
    rules = {"domains": [*domains, "readthedocs.io", "fairkom.eu"], "urls": adult}
    for name, file in (("words", "banned_words"), ("soft_words", "soft_banned_words"), ("subwords", "banned_subwords")):
        rules[name] = (LISTS / "datatrove" / f"{file}.txt").read_text().split("\n")[:-1]
    urls += (
        adult
        + [f"https://{url}" for url in adult]
        + [f"https://{'www.' * (row % 2)}{domain}/{row}" for row, domain in enumerate(domains[::7])]
    )
    expected = datatrove_reasons(reference(rules), urls)
    assert [reason for reason, _ in judged(UrlFilter(preset="datatrove", **rules), urls)] == expected
    assert {"domain", "url", "hard_blacklisted", "blacklisted_subword"} <= set(expected)
    kept = [url for (reason, _), url in zip(judged(UrlFilter(**rules), urls), urls, strict=True) if reason is None]
    assert set(kept) <= {url for reason, url in zip(expected, urls, strict=True) if reason is None}


def test_case_does_not_matter_by_default():
    """What datatrove's spelling lets pass is found, and the details say by what."""
    rules = {
        "domains": ["Example.com"],
        "urls": ["other.org/Page"],
        "words": ["sex"],
        "soft_words": ["free", "video"],
        "subwords": ["porn"],
    }
    urls = [
        "http://EXAMPLE.com",
        "https://www.other.org/page/#top",
        "http://a.org/SEX",
        "http://a.org/Free/VIDEO/free",
        "http://a.org/P.oRn/s",
    ]
    assert judged(UrlFilter(**rules), urls) == [
        ("domain", "example.com"),
        ("url", "https://www.other.org/page/#top"),
        ("hard_blacklisted", "sex"),
        ("soft_blacklisted", "free video"),
        ("blacklisted_subword", "porn"),
    ]
    assert [reason for reason, _ in judged(UrlFilter(preset="datatrove", **rules), urls)] == [None] * 4 + ["blacklisted_subword"]


def test_hosts_are_subdomains_and_addresses_without_a_suffix_are_domains():
    """A listed host drops that host alone; IP addresses in lists are found."""
    operator = UrlFilter(domains=["blog.example.com", "10.0.0.1", "user.blogspot.com"])
    urls = [
        "https://blog.example.com/x",
        "https://example.com/",
        "https://a.blog.example.com",
        "http://10.0.0.1:8080/x",
        "http://user.blogspot.com",
    ]
    assert [reason for reason, _ in judged(operator, urls)] == ["subdomain", None, None, "domain", "subdomain"]


def test_allowed_domains_stay():
    """The allow list comes before every other one."""
    operator = UrlFilter(words=["sex"], domains=["example.com"], allow_domains=["example.com", "ok.other.org"])
    urls = ["http://example.com/sex", "http://a.example.com", "http://ok.other.org/sex", "http://other.org/sex"]
    assert [reason for reason, _ in judged(operator, urls)] == [None, None, None, "hard_blacklisted"]


@pytest.mark.parametrize(("missing", "reason"), [("keep", None), ("drop", "no_url")])
def test_documents_without_url(missing, reason):
    """A null or empty URL goes only if it is told to."""
    operator = UrlFilter(words=["sex"], missing=missing)
    assert judged(operator, [None, "", "http://a.org"]) == [(reason, None), (reason, None), (None, None)]


def test_list_files_plain_gzipped_and_hosts(tmp_path):
    """Files of every kind are read; comments, blank lines and carriage returns are nobody's domain."""
    plain, zipped, hosts = tmp_path / "plain", tmp_path / "zipped", tmp_path / "hosts"
    plain.write_bytes(b"# comment.org\r\n\r\nplain.org\r\n*.star.org\nlast.org # why")
    zipped.write_bytes(gzip.compress(b"zipped.org\n"))
    hosts.write_bytes(b"127.0.0.1\tlocalhost\n0.0.0.0 hosts.org # x\n::1 six.org\n")
    operator = UrlFilter(domain_lists=["p", "z", "h"])
    assets = FakeAssets(moved={"p": str(plain), "z": str(zipped), "h": str(hosts)})
    names = ["comment.org", "plain.org", "star.org", "last.org", "zipped.org", "hosts.org", "six.org", "0.0.0.0", "why"]
    found = judged(operator, [f"http://{name}/" for name in names], assets)
    assert [name for name, (reason, _) in zip(names, found, strict=True) if reason] == names[1:7]
    assert operator.asset_uris() == ("p", "z", "h")


def test_entries_are_understood_as_they_are_written(tmp_path):
    """A byte order mark, a name of hexadecimal letters before a comment, the address of a page: none costs its entry."""
    listed = tmp_path / "list"
    listed.write_bytes(b"\xef\xbb\xbffirst.org\nbad.cc # why\nhttps://page.org/a/b\n10.0.0.1 # a host\nfe80::1 six.org # x\n")
    names = ["first.org", "bad.cc", "page.org", "10.0.0.1", "six.org", "why", "a", "b"]
    found = judged(UrlFilter(domain_lists=[str(listed)]), [f"http://{name}/" for name in names])
    assert [name for name, (reason, _) in zip(names, found, strict=True) if reason] == names[:5]


def test_useless_lists_are_refused(tmp_path):
    """A filter that could drop nothing, a list that is empty or no text at all: each is an error that names itself."""
    for useless in ({}, {"allow_domains": ["a.org"]}, {"allow_domain_lists": ["allowed.txt"]}):
        with pytest.raises(ValidationError, match="no list is given"):
            UrlFilter(**useless)
    empty, torn = tmp_path / "empty", tmp_path / "torn"
    empty.write_text("# nothing\n")
    torn.write_bytes(gzip.compress(b"example.org\n" * 1000)[:-20])
    for path, message in ((empty, "holds no entry"), (torn, "cannot be read"), (tmp_path / "absent", "cannot be read")):
        for setting in ("domain_lists", "subword_lists"):
            with pytest.raises(OperatorError, match=message):
                opened(UrlFilter(**{setting: [str(path)]}))


def test_long_and_odd_urls_go_through():
    """A URL of megabytes, of labels alone or of broken bytes is judged; details stay short."""
    operator = UrlFilter(domains=["example.com"], subwords=["porn"], urls=["a.org/" + "é" * 1000])
    urls = [
        "http://example.com/" + "x" * 5_000_000,
        "." * 100_000 + "com",
        "http://" + "a." * 100_000 + "example.com",
        "https://a.org/" + "é" * 1000,
    ]
    found = judged(operator, urls)
    assert [reason for reason, _ in found] == ["domain", None, "domain", "url"]
    assert all(len(detail.encode()) <= 200 for _, detail in found if detail)
    rng = random.Random(0)
    data = bytes(rng.choice(b"\xff\xc0\xe3\x80\x82\xef\xbc./:@[]a# ") for _ in range(20_000))
    offsets = sorted(rng.randrange(len(data)) for _ in range(2_000))
    broken = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(pa.array(offsets).buffers()[1]), pa.py_buffer(data))
    result = opened(operator)(pa.record_batch({"text": broken, "url": broken}))
    assert len(result.reasons) == len(broken)


def test_a_million_domains_are_small(tmp_path):
    """A list of a million takes at most 200 bytes an entry while it loads and 22 after; each entry is there once."""
    from operators.kernels.string_sets import StringSet

    path = tmp_path / "domains"
    path.write_text("".join(f"site{number}.example{number % 97}.org\n" for number in range(1_000_000)))
    opened(UrlFilter(domains=["a.org"]))
    tracemalloc.start()
    rules = UrlFilter(domain_lists=[str(path)])._rules(ASSETS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(rules.entries, StringSet)
    assert rules.entries.first.nbytes + rules.entries.second.nbytes < 22_000_000
    assert peak < 200_000_000
    assert int((rules.entries.first != 0).sum()) == 1_000_000
