"""What a sample's run has measured: who was kept, what each document became, what its work took. Reads the sample's output.

Everything is told by the document or by the byte, so that it can be multiplied by what is there. Owns no model of the real run.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.columns import is_text
from pipelines.config import PipelineConfig
from pipelines.intervals import Scheme
from pipelines.inventory import Inventory
from pipelines.pack import Form, shard_form, table_form, write_groups
from pipelines.projection_estimates import Floats, Ints
from pipelines.projection_watch import Committed, Recorded
from pipelines.rows import DROPPED
from pipelines.sample import Sample
from pipelines.sizes import row_sizes
from pipelines.storage import Store
from pipelines.version import MANIFEST

KEPT: Final = -1
"""Where no operator dropped a document."""
LOST: Final = -2
"""Where it was quarantined."""
FEW_ROWS: Final = 500
"""Fewer rows of a side table hardly compress: what stands around them is most of the file."""
TABLES: Final = ("dropped", "duplicates", "quarantine")
ALWAYS: Final = frozenset({*DROPPED.names, "detail"})
"""Columns of the table of dropped documents that are not carried from the input."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What drawing the sample has read: whole row groups, of which the sample has some documents.

    Attributes:
        group_bytes: What the inventory says that these row groups have, uncompressed.
        arrow_bytes: Of all their columns, as shards count them (`sizes.py`).
        stored_bytes: Fetched from the store.
    """

    rows: int
    group_bytes: int
    arrow_bytes: int
    stored_bytes: int
    cpu_seconds: float | None = None
    wall_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """The sample.

    Attributes:
        table: Its documents, as the engine was given them.
        scheme: How they were drawn.
        reading: What was read for it; None: that is not known.
    """

    table: pa.Table
    scheme: Scheme
    reading: Reading | None = None

    @classmethod
    def of(cls, sample: Sample, inventory: Inventory, cpu_seconds: float | None = None, wall_seconds: float | None = None) -> Drawn:
        """The sample that was read, with what reading it took, if that was measured."""
        first = inventory.file_first_group
        groups = ((int(first[one.file]) + one.row_group, one.stop / max(one.rows, 1)) for one in sample.design.clusters)
        size = int(sum(float(inventory.group_bytes[group]) * part for group, part in groups))
        reading = Reading(sample.rows_read, size, sample.memory_bytes, sample.read_bytes, cpu_seconds, wall_seconds)
        return cls(sample.documents.table, sample.scheme, reading)


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of the sample, a value a document in each array.

    Attributes:
        text_bytes: UTF-8 bytes of the text as it came.
        arrow_bytes: Of all columns as they came.
        gone_at: Place among the operators of the one that dropped it; KEPT, LOST.
        out_bytes: Of all columns of the output, uncompressed; 0 of what was not kept.
        tokens: Of what was kept.
    """

    scheme: Scheme
    text_bytes: Floats
    arrow_bytes: Floats
    gone_at: Ints
    out_bytes: Floats
    tokens: Floats | None

    def reach(self, position: int) -> Floats:
        """1 for each document that reaches the operator at a place, else 0; quarantined ones reach all, at worst."""
        return np.asarray((self.gone_at < 0) | (self.gone_at >= position), np.float64)

    @property
    def kept(self) -> Floats:
        """1 for each that was kept."""
        return np.asarray(self.gone_at == KEPT, np.float64)


@dataclass(frozen=True, slots=True)
class UnitWork:
    """One unit of one stage of the sample's run.

    Attributes:
        first: Its first document's place in the sample; `stop` is one past the last.
        seconds: CPU in all; `operators`: of each by name, `read` that of reading.
        bytes: Of the parts that it wrote, by role.
    """

    stage: int
    first: int
    stop: int
    seconds: float
    operators: Mapping[str, float]
    bytes: Mapping[str, int]
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Learned:
    """What an operator that learns took: the CPU of its tasks, and the bytes of text that it learned from."""

    seconds: float
    text_bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured.

    Attributes:
        names: Of the operators, in order.
        units: In order of stages, and of documents.
        learned: By operator.
        compressed: Bytes of a shard for each uncompressed byte.
        write_rate: CPU seconds to make a shard, by the uncompressed byte.
        row_bytes: Of a row of each side table, compressed; None where the sample left none.
        partitions: Folders that the shards are in.
        token_bytes: Of a token in the ids' column.
        lz4: Bytes that a frame takes where the store compresses them, for each that it has.
        spare: CPU seconds that a real run has not, of all its units'.
        others: Processes that ran on this machine beside the sample's, for each of its cores.
    """

    documents: Documents
    names: tuple[str, ...]
    units: tuple[UnitWork, ...]
    learned: Mapping[str, Learned]
    compressed: float
    write_rate: float
    row_bytes: Mapping[str, float | None]
    partitions: int
    token_bytes: int
    lz4: float
    peak_bytes: int
    spare: float
    reading: Reading | None
    others: float = 0.0


def measure(
    config: PipelineConfig, store: Store, watch: Recorded, drawn: Drawn, extra_seconds: float = 0.0, again: Recorded | None = None
) -> Measured:
    """Read what the sample's run has left and what its records say.

    Args:
        config: The pipeline of the real run.
        store: The output of the sample's.
        watch: What watched it.
        drawn: The sample; its rows are those of the one file that the run read.
        extra_seconds: CPU seconds in its units that a real run has not, such as an observer's.
        again: What watched a second run of the same sample, in the same process, for the time alone: of two times the shorter one counts,
            since whatever else ran on the machine only makes them longer.
    """
    manifest: dict[str, Any] = orjson.loads(store.read(MANIFEST))
    names = tuple(str(operator.name) for operator in config.operators)
    tables = {name: _table(store, [file["path"] for file in manifest["tables"][name]["files"]]) for name in TABLES}
    shards = pq.read_table(io.BytesIO(store.read(f"versions/{manifest['version']}/shards.parquet"))).column("path").to_pylist()
    kept = _table(store, shards)
    form = shard_form(kept.schema, config.input.text_column, config.output.compression)
    compressed, write_rate = written(kept, form)
    return Measured(
        documents=_documents(config, drawn, names, tables, kept),
        names=names,
        units=_quickest(tuple(unit_works(watch.committed)), () if again is None else tuple(unit_works(again.committed))),
        learned=_learned(watch.committed, manifest),
        compressed=compressed,
        write_rate=write_rate,
        row_bytes={name: _row_bytes(config, name, table) for name, table in tables.items()},
        partitions=_partitions(kept, config.output.partition_by),
        token_bytes=_token_bytes(kept.schema),
        lz4=_lz4(drawn.table),
        peak_bytes=max((one.record.usage["peak_rss_bytes"] for one in watch.committed), default=0),
        spare=extra_seconds if again is None else 0.0,
        reading=drawn.reading,
        others=_others(),
    )


def _others() -> float:
    """Processes that wanted a core of this machine in the last minute, for each core, this one apart."""
    try:
        load = os.getloadavg()[0]
    except OSError:
        return 0.0
    return max(0.0, load - 1) / (os.cpu_count() or 1)


def _table(store: Store, paths: Iterable[str]) -> pa.Table:
    """Some Parquet files as one table."""
    return pa.concat_tables([pq.read_table(io.BytesIO(store.read(path)), use_threads=False) for path in paths])


# --- documents


def _documents(config: PipelineConfig, drawn: Drawn, names: Sequence[str], tables: Mapping[str, pa.Table], kept: pa.Table) -> Documents:
    number = drawn.table.num_rows
    gone_at = np.full(number, KEPT, np.int64)
    places = {name: position for position, name in enumerate(names)}
    by = [places.get(name, 0) for name in tables["dropped"].column("operator").to_pylist()]
    gone_at[_ints(tables["dropped"].column("row"))] = by
    gone_at[_ints(tables["quarantine"].column("row").drop_null())] = LOST
    return Documents(
        scheme=drawn.scheme,
        text_bytes=_text_bytes(drawn.table, config.input.text_column),
        arrow_bytes=_sizes(drawn.table),
        gone_at=gone_at,
        out_bytes=_of_kept(gone_at, _sizes(kept), bool(config.output.partition_by)),
        tokens=_tokens(gone_at, kept, bool(config.output.partition_by)),
    )


def _ints(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.to_numpy(), np.int64)


def _text_bytes(table: pa.Table, name: str) -> Floats:
    column = table.column(name)
    lengths = pc.fill_null(pc.binary_length(column if is_text(column.type) else column.cast(pa.large_string())), 0)
    return _floats(lengths)


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.to_numpy(), np.float64)


def _sizes(table: pa.Table) -> Floats:
    """Uncompressed bytes of each row, as shards are cut by them."""
    found = [row_sizes(batch, batch.schema.names) for batch in table.to_batches()]
    return np.concatenate(found).astype(np.float64) if found else np.zeros(0)


def _of_kept(gone_at: Ints, values: Floats, is_partitioned: bool) -> Floats:
    """Values of the documents that were kept, by their places in the sample; the mean where shards have another order than the sample."""
    found = np.zeros(len(gone_at))
    is_kept = gone_at == KEPT
    if is_partitioned or int(is_kept.sum()) != len(values):
        found[is_kept] = values.mean() if len(values) else 0.0
    else:
        found[is_kept] = values
    return found


def _tokens(gone_at: Ints, kept: pa.Table, is_partitioned: bool) -> Floats | None:
    if "num_tokens" not in kept.schema.names or not pa.types.is_integer(kept.schema.field("num_tokens").type):
        return None
    counts = _floats(pc.fill_null(kept.column("num_tokens"), 0))
    return _of_kept(gone_at, counts, is_partitioned)


def _token_bytes(schema: pa.Schema) -> int:
    if "input_ids" not in schema.names or not hasattr(schema.field("input_ids").type, "value_type"):
        return 0
    return int(schema.field("input_ids").type.value_type.bit_width) // 8


def _partitions(kept: pa.Table, by: Sequence[str]) -> int:
    """Folders that shards would be in."""
    return int(kept.group_by(list(by)).aggregate([]).num_rows) if by else 1


# --- files


def written(table: pa.Table, form: Form) -> tuple[float, float]:
    """Bytes that the rows take in a file of this form, and the CPU seconds to make it, both for each uncompressed byte.

    Columns are compared, not files: a footer weighs in a small file what it does not in a large one.
    """
    size = float(_sizes(table).sum())
    if size <= 0:
        return 1.0, 0.0
    best, sink = float("inf"), pa.BufferOutputStream()
    for _ in range(2):  # the first loads what writing needs
        sink = pa.BufferOutputStream()
        started = time.process_time()
        write_groups([table.combine_chunks()], sink, form)
        best = min(best, time.process_time() - started)
    return _column_bytes(pq.read_metadata(pa.BufferReader(sink.getvalue()))) / size, best / size


def _column_bytes(about: pq.FileMetaData) -> int:
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    return sum(group.column(place).total_compressed_size for group in groups for place in range(group.num_columns))


def _row_bytes(config: PipelineConfig, name: str, table: pa.Table) -> float | None:
    """Compressed bytes of a row of a side table, with the columns that it has in the real run; of few rows nothing can be told."""
    if table.num_rows < FEW_ROWS:
        return None
    if name == "dropped" and not config.output.dropped:
        table = table.select([column for column in table.schema.names if column in ALWAYS])
    ratio_of, _ = written(table, table_form(table.schema, config.input.text_column))
    return float(ratio_of * _sizes(table).sum() / table.num_rows)


def _lz4(table: pa.Table) -> float:
    """How much of a frame's bytes are left where parts are compressed."""
    sizes = []
    for codec in (None, "lz4"):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as stream:
            stream.write_table(table)
        sizes.append(sink.getvalue().size)
    return float(sizes[1] / sizes[0])


# --- records


def unit_works(committed: Sequence[Committed]) -> Iterable[UnitWork]:
    """The units of the sample's run; those of each stage come in the order of their documents, one after the other."""
    places: dict[tuple[int, int], tuple[int, int]] = {}
    numbers: dict[int, int] = {}
    for one in (one for one in committed if one.record.kind == "unit"):
        number = numbers.get(one.stage, 0)
        numbers[one.stage] = number + 1
        first = places[one.stage, number - 1][1] if number else 0
        rows = one.rows if one.stage == 1 else 0
        place = (first, first + rows) if one.stage == 1 else places.get((1, number), (0, 0))
        places[one.stage, number] = place
        record = one.record
        ledger = record.ledger
        yield UnitWork(
            stage=one.stage,
            first=place[0],
            stop=place[1],
            seconds=float(record.usage["seconds"]),
            operators={} if ledger is None else {name: count.seconds for name, count in ledger.operators.items()},
            bytes={role: part.bytes for role, part in record.parts.items()},
            resident_bytes=int(record.usage["peak_rss_bytes"]),
        )


def _quickest(units: tuple[UnitWork, ...], again: tuple[UnitWork, ...]) -> tuple[UnitWork, ...]:
    """Each unit with the shorter times of two runs, where they are the same units; what an operator loads, it loads once."""
    if [(unit.stage, unit.first, unit.stop) for unit in units] != [(unit.stage, unit.first, unit.stop) for unit in again]:
        return units
    return tuple(_quicker(one, other) for one, other in zip(units, again, strict=True))


def _quicker(one: UnitWork, other: UnitWork) -> UnitWork:
    operators = {name: min(seconds, other.operators.get(name, seconds)) for name, seconds in one.operators.items()}
    own = min(unit.seconds - sum(unit.operators.values()) for unit in (one, other))
    return replace(one, operators=operators, seconds=own + sum(operators.values()))


def _learned(committed: Sequence[Committed], manifest: Mapping[str, Any]) -> dict[str, Learned]:
    """What learning took; the records of several operators of one stage are not told apart, so each gets its share by bytes."""
    entries = manifest.get("learned", ())
    seconds = [float(one.record.usage["seconds"]) for one in committed if one.record.kind in ("sample", "learn")]
    sizes = {str(entry["operator"]): int(entry["sample_bytes"]) for entry in entries}
    total = max(sum(sizes.values()), 1)
    return {name: Learned(sum(seconds) * size / total, size) for name, size in sizes.items()}
