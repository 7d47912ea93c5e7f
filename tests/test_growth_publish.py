"""Versions of an output that grew are published like any other: each with all documents that it has, checked as far as a repo can tell."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from growing import ALL, Growing, batches
from grown import failures, grow, ids, lent, take
from publications import REPO, published

import pipelines
from pipelines.cli import main
from pipelines.verify import verify

pytestmark = pytest.mark.usefixtures("no_fsync")

URI = f"hf://datasets/{REPO}"
LOAD = """
import json, os, sys, datasets
rows = [datasets.load_dataset(sys.argv[1], split="train", streaming=streaming) for streaming in (False, True)]
print(json.dumps([sorted(row["id"] for row in one) for one in rows]))
sys.stdout.flush()
os._exit(0)  # threads of the libraries now and then abort an interpreter that ends ("terminate called without an active exception")
"""


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """Two ingestions."""
    return grow(tmp_path_factory.mktemp("grown"), ALL, files=2)


@pytest.fixture
def made(grown):
    with lent(grown) as found:
        yield found


def documents(uri: str, **options: object) -> list[str]:
    return sorted(row["id"] for row in pipelines.open_dataset(uri, **options))


def grows(made: Growing) -> None:
    made.arrives("x", batches(1, seed=9)[0])
    assert made.ingest().is_new


@pytest.mark.parametrize("include_data", [True, False])
def test_versions_follow_each_other_in_a_repo(include_data, quick_hub, made):
    """v2, then v3 that was added to it, then v4 without some documents: each is whole, by its tag as well, and reads as the output."""
    expected = {}
    for step in (lambda: None, lambda: grows(made), lambda: take(made, [ids(made)[0], ids(made)[-1]])):
        step()
        done = published(made.target, include_data=include_data)
        expected[done.version] = sorted(ids(made))
    assert list(expected) == ["v2", "v3", "v4"]
    assert documents(URI) == expected["v4"]
    for version, names in expected.items():
        found = verify(URI, version=version)
        assert failures(found) == []
        assert documents(URI, version=version) == documents(f"{URI}@{version}") == names
        told = [check.message for check in found.checks if check.name == "ingest"]
        assert len(told) == (version != "v4")
        assert all(("is not proven" in text) == include_data for text in told), "older inventories are read where the repo points to"


def test_load_dataset_reads_all_that_a_version_is_made_of(quick_hub, made):
    """From the Hub, streaming and not: the shards of every version, each document once."""
    published(made.target, include_data=True)
    grows(made)
    published(made.target, include_data=True)
    command = [sys.executable, "-c", LOAD, REPO]
    done = subprocess.run(command, env={**os.environ, **quick_hub.environment()}, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [sorted(ids(made))] * 2


def test_only_new_shards_are_sent(quick_hub, made):
    """What a version has of the one before is in the repo already."""
    published(made.target, include_data=True)
    before = set(quick_hub.repo(REPO).tree())
    grows(made)
    published(made.target, include_data=True)
    tree = set(quick_hub.repo(REPO).tree())
    kept = {path for path in before if path.startswith("data/")}
    assert kept < {path for path in tree if path.startswith("data/")}


def base_rows(older: dict[str, Any], newer: dict[str, Any]) -> None:
    """A manifest of before that tells of other shards, whose digest is the parent's all the same."""
    older["output"]["rows"] += 1
    newer["parents"] = [hashlib.sha256(orjson.dumps(older)).hexdigest()]


DAMAGES: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], Any], str]] = {
    "the lineage": (lambda _, newer: newer["ingest"]["lineage"].update(rows=1), "ingest.lineage.rows is 1"),
    "the parents": (lambda _, newer: newer.update(parents=[]), "its digest is not among the parents"),
    "the older manifest": (lambda older, _: older.update(name="other"), "its digest is not among the parents"),
    "what was there before": (base_rows, "but its first 1 shards have"),
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_lineage_that_does_not_hold_is_found_in_a_repo(damage, quick_hub, made):
    """Without the tables of older versions, what their manifests say of their shards is held against the first ones."""
    published(made.target, include_data=True)
    change, words = DAMAGES[damage]
    tree = quick_hub.repo(REPO).tree()
    manifests = [orjson.loads(tree[f"versions/{version}/manifest.json"]) for version in ("v1", "v2")]
    before = orjson.dumps(manifests[0])
    change(*manifests)
    older, newer = (orjson.dumps(one) for one in manifests)
    changed = {"manifest.json": newer, "versions/v2/manifest.json": newer}
    quick_hub.repo(REPO).seed(changed if older == before else {**changed, "versions/v1/manifest.json": older})
    found = [message for name, message in failures(verify(URI)) if name == "ingest"]
    assert any(words in message for message in found), found


def test_a_repo_without_the_older_manifests_is_told_not_checkable(quick_hub, made):
    """What it was added to is not in the copy."""
    published(made.target, include_data=True)
    repo = quick_hub.repo(REPO)
    repo.seed({"versions/v1/manifest.json": None})
    found = [check for check in verify(URI).checks if check.name == "ingest"]
    assert [check.checked for check in found] == [False]


def test_what_commands_say_of_a_grown_output(made, capsys):
    """The version, how many documents it has, and what its runs left."""
    assert main(["status", str(made.target)]) == 0
    assert f"version: v2 of growing, {made.manifest()['created_at']}: {len(ids(made))} rows, 2 shards" in capsys.readouterr().out
    assert main(["history", f"{made.target}/_shardmill/history"]) == 0
    told = capsys.readouterr().out
    assert all(made.manifest(version)["run_id"] in told for version in ("v1", "v2"))
    assert main(["gc", str(made.target)]) == 0
    capsys.readouterr()
    made.prove()
    report = made.root / "report.html"
    assert main(["report", str(made.target), "--version", "v1", "--output", str(report)]) == 0
    assert report.read_bytes() == (made.target / "versions/v1/report.html").read_bytes()


def test_a_pull_request_tells_the_difference_of_the_lineages(quick_hub, made):
    """What was read and dropped over all versions, not by the last ingestion alone."""
    published(made.target, include_data=False)
    grows(made)
    published(made.target, include_data=False, create_pr=True)
    (text,) = [body for body in pull_texts(quick_hub) if "documents read" in body]
    assert "| 24 | 36 |" in text.replace("  ", " ")


def pull_texts(hub) -> list[str]:
    api = hub.api()
    found = [api.get_discussion_details(REPO, one.num, repo_type="dataset") for one in api.get_repo_discussions(REPO, repo_type="dataset")]
    return [event.content for one in found for event in one.events if hasattr(event, "content")]
