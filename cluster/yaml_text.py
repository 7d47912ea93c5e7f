"""Manifests as text that a person reads: YAML with comments that say why.

Owns the writing of plain data as YAML that every reader takes for the same, be it of YAML 1.1 (`no`, `1e3`, `0o17`) or 1.2: text is quoted
unless it is a plain word everywhere. Reads nothing, which is what a YAML library would be for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WORD = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(?::[A-Za-z0-9_.-]+)?", re.ASCII)
_NOT_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


@dataclass(frozen=True, slots=True)
class Noted:
    """A value and why it is so: a comment above its key."""

    value: Any
    why: str


def plain(value: Any) -> Any:
    """The data alone, without comments."""
    match value:
        case Noted():
            return plain(value.value)
        case Mapping():
            return {key: plain(entry) for key, entry in value.items()}
        case str():
            return value
        case Sequence():
            return [plain(entry) for entry in value]
        case _:
            return value


def documents_text(documents: Sequence[Mapping[str, Any] | Noted]) -> str:
    """YAML documents, one after the other; the comment of a document stands at its head."""
    texts = []
    for document in documents:
        why = document.why if isinstance(document, Noted) else ""
        body = document.value if isinstance(document, Noted) else document
        texts.append("\n".join(["---", *_comment(why, 0), *_mapping(body, 0)]) + "\n")
    return "".join(texts)


def _mapping(mapping: Mapping[str, Any], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for key, entry in mapping.items():
        value = entry
        if isinstance(entry, Noted):
            yield from _comment(entry.why, depth)
            value = entry.value
        yield from _entry(f"{indent}{scalar(key)}:", value, depth)


def _entry(head: str, value: Any, depth: int) -> Iterator[str]:
    match value:
        case Mapping() if value:
            yield head
            yield from _mapping(value, depth + 1)
        case str() if _is_block(value):
            yield f"{head} |" if value.endswith("\n") else f"{head} |-"
            yield from (f"{'  ' * (depth + 1)}{line}" if line else "" for line in value.removesuffix("\n").split("\n"))
        case str():
            yield f"{head} {scalar(value)}"
        case Sequence() if value:
            yield head
            for item in value:
                yield from _item(item, depth + 1)
        case _:
            yield f"{head} {scalar(value)}"


def _item(value: Any, depth: int) -> Iterator[str]:
    """An entry of a list; a mapping begins behind its dash."""
    indent = "  " * depth
    if isinstance(value, Noted):
        yield from _comment(value.why, depth)
        value = value.value
    if not isinstance(value, Mapping) or not value:
        yield f"{indent}- {scalar(value)}"
        return
    lines = list(_mapping(value, depth + 1))
    first = next(number for number, line in enumerate(lines) if not line.lstrip().startswith("#"))
    yield from (line.removeprefix("  ") for line in lines[:first])
    yield f"{indent}- {lines[first].lstrip()}"
    yield from lines[first + 1 :]


def scalar(value: Any) -> str:
    """A value on one line; lists and mappings in it only if they are empty, or lists of scalars."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return value if _WORD.fullmatch(value) and value.lower() not in _NOT_WORDS else _quoted(value)
        case Mapping():
            return "{}"
        case _:
            return "[" + ", ".join(scalar(entry) for entry in value) + "]"


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(char) or (char if char.isprintable() else _escaped(ord(char))) for char in text) + '"'


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_block(text: str) -> bool:
    """Whether text of several lines may stand as it is: nothing in it that a reader could take for indentation or for its end."""
    lines = text.removesuffix("\n").split("\n")
    return (
        len(lines) > 1
        and lines[0][:1] not in ("", " ", "\t")
        and lines[-1] != ""
        and all(line.replace("\t", " ").isprintable() and (line == "" or line.strip() != "") for line in lines)
    )


def _comment(why: str, depth: int) -> Iterator[str]:
    # What is no character to be read has no place in YAML, and here no meaning either.
    lines = ("".join(char if char.isprintable() else " " for char in line) for line in why.splitlines())
    return (f"{'  ' * depth}# {line}".rstrip() for line in lines)
