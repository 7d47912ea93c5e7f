"""The version that documents are taken out of, as far as finding them needs: its shards, its tables, and the rows that they came from.

Owns how a version is opened for a takedown. Everything is read from its files and the inventory that it names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from pipelines.errors import InputError, NotFound, shown
from pipelines.flattening import Flat, flattened
from pipelines.inventory import Inventory
from pipelines.lineage import followed
from pipelines.objectfile import opened_parquet
from pipelines.results import described_table, inventory_path
from pipelines.rows import Ints
from pipelines.storage import Store
from pipelines.takedown_places import Places
from pipelines.unit import MADE_ID
from pipelines.verify_manifest import shape_problems
from pipelines.version import MANIFEST

BATCH_ROWS: Final = 1 << 17
MAX_PROBLEMS: Final = 5
"""Of a manifest that is damaged, told at most."""
SETTINGS: Final = {"input": ("format", "text_column", "id_column"), "output": ("compression",)}
"""Of the pipeline that made the version, what a takedown goes by."""
LOST_TABLES: Final = ("dropped", "quarantine")


@dataclass(frozen=True)
class Base:
    """A finished version.

    Of one that was ingested everything is told of all versions that it is made of, as if one run had made it.

    Attributes:
        content: Its manifest as it is stored.
        shards: Its table of shards.
        inventory: Of the run whose rows its ledger accounts for; the files of all versions, in order.
        flat: What it tells of all these.
        histories: Where their runs left the keys of their documents, each once.
    """

    store: Store
    content: bytes
    shards: pa.Table
    inventory: Inventory
    flat: Flat
    histories: tuple[str, ...]

    @classmethod
    def current(cls, store: Store) -> Base:
        """The current version of an output.

        Raises:
            NotFound: Nothing is finished, or an inventory is not in this copy.
            InputError: Its manifest is damaged, its table of shards is not the one of that, or a version that it is made of is not here.
        """
        content = read_manifest(store)
        manifest = orjson.loads(content)
        shards = described_table(store, manifest, "shards").combine_chunks()
        manifests = followed(store, manifest)
        inventories = [_inventory(store, one) for one in reversed(manifests)]
        inventory = inventories[0] if len(inventories) == 1 else Inventory.joined(inventories)
        flat = flattened(manifests)
        if len(inventories) > 1:
            flat.manifest["input"] |= _told(inventory)
        histories = dict.fromkeys(uri for one in manifests if (uri := one["config"].get("history")) is not None)
        found = cls(store, content, shards, inventory, flat, tuple(histories))
        found.check()
        return found

    @property
    def manifest(self) -> dict[str, Any]:
        """Its manifest; of one that was ingested what it would be if one run had made it and all that it is made of."""
        return self.flat.manifest

    @property
    def sha256(self) -> str:
        """Digest of the manifest."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def config(self) -> Mapping[str, Any]:
        """The pipeline that made it, without its secrets."""
        config: Mapping[str, Any] = self.manifest["config"]
        return config

    @property
    def folder(self) -> str:
        """Where its tables lie."""
        return f"versions/{self.manifest['version']}"

    @property
    def covers(self) -> list[str]:
        """The versions whose shards the ledger accounts for: its own, what takedowns went on from, and what ingestions added to."""
        return self.flat.covers

    @cached_property
    def paths(self) -> list[str]:
        """Paths of all shards, in order."""
        paths: list[str] = self.shards.column("path").to_pylist()
        return paths

    @cached_property
    def covered(self) -> Ints:
        """Positions of the shards that the ledger accounts for."""
        known = set(self.covers)
        return np.array([at for at, path in enumerate(self.paths) if path.split("/")[1] in known], np.int64)

    @cached_property
    def starts(self) -> Ints:
        """Rows of the covered shards before each of them, and of all together."""
        rows = self.shards.column("rows").to_numpy()[self.covered]
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(rows)])

    @cached_property
    def places(self) -> Places:
        """Rows of the input and of the shards."""
        return Places(self.inventory, self.lost_keys)

    def folders_of(self, numbers: Ints) -> set[str]:
        """The folders of the files that rows of the input are in."""
        files = np.unique(self.places.files_of(numbers)).tolist()
        return {self.inventory.identity(file)[0].rpartition("/")[0] for file in files}

    def lost_keys(self) -> Iterator[pa.FixedSizeBinaryArray]:
        """The doc_keys of what the version has lost."""
        for name in LOST_TABLES:
            for _, _, batch in self.side_batches(name, ["doc_key"]):
                yield batch.column(0)

    def side_files(self, name: str) -> list[dict[str, Any]]:
        """The files of a side table, as the manifest tells them."""
        return list(self.manifest["tables"][name]["files"])

    def side_batches(self, name: str, columns: list[str] | None) -> Iterator[tuple[str, int, pa.RecordBatch]]:
        """The rows of a side table: path of the file, number of the batch's first row in it, and the batch."""
        for file in self.side_files(name):
            first = 0
            with opened_parquet(self.store, file["path"]) as reader:
                for group in range(reader.num_row_groups):
                    for batch in reader.iter_batches(BATCH_ROWS, [group], columns=columns, use_threads=False):
                        yield file["path"], first, batch if columns is None else batch.select(columns)
                        first += batch.num_rows

    # --- ids

    @property
    def own_ids(self) -> str | None:
        """The column of the input with the users' ids; None if it has none."""
        name = self.config["input"]["id_column"]
        schema = self.inventory.schema
        return name if name in schema.names and not pa.types.is_nested(schema.field(name).type) else None

    @property
    def has_made_ids(self) -> bool:
        """Whether the ids are the doc_keys, made as the input was read."""
        return self.own_ids is None and MADE_ID not in self.inventory.schema.names

    @property
    def id_column(self) -> str | None:
        """The column of the shards that has the ids; None if none has."""
        name = self.own_ids if self.own_ids is not None else MADE_ID if self.has_made_ids else None
        kinds = {column["name"]: str(column["type"]) for column in self.manifest["schema"]}
        return name if name in kinds and not kinds[name].startswith(("list", "large_list", "struct", "map", "fixed_size_list")) else None

    @property
    def is_partitioned(self) -> bool:
        """Whether rows of the shards stand by partition, not in the inventory's order."""
        return bool(self.config["output"].get("partition_by"))

    def check(self) -> None:
        """Prove that rows can be counted as `Places` does.

        Raises:
            InputError: The ledger does not account for the rows of the shards.
        """
        ledger = self.manifest["ledger"]
        if (self.inventory.rows, int(self.starts[-1])) != (ledger["rows_in"], ledger["rows_out"]):
            raise InputError(
                f"{self.store.uri}: {self.manifest['version']}: the inventory has {self.inventory.rows} rows and the shards "
                f"{int(self.starts[-1])}, but the ledger says {ledger['rows_in']} in and {ledger['rows_out']} out; "
                f"`shardmill verify {self.store.uri}` says more"
            )


def read_manifest(store: Store) -> bytes:
    """The current manifest of an output, which has everything that one must have.

    Raises:
        NotFound: Nothing is finished.
        InputError: It is damaged.
    """
    try:
        content = store.read(MANIFEST)
    except NotFound as error:
        raise NotFound(f"{store.uri}: no manifest.json: nothing is finished here; run the pipeline, or check the address") from error
    problems = [problem.message for problem in islice(shape_problems(MANIFEST, content, None), MAX_PROBLEMS)]
    problems += [] if problems else _config_problems(orjson.loads(content)["config"])
    if problems:
        raise InputError(f"{store.locate(MANIFEST)}: it is no whole manifest: {shown('; '.join(problems))}; restore it from a copy")
    return content


def _config_problems(config: Mapping[str, Any]) -> list[str]:
    """What is missing of the settings that a takedown goes by."""
    found = []
    for section, names in SETTINGS.items():
        settings = config.get(section)
        known = settings if isinstance(settings, Mapping) else {}
        found += [f"config.{section}.{name} is missing" for name in names if name not in known]
    return found


def _inventory(store: Store, manifest: Mapping[str, Any]) -> Inventory:
    path = manifest["input"]["inventory"]
    try:
        return Inventory.load(store, path)
    except NotFound as error:
        raise NotFound(
            f"{store.locate(path)}: the inventory is not in this copy of the output; it tells which rows documents are. Take them out of "
            "the output itself"
        ) from error


def _told(inventory: Inventory) -> dict[str, Any]:
    """What a manifest tells of the input of several versions; a file that could be read only later is counted once."""
    unreadable = [{"uri": uri, "error": error, "message": message} for uri, error, message in inventory.unreadable]
    return {
        "files": inventory.num_files,
        "rows": inventory.rows,
        "bytes": inventory.num_bytes,
        "unreadable_files": len(unreadable),
        "unreadable": unreadable,
        "inventory": inventory_path(inventory),
    }
