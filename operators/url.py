"""Keep documents by their URL. Owns the URL filter's settings and the loading of its lists; how URLs are compared is kernels/urls.py."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.base import Assets, BatchFn, BatchOperator, OperatorError, Result, null_text_errors, text_of

if TYPE_CHECKING:
    from operators.kernels.string_sets import U64
    from operators.kernels.unicode import Tables
    from operators.kernels.urls import Judgement, UrlRules

CHUNK_BYTES = 16 << 20
GZIP = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"

Entries = list[str]


class UrlFilter(BatchOperator):
    """Keep documents whose URL is on none of the block lists.

    The lists are asked in this order, and the first one that has the URL decides: `domains` (its registered domain, by the public suffix
    list; then its host), `urls` (the address itself), `words` (one of its runs of ASCII letters and digits), `soft_words` (at least
    `soft_threshold` different ones), `subwords` (anywhere in the URL's letters and digits, joined). A domain in `allow_domains` stays
    whatever they say.

    Each list is given by entries, by files, or both. A file has one entry a line (UTF-8, plain or gzip); blank lines and those that begin
    with `#` are skipped, and lines of a hosts file (`0.0.0.0 example.com`) are understood. A list takes 21 bytes of memory an entry.

    URLs and entries are compared without regard to case; addresses also without scheme, `www.`, fragment and last slashes. datatrove
    compares words, domains and addresses as they are written, so that `PORN` passes and an address without `https://`, as lists have
    them, is never found; `preset: datatrove` does exactly that.

    Drop reasons: `domain`, `subdomain`, `url`, `hard_blacklisted`, `soft_blacklisted`, `blacklisted_subword`, `no_url`.
    """

    type: Literal["url_filter"] = "url_filter"
    preset: Literal["default", "datatrove"] = Field(
        default="default", description="How URLs are compared: `default` without regard to case, `datatrove` as datatrove 0.10 does it."
    )
    url_column: str = Field(default="url", min_length=1, description="Column that holds the documents' URLs.")
    missing: Literal["keep", "drop"] = Field(default="keep", description="What becomes of a document whose URL is null or empty.")
    domains: Entries = Field(default=[], description="Blocked domains: registered ones (`example.com`) or hosts (`blog.example.com`).")
    domain_lists: Entries = Field(default=[], description="Files of blocked domains, paths or URLs; hosts files too.")
    urls: Entries = Field(default=[], description="Blocked addresses.")
    url_lists: Entries = Field(default=[], description="Files of blocked addresses, paths or URLs.")
    words: Entries = Field(default=[], description="Words of which one in the URL is enough.")
    word_lists: Entries = Field(default=[], description="Files of such words, paths or URLs.")
    soft_words: Entries = Field(default=[], description="Words of which `soft_threshold` different ones in the URL are enough.")
    soft_word_lists: Entries = Field(default=[], description="Files of such words, paths or URLs.")
    soft_threshold: int = Field(default=2, ge=1, le=1000, description="Number of different soft words (datatrove 0.10: 2).")
    subwords: Entries = Field(default=[], description="Parts of words of which one in the URL's letters and digits is enough.")
    subword_lists: Entries = Field(default=[], description="Files of such parts, paths or URLs.")
    allow_domains: Entries = Field(default=[], description="Domains that stay whatever the lists say: registered ones or hosts.")
    allow_domain_lists: Entries = Field(default=[], description="Files of such domains, paths or URLs.")

    explains: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("tldextract",)
    sources: ClassVar[str] = (
        "order, reasons and threshold: datatrove 0.10 URLFilter (FineWeb, arXiv:2406.17557); public suffix list of tldextract"
    )

    @model_validator(mode="after")
    def _something_can_be_dropped(self) -> Self:
        lists = (self.domains, self.urls, self.words, self.soft_words, self.subwords)
        files = (self.domain_lists, self.url_lists, self.word_lists, self.soft_word_lists, self.subword_lists)
        if not any((*lists, *files)) and self.missing == "keep":
            raise ValueError("no list is given; no URL could be dropped: name files in `domain_lists` or another list")
        return self

    def asset_uris(self) -> tuple[str, ...]:
        """The list files."""
        files = (self.domain_lists, self.url_lists, self.word_lists, self.soft_word_lists, self.subword_lists, self.allow_domain_lists)
        return tuple(dict.fromkeys(uri for uris in files for uri in uris))

    def open(self, assets: Assets) -> BatchFn:
        """Load the lists.

        Raises:
            OperatorError: A list cannot be read, or one that is named holds no entry.
        """
        from operators.kernels.buffers import text_buffers
        from operators.kernels.phrases import phrases_of
        from operators.kernels.unicode import tables
        from operators.kernels.urls import judge_urls

        rules = self._rules(assets)
        parts = self._subwords(assets)
        subwords, texts = phrases_of([(parts, False)]), pa.array(parts, pa.string())

        def judge(batch: pa.RecordBatch) -> Result:
            errors = null_text_errors(text_of(batch, assets.text_column))
            urls = text_of(batch, self.url_column)
            if urls.null_count:
                urls = pc.fill_null(urls, "")
            judgement = judge_urls(*text_buffers(urls), rules, subwords, tables())
            reasons, details = self._outcome(judgement, urls, texts)
            return Result(batch, reasons, errors, details)

        return judge

    def _outcome(self, judgement: Judgement, urls: pa.LargeStringArray, parts: pa.Array) -> tuple[pa.Array, pa.Array | None]:
        from operators.kernels.urls import REASONS

        places = pa.array(judgement.reasons.astype(np.int32), mask=judgement.reasons < 0)
        reasons = pa.array(REASONS, pa.string()).take(places)
        if self.missing == "drop":
            reasons = pc.if_else(pc.equal(urls, ""), pa.scalar("no_url"), reasons)
        if not (judgement.reasons >= 0).any():
            return reasons, None
        ends, data = judgement.ends, judgement.details[: int(judgement.ends[-1])]
        found = pa.LargeStringArray.from_buffers(len(urls), pa.py_buffer(ends), pa.py_buffer(data)).cast(pa.string())
        subword = parts.take(pa.array(judgement.subwords, mask=judgement.subwords < 0))
        return reasons, pc.if_else(pc.is_valid(places), pc.coalesce(subword, found), pa.scalar(None, pa.string()))

    def _rules(self, assets: Assets) -> UrlRules:
        from operators.kernels.string_sets import string_set
        from operators.kernels.suffixes import public_suffixes, suffix_table
        from operators.kernels.unicode import tables
        from operators.kernels.urls import (
            ALLOW_ENTRY,
            DOMAIN_ENTRY,
            DOMAIN_LINE,
            EXACT_LINE,
            HARD_ENTRY,
            SOFT_ENTRY,
            URL_ENTRY,
            URL_LINE,
            WORD_LINE,
            UrlRules,
        )

        exact, codes = self.preset == "datatrove", tables()
        domain_line, url_line = (EXACT_LINE, EXACT_LINE) if exact else (DOMAIN_LINE, URL_LINE)
        lists = (
            (ALLOW_ENTRY, domain_line, self.allow_domains, self.allow_domain_lists),
            (DOMAIN_ENTRY, domain_line, self.domains, self.domain_lists),
            (URL_ENTRY, url_line, self.urls, self.url_lists),
            (HARD_ENTRY, WORD_LINE, self.words, self.word_lists),
            (SOFT_ENTRY, WORD_LINE, self.soft_words, self.soft_word_lists),
        )
        found = [part for entry, line, entries, uris in lists for part in self._fingerprints(entries, uris, line, entry, assets, codes)]
        has_domains = any((self.domains, self.domain_lists, self.allow_domains, self.allow_domain_lists))
        suffixes, flags, root_flags = suffix_table(public_suffixes() if has_domains else [], codes)
        return UrlRules(
            entries=string_set(np.concatenate([first for first, _ in found]), np.concatenate([second for _, second in found])),
            suffixes=suffixes,
            suffix_flags=flags,
            root_flags=root_flags,
            soft_threshold=self.soft_threshold,
            exact=int(exact),
        )

    def _fingerprints(
        self, entries: list[str], uris: list[str], line: int, entry: int, assets: Assets, codes: Tables
    ) -> Iterator[tuple[U64, U64]]:
        """The entries of a list and of its files, piece by piece."""
        from operators.kernels.urls import list_fingerprints

        yield list_fingerprints("\n".join(entries).encode(), line, entry, codes)
        for uri in uris:
            count = 0
            for lines in self._lines(uri, assets):
                first, second = list_fingerprints(lines, line, entry, codes)
                count += len(first)
                yield first, second
            if count == 0:
                raise self._no_entry(uri)

    def _subwords(self, assets: Assets) -> list[str]:
        """Parts of words, of letters and digits alone, in lower case, each once."""
        parts = dict.fromkeys(_subwords_of(self.subwords))
        for uri in self.subword_lists:
            found = _subwords_of(b"".join(self._lines(uri, assets)).decode("utf-8", "replace").split("\n"))
            if not found:
                raise self._no_entry(uri)
            parts |= dict.fromkeys(found)
        return list(parts)

    def _no_entry(self, uri: str) -> OperatorError:
        return OperatorError(f"{self.type}: list {uri!r} holds no entry; expected one a line; remove it, or name another")

    def _lines(self, uri: str, assets: Assets) -> Iterator[bytes]:
        """A list file in pieces that end where lines do, so that one of any size is never in memory whole."""
        path = Path(assets.path(uri))
        try:
            with path.open("rb") as file:
                is_gzip = file.read(2) == GZIP
            with gzip.open(path, "rb") if is_gzip else path.open("rb") as file:
                rest = file.read(len(BOM)).removeprefix(BOM)
                while chunk := file.read(CHUNK_BYTES):
                    lines, newline, after = (rest + chunk).rpartition(b"\n")
                    rest = after
                    if newline:
                        yield lines + newline
                yield rest
        except (OSError, EOFError) as error:
            raise OperatorError(
                f"{self.type}: list {uri!r} cannot be read ({error}); expected text of one entry a line, or gzip"
            ) from error


def _subwords_of(lines: list[str]) -> list[str]:
    plain = ("".join(char for char in line if char.isascii() and char.isalnum()).lower() for line in lines if not line.startswith("#"))
    return [part for part in plain if part]
