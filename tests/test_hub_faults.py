"""The loopback Hub's faults and limits hit the requests that they are meant for, and nothing else."""

from __future__ import annotations

import os
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from hub_server import Hub
from huggingface_hub.errors import HfHubHTTPError
from test_hub_server import NAME, api, commit, raw

__all__ = ["api"]
FILES = {"a.json": b"{}", "data/a.parquet": b"rows"}


@pytest.fixture(autouse=True)
def _no_waiting(hub, monkeypatch):
    hub.skip_waiting(monkeypatch)


def test_a_cut_commit_does_nothing(hub, api):
    """The connection is reset before the commit is handled, once."""
    head = hub.repo(NAME).head()
    with hub.fail("cut", matching="/commit/") as rule, pytest.raises(Exception, match=r"reset|disconnected|closed"):
        commit(api, FILES)
    assert (rule.hits, hub.repo(NAME).head(), hub.log[-1].status) == (1, head, 0)
    commit(api, FILES)
    assert "a.json" in hub.repo(NAME).tree()


@pytest.mark.parametrize("action", ["lose_answer", "status_after"])
def test_a_commit_whose_answer_is_lost_took_effect(hub, api, action):
    """The client gets an error, main has moved, and the same commit again is none."""
    with hub.fail(action, matching="/commit/", status=504), pytest.raises(Exception, match=r"504|reset|disconnected|closed"):
        commit(api, FILES)
    head = hub.repo(NAME).head()
    assert hub.repo(NAME).tree()["data/a.parquet"] == b"rows"
    assert commit(api, FILES).oid == head
    assert len(hub.repo(NAME).history()) == 2


@pytest.mark.parametrize("matching", ["/preupload/", "/objects/batch", "/repos/org/name/", "/objects/verify"])
@pytest.mark.parametrize("action", ["cut", "lose_answer", "status"])
def test_the_client_gets_over_one_fault_while_it_uploads(hub, api, matching, action):
    """What the official client repeats of itself succeeds, with its waits on the Hub's clock."""
    with hub.fail(action, matching=matching) as rule:
        commit(api, FILES)
    assert rule.hits == 1
    assert hub.clock.sleeps
    assert hub.repo(NAME).tree()["data/a.parquet"] == b"rows"


def test_retry_after_in_seconds_and_as_a_date(hub, api):
    """429 with Retry-After: the client waits as long by the Hub's clock; a date counts from the header Date."""
    with hub.fail("status", matching="/preupload/", status=429, retry_after=77):
        commit(api, FILES)
    assert hub.clock.sleeps == [78.0]
    with hub.fail("status", status=429, retry_after=60, http_date=True):
        status, headers, _ = raw(hub, "GET", "/api/whoami-v2")
    wait = parsedate_to_datetime(headers["Retry-After"]) - parsedate_to_datetime(headers["Date"])
    assert (status, wait.total_seconds()) == (429, 60)


def test_a_download_that_breaks_off_is_resumed(hub, api):
    """Half a body, then the connection ends: the client asks for the rest, and has the whole file."""
    data = os.urandom(100_000)
    hub.repo(NAME).seed({"data/a.parquet": data})
    with hub.fail("half_body", server="lfs", method="GET") as rule:
        assert Path(api.hf_hub_download(NAME, "data/a.parquet", repo_type="dataset")).read_bytes() == data
    assert rule.hits == 1


def test_every_single_request_of_a_flow_can_be_hit(hub, api):
    """The k-th request is the one that is hit, for each k; run again, the flow ends well."""
    with hub.count_requests() as requests:
        commit(api, {"data/0.parquet": b"0"})
    for k in range(1, len(requests) + 1):
        files = {f"data/{k}.parquet": b"%d" % k}
        before = len(hub.log)
        with hub.fail("status", nth=k, status=400), pytest.raises((HfHubHTTPError, RuntimeError)):
            commit(api, files)
        assert [request.fault for request in hub.log[before:]] == [None] * (k - 1) + ["status"]
        commit(api, files)
    assert len(hub.repo(NAME).history()) == len(requests) + 2


def test_a_hook_sees_the_request_and_rules_end_with_their_block(hub, api):
    """`pass` does nothing but call the hook; behind the block nothing is called."""
    seen = []
    with hub.fail("pass", times=None, hook=lambda request: seen.append(request.method)):
        api.whoami()
        api.repo_info(NAME, repo_type="dataset")
    api.repo_info(NAME, repo_type="dataset")
    assert seen == ["GET", "GET"]


def test_commits_an_hour_are_limited(hub, api):
    """Too many commits and merges are answered 429, until the clock has gone on for as long as Retry-After says."""
    hub.limits.commits_per_hour = 3
    commit(api, {"1.json": b"1"})
    commit(api, {"2.json": b"2"}, create_pr=True)
    hub.clock.turn(600)
    api.merge_pull_request(NAME, 1, repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match="429") as refused:
        commit(api, {"3.json": b"3"})
    assert refused.value.response.headers["Retry-After"] == "3000"
    hub.clock.turn(2999)
    with pytest.raises(HfHubHTTPError, match="429"):
        commit(api, {"3.json": b"3"})
    hub.clock.turn(1)
    commit(api, {"3.json": b"3"})
    assert {"1.json", "2.json", "3.json"} < set(hub.repo(NAME).tree())


def test_requests_in_five_minutes_are_limited(hub, api):
    """The API tells how many requests are left, refuses those beyond, and the client waits for the next window."""
    hub.limits.requests_per_window = 2
    assert raw(hub, "GET", "/api/whoami-v2")[1]["RateLimit"] == '"api";r=1;t=300'
    raw(hub, "GET", "/api/whoami-v2")
    with pytest.raises(HfHubHTTPError, match="'api' rate limit"):
        api.repo_info(NAME, repo_type="dataset")
    assert len(api.list_repo_commits(NAME, repo_type="dataset")) == 1
    assert hub.clock.sleeps == [301.0]


def test_large_commits_are_refused(hub, api):
    """A commit with too many files, or too many bytes in git, is answered 413 and changes nothing."""
    head = hub.repo(NAME).head()
    hub.limits.files_per_commit = 2
    with pytest.raises(HfHubHTTPError, match="Too many files"):
        commit(api, {f"{number}.json": b"{}" for number in range(3)})
    hub.limits.regular_bytes_per_commit = 10
    with pytest.raises(HfHubHTTPError, match="too large"):
        commit(api, {"a.json": b"0123456789", "b.json": b"0"})
    assert hub.repo(NAME).head() == head
    commit(api, {"a.json": b"0123456789", "data/b.parquet": os.urandom(1000)})


def test_what_a_callback_raises_fails_the_test():
    """A callback that finds a half on main is heard, although it runs in a thread of the server."""

    def callback(repo, tree):
        raise AssertionError(f"{repo.id}: half a version")

    with Hub(Path("unused")) as server:
        server.on_move(callback)
        server.create(NAME)
        commit(server.api(), {"a.json": b"{}"})
        with pytest.raises(ExceptionGroup) as raised:
            server.raise_errors()
    assert raised.group_contains(AssertionError, match="half a version")
