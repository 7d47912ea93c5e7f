"""Versions to compare, made by runs of small pipelines, and what their files say when they are read plainly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
from corpora import config_of, documents, write_parquet

from pipelines.difference_documents import DocumentsDifference, compare_documents
from pipelines.identity import uri_prefix
from pipelines.run import run
from pipelines.storage import open_store
from pipelines.verify_manifest import Finished

LENIENT = {"max_quarantined_fraction": 1.0}


def finished(root: Path, version: str) -> Finished:
    store = open_store(str(root))
    return Finished(store, orjson.loads(store.read(f"versions/{version}/manifest.json")), version, is_current=False)


def ids_of(one: Finished) -> list[str]:
    """The `id` of every document, read back from the shards."""
    root = Path(one.store.uri)
    paths = pq.read_table(root / one.folder / "shards.parquet")["path"].to_pylist()
    return [name for path in paths for name in pq.ParquetFile(root / path).read(["id"])["id"].to_pylist()]


def files_of(one: Finished) -> dict[bytes, tuple[str, int, str]]:
    """Address, size and etag of the input files, by the prefix of their documents' keys."""
    table = pq.read_table(Path(one.store.uri) / one.manifest["input"]["inventory"], columns=["uri", "size", "etag"])
    return {uri_prefix(row["uri"]): (row["uri"], row["size"], row["etag"]) for row in table.to_pylist()}


def side(one: Finished) -> dict[str, tuple[str, str, str]]:
    """Table, operator and reason of every lost document, by its key in hexadecimal."""
    found = {}
    for table, reason in (("dropped", "reason"), ("quarantine", "error")):
        for file in one.manifest["tables"][table]["files"]:
            for row in pq.read_table(Path(one.store.uri) / file["path"]).to_pylist():
                found[row["doc_key"].hex()] = ("dropped" if table == "dropped" else "quarantined", row["operator"], row[reason])
    return found


@dataclass
class Two:
    """Two versions of one output."""

    root: Path
    old: Finished
    new: Finished

    def compared(self) -> DocumentsDifference:
        return compare_documents(self.old, self.new)

    def damaged(self, path: str) -> None:
        (self.root / path).unlink()


def two(root: Path, first: dict[str, Any], second: dict[str, Any], between: Callable[[], object] = lambda: None) -> Two:
    """Run `root/in` twice; each run's sections as `config_of` takes them."""
    found = []
    for sections in (first, second):
        given = {"operators": [], "execution": LENIENT, **sections}
        steps = given.pop("operators")
        limit = given.pop("limit", None)
        result = run(config_of(root / "p.yaml", f"{root}/in/", root / "out", steps, **given), limit=limit)
        found.append(finished(root / "out", result.manifest["version"]))
        between()
    assert [one.version for one in found] == ["v1", "v2"]
    return Two(root / "out", *found)


def changed_threshold(root: Path) -> Two:
    """A filter that drops more than it did, over documents with ids of their own that repeat."""
    for number in range(2):
        write_parquet(root / "in" / f"{number}.parquet", documents(60, seed=number, prefix="same"))
    return two(
        root,
        {"operators": [{"type": "length_filter", "min_chars": 3}]},
        {"operators": [{"type": "length_filter", "min_chars": 60}]},
    )
