"""fastText's classifiers evaluated over offsets and bytes: words, character and word n-grams, the mean of their rows, the labels' scores.

Owns the kernel and says how it wants a model, which operators/fasttext_model.py reads. What a text's words are, how n-grams are hashed and
how scores come out is fastText's own (0.9.2), rounding apart: a word's rows are added up before the text's, and words met before in the
batch are remembered, with their bytes, so that most of a text costs one addition a word.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.fasttext_rows import add_bytes, add_floats, add_rows, count_bits, remainder
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
PRUNED: Final = 6  # 0: every bucket has a row; 1: those of `kept` do
LOSS: Final = 7
NUM_LABELS: Final = 8
ROWS_AT: Final = 9
MAGIC: Final = 10  # of the remainder by the number of buckets, as a signed number
NO_ROW: Final = 11  # a row of zeros, for buckets that have none; only where `PRUNED`
NUM_NUMBERS: Final = 12

FNV_BASIS: Final = np.uint64(2166136261)
FNV_PRIME: Final = np.uint64(16777619)
WORD_FACTOR: Final = np.uint64(116049371)
LOW_WORD: Final = np.uint64(0xFFFFFFFF)
BELOW: Final = np.uint8(0x3C)  # '<', before a word's first character
ABOVE: Final = np.uint8(0x3E)
MEMORY_FLOATS: Final = 1 << 20
MAX_REMEMBERED: Final = 1 << 15
LONGEST_REMEMBERED: Final = 64
NO_WORD: Final = -1
NO_PART: Final = -2
MAX_WAITING: Final = 1024
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
        kept: uint64, pairs for 64 buckets each: bits of those that have a row, and how many have one before them. Their rows are in order.
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
    kept: npt.NDArray[np.uint64]
    rows: npt.NDArray[np.uint8]
    output: npt.NDArray[np.float32]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    leaves: npt.NDArray[np.int32]
    sigmoid: npt.NDArray[np.float32]


class Scratch(NamedTuple):
    """What a text needs while it is judged.

    Attributes:
        hashes: uint32, of its words, for n-grams of words.
        marked: uint8, a word between its marks.
        places: int64, by place of the memory: where its word begins, the word's size, and how many rows it has (with character n-grams;
            else the word's number, or NO_WORD), or NO_PART.
        memory: float32, flat, by place: the sum of the word's rows; only with character n-grams.
        waiting: int64, rows to be added.
        sums: float32.
    """

    hashes: npt.NDArray[np.uint32]
    marked: npt.NDArray[np.uint8]
    places: npt.NDArray[np.int64]
    memory: npt.NDArray[np.float32]
    waiting: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float32]


@lean_kernel
def _mix(state: Any, byte: Any) -> Any:
    """One more byte for the hash, as a signed one."""
    return ((state ^ np.uint64(np.int64(np.int8(byte)))) * FNV_PRIME) & LOW_WORD


@lean_kernel
def _add_row(network: Any, row: Any, sums: Any, at: Any) -> None:
    """Add a row of the input matrix."""
    dim = network.numbers[DIM]
    add_bytes(sums, at, network.rows, network.numbers[ROWS_AT] + row * dim * 4, dim)


@lean_kernel
def _bucket_row(network: Any, bucket: Any) -> Any:
    """The row of a bucket, counted from after the words, and whether it has one; the row of zeros if not."""
    numbers = network.numbers
    if numbers[PRUNED] == 0:
        return np.int64(bucket), 1
    # Without a branch: which n-grams have a row cannot be foreseen.
    pair = np.int64(bucket >> np.uint64(6)) * 2
    bits, bit = network.kept[pair], np.uint64(1) << (bucket & np.uint64(63))
    row = np.int64(network.kept[pair + 1] + count_bits(bits & (bit - np.uint64(1))))
    found = 1 if bits & bit else 0
    return row if found else numbers[NO_ROW], found


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
def _add_subwords(network: Any, data: Any, start: Any, stop: Any, marked: Any, sums: Any, out: Any) -> Any:
    """Add the rows of a word's character n-grams. Returns how many those were."""
    numbers = network.numbers
    minn, maxn, found = numbers[MINN], numbers[MAXN], 0
    bucket, magic = np.uint64(numbers[BUCKET]), np.uint64(numbers[MAGIC])
    size = stop - start + 2
    marked[0], marked[size - 1] = BELOW, ABOVE
    for i in range(start, stop):
        marked[i - start + 1] = data[i]
    for i in range(size):
        if marked[i] & 0xC0 == 0x80:
            continue
        state, j = FNV_BASIS, i
        for chars in range(1, maxn + 1):
            if j >= size:
                break
            state = _mix(state, marked[j])
            j += 1
            while j < size and marked[j] & 0xC0 == 0x80:
                state = _mix(state, marked[j])
                j += 1
            if chars >= minn and not (chars == 1 and (i == 0 or j == size)):
                row, is_there = _bucket_row(network, remainder(state, bucket, magic))
                _add_row(network, numbers[NUM_WORDS] + row, sums, out)
                found += is_there
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
def _add_word(network: Any, data: Any, start: Any, stop: Any, word: Any, marked: Any, sums: Any, out: Any) -> Any:
    """Add the rows of a word, whose number is -1 if it is not in the dictionary. Returns how many those were."""
    found = 0
    if word >= 0:
        _add_row(network, word, sums, out)
        found = 1
    return found + _add_subwords(network, data, start, stop, marked, sums, out)


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
def _known(network: Any, data: Any, start: Any, stop: Any, hashed: Any) -> Any:
    """The number of a word, NO_WORD if the dictionary lacks it, NO_PART for what is a label and no word of the text."""
    word = _word(network, data, start, stop, hashed)
    if word >= network.numbers[NUM_WORDS] or (word < 0 and _is_label(data, start, stop)):
        return NO_PART
    return word


@lean_kernel
def _look_up(network: Any, data: Any, start: Any, stop: Any, state: Any, scratch: Any) -> Any:
    """The place in the memory of a word, which is looked up, and its rows added up, if it is not remembered."""
    dim, places = network.numbers[DIM], scratch.places
    mask = len(places) // 3 - 2  # the last place is for words too long to be remembered
    size = stop - start
    slot = np.int64(state) & mask if size <= LONGEST_REMEMBERED else mask + 1
    if slot <= mask and _remembered(data, start, size, slot, places):
        return slot
    places[slot * 3], places[slot * 3 + 1] = start, size
    word = _known(network, data, start, stop, state)
    if word != NO_PART and network.numbers[MAXN] > 0:
        for i in range(dim):
            scratch.memory[slot * dim + i] = 0
        word = _add_word(network, data, start, stop, word, scratch.marked, scratch.memory, slot * dim)
    places[slot * 3 + 2] = word
    return slot


@lean_kernel
def _add_ngrams(network: Any, scratch: Any, num_hashes: Any) -> Any:
    """Add the rows of the runs of words. Returns how many those were."""
    numbers, hashes, waiting, sums = network.numbers, scratch.hashes, scratch.waiting, scratch.sums
    dim, num_words, ngrams, bucket = numbers[DIM], numbers[NUM_WORDS], numbers[WORD_NGRAMS], np.uint64(numbers[BUCKET])
    found, num = 0, 0
    for i in range(num_hashes):
        state = np.uint64(np.int64(np.int32(hashes[i])))
        for j in range(i + 1, min(num_hashes, i + ngrams)):
            state = state * WORD_FACTOR + np.uint64(np.int64(np.int32(hashes[j])))
            row, is_there = _bucket_row(network, state % bucket)
            if is_there == 0:
                continue
            if num == len(waiting):
                add_rows(sums, network.rows, numbers[ROWS_AT], dim, waiting, num)
                num = 0
            waiting[num] = num_words + row
            num += 1
            found += 1
    add_rows(sums, network.rows, numbers[ROWS_AT], dim, waiting, num)
    return found


@lean_kernel
def _sum_up(network: Any, eos: Any, data: Any, start: Any, stop: Any, scratch: Any) -> Any:
    """Add up the rows of a text in `scratch.sums`. Returns how many those were."""
    numbers, places, waiting, sums = network.numbers, scratch.places, scratch.waiting, scratch.sums
    dim, ngrams, maxn = numbers[DIM], numbers[WORD_NGRAMS], numbers[MAXN]
    found, num_hashes, num, at = 0, 0, 0, start
    for i in range(dim):
        sums[i] = 0
    while at < stop:
        if _is_space(data[at]):
            at += 1
            continue
        begin, state = at, FNV_BASIS
        while at < stop and not _is_space(data[at]):
            state = _mix(state, data[at])
            at += 1
        if _is_eos(data, begin, at):
            break
        slot = _look_up(network, data, begin, at, state, scratch)
        rows = places[slot * 3 + 2]
        if rows == NO_PART:
            continue
        if maxn > 0:
            found += rows
            add_floats(sums, 0, scratch.memory, slot * dim, dim)
        elif rows != NO_WORD:
            if num == len(waiting):
                add_rows(sums, network.rows, numbers[ROWS_AT], dim, waiting, num)
                num = 0
            waiting[num] = rows
            num += 1
            found += 1
        if ngrams > 1:
            scratch.hashes[num_hashes] = state
            num_hashes += 1
    add_rows(sums, network.rows, numbers[ROWS_AT], dim, waiting, num)
    # The line feed that ends every text is a word of its own.
    if eos[1] >= 0:
        _add_row(network, eos[1], sums, 0)
        found += 1
    if ngrams > 1:
        scratch.hashes[num_hashes] = eos[0]
        found += _add_ngrams(network, scratch, num_hashes + 1)
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
    has_parts, has_runs = numbers[MAXN] > 0, numbers[WORD_NGRAMS] > 1
    longest, remembered = 0, 1
    for row in range(num_rows):
        longest = max(longest, offsets[row + 1] - offsets[row])
    most_floats = MEMORY_FLOATS // dim if has_parts else MAX_REMEMBERED
    while remembered * 2 <= min(MAX_REMEMBERED, most_floats) and remembered < (offsets[num_rows] - offsets[0]) // 8:
        remembered *= 2
    scratch = Scratch(
        np.empty(longest // 2 + 2 if has_runs else 1, np.uint32),
        np.empty(longest + 2 if has_parts else 1, np.uint8),
        np.full((remembered + 1) * 3, -1, np.int64),
        np.empty((remembered + 1) * dim if has_parts else 1, np.float32),
        np.empty(MAX_WAITING, np.int64),
        np.empty(dim, np.float32),
    )
    outputs, logs = np.empty(num_labels, np.float32), np.empty(2 * num_labels, np.float32)
    for row in range(num_rows):
        best[row], scores[row], passed[row] = -1, 0, False
        for i in range(len(wanted)):
            chosen[row * len(wanted) + i] = 0
        if not valid[row]:
            continue
        found = _sum_up(network, eos, data, offsets[row], offsets[row + 1], scratch)
        if found == 0:
            continue
        _score(network, scratch.sums, found, outputs, logs)
        most, base = np.float32(-np.inf), np.int64(kinds[row]) * num_labels
        for i in range(num_labels):
            label = network.leaves[i]
            if logs[label] >= most:  # of equals the last, as in fastText's heap
                most, best[row] = logs[label], label
            passed[row] |= np.float64(np.exp(logs[label])) > least[base + label]
        scores[row] = np.exp(most)
        for i in range(len(wanted)):
            chosen[row * len(wanted) + i] = np.exp(logs[wanted[i]])
