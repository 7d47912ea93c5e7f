"""Files of fastText classifiers (.bin, and .ftz with quantized matrices), read with numpy into what the kernel wants.

Owns the format, versions 11 and 12, and every check of a file: nothing that a file says is believed before it is seen to fit.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.base import OperatorError
from operators.kernels.buffers import text_buffers
from operators.kernels.fasttext import (
    HS,
    MAGIC,
    MAXN,
    NO_ROW,
    NUM_NUMBERS,
    NUM_WORDS,
    OVA,
    ROWS_AT,
    SIGMOID_END,
    SIGMOID_STEPS,
    WORD_NGRAMS,
    Network,
    predict,
)

FILE_MAGIC: Final = 793712314
VERSIONS: Final = (11, 12)
SUPERVISED: Final = 3
PREFIX: Final = "__label__"
EOS: Final = b"</s>"
CENTROIDS: Final = 256
MAX_NGRAMS: Final = 64
MAX_WORD_BYTES: Final = 1 << 16
MAX_PRUNED_BUCKETS: Final = 1 << 28
MAX_PART: Final = 256
"""Dimensions that one code of a quantized matrix may stand for: what a file says is then never unpacked to a thousand times its size."""

Floats = npt.NDArray[np.float32]


class _BadFileError(Exception):
    """What is wrong with a file."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model says of texts.

    Attributes:
        best: int32, number of the likeliest label, -1 if nothing of the text is in the model (or it is null).
        scores: float32, that label's score, 0 for none.
        passed: Whether some label's score is above what was asked of it.
        chosen: float32 (texts, labels asked for).
    """

    best: npt.NDArray[np.int32]
    scores: Floats
    passed: npt.NDArray[np.bool_]
    chosen: Floats


class FastTextModel:
    """A fastText classifier: its labels, and their scores for a column of texts."""

    def __init__(self, labels: list[str], network: Network, eos: npt.NDArray[np.int64]) -> None:
        self.labels = labels
        self._network = network
        self._eos = eos

    @property
    def is_blank(self) -> bool:
        """Whether it knows neither words nor n-grams, so that every text is nothing to it."""
        numbers = self._network.numbers
        return bool(numbers[NUM_WORDS] == 0 and numbers[MAXN] == 0 and numbers[WORD_NGRAMS] == 1)

    def score(
        self,
        text: pa.LargeStringArray,
        least: npt.NDArray[np.float64] | None = None,
        kinds: npt.NDArray[np.int32] | None = None,
        wanted: Sequence[int] = (),
    ) -> Scored:
        """Classify texts; each is one line to the model, whatever line feeds it has.

        Args:
            text: The texts.
            least: By kind of text and label, what the label's score must be above for a text to pass; inf for labels that don't count.
            kinds: The kind of each text; they are all of kind 0 without it.
            wanted: Labels whose scores are asked for.
        """
        offsets, data = text_buffers(text)
        num = len(text)
        valid = text.is_valid().to_numpy(zero_copy_only=False)
        best, scores, passed = np.empty(num, np.int32), np.empty(num, np.float32), np.empty(num, np.bool_)
        chosen = np.empty(num * len(wanted), np.float32)
        asked = np.zeros(len(self.labels)) if least is None else np.ascontiguousarray(least, np.float64).ravel()
        kinds = np.zeros(num, np.int32) if kinds is None else kinds
        predict(self._network, self._eos, offsets, data, valid, asked, kinds, np.array(wanted, np.int32), best, scores, passed, chosen)
        return Scored(best, scores, passed, chosen.reshape(num, len(wanted)))


@lru_cache(maxsize=4)
def _load(path: str, _size: int, _modified: int) -> FastTextModel:
    return _Reader(path).model()


def load_fasttext(path: str, model: str) -> FastTextModel:
    """The classifier in a file, read once a process; big float matrices stay in the file and are mapped.

    Args:
        path: Where the file is.
        model: What the user calls it.

    Raises:
        OperatorError: The file cannot be read, or is not a whole fastText classifier.
    """
    try:
        state = os.stat(path)  # noqa: PTH116
        return _load(path, state.st_size, state.st_mtime_ns)
    except (OSError, _BadFileError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OperatorError(
            f"model {model!r} is not a fastText model ({why}); give the .bin or .ftz file of a trained classifier"
        ) from error


class _Reader:
    """Reads a file from its beginning, and never beyond its end."""

    def __init__(self, path: str) -> None:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise _BadFileError("it is empty")
            self._data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        self._at = 0

    def _bytes(self, num: int) -> npt.NDArray[np.uint8]:
        if num < 0 or num > len(self._data) - self._at:
            raise _BadFileError(f"it ends too early: {num} bytes wanted at {self._at}, but it has {len(self._data)}")
        found = self._data[self._at : self._at + num]
        self._at += num
        return found

    def _numbers(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack("<" + layout, self._bytes(struct.calcsize("<" + layout)).tobytes())

    def _array(self, kind: str, num: int) -> npt.NDArray[Any]:
        return np.frombuffer(self._bytes(num * np.dtype(kind).itemsize).tobytes(), kind)

    def model(self) -> FastTextModel:
        """Read the file."""
        magic, version = self._numbers("2i")
        if magic != FILE_MAGIC or version not in VERSIONS:
            raise _BadFileError(f"it begins with {magic}, version {version}; expected {FILE_MAGIC}, version 11 or 12")
        dim, _, _, _, _, ngrams, loss, kind, bucket, minn, maxn, _, _ = self._numbers("12id")
        if kind != SUPERVISED:
            raise _BadFileError("it holds word vectors, not a classifier")
        if not (0 < dim <= 1 << 16 and HS <= loss <= OVA and 0 <= bucket < 1 << 31 and 0 <= minn <= MAX_NGRAMS and maxn <= MAX_NGRAMS):
            raise _BadFileError(f"its settings make no sense: dim {dim}, loss {loss}, bucket {bucket}, minn {minn}, maxn {maxn}")
        if not 0 <= ngrams <= MAX_NGRAMS:
            raise _BadFileError(f"its settings make no sense: n-grams of {ngrams} words; up to {MAX_NGRAMS} are read")
        if version == VERSIONS[0]:
            maxn = 0  # as fastText does with old classifiers
        words, ends, counts, num_words, pruned = self._dictionary()
        num_labels = len(counts) - num_words
        if (maxn > 0 or ngrams > 1) and bucket == 0:
            raise _BadFileError("it has n-grams, but no buckets for them")
        if pruned is not None and bucket > MAX_PRUNED_BUCKETS:
            raise _BadFileError(f"it has {bucket} buckets; of a quantized model up to {MAX_PRUNED_BUCKETS} are read")
        kept, kept_rows = _kept(pruned, bucket)
        num_rows = num_words + (bucket if pruned is None else len(pruned))
        rows, rows_at = self._matrix(num_rows, dim)
        is_quantized = rows_at == 0
        if pruned is not None:
            rows, rows_at = _in_order(rows[rows_at : rows_at + num_rows * dim * 4], num_words, kept_rows, dim), 0
        output = self._output(num_labels, dim, quantized=is_quantized)
        output = output[: num_labels - 1] if loss == HS else output
        left, right, leaves = (
            _tree(counts[num_words:]) if loss == HS else (*np.zeros((2, 1), np.int32), np.arange(num_labels, dtype=np.int32))
        )
        numbers = np.zeros(NUM_NUMBERS, np.int64)
        numbers[: ROWS_AT + 1] = [num_words, bucket, minn, max(maxn, 0), max(ngrams, 1), dim, pruned is not None, loss, num_labels, rows_at]
        numbers[MAGIC] = np.uint64((2**64 - 1) // bucket + 1 & 2**64 - 1 if bucket else 0).view(np.int64)
        numbers[NO_ROW] = len(kept_rows)
        slots, hashes = _word_table(words, ends)
        flat = np.ascontiguousarray(output.T).ravel()
        network = Network(numbers, ends, words, slots, hashes, kept, rows, flat, left, right, leaves, _sigmoid())
        for array in network:
            array.flags.writeable = False
        names = np.split(words, ends)[num_words : len(counts)]
        labels = [name.tobytes().decode(errors="replace").removeprefix(PREFIX) for name in names]
        return FastTextModel(labels, network, _eos(words, ends, num_words))

    def _dictionary(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], list[int], int, npt.NDArray[np.int32] | None]:
        """Bytes of the words and labels, where each ends, how often each was met, how many are words, and the buckets that were kept."""
        size, num_words, num_labels, _, num_pruned = self._numbers("3i2q")
        if size < 0 or num_words < 0 or num_labels < 1 or num_words + num_labels != size or size > len(self._data):
            raise _BadFileError(f"its dictionary makes no sense: {size} entries, {num_words} words and {num_labels} labels")
        parts, counts = [], []
        content = self._data.tobytes() if len(self._data) < 1 << 26 else None
        for number in range(size):
            word = self._word(content)
            count, kind = self._numbers("qb")
            if kind != (number >= num_words):
                raise _BadFileError("its dictionary is not words first, then labels")
            parts.append(word)
            counts.append(count)
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        pruned = self._array("<i4", num_pruned * 2).reshape(-1, 2) if num_pruned >= 0 else None
        return np.frombuffer(b"".join(parts) or b"\0", np.uint8).copy(), ends, counts, num_words, pruned

    def _word(self, content: bytes | None) -> bytes:
        """A word, which ends with a zero."""
        limit = self._at + MAX_WORD_BYTES
        if content is not None:
            end = content.find(b"\0", self._at, limit)
        else:
            near = self._data[self._at : limit].tobytes().find(b"\0")
            end = self._at + near if near >= 0 else -1
        if end < 0:
            raise _BadFileError(f"it ends too early, or has a word of more than {MAX_WORD_BYTES} bytes in its dictionary")
        found = self._data[self._at : end].tobytes()
        self._at = end + 1
        return found

    def _matrix(self, num_rows: int, dim: int) -> tuple[npt.NDArray[np.uint8], int]:
        """The input matrix: bytes of its float32 rows, and where they begin; quantized ones are made here, and begin at zero."""
        if self._flag():
            return _bytes_of(self._quantized(num_rows, dim)), 0
        self._size(num_rows, dim)
        begin = self._at
        self._bytes(num_rows * dim * 4)
        return self._data, begin

    def _output(self, num_labels: int, dim: int, *, quantized: bool) -> Floats:
        if self._flag() and quantized:
            return self._quantized(num_labels, dim)
        self._size(num_labels, dim)
        return self._array("<f4", num_labels * dim).reshape(num_labels, dim)

    def _flag(self) -> bool:
        (flag,) = self._numbers("B")
        if flag > 1:
            raise _BadFileError(f"a byte that is 0 or 1 is {flag}")
        return bool(flag)

    def _size(self, num_rows: int, dim: int) -> None:
        found = self._numbers("2q")
        if found != (num_rows, dim):
            raise _BadFileError(f"a matrix of {num_rows} x {dim} was expected, it has one of {found[0]} x {found[1]}")

    def _quantized(self, num_rows: int, dim: int) -> Floats:
        """A matrix of product codes, and of codes of the rows' lengths."""
        has_norms = self._flag()
        self._size(num_rows, dim)
        (num_codes,) = self._numbers("i")
        codes = self._array("u1", num_codes)
        centroids, sizes = self._quantizer(dim)
        if num_codes != num_rows * len(sizes):
            raise _BadFileError(f"a matrix of {num_rows} rows in {len(sizes)} parts has {num_codes} codes")
        codes = codes.reshape(num_rows, len(sizes))
        parts, begin = [], 0
        for part, size in enumerate(sizes):
            table = centroids[begin : begin + CENTROIDS * size].reshape(CENTROIDS, size)
            parts.append(table[codes[:, part]])
            begin += CENTROIDS * size
        rows = np.hstack(parts) if parts else np.zeros((num_rows, dim), np.float32)
        if has_norms:
            norm_codes = self._array("u1", num_rows)
            norms, _ = self._quantizer(1)
            with np.errstate(all="ignore"):  # a damaged file may hold any numbers
                rows *= norms[norm_codes][:, None]
        return rows.astype(np.float32, copy=False)

    def _quantizer(self, dim: int) -> tuple[Floats, list[int]]:
        """Centroids of each part of a row, and the parts' sizes."""
        found, num_parts, size, last = self._numbers("4i")
        if found != dim or num_parts < 1 or not 0 < size <= MAX_PART or not 0 < last <= MAX_PART or (num_parts - 1) * size + last != dim:
            raise _BadFileError(f"a quantizer of {dim} dimensions has {num_parts} parts of {size}, the last of {last}")
        return self._array("<f4", dim * CENTROIDS), [size] * (num_parts - 1) + [last]


def _bytes_of(rows: Floats) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(rows).view(np.uint8).ravel() if rows.size else np.zeros(4, np.uint8)


def _in_order(rows: npt.NDArray[np.uint8], num_words: int, kept_rows: npt.NDArray[np.int64], dim: int) -> npt.NDArray[np.uint8]:
    """The rows of the words, then those of the buckets in the buckets' order, then one of zeros, for buckets that have none."""
    matrix = np.frombuffer(rows.tobytes(), np.float32, rows.size // 4).reshape(-1, dim)
    return _bytes_of(np.vstack([matrix[:num_words], matrix[num_words:][kept_rows], np.zeros((1, dim), np.float32)]))


def _kept(pruned: npt.NDArray[np.int32] | None, bucket: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Pairs for 64 buckets each, bits of those that have a row and how many have one before, and their rows in that order."""
    if pruned is None:
        return np.zeros(2, np.uint64), np.zeros(0, np.int64)
    if len(pruned) and (pruned.min() < 0 or pruned[:, 0].max() >= bucket or pruned[:, 1].max() >= len(pruned)):
        raise _BadFileError("its list of kept n-grams names some that cannot be")
    keys, places = np.unique(pruned[:, 0], return_index=True)
    bits = np.zeros(bucket // 64 + 1, np.uint64)
    np.bitwise_or.at(bits, keys >> 6, np.uint64(1) << (keys & 63).astype(np.uint64))
    counts = np.bincount(keys >> 6, minlength=len(bits))
    return np.column_stack([bits, (np.cumsum(counts) - counts).astype(np.uint64)]).ravel(), pruned[places, 1].astype(np.int64)


def _word_table(words: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint32]]:
    """The hash table of the words, and their hashes: FNV-1a of signed bytes, a column of bytes at a time."""
    begins = np.concatenate([[0], ends[:-1]])
    sizes = ends - begins
    hashes = np.full(len(ends), 2166136261, np.uint32)
    for column in range(int(sizes.max())):
        longer = np.flatnonzero(sizes > column)
        signed = words[begins[longer] + column].view(np.int8).astype(np.int32).view(np.uint32)
        hashes[longer] = (hashes[longer] ^ signed) * np.uint32(16777619)
    size = 1 << (2 * len(ends)).bit_length()
    slots = np.full(size, -1, np.int32)
    for number, hashed in enumerate(hashes.tolist()):
        slot = hashed & (size - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        slots[slot] = number
    return slots, hashes


def _eos(words: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], num_words: int) -> npt.NDArray[np.int64]:
    """Hash of `</s>` and its number, -1 if the dictionary lacks it."""
    _, hashes = _word_table(np.frombuffer(EOS, np.uint8), np.array([len(EOS)]))
    begins = np.concatenate([[0], ends[:-1]])
    fitting = np.flatnonzero(ends - begins == len(EOS))
    number = next((int(i) for i in fitting if i < num_words and words[begins[i] : ends[i]].tobytes() == EOS), -1)
    return np.array([int(hashes[0]), number], np.int64)


def _tree(counts: list[int]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The Huffman tree of the labels: children of each node, and the labels in the order of its search."""
    num = len(counts)
    weights = [*counts, *[10**15] * (num + 1)]  # two more than there are nodes, for counts that make no tree
    left, right = np.full(2 * num - 1, -1, np.int32), np.full(2 * num - 1, -1, np.int32)
    leaf, node = num - 1, num
    for parent in range(num, 2 * num - 1):
        pair = []
        for _ in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                pair.append(leaf)
                leaf -= 1
            else:
                pair.append(node)
                node += 1
        left[parent], right[parent] = pair
        weights[parent] = weights[pair[0]] + weights[pair[1]]
        if max(pair) >= parent:
            raise _BadFileError("the counts of its labels make no tree")
    order, stack = [], [2 * num - 2]
    while stack:
        here = stack.pop()
        if left[here] < 0:
            order.append(here)
        else:
            stack.extend((int(right[here]), int(left[here])))
    return left, right, np.array(order, np.int32)


def _sigmoid() -> Floats:
    x = (np.arange(SIGMOID_STEPS + 1, dtype=np.float32) * 2 * np.float32(SIGMOID_END)) / np.float32(SIGMOID_STEPS) - np.float32(SIGMOID_END)
    return (1.0 / (1.0 + np.exp(-x.astype(np.float64)))).astype(np.float32)
