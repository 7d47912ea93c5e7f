"""Outputs to publish, and what a repo must hold that was published from one."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hub_server import Hub
from pipelines_made import operators, write_input, write_pipeline

from pipelines.config import load
from pipelines.publish import Published, publish
from pipelines.report import without_documents
from pipelines.run import run
from pipelines.settings_publish import PublishConfig

REPO = "org/small"
TABLES = ("dropped", "duplicates", "quarantine")


def make_outputs(root: Path) -> list[Path]:
    """Two states of one output: with one version, and with a second one behind it."""
    source = write_input(root / "input")
    pipeline = write_pipeline(root / "pipeline", source, str(root / "out"))
    run(load(pipeline))
    shutil.copytree(root / "out", root / "first")
    write_pipeline(root / "pipeline", source, str(root / "out"), operators=operators(max_chars=150))
    run(load(pipeline))
    return [root / "first", root / "out"]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An output with one version, and the same with two."""
    return make_outputs(tmp_path_factory.mktemp("published"))


@pytest.fixture
def quick_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The Hub, whose clients wait by its clock."""
    monkeypatch.setattr("pipelines.publish_hub.wait", hub.clock.sleep)
    hub.skip_waiting(monkeypatch)
    return hub


def settings(repo_id: str = REPO, **changes: Any) -> PublishConfig:
    """The settings of a publication."""
    return PublishConfig(repo_id=repo_id, **changes)


def published(output: Path | str, *, note: Callable[[str], None] = lambda _: None, **changes: Any) -> Published:
    """Publish an output."""
    return publish(str(output), settings(**changes), note=note)


def manifest_of(output: Path) -> dict[str, Any]:
    """The current manifest of an output."""
    found: dict[str, Any] = json.loads((output / "manifest.json").read_text())
    return found


def whole(tree: Mapping[str, bytes]) -> str | None:
    """The version that a repo's files are, whole and with nothing else; None for a repo that nothing was published to.

    Raises:
        AssertionError: It is neither.
    """
    own = {path for path in tree if path != ".gitattributes"}
    if not own:
        return None
    manifest = json.loads(tree["manifest.json"])
    version = manifest["version"]
    about = json.loads(tree["published.json"])
    shards = pq.read_table(io.BytesIO(tree["shards.parquet"]))
    assert hashlib.sha256(tree["shards.parquet"]).hexdigest() == manifest["tables"]["shards"]["sha256"]
    assert tree[f"versions/{version}/shards.parquet"] == tree["shards.parquet"]
    assert tree[f"versions/{version}/manifest.json"] == tree["manifest.json"]
    assert about["version"] == version
    assert about["manifest_sha256"] == hashlib.sha256(tree["manifest.json"]).hexdigest()
    wanted = {"README.md", "manifest.json", "published.json", "shards.parquet"}
    wanted |= {f"versions/{version}/{name}" for name in ("manifest.json", "shards.parquet", "report.html")}
    report = tree[f"versions/{version}/report.html"].decode()
    assert without_documents(report) == report, "texts of documents are published with the report"
    wanted |= {f"versions/v{number}/manifest.json" for number in range(1, int(version[1:]))}
    if about["preview"] is not None:
        wanted.add(about["preview"]["path"])
        assert hashlib.sha256(tree[about["preview"]["path"]]).hexdigest() == about["preview"]["sha256"]
    if about["include_data"]:
        for row in shards.to_pylist():
            wanted.add(row["path"])
            assert hashlib.sha256(tree[row["path"]]).hexdigest() == row["sha256"], row["path"]
        for table in TABLES:
            for file in manifest["tables"][table]["files"]:
                wanted.add(file["path"])
                assert hashlib.sha256(tree[file["path"]]).hexdigest() == file["sha256"], file["path"]
        wanted.add(manifest["input"]["inventory"])
    assert own == wanted
    return str(version)
