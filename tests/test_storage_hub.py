"""Dataset repos of the Hub as a store: one commit, whatever becomes of the repo meanwhile; requests, refusals and retries."""

from __future__ import annotations

import itertools
import os
import pickle
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub

from pipelines.errors import (
    AccessDenied,
    ConfigError,
    InputChanged,
    InputError,
    NotFound,
    StorageError,
    Throttled,
    Unavailable,
    UnsafeStore,
)
from pipelines.storage import HubStore, ObjectInfo, Sources, open_store
from pipelines.storage_hub import MAX_SECONDS, TIMEOUTS

FILES: dict[str, bytes | None] = {
    "README.md": b"# Read me\n",
    "data/v1/part-0.parquet": bytes(range(256)) * 40,
    "data/v1/a b/\xc3\xa4=1.txt".encode("latin-1").decode(): b"strange names",
    "data/v2/part-0.parquet": b"PAR1",
    "versions/v1/manifest.json": b"{}",
    "empty.txt": b"",
}
URI = "hf://datasets/org/name"


@pytest.fixture
def store(hub: Hub) -> HubStore:
    """A repo with some files, small ones in git and Parquet in LFS, that retries without waiting."""
    hub.create("org/name", FILES)
    return opened(URI)


def opened(uri: str) -> HubStore:
    found = open_store(uri)
    assert isinstance(found, HubStore)
    found.backoff.sleep = lambda _seconds: None
    return found


def paths(found: Iterator[ObjectInfo | str]) -> list[str]:
    return [one if isinstance(one, str) else one.path for one in found]


# --- reading


def test_what_a_repo_holds_is_read_and_listed(store: HubStore) -> None:
    """Contents, ranges, sizes and listings are those of the repo, of files in git and in LFS, at any depth."""
    for path, content in FILES.items():
        assert content is not None
        assert store.read(path) == content
        assert store.exists(path)
        assert (store.info(path).path, store.info(path).size) == (path, len(content))
        assert store.read_range(path, 0, len(content)) == content
        if len(content) > 8:
            assert store.read_range(path, 3, 7) == content[3:7]
        assert store.read_versioned(path) == (content, store.info(path).etag)
    listed = paths(store.list())
    assert listed == sorted(listed)
    assert set(listed) - {".gitattributes"} == set(FILES)
    assert paths(store.list("data/v1")) == sorted(path for path in FILES if path.startswith("data/v1/"))
    assert sorted(paths(store.children("data"))) == ["data/v1", "data/v2"]
    assert sorted(paths(store.children("", "versions"))) == ["versions"]


def test_what_a_repo_does_not_hold_is_not_found(store: HubStore) -> None:
    """Missing files, folders read as files and missing folders are told, before and after listings were made."""
    for _ in range(2):
        for path in ("missing", "data", "data/v1/missing", "nowhere/at/all", "README.md/below"):
            for call in (store.info, store.read, store.read_versioned, lambda p: store.read_range(p, 0, 1)):
                with pytest.raises(NotFound, match=path):
                    call(path)
            assert not store.exists(path)
        assert list(store.list("nowhere")) == []
        assert list(store.children("nowhere")) == []
        assert set(paths(store.list())) >= set(FILES)


def test_a_folder_of_a_repo_is_a_store_of_its_own(store: HubStore) -> None:
    """A URI may name a folder; paths are relative to it."""
    inside = opened(f"{URI}/data/v1")
    assert inside.read("part-0.parquet") == store.read("data/v1/part-0.parquet")
    assert paths(inside.list()) == [path.removeprefix("data/v1/") for path in paths(store.list("data/v1"))]
    with pytest.raises(NotFound):
        inside.read("README.md")


def test_listings_with_many_pages_are_whole(hub: Hub, store: HubStore) -> None:
    """A listing goes on where the Hub ends a page."""
    hub.settings.page_entries = 2
    assert set(paths(store.list())) >= set(FILES)
    assert sorted(paths(opened(URI).children("data/v1"))) == ["data/v1/a b", "data/v1/part-0.parquet"]


def test_ranges_outside_and_other_etags_are_refused(store: HubStore) -> None:
    """A range beyond the end, and a file that is not the one that was listed, are errors."""
    with pytest.raises(InputError, match="found 7 bytes"):
        store.read_range("README.md", 3, 20)
    with pytest.raises(InputChanged, match="expected other"):
        store.read("README.md", etag="other")
    with pytest.raises(InputChanged, match="expected other"):
        store.read_range("README.md", 0, 1, etag="other")
    for path in ("../etc/passwd", "/etc/passwd", "data//x", ""):
        with pytest.raises(StorageError, match="expected a relative path"):
            store.read(path)


def test_nothing_is_written_to_a_repo(store: HubStore) -> None:
    """No run takes a repo as its output."""
    for call in (store.check, store.now, lambda: store.create("x", b""), lambda: store.delete(["README.md"])):
        with pytest.raises(UnsafeStore, match="no run may write to it"):
            call()


# --- one commit


def test_a_reader_sees_one_commit_while_main_moves(hub: Hub, store: HubStore) -> None:
    """What was opened before a move stays as it was, also for its copies; what is opened later sees the move whole."""
    assert store.read("README.md") == FILES["README.md"]
    hub.repo("org/name").seed({"README.md": b"moved", "data/v1/part-0.parquet": None, "new.txt": b"new"})
    copy = pickle.loads(pickle.dumps(store))
    for reader in (store, copy):
        assert reader.read("README.md") == FILES["README.md"]
        assert reader.read("data/v1/part-0.parquet") == FILES["data/v1/part-0.parquet"]
        assert not reader.exists("new.txt")
        assert reader.commit == store.commit
    assert opened(URI).read("README.md") == b"moved"
    assert opened(f"{URI}@{store.commit}").read("README.md") == FILES["README.md"]


def test_branches_tags_commits_and_pull_requests_are_revisions(hub: Hub, store: HubStore) -> None:
    """Every kind of revision can be named, in each of its spellings."""
    repo = hub.repo("org/name")
    repo.create_tag("v1", repo.head())
    repo.create_branch("some/branch", repo.head())
    pull = repo.open_pull("t", "d", "somebody")
    for revision in ("main", "v1", "some%2Fbranch", pull.ref, pull.ref.replace("/", "%2F"), repo.head()):
        found = opened(f"{URI}@{revision}")
        assert found.read("README.md") == FILES["README.md"]
        assert opened(f"{URI}@{revision}/data").read("v2/part-0.parquet") == b"PAR1"
        assert opened(found.uri).commit == store.commit


def test_a_pickle_holds_neither_token_nor_signed_links(hub: Hub, store: HubStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy finds the token by itself; no attribute, text or option carries one."""
    token = os.environ["HF_TOKEN"]
    store.read("data/v1/part-0.parquet")
    mine = HubStore(URI, {"token": token, "endpoint": hub.endpoint, "key": "secret-key"})
    mine.read("README.md")
    for some in (store, mine):
        told = pickle.dumps(some) + repr(some).encode() + repr(vars(some)).encode()
        assert token.encode() not in told
        assert b"secret-key" not in told
        assert b"Signature" not in pickle.dumps(some)
    copy = pickle.loads(pickle.dumps(store))
    other = hub.token(name="another")
    monkeypatch.setenv("HF_TOKEN", other)
    assert copy.read("README.md") == FILES["README.md"]


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: Hub, store: HubStore) -> None:
    """Where the Hub redirects to storage, the token stays behind; the storage is asked again without asking the Hub."""
    with hub.count_requests() as log:
        for start in range(0, 100, 10):
            store.read_range("data/v1/part-0.parquet", start, start + 10)
    storage = [entry for entry in log if entry.server == "lfs"]
    assert len(storage) == 10
    assert all("authorization" not in entry.headers for entry in storage)
    resolved = [entry for entry in log if entry.server == "hub" and "/resolve/" in entry.path]
    assert len(resolved) == 1
    assert "authorization" in resolved[0].headers


def test_an_address_that_expired_is_asked_for_again(hub: Hub, store: HubStore) -> None:
    """Signed addresses end after an hour: the Hub gives another one."""
    store.read_range("data/v1/part-0.parquet", 0, 10)
    with hub.fail("status", server="lfs", status=403), hub.count_requests() as log:
        assert store.read_range("data/v1/part-0.parquet", 10, 20) == bytes(range(10, 20))
    assert [entry.server for entry in log] == ["lfs", "hub", "lfs"]


def test_a_signed_address_is_in_no_message(hub: Hub, store: HubStore) -> None:
    """Storage that fails is told without what lets anybody read there."""
    store.read_range("data/v1/part-0.parquet", 0, 10)
    for status in (500, 400):
        with hub.fail("status", server="lfs", status=status, times=None), pytest.raises(StorageError) as told:
            store.read_range("data/v1/part-0.parquet", 0, 10)
        assert "data/v1/part-0.parquet" in told.value.message
        assert re.search(r"X-Amz-\w+=(?!\[redacted\])", told.value.message) is None


# --- refusals


def test_a_repo_that_is_not_there_or_private_is_told_with_its_remedy(hub: Hub, store: HubStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub says the same of both; the message names the repo and how to sign in."""
    hub.create("org/hidden", FILES, private=True)
    assert opened("hf://datasets/org/hidden").read("README.md") == FILES["README.md"]
    with pytest.raises(NotFound, match=r"org/nothing.*no such dataset repo, or a private one.*HF_TOKEN"):
        opened("hf://datasets/org/nothing").read("README.md")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(NotFound, match=r"org/hidden.*HF_TOKEN"):
        opened("hf://datasets/org/hidden").read("README.md")
    assert opened(URI).read("README.md") == FILES["README.md"]


def test_a_revision_that_is_not_there_is_told(store: HubStore) -> None:
    """The message names the revision."""
    with pytest.raises(NotFound, match="no revision 'v9'; name a branch, a tag"):
        opened(f"{store.uri}@v9").read("README.md")


def test_a_gated_repo_is_told(hub: Hub, store: HubStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has no access is told to ask for it."""
    hub.repo("org/name").gated = True
    monkeypatch.setenv("HF_TOKEN", hub.token(orgs=(), name="stranger"))
    with pytest.raises(AccessDenied, match="ask for it on the repo's page"):
        store.read("README.md")


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_does_not_do_is_told(hub: Hub, store: HubStore, status: int) -> None:
    """Neither is asked again; the token is in no message."""
    with hub.fail("status", status=status, matching="resolve", times=None) as rule, pytest.raises(StorageError) as told:
        store.read("README.md")
    assert rule.hits == 1
    assert "HF_TOKEN" in told.value.message
    assert os.environ["HF_TOKEN"] not in told.value.message


@pytest.mark.parametrize(
    "uri", ["hf://datasets/org", "hf://datasets/", "hf://datasets/org/name@", "hf://datasets/org/na me", "hf://datasets/org/name/../x"]
)
def test_a_uri_that_names_no_repo_is_an_error_of_the_words(uri: str) -> None:
    """It is told before any request, with an example."""
    with pytest.raises(ConfigError, match="write hf://datasets/OWNER/NAME"):
        open_store(uri)


def test_inputs_on_the_hub_are_found_and_read_as_before(hub: Hub, store: HubStore) -> None:
    """A pipeline's input may be files of a repo; patterns mean what they mean elsewhere."""
    sources = Sources({"endpoint": hub.endpoint, "token": os.environ["HF_TOKEN"]})
    found = sources.find([f"{URI}/data/**/*.parquet"])
    assert [one.uri for one in found] == [f"{URI}/data/v1/part-0.parquet", f"{URI}/data/v2/part-0.parquet"]
    assert sources.read_range(found[0].uri, 1, 3, etag=found[0].etag) == b"\x01\x02"
    assert store.read("data/v2/part-0.parquet") == sources.read(found[1].uri)


# --- what passes


@pytest.mark.parametrize("action", ["cut", "half_body", "status"])
@pytest.mark.parametrize("matching", ["/api/datasets/org/name", "/tree/", "/resolve/", "/repos/"])
def test_one_fault_at_any_request_passes(hub: Hub, store: HubStore, matching: str, action: str) -> None:
    """A connection that is cut, half an answer and a 503 are asked again, with the same result."""
    if action == "half_body" and matching == "/resolve/":
        matching = "/resolve/.*README"
    with hub.fail(action, matching=matching) as rule:  # type: ignore[arg-type]
        assert store.read("README.md") == FILES["README.md"]
        assert store.read_range("data/v1/part-0.parquet", 5, 9) == bytes([5, 6, 7, 8])
        assert set(paths(store.list())) >= set(FILES)
    assert rule.hits == 1
    assert store.stats.retries == 1


def test_too_many_requests_are_waited_for_as_long_as_the_hub_says(hub: Hub, store: HubStore) -> None:
    """Retry-After decides, in seconds or as a date; after the last try it is Throttled."""
    waits: list[float] = []
    store.backoff.sleep = waits.append
    with hub.fail("status", status=429, retry_after=17, matching="resolve"):
        assert store.read("README.md") == FILES["README.md"]
    with hub.fail("status", status=429, retry_after=33, http_date=True, matching="resolve"):
        assert store.read("README.md") == FILES["README.md"]
    assert waits == [17.0, 33.0]
    with hub.fail("status", status=429, matching="resolve", times=None), pytest.raises(Throttled, match="slow down"):
        store.read("README.md")


def test_without_a_network_it_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hub that nobody answers for is Unavailable, not waited for without end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    lone = opened(URI)
    ticks = itertools.count(step=TIMEOUTS[0])  # as if each try waited as long as it may for a connection
    lone.backoff.clock = lambda: next(ticks)
    with pytest.raises(Unavailable, match="check the endpoint and the network"):
        lone.read("README.md")
    assert lone.stats.requests <= 1 + MAX_SECONDS / TIMEOUTS[0]


def test_the_listing_of_a_repo_is_not_asked_for_again(hub: Hub, store: HubStore, tmp_path: Path) -> None:
    """Thousands of files cost a request a folder, or one for a thousand: the Hub allows a thousand in five minutes."""
    names = {f"data/v1/part-{number:05}.parquet": b"x" for number in range(50)}
    hub.repo("org/name").seed(names)
    with hub.count_requests() as log:
        for path in names:
            assert store.info(path).size == 1
        assert not store.exists("data/v1/none")
    assert len(log) == 2
    whole = opened(URI)
    with hub.count_requests() as log:
        assert set(paths(whole.list())) >= set(names)
        assert not whole.exists("nowhere/at/all/x")
        assert list(whole.list("data/v7")) == []
    assert len(log) == 2
