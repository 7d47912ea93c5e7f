"""Versions of one output: each is immutable, the current one is what everybody reads, and numbers only go forward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from changing import Project
from corpora import finished, output_of, pipeline

from pipelines import open_dataset
from pipelines.run import run
from pipelines.survey import survey

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_a_new_version_leaves_the_old_one_as_it_was(project, monkeypatch):
    """v1 stays byte for byte and verifies; whoever loads the output gets exactly v2, in order, by either way."""
    first = project.run()
    old = {path: data for path, data in raw(first.root).items() if "v1/" in path}
    project.operators[2]["where"] = "length(text) < 40"
    second = project.run()
    assert {path: data for path, data in raw(first.root).items() if "v1/" in path} == old
    assert second.manifest["parents"] != []
    assert len(first.rows()) > len(second.rows()) > 0
    assert [row["id"] for row in open_dataset(str(project.root))] == [row["id"] for row in second.rows()]
    assert [row["id"] for row in open_dataset(str(project.root), version="v1")] == [row["id"] for row in first.rows()]
    from pipelines.verify import verify

    assert verify(str(project.root), version="v1").ok
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert loaded(project) == second.rows()


def loaded(project: Project) -> list[dict[str, Any]]:
    """What `load_dataset(<output.uri>)` gives."""
    from datasets import load_dataset

    rows: list[dict[str, Any]] = load_dataset(str(project.root), split="train", cache_dir=str(project.folder / "cache")).to_list()
    return rows


def raw(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "_shardmill" not in path.parts
    }


def test_going_back_makes_a_new_version_with_the_old_bytes(project):
    """Versions only go forward: the settings of v1 after v2 give v3, whose shards are those of v1."""
    first = project.run()
    where = project.operators[2]["where"]
    project.operators[2]["where"] = "length(text) < 40"
    project.run()
    project.operators[2]["where"] = where
    third = project.run()
    assert third.manifest["version"] == "v3"
    assert third.manifest["fingerprints"] == first.manifest["fingerprints"]
    assert [(third.root / path).read_bytes() for path in third.shards()] == [(first.root / path).read_bytes() for path in first.shards()]


def test_a_limit_is_a_smaller_input(project):
    """A run of the first documents is a version of its own; the whole input is another, and the limit again is not finished."""
    few = run(project.config, limit=35).manifest
    assert (few["version"], few["input"]["rows"], few["input"]["files"]) == ("v1", 35, 2)
    assert run(project.config, limit=35).was_finished
    assert output_of(project.root).manifest == few
    whole = project.run()
    assert (whole.manifest["version"], whole.manifest["input"]["rows"]) == ("v2", 150)
    assert not survey(project.config, 35).is_finished


def test_two_pipelines_with_one_file_name_do_not_mix(tmp_path):
    """Outputs know their own plan only: another output of the same input starts from nothing."""
    one = Project(tmp_path / "one")
    one.run()
    other = pipeline(tmp_path / "p.yaml", f"{one.source}/", tmp_path / "other", one.operators, execution=one.execution)
    from pipelines.config import load

    assert not survey(load(other)).is_finished
    assert finished(load(other)).rows() == output_of(one.root).rows()
