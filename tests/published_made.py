"""Lays a finished output out as the dataset repo that publishing makes of it, by the contract alone, for tests of those who read it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import made
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from hub_server import Hub
from made import Output

import pipelines
from pipelines.storage import Store, open_store
from pipelines.verify import Verification

PREVIEW_ROWS = 2
URI = "hf://datasets/org/name"
PART = f"{made.PLAN[:8]}.parquet"
FIRST = f"data/v1/part-00000-{PART}"
PREVIEW = f"preview/v1/part-00000-{PART}"
FOLDER = "versions/v1"


def finished_output(folder: Path) -> Store:
    """A finished output on this machine."""
    store = open_store(str(folder / "out"))
    Output().write(store)
    return store


def repo_files(
    output: Store, *, include_data: bool = False, location: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> dict[str, bytes]:
    """All files of the repo at the output's current version. `location`: what it points to, the output's own address if None."""
    manifest = orjson.loads(output.read("manifest.json"))
    version = manifest["version"]
    folder = f"versions/{version}"
    shards = pq.read_table(io.BytesIO(output.read(f"{folder}/shards.parquet")))
    preview_path = f"preview/{version}/part-00000-{manifest['run_id'][:8]}.parquet"
    preview = preview_of(output, shards.column("path").to_pylist())
    files = {path: output.read(path) for path in [f"{folder}/{name}" for name in ("manifest.json", "shards.parquet", "report.html")]}
    files |= {"manifest.json": output.read("manifest.json"), "shards.parquet": output.read(f"{folder}/shards.parquet")}
    older = [f"versions/v{number}/manifest.json" for number in range(1, int(version[1:]))]
    files |= {path: output.read(path) for path in older if output.exists(path)}
    files |= {entry["path"]: output.read(entry["path"]) for entry in manifest.get("learned", ())}
    if output.exists(f"{folder}/token_shards.parquet"):
        files[f"{folder}/token_shards.parquet"] = output.read(f"{folder}/token_shards.parquet")
    if include_data:
        paths = [*shards.column("path").to_pylist(), manifest["input"]["inventory"]]
        paths += [file["path"] for name in ("dropped", "duplicates", "quarantine") for file in manifest["tables"][name]["files"]]
        paths += [info.path for info in output.list(f"tokens/{version}")]
        files |= {path: output.read(path) for path in paths}
    files[preview_path] = preview
    files["published.json"] = json.dumps(
        {
            "publish_version": 1,
            "version": version,
            "manifest_sha256": made.sha256(files["manifest.json"]),
            "include_data": include_data,
            "location": {"uri": output.uri if location is None else location, "storage_options": dict(storage_options or {})},
            "preview": {"path": preview_path, **{name: made.with_digests({"": preview})[0][name] for name in ("rows", "bytes", "sha256")}},
        },
        indent=2,
    ).encode()
    globs = sorted({re.sub(r"/(.*/)?[^/]*-", "/**/*-", path.removeprefix("data/")) for path in shards.column("path").to_pylist()})
    files["README.md"] = card(preview_path, [f"data/{glob}" for glob in globs] if include_data else [])
    return files


def preview_of(output: Store, shards: Sequence[str]) -> bytes:
    """The last documents of each shard, and in the footer where they are from."""
    tables, runs = [], []
    for path in shards:
        table = pq.read_table(io.BytesIO(output.read(path)))
        start = max(0, table.num_rows - PREVIEW_ROWS)
        tables.append(table.slice(start))
        runs.append([path, start, table.num_rows - start])
    whole = pa.concat_tables(tables)
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, whole.schema) as writer:
        writer.write_table(whole)
        writer.add_key_value_metadata({"shardmill.preview": json.dumps(runs)})
    return sink.getvalue()


def card(preview: str, globs: Sequence[str]) -> bytes:
    """A card with the config of the preview, and the default one if the data are there."""
    configs = [("default", "train", list(globs))] if globs else []
    lines = ["---", "configs:"]
    for name, split, paths in [*configs, ("preview", "preview", [preview])]:
        lines += [f'  - config_name: "{name}"', "    data_files:", f'      - split: "{split}"', "        path:"]
        lines += [f'          - "{path}"' for path in paths]
    return "\n".join([*lines, "---", "", "# Documents", ""]).encode()


def publish(hub: Hub, output: Store, repo_id: str = "org/name", **how: Any) -> dict[str, bytes]:
    """Make the repo, or move its main to the output's current version, with a tag; returns its files."""
    files = repo_files(output, **how)
    repo = hub.repo(repo_id) if repo_id in hub.repos else hub.create(repo_id)
    gone: dict[str, bytes | None] = dict.fromkeys(path for path in repo.tree() if path not in files and path != ".gitattributes")
    oid = repo.seed({**files, **gone})
    version = json.loads(files["published.json"])["version"]
    if version not in repo.tags:
        repo.create_tag(version, oid)
    return files


def second_version(store: Store) -> None:
    """v2, whose parent is the current version, with fewer and larger shards."""
    parent = made.sha256(store.read("manifest.json"))
    places = [(0, 0), (0, 4), (0, 6), (0, 8), (0, 9), (1, 0), (1, 1), (1, 3), (1, 4)]
    Output(version="v2", shards=[("", places)], edit=lambda manifest: manifest.update(parents=[parent])).write(store)


def failures(found: Verification) -> list[str]:
    """The checks that failed, each as name, subject and message."""
    return [f"{check.name}: {check.subject}: {check.message}" for check in found.checks if not check.ok]


def documents(uri: str, **options: Any) -> list[dict[str, Any]]:
    """What `open_dataset` gives."""
    return list(pipelines.open_dataset(uri, **options))
