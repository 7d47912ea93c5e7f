"""Places that are words: frequent and repeated runs of them, long ones, those without a letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from operators.places.lines import Span
from operators.places.place import Place


def split(text: str, mode: int) -> list[Span]:
    """The words of a text as the kernels split it, in the mode `ENGLISH` or `UNICODE`, in characters."""
    from operators.kernels.buffers import text_buffers
    from operators.kernels.unicode import tables
    from operators.kernels.words_english import english_rules
    from operators.kernels.words_unicode import split_batch, word_tables

    # A lone surrogate has no UTF-8; a question mark keeps all places as they are.
    encoded = text.encode("utf-8", "replace")
    offsets, data = text_buffers(pa.array([encoded], pa.large_binary()).view(pa.large_string()))
    _, bounds = split_batch(np.int64(mode), english_rules(), word_tables(), tables(), offsets, data)
    if len(encoded) == len(text):
        return [(start, stop) for start, stop in bounds.tolist()]
    chars = np.concatenate([[0], np.cumsum((np.frombuffer(encoded, np.uint8) & 0xC0) != 0x80)])
    return [(start, stop) for start, stop in chars[bounds].tolist()]


def most_frequent_run(text: str, words: Sequence[Span], n: int) -> Iterator[Place]:
    """Every occurrence of the run of `n` words that is most frequent; of several the first."""
    strings = [text[start:stop] for start, stop in words]
    runs = [" ".join(strings[at : at + n]) for at in range(len(words) - n + 1)]
    if not runs:
        return
    most, count = Counter(runs).most_common(1)[0]
    why = f"the most frequent {n} words in a row, {'once' if count == 1 else f'{count} times'}"
    yield from (Place(words[at][0], words[at + n - 1][1], why) for at, run in enumerate(runs) if run == most)


def repeated_runs(text: str, words: Sequence[Span], n: int) -> Iterator[Place]:
    """Runs of `n` words whose letters occurred before, found from left to right as datatrove does."""
    strings = [text[start:stop] for start, stop in words]
    seen: set[str] = set()
    at = 0
    while at < len(words) - n + 1:
        run = "".join(strings[at : at + n])
        if run in seen:
            yield Place(words[at][0], words[at + n - 1][1], f"{n} words in a row that occurred before")
            at += n
        else:
            seen.add(run)
            at += 1


def long_words(words: Sequence[Span], max_chars: float) -> Iterator[Place]:
    """Words of more characters."""
    return (Place(start, stop, f"word of {stop - start} characters") for start, stop in words if stop - start > max_chars)


def without_letters(text: str, words: Sequence[Span]) -> Iterator[Place]:
    """Words without any letter."""
    return (Place(start, stop, "word without a letter") for start, stop in words if not any(map(str.isalpha, text[start:stop])))
