"""The folders of `output.partition_by`: which one a document goes to, and what it is called."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from pipelines.rows import Ints

MAX_FOLDER_BYTES: Final = 255
"""Longest name of a folder on the file systems that there are."""
DIGEST_CHARS: Final = 32


def partition_codes(batch: pa.RecordBatch, columns: Sequence[str]) -> tuple[Ints, list[str]]:
    """The folder of each document as an index into the folders that occur, sorted: `language=en/…`, quoted as Hive does.

    Null is `__HIVE_DEFAULT_PARTITION__`, and so is that very string: one folder, as any reader will have it.
    """
    codes = np.zeros(batch.num_rows, np.int64)
    labels = [""]
    for column in columns:
        encoded = batch.column(column).dictionary_encode(null_encoding="encode")
        names = [folder_name(column, value) for value in encoded.dictionary.to_pylist()]
        pairs = codes * len(names) + encoded.indices.to_numpy(zero_copy_only=False)
        found, codes = np.unique(pairs, return_inverse=True)
        labels = ["/".join(filter(None, (labels[pair // len(names)], names[pair % len(names)]))) for pair in found.tolist()]
    folders = sorted(set(labels))
    place = {label: number for number, label in enumerate(folders)}
    return np.array([place[label] for label in labels], np.int64)[codes], folders


def folder_name(column: str, value: object) -> str:
    """`column=value`, quoted as Hive does. One that no file system could hold keeps its beginning and gets a digest.

    What marks the digest, `!`, is quoted in values.
    """
    text = "__HIVE_DEFAULT_PARTITION__" if value is None else str(value)
    name = f"{column}={quote(text, safe=' ')}"
    if len(name.encode()) <= MAX_FOLDER_BYTES:
        return name
    mark = "!" + hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARS]
    room = MAX_FOLDER_BYTES - len(f"{column}={mark}".encode())
    characters = [quote(character, safe=" ") for character in text[:room]]
    whole = bisect_right(list(accumulate(map(len, characters))), room)
    return f"{column}={''.join(characters[:whole])}{mark}"
