"""The token ids of a version's documents as rows of NumPy arrays, or packed into sequences of one length, for `open_dataset`.

Owns how ids come out of Arrow: a copy of each document's stretch, never a Python integer a token. Imports datasets, which takes a second:
whoever does not stream must not import this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasets.iterable_dataset import ExamplesIterable

from pipelines.errors import InputError, shown
from pipelines.objectfile import opened_parquet
from pipelines.storage import Store

IDS: Final = "input_ids"
TOKENS: Final = "num_tokens"
BATCH_ROWS: Final = 1024

Ids = npt.NDArray[Any]
Example = dict[str, Any]


class TokenRows(ExamplesIterable):  # type: ignore[misc]  # datasets has no types
    """Rows that are what their features say already: datasets would turn each id into a Python integer to make sure."""

    is_typed = True

    def __init__(self, shards: Sequence[str], features: datasets.Features, reading: Mapping[str, Any]) -> None:
        # datasets divides lists among workers; what else there is goes to each of them as it is.
        super().__init__(token_rows, {"shards": [*shards], **reading})
        self._features = features

    @property
    def features(self) -> datasets.Features:
        """Columns with their types."""
        return self._features

    def shuffle_data_sources(self, generator: np.random.Generator) -> TokenRows:
        """The shards in another order."""
        return self._of(super().shuffle_data_sources(generator))

    def shard_data_sources(self, num_shards: int, index: int, contiguous: bool = True) -> TokenRows:
        """Some of the shards."""
        return self._of(super().shard_data_sources(num_shards, index, contiguous))

    def reshard_data_sources(self) -> TokenRows:
        """The same: a shard is the smallest piece."""
        return self

    def _of(self, other: ExamplesIterable) -> TokenRows:
        return TokenRows(other.kwargs["shards"], self._features, {name: self.kwargs[name] for name in self.kwargs if name != "shards"})


def stream_tokens(
    store: Store, shards: Sequence[str], schema: pa.Schema, columns: Sequence[str] | None, sequence_length: int | None
) -> datasets.IterableDataset:
    """Stream the ids of some shards.

    Args:
        store: Where they are.
        shards: Their paths, in order.
        schema: Their columns.
        columns: That come beside the ids; None: `id` and `num_tokens`, where they are there.
        sequence_length: Ids of a sequence, into which documents are packed; None: each document by itself.

    Raises:
        InputError: There are no ids, a column is not there, or a sequence is asked for that cannot be.
    """
    kind = _ids_type(schema, store.uri)
    if sequence_length is not None:
        _check_packing(columns, sequence_length)
        features = datasets.Features({IDS: datasets.List(datasets.Value(str(kind)), length=sequence_length)})
        names: tuple[str, ...] = (IDS,)
    else:
        usual = [name for name in ("id", IDS, TOKENS) if name in schema.names]
        names = tuple(usual) if columns is None else tuple(dict.fromkeys([*columns, IDS]))
        features = datasets.Features.from_arrow_schema(pa.schema([schema.field(name) for name in names]))
    rows = TokenRows(shards, features, {"store": store, "columns": names, "sequence_length": sequence_length})
    return datasets.IterableDataset(rows, info=datasets.DatasetInfo(features=features), split=datasets.Split.TRAIN)


def _ids_type(schema: pa.Schema, uri: str) -> pa.DataType:
    kind = schema.field(IDS).type if IDS in schema.names else None
    is_list = kind is not None and any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))
    if kind is None or not is_list or not pa.types.is_integer(kind.value_type):
        found = f"there is no column {IDS!r}" if kind is None else f"the column {IDS!r} is {shown(kind)}"
        remedy = "put the operator `tokenize` at the end of the pipeline, keep its columns in output.columns, and run it"
        raise InputError(f"{uri}: tokens are asked for, but {found}, expected lists of ids; the columns are: {_named(schema)}; {remedy}")
    return kind.value_type


def _named(schema: pa.Schema) -> str:
    return shown(", ".join(schema.names))


def _check_packing(columns: Sequence[str] | None, length: int) -> None:
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise InputError(f"sequence_length: found {length!r}, expected a whole number of ids, 1 or more")
    if columns is not None:
        raise InputError("columns: a packed sequence is of several documents and has none of their columns; leave out one of the two")


# --- rows


def token_rows(shards: Sequence[str], store: Store, columns: tuple[str, ...], sequence_length: int | None) -> Iterator[tuple[int, Example]]:
    """The rows of some shards, each with its number, as datasets want them. Each shard is packed by itself."""
    for path in shards:
        batches = _batches(store, path, columns)
        rows = _documents(batches, path) if sequence_length is None else _sequences(batches, path, sequence_length)
        yield from enumerate(rows)


def _batches(store: Store, path: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with opened_parquet(store, path) as file:
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(BATCH_ROWS, [group], columns=list(columns), use_threads=False):
                yield batch.select(list(columns))


def _documents(batches: Iterator[pa.RecordBatch], path: str) -> Iterator[Example]:
    """Each document; its ids are memory of its own, so that a shuffled few do not hold whole batches."""
    for batch in batches:
        names = batch.schema.names
        columns = [_each(batch.column(IDS), path) if name == IDS else batch.column(name).to_pylist() for name in names]
        for row in zip(*columns, strict=True):
            yield dict(zip(names, row, strict=True))


def _each(lists: pa.Array, path: str) -> Iterator[Ids | None]:
    """The ids of each document; None of one that has none at all."""
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(sizes, dtype=np.int64)
    values = _values(lists, path)
    for start, end, is_there in zip((ends - sizes).tolist(), ends.tolist(), pc.is_valid(lists).to_pylist(), strict=True):
        yield values[start:end].copy() if is_there else None


def _sequences(batches: Iterator[pa.RecordBatch], path: str, length: int) -> Iterator[Example]:
    """The ids of all documents, one after the other, cut into sequences; what is left of the shard at its end is dropped."""
    held: list[Ids] = []
    for batch in batches:
        held.append(_values(batch.column(IDS), path))
        number = sum(map(len, held)) // length
        if number == 0:
            continue
        joined = np.concatenate(held)
        for start in range(0, number * length, length):
            yield {IDS: joined[start : start + length].copy()}
        held = [joined[number * length :].copy()]


def _values(lists: pa.Array, path: str) -> Ids:
    """All ids of some documents, one after the other; a null document has none."""
    values = lists.flatten()
    if values.null_count:
        raise InputError(
            f"{path}: an id in {IDS!r} is null; expected integers; `shardmill verify` says whether the file is as it was written"
        )
    found: Ids = values.to_numpy(zero_copy_only=True)
    return found
