"""The real engine on a few documents: the plan of a pipeline, with its exchanges, in this process and a folder that goes when it ends.

Owns what differs from the real run: where documents come from and go to, and that nothing stops it. Nothing is written anywhere else.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from operators.base import Operator
from operators.dedup import DedupOperator
from pipelines.chain import Observer, observed_by
from pipelines.config import PipelineConfig
from pipelines.exchange import Limits
from pipelines.executors import Started, executor_for
from pipelines.formats import ReadOptions
from pipelines.history_rows import reading_for
from pipelines.identity import PREFIX_BYTES
from pipelines.inventory import take_inventory
from pipelines.prepare import Prepared, prepare
from pipelines.progress import Silent, Watch
from pipelines.recall import prefix_words
from pipelines.run import Run
from pipelines.settings import InputConfig, OutputConfig
from pipelines.settings_cluster import InlineCluster
from pipelines.storage import Sources, Store, open_store

MIN_SHARD_BYTES: Final = 4 << 20
"""Smaller shards, if the pipeline asks for them, would make thousands of files of a sample."""
NAME: Final = "sample.parquet"
TABLES: Final = ("dropped", "duplicates", "quarantine")


@dataclass(frozen=True)
class SampleRun:
    """What the engine made of some documents.

    Attributes:
        store: The temporary output; gone when the run is.
        manifest: That of the temporary output.
        uri: The file that the documents were read from; row i of it is row i of the table that was given.
        dropped: The table of dropped documents, with their columns as they were then; `row` is the row of the table.
        duplicates: What group operators removed, by `doc_key`.
        quarantine: Rows that could not be processed; `row` as in `dropped`.
        output: The documents that stayed, in order.
        wall_seconds: Of the whole run.
    """

    store: Store
    manifest: Mapping[str, Any]
    uri: str
    dropped: pa.Table
    duplicates: pa.Table
    quarantine: pa.Table
    output: pa.Table
    wall_seconds: float


@contextmanager
def run_sample(
    config: PipelineConfig,
    prepared: Prepared,
    documents: pa.Table,
    *,
    group_rows: int = 1000,
    observer: Observer | None = None,
    watch: Watch | None = None,
) -> Iterator[SampleRun]:
    """Run the pipeline on some documents, in the order in which they are; the folder that it runs in is there for the time of the context.

    Args:
        config: The pipeline.
        prepared: What was found out for its real run: columns, assets; also what earlier runs left, if it is to be compared with that.
        documents: Has the columns of the inventory, and ids where the input has none.
        group_rows: Rows in a row group of the file that is read.
        observer: Told what operators do.
        watch: Told how far it is.

    Raises:
        ShardmillError: What would stop the real run, too, but for limits on what is quarantined or removed.
    """
    with tempfile.TemporaryDirectory(prefix="shardmill-dry-run-") as folder:
        with ExitStack() as stack:
            if observer is not None:
                stack.enter_context(observed_by(observer))
            if prepared.ingredients.history is not None:
                prefixes = np.frombuffer(prepared.inventory.prefixes(), np.uint8).reshape(-1, PREFIX_BYTES)
                stack.enter_context(reading_for(prefix_words(prefixes)))
            made = _Sample(config, prepared, Path(folder)).run(documents, group_rows, watch or Silent())
        yield made  # whoever observed this run must not observe others meanwhile


class _Sample:
    """One run in a temporary folder."""

    def __init__(self, config: PipelineConfig, prepared: Prepared, folder: Path) -> None:
        self._prepared = prepared
        self._file = folder / "input" / NAME
        self._config = for_sample(config, self._file, folder / "output")

    def run(self, documents: pa.Table, group_rows: int, watch: Watch) -> SampleRun:
        self._file.parent.mkdir()
        pq.write_table(documents, self._file, row_group_size=max(group_rows, 1))
        started = time.monotonic()
        store = open_store(self._config.output.uri, self._config.output.storage_options)
        with executor_for(self._config) as executor:
            made = Run(self._config, store, executor, watch, Limits(), shows_documents=False).finish(self._ready(executor))
        return self._result(store, made.manifest, time.monotonic() - started)

    def _ready(self, executor: Started) -> Prepared:
        """What is known of the sample: what the real run's preparation found out, unless operators or columns are others."""
        source, ingredients = self._config.input, self._prepared.ingredients
        options = ReadOptions("parquet", source.text_column, source.id_column, ())
        inventory = take_inventory(Sources(), [str(self._file)], options)
        if not inventory.schema.equals(ingredients.schemas[0]) or len(self._config.operators) != len(ingredients.config.operators):
            found = prepare(self._config, executor)
        else:
            options = replace(ingredients.options, format="parquet", path_columns=())
            found = Prepared(inventory, replace(ingredients, options=options, made_id=False, taken_out=None))
        # The run itself knows no history, so that it leaves nothing there; what it compares with are the ingredients.
        config = self._config.model_copy(update={"history": None if ingredients.history is None else ingredients.history.uri})
        return replace(found, ingredients=replace(found.ingredients, config=config, history=ingredients.history))

    def _result(self, store: Store, manifest: Mapping[str, Any], wall_seconds: float) -> SampleRun:
        shards = _table(store, f"versions/{manifest['version']}/shards.parquet")["path"].to_pylist()
        tables = {name: [file["path"] for file in manifest["tables"][name]["files"]] for name in TABLES}
        dropped, duplicates, quarantine, output = (_joined(store, paths) for paths in (*tables.values(), shards))
        return SampleRun(store, manifest, str(self._file), dropped, duplicates, quarantine, output, wall_seconds)


def _joined(store: Store, paths: Sequence[str]) -> pa.Table:
    return pa.concat_tables([_table(store, path) for path in paths])


def _table(store: Store, path: str) -> pa.Table:
    return pq.read_table(pa.BufferReader(store.read(path)), use_threads=False)


def for_sample(config: PipelineConfig, file: Path, output: Path) -> PipelineConfig:
    """The pipeline as it is run on a sample: the same operators and seed, in this process, from one file and without partitions.

    Rows that cannot be processed are counted instead of stopping it, and so is what guards would stop the run for. Documents of one file
    have no folders to tell their sources by, so the guard that asks for them is off.
    """
    source: InputConfig = config.input.model_copy(update={"uri": (str(file),), "format": "parquet", "path_columns": ()})
    target: OutputConfig = config.output.model_copy(
        update={
            "uri": str(output),
            "target_shard_bytes": max(config.output.target_shard_bytes, MIN_SHARD_BYTES),
            "partition_by": (),
            "dropped": True,
        }
    )
    execution = config.execution.model_copy(
        update={"on_error": "quarantine", "max_quarantined_fraction": 1.0, "keep_intermediates": "none", "unit_bytes": "auto"}
    )
    return config.model_copy(
        update={
            "input": source,
            "output": target,
            "execution": execution,
            "operators": tuple(map(_without_stops, config.operators)),
            "cluster": InlineCluster(type="inline"),
            "history": None,
            "publish": None,
            "schedule": None,
        }
    )


def _without_stops(operator: Operator) -> Operator:
    if not isinstance(operator, DedupOperator):
        return operator
    changed: dict[str, Any] = {"on_breach": "warn"}
    if operator.guards.source_column is None:
        changed["max_source_share"] = None
    return operator.model_copy(update={"guards": operator.guards.model_copy(update=changed)})
