"""What a run leaves: the side tables, the manifest and the card of a version.

Owns their shapes (DESIGN 9 and 10). Writing goes through the same jobs and commits as everything else.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from operators.base import Operator
from pipelines.commit import CommitLog, Part, digest
from pipelines.config import PipelineConfig
from pipelines.errors import InputError
from pipelines.fingerprint import versions
from pipelines.inventory import Inventory
from pipelines.layers import Layers
from pipelines.ledger import Ledger
from pipelines.pack import File, FileJob, Form, cut, shard_form, stretches, table_form
from pipelines.plan import Plan
from pipelines.recall import Snapshot
from pipelines.redaction import redact, redact_settings, redact_uri
from pipelines.rows import DUPLICATES, QUARANTINE
from pipelines.storage import Store
from pipelines.token_shards import TokenForm, TokenShards, works
from pipelines.tombstones import TAKEDOWN
from pipelines.version import Claim
from pipelines.work import Work

MANIFEST_VERSION: Final = 1
TABLES: Final = ("dropped", "duplicates", "quarantine")
TABLE_BYTES: Final = 512 << 20
FOLDER_FILES: Final = 5000
PACKAGES: Final = (
    "datasets",
    "datatrove",
    "fsspec",
    "numba",
    "numpy",
    "py3langid",
    "pyarrow",
    "pydantic",
    "ray",
    "s3fs",
    "shardmill",
    "tokenizers",
)
SHARDS: Final = pa.schema(
    [("path", pa.string()), ("rows", pa.int64()), ("bytes", pa.int64()), ("sha256", pa.string()), ("num_tokens", pa.int64())]
)

Complete = Callable[[CommitLog, Sequence[Work]], None]


@dataclass(frozen=True, slots=True)
class Packed:
    """A file of a version, with what its record says."""

    part: Part
    tokens: int | None

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """What a row of a version's table of shards says."""
        return cls(Part(row["path"], row["rows"], row["bytes"], row["sha256"]), row["num_tokens"])


class Packing:
    """Packs the documents and the side tables of a version."""

    def __init__(self, log: CommitLog, complete: Complete, plan: Plan, claim: Claim, config: PipelineConfig) -> None:
        self._log = log
        self._complete = complete
        self._plan = plan
        self._claim = claim
        self._config = config

    def shards(self, documents: Iterable[Layers]) -> list[Packed]:
        """Pack the documents into shards of `target_shard_bytes`."""
        form = shard_form(self._plan.output_schema, self._config.input.text_column, self._config.output.compression)
        files = self._files(documents, self._config.output.target_shard_bytes, self._shard_path)
        works = [self._work(file, form, "shard") for file in files]
        self._complete(self._log, works)
        return self._packed(works)

    def token_shards(self, shards: Sequence[Packed]) -> TokenShards | None:
        """Write the token shards beside the shards; None if the pipeline asks for none."""
        form = TokenForm.of(self._config)
        if form is None:
            return None
        wanted = works((shard.part for shard in shards), form)
        self._complete(self._log, wanted)
        return TokenShards.of(form, self._log.records(work.key for work in wanted))

    def tables(self, parts: Callable[[str], Iterable[Part]]) -> dict[str, list[Packed]]:
        """Pack the side tables; each has at least one file, so that its schema is there."""
        works = {name: list(self._table(name, parts(name))) for name in TABLES}
        self._complete(self._log, [work for some in works.values() for work in some])
        return {name: self._packed(some) for name, some in works.items()}

    def _table(self, name: str, parts: Iterable[Part]) -> Iterator[Work]:
        form = table_form(self.table_schema(name), self._config.input.text_column)
        files = self._files((Layers((part,)) for part in parts), TABLE_BYTES, lambda number, _: self._table_path(name, number))
        return (self._work(file, form, "table") for file in files)

    def table_schema(self, name: str) -> pa.Schema:
        """Schema of a side table."""
        if name == "dropped":
            return self._plan.stages[0].spec.drop_table.schema
        return DUPLICATES if name == "duplicates" else QUARANTINE

    def _files(self, documents: Iterable[Layers], target: int, path: Callable[[int, str], str]) -> Iterator[File]:
        found = stretches(documents) or {"": []}
        number = 0
        for label in sorted(found):
            for start, stop, touched in cut(found[label], target):
                yield File(path(number, label), start, stop, touched)
                number += 1

    def _shard_path(self, number: int, label: str) -> str:
        folder = f"data/{self._claim.name}"
        if number >= FOLDER_FILES:
            folder += f"/{number // FOLDER_FILES}"
        if label:
            folder += f"/{label}"
        return f"{folder}/part-{number:05d}-{self._plan.short}.parquet"

    def _table_path(self, name: str, number: int) -> str:
        return f"{self._claim.folder}/{name}/part-{number:05d}-{self._plan.short}.parquet"

    def _work(self, file: File, form: Form, kind: str) -> Work:
        size = min(file.stop - file.start, sum(sum(stretch.sizes) for stretch in file.stretches))
        return Work(digest("file", file.path, self._claim.pack), lambda: FileJob(file, form), 0, size, kind)

    def _packed(self, works: Sequence[Work]) -> list[Packed]:
        records = self._log.records(work.key for work in works)
        return [Packed(record.parts["file"], record.detail["tokens"]) for record in records if record.parts]


def shards_table(shards: Sequence[Packed]) -> bytes:
    """shards.parquet: the files of the version. `num_tokens` is null where nothing was tokenized."""
    columns = [
        [shard.part.path for shard in shards],
        [shard.part.rows for shard in shards],
        [shard.part.bytes for shard in shards],
        [shard.part.sha256 for shard in shards],
        [shard.tokens for shard in shards],
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=SHARDS), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def described_table(store: Store, manifest: Mapping[str, Any], name: str) -> pa.Table:
    """The table `shards` or `token_shards` of a version, which is the one that its manifest describes.

    Raises:
        InputError: It is another.
    """
    path = f"versions/{manifest['version']}/{name}.parquet"
    content = store.read(path)
    if hashlib.sha256(content).hexdigest() != manifest["tables"][name]["sha256"]:
        check = f"`shardmill verify {store.uri}` says more"
        raise InputError(f"{store.locate(path)}: it is not the table that the manifest describes; {check}")
    return pq.read_table(io.BytesIO(content), use_threads=False)


def files_digest(files: Iterable[tuple[str, str]]) -> str:
    """Digest of a table of several files: SHA-256 over the lines `sha256sum` would print for them, sorted by path."""
    lines = sorted((path, f"{sha}  {path}\n") for path, sha in files)
    return hashlib.sha256("".join(line for _, line in lines).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Tables:
    """The side tables of a version, as packed."""

    shards: Sequence[Packed]
    shards_sha256: str
    others: Mapping[str, Sequence[Packed]]
    tokens: TokenShards | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest: rows and digest of each; of tables of several files also the files."""
        described: dict[str, Any] = {"shards": {"rows": len(self.shards), "sha256": self.shards_sha256}}
        if self.tokens is not None:
            described["token_shards"] = self.tokens.described()
        for name, files in self.others.items():
            listed = [
                {"path": file.part.path, "rows": file.part.rows, "bytes": file.part.bytes, "sha256": file.part.sha256} for file in files
            ]
            described[name] = {
                "rows": sum(file.part.rows for file in files),
                "sha256": files_digest((file.part.path, file.part.sha256) for file in files),
                "files": listed,
            }
        return described


def manifest(
    config: PipelineConfig,
    plan: Plan,
    inventory: Inventory,
    ledger: Ledger,
    tables: Tables,
    *,
    version: str,
    created_at: float,
    parents: Sequence[str],
    limit: int | None,
    warnings: Sequence[Mapping[str, Any]] = (),
    history: Snapshot | None = None,
    warned: Mapping[str, Sequence[str]] | None = None,
    tokens: Mapping[str, Any] | None = None,
    documents: Mapping[str, Any] | None = None,
    learned: Sequence[Mapping[str, Any]] = (),
    ingest: Mapping[str, Any] | None = None,
    assets: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The manifest of a version (DESIGN 10).

    `warnings` are those of guards, `history` is what earlier runs left that it was compared with, `warned` what operators told by name,
    `tokens` the tokens by source and language, where the documents have token counts, `documents` the profile of documents whose text is
    written, `learned` the files that operators learned, `ingest` what a version adds to, `assets` the sha256 of each asset by its address.
    """
    told = warned or {}
    return {
        "manifest_version": MANIFEST_VERSION,
        "name": config.name,
        "version": version,
        "run_id": run_id(plan),
        "created_at": datetime.datetime.fromtimestamp(int(created_at), datetime.UTC).isoformat().replace("+00:00", "Z"),
        "fingerprints": dict(plan.fingerprints),
        "config": config.redacted(),
        "environment": {"python": platform.python_version(), "packages": versions(PACKAGES)},
        "input": _source(config, inventory, limit, history),
        "ledger": {
            "rows_in": ledger.rows_in,
            "rows_out": ledger.rows_out,
            "dropped": {name: reasons for name, reasons in ledger.dropped().items() if reasons},
            "quarantined": ledger.quarantined(),
        },
        "operators": [
            *_left_out(plan, ledger),
            *(operator_entry(config, position, ledger, told, assets or {}) for position in range(len(config.operators))),
        ],
        "warnings": list(warnings),
        "output": output_summary(tables),
        "tokens": tokens,
        "documents": documents,
        "tables": tables.to_json(),
        **({"learned": list(learned)} if learned else {}),
        **({} if ingest is None else {"ingest": dict(ingest)}),
        "schema": [{"name": field.name, "type": str(field.type), "nullable": field.nullable} for field in plan.output_schema],
        "parents": list(parents),
        "licence": config.output.licence,
    }


def _source(config: PipelineConfig, inventory: Inventory, limit: int | None, history: Snapshot | None) -> dict[str, Any]:
    """What the documents came from."""
    uris = [str(redact(uri)) for uri in config.input.uri]
    unreadable = [{"uri": uri, "error": error, "message": message} for uri, error, message in inventory.unreadable]
    source: dict[str, Any] = {
        "uri": uris[0] if len(uris) == 1 else uris,
        "files": inventory.num_files,
        "rows": inventory.rows,
        "bytes": inventory.num_bytes,
        "unreadable_files": len(unreadable),
        "unreadable": unreadable,
        "inventory": inventory_path(inventory),
        "limit": limit,
    }
    if history is not None:
        source["history"] = {"generations": list(history.generations), "tombstones": list(history.tombstones)}
    return source


def output_summary(tables: Tables) -> dict[str, Any]:
    """What came of the documents: the sums over the shards."""
    tokens = [shard.tokens for shard in tables.shards if shard.tokens is not None]
    return {
        "shards": len(tables.shards),
        "rows": sum(shard.part.rows for shard in tables.shards),
        "bytes": sum(shard.part.bytes for shard in tables.shards),
        "tokens": sum(tokens) if tokens else None,
        **({} if tables.tokens is None else {"token_shards": tables.tokens.summary}),
    }


def operator_entry(
    config: PipelineConfig, position: int, ledger: Ledger, warned: Mapping[str, Sequence[str]], assets: Mapping[str, str]
) -> dict[str, Any]:
    """An operator in the manifest; `warned`: what operators told while they were opened, by name; `assets`: sha256 by address."""
    operator = config.operators[position]
    name = operator.name or operator.type
    count = ledger.operator(name)
    warnings = {"warnings": list(warned[name])} if warned.get(name) else {}
    edits = {"removed": dict(sorted(count.edits.items()))} if count.edits else {}
    used = operator_assets(operator, assets)
    return {
        "name": operator.name,
        "type": operator.type,
        "settings": redact_settings(operator.model_dump(mode="json", exclude={"name", "type"}), operator.by_kind),
        "rows_in": count.rows_in,
        "rows_out": count.rows_out,
        "seconds": round(count.seconds, 3),
        **({"assets": used} if used else {}),
        **edits,
        **warnings,
    }


def operator_assets(operator: Operator, assets: Mapping[str, str]) -> dict[str, str]:
    """sha256 of each file that an operator was given by its address, given those of all of the pipeline's."""
    return {redact_uri(uri): assets[uri] for uri in operator.asset_uris() if uri in assets}


def _left_out(plan: Plan, ledger: Ledger) -> Iterator[dict[str, Any]]:
    """The entry, before all operators, of documents that were taken out of the output before; none if there were no such."""
    taken_out = plan.stages[0].spec.taken_out
    if taken_out is not None:
        count = ledger.operator(TAKEDOWN)
        yield {
            "name": TAKEDOWN,
            "type": TAKEDOWN,
            "settings": taken_out.settings,
            "rows_in": count.rows_in,
            "rows_out": count.rows_out,
            "seconds": round(count.seconds, 3),
        }


def to_bytes(made: Mapping[str, Any]) -> bytes:
    """The manifest as it is written: readable JSON."""
    return orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def run_id(plan: Plan) -> str:
    """One plan against one inventory has one name, however often it is started."""
    return plan.fingerprint[:16]


def inventory_path(inventory: Inventory) -> str:
    """Where the inventory of a run is kept."""
    return f"_shardmill/inventories/{inventory.fingerprint[:32]}.parquet"
