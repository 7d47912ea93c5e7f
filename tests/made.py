"""Makes small finished outputs by the contract alone (DESIGN 9 and 10), without the engine, whole or with a lie in them.

Documents are told as rows of Python values; `Output.write` computes every sum, digest and key of the contract from them. So a test changes
what the rows say and gets an output that is consistent with that, or writes one and damages its files afterwards.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.card import card
from pipelines.storage import Store
from pipelines.version import replace_any

DOCUMENTS = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("input_ids", pa.list_(pa.int32())), ("num_tokens", pa.int64())])
KEY = pa.binary(16)
SIDE = {
    "dropped": [("doc_key", KEY), ("id", "string"), ("uri", "string"), ("row", "int64"), ("operator", "string"), ("reason", "string")],
    "duplicates": [
        ("doc_key", KEY),
        ("id", "string"),
        ("operator", "string"),
        ("kept_doc_key", KEY),
        ("kept_id", "string"),
        ("similarity", "float32"),
        ("num_duplicates", "int64"),
    ],
    "quarantine": [
        ("doc_key", KEY),
        ("id", "string"),
        ("uri", "string"),
        ("row_group", "int32"),
        ("row", "int64"),
        ("operator", "string"),
        ("error", "string"),
        ("message", "string"),
    ],
}
PLAN = "0a1b2c3d4e5f6071"
INVENTORY = "_shardmill/inventories/0123456789abcdef.parquet"
Place = tuple[int, int]
"""A document: its file's position among the inputs, and its row there."""


def parquet(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def with_digests(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Files as the manifest lists them."""
    rows = {path: pq.read_metadata(io.BytesIO(data)).num_rows for path, data in files.items()}
    return [{"path": path, "rows": rows[path], "bytes": len(data), "sha256": sha256(data)} for path, data in files.items()]


@dataclass
class Output:
    """What an output is about. The defaults: 16 documents of two files, of which 7 are lost in every way there is.

    Attributes:
        inputs: (uri, rows of each row group); no row groups: it could not be read.
        operators: In order.
        dropped: (document, operator, reason).
        quarantined: (document, operator, error).
        duplicates: (document, operator, kept document, num_duplicates, similarity).
        shards: Folder below `data/<version>/` and documents of each.
        edit: Changes the manifest before it is written, in both places.
    """

    version: str = "v1"
    inputs: list[tuple[str, list[int]]] = field(
        default_factory=lambda: [("/raw/a.parquet", [6, 4]), ("/raw/b.parquet", [6]), ("/raw/c.parquet", [])]
    )
    operators: list[tuple[str, str]] = field(
        default_factory=lambda: [
            ("short", "length_filter"),
            ("exact_dedup", "exact_dedup"),
            ("url", "exact_dedup"),
            ("tokenize", "tokenize"),
        ]
    )
    dropped: list[tuple[Place, str, str]] = field(
        default_factory=lambda: [
            ((0, 1), "short", "too_short"),
            ((0, 2), "short", "too_short"),
            ((0, 5), "exact_dedup", "exact_duplicate"),
            ((1, 2), "exact_dedup", "exact_duplicate"),
            ((0, 3), "url", "exact_duplicate"),
        ]
    )
    quarantined: list[tuple[Place, str, str]] = field(
        default_factory=lambda: [((0, 7), "read", "null_text"), ((1, 5), "tokenize", "too_odd")]
    )
    duplicates: list[tuple[Place, str, Place, int, float]] = field(
        default_factory=lambda: [
            ((0, 5), "exact_dedup", (0, 3), 2, 1.0),
            ((1, 2), "exact_dedup", (0, 3), 2, 1.0),
            ((0, 3), "url", (1, 0), 1, 1.0),
        ]
    )
    shards: list[tuple[str, list[Place]]] = field(
        default_factory=lambda: [
            ("", [(0, 0), (0, 4), (0, 6)]),
            ("", [(0, 8), (0, 9), (1, 0)]),
            ("1/language=en", [(1, 1), (1, 3)]),
            ("language=de", [(1, 4)]),
        ]
    )
    edit: Callable[[dict[str, Any]], None] | None = None

    # --- the contract, written out

    def key(self, place: Place) -> bytes:
        """doc_key: 80 bits of the uri's SHA-256, then the row in 48 bits."""
        file, row = place
        return hashlib.sha256(self.inputs[file][0].encode()).digest()[:10] + row.to_bytes(6, "big")

    def _common(self, place: Place) -> dict[str, Any]:
        file, row = place
        return {"doc_key": self.key(place), "id": f"id-{file}-{row}", "uri": self.inputs[file][0], "row": row}

    def tables(self) -> dict[str, pa.Table]:
        """The side tables."""
        rows: dict[str, list[dict[str, Any]]] = {
            "dropped": [{**self._common(place), "operator": operator, "reason": reason} for place, operator, reason in self.dropped],
            "duplicates": [
                {
                    **self._common(place),
                    "operator": operator,
                    "kept_doc_key": self.key(kept),
                    "kept_id": f"id-{kept[0]}-{kept[1]}",
                    "similarity": similarity,
                    "num_duplicates": number,
                }
                for place, operator, kept, number, similarity in self.duplicates
            ],
            "quarantine": [
                {**self._common(place), "row_group": 0, "operator": operator, "error": error, "message": "it is odd"}
                for place, operator, error in self.quarantined
            ],
        }
        return {name: pa.Table.from_pylist(rows[name], schema=pa.schema(columns)) for name, columns in SIDE.items()}

    def table_files(self) -> dict[str, dict[str, bytes]]:
        """The files of the side tables: two of the dropped, one of each other."""
        made = {}
        for name, table in self.tables().items():
            cuts = [0, table.num_rows // 2, table.num_rows] if name == "dropped" else [0, table.num_rows]
            pieces = [table.slice(start, stop - start) for start, stop in pairwise(cuts)]
            made[name] = {self._table_path(name, number): parquet(piece) for number, piece in enumerate(pieces)}
        return made

    def _table_path(self, name: str, number: int) -> str:
        return f"versions/{self.version}/{name}/part-{number:05d}-{PLAN[:8]}.parquet"

    def shard_files(self) -> dict[str, bytes]:
        """The shards."""
        made = {}
        for number, (folder, places) in enumerate(self.shards):
            rows = [
                {"id": f"id-{file}-{row}", "text": f"Document {row} of {file}", "input_ids": [*range(row + 1)], "num_tokens": row + 1}
                for file, row in places
            ]
            path = "/".join(part for part in ("data", self.version, folder, f"part-{number:05d}-{PLAN[:8]}.parquet") if part)
            made[path] = parquet(pa.Table.from_pylist(rows, schema=DOCUMENTS))
        return made

    def inventory(self) -> bytes:
        """The saved inventory."""
        rows = [
            {
                "uri": uri,
                "size": 1000,
                "etag": f"etag-{number}",
                "format": "parquet",
                "schema": 0,
                "error": None if groups else "truncated_parquet",
                "message": None if groups else "it is cut off",
                "row_groups": [{"rows": rows, "offset": 4, "length": 100, "num_bytes": 200} for rows in groups],
            }
            for number, (uri, groups) in enumerate(self.inputs)
        ]
        group = pa.struct([(name, pa.int64()) for name in ("rows", "offset", "length", "num_bytes")])
        names = [
            ("uri", pa.large_string()),
            ("size", pa.int64()),
            ("etag", pa.large_string()),
            ("format", pa.string()),
            ("schema", pa.int32()),
        ]
        schema = pa.schema([*names, ("error", pa.string()), ("message", pa.string()), ("row_groups", pa.list_(group))])
        return parquet(pa.Table.from_pylist(rows, schema=schema))

    def manifest(self, shards: dict[str, bytes], shards_table: bytes, tables: dict[str, dict[str, bytes]]) -> dict[str, Any]:
        """The manifest."""
        unreadable = [uri for uri, groups in self.inputs if not groups]
        num_rows = sum(sum(groups) for _, groups in self.inputs)
        listed = {name: with_digests(files) for name, files in tables.items()}
        return {
            "manifest_version": 1,
            "name": "made",
            "version": self.version,
            "run_id": PLAN,
            "created_at": "2026-01-31T12:00:00Z",
            "fingerprints": {"config": "c", "inputs": "i", "code": "k"},
            "config": {"history": None},
            "environment": {"python": "3.11.7", "packages": {"pyarrow": pa.__version__}},
            "input": {
                "uri": "/raw/*.parquet",
                "files": len(self.inputs),
                "rows": num_rows,
                "bytes": 1000 * len(self.inputs),
                "unreadable_files": len(unreadable),
                "unreadable": [{"uri": uri, "error": "truncated_parquet", "message": "it is cut off"} for uri in unreadable],
                "inventory": INVENTORY,
            },
            "ledger": {
                "rows_in": num_rows,
                "rows_out": sum(len(places) for _, places in self.shards),
                "dropped": self._dropped_by_reason(),
                "quarantined": dict(Counter(error for _, _, error in self.quarantined)),
            },
            "operators": self._operators(num_rows),
            "output": {
                "shards": len(shards),
                "rows": sum(len(places) for _, places in self.shards),
                "bytes": sum(map(len, shards.values())),
                "tokens": sum(row + 1 for _, places in self.shards for _, row in places),
            },
            "tokens": self._tokens(),
            "documents": self._documents(),
            "tables": {
                "shards": {"rows": len(shards), "sha256": sha256(shards_table)},
                **{
                    name: {"rows": sum(file["rows"] for file in files), "sha256": self._files_digest(files), "files": files}
                    for name, files in listed.items()
                },
            },
            "schema": [{"name": column.name, "type": str(column.type), "nullable": column.nullable} for column in DOCUMENTS],
            "parents": [],
            "licence": None,
        }

    def _tokens(self) -> dict[str, Any]:
        places = [place for _, places in self.shards for place in places]
        whole = {"documents": len(places), "tokens": sum(row + 1 for _, row in places)}
        columns = {"source_column": None, "language_column": None}
        return {"total": whole["tokens"], **columns, "by_source": {"/raw": whole}, "by_language": None}

    def _documents(self) -> dict[str, Any]:
        """The profile: all texts have 15 bytes, as `Document 0 of 0`."""
        number = sum(len(places) for _, places in self.shards)
        whole = {"documents": number, "text_bytes": 15 * number}
        return {
            "text_column": "text",
            "language_column": None,
            "text_bytes": 15 * number,
            "null_texts": 0,
            "lengths": [{"from_bytes": 8, "below_bytes": 16, **whole}],
            "by_language": None,
        }

    def _dropped_by_reason(self) -> dict[str, dict[str, int]]:
        counted: dict[str, dict[str, int]] = {}
        for (operator, reason), number in Counter((operator, reason) for _, operator, reason in self.dropped).items():
            counted.setdefault(operator, {})[reason] = number
        return counted

    def _operators(self, num_rows: int) -> list[dict[str, Any]]:
        lost = Counter([operator for _, operator, _ in self.dropped] + [operator for _, operator, _ in self.quarantined])
        arriving = num_rows - lost["read"]
        made = []
        for name, kind in self.operators:
            leaving = arriving - lost[name]
            made.append({"name": name, "type": kind, "settings": {}, "rows_in": arriving, "rows_out": leaving, "seconds": 0.5})
            arriving = leaving
        return made

    @staticmethod
    def _files_digest(files: Sequence[dict[str, Any]]) -> str:
        lines = [f"{file['sha256']}  {file['path']}\n" for file in sorted(files, key=lambda file: file["path"])]
        return sha256("".join(lines).encode())

    def write(self, store: Store) -> dict[str, Any]:
        """Write the output and make its version the current one; returns the manifest."""
        shards, tables = self.shard_files(), self.table_files()
        tokens = [sum(row + 1 for _, row in places) for _, places in self.shards]
        table = parquet(shards_table(shards, tokens))
        manifest = self.manifest(shards, table, tables)
        if self.edit is not None:
            self.edit(manifest)
        folder = f"versions/{self.version}"
        content = orjson.dumps(manifest, option=orjson.OPT_INDENT_2)
        files = {**shards, **{path: data for of_table in tables.values() for path, data in of_table.items()}}
        files |= {f"{folder}/shards.parquet": table, f"{folder}/report.html": b"<html></html>", f"{folder}/manifest.json": content}
        files |= {INVENTORY: self.inventory(), "README.md": card(manifest).encode(), "manifest.json": content}
        for path, data in files.items():
            replace_any(store, path, data)
        return manifest


def shards_table(shards: dict[str, bytes], tokens: Sequence[int | None]) -> pa.Table:
    """shards.parquet as a table."""
    rows = [{**file, "num_tokens": number} for file, number in zip(with_digests(shards), tokens, strict=True)]
    names = [("path", "string"), ("rows", "int64"), ("bytes", "int64"), ("sha256", "string"), ("num_tokens", "int64")]
    return pa.Table.from_pylist(rows, schema=pa.schema(names))


def rewrite_manifest(store: Store, edit: Callable[[dict[str, Any]], None], version: str = "v1") -> None:
    """Change the manifest in both places."""
    manifest = orjson.loads(store.read(f"versions/{version}/manifest.json"))
    edit(manifest)
    for path in ("manifest.json", f"versions/{version}/manifest.json"):
        replace_any(store, path, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
