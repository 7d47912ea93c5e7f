"""A tiktoken encoding with the vocabulary of a byte-level `tokenizer.json`, so that both do the same work.

Ranks are the ids: those of a byte-level BPE follow the order of its merges. tiktoken knows neither normalizers nor tokens added to a
vocabulary, so that documents which need them come out otherwise: compare ids before times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

# What `ByteLevel` splits by when it has no pattern, as tiktoken's own encodings write it: possessive, which is faster and splits alike.
GPT2: Final = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
CL100K: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
POSSESSIVE: Final[Mapping[str, str]] = {
    CL100K: r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
}


class NotComparableError(Exception):
    """The tokenizer has a rule that tiktoken has no word for."""


def encoding_of(path: Path) -> Any:
    """The encoding.

    Raises:
        NotComparableError: It is no byte-level BPE, or splits text by more than one pattern.
        ImportError: tiktoken is not installed.
    """
    import tiktoken

    content = json.loads(path.read_bytes())
    if content["model"]["type"] != "BPE":
        raise NotComparableError(f"{path.name}: the model is {content['model']['type']}; expected BPE")
    to_byte = {char: byte for byte, char in byte_chars().items()}
    added = {token["content"] for token in content.get("added_tokens", ())}
    ranks = {
        bytes(to_byte[char] for char in token): rank
        for token, rank in content["model"]["vocab"].items()
        if token not in added and set(token) <= to_byte.keys()
    }
    return tiktoken.Encoding(path.stem, pat_str=_pattern(path, content["pre_tokenizer"]), mergeable_ranks=ranks, special_tokens={})


def _pattern(path: Path, rules: Mapping[str, Any]) -> str:
    """The one pattern that text is split by."""
    steps = rules["pretokenizers"] if rules["type"] == "Sequence" else [rules]
    patterns = [step["pattern"]["Regex"] for step in steps if step["type"] == "Split" and step["behavior"] in ("Isolated", "Removed")]
    patterns += [GPT2 for step in steps if step["type"] == "ByteLevel" and step.get("use_regex", True)]
    if len(patterns) != 1 or len(steps) > 2:
        raise NotComparableError(f"{path.name}: text is split by {len(patterns)} patterns in {len(steps)} steps; expected one")
    return POSSESSIVE.get(patterns[0], patterns[0])


def byte_chars() -> dict[int, str]:
    """The character that stands for each byte in a byte-level vocabulary: itself where it can be printed, else one from 256 on."""
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printed]
    return {byte: chr(byte) for byte in printed} | {byte: chr(256 + number) for number, byte in enumerate(others)}
