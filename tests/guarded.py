"""Texts that lie between two pages of memory that nobody may touch: a kernel that looks one byte beyond its data ends the process.

python tests/guarded.py 1 300 samples.json      # seed, batches an operator, and settings by name
"""

from __future__ import annotations

import ctypes
import json
import mmap
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from operator_samples import TEXTS, by_document, opened
from pydantic import TypeAdapter

from operators import AnyOperator
from operators.base import Operator

PAGE = mmap.PAGESIZE
NO_ACCESS = 0
SIZE = 1 << 16
TRIGGERS = (
    *("\u0130", "\u00df", "'", "\u2019s", "http://", "www.", "@", "a@b.org", "8.8.8.8", "::", "2606:4700::1111", "+1", "DE66 4805", "sk-"),
    *("4111 1111 1111 1111", "eyJ", "AKIA", "-----BEGIN ", "PRIVATE KEY-----", "...", "\u2026", "\n", "\r\n", "\n\n", "\u2028", ":-)"),
    *("''", "<b>", "&amp;", "&#1", "\u4f60", "\u3002", "\uac00", "\u0e2a", "\U0001f600", "javascript", "{", "lorem ipsum", "terms of use"),
    *("the", "people", "market day", ".", "!", '"', "\u201d", "[1]", "-", "#", "\u2022", "\t", "can't", "e.g.", "a.b.c", "word4", "0"),
)
CUT = (
    *(b"\xff", b"\xc3", b"\xe2", b"\xe2\x80", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98", b"\x80", b"\xed\xa0\x80", b"\xc0\x80"),
    *(b"\xf4\x90\x80\x80", b"\0"),
)


class Guarded:
    """Memory of some size that ends, or begins, at a page that kills."""

    def __init__(self, size: int) -> None:
        self._pages = -(-size // PAGE)
        self._map = mmap.mmap(-1, (self._pages + 2) * PAGE)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        for page in (0, self._pages + 1):
            if protect(ctypes.c_void_p(self._address + page * PAGE), ctypes.c_size_t(PAGE), NO_ACCESS) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")

    def holding(self, data: bytes, *, at_end: bool) -> pa.Buffer:
        """The bytes, with the forbidden page just behind or just before them."""
        start = PAGE + (self._pages * PAGE - len(data) if at_end else 0)
        ctypes.memmove(self._address + start, data, len(data))
        return pa.foreign_buffer(self._address + start, len(data), self)


def rubbish(rng: random.Random) -> bytes:
    """Bytes rich in what kernels look for, well formed or not, cut off anywhere."""
    parts = (
        lambda: rng.choice(TRIGGERS).encode(),
        lambda: rng.choice(CUT),
        lambda: rng.randbytes(rng.randrange(12)),
        lambda: bytes([rng.randrange(128)]) * rng.randrange(40),
        lambda: rng.choice(TEXTS).encode()[: rng.randrange(200)],
        lambda: rng.choice(TRIGGERS).encode() * rng.randrange(9),
    )
    data = b"".join(rng.choice(parts)() for _ in range(rng.randrange(1, 30)))
    return data[: len(data) - rng.randrange(4)]


def batch_of(buffer: pa.Buffer, offsets: list[int]) -> pa.RecordBatch:
    """Texts of a buffer, and urls that are the same."""
    bounds = pa.py_buffer(np.array(offsets, np.int64))
    texts = pa.LargeStringArray.from_buffers(len(offsets) - 1, bounds, buffer)
    return pa.record_batch({"text": texts, "url": texts})


def main(seed: int, rounds: int, samples: dict[str, dict[str, Any]]) -> None:
    """Give rubbish to each operator; the process ends by a signal if one of them looks beyond it, and then its name was told last."""
    adapter: TypeAdapter[Operator] = TypeAdapter(AnyOperator)
    memory = Guarded(SIZE)
    for name, settings in samples.items():
        print(name, flush=True)
        judge, rng = opened(adapter.validate_python(settings)), random.Random(seed)
        for turn in range(rounds):
            data = b"".join(rubbish(rng) for _ in range(rng.randrange(1, 6)))[:SIZE]
            cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(4)))
            found = judge(batch_of(memory.holding(data, at_end=turn % 2 == 0), [0, *cuts, len(data)]))
            if isinstance(found, pa.RecordBatch):
                by_document(found, len(cuts) + 1)
            elif isinstance(found, pa.Array):
                assert len(found) == len(cuts) + 1
            else:
                assert found.batch.num_rows == len(cuts) + 1


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text()))
