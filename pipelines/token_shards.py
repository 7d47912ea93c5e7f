"""Token shards: files of token ids for trainers, one for each Parquet shard that has documents.

A token shard is a pure function of its Parquet shard, which has its final name and never changes, of the seed and of the shard's number.
Its files get their final names at once, as shards do: the first attempt creates them, another finds the same bytes there.

Owns the tasks that write them and what a version says of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import faults
from pipelines.commit import Part, Record, digest
from pipelines.config import PipelineConfig
from pipelines.pack import prove_same
from pipelines.redaction import redact_uri
from pipelines.storage import Store
from pipelines.token_formats import DATA, SUFFIXES, beside, token_path
from pipelines.token_ids import Ids, Ints, read_ids
from pipelines.token_order import token_order
from pipelines.work import Work
from pipelines.worker import Attempt, Outcome, Worker

CHUNK_BYTES: Final = 4 << 20
"""Of the tokens that are copied at once."""
RECORDS: Final = 1 << 13
"""Of tasks that are looked at together; the table has a row group for their files."""
NUMBER: Final = re.compile(r"part-(\d+)-[^/]*$")
TABLE: Final = pa.schema(
    [
        ("path", pa.string()),
        ("format", pa.string()),
        ("shard", pa.string()),
        ("documents", pa.int64()),
        ("tokens", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
    ]
)
"""Columns of token_shards.parquet: a row a file."""


@dataclass(frozen=True, slots=True)
class TokenForm:
    """What decides the token shards of a version, besides its Parquet shards.

    Attributes:
        formats: Of the files.
        seed: Of the order of documents; None: that of the shard.
        tokenizer: What datatrove's metadata call it; None: unknown.
    """

    formats: tuple[str, ...]
    seed: int | None
    tokenizer: str | None

    @classmethod
    def of(cls, config: PipelineConfig) -> TokenForm | None:
        """The form that a pipeline asks for; None if it asks for no token shards."""
        wanted = config.output.token_shards
        if wanted is None:
            return None
        names = [getattr(operator, "tokenizer", None) for operator in config.operators]
        named = [redact_uri(name) for name in names if isinstance(name, str)]
        return cls(wanted.formats, config.execution.seed if wanted.shuffle else None, named[-1] if named else None)


@dataclass(frozen=True, slots=True)
class TokensJob:
    """Write the token shard of one Parquet shard, in every format, under its final names."""

    shard: str
    form: TokenForm
    kind: str = "tokens"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:  # noqa: ARG002  final names, not an attempt's
        """Write the files; the record has the rows, bytes and sha256 of each.

        Raises:
            VersionConflict: A name holds other bytes.
            UnitError: The shard has ids that no trainer can read.
        """
        parts, tokens = write_token_shard(worker.store, self.shard, self.form)
        return Outcome(parts, detail={"shard": self.shard, "tokens": tokens})


def write_token_shard(store: Store, shard: str, wanted: TokenForm) -> tuple[dict[str, Part], int]:
    """Write the files of one Parquet shard's token shard; returns them by role, and its tokens.

    Raises:
        VersionConflict: A name holds other bytes.
        UnitError: The shard has ids that no trainer can read.
    """
    ids = read_ids(store, shard)
    order = token_order(wanted.seed, shard_number(shard), len(ids.starts) - 1)
    lengths = ids.lengths[order]
    parts = {}
    for form in wanted.formats:
        for suffix in SUFFIXES[form]:
            is_data = suffix == DATA[form]
            content = tokens_in(ids, order) if is_data else beside(form, suffix, lengths, ids.tokens.itemsize, wanted.tokenizer)
            parts[f"{form}{suffix}"] = _create(store, token_path(shard, form, suffix), len(order), content)
    faults.point("tokens.after-shard")
    return parts, int(ids.starts[-1])


def _create(store: Store, path: str, documents: int, content: Iterable[bytes | memoryview]) -> Part:
    faults.point("tokens.before-file")
    with store.creator(path) as sink:
        for chunk in content:
            sink.write(chunk)
    if not sink.created:
        prove_same(store, path, sink.sha256, sink.tell())
    return Part(path, documents, sink.tell(), sink.sha256)


def shard_number(path: str) -> int:
    """The number of a shard, which is part of its name."""
    found = NUMBER.search(path)
    assert found is not None, path
    return int(found[1])


def tokens_in(ids: Ids, order: Ints) -> Iterator[memoryview]:
    """The bytes of all tokens, documents in an order, little-endian, some MiB at a time; each piece is good until the next."""
    from operators.kernels.gather import gather  # noqa: PLC0415  the compiler is loaded where there is something to copy

    data = ids.tokens.astype(ids.tokens.dtype.newbyteorder("<"), copy=False).view(np.uint8)
    width = ids.tokens.itemsize
    held = np.empty(CHUNK_BYTES, np.uint8)
    first = 0
    while first < len(order):
        stop, size = gather(data, ids.starts, width, order, first, held)
        if stop > first:
            yield held[:size].data
        else:  # larger than a chunk: as it lies there
            stop = first + 1
            yield data[ids.starts[order[first]] * width : ids.starts[order[first] + 1] * width].data
        first = stop


# --- what a version says of them


@dataclass(frozen=True, slots=True)
class TokenShards:
    """The token shards of a version, as written.

    Attributes:
        table: token_shards.parquet.
        files: How many files its rows name.
        summary: What stands under `output`: documents and tokens are those of each format, bytes those of all files.
    """

    table: bytes
    files: int
    summary: Mapping[str, Any]

    @classmethod
    def of(cls, form: TokenForm, records: Iterable[Record]) -> Self:
        """What the records of their tasks say, in the order of the Parquet shards; never more than RECORDS of them are held."""
        sums = dict.fromkeys(("shards", "documents", "tokens", "files", "bytes"), 0)
        sink = pa.BufferOutputStream()
        left = iter(records)
        with pq.ParquetWriter(sink, TABLE, compression="zstd") as writer:
            while some := list(islice(left, RECORDS)):
                writer.write_batch(pa.RecordBatch.from_pylist([row for record in some for row in _rows(record)], schema=TABLE))
                for record in some:
                    _add(sums, record)
        return cls(sink.getvalue().to_pybytes(), sums["files"], {"formats": list(form.formats), "seed": form.seed, **sums})

    def after(self, before: pa.Table, summary: Mapping[str, Any]) -> Self:
        """With those of the version before in front: its table, and what stands under its `output`."""
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, TABLE, compression="zstd") as writer:
            writer.write_table(before.cast(TABLE))
            writer.write_table(pq.read_table(pa.BufferReader(self.table), use_threads=False))
        sums = {key: value + summary[key] for key, value in self.summary.items() if key not in ("formats", "seed")}
        return type(self)(sink.getvalue().to_pybytes(), before.num_rows + self.files, {**self.summary, **sums})

    def described(self) -> dict[str, Any]:
        """As it stands under `tables`: files, and the digest of the table."""
        return {"rows": self.files, "sha256": hashlib.sha256(self.table).hexdigest()}


def _rows(record: Record) -> Iterator[dict[str, Any]]:
    for role, part in record.parts.items():
        yield {
            "path": part.path,
            "format": role.partition(".")[0],
            "shard": record.detail["shard"],
            "documents": part.rows,
            "tokens": record.detail["tokens"],
            "bytes": part.bytes,
            "sha256": part.sha256,
        }


def _add(sums: dict[str, int], record: Record) -> None:
    parts = list(record.parts.values())
    sums["shards"] += 1
    sums["documents"] += parts[0].rows
    sums["tokens"] += record.detail["tokens"]
    sums["files"] += len(parts)
    sums["bytes"] += sum(part.bytes for part in parts)


def works(shards: Iterable[Part], form: TokenForm) -> list[Work]:
    """The work of making token shards: one piece for each shard that has documents."""
    return [_work(shard, form) for shard in shards if shard.rows]


def _work(shard: Part, form: TokenForm) -> Work:
    key = digest("tokens", shard.path, shard.sha256, repr(form))
    return Work(key, lambda: TokensJob(shard.path, form), 0, shard.bytes, "tokens")
