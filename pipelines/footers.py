"""Parquet footers that this process has parsed, kept for the next unit of the same file.

A footer describes every row group of its file: a file of 10,000 units would be parsed 10,000 times, each time longer than its unit takes.
Owns what is kept and for how long; does not know how a footer is read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import pyarrow.parquet as pq

from pipelines.documents import InputFile

KEPT_BYTES: Final = 16 << 20
"""Of footers as they stand in their files; parsed they take a few times that. A larger one is parsed again for each unit of its file."""


class Footers:
    """The footers used last, by the very state of the file that the inventory names. Safe to use from many threads."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, int], pq.FileMetaData] = OrderedDict()

    def find(self, file: InputFile) -> pq.FileMetaData | None:
        """The footer of a file, if it is kept."""
        key = (file.uri, file.etag, file.size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, file: InputFile, footer: pq.FileMetaData) -> None:
        """Keep the footer of a file of which other units may come; those that were used longest ago go for it."""
        if file.row_groups.count == 1 or footer.serialized_size > self._kept_bytes:
            return
        key = (file.uri, file.etag, file.size)
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = footer
            self._bytes += footer.serialized_size
            while self._bytes > self._kept_bytes:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= gone.serialized_size


FOOTERS: Final = Footers()
"""Those of this process."""
