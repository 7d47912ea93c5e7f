"""The formats of token shards, byte for byte as their readers expect them: Megatron-LM's and datatrove's.

Owns names and layouts. Both formats hold the very same tokens in one file, little-endian and without anything between documents: uint16
where the ids are, else 32 bits, which Megatron reads as int32 and datatrove as uint32. They differ in what stands beside it:

- Megatron `.idx`: magic, version, code of the token type, number of documents, that number plus one; then of every document its tokens
  (int32) and its first byte (int64); then 0, 1, 2 … (int64): every document is one sequence.
- datatrove `.ds.index`: of every document the number of tokens up to its end (uint64); `.ds.metadata`: tokenizer and bytes of a token, the
  number of tokens, and that number for people.

Knows neither stores nor Parquet.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

DATA: Final[Mapping[str, str]] = {"datatrove": ".ds", "megatron": ".bin"}
"""Suffix of the file that holds the tokens, by format."""
SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {"datatrove": (".ds", ".ds.index", ".ds.metadata"), "megatron": (".bin", ".idx")}
"""Suffixes of the files of a token shard, by format; that of the tokens first."""
MAGIC: Final = b"MMIDIDX\x00\x00"
MEGATRON_CODES: Final[Mapping[int, int]] = {2: 8, 4: 4}
"""Megatron's code for the type of a token (uint16, int32), by its bytes."""
MEGATRON_IDS: Final = 1 << 31
"""Megatron reads 32 bits as signed: ids are below this."""
UNKNOWN: Final = "Unknown Tokenizer"
PREFIXES: Final = "kMGTPEZYRQ"
CHUNK: Final = 1 << 18
"""Documents whose places are written at once."""

Lengths = npt.NDArray[np.int32]


def token_path(shard: str, form: str, suffix: str) -> str:
    """Where a file of a shard's tokens lies: `data/v1/x/part-0.parquet` gives `tokens/v1/<format>/x/part-0<suffix>`."""
    _, version, rest = shard.removesuffix(".parquet").split("/", 2)
    return f"tokens/{version}/{form}/{rest}{suffix}"


def beside(form: str, suffix: str, lengths: Lengths, width: int, tokenizer: str | None) -> Iterator[bytes]:
    """The content of a file that stands beside the tokens, some MiB at a time.

    Args:
        form: The format.
        suffix: Which of its files.
        lengths: Tokens of every document, in their order.
        width: Bytes of a token.
        tokenizer: What the metadata call it.
    """
    match form, suffix:
        case "megatron", ".idx":
            yield from _megatron_index(lengths, width)
        case "datatrove", ".ds.index":
            for chunk, before in _chunks(lengths):
                yield (np.cumsum(chunk, dtype=np.int64) + before).astype("<u8").tobytes()
        case "datatrove", ".ds.metadata":
            yield _datatrove_metadata(int(lengths.sum(dtype=np.int64)), width, tokenizer)
        case _:
            raise ValueError(f"token shards: format {form!r} has no file {suffix!r}")


def _megatron_index(lengths: Lengths, width: int) -> Iterator[bytes]:
    count = len(lengths)
    yield MAGIC + struct.pack("<QBQQ", 1, MEGATRON_CODES[width], count, count + 1)
    for chunk, _ in _chunks(lengths):
        yield chunk.astype("<i4").tobytes()
    for chunk, before in _chunks(lengths):
        yield ((np.cumsum(chunk, dtype=np.int64) - chunk + before) * width).astype("<i8").tobytes()
    for start in range(0, count + 1, CHUNK):
        yield np.arange(start, min(start + CHUNK, count + 1), dtype="<i8").tobytes()


def _chunks(lengths: Lengths) -> Iterator[tuple[Lengths, int]]:
    """The tokens of some documents at a time, and all tokens before them."""
    before = 0
    for start in range(0, len(lengths), CHUNK):
        chunk = lengths[start : start + CHUNK]
        yield chunk, before
        before += int(chunk.sum(dtype=np.int64))


def _datatrove_metadata(tokens: int, width: int, tokenizer: str | None) -> bytes:
    # Its merger splits the first line at '|'; a name with one in it could not be read back.
    name = " ".join((tokenizer or UNKNOWN).replace("|", "_").split())
    return f"{name}|{width}\n{tokens}\n{metric(tokens)}".encode()


def metric(tokens: int) -> str:
    """A number of tokens for people in three digits, as `humanize.metric(tokens, unit="T")` writes it: `12.3 kT`."""
    exponent = math.floor(math.log10(tokens)) if tokens else 0
    value = tokens / 10 ** (exponent // 3 * 3)
    digits = max(0, 2 - exponent % 3)
    if round(value, digits) >= 10 ** (exponent % 3 + 1):  # 999,999 are 1.00 M, not 1000 k
        exponent += 1
        value /= 1000 if exponent % 3 == 0 else 1
        digits = max(0, 2 - exponent % 3)
    prefix = PREFIXES[exponent // 3 - 1] if exponent >= 3 else ""
    return f"{value:.{digits}f} {prefix}T"
