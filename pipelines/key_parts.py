"""The keys that a unit's documents have for a group operator, in frames that are worth a request each.

A frame of keys for each batch of documents would have some kilobytes, and the driver holds where every frame lies.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from operators.base import GroupOperator
from operators.keep import WORDS
from operators.near import NearOperator
from pipelines.frames import PartWriter
from pipelines.rows import one_batch

FRAME_BYTES: Final = 8 << 20
"""Of keys and features together: a petabyte of documents of 4 kB then has 11 million frames instead of 60."""


class KeyParts:
    """Keys of one group operator, and the features of a `NearOperator`, which have the same rows in the same frames."""

    def __init__(self, operator: GroupOperator, keys: PartWriter, features: PartWriter | None) -> None:
        self._operator = operator
        self._keys = keys
        self._features = features
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0

    def add(self, rows: pa.RecordBatch) -> None:
        """Take in the keys of some documents, with `file` and `row`."""
        self._held.append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= FRAME_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            self._write(one_batch(pa.Table.from_batches(self._held)))
        self._held, self._bytes = [], 0

    def _write(self, rows: pa.RecordBatch) -> None:
        if self._features is None or not isinstance(self._operator, NearOperator):
            self._keys.write(rows)
            return
        apart = [name for name in rows.schema.names if name in (*self._operator.FEATURES, "id")]
        words = [name for name in WORDS if name in rows.schema.names]
        self._features.write(rows.select(["file", "row", *words, *apart]))
        self._keys.write(rows.drop_columns(apart))
