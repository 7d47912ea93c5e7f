"""Outputs that documents are taken out of: tombstones as tests write them, and projects whose runs must leave these documents out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from corpora import Output, config_of, finished, output_of, write_parquet

from pipelines.commit import sealed
from pipelines.config import PipelineConfig
from pipelines.identity import doc_keys, uri_prefix
from pipelines.inventory import Inventory
from pipelines.storage import Store, open_store
from pipelines.tombstones import TOMBSTONES, add_tombstones, content_hashes, load_tombstones, takedown_name, takedown_settings

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("secret", pa.string())])
LENGTH = {"type": "length_filter", "min_chars": 3}


def key_of(path: Path | str, row: int) -> bytes:
    """The doc_key of a row of a file."""
    key: bytes = doc_keys([uri_prefix(str(path))], np.zeros(1, np.int64), np.array([row]))[0].as_py()
    return key


def hash_of(text: str | None) -> bytes | None:
    """The hash by which a text is known again."""
    found: bytes | None = content_hashes(pa.array([text], pa.large_string()))[0].as_py()
    return found


def stone(key: bytes, etag: str | None = None, text: str | None = None, output: str | None = None) -> dict[str, Any]:
    """One row of tombstones."""
    return {"doc_key": key, "etag": etag, "content_hash": hash_of(text), "output_hash": hash_of(output)}


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of tombstones as a table."""
    return pa.Table.from_pylist(list(rows), schema=TOMBSTONES)


def rows_named(name: str, number: int, **changed: Any) -> list[dict[str, Any]]:
    """Documents whose texts nobody else has; `changed`: other texts by number (`_3="…"`)."""
    texts = {int(key.removeprefix("_")): text for key, text in changed.items()}
    return [{"id": f"{name}{n}", "text": texts.get(n, f"{name} says {n}"), "secret": f"secret of {name}{n}"} for n in range(number)]


@dataclass
class Project:
    """A pipeline over some files, in row groups of five rows and units of some of these."""

    folder: Path
    operators: list[Mapping[str, Any]] = field(default_factory=lambda: [LENGTH])
    sections: dict[str, Any] = field(default_factory=dict)
    target: str | None = None

    @property
    def source(self) -> Path:
        return self.folder / "in"

    @property
    def root(self) -> Path:
        return self.folder / "out"

    @property
    def config(self) -> PipelineConfig:
        sections = {"execution": {"unit_bytes": "1KiB", "batch_bytes": "1KiB"}, **self.sections}
        return config_of(self.folder / "p.yaml", f"{self.source}/", self.target or self.root, self.operators, **sections)

    @property
    def store(self) -> Store:
        return open_store(self.config.output.uri, self.config.output.storage_options)

    def save(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        return write_parquet(self.source / f"{name}.parquet", [dict(row) for row in rows], 5, SCHEMA)

    def run(self) -> Output:
        """Run, prove what it left, and return it; only of a local output."""
        return finished(self.config)

    def etag(self, name: str) -> str:
        """The etag of a file as the current version's inventory has it."""
        manifest = json.loads(self.store.read("manifest.json"))
        inventory = Inventory.load(self.store, manifest["input"]["inventory"])
        etags = dict(inventory.identity(ordinal) for ordinal in range(inventory.num_files))
        return etags[str(self.source / f"{name}.parquet")]

    def stone(self, name: str, row: int, text: str | None = None, output: str | None = None) -> dict[str, Any]:
        """A tombstone of a row of a file as it is now."""
        return stone(key_of(self.source / f"{name}.parquet", row), self.etag(name), text, output)

    def strike(self, *stones: Mapping[str, Any]) -> str:
        return add_tombstones(self.store, table_of(stones))

    def taken_version(self, documents: int) -> dict[str, Any]:
        """What a takedown leaves of a manifest: a version with the same fingerprints, and an entry that covers all tombstones.

        The shards stay as they are: only what a later run makes of it is looked at.
        """
        store = self.store
        before = json.loads(store.read("manifest.json"))
        number = int(before["version"][1:]) + 1
        settings = takedown_settings(documents, "0" * 64, None, load_tombstones(store))
        rows = before["ledger"]["rows_out"]
        name = takedown_name(before["operators"])
        entry = {"name": name, "type": "takedown", "settings": settings, "rows_in": rows, "rows_out": rows, "seconds": 0.0}
        made = {**before, "version": f"v{number}", "operators": [*before["operators"], entry]}
        data = json.dumps(made).encode()
        store.create(f"_shardmill/versions/v{number}.json", sealed({"number": number, "plan": "p", "pack": "p", "state": "finished"}))
        store.create(f"versions/v{number}/manifest.json", data)
        _, etag = store.read_versioned("manifest.json")
        store.replace("manifest.json", data, etag=etag)
        return made


def texts(found: Output) -> list[str | None]:
    """The texts of an output, sorted."""
    return sorted(row["text"] for row in found.rows("text"))


def taken(found: Output) -> list[tuple[str, int]]:
    """File and row of every document that the drop table says was taken out."""
    return sorted(
        (Path(row["uri"]).stem, row["row"])
        for row in found.table("dropped")
        if (row["operator"], row["reason"]) == ("takedown", "taken_down")
    )


def copy_of(project: Project, name: str) -> Project:
    """The same input and settings with an output of its own, without tombstones."""
    other = Project(project.folder / name, project.operators, project.sections)
    shutil.copytree(project.source, other.source)
    return other


__all__ = ["LENGTH", "SCHEMA", "Project", "copy_of", "hash_of", "key_of", "output_of", "rows_named", "stone", "table_of", "taken", "texts"]
