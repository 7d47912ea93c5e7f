"""Documents that are taken out of an output are gone from the repo that it is published to, whose readers see the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from publications import REPO, published
from takedowns import SECRET, after, made, take
from test_publish_whole import LOAD, failures, unpacked

import pipelines
from pipelines.difference_documents import compare_documents
from pipelines.difference_versions import open_version

pytestmark = pytest.mark.usefixtures("no_fsync")
URI = f"hf://datasets/{REPO}"
NAMES = ["a6", "a10", "b30"]


def compared(old, new):
    return compare_documents(open_version(old).finished, open_version(new).finished)


@pytest.mark.parametrize("partitioned", [False, True], ids=["in order", "partitioned"])
@pytest.mark.parametrize("include_data", [False, True], ids=["without data", "with data"])
def test_the_repo_moves_to_the_version_without_the_documents(shm_path, hub, monkeypatch, include_data, partitioned):
    """No file of main has their texts; `verify`, `diff`, `open_dataset` and `load_dataset` see what the output has, purged or not."""
    for name, value in hub.environment().items():
        monkeypatch.setenv(name, value)
    made(shm_path, output={"partition_by": ["lang"]} if partitioned else {})
    out = shm_path / "out"
    published(out, include_data=include_data)
    for step, names in enumerate((NAMES, ["a2"])):
        take(shm_path, names, reason="they asked", purge_versions=step == 1)
        now = after(shm_path)
        published(out, include_data=include_data)
        assert failures(URI) == []
        if step == 0:
            assert failures(f"{URI}@v1") == []
        assert [row["id"] for row in pipelines.open_dataset(URI)] == [row["id"] for row in now.rows()]
        text = {f"{SECRET}-{name} " for name in (NAMES if step == 0 else [*NAMES, "a2"])}
        for path, data in hub.repo(REPO).tree().items():
            found = unpacked(data)
            assert not [word for word in text if word.encode() in found], path
    tree = hub.repo(REPO).tree()
    kept = {path for path in tree if path.startswith("data/")}
    assert kept == (set(now.shards()) if include_data else set())
    found = compared(f"{URI}@v2", f"{URI}@v3")
    told = compared(f"{out}@v2", str(out))
    if include_data:
        assert (found.by, found.counts.removed, found.counts.added) == ("doc_key", 1, 0)
    else:
        assert found.counts is None
        assert "v2 was purged" in found.because[0]
    assert "v2 was purged" in told.because[0]
    (purged,) = failures(f"{URI}@v2") or ["none"]
    assert ("v2 was purged" in purged) is not include_data
    assert now.manifest["version"] == "v3"
    command = [sys.executable, "-c", LOAD, REPO, "train" if include_data else "preview"]
    loaded = subprocess.run(command, env={**os.environ, "HF_HOME": str(shm_path / "hf")}, capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    for line in loaded.stdout.splitlines():
        ids = json.loads(line)
        if include_data:
            assert sorted(ids) == sorted(row["id"] for row in now.rows())
            assert partitioned or ids == [row["id"] for row in now.rows()]
        assert ids
        assert not set(ids) & {*NAMES, "a2"}
