"""WARC files made by hand: records, HTTP messages, and the ways in which they are compressed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence

import zstandard

PAGE = "<!doctype html><html><head><title>{0}</title></head><body><h1>{0}</h1><p>Body of page {0}, with enough words.</p></body></html>"


def record(kind: str, block: bytes, number: int = 0, *, length: int | None = None, end: bytes = b"\r\n\r\n", **fields: str | None) -> bytes:
    """A record; a field of None is left out, `length` lies."""
    named: dict[str, str | None] = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{number:08x}-0000-4000-8000-000000000000>",
        "WARC-Date": "2024-05-18T01:02:03Z",
        "WARC-Target-URI": f"https://site{number}.example/page",
        "Content-Type": "application/http; msgtype=response" if kind == "response" else "text/plain",
        "Content-Length": str(len(block) if length is None else length),
    }
    named |= {name.replace("_", "-"): value for name, value in fields.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value is not None)
    return b"WARC/1.0\r\n" + head.encode() + b"\r\n" + block + end


def http(body: bytes, *, status: str = "200 OK", content_type: str | None = "text/html", **fields: str) -> bytes:
    """A response of a web server."""
    named = {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in fields.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value is not None)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def page(number: int, text: str | None = None) -> bytes:
    """The record of an ordinary web page."""
    body = PAGE.format(number) if text is None else text
    return record("response", http(body.encode(), content_type="text/html; charset=utf-8"), number)


def wet(number: int, text: str) -> bytes:
    """A record of a WET file."""
    return record("conversion", text.encode(), number, WARC_Identified_Content_Language="eng,deu")


def others(number: int) -> list[bytes]:
    """Records that are no documents."""
    return [
        record("request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", number, Content_Type="application/http; msgtype=request"),
        record("metadata", b"fetchTimeMs: 12\r\n", number, Content_Type="application/warc-fields"),
        record("revisit", http(b""), number, Content_Type="application/http; msgtype=response"),
        record("response", http(b"gone", status="404 Not Found"), number),
        record("response", http(b"", status="301 Moved", Location="/"), number),
        record("response", http(b"\x89PNG....", content_type="image/png"), number),
        record("response", http(b"%PDF-1.4 <html>", content_type=None), number),
        record("response", b"example.com. 1 IN A 9.9.9.9", number, Content_Type="text/dns"),
        record("resource", b"<html>", number, Content_Type="text/html"),
    ]


def info() -> bytes:
    """The record that a file begins with."""
    return record("warcinfo", b"software: tests\r\n", Content_Type="application/warc-fields", WARC_Target_URI=None)


def plain(parts: Sequence[bytes]) -> bytes:
    """Uncompressed."""
    return b"".join(parts)


def gz(parts: Sequence[bytes]) -> bytes:
    """A gzip member a record, as the standard wants it."""
    return b"".join(gzip.compress(part, mtime=0) for part in parts)


def gz_whole(parts: Sequence[bytes]) -> bytes:
    """One gzip member for the whole file."""
    return gzip.compress(b"".join(parts), mtime=0)


def gz_blocks(parts: Sequence[bytes], size: int = 700) -> bytes:
    """Gzip members of equal size, which begin anywhere in records, as parallel compressors make them."""
    data = b"".join(parts)
    return b"".join(gzip.compress(data[start : start + size], mtime=0) for start in range(0, len(data), size))


def gz_pairs(parts: Sequence[bytes]) -> bytes:
    """Two records a gzip member."""
    return gz([b"".join(parts[start : start + 2]) for start in range(0, len(parts), 2)])


def zst(parts: Sequence[bytes]) -> bytes:
    """A zstd frame a record."""
    return b"".join(zstandard.ZstdCompressor().compress(part) for part in parts)


PACKINGS = {
    "a.warc": plain,
    "a.warc.gz": gz,
    "whole.warc.gz": gz_whole,
    "blocks.warc.gz": gz_blocks,
    "pairs.warc.gz": gz_pairs,
    "a.warc.zst": zst,
}
"""File name to how its records are packed."""


def chunked(body: bytes, size: int = 100) -> bytes:
    """A body in chunks, with an extension and a trailer."""
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x;ext=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: x\r\n\r\n"


def deflated(body: bytes, wbits: int) -> bytes:
    """zlib (15) or raw deflate (-15)."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return compressor.compress(body) + compressor.flush()
