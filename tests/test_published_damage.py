"""`verify` finds every damage to what was published, on the Hub and where the repo points, and names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import made
import orjson
import pyarrow as pa
import pytest
from hub_server import Hub
from made import INVENTORY, rewrite_manifest
from published_made import FIRST, FOLDER, PART, PREVIEW, URI, documents, failures, finished_output, publish, repo_files, second_version

from pipelines.storage import Store
from pipelines.verify import render, verify
from pipelines.version import replace_any


@pytest.fixture
def output(tmp_path: Path) -> Store:
    """A finished output on this machine."""
    return finished_output(tmp_path)


def flipped(data: bytes) -> bytes:
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


def edited(data: bytes, **changes: Any) -> bytes:
    return orjson.dumps({**orjson.loads(data), **changes})


Damage = tuple[str, Callable[[bytes], bytes | None]]
TABLES_TOO = b"  - config_name: x\n    data_files: '*.parquet'\n"
ON_THE_HUB: dict[str, Damage] = {
    "root manifest": ("manifest.json", lambda data: data + b" "),
    "manifest of the version": (f"{FOLDER}/manifest.json", lambda data: data.replace(b"made", b"mode")),
    "root manifest is missing": ("manifest.json", lambda _: None),
    "root table": ("shards.parquet", flipped),
    "root table is missing": ("shards.parquet", lambda _: None),
    "table of the version": (f"{FOLDER}/shards.parquet", flipped),
    "table of the version is missing": (f"{FOLDER}/shards.parquet", lambda _: None),
    "report is missing": (f"{FOLDER}/report.html", lambda _: None),
    "preview": (PREVIEW, flipped),
    "preview is missing": (PREVIEW, lambda _: None),
    "preview is cut off": (PREVIEW, lambda data: data[:-1]),
    "second preview": (f"preview/v1/part-00001-{PART}", lambda _: b"PAR1"),
    "card is missing": ("README.md", lambda _: None),
    "card names another preview": ("README.md", lambda data: data.replace(b"preview/v1", b"preview/v0")),
    "card is no text": ("README.md", lambda _: b"\xff\xfe"),
    "card without configs": ("README.md", lambda _: b"# Documents\n"),
    "card reads the tables too": ("README.md", lambda data: data.replace(b"configs:\n", b"configs:\n" + TABLES_TOO)),
    "published of another version": ("published.json", lambda data: edited(data, version="v2")),
    "published of another manifest": ("published.json", lambda data: edited(data, manifest_sha256="0" * 64)),
    "published with another preview": ("published.json", lambda data: data.replace(b'"rows": 7', b'"rows": 6')),
    "published is cut off": ("published.json", lambda data: data[:-9]),
    "published of a later kind": ("published.json", lambda data: edited(data, publish_version=2)),
    "published with a password": ("published.json", lambda data: edited(data, location={"uri": "s3://me:pw@bucket/x"})),
    "something else": ("_shardmill/todo.txt", lambda _: b"?"),
    "another version's table": ("versions/v0/shards.parquet", lambda _: b"PAR1"),
    "stray in the version": (f"{FOLDER}/notes.txt", lambda _: b"?"),
}
OF_DATA: dict[str, Damage] = {
    "shard": (FIRST, flipped),
    "shard is missing": (FIRST, lambda _: None),
    "extra shard": (f"data/v1/part-00009-{PART}", lambda _: b"PAR1"),
    "side table": (f"{FOLDER}/dropped/part-00000-{PART}", flipped),
    "side table is missing": (f"{FOLDER}/duplicates/part-00000-{PART}", lambda _: None),
    "extra side table": (f"{FOLDER}/quarantine/part-00009-{PART}", lambda _: b"PAR1"),
    "inventory": (INVENTORY, lambda data: data[:100]),
}


def damaged(hub: Hub, damage: Damage) -> str:
    """Do it to main; returns the path."""
    path, change = damage
    repo = hub.repo("org/name")
    repo.seed({path: change(repo.tree().get(path, b""))})
    return path


@pytest.mark.parametrize("what", ON_THE_HUB)
@pytest.mark.parametrize("include_data", [False, True])
def test_damage_to_a_repo_is_found_and_named(hub: Hub, output: Store, include_data: bool, what: str) -> None:
    """Every file that publishing puts into a repo is checked, whether it has the data or not."""
    publish(hub, output, include_data=include_data)
    path = damaged(hub, ON_THE_HUB[what])
    named = PREVIEW if what == "published with another preview" else path
    found = verify(URI)
    assert not found.ok
    assert any(named in failure for failure in failures(found)), failures(found)
    assert render(found)[-1].endswith("checks failed")


@pytest.mark.parametrize("what", OF_DATA)
@pytest.mark.parametrize("where", ["hub", "location"])
def test_damage_to_the_data_is_found_and_named_wherever_they_are(hub: Hub, output: Store, where: str, what: str) -> None:
    """Shards, side tables and the inventory: in the repo, or in the output that it points to."""
    publish(hub, output, include_data=where == "hub")
    path, change = OF_DATA[what]
    if where == "hub":
        damaged(hub, OF_DATA[what])
    else:
        content = change(output.read(path) if output.exists(path) else b"")
        output.delete([path])
        if content is not None:
            replace_any(output, path, content)
    found = verify(URI)
    assert not found.ok
    assert any(path in failure for failure in failures(found)), failures(found)


def test_files_of_others_are_told_and_no_damage(hub: Hub, output: Store) -> None:
    """A licence or a picture that a person added: publishing leaves it there, so it is no stray."""
    publish(hub, output, include_data=True)
    hub.repo("org/name").seed({"LICENSE": b"ours", **{f"images/{number}.png": b"\x89" for number in range(9)}})
    found = verify(URI)
    assert found.ok, failures(found)
    [told] = [check.message for check in found.checks if check.name == "repository"]
    assert "not of it are LICENSE, images/0.png" in told
    assert "and 5 more" in told


def test_data_in_a_repo_that_is_said_to_have_none_are_found(hub: Hub, output: Store) -> None:
    """Shards and side tables that nobody would read there."""
    publish(hub, output)
    for path in (FIRST, f"{FOLDER}/dropped/part-00000-{PART}", INVENTORY):
        hub.repo("org/name").seed({path: b"PAR1"})
        assert any(path in failure for failure in failures(verify(URI)))
        hub.repo("org/name").seed({path: None})
    assert failures(verify(URI)) == []


def test_a_preview_of_documents_that_are_not_in_the_shards_is_found(hub: Hub, output: Store) -> None:
    """A preview with the right digest whose rows are others, or that does not say whose they are."""
    files = publish(hub, output)
    told = orjson.loads(files["published.json"])
    table = made.pq.read_table(pa.BufferReader(files[PREVIEW]))
    runs = made.pq.read_metadata(pa.BufferReader(files[PREVIEW])).metadata[b"shardmill.preview"]
    for tells in (True, False):
        rows = table.to_pylist()
        rows[0]["text"] = "another text"
        sink = pa.BufferOutputStream()
        with made.pq.ParquetWriter(sink, table.schema.remove_metadata()) as writer:
            writer.write_table(pa.Table.from_pylist(rows, schema=table.schema.remove_metadata()))
            if tells:
                writer.add_key_value_metadata({b"shardmill.preview": runs})
        data = sink.getvalue().to_pybytes()
        told["preview"] |= {"bytes": len(data), "sha256": made.sha256(data)}
        hub.repo("org/name").seed({PREVIEW: data, "published.json": orjson.dumps(told)})
        found = failures(verify(URI))
        assert len(found) == 1
        said = f"rows 0 to 1 are not rows 1 to 2 of {FIRST}" if tells else "its footer does not say of which shards"
        assert found[0].startswith(f"preview documents: {PREVIEW}: {said}")


@pytest.mark.parametrize("change", ["changed", "missing"])
def test_a_parent_that_was_changed_or_lost_is_found(hub: Hub, output: Store, change: str) -> None:
    """The manifest names its parent by digest; the older manifest in the repo must be it."""
    second_version(output)
    publish(hub, output)
    assert failures(verify(URI)) == []
    path = f"{FOLDER}/manifest.json"
    hub.repo("org/name").seed({path: b"{}" if change == "changed" else None})
    found = failures(verify(URI))
    expected = "parents: manifest.json: parents: " if change == "changed" else f"lineage: {path}: it is missing from the repo"
    assert found[0].startswith(expected)
    assert "v1" in found[0]


def test_dropped_documents_with_their_texts_are_not_missed_and_not_published(hub: Hub, output: Store, tmp_path: Path) -> None:
    """Where side tables hold texts that filters removed, a repo with the data lacks them; from the output they can be checked."""
    rewrite_manifest(output, lambda manifest: manifest["config"].update(output={"dropped": True}))
    files = repo_files(output, include_data=True)
    tables = [path for path in files if path.startswith(f"{FOLDER}/dropped/")]
    publish(hub, output, include_data=True)
    assert all(any(path in failure for failure in failures(verify(URI))) for path in tables)
    hub.repo("org/name").seed(dict.fromkeys(tables))
    found = verify(URI)
    assert failures(found) == []
    assert [check.name for check in found.checks if not check.checked] == []
    Path(output.uri).rename(tmp_path / "moved")
    found = verify(URI)
    assert failures(found) == []
    skipped = {check.name: check.message for check in found.checks if not check.checked}
    assert {"dropped table", "ledger", "doc_keys"} <= {*skipped}
    assert "texts that filters removed are not published" in skipped["dropped table"]
    assert len(documents(URI)) == 9
