"""Documents with token ids, and the files of token shards as a few lines of plain Python read and order them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pipelines_made import Runs, write_pipeline

from pipelines.storage import Store

Lists = list[list[int]]
BOTH = ["megatron", "datatrove"]

OPERATOR = '''
"""Token ids without a tokenizer."""

from typing import Literal

import pyarrow as pa

from operators.base import BatchOperator, Result


class Ids(BatchOperator):
    """Add the bytes of the text as ids, above 255 the second time they come; the text `short` has none."""

    type: Literal["ids"] = "ids"
    wide: bool = False

    def open(self, assets):
        kind = pa.uint32() if self.wide else pa.uint16()

        def ids(batch):
            texts = ["" if text == "short" else text or "" for text in batch.column("text").to_pylist()]
            found = [[byte + 256 * (at % 2) + 70000 * self.wide for at, byte in enumerate(text.encode())] for text in texts]
            batch = batch.append_column("input_ids", pa.array(found, pa.large_list(kind)))
            return Result(batch.append_column("num_tokens", pa.array([len(each) for each in found], pa.int32())))

        return ids
'''


def ids_operator(folder: Path, **settings: Any) -> dict[str, Any]:
    """Write the operator beside the pipeline file; returns its entry for the pipeline."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ids.py").write_text(OPERATOR)
    return {"type": "ids:Ids", "name": "ids", **settings}


def runs_of(folder: Path, source: Path, target: str, options: Mapping[str, Any] | None = None, **changes: Any) -> Runs:
    """Runs in processes of their own, with token shards in both formats."""
    output = {"token_shards": {"formats": BOTH}, "target_shard_bytes": "8KiB", "storage_options": dict(options or {})}
    operators = [{"type": "length_filter", "min_chars": 4}, ids_operator(folder / "pipeline"), {"type": "exact_dedup"}]
    execution = {"unit_bytes": "16KiB", "seed": 11}
    path = write_pipeline(folder / "pipeline", source, target, operators=operators, output=output, execution=execution, **changes)
    return Runs(path, folder / "runs")


def shards_of(store: Store, version: str = "v1") -> dict[str, Lists]:
    """The ids of each Parquet shard's rows, by path; a row without a list has none."""
    table = pq.read_table(pa.BufferReader(store.read(f"versions/{version}/shards.parquet")))
    read = {path: pq.read_table(pa.BufferReader(store.read(path)))["input_ids"].to_pylist() for path in table["path"].to_pylist()}
    return {path: [ids or [] for ids in lists] for path, lists in read.items()}


def table_of(store: Store, version: str = "v1") -> list[dict[str, Any]]:
    """The rows of token_shards.parquet."""
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(store.read(f"versions/{version}/token_shards.parquet"))).to_pylist()
    return rows


def token_file(shard: str, form: str, suffix: str) -> str:
    """The name of a file of a shard's tokens."""
    _, version, rest = shard.split("/", 2)
    return f"tokens/{version}/{form}/{rest.removesuffix('.parquet')}{suffix}"


def megatron(data: bytes, index: bytes) -> Lists:
    """The documents of a .bin with its .idx."""
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, marks = struct.unpack_from("<QBQQ", index, 9)
    assert (version, marks) == (1, sequences + 1)
    letter, width = {8: ("H", 2), 4: ("i", 4)}[code]
    lengths = struct.unpack_from(f"<{sequences}i", index, 34)
    places = struct.unpack_from(f"<{sequences}q", index, 34 + 4 * sequences)
    assert struct.unpack(f"<{marks}q", index[34 + 12 * sequences :]) == tuple(range(marks))
    assert sum(lengths) * width == len(data)
    return [list(struct.unpack_from(f"<{length}{letter}", data, place)) for length, place in zip(lengths, places, strict=True)]


def datatrove(data: bytes, index: bytes, metadata: bytes) -> Lists:
    """The documents of a .ds with its .index and .metadata."""
    head, tokens, _ = metadata.decode().split("\n")
    width = int(head.rpartition("|")[2])
    values = struct.unpack(f"<{len(data) // width}{ {2: 'H', 4: 'I'}[width] }", data)
    assert len(values) == int(tokens)
    ends = struct.unpack(f"<{len(index) // 8}Q", index)
    return [list(values[start:end]) for start, end in zip((0, *ends), ends, strict=False)]


READERS = {"megatron": (megatron, (".bin", ".idx")), "datatrove": (datatrove, (".ds", ".ds.index", ".ds.metadata"))}


def documents_of(store: Store, shard: str, form: str) -> Lists:
    """The documents of a shard's token shard."""
    read, suffixes = READERS[form]
    return read(*(store.read(token_file(shard, form, suffix)) for suffix in suffixes))


class SplitMix64:
    """The generator as its authors wrote it."""

    def __init__(self, state: int) -> None:
        self.state = state

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)


def order(seed: int, shard: int, rows: int) -> list[int]:
    """The rows of a shard in the order of its token shard, as token_order.py says in words."""
    seeds = SplitMix64(seed)
    state = [seeds.next() for _ in range(shard + 1)][-1]
    keys = SplitMix64(state)
    drawn = [keys.next() for _ in range(rows)]
    return sorted(range(rows), key=drawn.__getitem__)


def shuffled(lists: Lists, seed: int | None, shard: int) -> Lists:
    """The documents of a shard as they must stand in its token shard."""
    return lists if seed is None else [lists[row] for row in order(seed, shard, len(lists))]


def assert_token_shards(store: Store, formats: Sequence[str], seed: int | None, version: str = "v1") -> Mapping[str, Lists]:
    """Every shard with documents has its token shard in each format, in the promised order, and nothing else is there."""
    shards = shards_of(store, version)
    expected = set()
    for shard, lists in shards.items():
        number = int(shard.rpartition("/part-")[2].partition("-")[0])
        for form in formats if lists else ():
            assert documents_of(store, shard, form) == shuffled(lists, seed, number)
            expected |= {token_file(shard, form, suffix) for suffix in READERS[form][1]}
    assert {info.path for info in store.list(f"tokens/{version}")} == expected
    assert {row["path"] for row in table_of(store, version)} == expected
    return shards
