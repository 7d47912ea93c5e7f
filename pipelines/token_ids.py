"""The ids of a Parquet shard in memory: all tokens of its documents one after the other, and where each document begins.

Owns the reading of the column and what cannot be a token. Memory holds the ids of one shard and one row group's besides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.errors import UnitError
from pipelines.objectfile import opened_parquet
from pipelines.settings import IDS_COLUMN
from pipelines.storage import Store
from pipelines.token_formats import MEGATRON_IDS

WIDTHS: Final = {pa.uint16(): 2, pa.uint32(): 4, pa.int32(): 4}
"""Types that ids may have, and the bytes of a token in a token shard."""

BATCH_TOKENS: Final = 1 << 20
"""Tokens that are read at once, about: decoding them takes ten times their bytes."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ids:
    """The tokens of documents.

    Attributes:
        tokens: Of all documents, in their order.
        starts: Where each document begins, in tokens; one more for the end of the last.
    """

    tokens: npt.NDArray[Any]
    starts: Ints

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Tokens of every document."""
        lengths = np.empty(len(self.starts) - 1, np.int32)
        return np.subtract(self.starts[1:], self.starts[:-1], out=lengths, casting="unsafe")


def id_type(schema: pa.Schema) -> pa.DataType | None:
    """The type of the ids in the column of token ids; None if there is no such column, or it holds something else."""
    kind = schema.field(IDS_COLUMN).type if IDS_COLUMN in schema.names else None
    if kind is None or not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or kind.value_type not in WIDTHS:
        return None
    return kind.value_type


def read_ids(store: Store, path: str) -> Ids:
    """The ids of a shard; a document whose ids are null has none.

    Raises:
        UnitError: An id is null, negative, or too large for a trainer.
    """
    with opened_parquet(store, path) as file:
        kind = id_type(file.schema_arrow)
        if kind is None:
            raise UnitError(f"{path}: its column {IDS_COLUMN!r} has no ids; expected lists of {', '.join(map(str, WIDTHS))}")
        most = _most_tokens(file)
        tokens = np.empty(most, np.dtype(kind.to_pandas_dtype()))
        starts = np.zeros(file.metadata.num_rows + 1, np.int64)
        row = at = 0
        for lists in _lists(file, most):
            values = lists.flatten()
            _prove(path, values)
            lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
            np.cumsum(lengths, out=starts[row + 1 : row + 1 + len(lists)])
            starts[row + 1 : row + 1 + len(lists)] += at
            tokens[at : at + len(values)] = values.to_numpy(zero_copy_only=True)
            row, at = row + len(lists), at + len(values)
    return Ids(tokens[:at], starts)


def _lists(file: pq.ParquetFile, num_tokens: int) -> Iterator[pa.Array]:
    rows = max(1, file.metadata.num_rows * BATCH_TOKENS // max(1, num_tokens))
    for batch in file.iter_batches(batch_size=rows, columns=[IDS_COLUMN], use_threads=False):
        yield batch.column(IDS_COLUMN)


def _most_tokens(file: pq.ParquetFile) -> int:
    """The values that the footer counts for the column: its tokens, and one for each document without any.

    A column `input_ids.x` has a path that looks like one of its leaves; the largest of them is enough for it.
    """
    leaves = [number for number in range(len(file.schema)) if file.schema.column(number).path.split(".")[0] == IDS_COLUMN]
    groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    return max(sum(int(group.column(leaf).num_values) for group in groups) for leaf in leaves)


def _prove(path: str, values: pa.Array) -> None:
    remedy = f"make the column {IDS_COLUMN!r} with `tokenize`, or leave output.token_shards out"
    if values.null_count:
        raise UnitError(f"{path}: found a null among the ids of a document, which no token shard can hold; {remedy}")
    if values.type == pa.uint16() or not len(values):
        return
    bounds = pc.min_max(values).as_py()
    if bounds["min"] < 0 or bounds["max"] >= MEGATRON_IDS:
        found = bounds["min"] if bounds["min"] < 0 else bounds["max"]
        raise UnitError(f"{path}: found the token id {found}, expected 0 to {MEGATRON_IDS - 1}, which is what trainers read; {remedy}")
