"""Tokenizer files of every kind that is in use, and odd ones: what the tests of `tokenize` compare with the library.

Each is a `tokenizer.json` made here: a byte-level BPE (`merges`) behind one of the known pre-tokenizers, or something else entirely.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Merges = Sequence[tuple[str, str]]

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + REST
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + REST
QWEN35 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*")
O200K = "|".join([*(each + CONTRACTIONS + "?" for each in CASED), r"\p{N}{1,3}", SLASHED])
TEKKEN = "|".join([*CASED, r"\p{N}", SLASHED])
SYMBOL_WORDS = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    SYMBOL_WORDS + r"|\s*[\r\n]+|\s+(?!\S)|\s+",
)
DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥\u0800-一가-\ud7ff]+")
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"

WHITESPACE_RUNS = [" " * width for width in range(24, 1, -1)]


def byte_chars() -> dict[int, str]:
    """The character that stands for each byte in a byte-level vocabulary: itself where it is printable, else one from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + place) for place, byte in enumerate(others)}


BYTES = byte_chars()


def spelled(text: str | bytes) -> str:
    """A text as a byte-level vocabulary spells it."""
    data = text.encode() if isinstance(text, str) else text
    return "".join(BYTES[byte] for byte in data)


def byte_level(*, regex: bool = True, prefix: bool = False) -> Json:
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(pattern: str, behavior: str = "Isolated", *, invert: bool = False) -> Json:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def steps(*each: Json) -> Json:
    return {"type": "Sequence", "pretokenizers": list(each)}


def splits(*patterns: str) -> Json:
    """Splits one after the other, then bytes."""
    return steps(*(split(pattern) for pattern in patterns), byte_level(regex=False))


DIGITS, DIGIT = ({"type": "Digits", "individual_digits": single} for single in (False, True))
PUNCTUATION: Json = {"type": "Punctuation", "behavior": "Contiguous"}

PRE_TOKENIZERS: dict[str, Json | None] = {
    "gpt2": byte_level(),
    "gpt2-as-split": splits(GPT2),
    "roberta": byte_level(prefix=True),
    "llama3": splits(LLAMA3),
    "cl100k": splits(CL100K),
    "cl100k-removed": steps(split(LLAMA3, "Removed", invert=True), byte_level(regex=False)),
    "qwen2": splits(QWEN2),
    "qwen3.5": splits(QWEN35),
    "o200k": splits(O200K),
    "tekken": splits(TEKKEN),
    "deepseek3": splits(*DEEPSEEK3),
    "deepseek-coder": steps(*(split(each) for each in DEEPSEEK_CODER), DIGIT, byte_level(regex=False)),
    "starcoder": steps(DIGIT, byte_level()),
    "digit-runs": steps(DIGITS, byte_level()),
    "digits-prefixed": steps(DIGIT, byte_level(prefix=True)),
    "bloom": splits(BLOOM),
    "falcon": steps(PUNCTUATION, byte_level(), DIGITS, split("[0-9][0-9][0-9]")),
    "punctuation-runs": steps(PUNCTUATION, byte_level()),
    "punctuation": steps(PUNCTUATION | {"behavior": "Isolated"}, splits(LLAMA3)),
    "punctuation-removed": steps(PUNCTUATION | {"behavior": "Removed"}, byte_level()),
    "string": steps({"type": "Split", "pattern": {"String": ". "}, "behavior": "Isolated", "invert": False}, byte_level()),
    "string-kept": steps({"type": "Split", "pattern": {"String": "e"}, "behavior": "Removed", "invert": True}, byte_level(regex=False)),
    "lines": splits(r"\n"),
    "words-removed": steps(split(r"\s+", "Removed"), byte_level(regex=False)),
    "letters-kept": steps(split(r"\p{L}+", "Removed", invert=True), byte_level(regex=False)),
    "merged-before": steps(split(r"\s", "MergedWithPrevious"), byte_level(regex=False)),
    "merged-after": steps(split(r"\s", "MergedWithNext"), byte_level(regex=False)),
    "contiguous": steps(split(r"\s", "Contiguous"), byte_level(regex=False)),
    "literal": steps({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext", "invert": False}, byte_level(regex=False)),
    "lookbehind": splits(r"(?<=[a-z])(?=[A-Z])|\s+"),
    "whitespace": steps({"type": "WhitespaceSplit"}, byte_level()),
    "bytes-alone": byte_level(regex=False),
    "bytes-alone-prefixed": byte_level(regex=False, prefix=True),
    "bytes-twice": steps(byte_level(), byte_level(regex=False)),
    "nested": steps(steps(split(LLAMA3)), steps(byte_level(regex=False))),
    "none": None,
}


def token(content: str, number: int = 0, *, special: bool = False, **flags: bool) -> Json:
    """An entry of `added_tokens`; by default a special one matches the raw text, another one the normalized text."""
    entry = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": not special, "special": special}
    return {"id": number, "content": content, **entry, **flags}


def added(first: int, *tokens: Json) -> list[Json]:
    """Tokens with the ids that the library gives them where none is in the vocabulary."""
    return [{**each, "id": first + place} for place, each in enumerate(tokens)]


def vocabulary(merges: Merges) -> dict[str, int]:
    """Bytes, then what the merges make, in their order."""
    vocab = {BYTES[byte]: byte for byte in range(256)}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    return vocab


def bpe(merges: Merges, vocab: Mapping[str, int] | None = None, **model: Any) -> Json:
    """A BPE model; `vocab` is made of the merges unless it is given."""
    plain = {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False}
    flags = {**plain, "byte_fallback": False, "ignore_merges": False, **model}
    return {
        "type": "BPE",
        **flags,
        "vocab": dict(vocabulary(merges) if vocab is None else vocab),
        "merges": [list(each) for each in merges],
    }


def tokenizer(
    model: Json,
    pre_tokenizer: Json | None = PRE_TOKENIZERS["gpt2"],
    *,
    normalizer: Json | None = None,
    tokens: Iterable[Json] = (),
    post_processor: Json | None = None,
    decoder: Json | None = None,
    **more: Any,
) -> Json:
    """A whole `tokenizer.json`."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": list(tokens),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": decoder or byte_level(),
        "model": model,
        **more,
    }


def written(made: Json, path: Path) -> Path:
    """The file of a tokenizer."""
    path.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    return path


def trained(texts: Iterable[str], size: int, pre_tokenizer: Json | None) -> list[tuple[str, str]]:
    """The merges that the library learns from some texts, split by a pre-tokenizer."""
    from tokenizers import Tokenizer, pre_tokenizers, trainers

    learner = Tokenizer.from_str(json.dumps(tokenizer(bpe([]), pre_tokenizer)))
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    learner.train_from_iterator(texts, trainer)
    return [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]


def from_ranks(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a `.tiktoken` file: in the order of ranks, every cut of a token into two that are tokens too.

    Of the cuts of one token the one of the lowest ranks comes first, as the converters of the field write them: so many pairs have one
    product, and most of them never get to make it.
    """
    lines = path.read_bytes().split(b"\n")
    ranks = {base64.b64decode(each.split()[0]): int(each.split()[1]) for each in lines if each.strip()}
    merges: list[tuple[str, str]] = []
    for whole in sorted(ranks, key=ranks.__getitem__):
        cuts = [(whole[:at], whole[at:]) for at in range(1, len(whole))]
        known = [cut for cut in cuts if cut[0] in ranks and cut[1] in ranks]
        merges += [(spelled(left), spelled(right)) for left, right in sorted(known, key=lambda cut: (ranks[cut[0]], ranks[cut[1]]))]
    return {spelled(each): rank for each, rank in ranks.items()}, merges


def from_gpt2(folder: Path) -> Json:
    """The tokenizer of GPT-2 from its two files."""
    vocab = json.loads((folder / "encoder.json").read_text())
    lines = (folder / "vocab.bpe").read_text().split("\n")[1:]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines) if left]
    return tokenizer(bpe(merges, vocab), tokens=[token("<|endoftext|>", vocab["<|endoftext|>"], special=True)])


def from_tiktoken(path: Path) -> Json:
    """A tokenizer of Whisper's from its ranks."""
    vocab, merges = from_ranks(path)
    return tokenizer(
        bpe(merges, vocab), tokens=added(len(vocab), token("<|endoftext|>", special=True), token("<|startoftranscript|>", special=True))
    )
