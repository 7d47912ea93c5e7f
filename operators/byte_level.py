"""A byte-level BPE tokenizer's file as tables for kernels, or the first rule of it that they do not know.

Owns the reading of a `tokenizer.json`: which parts of the format the kernels do exactly as the `tokenizers` library does. A kind of part,
or a key of one, that is not listed here is not known, so that a new rule is never mistaken for none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from operators.encoding import UnknownRule
from operators.kernels.added_tokens import PASSED
from operators.kernels.bpe import MAX_IDS
from operators.kernels.tokens import MAX_SPLITS
from operators.library_encoder import panics_told
from operators.split_pattern import GPT2

Json = Mapping[str, Any]

NUM_BYTES: Final = 256
NEVER_IN_UTF8: Final = frozenset((0xC0, 0xC1, *range(0xF5, 0x100)))
"""Bytes that a vocabulary need not have (RFC 3629)."""
PLAIN_BPE: Final = {"continuing_subword_prefix": (None, ""), "end_of_word_suffix": (None, "")}
"""Settings of the model that change how pieces are merged, and the values under which they don't."""
KEYS: Final = {
    "BPE": {*PLAIN_BPE, "vocab", "merges", "ignore_merges", "dropout", "unk_token", "fuse_unk", "byte_fallback"},
    "NFC": set(),
    "Sequence": {"normalizers", "pretokenizers"},
    "Split": {"pattern", "behavior", "invert"},
    "Digits": {"individual_digits"},
    "Punctuation": {"behavior"},
    "ByteLevel": {"add_prefix_space", "trim_offsets", "use_regex"},
}
"""What each part of the file may say. What to do with a byte that is not in the vocabulary has no meaning where all are; dropout is off."""


@dataclass(frozen=True, slots=True)
class Split:
    """One step of the pre-tokenizer.

    Attributes:
        by: What matches: a `pattern`, a `text` as it is, `digits` or `punctuation`.
        pattern: The regular expression or the text.
        keeps_gaps: Whether what lies between two matches is a piece, or is left out.
        each: Of digits and punctuation: each one by itself, not runs of them.
    """

    by: Literal["pattern", "text", "digits", "punctuation"]
    pattern: str = ""
    keeps_gaps: bool = True
    each: bool = False


@dataclass(frozen=True, slots=True)
class ByteLevelBpe:
    """What the kernels need of a tokenizer.

    Attributes:
        byte_ids: int32: the id of each byte; -1 of one that no text has.
        left, right, products: int64: ids of the pairs that are merged, in the order of their ranks, and of what they become.
        whole: Ids of the tokens that a piece may be as a whole, without being merged, by their bytes; empty unless `ignore_merges`.
        splits: Steps of the pre-tokenizer, one inside the other; none: a text is one piece.
        raw_added: Ids of added tokens that are looked for in the text as it is, by their bytes; `PASSED` for those that stay text.
        added: The same of those that are looked for in normalized text.
        is_nfc: Whether texts are normalized to NFC first.
    """

    byte_ids: npt.NDArray[np.int32]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    products: npt.NDArray[np.int64]
    whole: Mapping[bytes, int]
    splits: tuple[Split, ...]
    raw_added: Mapping[bytes, int]
    added: Mapping[bytes, int]
    is_nfc: bool


def byte_level_bpe(file: Json, added: Mapping[int, Any], *, special_is_text: bool) -> ByteLevelBpe:
    """What the kernels need of a tokenizer.

    Args:
        file: The content of `tokenizer.json`.
        added: The library's own added tokens by id: those that the file gives are not always what it uses.
        special_is_text: Whether special tokens in a text are text.

    Raises:
        UnknownRule: The tokenizer has a rule that they do not know.
    """
    model = file["model"]
    is_nfc = _is_nfc(file.get("normalizer"))
    splits = _splits(file.get("pre_tokenizer"))
    _check_model(model)
    characters = byte_characters()
    vocabulary: Mapping[str, int] = model["vocab"]
    if len(set(vocabulary.values())) < len(vocabulary):
        # Which of two merges is done then depends on the library's queue: an entry of a pair that is gone may stand for another.
        raise UnknownRule("tokens that share an id")
    missing = [byte for byte in range(NUM_BYTES) if characters[byte] not in vocabulary and byte not in NEVER_IN_UTF8]
    if missing:
        raise UnknownRule(f"a vocabulary without {len(missing)} of the bytes of UTF-8")
    left, right, products = _merges(model, vocabulary)
    if len(products) > MAX_IDS or max(vocabulary.values()) >= MAX_IDS:
        raise UnknownRule(f"ids of {MAX_IDS:,} and above")
    whole: dict[bytes, int] = {}
    if model.get("ignore_merges"):
        byte_of = {character: byte for byte, character in enumerate(characters)}
        for token, number in vocabulary.items():
            if token and all(character in byte_of for character in token):
                whole[bytes(byte_of[character] for character in token)] = number
    raw, normalized = _added(added, special_is_text=special_is_text, is_nfc=is_nfc)
    byte_ids = np.array([vocabulary.get(character, -1) for character in characters], np.int32)
    return ByteLevelBpe(byte_ids, left, right, products, whole, splits, raw, normalized, is_nfc)


def byte_characters() -> list[str]:
    """The character that stands for each byte in vocabularies: printable ones for themselves, the others from U+0100 on (GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(NUM_BYTES) if byte not in printable]
    return [chr(byte if byte in printable else NUM_BYTES + others.index(byte)) for byte in range(NUM_BYTES)]


def _is_nfc(normalizer: Json | None) -> bool:
    if normalizer is None:
        return False
    _check_keys(normalizer, normalizer["type"])
    if normalizer["type"] == "Sequence":
        found = [_is_nfc(one) for one in normalizer["normalizers"]]
        return any(found)
    if normalizer["type"] != "NFC":
        raise UnknownRule(f"the normalizer {normalizer['type']}")
    return True


def _splits(pre_tokenizer: Json | None) -> tuple[Split, ...]:
    """Steps in order; the last one must be `ByteLevel`, which turns pieces into bytes."""
    steps = _steps(pre_tokenizer)
    if not steps or steps[-1]["type"] != "ByteLevel":
        raise UnknownRule("a pre-tokenizer that does not end in ByteLevel")
    if steps[-1].get("add_prefix_space", True):
        raise UnknownRule("ByteLevel with add_prefix_space")
    found = [_split(step) for step in steps[:-1]]
    found += [Split("pattern", GPT2)] if steps[-1].get("use_regex", True) else []
    if len(found) > MAX_SPLITS:
        raise UnknownRule(f"a pre-tokenizer of more than {MAX_SPLITS} steps")
    return tuple(found)


def _steps(pre_tokenizer: Json | None) -> list[Json]:
    if pre_tokenizer is None:
        return []
    _check_keys(pre_tokenizer, pre_tokenizer["type"])
    if pre_tokenizer["type"] == "Sequence":
        return [step for one in pre_tokenizer["pretokenizers"] for step in _steps(one)]
    return [pre_tokenizer]


def _split(step: Json) -> Split:
    kind, behavior, is_inverted = step["type"], step.get("behavior"), step.get("invert", False)
    if kind == "Digits":
        return Split("digits", each=bool(step["individual_digits"]))
    if kind == "Punctuation" and behavior in ("Isolated", "Contiguous"):
        return Split("punctuation", each=behavior == "Isolated")
    if kind == "Split" and (behavior == "Isolated" or (behavior == "Removed" and is_inverted)):
        [(form, pattern)] = step["pattern"].items()
        return Split("pattern" if form == "Regex" else "text", pattern, keeps_gaps=behavior == "Isolated")
    how = "" if behavior is None else f" of the behavior {behavior}{' inverted' if is_inverted else ''}"
    raise UnknownRule(f"the pre-tokenizer {kind}{how}")


def _check_keys(part: Json, kind: str) -> None:
    """Refuse a part that says what nobody here has heard of; one of an unknown kind is refused by name elsewhere."""
    unknown = sorted(part.keys() - {"type"} - KEYS[kind]) if kind in KEYS else []
    if unknown:
        raise UnknownRule(f"the key {unknown[0]} of {kind}")


def _check_model(model: Json) -> None:
    kind = model.get("type", "BPE" if "merges" in model else "unnamed")
    if kind != "BPE":
        raise UnknownRule(f"the model {kind}")
    _check_keys(model, "BPE")
    for name, plain in PLAIN_BPE.items():
        if model.get(name) not in plain:
            raise UnknownRule(f"the model's {name}")


def _merges(model: Json, vocabulary: Mapping[str, int]) -> tuple[npt.NDArray[np.int64], ...]:
    pairs: Sequence[Any] = model["merges"]
    if pairs and isinstance(pairs[0], str):
        # The library leaves out whatever looks like the first line of a `merges.txt`.
        pairs = [pair.split(" ") for pair in pairs if not pair.startswith("#version")]
    try:
        columns = (
            [vocabulary[first] for first, _ in pairs],
            [vocabulary[second] for _, second in pairs],
            [vocabulary[first + second] for first, second in pairs],
        )
    except (KeyError, ValueError) as error:
        raise UnknownRule("a merge of what is not in the vocabulary") from error
    return tuple(np.array(column, np.int64) for column in columns)


def _added(added: Mapping[int, Any], *, special_is_text: bool, is_nfc: bool) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """Added tokens that are looked for before a text is normalized, and those that are looked for afterwards."""
    found: tuple[dict[bytes, int], dict[bytes, int]] = {}, {}
    for number, token in sorted(added.items()):
        is_passed = token.special and special_is_text
        if not token.content:
            continue
        if not is_passed and (token.lstrip or token.rstrip or token.single_word):
            which = "lstrip" if token.lstrip else "rstrip" if token.rstrip else "single_word"
            raise UnknownRule(f"an added token with {which}")
        content = _nfc(token.content) if token.normalized and is_nfc else token.content
        found[token.normalized].setdefault(content.encode(), PASSED if is_passed else number)
    return found


def _nfc(text: str) -> str:
    from tokenizers import normalizers

    normalized: str = normalizers.NFC().normalize_str(text)
    return normalized


def around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The ids that the library's post-processor puts before and behind every text.

    Raises:
        UnknownRule: They depend on the text.
    """
    found: set[tuple[tuple[int, ...], tuple[int, ...]]] | None = None
    for text in ("a", "b c", "1"):
        with panics_told():
            body = tokenizer.encode(text, add_special_tokens=False).ids
            whole = tokenizer.encode(text, add_special_tokens=True).ids
        places = range(len(whole) - len(body) + 1)
        fitting = {(tuple(whole[:at]), tuple(whole[at + len(body) :])) for at in places if whole[at : at + len(body)] == body}
        found = fitting if found is None else found & fitting
    if not found:
        raise UnknownRule(f"the post-processor {type(tokenizer.post_processor).__name__}")
    before, behind = min(found)
    return list(before), list(behind)
