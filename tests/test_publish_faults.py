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
from publications import REPO, make_outputs, published, whole

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


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An output with one version, and the same with two."""
    return make_outputs(tmp_path_factory.mktemp("published"))


@pytest.fixture
def quick(hub, monkeypatch):
    """The Hub, whose clients wait by its clock."""
    monkeypatch.setattr("pipelines.publish_hub.wait", hub.clock.sleep)
    hub.skip_waiting(monkeypatch)
    hub.settings.multipart_bytes, hub.settings.part_bytes = 4096, 4096
    return hub


@dataclass(frozen=True)
class Publication:
    """How the second version is published: the requests that it takes, and the first one's tree, to begin from."""

    include_data: bool
    requests: list[Any]
    first: dict[str, bytes]

    def publish(self, made):
        return published(made[1], include_data=self.include_data)


@pytest.fixture(params=[(100, True), (4, False)], ids=["one commit", "staged"])
def publication(request, quick, made, monkeypatch):
    """With the data in one commit, and without them staged in several."""
    files_per_commit, include_data = request.param
    monkeypatch.setattr(publish_plan, "FILES_PER_COMMIT", files_per_commit)
    published(made[0], include_data=include_data)
    first = quick.repo(REPO).tree()
    begin(quick, first)
    with quick.count_requests() as requests:
        published(made[1], include_data=include_data)
    assert len(requests) > 15
    return Publication(include_data, requests, first)


def test_a_fault_at_any_request_leaves_exactly_one_version(quick, made, publication):
    """Each request once, with one kind of fault after the other, and each that changes something also with its answer lost."""
    for number, entry in enumerate(publication.requests, 1):
        publish_with_fault(quick, made, publication, number, FAULTS[list(FAULTS)[number % len(FAULTS)]])
        if entry.method == "POST" and re.search("/(commit|discussions|tag)", entry.path):
            publish_with_fault(quick, made, publication, number, FAULTS["lost answer"])


@pytest.mark.chaos
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_at_every_request_leaves_exactly_one_version(quick, made, publication, fault):
    for number in range(1, len(publication.requests) + 1):
        publish_with_fault(quick, made, publication, number, FAULTS[fault])


def begin(hub, first):
    """A fresh repo that holds the first version."""
    if REPO in hub.repos:
        hub.api().delete_repo(REPO, repo_type="dataset")
    repo = hub.create(REPO, {path: data for path, data in first.items() if path != ".gitattributes"}, private=True)
    repo.create_tag("v1", repo.head())


def publish_with_fault(hub, made, publication, number, fault):
    """The second version is published with a fault at one request, and then again."""
    begin(hub, publication.first)
    seen = []
    hub.on_move(lambda _repo, tree: seen.append(whole(tree)))
    try:
        with hub.fail(nth=number, **fault):
            publication.publish(made)
    except ShardmillError:
        publication.publish(made)
    else:
        assert not publication.publish(made).changed
    repo = hub.repo(REPO)
    assert seen == ["v2"]
    assert whole(repo.tree("v2")) == "v2"
    assert repo.tags["v2"] == repo.head()
    assert all(pull.status in ("merged", "closed") for pull in repo.pulls.values())


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.chaos)])
def test_where_everything_fails_from_some_request_on_the_next_try_sends_nothing_twice(quick, made, publication, every):
    for number in range(1, len(publication.requests) + 1, every):
        begin(quick, publication.first)
        before = dict(quick.uploads)
        with quick.fail("cut", nth=number, times=None), pytest.raises(ShardmillError):
            publication.publish(made)
        publication.publish(made)
        assert all(count - before.get(sha256, 0) <= 1 for sha256, count in quick.uploads.items())
        assert whole(quick.repo(REPO).tree()) == "v2"


@pytest.mark.parametrize("create_pr", [False, True])
def test_a_publisher_that_is_killed_anywhere_is_gone_on_with(quick, made, tmp_path, create_pr):
    published(made[0], include_data=True)
    seen = []
    quick.on_move(lambda _repo, tree: seen.append(whole(tree)))
    points = [point for point in PUBLISH_POINTS if create_pr or point in ("publish.uploaded", "publish.moved", "publish.tagged")]
    points = [point for point in points if not create_pr or point not in ("publish.staged", "publish.moved", "publish.tagged")]
    for point in points:
        command = [sys.executable, "-m", "pipelines.cli", "publish", str(made[1]), "--repo", REPO, "--include-data"]
        command += ["--create-pr"] if create_pr else []
        environment = {**os.environ, **quick.environment(), "SHARDMILL_FAULT": f"{point}=kill"}
        killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
    done = published(made[1], include_data=True, create_pr=create_pr)
    repo = quick.repo(REPO)
    assert max(quick.uploads.values()) == 1
    if create_pr:
        assert len(repo.pulls) == 1
        assert whole(repo.tree(f"refs/pr/{done.pull.number}")) == "v2"
        assert not seen
    else:
        assert seen == ["v2"]
        assert repo.tags["v2"] == repo.head()
