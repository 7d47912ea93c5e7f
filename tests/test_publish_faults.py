"""After a fault at any request, and a kill at any point, a second try ends with exactly the version, and main never shows a half."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from publications import REPO, published, whole

from pipelines import publish_plan
from pipelines.errors import ShardmillError
from pipelines.faults import PUBLISH_POINTS

FAULTS = {
    "cut": {"action": "cut"},
    "lost answer": {"action": "lose_answer"},
    "503": {"action": "status", "status": 503},
    "504 though done": {"action": "status_after", "status": 504},
    "429": {"action": "status", "status": 429, "retry_after": 7},
    "429 with a date": {"action": "status", "status": 429, "retry_after": 7, "http_date": True},
    "half an answer": {"action": "half_body"},
}


@pytest.fixture
def in_parts(quick_hub):
    """The same, which wants even small files in parts."""
    quick_hub.settings.multipart_bytes, quick_hub.settings.part_bytes = 4096, 4096
    return quick_hub


@dataclass(frozen=True)
class Publication:
    """How the second version is published: the requests that it takes, and the first one's tree, to begin from."""

    include_data: bool
    requests: list[Any]
    first: dict[str, bytes]

    def publish(self, versions):
        return published(versions[1], include_data=self.include_data)


@pytest.fixture(params=[(100, True), (4, False)], ids=["one commit", "staged"])
def publication(request, in_parts, versions, monkeypatch):
    """With the data in one commit, and without them staged in several."""
    files_per_commit, include_data = request.param
    monkeypatch.setattr(publish_plan, "FILES_PER_COMMIT", files_per_commit)
    published(versions[0], include_data=include_data)
    first = in_parts.repo(REPO).tree()
    begin(in_parts, first)
    with in_parts.count_requests() as requests:
        published(versions[1], include_data=include_data)
    assert len(requests) > 15
    return Publication(include_data, requests, first)


def test_a_fault_at_any_request_leaves_exactly_one_version(in_parts, versions, publication):
    """Each request once, with one kind of fault after the other, and each that changes something also with its answer lost."""
    for number, entry in enumerate(publication.requests, 1):
        publish_with_fault(in_parts, versions, publication, number, FAULTS[list(FAULTS)[number % len(FAULTS)]])
        if entry.method == "POST" and re.search("/(commit|discussions|tag)", entry.path):
            publish_with_fault(in_parts, versions, publication, number, FAULTS["lost answer"])


@pytest.mark.chaos
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_at_every_request_leaves_exactly_one_version(in_parts, versions, publication, fault):
    for number in range(1, len(publication.requests) + 1):
        publish_with_fault(in_parts, versions, publication, number, FAULTS[fault])


def begin(hub, first):
    """A fresh repo that holds the first version."""
    if REPO in hub.repos:
        hub.api().delete_repo(REPO, repo_type="dataset")
    repo = hub.create(REPO, {path: data for path, data in first.items() if path != ".gitattributes"}, private=True)
    repo.create_tag("v1", repo.head())


def publish_with_fault(hub, versions, publication, number, fault):
    """The second version is published with a fault at one request, and then again."""
    begin(hub, publication.first)
    seen = []
    hub.on_move(lambda _repo, tree: seen.append(whole(tree)))
    try:
        with hub.fail(nth=number, **fault):
            publication.publish(versions)
    except ShardmillError:
        publication.publish(versions)
    else:
        assert not publication.publish(versions).changed
    repo = hub.repo(REPO)
    assert seen == ["v2"]
    assert whole(repo.tree("v2")) == "v2"
    assert repo.tags["v2"] == repo.head()
    assert all(pull.status in ("merged", "closed") for pull in repo.pulls.values())


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.chaos)])
def test_where_everything_fails_from_some_request_on_the_next_try_sends_nothing_twice(in_parts, versions, publication, every):
    for number in range(1, len(publication.requests) + 1, every):
        begin(in_parts, publication.first)
        before = dict(in_parts.uploads)
        with in_parts.fail("cut", nth=number, times=None), pytest.raises(ShardmillError):
            publication.publish(versions)
        publication.publish(versions)
        assert all(count - before.get(sha256, 0) <= 1 for sha256, count in in_parts.uploads.items())
        assert whole(in_parts.repo(REPO).tree()) == "v2"


@pytest.mark.parametrize("create_pr", [pytest.param(False, marks=pytest.mark.chaos), True])
def test_a_publisher_that_is_killed_anywhere_is_gone_on_with(in_parts, versions, tmp_path, create_pr):
    published(versions[0], include_data=True)
    seen = []
    in_parts.on_move(lambda _repo, tree: seen.append(whole(tree)))
    points = [point for point in PUBLISH_POINTS if create_pr or point in ("publish.uploaded", "publish.moved", "publish.tagged")]
    points = [point for point in points if not create_pr or point not in ("publish.staged", "publish.moved", "publish.tagged")]
    for point in points:
        command = [sys.executable, "-m", "pipelines.cli", "publish", str(versions[1]), "--repo", REPO, "--include-data"]
        command += ["--create-pr"] if create_pr else []
        environment = {**os.environ, **in_parts.environment(), "SHARDMILL_FAULT": f"{point}=kill"}
        killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
    done = published(versions[1], include_data=True, create_pr=create_pr)
    repo = in_parts.repo(REPO)
    assert max(in_parts.uploads.values()) == 1
    if create_pr:
        assert len(repo.pulls) == 1
        assert whole(repo.tree(f"refs/pr/{done.pull.number}")) == "v2"
        assert not seen
    else:
        assert seen == ["v2"]
        assert repo.tags["v2"] == repo.head()
