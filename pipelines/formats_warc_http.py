"""What a web server answered: status, fields and the body as it was before it was encoded for its way.

Owns the reading of HTTP/1 messages as archives hold them: with header fields that speak of encodings which the archive has already undone.
Knows bytes, not records.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import brotli
import zstandard

MAX_BODY_BYTES: Final = 128 << 20
FEED_BYTES: Final = 64 << 10
ZSTD_FEED_BYTES: Final = 1 << 10  # four bytes of it can stand for 128 KiB
LIMIT_BYTES: Final = 8 << 20

STATUS = re.compile(rb"HTTP/\d{1,2}(?:\.\d{1,2})?[ \t]+(\d{3})(?!\d)", re.IGNORECASE)
HEAD_END = re.compile(rb"\n\r?\n")
FIELD = re.compile(rb"([^\s:]+)[ \t]*:((?:[^\n]|\n[ \t])*)")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]{0,4096})?\r?\n")
MARKUP = re.compile(rb"[\s\0]*(?:\xef\xbb\xbf)?\s*<")
GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
CODINGS: Final = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate", "x-deflate": "deflate", "br": "br", "zstd": "zstd"}
UNREADABLE: Final = frozenset({"compress", "x-compress", "sdch", "exi", "pack200-gzip", "dcb", "dcz", "aes128gcm"})


class BodyError(Exception):
    """A body that cannot be decoded. (error, message)."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(error, message)
        self.error = error
        self.message = message


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response.

    Attributes:
        fields: By lower-cased name; values of the same name are joined with commas.
        body_at: Where the body begins in the message.
    """

    status: int
    fields: dict[str, str]
    body_at: int

    @property
    def media_type(self) -> str | None:
        """What Content-Type says, without parameters; of several, the first."""
        found = self.fields.get("content-type", "").partition(";")[0].partition(",")[0].strip().lower()
        return found or None

    @property
    def charset(self) -> str | None:
        """The parameter of Content-Type."""
        found = re.search(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", self.fields.get("content-type", ""), re.IGNORECASE)
        return None if found is None else found[1]


def answer_of(message: bytes) -> Answer | None:
    """The response that a message holds; None if it is none."""
    status = STATUS.match(message)
    if status is None:
        return None
    end = HEAD_END.search(message)
    stop = len(message) if end is None else end.end()
    fields: dict[str, str] = {}
    for name, value in FIELD.findall(message, _line_end(message, status.end()), stop):
        key, text = name.decode("latin-1").lower(), b" ".join(value.split()).decode("utf-8", "replace")
        fields[key] = f"{fields[key]}, {text}" if key in fields else text
    return Answer(int(status[1]), fields, stop)


def _line_end(message: bytes, start: int) -> int:
    at = message.find(b"\n", start)
    return len(message) if at < 0 else at + 1


def body_of(message: bytes, answer: Answer, *, may_be_cut: bool) -> bytes:
    """The body without transfer and content encodings; encodings that the archive has undone already are let pass.

    Args:
        message: The whole response.
        answer: Its fields.
        may_be_cut: Whether the archive says that it cut the record: then what there is of the body is good.

    Raises:
        BodyError: It is damaged, too large, or encoded in a way that is not known here.
    """
    body = message[answer.body_at :]
    if "chunked" in answer.fields.get("transfer-encoding", "").lower():
        body = _dechunked(body, may_be_cut=may_be_cut)
    for coding in reversed([name.strip().lower() for name in answer.fields.get("content-encoding", "").split(",")]):
        if coding in UNREADABLE:
            raise BodyError("unsupported_content_encoding", f"the page is encoded as {coding!r}, which is not read")
        kind = CODINGS.get(coding)  # browsers, too, take no notice of names that mean nothing
        if kind is not None and _is_coded(body, kind):
            body = _decoded(body, kind, may_be_cut=may_be_cut)
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


def _too_large() -> BodyError:
    return BodyError("page_too_large", f"the page has more than {MAX_BODY_BYTES} bytes")


def _dechunked(body: bytes, *, may_be_cut: bool) -> bytes:
    """The chunks joined; a body that does not begin with a chunk's size is none that is chunked."""
    chunks: list[bytes] = []
    at = 0
    while (size := CHUNK_SIZE.match(body, at)) is not None:
        length = int(size[1], 16)
        if length == 0:
            return b"".join(chunks)
        chunks.append(body[size.end() : size.end() + length])
        at = size.end() + length
        at += 2 if body.startswith(b"\r\n", at) else body.startswith(b"\n", at)
    if not chunks:
        return body
    if at < len(body) or not may_be_cut:
        if at < len(body):
            raise BodyError("corrupt_payload", f"the page's chunked transfer coding is broken at byte {at} of it")
        raise BodyError("truncated_payload", "the page ends before its last chunk")
    return b"".join(chunks)


def _is_coded(body: bytes, kind: str) -> bool:
    """Whether a body is still encoded: archives decode bodies and keep the field that says how they were encoded."""
    match kind:
        case "gzip":
            return body.startswith(GZIP_MAGIC)
        case "zstd":
            return body.startswith(ZSTD_MAGIC)
        case _:
            return bool(body) and MARKUP.match(body) is None


def _decoded(body: bytes, kind: str, *, may_be_cut: bool) -> bytes:
    decoder = _DECODERS[kind](body)
    pieces: list[bytes] = []
    num_bytes = 0
    try:
        for piece in decoder:
            pieces.append(piece)
            num_bytes += len(piece)
            if num_bytes > MAX_BODY_BYTES:
                raise _too_large()
    except _CutError:
        if not may_be_cut:
            raise BodyError("truncated_payload", f"the page's {kind} data ends before its end mark") from None
    except (zlib.error, zstandard.ZstdError, brotli.error) as error:
        raise BodyError("corrupt_payload", f"the page's {kind} data is corrupt: {error}") from None
    return b"".join(pieces)


class _CutError(Exception):
    """The encoded data ends before its end mark; what was given is good."""


def _fed(data: bytes, feed_bytes: int = FEED_BYTES) -> Iterator[bytes]:
    """Small pieces: they bound what a piece can become."""
    for start in range(0, len(data), feed_bytes):
        yield data[start : start + feed_bytes]


def _gunzipped(body: bytes) -> Iterator[bytes]:
    """All members of it; what follows the last one counts as little as it does in browsers."""
    inflater: Any = None
    for piece in _fed(body):
        data = piece
        while data:
            if inflater is None:
                inflater = zlib.decompressobj(31)
            yield inflater.decompress(data)
            if not inflater.eof:
                break
            data = inflater.unused_data
            if not data.startswith(GZIP_MAGIC[:1]):
                return
            inflater = None
    if inflater is not None:
        raise _CutError


def _undeflated(body: bytes) -> Iterator[bytes]:
    """With the header of zlib, as the standard has it, or without, as some servers do."""
    has_header = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    inflater = zlib.decompressobj(15 if has_header else -15)
    for piece in _fed(body):
        yield inflater.decompress(piece)
        if inflater.eof:
            return
    raise _CutError


def _unbrotlied(body: bytes) -> Iterator[bytes]:
    decoder = brotli.Decompressor()
    for piece in _fed(body):
        yield decoder.process(piece, output_buffer_limit=LIMIT_BYTES)
        while not decoder.can_accept_more_data():
            yield decoder.process(b"", output_buffer_limit=LIMIT_BYTES)
        if decoder.is_finished():
            return
    raise _CutError


def _unzstd(body: bytes) -> Iterator[bytes]:
    decoder = zstandard.ZstdDecompressor(max_window_size=MAX_BODY_BYTES).decompressobj()
    for piece in _fed(body, ZSTD_FEED_BYTES):
        yield decoder.decompress(piece)
        if decoder.eof:
            return
    raise _CutError


_DECODERS: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": _gunzipped,
    "deflate": _undeflated,
    "br": _unbrotlied,
    "zstd": _unzstd,
}
