"""The gallery: what tokenizers are made of, one feature at a time, by a name that the test's report shows."""

from __future__ import annotations

import random
from typing import Any

from tokenizer_gallery import (
    BYTES,
    LLAMA3,
    PRE_TOKENIZERS,
    QWEN2,
    WHITESPACE_RUNS,
    Json,
    Merges,
    added,
    bpe,
    byte_level,
    spelled,
    splits,
    token,
    tokenizer,
    vocabulary,
)

FAST = (
    *("pre-gpt2", "pre-gpt2-as-split", "pre-llama3", "pre-cl100k", "pre-cl100k-removed", "pre-qwen2", "pre-qwen3.5", "pre-o200k"),
    *("pre-tekken", "pre-deepseek3", "pre-deepseek-coder", "pre-starcoder", "pre-digit-runs", "pre-bloom", "pre-bytes-alone", "pre-nested"),
    *("norm-nfc", "norm-nothing", "qwen2-nfc", "truncated", "model-ignore-merges", "model-whole-words", "model-merges-shuffled"),
    *("model-merges-twice", "model-every-cut", "model-ids-shuffled", "model-ids-sparse", "model-empty-affixes", "model-old-merges"),
    *("model-untyped", "added-special", "added-plain", "added-overlapping", "added-shadowed", "added-two-kinds", "added-prefixes"),
    *("added-inside-words", "added-in-vocabulary", "added-whitespace", "added-nfc-accents", "added-nfc-whitespace", "added-ids-ignored"),
    *(
        "pre-punctuation-runs",
        "pre-punctuation",
        "pre-string",
        "pre-string-kept",
        "added-ignore-merges",
        "post-begin",
        "post-around",
        "post-roberta",
    ),
)
"""What must not need the library: the tokenizers in use that are byte-level BPE, and odd ones whose rules the kernels know all the same.

Without this a kernel that is wrong would not be seen: what is compared when a tokenizer is opened would send it to the library."""

NFC: Json = {"type": "NFC"}
METASPACE: Json = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}


def normalizers(*each: Json) -> Json:
    return {"type": "Sequence", "normalizers": list(each)}


def replace(found: str, by: str) -> Json:
    return {"type": "Replace", "pattern": {"String": found}, "content": by}


NORMALIZERS: dict[str, Json] = {
    "nfc": NFC,
    "nfd": {"type": "NFD"},
    "nfkc": {"type": "NFKC"},
    "lowercase": {"type": "Lowercase"},
    "strip": {"type": "Strip", "strip_left": True, "strip_right": True},
    "replace": replace(" ", "_"),
    "prepend": {"type": "Prepend", "prepend": "\u2581"},
    "sequence": normalizers({"type": "NFD"}, {"type": "StripAccents"}, NFC),
    "nothing": normalizers(),
    "nested-nfc": normalizers(NFC),
}


def by_pre_tokenizer(merges: Merges) -> dict[str, Json]:
    """One model behind every pre-tokenizer; and the normalizers and flags that come with some of them."""
    made = {f"pre-{name}": tokenizer(bpe(merges), each) for name, each in PRE_TOKENIZERS.items()}
    made |= {f"norm-{name}": tokenizer(bpe(merges), normalizer=each) for name, each in NORMALIZERS.items()}
    return made | {
        "qwen2-nfc": tokenizer(bpe(merges, ignore_merges=False), splits(QWEN2), normalizer=NFC),
        "truncated": tokenizer(bpe(merges), truncation=TRUNCATION, padding=PADDING),
    }


TRUNCATION: Json = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
PADDING: Json = {
    "strategy": {"Fixed": 8},
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "!",
}


def by_model(merges: Merges) -> dict[str, Json]:
    """Models whose merges, ids and flags are unusual, behind a usual pre-tokenizer."""
    draw = random.Random(5)
    vocab = vocabulary(merges)
    shuffled = list(vocab.values())
    draw.shuffle(shuffled)
    reordered = draw.sample(list(merges), len(merges))
    words = ["market", "\u0120market", "\u0120people", "\u0120\u0120", spelled(" \u4f60\u597d"), spelled("it's")]
    whole = vocab | {word: len(vocab) + place for place, word in enumerate(dict.fromkeys(words) - vocab.keys())}
    cuts = [
        (each[:at], each[at:]) for each in vocab if len(each) < 8 for at in range(1, len(each)) if each[:at] in vocab and each[at:] in vocab
    ]
    models: dict[str, Json] = {
        "ignore-merges": bpe(merges, whole, ignore_merges=True),
        "whole-words": bpe(merges, whole),
        "merges-shuffled": bpe(reordered, vocab),
        "merges-reversed": bpe(list(merges)[::-1], vocab),
        "merges-twice": bpe([*merges, *draw.sample(list(merges), len(merges) // 3)], vocab),
        "every-cut": bpe(draw.sample(cuts, len(cuts)), vocab),
        "no-merges": bpe([]),
        "ids-shuffled": bpe(merges, dict(zip(vocab, shuffled, strict=True))),
        "ids-sparse": bpe(merges, {each: 7 * number + 3 for each, number in vocab.items()}),
        "ids-large": bpe(merges, {each: number + (1 << 20) for each, number in vocab.items()}),
        "ids-shared": bpe([("a", "a"), ("b", "b"), ("aa", "b"), ("a", "bb"), ("e", "aa")], shared_ids()),
        "empty-affixes": bpe(merges, continuing_subword_prefix="", end_of_word_suffix=""),
        "dropout-none": bpe(merges, dropout=0.0),
        "old-merges": bpe(merges) | {"merges": [" ".join(each) for each in merges]},
    }
    models["untyped"] = {key: value for key, value in models["old-merges"].items() if key not in {"type", "ignore_merges"}}
    return {f"model-{name}": tokenizer(model, splits(LLAMA3)) for name, model in models.items()}


def shared_ids() -> dict[str, int]:
    """A vocabulary in which tokens share their ids, so that a pair's product does not tell how long it is."""
    vocab = vocabulary([])
    return vocab | {"aa": 256, "bb": 256, "aab": 257, "abb": 257, "eaa": 256}


def by_gap(merges: Merges) -> dict[str, Json]:
    """Models that lack some bytes, with every way of standing in for them; and those that mark the ends of words."""
    absent = {BYTES[byte] for byte in (*b"xq \n7", 0xC3, 0xE4, 0x81)}
    vocab = {each: number for each, number in vocabulary(merges).items() if not set(each) & absent}
    kept = [pair for pair in merges if pair[0] in vocab and pair[1] in vocab]
    told = vocab | {"<unk>": 2000}
    fallback = told | {f"<0x{byte:02X}>": 3000 + byte for byte in range(256)}
    ends = vocabulary(merges) | {f"{each}</w>": 4000 + place for place, each in enumerate(BYTES.values())}
    middle = vocabulary([]) | {f"##{each}": 4000 + place for place, each in enumerate(BYTES.values())} | {"th": 5000, "the": 5001}
    models = {
        "dropped": bpe(kept, vocab),
        "unk": bpe(kept, told, unk_token="<unk>"),
        "unk-fused": bpe(kept, told, unk_token="<unk>", fuse_unk=True),
        "fallback": bpe(kept, fallback, byte_fallback=True),
        "fallback-unk": bpe(kept, {**fallback, "<0x20>": 9000} | {}, byte_fallback=True, unk_token="<unk>", fuse_unk=True),
        "fallback-unneeded": bpe(merges, byte_fallback=True),
        "unk-unneeded": bpe(merges, vocabulary(merges) | {"<unk>": 2000}, unk_token="<unk>", fuse_unk=True),
        "suffix": bpe(
            [("t", "h"), ("th", "e</w>"), ("o", "f</w>")], ends | {"the</w>": 5000, "of</w>": 5001, "th": 5002}, end_of_word_suffix="</w>"
        ),
        "prefix": bpe([("t", "##h"), ("th", "##e")], middle, continuing_subword_prefix="##"),
    }
    return {f"gap-{name}": tokenizer(model) for name, model in models.items()}


def by_added_token(merges: Merges) -> dict[str, Json]:
    """Added tokens: of every flag, overlapping, inside of words, of spaces, and such as a normalizer changes."""
    first = len(vocabulary(merges))
    neox = [*(token(run) for run in WHITESPACE_RUNS), token("|||IP_ADDRESS|||"), token("<|endoftext|>", special=True)]
    sets: dict[str, list[Json]] = {
        "special": [token("<|endoftext|>", special=True), token("<|im_start|>", special=True)],
        "special-normalized": [token("<|endoftext|>", special=True, normalized=True)],
        "plain": [token("<|endoftext|>"), token("foo"), token("|||IP_ADDRESS|||", normalized=False)],
        "lstrip": [token("foo", lstrip=True), token("<s>", special=True, lstrip=True)],
        "rstrip": [token("foo", rstrip=True), token("<s>", special=True, rstrip=True)],
        "strip": [token("foo", lstrip=True, rstrip=True), token("  "), token("\n"), token("<s>", special=True, lstrip=True, rstrip=True)],
        "single-word": [
            token("foo", single_word=True),
            token("a", single_word=True, lstrip=True),
            token("</s>", special=True, single_word=True),
        ],
        "overlapping": [token(each, normalized=False) for each in ("<a", "<ab>", "<abc", "ab", "b><", "<a>")],
        "shadowed": [token("<|endoftext|>", special=True), token("<|endo", normalized=False), token("|>", normalized=False), token("text")],
        "two-kinds": [token("<|endoftext|>", special=True), token("<|endo"), token("of", normalized=False), token("off"), token(" o")],
        "prefixes": [token(each) for each in ("a", "aa", "aaaa", "aab", "  ", " ")],
        "inside-words": [token("ark"), token("ple", normalized=False), token("\u597d"), token("\u00e9"), token("e\u0301")],
        "one-byte": [token("!"), token("x", special=True), token("\u00c3")],
        "in-vocabulary": [token("the"), token("\u0120the"), token("e", special=True)],
        "same-twice": [token("foo", special=True), token("foo")],
        "whitespace": neox,
    }
    found = {f"added-{name}": tokenizer(bpe(merges), tokens=added(first, *each)) for name, each in sets.items()}
    accents = [token("\u00e9"), token("e\u0301", normalized=False), token("\u212b"), token("o"), token("\u0323"), token("\u1161")]
    for name, each in {"accents": accents, "whitespace": neox, "special": sets["special"], "strip": sets["strip"]}.items():
        found[f"added-nfc-{name}"] = tokenizer(bpe(merges), tokens=added(first, *each), normalizer=NFC)
    lower = added(first, token("Foo"), token("FOO", normalized=False), token("CAF\u00c9"))
    return found | {
        "added-ids-ignored": tokenizer(bpe(merges), tokens=[token("foo", 70000), token("<s>", 5, special=True), token("<a>", 69999)]),
        "added-lowercase": tokenizer(bpe(merges), tokens=lower, normalizer=NORMALIZERS["lowercase"]),
        "added-prefix-space": tokenizer(bpe(merges), byte_level(prefix=True), tokens=added(first, *sets["plain"])),
        "added-split": tokenizer(bpe(merges), splits(LLAMA3), tokens=added(first, *sets["two-kinds"], *sets["strip"])),
        "added-ignore-merges": tokenizer(bpe(merges, ignore_merges=True), splits(LLAMA3), tokens=added(first, *sets["inside-words"])),
    }


def template(*parts: tuple[str, list[int]]) -> Json:
    """A template around the text `$A`."""
    special = {name: {"id": name, "ids": ids, "tokens": [name] * len(ids)} for name, ids in parts if ids}
    pieces = [{"SpecialToken" if ids else "Sequence": {"id": name, "type_id": 0}} for name, ids in parts]
    return {
        "type": "TemplateProcessing",
        "single": pieces,
        "pair": [*pieces, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": special,
    }


def by_post_processor(merges: Merges) -> dict[str, Json]:
    """What is put around a text if `add_special_tokens` asks for it."""
    first = len(vocabulary(merges))
    tokens = added(first, token("<s>", special=True), token("</s>", special=True))
    around = template(("<s>", [first]), ("A", []), ("</s>", [first + 1]))
    ends = {"sep": ["</s>", first + 1], "cls": ["<s>", first]}
    processors: dict[str, Json] = {
        "begin": template(("<s>", [first]), ("A", [])),
        "end": template(("A", []), ("</s>", [first + 1])),
        "around": around,
        "many-ids": template(("<s>", [first, 65, 66]), ("A", []), ("<s>", [first, 65, 66])),
        "bytes": byte_level(),
        "roberta": {"type": "RobertaProcessing", **ends, "trim_offsets": True, "add_prefix_space": True},
        "bert": {"type": "BertProcessing", **ends},
        "sequence": {"type": "Sequence", "processors": [byte_level(), around]},
    }
    return {f"post-{name}": tokenizer(bpe(merges), tokens=tokens, post_processor=each) for name, each in processors.items()}


def foreign() -> dict[str, Json]:
    """What is no byte-level BPE."""
    letters = {chr(code): place for place, code in enumerate(range(32, 127))}
    tail = {"unk_token": "<unk>", "max_input_chars_per_word": 100}
    words = {"<unk>": 0, "the": 1, "##s": 2, "a": 3, "market": 4, "##a": 5, "of": 6, "!": 7}
    bert = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    pieces = [["<unk>", 0.0], ["\u2581", -2.0], ["\u2581the", -3.0], ["a", -4.0], ["e", -4.5], ["th", -5.0], ["s", -4.1]]
    llama = {"<unk>": 0} | {f"<0x{byte:02X}>": 1 + byte for byte in range(256)}
    llama |= {each: 300 + place for place, each in enumerate(["\u2581", "t", "h", "e", "\u2581t", "he", "\u2581the", "a", "\u00e9"])}
    spaced: list[tuple[str, str]] = [("\u2581", "t"), ("h", "e"), ("\u2581t", "he")]
    sentencepiece = bpe(spaced, llama, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    prepended = normalizers(NORMALIZERS["prepend"], replace(" ", "\u2581"))
    marked = [token("<unk>", special=True), token("<s>", special=True)]
    wordpiece = {"type": "WordPiece", "continuing_subword_prefix": "##", "vocab": words, **tail}
    made: dict[str, Any] = {
        "wordpiece": tokenizer(wordpiece, {"type": "BertPreTokenizer"}, normalizer=bert),
        "wordlevel": tokenizer({"type": "WordLevel", "vocab": words, "unk_token": "<unk>"}, {"type": "Whitespace"}),
        "unigram": tokenizer({"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": False}, METASPACE),
        "metaspace": tokenizer(sentencepiece, METASPACE, tokens=marked),
        "llama2": tokenizer(sentencepiece, None, normalizer=prepended, tokens=marked),
        "characters": tokenizer(bpe([("t", "h"), ("th", "e")], letters | {"th": 200, "the": 201}), {"type": "Whitespace"}),
    }
    return {f"foreign-{name}": each for name, each in made.items()}


def gallery(merges: Merges) -> dict[str, Json]:
    """Every tokenizer there is here, around some merges that were learnt."""
    return {
        **by_pre_tokenizer(merges),
        **by_model(merges),
        **by_gap(merges),
        **by_added_token(merges),
        **by_post_processor(merges),
        **foreign(),
    }
