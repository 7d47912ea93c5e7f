"""A byte-level BPE tokenizer by kernels: columns of texts to ids, with the library only for texts that must be normalized first.

Owns the tables of one opened tokenizer and its cache of pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.byte_level import ByteLevelBpe, Split
from operators.encoding import Ends, Ids, Mask, UnknownRule, as_ids
from operators.kernels import nfc
from operators.kernels.added_tokens import added_tokens, next_added
from operators.kernels.bpe import merges_of, scratch
from operators.kernels.bpe_cache import cache_of
from operators.kernels.buffers import text_buffers
from operators.kernels.tokens import MAX_SPLITS, SLACK, Model, Splits, encode
from operators.kernels.vocabulary import vocabulary_of
from operators.splitting import Automaton, UnknownPattern, compile_digits, compile_pattern, compile_punctuation, compile_text

Encode = Callable[[str], list[int]]


class KernelEncoder:
    """Encodes columns of texts; of one thread.

    Args:
        bpe: The tokenizer.
        prefix: Ids before those of each text.
        suffix: Ids behind them.
        cache_bytes: Bound of the memory for pieces that were seen before.
        encode: The library's ids of one text, for those that the kernels cannot normalize.
    """

    def __init__(self, bpe: ByteLevelBpe, prefix: list[int], suffix: list[int], cache_bytes: int, encode: Encode) -> None:
        self._model = Model(
            added_tokens(bpe.raw_added),
            added_tokens(bpe.added),
            _splits(bpe.splits),
            vocabulary_of(bpe.whole),
            merges_of(bpe.byte_ids, bpe.left, bpe.right, bpe.products),
            as_ids(prefix),
            as_ids(suffix),
        )
        self._cache = cache_of(cache_bytes)
        self._limits = np.zeros(MAX_SPLITS, np.int64)
        self._is_nfc = bpe.is_nfc
        self._encode = encode

    def __call__(self, text: pa.LargeStringArray, taken: Mask) -> tuple[Ids, Ends]:
        """Ids of the texts that are taken, which are well-formed UTF-8, one after the other, and where those of each text end."""
        by_library: dict[int, list[int]] = {}
        if self._is_nfc:
            text, by_library = self._normalized(text, taken)
            taken = taken.copy()
            taken[list(by_library)] = False
        offsets, data = text_buffers(text)
        # What is not taken may be longer than any memory.
        sizes = np.diff(offsets) * taken
        room = int(sizes.sum()) + len(text) * (len(self._model.prefix) + len(self._model.suffix)) + SLACK
        out, ends = np.empty(room, np.int32), np.empty(len(text), np.int64)
        space = scratch(int(sizes.max(initial=0)))
        number = encode(offsets, data, taken.view(np.uint8), self._model, self._cache, space, self._limits, out, ends)
        return _merged(out[:number], ends, by_library) if by_library else (out[:number], ends)

    def _normalized(self, text: pa.LargeStringArray, taken: Mask) -> tuple[pa.LargeStringArray, dict[int, list[int]]]:
        """The texts in NFC; and the ids of those that an added token stands in that is looked for before.

        Those would have to be normalized piece by piece, which is left to the library.
        """
        from tokenizers import normalizers

        offsets, data = text_buffers(text)
        unsure = np.empty(len(text), np.uint8)
        nfc.find_unsure(offsets, data, nfc.classes(), unsure)
        normalize = normalizers.NFC().normalize_str
        changed: dict[int, str] = {}
        by_library: dict[int, list[int]] = {}
        for row in np.flatnonzero(unsure.view(bool) & taken).tolist():
            before = text[row].as_py()
            after = normalize(before)
            if after == before:
                continue
            # In the form that it gets a text may hold one that it did not hold: the library does not look for it there.
            if self._has_raw(before) or self._has_raw(after):
                by_library[row] = self._encode(before)
            else:
                changed[row] = after
        if changed:
            mask = np.zeros(len(text), bool)
            mask[list(changed)] = True
            text = pc.replace_with_mask(text, pa.array(mask), pa.array(changed.values(), pa.large_string()))
        return text, by_library

    def _has_raw(self, text: str) -> bool:
        data = np.frombuffer(text.encode(), np.uint8)
        return bool(next_added(self._model.raw_added, data, 0, len(data))[2] >= 0)


def _splits(splits: tuple[Split, ...]) -> Splits:
    automata = [_automaton(split) for split in splits]
    begins = np.cumsum([0, *(len(automaton.steps) for automaton in automata)], dtype=np.int64)
    if len(automata) == 1:
        steps, classes = automata[0]
    else:
        steps = np.concatenate([np.zeros(0, np.int32), *(automaton.steps for automaton in automata)])
        classes = np.concatenate([np.zeros(0, np.uint8), *(automaton.classes for automaton in automata)])
    # One type for the compiler, wherever they come from.
    steps.setflags(write=False)
    classes.setflags(write=False)
    return Splits(steps, classes, begins[:-1], np.array([split.keeps_gaps for split in splits], bool))


def _automaton(split: Split) -> Automaton:
    try:
        match split.by:
            case "pattern":
                return compile_pattern(split.pattern)
            case "text":
                return compile_text(split.pattern)
            case "digits":
                return compile_digits(split.each)
            case "punctuation":
                return compile_punctuation(not split.each)
    except UnknownPattern as error:
        raise UnknownRule(f"the pattern of a Split, which has {error}") from error


def _merged(ids: Ids, ends: Ends, others: dict[int, list[int]]) -> tuple[Ids, Ends]:
    """The ids with those of other texts put in their places."""
    parts: list[Any] = []
    sizes = np.diff(ends, prepend=0)
    start = 0
    for row, found in sorted(others.items()):
        parts += [ids[start : ends[row]], as_ids(found)]
        start = int(ends[row])
        sizes[row] = len(found)
    return np.concatenate([*parts, ids[start:]]), np.cumsum(sizes)
