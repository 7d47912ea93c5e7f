"""Keep one document for each URL. Owns which spellings are one URL; how they are compared is kernels/canonical_urls.py."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Literal, Self
from urllib.parse import unquote_to_bytes

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.base import Assets, KeysFn, OperatorError, column_of
from operators.dedup import KeyedDedup
from operators.keep import is_text

if TYPE_CHECKING:
    from operators.kernels.canonical_urls import UrlSpelling

TRACKING = (
    "utm_*", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "srsltid", "_ga", "_gl", "fbclid", "igshid", "igsh", "msclkid", "twclid",
    "ttclid", "li_fat_id", "yclid", "_openstat", "mc_cid", "mc_eid", "mkt_tok", "_hsenc", "_hsmi", "__hssc", "__hstc", "__hsfp",
    "hsctatracking", "oly_anon_id", "oly_enc_id", "vero_id", "vero_conv", "wickedid", "rb_clickid", "s_cid", "s_kwcid", "ml_subscriber",
    "ml_subscriber_hash", "__s", "mtm_*", "pk_campaign", "pk_kwd", "piwik_campaign", "piwik_kwd",
)  # fmt: skip
"""Parameters that say where a reader came from, never what the page holds. Names that also have other uses (`ref`, `cid`) are not here."""

FORBIDDEN = re.compile(r'[\x00-\x20\x7f#/:<>?@\[\\\]^|"`{}]')
HOST = r"^(\[[^\]]*\]|[^/:]*).*$"
MAX_HOST_CHARS = 1000
"""Longest host that IDNA is asked about; the domain name system has 253."""


class UrlDedup(KeyedDedup):
    """Keep one of each set of documents that have the same URL, however it is spelt.

    URLs are compared by 128-bit hashes of one spelling, made in these steps: white space around it goes; scheme and host in lower case;
    user and password go; a host of other letters than ASCII becomes Punycode (IDNA 2008 after UTS #46); dots at the host's end go;
    `www.` goes where a domain is left; the scheme's default port goes; in the path `.` and `..` are followed; an escape (`%7E`) of a
    letter, a digit or one of `-._~` is undone, others have capitals, and what has to be escaped is; slashes at the path's end go; empty
    and tracking parameters go; the others are sorted by name (values of one name keep their order); the fragment goes; the scheme goes.
    The path's case counts. Settings leave single steps out.

    A text without a host is no URL: without `scheme://`, one is only seen where the host has a dot. A document whose URL is null, or none,
    is left alone. Removed documents name the kept one, with similarity 1.

    Drop reason: `url_duplicate`.
    """

    type: Literal["url_dedup"] = "url_dedup"
    column: str = Field(default="url", min_length=1, description="Column that holds the documents' URLs.")
    ignore_scheme: bool = Field(default=True, description="Take `http://` and `https://` (and no scheme at all) for the same.")
    ignore_www: bool = Field(default=True, description="Take a host with and without `www.` for the same.")
    ignore_trailing_slash: bool = Field(default=True, description="Take a path with and without slashes at its end for the same.")
    ignore_fragment: bool = Field(default=True, description="Leave out what is behind `#`; false for sites whose pages differ only there.")
    query: Literal["sort", "keep", "ignore"] = Field(
        default="sort", description="What counts of a query: `sort` its parameters in any order; `keep` also their order; `ignore` nothing."
    )
    ignore_parameters: list[str] = Field(
        default=list(TRACKING),
        description="Query parameters that do not count, in any case; `*` at the end stands for anything. Default: names that privacy "
        "tools strip (Firefox's query stripping, AdGuard's URL tracking filter) and that have no other use.",
    )

    reason: ClassVar[str] = "url_duplicate"
    libraries: ClassVar[tuple[str, ...]] = ("idna",)
    sources: ClassVar[str] = "RFC 3986 section 6.2; WHATWG URL; IDNA 2008 with UTS #46; MurmurHash3 x64_128"

    @model_validator(mode="after")
    def _parameters_are_names(self) -> Self:
        for name in self.ignore_parameters:
            plain = name.removesuffix("*")
            if not plain or re.search(r"[*=&#\s%]", plain) or not plain.isascii():
                raise ValueError(
                    f"ignore_parameters: {name[:50]!r} is no name of a parameter; expected ASCII without '=', '&', '#', '%' and spaces, "
                    "with '*' only at the end; to leave out all of a query, set `query: ignore`"
                )
        return self

    @model_validator(mode="after")
    def _within_is_something_else(self) -> Self:
        if self.column in self.within:
            raise ValueError(f"column and within both name {self.column!r}; name it once")
        return self

    def open(self, assets: Assets) -> KeysFn:
        """Return the function from a batch to `key_hi`, `key_lo` and, unless the first stays, `rank`, (`rank_next`,) `tie`."""
        from operators.kernels.canonical_urls import IGNORE_QUERY, KEEP_QUERY, SORT_QUERY, url_spelling

        spelling = url_spelling(
            scheme=not self.ignore_scheme,
            www=not self.ignore_www,
            slash=not self.ignore_trailing_slash,
            fragment=not self.ignore_fragment,
            query={"keep": KEEP_QUERY, "sort": SORT_QUERY, "ignore": IGNORE_QUERY}[self.query],
            names=[name.lower() for name in self.ignore_parameters],
        )

        def keys(batch: pa.RecordBatch) -> pa.RecordBatch:
            column_of(batch, assets.text_column)
            return self._rows(batch, assets.text_column, [self.column], [canonical_urls(urls_of(batch, self.column, self.type), spelling)])

        return keys


def urls_of(batch: pa.RecordBatch, column: str, subject: str) -> pa.LargeStringArray:
    """A column of URLs.

    Raises:
        OperatorError: It is missing, or holds no strings; the message begins with the subject.
    """
    values = column_of(batch, column)
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    if not (is_text(values.type) or pa.types.is_null(values.type)):
        raise OperatorError(f"{subject}: column {column!r} is {values.type}; name a column of strings that hold URLs")
    return pc.cast(values, pa.large_string())


def url_hosts(urls: pa.LargeStringArray) -> pa.LargeStringArray:
    """The host of each URL in its one spelling, without `www.` and port; null where there is none."""
    from operators.kernels.canonical_urls import IGNORE_QUERY, url_spelling

    spelling = url_spelling(scheme=False, www=False, slash=False, fragment=False, query=IGNORE_QUERY, names=())
    return pc.replace_substring_regex(canonical_urls(urls, spelling), pattern=HOST, replacement=r"\1")


def canonical_urls(values: pa.LargeStringArray, spelling: UrlSpelling) -> pa.LargeStringArray:
    """The one spelling of each URL; null where there is none."""
    from operators.kernels.buffers import text_buffers
    from operators.kernels.canonical_urls import spell_urls

    if values.null_count:
        values = pc.fill_null(values, "")
    offsets, data, hosts = spell_urls(*text_buffers(values), spelling)
    spelt = pa.LargeStringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(data[: int(offsets[-1])]))
    foreign = hosts[2] == 1
    if foreign.any():
        rows = zip(spelt.filter(pa.array(foreign)).to_pylist(), *hosts[:2, foreign].tolist(), strict=True)
        mended = [_with_ascii_host(url, begin, end, keep_www=bool(spelling.www)) for url, begin, end in rows]
        spelt = pc.replace_with_mask(spelt, pa.array(foreign), pa.array(mended, pa.large_string()))
    return pc.if_else(pa.array(hosts[2] >= 0), spelt, pa.scalar(None, pa.large_string()))


def _with_ascii_host(url: str, begin: int, end: int, *, keep_www: bool) -> str | None:
    """A spelt URL with the host, `begin` to `end` in its bytes, in ASCII; None if it cannot be a host."""
    encoded = url.encode()
    try:
        host = unquote_to_bytes(encoded[begin:end]).decode()
    except UnicodeDecodeError:
        return None
    host = _ascii_host(host).rstrip(".")
    if FORBIDDEN.search(host) or host in ("", ".") or host.startswith("."):
        return None
    rest = host.removeprefix("www.")
    if not keep_www and "." in rest and not rest.startswith("."):
        host = rest
    return (encoded[:begin] + host.encode() + encoded[end:]).decode()


def _ascii_host(host: str) -> str:
    """A host in lower case with its labels in Punycode, as browsers ask for it; labels that IDNA refuses stay as they are."""
    import idna

    if len(host) > MAX_HOST_CHARS:
        return host.lower()
    try:
        mapped = idna.uts46_remap(host, std3_rules=False)
    except idna.IDNAError:
        mapped = host.lower()
    return ".".join(_ascii_label(label) for label in mapped.split("."))


def _ascii_label(label: str) -> str:
    import idna

    if label.isascii():
        return label
    try:
        return idna.alabel(label).decode()
    except idna.IDNAError:
        return label
