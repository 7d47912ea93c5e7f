"""What a file is that the tokenizers library cannot read as a `tokenizer.json`, and how to come by one. Knows no library."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

HEAD_BYTES: Final = 4096
REMEDY: Final = "give the path, URL or Hub id of a `tokenizer.json` as the tokenizers library writes it"
SAVED: Final = "transformers' AutoTokenizer.from_pretrained(FOLDER).save_pretrained(OUT) writes one"
MERGED: Final = (
    "tokenizers' ByteLevelBPETokenizer(VOCAB, MERGES).save(OUT) writes one from `vocab.json` (or `encoder.json`) and `merges.txt`"
)

TIKTOKEN_LINE: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2} [0-9]+\r?\n")
SENTENCEPIECE: Final = re.compile(rb"\n[\x01-\x7f]\n[\x01-\x7f]")
"""The first piece of a SentencePiece model: two nested fields of protobuf, the piece and its text."""


def remedy_for(path: str) -> str:
    """What a file seems to be that is no tokenizer, and what to do; in general words where it looks like nothing that is known.

    Looks at the first bytes, and parses the whole only of what begins like JSON. A file that cannot be read gets the general words.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return REMEDY
    return _by_first_bytes(head) or (_by_keys(path) if head.lstrip(b" \t\r\n").startswith(b"{") else None) or REMEDY


def _by_first_bytes(head: bytes) -> str | None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if not start:
        return "the file is empty: copy or download it again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS and not the file: fetch that with `git lfs pull`"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page: a file on the Hub has /resolve/ in its URL where its page has /blob/"
    if start.startswith(b"#version:"):
        return f"it is the merges of a BPE alone: {MERGED}"
    if TIKTOKEN_LINE.match(head):
        return "it is a tiktoken vocabulary, without its pattern: transformers' convert_tiktoken_to_fast(ENCODING, OUT) writes one"
    if SENTENCEPIECE.match(head):
        return f"it is a SentencePiece model: {SAVED}"
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        return "it is an archive or compressed: unpack it first"
    return None


def _by_keys(path: str) -> str | None:
    """What a JSON object is, by its keys."""
    try:
        content = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError, OSError):  # the first: neither JSON nor UTF-8
        return "it is cut off or damaged: copy or download it again"
    if isinstance(content.get("model"), dict):
        return None  # a tokenizer that this version of the library does not know; its own words say what of it
    if "tokenizer_class" in content or "model_type" in content or "model_max_length" in content:
        return "it holds settings of a model or tokenizer: the `tokenizer.json` lies beside it"
    if content and all(isinstance(value, int) for value in content.values()):
        return f"it is a vocabulary without merges: {MERGED}"
    if "vocab" in content and "config" in content:
        return f"it is a `tekken.json` of Mistral's own library: {SAVED}"
    return None
