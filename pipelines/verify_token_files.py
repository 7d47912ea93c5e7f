"""The files of a token shard as their readers see them: Megatron-LM's IndexedDataset, datatrove's DatatroveFileDataset and merger.

Owns the two layouts, written down again from what those readers do; nothing here uses the code that writes the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipelines.errors import shown

SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {"datatrove": (".ds", ".ds.index", ".ds.metadata"), "megatron": (".bin", ".idx")}
MEGATRON_TYPES: Final[Mapping[int, np.dtype[Any]]] = {4: np.dtype("<i4"), 8: np.dtype("<u2")}
DATATROVE_TYPES: Final[Mapping[int, np.dtype[Any]]] = {2: np.dtype("<u2"), 4: np.dtype("<u4")}
HEAD_BYTES: Final = 9 + 8 + 1 + 8 + 8
"""Of an .idx: magic, version, code of the type, number of sequences, number of marks between documents."""
RESTORE: Final = "restore it from a copy"

Ints = npt.NDArray[np.int64]


class Malformed(ValueError):
    """A file of a token shard has not the layout of its format."""


@dataclass(frozen=True, slots=True)
class Documents:
    """What a token shard holds: its tokens, where each document begins, and the end of the last."""

    tokens: npt.NDArray[Any]
    starts: Ints


def file_name(shard: str, form: str, suffix: str) -> str:
    """Where a file of a shard's tokens must lie: `data/v1/a/b.parquet` has `tokens/v1/<format>/a/b<suffix>`."""
    _, version, rest = shard.split("/", 2)
    return f"tokens/{version}/{form}/{rest.removesuffix('.parquet')}{suffix}"


def documents_in(shard: str, form: str, contents: Mapping[str, bytes]) -> Documents:
    """What the files of a shard in a format hold.

    Args:
        shard: Path of the Parquet shard.
        form: The format.
        contents: Of its files, by path.

    Raises:
        Malformed: They have not the layout of the format, or do not fit each other.
    """
    named = [contents[file_name(shard, form, suffix)] for suffix in SUFFIXES[form]]
    return _megatron(*named) if form == "megatron" else _datatrove(*named)


def _megatron(data: bytes, index: bytes) -> Documents:
    if index[:17] != b"MMIDIDX\x00\x00" + (1).to_bytes(8, "little") or len(index) < HEAD_BYTES or index[17] not in MEGATRON_TYPES:
        raise Malformed("its .idx does not begin as one of Megatron's, version 1, with tokens of uint16 or int32")
    kind = MEGATRON_TYPES[index[17]]
    count, marks = (int(number) for number in np.frombuffer(index, "<u8", 2, 18))
    if marks != count + 1 or len(index) != HEAD_BYTES + count * 12 + marks * 8:
        raise Malformed(f"its .idx says {count} sequences and {marks - 1} documents in {len(index)} bytes, which do not fit each other")
    lengths = np.frombuffer(index, "<i4", count, HEAD_BYTES).astype(np.int64)
    places = np.frombuffer(index, "<i8", count, HEAD_BYTES + 4 * count)
    documents = np.frombuffer(index, "<i8", marks, HEAD_BYTES + 12 * count)
    starts = _starts(lengths)
    if (lengths < 0).any() or (places != starts[:-1] * kind.itemsize).any() or (documents != np.arange(marks)).any():
        raise Malformed("its .idx does not place one sequence a document, one after the other")
    return _documents(data, kind, starts)


def _datatrove(data: bytes, index: bytes, metadata: bytes) -> Documents:
    told = re.fullmatch(r"[^|\n]+\|([24])\n([0-9]+)\n[^\n]+ [kMGTPEZYRQ]?T", metadata.decode(errors="replace"))
    if told is None:
        raise Malformed(f"its .metadata are {shown(metadata)!r}, expected tokenizer|bytes of a token, tokens, and tokens for people")
    kind = DATATROVE_TYPES[int(told[1])]
    if len(index) % 8 or int(told[2]) * kind.itemsize != len(data):
        raise Malformed(f"its .index has {len(index)} bytes, and its .metadata say {told[2]} tokens, where there are {len(data)} bytes")
    ends = np.frombuffer(index, "<u8").astype(np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends])
    if (np.diff(starts) < 0).any():
        raise Malformed("the ends of documents in its .index go backwards")
    return _documents(data, kind, starts)


def _starts(lengths: Ints) -> Ints:
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def _documents(data: bytes, kind: np.dtype[Any], starts: Ints) -> Documents:
    if int(starts[-1]) * kind.itemsize != len(data):
        raise Malformed(f"its documents end at byte {int(starts[-1]) * kind.itemsize}, but it has {len(data)}")
    return Documents(np.frombuffer(data, kind), starts)
