"""An output that grows: its input, to which files come, and ingestions of it in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from corpora import Output, output_of, prove
from history_made import KINDS, SCHEMA, corpus

from pipelines.config import PipelineConfig, load
from pipelines.exchange import Limits
from pipelines.ingest import IngestResult, ingest
from pipelines.run import RunResult, run
from pipelines.storage import open_store

ALL = KINDS["all"]


@dataclass
class Growing:
    """A pipeline below one folder. Files that are written get times that only grow, so that each content has an etag of its own."""

    root: Path
    operators: Sequence[Mapping[str, Any]] = ()
    sections: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits | None = None
    _clock: int = 1_700_000_000

    def __post_init__(self) -> None:
        (self.root / "in").mkdir(parents=True, exist_ok=True)

    @property
    def input(self) -> Path:
        return self.root / "in"

    @property
    def target(self) -> Path:
        return self.root / "out"

    def arrives(self, name: str, rows: Sequence[Mapping[str, Any]] = (), schema: pa.Schema = SCHEMA) -> Path:
        """A file comes into the input, or another with the same name takes its place."""
        path = self.input / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, row_group_size=9)
        self._clock += 1
        os.utime(path, (self._clock, self._clock))
        return path

    def file(self, target: Path | None = None, **changes: Any) -> Path:
        """The pipeline's file; changes replace whole sections."""
        made: dict[str, Any] = {
            "name": "growing",
            "input": {"uri": f"{self.input}/*.parquet"},
            "operators": list(self.operators),
            "output": {"uri": str(target or self.target)},
            "execution": {"unit_bytes": "4KiB", "batch_bytes": "2KiB"},
            "cluster": {"type": "inline"},
            **self.sections,
            **changes,
        }
        path = self.root / f"{(target or self.target).name}.yaml"
        path.write_text(json.dumps(made))
        return path

    def config(self, target: Path | None = None, **changes: Any) -> PipelineConfig:
        return load(self.file(target, **changes))

    def ingest(self, *, backfill: bool = False, **changes: Any) -> IngestResult:
        return ingest(self.config(**changes), backfill=backfill, limits=self.limits)

    def run(self, target: Path | None = None, **changes: Any) -> RunResult:
        """A plain run over all that is there."""
        return run(self.config(target, **changes), limits=self.limits)

    def output(self, target: Path | None = None) -> Output:
        return output_of(target or self.target)

    def rows(self, target: Path | None = None, *columns: str) -> list[tuple[Any, ...]]:
        """Documents in the order of the shards."""
        return [tuple(row[column] for column in columns or ("id", "text")) for row in self.output(target).rows()]

    def manifest(self, version: str | None = None) -> dict[str, Any]:
        store = open_store(str(self.target))
        found: dict[str, Any] = json.loads(store.read("manifest.json" if version is None else f"versions/{version}/manifest.json"))
        return found

    def prove(self) -> None:
        prove(self.output())


def batches(number: int, size: int = 12, seed: int = 0) -> list[list[dict[str, Any]]]:
    """Documents for some files, of which many are alike across files."""
    made = corpus(number * size, seed)
    return [made[at * size : (at + 1) * size] for at in range(number)]
