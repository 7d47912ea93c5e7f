"""English words over bytes, exactly as datatrove splits them: the tokens of spaCy's blank English tokenizer, without white space.

`split_english(rules, tables, data, start, stop, starts, ends)` writes the words of the text `data[start:stop]`; word `i` is
`data[start + starts[i]:start + ends[i]]`, and the number of words is returned. `starts` and `ends` are int32 arrays with room for
`stop - start + 1` words: a text has less than 2 GiB. `rules` is `english_rules()`, `tables` is `unicode.tables()`. Punctuation marks are
words, "don't" is two. Words don't overlap, are in order, and only white space lies between them.

As spaCy does: text is cut at white space into chunks. A chunk that is a special case ("don't", "Mr.", ":-)") has the tokens that are
listed for it. Of another one prefixes and suffixes are cut off, one of each at a time, until a special case or nothing to cut off is
left; what is left is one token if it is a URL and is cut at infixes otherwise. Last, special cases are looked for among the tokens. What
spaCy matches with regular expressions is code here; which characters, endings and special cases there are is in `words_english_data`.

One difference is known. spaCy's vocabulary takes the string "IS_ALPHA" for a symbol: on its second use in a process it fails, and datatrove
then deletes the string from the text. Here it is a word like others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from operators.kernels.jit import kernel
from operators.kernels.pointers import pointer
from operators.kernels.unicode import decode, decode_last
from operators.kernels.words_english_rules import (
    ALPHA,
    BEFORE_DOT,
    CLASSES,
    DIGIT_BYTE,
    DOT_BYTE,
    HIGH_BYTE,
    INFIX,
    INFIX_BYTE,
    KEYS,
    KINDS,
    LETTER_BYTE,
    LOWER_OR_QUOTE,
    MAX_SPECIAL,
    MAX_TAIL,
    PREFIX,
    SPACE,
    SPACE_BYTE,
    SUFFIX,
    SUFFIX_BYTE,
    TAIL_SLOTS,
    UPPER,
    UPPER_OR_QUOTE,
    WIDE_SPACE_BYTE,
    EnglishRules,
    english_class,
    english_rules,
    key_of,
    lookup,
)
from operators.kernels.words_english_specials import find_special, holds_pattern, join_specials, put_special
from operators.kernels.words_english_url import is_url

__all__ = ["EnglishRules", "english_rules", "split_english"]


@kernel
def _class_at(numbers: Any, data: Any, at: Any, stop: Any) -> Any:
    """Classes of the character at a place; 0 at the end."""
    if at >= stop:
        return 0
    if data[at] < 128:
        return numbers[CLASSES + data[at]]
    return english_class(numbers, decode(data, at, stop)[0])


@kernel
def _class_before(numbers: Any, data: Any, start: Any, at: Any) -> Any:
    """Classes of the character that ends just before a place; 0 at the start."""
    if at <= start:
        return 0
    if data[at - 1] < 128:
        return numbers[CLASSES + data[at - 1]]
    return english_class(numbers, decode_last(data, start, at)[0])


@kernel
def _is_digit(byte: Any) -> Any:
    return 48 <= byte <= 57


@kernel
def _prefix(numbers: Any, data: Any, start: Any, stop: Any) -> Any:
    """Bytes of the prefix of `data[start:stop]`, which is not empty; 0 if it has none."""
    first = data[start]
    if first >= 128:
        code, size = decode(data, start, stop)
        return size if english_class(numbers, code) & PREFIX else 0
    if numbers[CLASSES + first] & PREFIX:
        return 1
    if first == ord("."):
        at = start + 1
        while at < stop and data[at] == ord("."):
            at += 1
        return at - start if at > start + 1 else 0
    if first == ord("+"):
        return 0 if start + 1 < stop and _is_digit(data[start + 1]) else 1
    if (first == ord("C") or first == ord("A")) and start + 1 < stop and data[start + 1] == ord("$"):
        return 2
    if first == ord("U") and start + 2 < stop and data[start + 1] == ord("S") and data[start + 2] == ord("$"):
        return 3
    return 0


@kernel
def _tail(numbers: Any, data: Any, start: Any, stop: Any) -> Any:
    """Bytes after the last digit, if they are a unit, a currency or a plus; else 0."""
    at = stop
    lowest = max(start, stop - MAX_TAIL - 1)
    while at > lowest and not _is_digit(data[at - 1]):
        at -= 1
    if at in (lowest, stop):
        return 0
    return stop - at if lookup(numbers, TAIL_SLOTS, data, at, stop) >= 0 else 0


@kernel
def _dot_suffix(numbers: Any, data: Any, start: Any, stop: Any) -> Any:
    """Bytes of the suffix of `data[start:stop]`, which ends in a full stop."""
    at = stop - 1
    while at > start and data[at - 1] == ord("."):
        at -= 1
    if stop - at > 1:
        return stop - at
    if at == start:
        return 0
    before = _class_before(numbers, data, start, at)
    if before & BEFORE_DOT:
        return 1
    size = 1 if data[at - 1] < 128 else decode_last(data, start, at)[1]
    second = _class_before(numbers, data, start, at - size)
    if before & UPPER and second & UPPER:
        return 1
    letter = data[at - 1] | 32
    if letter == ord("f") or letter == ord("c") or letter == ord("k"):
        return 1 if at - 3 >= start and data[at - 2] == 0xB0 and data[at - 3] == 0xC2 else 0
    return 0


@kernel
def _suffix(numbers: Any, data: Any, start: Any, stop: Any, mask: Any) -> Any:
    """Bytes of the longest suffix of `data[start:stop]`; 0 if it has none."""
    if start >= stop:
        return 0
    last = data[stop - 1]
    if last == ord("."):
        return _dot_suffix(numbers, data, start, stop)
    size = 0
    if last < 128:
        if numbers[KINDS + last] & SUFFIX_BYTE:
            size = 1
        elif (last | 32) == ord("s") and stop - start >= 2:
            if data[stop - 2] == ord("'"):
                return 2
            if stop - start >= 4 and data[stop - 2] == 0x99 and data[stop - 3] == 0x80 and data[stop - 4] == 0xE2:
                return 4
    else:
        code, length = decode_last(data, start, stop)
        if english_class(numbers, code) & SUFFIX:
            size = length
            if code == 0x2026 and stop - 6 >= start and decode_last(data, start, stop - 3)[0] == 0x2026:
                size = 6
    if mask & DIGIT_BYTE:
        return max(size, _tail(numbers, data, start, stop))
    return size


@kernel
def _infix(numbers: Any, data: Any, start: Any, at: Any, stop: Any) -> Any:
    """Bytes of the infix at a place inside `data[start:stop]`; 0 if none is there. The byte is none of `kinds` that rule one out."""
    char = data[at]
    if char >= 128:
        code, size = decode(data, at, stop)
        if english_class(numbers, code) & INFIX:
            return size
        if code != 0x2013 and code != 0x2014:
            return 0
    if char == ord("."):
        end = at + 1
        while end < stop and data[end] == ord("."):
            end += 1
        if end > at + 1:
            return end - at
        is_infix = _class_before(numbers, data, start, at) & LOWER_OR_QUOTE and _class_at(numbers, data, at + 1, stop) & UPPER_OR_QUOTE
        return 1 if is_infix else 0
    if at == start:
        return 0
    before = data[at - 1]
    if char == ord("+") or char == ord("*") or char == ord("^") or char == ord("-"):
        is_infix = _is_digit(before) and at + 1 < stop and (_is_digit(data[at + 1]) or data[at + 1] == ord("-"))
        if is_infix or char != ord("-"):
            return 1 if is_infix else 0
    is_after = _class_before(numbers, data, start, at) & ALPHA != 0
    if char == ord(","):
        return 1 if is_after and _class_at(numbers, data, at + 1, stop) & ALPHA else 0
    if not is_after and not _is_digit(before):
        return 0
    if char == ord("-"):
        end = at + 1
        while end < stop and end < at + 3 and data[end] == ord("-"):
            end += 1
        return end - at if _class_at(numbers, data, end, stop) & ALPHA else 0
    if char >= 128:
        if _class_at(numbers, data, at + 3, stop) & ALPHA:
            return 3
        is_double = at + 6 <= stop and char == data[at + 3] and data[at + 2] == 0x94 and data[at + 4] == 0x80 and data[at + 5] == 0x94
        return 6 if is_double and _class_at(numbers, data, at + 6, stop) & ALPHA else 0
    return 1 if _class_at(numbers, data, at + 1, stop) & ALPHA else 0


@kernel
def _put_parts(numbers: Any, data: Any, base: Any, start: Any, stop: Any, starts: Any, ends: Any, count: Any) -> Any:
    """Write what lies between infixes, and the infixes."""
    first, at = start, start
    while at < stop:
        if not numbers[KINDS + data[at]] & (INFIX_BYTE | HIGH_BYTE):
            at += 1
            continue
        size = _infix(numbers, data, start, at, stop)
        if size == 0:
            at += 1
            # The rest of a character of several bytes.
            while at < stop and data[at] & 0xC0 == 0x80:
                at += 1
            continue
        # spaCy leaves an infix at the very start with what follows it.
        if at > start:
            if at > first:
                starts[count] = first - base
                ends[count] = at - base
                count += 1
            starts[count] = at - base
            ends[count] = at + size - base
            count += 1
            first = at + size
        at += size
    if first < stop:
        starts[count] = first - base
        ends[count] = stop - base
        count += 1
    return count


@kernel
def _put_chunk(numbers: Any, data: Any, base: Any, start: Any, stop: Any, mask: Any, starts: Any, ends: Any, count: Any) -> Any:
    """Write the tokens of `data[start:stop]`, in which there is no white space; `mask` has the kinds of all its bytes."""
    low, high, size = start, stop, np.int64(-1)
    # Where suffixes begin is kept at the end of what these bytes may fill, last cut off first.
    slot = stop - base
    special = np.int64(-1)
    while low < high and high - low != size:
        special = find_special(numbers, data, low, high)
        if special >= 0:
            break
        size = high - low
        prefix = _prefix(numbers, data, low, high)
        if prefix > 0 and low + prefix < high:
            special = find_special(numbers, data, low + prefix, high)
        suffix = 0
        if special < 0:
            suffix = _suffix(numbers, data, low + prefix, high, mask)
            if suffix > 0 and high - suffix > low:
                special = find_special(numbers, data, low, high - suffix)
                if special >= 0:
                    prefix = 0
        if prefix > 0:
            starts[count] = low - base
            ends[count] = low + prefix - base
            count += 1
            low += prefix
        if suffix > 0:
            high -= suffix
            starts[slot] = high - base
            slot -= 1
        if special >= 0:
            break
    if low < high:
        if special >= 0:
            count = put_special(numbers, special, low - base, starts, ends, count)
        elif mask & DOT_BYTE and is_url(numbers, data, low, high):
            starts[count] = low - base
            ends[count] = high - base
            count += 1
        elif mask & (INFIX_BYTE | HIGH_BYTE):
            count = _put_parts(numbers, data, base, low, high, starts, ends, count)
        else:
            starts[count] = low - base
            ends[count] = high - base
            count += 1
    while slot < stop - base:
        slot += 1
        first = starts[slot]
        ends[count] = starts[slot + 1] if slot < stop - base else stop - base
        starts[count] = first
        count += 1
    return count


@kernel
def _chunk_end(numbers: Any, data: Any, at: Any, stop: Any) -> Any:
    """Where white space or the text's end comes next, and the kinds of the bytes before it."""
    mask = 0
    while at < stop:
        kind = numbers[KINDS + data[at]]
        if kind & SPACE_BYTE:
            break
        if kind & WIDE_SPACE_BYTE and english_class(numbers, decode(data, at, stop)[0]) & SPACE:
            break
        mask |= kind
        at += 1
    return at, mask


@kernel
def _split(numbers: Any, data: Any, start: Any, stop: Any, starts: Any, ends: Any) -> Any:
    """As `split_english`, over pointers; and whether special cases may lie among the words."""
    base, at, count = np.int64(start), np.int64(start), np.int64(0)
    stop = np.int64(stop)
    has_pattern = False
    while at < stop:
        kind = numbers[KINDS + data[at]]
        if kind & SPACE_BYTE:
            at += 1
            continue
        first = at
        if kind & LETTER_BYTE:
            at += 1
            while at < stop:
                kind = numbers[KINDS + data[at]]
                if not kind & LETTER_BYTE:
                    break
                at += 1
            # Most chunks: letters, or letters and one mark, that are no special case.
            if not numbers[KEYS + key_of(data, first, at)] >> min(at - first, MAX_SPECIAL + 1) & 1:
                if at == stop or kind & SPACE_BYTE:
                    starts[count] = first - base
                    ends[count] = at - base
                    count += 1
                    at += 1
                    continue
                after = at + 1
                if after == stop or numbers[KINDS + data[after]] & SPACE_BYTE:
                    is_suffix = kind & SUFFIX_BYTE != 0
                    if kind & DOT_BYTE:
                        is_suffix = data[at - 1] >= 97 or (at - first > 1 and data[at - 2] < 97)
                    if is_suffix and not numbers[KEYS + key_of(data, first, after)] >> min(after - first, MAX_SPECIAL + 1) & 1:
                        starts[count] = first - base
                        ends[count] = at - base
                        starts[count + 1] = at - base
                        ends[count + 1] = after - base
                        count += 2
                        at = after + 1
                        continue
        elif not kind & HIGH_BYTE:
            # A mark or a number by itself.
            at += 1
            while kind & DIGIT_BYTE and at < stop and numbers[KINDS + data[at]] & DIGIT_BYTE:
                at += 1
            if at == stop or numbers[KINDS + data[at]] & SPACE_BYTE:
                starts[count] = first - base
                ends[count] = at - base
                count += 1
                at += 1
                continue
            at = first
        at, mask = _chunk_end(numbers, data, at, stop)
        if at == first:
            at += decode(data, at, stop)[1]
            continue
        before_chunk = count
        count = _put_chunk(numbers, data, base, first, at, mask, starts, ends, count)
        if count - before_chunk > 1 and not has_pattern:
            has_pattern = holds_pattern(numbers, data, base, before_chunk, count, starts, ends)
    return count, has_pattern


@kernel
def split_english(rules: Any, tables: Any, data: Any, start: Any, stop: Any, starts: Any, ends: Any) -> Any:  # noqa: ARG001
    """Write the bounds of the words of the text `data[start:stop]`, int32 relative to `start`; returns their number.

    `starts` and `ends` have room for `stop - start + 1` words.
    """
    numbers, text, base = pointer(rules.numbers), pointer(data), np.int64(start)
    count, has_pattern = _split(numbers, text, base, np.int64(stop), pointer(starts), pointer(ends))
    if has_pattern:
        old_starts, old_ends = starts[:count].copy(), ends[:count].copy()
        count = join_specials(numbers, text, base, old_starts, old_ends, pointer(starts), pointer(ends))
    return count
