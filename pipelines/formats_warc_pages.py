"""Which records of a WARC file are documents, and what is known about each.

Owns the columns. A document is a `response` with status 200 whose type is HTML, or a `conversion` to text or HTML (WET files hold those).
Requests, metadata, revisits, images, redirects and errors of servers are none. The type is what the crawler found the payload to be
(WARC-Identified-Payload-Type), else what the server called it, else what the page looks like.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from pipelines.formats_warc_charset import utf8_of
from pipelines.formats_warc_http import Answer, BodyError, answer_of, body_of
from pipelines.formats_warc_records import Broken, Record

HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
CONVERTED: Final = HTML | {"text/plain"}
OK: Final = 200
SNIFFED_BYTES: Final = 512
LOOKS_LIKE_HTML = re.compile(
    rb"[\s\0]*(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|!--)[\s>]",
    re.IGNORECASE,
)
DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)

COLUMNS: Final = {
    "id": pa.string(),
    "url": pa.string(),
    "date": pa.timestamp("us", "UTC"),
    "record_type": pa.string(),
    "content_type": pa.string(),
    "http_status": pa.int16(),
    "charset": pa.string(),
    "content_language": pa.string(),
    "truncated": pa.string(),
}


def schema_of(text_column: str) -> pa.Schema:
    """The columns of every WARC file: the id, the text, then what is known about the record. A column named as the text is left out."""
    about = [pa.field(name, kind) for name, kind in COLUMNS.items() if name not in {"id", text_column}]
    identifier = [] if text_column == "id" else [pa.field("id", COLUMNS["id"])]
    return pa.schema([*identifier, pa.field(text_column, pa.large_string()), *about])


@dataclass(frozen=True, slots=True)
class Page:
    """A record that is a document; `answer` is None where it holds the text itself."""

    record: Record
    answer: Answer | None
    media_type: str | None


def page_of(record: Record) -> Page | Broken | None:
    """The document in a record; None if the record is none."""
    kind = record.fields["warc-type"].lower()
    found: Page | Broken | None = None
    if kind == "conversion":
        media_type = _media_type(record.fields.get("content-type"))
        if media_type is None or media_type in CONVERTED:
            found = Page(record, None, media_type)
    elif kind == "response":
        found = _response(record)
    if found is None or isinstance(found, Broken):
        return found
    if not record.is_whole:
        return Broken("record_too_large", f"the record at {record.place} has {record.num_bytes} bytes", record.id)
    if "warc-segment-number" in record.fields:
        return Broken("segmented_record", f"the record at {record.place} is one segment of several, which are not joined", record.id)
    return found


def _response(record: Record) -> Page | Broken | None:
    identified = _media_type(record.fields.get("warc-identified-payload-type"))
    if identified is not None and identified not in HTML:
        return None
    if _media_type(record.fields.get("content-type")) not in {None, "application/http"}:
        return None  # the answer of a name server, for example
    answer = answer_of(record.block)
    if answer is None:
        return Broken("malformed_http", f"the record at {record.place} does not begin with the status of an HTTP response", record.id)
    media_type = identified or answer.media_type
    if answer.status != OK or (media_type is not None and media_type not in HTML):
        return None
    if media_type is None and not _looks_like_html(record, answer):
        return None
    return Page(record, answer, media_type)


def _media_type(field_value: str | None) -> str | None:
    return None if field_value is None else field_value.partition(";")[0].strip().lower() or None


def _looks_like_html(record: Record, answer: Answer) -> bool:
    """Whether a page of which nobody says what it is begins as HTML does, as browsers would decide."""
    try:
        body = body_of(record.block, answer, may_be_cut=True)
    except BodyError:
        return True  # it will be told as damage
    return LOOKS_LIKE_HTML.match(body[:SNIFFED_BYTES]) is not None


def text_of(page: Page) -> tuple[bytes, str]:
    """The page as UTF-8 and the encoding that it had; a conversion is given as it is, and checked with all other text.

    Raises:
        BodyError: It cannot be decoded.
    """
    if page.answer is None:
        return page.record.block, "utf-8"
    body = body_of(page.record.block, page.answer, may_be_cut="warc-truncated" in page.record.fields)
    return utf8_of(body, page.answer.charset)


def values_of(page: Page, charset: str) -> dict[str, Any]:
    """The values of COLUMNS for a page, as they go into Arrow."""
    fields = page.record.fields
    return {
        "id": page.record.id,
        "url": _without_brackets(fields.get("warc-target-uri")),
        "date": _date(fields.get("warc-date")),
        "record_type": fields["warc-type"].lower(),
        "content_type": page.media_type,
        "http_status": None if page.answer is None else page.answer.status,
        "charset": charset,
        "content_language": fields.get("warc-identified-content-language"),
        "truncated": fields.get("warc-truncated"),
    }


def _without_brackets(uri: str | None) -> str | None:
    return None if uri is None else uri.removeprefix("<").removesuffix(">")


def _date(value: str | None) -> int | None:
    """Microseconds since 1970; None where there is no date that could be one."""
    found = None if value is None else DATE.fullmatch(value)
    if found is None:
        return None
    try:
        seconds = int(datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None
    return seconds * 1_000_000 + int((found[2] or "").ljust(6, "0")[:6])
