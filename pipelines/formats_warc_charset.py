"""The bytes of a web page as UTF-8, read in the encoding that a browser would read them in.

Owns the order of what is believed: a byte-order mark; then, where the bytes are not valid UTF-8, the charset of the HTTP header; that of a
`meta` element or an XML declaration; then what statistics say. Browsers believe the declarations before they look at the bytes; here valid
UTF-8 comes first, since text in another encoding is never that by chance, while pages declare the wrong one every day.
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import Final

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

PRESCAN_BYTES: Final = 8 << 10
"""Browsers look at 1,024 bytes before they begin and begin anew at a later declaration; pages have it behind long scripts."""
SAMPLE_BYTES: Final = 64 << 10
"""How much of a page the statistics see, half of it from either end: the default of the library."""
REPLACEMENT: Final = "\ufffd".encode()
UTF8: Final = "utf-8"

BYTE_ORDER_MARKS: Final = ((b"\xef\xbb\xbf", UTF8), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
SEVEN_BIT: Final = frozenset({"iso2022_jp", "utf-16-le", "utf-16-be"})
"""Codecs whose bytes may all be ASCII and yet mean something else."""
SUPERSETS: Final = {
    "ascii": "cp1252",
    "latin-1": "cp1252",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
}
"""Python's codecs of what the labels mean on the web, where the library names a narrower one."""
NAMES: Final = {
    "cp866": "ibm866",
    "cp874": "windows-874",
    "cp932": "shift_jis",
    "cp949": "euc-kr",
    "big5hkscs": "big5",
    "euc_jp": "euc-jp",
    "iso2022_jp": "iso-2022-jp",
    "mac-roman": "macintosh",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
}

COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
META = re.compile(rb"<meta[\s/][^>]*?charset\s*=\s*[\"']?\s*([^\s\"'/>;]+)", re.IGNORECASE)
XML = re.compile(rb"\s*<\?xml\s[^>]*?encoding\s*=\s*[\"']\s*([^\s\"'>]+)", re.IGNORECASE)


def utf8_of(page: bytes, declared: str | None) -> tuple[bytes, str]:
    """The page as valid UTF-8 without a byte-order mark, and the encoding that it was in, by its name on the web.

    Bytes that mean nothing in that encoding become U+FFFD, as browsers show them.

    Args:
        page: The page.
        declared: The charset of the HTTP header, if it has one.
    """
    for mark, codec in BYTE_ORDER_MARKS:
        if page.startswith(mark):
            return _decoded(page[len(mark) :], codec)
    if page.isascii():
        seven_bit = _declared(page, declared) if b"\x1b" in page or b"\0" in page else None
        return (page, UTF8) if seven_bit not in SEVEN_BIT else _decoded(page, seven_bit)
    valid = _valid_utf8(page)
    if valid is not None:
        return valid, UTF8
    return _decoded(page, _declared(page, declared) or _detected(page))


def _valid_utf8(page: bytes) -> bytes | None:
    """The page if it is UTF-8, cut in the middle of a character at most, and has another one that shows that it is."""
    try:
        _, num_bytes = codecs.utf_8_decode(page, "strict", False)
    except UnicodeDecodeError:
        return None
    if num_bytes == len(page):
        return page
    return None if page[:num_bytes].isascii() else page[:num_bytes] + REPLACEMENT


def _decoded(page: bytes, codec: str) -> tuple[bytes, str]:
    if codec == UTF8 and (valid := _valid_utf8(page)) is not None:
        return valid, UTF8
    text = page.decode(codec, "replace")
    return text.encode("utf-8", "replace"), name_of(codec)


def _declared(page: bytes, declared: str | None) -> str | None:
    """The codec that the HTTP header, else the page itself, declares; None if neither says anything that is known."""
    found = None if declared is None else codec_of(declared)
    if found is None:
        found = _declared_inside(page[:PRESCAN_BYTES])
    return found


def _declared_inside(head: bytes) -> str | None:
    for match in (META.search(COMMENT.sub(b"", head)), XML.match(head)):
        codec = None if match is None else codec_of(match[1].decode("latin-1"))
        if codec is not None:
            # That the declaration could be read shows that it is not UTF-16.
            return UTF8 if codec.startswith("utf-16") else codec
    return None


def _detected(page: bytes) -> str:
    """What the statistics of uchardet say; windows-1252 where they say what the bytes are not."""
    found = codec_of(detect_encoding(page, max_len=SAMPLE_BYTES) or "")
    return "cp1252" if found is None or found == UTF8 or found in SEVEN_BIT else found


@lru_cache(256)
def codec_of(label: str) -> str | None:
    """Python's codec for a label as the web understands it (WHATWG's encoding standard): `iso-8859-1` means windows-1252."""
    found = map_encoding_to_html5(label.strip().lower(), fallback_utf8=False)
    if found is None:
        return None
    codec = SUPERSETS.get(found, found)
    try:
        codecs.lookup(codec)
    except LookupError:
        return None
    return codec


def name_of(codec: str) -> str:
    """The name on the web of a codec."""
    if codec in NAMES:
        return NAMES[codec]
    return codec.replace("cp125", "windows-125").replace("iso8859", "iso-8859")
