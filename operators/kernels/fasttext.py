"""fastText's classifiers evaluated over offsets and bytes: words, character and word n-grams, the mean of their rows, the labels' scores.

Owns the kernel and says how it wants a model, which operators/fasttext_model.py reads. What a text's words are, how n-grams are hashed and
how scores come out is fastText's own (0.9.2), rounding apart: a word's rows are added up before the text's, and words met before in the
batch are remembered, with their bytes, so that most of a text costs one addition a word.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from operators.kernels.jit import kernel
from operators.kernels.lean import lean_kernel

HS: Final = 1
NS: Final = 2
SOFTMAX: Final = 3
OVA: Final = 4

# Places in `Network.numbers`.
NUM_WORDS: Final = 0
BUCKET: Final = 1
MINN: Final = 2
MAXN: Final = 3
WORD_NGRAMS: Final = 4
DIM: Final = 5
PRUNED: Final = 6  # 0: every bucket has a row; 1: those of the table do
LOSS: Final = 7
NUM_LABELS: Final = 8
ROWS_AT: Final = 9
NUM_NUMBERS: Final = 10

FNV_BASIS: Final = np.uint64(2166136261)
FNV_PRIME: Final = np.uint64(16777619)
WORD_FACTOR: Final = np.uint64(116049371)
LOW_WORD: Final = np.uint64(0xFFFFFFFF)
BELOW: Final = np.uint8(0x3C)  # '<', before a word's first character
ABOVE: Final = np.uint8(0x3E)
NO_BYTE: Final = np.uint64(0xFFFFFF00)  # what a byte above 127, as a signed one, becomes when it is widened
MEMORY_FLOATS: Final = 1 << 20
MAX_REMEMBERED: Final = 1 << 15
LONGEST_REMEMBERED: Final = 64
HOPELESS: Final = -25.0  # logarithm of a part of the tree whose labels' scores are zero as far as a float32 near one tells
TINY: Final = 1e-5  # fastText's logarithm is that of a little more
SIGMOID_STEPS: Final = 512
SIGMOID_END: Final = 8.0


class Network(NamedTuple):
    """A fastText classifier, for `predict`.

    Attributes:
        numbers: int64, see the places above.
        word_ends: int64, where each word and label of the dictionary ends in `word_bytes`.
        word_bytes: uint8.
        word_slots: int32, a hash table of a power of two: the word's number, -1 where there is none.
        word_hashes: uint32, by word.
        kept_keys: int32, a hash table of a power of two: buckets that have a row, -1 where there is none.
        kept_rows: int32, their rows, counted from after the words.
        rows: uint8: float32 rows of the words, then of the buckets, from byte `ROWS_AT` on.
        output: float32, flat, by dimension and label (for `hs` by dimension and inner node).
        left: int32, by node of the tree of `hs`.
        right: int32.
        leaves: int32, labels in the order in which the tree is searched; else in their own.
        sigmoid: float32, fastText's table.
    """

    numbers: npt.NDArray[np.int64]
    word_ends: npt.NDArray[np.int64]
    word_bytes: npt.NDArray[np.uint8]
    word_slots: npt.NDArray[np.int32]
    word_hashes: npt.NDArray[np.uint32]
    kept_keys: npt.NDArray[np.int32]
    kept_rows: npt.NDArray[np.int32]
    rows: npt.NDArray[np.uint8]
    output: npt.NDArray[np.float32]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    leaves: npt.NDArray[np.int32]
    sigmoid: npt.NDArray[np.float32]


@intrinsic
def _float_at(typing_context: Any, data: Any, index: Any) -> Any:  # noqa: ARG001
    """Read a float32 at any address: a mapped file's rows begin where its words end."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.FloatType().as_pointer())
        number = builder.load(pointer)
        number.align = 1
        return number

    return types.float32(data, types.int64), code


@lean_kernel
def _mix(state: Any, byte: Any) -> Any:
    """One more byte for the hash, as a signed one."""
    wide = np.uint64(byte)
    if wide >= 128:
        wide |= NO_BYTE
    return ((state ^ wide) * FNV_PRIME) & LOW_WORD


@lean_kernel
def _add_row(network: Any, row: Any, sums: Any, at: Any) -> None:
    """Add a row of the input matrix."""
    dim = network.numbers[DIM]
    begin = network.numbers[ROWS_AT] + row * dim * 4
    rows = network.rows
    for i in range(dim):
        sums[at + i] += _float_at(rows, begin + i * 4)


@lean_kernel
def _add_bucket(network: Any, bucket: Any, sums: Any, at: Any) -> Any:
    """Add the row of a bucket, if it has one. Returns how many rows that were."""
    numbers = network.numbers
    row = np.int64(bucket)
    if numbers[PRUNED]:
        keys = network.kept_keys
        mask = len(keys) - 1
        slot = (row * 0x9E3779B1 >> 8) & mask
        while keys[slot] != row:
            if keys[slot] < 0:
                return 0
            slot = (slot + 1) & mask
        row = np.int64(network.kept_rows[slot])
    _add_row(network, numbers[NUM_WORDS] + row, sums, at)
    return 1


@lean_kernel
def _word(network: Any, data: Any, start: Any, stop: Any, hashed: Any) -> Any:
    """The number of a word of the dictionary, -1 if it is not there."""
    slots, ends, known = network.word_slots, network.word_ends, network.word_bytes
    mask = len(slots) - 1
    slot = np.int64(hashed) & mask
    while slots[slot] >= 0:
        word = np.int64(slots[slot])
        if network.word_hashes[word] == hashed:
            begin = ends[word - 1] if word > 0 else 0
            if ends[word] - begin == stop - start:
                i = 0
                while i < stop - start and known[begin + i] == data[start + i]:
                    i += 1
                if i == stop - start:
                    return word
        slot = (slot + 1) & mask
    return -1


@lean_kernel
def _byte(data: Any, start: Any, stop: Any, at: Any) -> Any:
    """A byte of the word with its marks, `<word>`."""
    if at < start:
        return BELOW
    return data[at] if at < stop else ABOVE


@lean_kernel
def _add_subwords(network: Any, data: Any, start: Any, stop: Any, sums: Any, out: Any) -> Any:
    """Add the rows of a word's character n-grams. Returns how many those were."""
    numbers = network.numbers
    minn, maxn, bucket, found = numbers[MINN], numbers[MAXN], np.uint64(max(numbers[BUCKET], 1)), 0
    first, last = start - 1, stop + 1
    for i in range(first, last):
        if _byte(data, start, stop, i) & 0xC0 == 0x80:
            continue
        state, j = FNV_BASIS, i
        for size in range(1, maxn + 1):
            if j >= last:
                break
            state = _mix(state, _byte(data, start, stop, j))
            j += 1
            while j < last and _byte(data, start, stop, j) & 0xC0 == 0x80:
                state = _mix(state, data[j])
                j += 1
            if size >= minn and not (size == 1 and (i == first or j == last)):
                found += _add_bucket(network, state % bucket, sums, out)
    return found


@lean_kernel
def _is_eos(data: Any, start: Any, stop: Any) -> Any:
    """Whether a word is `</s>`, which ends the text."""
    return stop - start == 4 and data[start] == 60 and data[start + 1] == 47 and data[start + 2] == 115 and data[start + 3] == 62


@lean_kernel
def _is_label(data: Any, start: Any, stop: Any) -> Any:
    """Whether a word begins with `__label__`: it is then no word of the text."""
    if stop - start < 9 or data[start] != 95 or data[start + 1] != 95 or data[start + 7] != 95 or data[start + 8] != 95:
        return False
    return data[start + 2] == 108 and data[start + 3] == 97 and data[start + 4] == 98 and data[start + 5] == 101 and data[start + 6] == 108


@lean_kernel
def _add_word(network: Any, data: Any, start: Any, stop: Any, hashed: Any, sums: Any, out: Any) -> Any:
    """Add the rows of a word that is not `</s>`. Returns how many those were, -1 for what is a label and no word."""
    word = _word(network, data, start, stop, hashed)
    if word >= network.numbers[NUM_WORDS] or (word < 0 and _is_label(data, start, stop)):
        return -1
    found = 0
    if word >= 0:
        _add_row(network, word, sums, out)
        found = 1
    if network.numbers[MAXN] > 0:
        found += _add_subwords(network, data, start, stop, sums, out)
    return found


@lean_kernel
def _is_space(byte: Any) -> Any:
    """What ends a word for fastText: space, tab, line feed, vertical tab, form feed, return and NUL."""
    return byte == 32 or 9 <= byte <= 13 or byte == 0


@lean_kernel
def _remembered(data: Any, start: Any, size: Any, slot: Any, places: Any) -> Any:
    """Whether a slot of the memory holds the very word."""
    if places[slot * 3 + 1] != size:
        return False
    other = places[slot * 3]
    i = 0
    while i < size and data[other + i] == data[start + i]:
        i += 1
    return i == size


@lean_kernel
def _sum_up(network: Any, eos: Any, data: Any, start: Any, stop: Any, hashes: Any, places: Any, memory: Any, sums: Any) -> Any:
    """Add up the rows of a text in `sums`. Returns how many those were."""
    numbers = network.numbers
    dim, ngrams = numbers[DIM], numbers[WORD_NGRAMS]
    mask = len(places) // 3 - 2  # the last place is for words too long to be remembered
    found, num_hashes, at = 0, 0, start
    for i in range(dim):
        sums[i] = 0
    ended = False
    while at < stop and not ended:
        if _is_space(data[at]):
            at += 1
            continue
        begin, state = at, FNV_BASIS
        while at < stop and not _is_space(data[at]):
            state = _mix(state, data[at])
            at += 1
        if _is_eos(data, begin, at):
            ended = True
            break
        size, slot = at - begin, np.int64(state) & mask
        keeps = size <= LONGEST_REMEMBERED
        if not (keeps and _remembered(data, begin, size, slot, places)):
            slot = slot if keeps else mask + 1
            for i in range(dim):
                memory[slot * dim + i] = 0
            places[slot * 3], places[slot * 3 + 1] = begin, size
            places[slot * 3 + 2] = _add_word(network, data, begin, at, state, memory, slot * dim)
        rows = places[slot * 3 + 2]
        if rows < 0:
            continue
        found += rows
        for i in range(dim):
            sums[i] += memory[slot * dim + i]
        if ngrams > 1:
            hashes[num_hashes] = state
            num_hashes += 1
    # The line feed that ends every text is a word of its own.
    if eos[1] >= 0:
        _add_row(network, eos[1], sums, 0)
        found += 1
    if ngrams > 1:
        hashes[num_hashes] = eos[0]
        num_hashes += 1
        bucket = np.uint64(max(numbers[BUCKET], 1))
        for i in range(num_hashes):
            state = np.uint64(np.int64(np.int32(hashes[i])))
            for j in range(i + 1, min(num_hashes, i + ngrams)):
                state = state * WORD_FACTOR + np.uint64(np.int64(np.int32(hashes[j])))
                found += _add_bucket(network, state % bucket, sums, 0)
    return found


@lean_kernel
def _sigmoid(table: Any, x: Any) -> Any:
    """The sigmoid as fastText has it: a table between -8 and 8."""
    if x < -SIGMOID_END:
        return np.float32(0.0)
    if x > SIGMOID_END:
        return np.float32(1.0)
    if np.isnan(x):
        return np.float32(0.0)
    return table[np.int64((x + np.float32(SIGMOID_END)) * np.float32(SIGMOID_STEPS) / np.float32(SIGMOID_END) / np.float32(2.0))]


@lean_kernel
def _log(x: Any) -> Any:
    """The logarithm, as fastText has it, of a probability."""
    return np.float32(np.log(np.float64(x) + TINY))


@lean_kernel
def _score_tree(network: Any, outputs: Any, logs: Any) -> None:
    """Logarithms of the labels' probabilities, of which each inner node of the tree halves what is left."""
    num_labels = network.numbers[NUM_LABELS]
    logs[2 * num_labels - 2] = 0
    for node in range(2 * num_labels - 2, num_labels - 1, -1):
        if logs[node] < HOPELESS:
            logs[network.left[node]] = logs[network.right[node]] = logs[node]
            continue
        chance = np.float32(1.0 / (1.0 + np.exp(-np.float64(outputs[node - num_labels]))))
        logs[network.left[node]] = logs[node] + _log(1.0 - np.float64(chance))
        logs[network.right[node]] = logs[node] + _log(chance)


@lean_kernel
def _score(network: Any, sums: Any, found: Any, outputs: Any, logs: Any) -> None:
    """The logarithm of each label's score."""
    numbers = network.numbers
    dim, num_labels, loss = numbers[DIM], numbers[NUM_LABELS], numbers[LOSS]
    num = num_labels - 1 if loss == HS else num_labels
    part = np.float32(1.0 / found)
    for i in range(num):
        outputs[i] = 0
    for i in range(dim):
        weight = sums[i] * part
        for j in range(num):
            outputs[j] += weight * network.output[i * num + j]
    if loss == HS:
        _score_tree(network, outputs, logs)
        return
    if loss == SOFTMAX:
        most, total = outputs[0], np.float32(0.0)
        for j in range(num):
            most = max(most, outputs[j])
        for j in range(num):
            outputs[j] = np.exp(outputs[j] - most)
            total += outputs[j]
        for j in range(num):
            logs[j] = _log(outputs[j] / total)
    else:
        for j in range(num):
            logs[j] = _log(_sigmoid(network.sigmoid, outputs[j]))


@kernel
def predict(
    network: Any,
    eos: Any,
    offsets: Any,
    data: Any,
    valid: Any,
    least: Any,
    kinds: Any,
    wanted: Any,
    best: Any,
    scores: Any,
    passed: Any,
    chosen: Any,
) -> None:
    """Classify texts.

    Args:
        network: The model.
        eos: int64: the hash of `</s>` and its number, -1 if it is not in the dictionary.
        offsets: Of the texts.
        data: Their bytes.
        valid: Texts that are not null.
        least: float64, flat, by kind of text and label: what its score must be above; inf if the label is not wanted.
        kinds: int32, the kind of each text.
        wanted: int32: labels whose scores are asked for.
        best: int32, out: the likeliest label, -1 if nothing of the text is in the model.
        scores: float32, out: its score.
        passed: Out: whether some label's score is above its least.
        chosen: float32 (texts, wanted), out, flat: the scores asked for.
    """
    numbers = network.numbers
    dim, num_labels, num_rows = numbers[DIM], numbers[NUM_LABELS], len(valid)
    longest, remembered = 0, 1
    for row in range(num_rows):
        longest = max(longest, offsets[row + 1] - offsets[row])
    while remembered < MAX_REMEMBERED and remembered * 2 * dim <= MEMORY_FLOATS and remembered < (offsets[num_rows] - offsets[0]) // 8:
        remembered *= 2
    hashes = np.empty(longest // 2 + 2 if numbers[WORD_NGRAMS] > 1 else 1, np.uint32)
    places, memory = np.full((remembered + 1) * 3, -1, np.int64), np.empty((remembered + 1) * dim, np.float32)
    sums, outputs, logs = np.empty(dim, np.float32), np.empty(num_labels, np.float32), np.empty(2 * num_labels, np.float32)
    for row in range(num_rows):
        best[row], scores[row], passed[row] = -1, 0, False
        for i in range(len(wanted)):
            chosen[row * len(wanted) + i] = 0
        if not valid[row]:
            continue
        found = _sum_up(network, eos, data, offsets[row], offsets[row + 1], hashes, places, memory, sums)
        if found == 0:
            continue
        _score(network, sums, found, outputs, logs)
        most, base = np.float32(-np.inf), np.int64(kinds[row]) * num_labels
        for i in range(num_labels):
            label = network.leaves[i]
            if logs[label] >= most:  # of equals the last, as in fastText's heap
                most, best[row] = logs[label], label
            passed[row] |= np.float64(np.exp(logs[label])) > least[base + label]
        scores[row] = np.exp(most)
        for i in range(len(wanted)):
            chosen[row * len(wanted) + i] = np.exp(logs[wanted[i]])
