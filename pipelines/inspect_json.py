"""A document as JSON, for `inspect --json`: what is told of it to a person, bounded the same way."""

from __future__ import annotations

from typing import Any

from pipelines.inspect_documents import Document
from pipelines.inspect_excerpts import Part, part_of, parts_of_pair
from pipelines.inspect_values import as_json
from pipelines.redaction import redact_uri


def document_json(document: Document, max_chars: int | None) -> dict[str, Any]:
    """What is known of it; texts are cut where a person's would be, and `num_chars` is that of the whole."""
    if document.kept is None:
        return _one(document, part_of(document, max_chars), max_chars)
    own, kept = parts_of_pair(document, document.kept, max_chars)
    told = {"similarity": as_json(document.similarity, None), "kept": _one(document.kept, kept, max_chars)}
    return {**_one(document, own, max_chars), **told}


def _one(document: Document, part: Part | None, max_chars: int | None) -> dict[str, Any]:
    return {
        "state": document.state,
        "id": document.id,
        "doc_key": document.doc_key,
        "path": None if document.path is None else redact_uri(document.path),
        "row": document.row,
        "operator": document.operator,
        "reason": document.reason,
        "detail": document.detail,
        "why": document.why,
        "columns": as_json(dict(document.columns), max_chars),
        "text": None if part is None else part.text,
        "first_char": None if part is None else part.first_char,
        "num_chars": None if part is None else part.num_chars,
        "marks": [] if part is None else [{"start": mark.start, "stop": mark.stop, "why": mark.why} for mark in part.marks],
        "problem": document.problem,
        "note": document.note,
    }
