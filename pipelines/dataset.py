"""A finished version as a `datasets.IterableDataset`: the shards that its table names, in order, streamed from wherever they are.

Owns nothing but the reading. Imports datasets only when it is called.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import InputError, NotFound, Purged, StorageError, shown
from pipelines.objectfile import opened_parquet
from pipelines.published import open_finished
from pipelines.storage import Store, checked_path

if TYPE_CHECKING:
    import datasets

BATCH_ROWS: Final = 1024


def open_dataset(
    uri: str,
    *,
    version: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    columns: Sequence[str] | None = None,
    tokens: bool = False,
    sequence_length: int | None = None,
) -> datasets.IterableDataset:
    """Stream the documents of a finished version, in the order of the run.

    Each shard is one shard of the dataset: DataLoader workers and `split_dataset_by_node` divide them among themselves, and `shuffle`
    changes their order. Memory holds one row group.

    Args:
        uri: The output; or `hf://datasets/org/name[@revision]`, where a version was published. It is read at one commit, and its documents
            from where that says they are.
        version: As `v1`; None: the current one. Of a repo: the one that its tag of that name holds.
        storage_options: For the store, as in the pipeline file; of a repo, for the output that it points to.
        columns: Only these, in this order; None: all. With `tokens`: what comes beside `input_ids`.
        tokens: Stream token ids: `id`, `input_ids` and `num_tokens` of each document, nothing else is read. The ids are a NumPy array of
            the type that they are stored in; `.with_format("torch")` makes int64 tensors of them.
        sequence_length: With `tokens`: only `input_ids`, packed into sequences of exactly so many ids. Documents follow each other as they
            are in the shard, cut where a sequence ends; what is left at the end of a shard, fewer ids than a sequence, is dropped.

    Raises:
        NotFound: Nothing, or not this version, is finished here.
        LocationUnreadable: What a repo points to cannot be read from here.
        InputError: There is no such column, or there are no token ids.
    """
    import datasets  # noqa: PLC0415  a second and 100 MB that only this call needs

    if sequence_length is not None and not tokens:
        raise InputError("sequence_length: only token ids can be packed; say tokens=True too")
    store = open_finished(uri, storage_options, version=version)
    paths = shard_paths(store, version)
    whole = _schema(store, paths[0])
    schema = _chosen(whole, columns, uri)
    if tokens:
        from pipelines.token_stream import stream_tokens  # noqa: PLC0415  imports datasets

        return stream_tokens(store, paths, whole, columns, sequence_length)
    return datasets.IterableDataset.from_generator(
        documents,
        features=datasets.Features.from_arrow_schema(schema),
        # datasets divides lists among workers; a tuple goes to each of them as it is.
        gen_kwargs={"shards": paths, "store": store, "columns": tuple(schema.names)},
    )


def shard_paths(store: Store, version: str | None = None) -> list[str]:
    """Paths of a version's shards, in order.

    Raises:
        NotFound: Nothing, or not this version, is finished here.
        InputError: Its table names no shard, or something that is no path in the store.
    """
    paths: list[str] = shard_table(store, version).column("path").to_pylist()
    return paths


def shard_table(store: Store, version: str | None = None) -> pa.Table:
    """Paths and rows of a version's shards, in order.

    Raises:
        NotFound: Nothing, or not this version, is finished here.
        InputError: Its table names no shard, or something that is no path in the store.
    """
    name = _current(store) if version is None else version
    try:
        # A version is finished when its manifest is there; its table comes before.
        store.read(f"versions/{name}/manifest.json")
        content = store.read(f"versions/{name}/shards.parquet")
    except NotFound:
        is_purged = store.exists(f"versions/{name}/purged.json")
        why = "was purged when documents were taken out of the output" if is_purged else "is not finished here"
        kind = Purged if is_purged else NotFound
        raise kind(f"{store.uri}: version {shown(name)!r} {why}; {_finished(store)}") from None
    table = pq.read_table(io.BytesIO(content), columns=["path", "rows"], use_threads=False)
    if not table.num_rows:
        raise InputError(f"{store.locate(f'versions/{name}/shards.parquet')}: it names no shard; `shardmill verify` says what is wrong")
    _require_inside(store, name, table.column("path").to_pylist())
    return table


def _require_inside(store: Store, version: str, paths: Sequence[str]) -> None:
    """A table may be a stranger's: what it names is read from the store and nowhere else."""
    for path in paths:
        try:
            checked_path(path)
        except StorageError as error:
            table = store.locate(f"versions/{version}/shards.parquet")
            raise InputError(f"{table}: {error.message}; `shardmill verify` says what is wrong") from error


def _current(store: Store) -> str:
    try:
        return str(orjson.loads(store.read("manifest.json"))["version"])
    except NotFound:
        raise NotFound(f"{store.uri}: no manifest.json: nothing is finished here; run the pipeline, or check the address") from None
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{store.locate('manifest.json')}: not a manifest ({shown(error)}); `shardmill verify` says more") from None


def _finished(store: Store) -> str:
    names = [str(child).rstrip("/").rpartition("/")[2] for child in store.children("versions") if isinstance(child, str)]
    whole = (name for name in names if all(store.exists(f"versions/{name}/{file}") for file in ("manifest.json", "shards.parquet")))
    there = sorted(whole, key=lambda name: (len(name), name))
    return f"finished: {', '.join(there[-10:])}" if there else "no version is"


def _schema(store: Store, path: str) -> pa.Schema:
    with opened_parquet(store, path, num_ahead=0) as file:
        return file.schema_arrow.remove_metadata()


def _chosen(schema: pa.Schema, columns: Sequence[str] | None, uri: str) -> pa.Schema:
    if columns is None:
        return schema
    unknown = [name for name in columns if name not in schema.names]
    if unknown or not columns:
        found = f"there is no column {shown(unknown[0])!r}" if unknown else "no column is asked for"
        raise InputError(f"{uri}: {found}; the columns are: {shown(', '.join(schema.names))}")
    return pa.schema([schema.field(name) for name in columns])


def documents(shards: Sequence[str], store: Store, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The documents of some shards, one after the other."""
    for path in shards:
        with opened_parquet(store, path) as file:
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(BATCH_ROWS, [group], columns=list(columns), use_threads=False):
                    yield from batch.select(list(columns)).to_pylist()
