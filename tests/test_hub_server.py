"""The loopback Hub does to the official clients what the Hub does: otherwise tests of publishing would prove nothing."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfFileSystem
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

NAME = "org/name"
CARD = b"---\nlicense: cc0-1.0\n---\n# Documents\n"


def commit(api, files, **settings):
    """Commit {path: bytes} with the official client."""
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    return api.create_commit(NAME, operations, **{"commit_message": "a commit", "repo_type": "dataset", **settings})


@pytest.fixture
def api(hub):
    """The official client of an account that owns the empty repo `org/name`."""
    client = hub.api()
    client.create_repo(NAME, repo_type="dataset")
    return client


def raw(hub, method, path, body=b"", headers=None):
    """A request that no official client would send; returns status and headers."""
    connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {hub.token()}", **(headers or {})})
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        connection.close()


def lines(*entries):
    """The body of a commit."""
    header = {"key": "header", "value": {"summary": "a commit"}}
    return b"\n".join(json.dumps(entry).encode() for entry in (header, *entries))


# Repos and accounts


def test_a_repo_is_created_once_and_deleted(hub):
    """A second create_repo is a conflict unless exist_ok is set; a deleted repo is not found."""
    api = hub.api()
    assert api.create_repo(NAME, repo_type="dataset").repo_id == NAME
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo(NAME, repo_type="dataset")
    assert api.create_repo(NAME, repo_type="dataset", exist_ok=True).repo_id == NAME
    assert list(hub.repo(NAME).tree()) == [".gitattributes"]
    api.delete_repo(NAME, repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info(NAME, repo_type="dataset")


def test_accounts_and_roles(hub, api):
    """Whoami tells name, organisations and role; only write tokens of members may write."""
    assert api.whoami()["orgs"][0]["name"] == "org"
    assert hub.api(hub.token("read")).whoami()["auth"]["accessToken"]["role"] == "read"
    api.auth_check(NAME, repo_type="dataset", write=True)
    for token in (hub.token("read"), hub.token("write", orgs=(), name="stranger")):
        other = hub.api(token)
        other.auth_check(NAME, repo_type="dataset")
        for call in (
            lambda other=other: other.create_repo("org/other", repo_type="dataset"),
            lambda other=other: commit(other, {"a.json": b"{}"}),
            lambda other=other: other.create_tag(NAME, tag="v1", repo_type="dataset"),
            lambda other=other: other.auth_check(NAME, repo_type="dataset", write=True),
        ):
            with pytest.raises(HfHubHTTPError, match="403"):
                call()
    with pytest.raises(HfHubHTTPError, match="Invalid"):
        hub.api("hf_unknown").whoami()


def test_nobody_is_told_of_a_private_repo(hub, api):
    """A private repo is not found by strangers and without a token; the owner reads it."""
    commit(api, {"a.json": b"{}", "data/a.parquet": b"rows"})
    api.update_repo_settings(NAME, repo_type="dataset", private=True)
    for token in (False, hub.token("write", orgs=(), name="stranger")):
        with pytest.raises(RepositoryNotFoundError):
            api.repo_info(NAME, repo_type="dataset", token=token)
        with pytest.raises(RepositoryNotFoundError):
            api.hf_hub_download(NAME, "a.json", repo_type="dataset", token=token)
    assert Path(api.hf_hub_download(NAME, "data/a.parquet", repo_type="dataset")).read_bytes() == b"rows"


def test_a_gated_repo_is_seen_but_not_read(hub, api):
    """Strangers get GatedRepo for files, and the repo's facts all the same."""
    commit(api, {"a.json": b"{}"})
    api.update_repo_settings(NAME, repo_type="dataset", gated="manual")
    stranger = hub.api(hub.token("read", orgs=(), name="stranger"))
    assert stranger.repo_info(NAME, repo_type="dataset").gated == "manual"
    with pytest.raises(GatedRepoError):
        stranger.hf_hub_download(NAME, "a.json", repo_type="dataset")


# Commits


def test_a_commit_is_a_new_state_of_main(hub, api):
    """Files in git and in LFS arrive, older states stay, and each LFS object is uploaded once."""
    first = commit(api, {"README.md": CARD, "data/a.parquet": b"rows", "empty.parquet": b""})
    second = commit(api, {"data/b.parquet": b"rows", "data/c.parquet": b"other rows"}, parent_commit=first.oid)
    repo = hub.repo(NAME)
    assert repo.tree(first.oid)["data/a.parquet"] == b"rows"
    assert sorted(repo.tree()) == [".gitattributes", "README.md", "data/a.parquet", "data/b.parquet", "data/c.parquet", "empty.parquet"]
    assert [state.oid for state in repo.history()][1:] == [first.oid, second.oid]
    assert hub.uploads == {hashlib.sha256(data).hexdigest(): 1 for data in (b"rows", b"other rows")}
    info = api.repo_info(NAME, repo_type="dataset", files_metadata=True)
    assert (info.sha, info.card_data.license) == (second.oid, "cc0-1.0")
    assert {file.rfilename: file.size for file in info.siblings}["data/c.parquet"] == len(b"other rows")


def test_the_same_again_is_no_commit(hub, api):
    """Identical content is recognised before anything is uploaded; the head stays."""
    files = {"a.json": b"{}", "data/a.parquet": b"rows"}
    head = commit(api, files).oid
    with hub.count_requests() as requests:
        assert commit(api, files).oid == head
    assert hub.repo(NAME).head() == head
    assert not [request for request in requests if "/commit/" in request.path or request.server == "lfs"]


def test_large_files_come_in_parts(hub, api, tmp_path):
    """A file above the limit is put in parts of the given size, and is whole afterwards."""
    hub.settings.multipart_bytes, hub.settings.part_bytes = 100_000, 30_000
    data = os.urandom(100_001)
    (tmp_path / "large").write_bytes(data)
    commit(api, {"data/large.parquet": str(tmp_path / "large"), "data/small.parquet": data[:100_000]})
    assert hub.repo(NAME).tree()["data/large.parquet"] == data
    assert hub.part_uploads == {(hashlib.sha256(data).hexdigest(), number): 1 for number in (1, 2, 3, 4)}


def test_of_four_with_the_same_parent_one_wins(hub, api):
    """Parallel commits that expect the same parent: one becomes the head, three are told that they came too late."""
    head = hub.repo(NAME).head()

    def attempt(number):
        try:
            return commit(api, {f"{number}.json": b"{}"}, parent_commit=head).oid
        except HfHubHTTPError as error:
            return error.response.status_code

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(attempt, range(4)))
    assert results.count(412) == 3
    assert hub.repo(NAME).head() in results
    assert len(hub.repo(NAME).history()) == 2


def test_deletes_and_copies(hub, api):
    """Files and folders go, copies come without an upload; what is not there cannot be deleted."""
    commit(api, {"data/a.parquet": b"rows", "old/b.json": b"{}", "old/c.json": b"{}"})
    operations = [
        CommitOperationCopy("data/a.parquet", "data/b.parquet"),
        CommitOperationDelete("old/"),
        CommitOperationDelete("data/a.parquet"),
    ]
    api.create_commit(NAME, operations, commit_message="tidied", repo_type="dataset")
    assert {path: data for path, data in hub.repo(NAME).tree().items() if path != ".gitattributes"} == {"data/b.parquet": b"rows"}
    before = hub.repo(NAME).head()
    for gone in ("old/b.json", "old/"):
        with pytest.raises(EntryNotFoundError, match="doesn't exist"):
            api.create_commit(NAME, [CommitOperationDelete(gone)], commit_message="again", repo_type="dataset")
    assert hub.repo(NAME).head() == before


@pytest.mark.parametrize(
    ("entries", "status"),
    [
        ([{"key": "lfsFile", "value": {"path": "a.parquet", "algo": "sha256", "oid": "0" * 64, "size": 3}}], 400),
        ([{"key": "file", "value": {"path": "../a", "content": "", "encoding": "base64"}}], 400),
        ([{"key": "file", "value": {"path": path, "content": "", "encoding": "base64"}} for path in ("a", "a/b")], 400),
        ([{"key": "file", "value": {"path": "a", "content": "AAAA" * 30, "encoding": "base64"}}], 400),
        ([{"key": "surprise", "value": {"path": "a"}}], 400),
        (
            [
                {"key": "file", "value": {"path": "a", "content": "", "encoding": "base64"}},
                {"key": "deletedFile", "value": {"path": "gone"}},
            ],
            404,
        ),
    ],
    ids=["object not uploaded", "path outside", "file and folder", "too large for git", "unknown line", "second line fails"],
)
def test_a_bad_commit_changes_nothing(hub, entries, status):
    """A commit takes effect as a whole or not at all."""
    hub.settings.lfs_bytes = 80
    head = hub.create(NAME).head()
    assert raw(hub, "POST", f"/api/datasets/{NAME}/commit/main", lines(*entries))[0] == status
    assert hub.repo(NAME).head() == head


def test_lfs_keeps_nothing_else_than_the_object(hub):
    """Bytes with another hash are refused, and links that we did not sign."""
    hub.create(NAME)
    oid = hashlib.sha256(b"rows").hexdigest()
    wanted = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": 4}], "hash_algo": "sha256"}
    body = raw(hub, "POST", f"/datasets/{NAME}.git/info/lfs/objects/batch", json.dumps(wanted).encode())[2]
    where = json.loads(body)["objects"][0]["actions"]["upload"]["href"]
    for link, data, status in ((where, b"rowz", 400), (where[:-1] + "x", b"rows", 403), (where, b"rows", 200)):
        host, _, path = link.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.request("PUT", "/" + path, data)
        assert connection.getresponse().status == status
        connection.close()
    assert hub.repo(NAME).lfs == {oid: b"rows"}


def test_a_card_is_checked_before_the_commit(hub, api):
    """A README.md with bad metadata is refused, one without is warned about."""
    with pytest.raises(ValueError, match="size_categories"):
        commit(api, {"README.md": b"---\nsize_categories: [many]\n---\n"})
    with pytest.warns(UserWarning, match="empty or missing yaml"):
        commit(api, {"README.md": b"# Nothing above\n"})


# Revisions


def test_branches_tags_and_history(hub, api):
    """Branches and tags point at states and exist once; a listing of commits goes over all pages."""
    hub.settings.page_entries = 2
    states = [commit(api, {f"folder{number}/{number}.json": b"{}"}).oid for number in range(5)]
    api.create_tag(NAME, tag="v1", revision=states[1], repo_type="dataset")
    api.create_branch(NAME, branch="staging", revision="v1", repo_type="dataset")
    for call in (api.create_tag, api.create_branch):
        name = {"tag": "v1"} if call == api.create_tag else {"branch": "staging"}
        with pytest.raises(HfHubHTTPError, match="409"):
            call(NAME, **name, repo_type="dataset")
        call(NAME, **name, repo_type="dataset", exist_ok=True)
    refs = api.list_repo_refs(NAME, repo_type="dataset")
    assert {ref.name: ref.target_commit for ref in refs.branches + refs.tags} == {"main": states[4], "staging": states[1], "v1": states[1]}
    assert [state.commit_id for state in api.list_repo_commits(NAME, repo_type="dataset")][:5] == states[::-1]
    assert len(list(api.list_repo_tree(NAME, repo_type="dataset", recursive=True, expand=True))) == 11
    assert [info.path for info in api.get_paths_info(NAME, ["folder0", "folder1/1.json", "no"], repo_type="dataset")] == [
        "folder0",
        "folder1/1.json",
    ]
    assert api.list_repo_files(NAME, repo_type="dataset", revision="v1") == [".gitattributes", "folder0/0.json", "folder1/1.json"]
    api.super_squash_history(NAME, branch="staging", repo_type="dataset")
    assert len(api.list_repo_commits(NAME, revision="staging", repo_type="dataset")) == 1
    assert hub.repo(NAME).tree("staging") == hub.repo(NAME).tree("v1")
    api.delete_tag(NAME, tag="v1", repo_type="dataset")
    api.delete_branch(NAME, branch="staging", repo_type="dataset")
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(NAME, revision="v1", repo_type="dataset")
    assert hub.repo(NAME).tags == {}


# Pull requests


def test_a_pull_request_moves_main_once(hub, api):
    """Commits go to the request, unseen on main, which moves once when it is merged, and keeps what came meanwhile."""
    seen = []
    hub.on_move(lambda repo, tree: seen.append(sorted(tree)))
    pull = api.create_pull_request(NAME, "Version 2", description="What is new", repo_type="dataset")
    first = commit(api, {"data/a.parquet": b"rows"}, revision=pull.git_reference)
    commit(api, {"data/b.parquet": b"rows"}, revision=pull.git_reference, parent_commit=first.oid)
    with pytest.raises(HfHubHTTPError, match="412"):
        commit(api, {"data/c.parquet": b"rows"}, revision=pull.git_reference, parent_commit=first.oid)
    with pytest.raises(HfHubHTTPError, match="draft"):
        api.merge_pull_request(NAME, pull.num, repo_type="dataset")
    hub.repo(NAME).seed({"other.json": b"{}"})
    assert api.change_discussion_status(NAME, pull.num, "open", repo_type="dataset").new_status == "open"
    assert api.comment_discussion(NAME, pull.num, "ready", repo_type="dataset").content == "ready"
    api.merge_pull_request(NAME, pull.num, repo_type="dataset")
    assert seen == [[".gitattributes", "other.json"], [".gitattributes", "data/a.parquet", "data/b.parquet", "other.json"]]
    details = api.get_discussion_details(NAME, pull.num, repo_type="dataset")
    assert (details.status, details.merge_commit_oid) == ("merged", hub.repo(NAME).head())
    with pytest.raises(HfHubHTTPError, match="is merged"):
        api.merge_pull_request(NAME, pull.num, repo_type="dataset")
    assert len(seen) == 2


def test_a_pull_request_against_a_changed_file_conflicts(hub, api):
    """When main has changed the same file differently, the merge is refused and says which file; equal changes are none."""
    hub.repo(NAME).seed({"a.json": b"0", "same.json": b"0"})
    pull = commit(api, {"a.json": b"1", "same.json": b"1"}, create_pr=True)
    assert pull.pr_revision == "refs/pr/1"
    hub.repo(NAME).seed({"a.json": b"2", "same.json": b"1"})
    assert api.get_discussion_details(NAME, 1, repo_type="dataset").conflicting_files == ["a.json"]
    before = hub.repo(NAME).head()
    with pytest.raises(HfHubHTTPError, match=r"409(?s:.*)a\.json"):
        api.merge_pull_request(NAME, 1, repo_type="dataset")
    assert (hub.repo(NAME).head(), hub.repo(NAME).pulls[1].status) == (before, "open")


def test_strangers_may_propose_but_not_merge(hub, api):
    """A pull request needs no right to write; it starts at the given parent, whatever main has become."""
    parent = hub.repo(NAME).head()
    hub.repo(NAME).seed({"a.json": b"1"})
    stranger = hub.api(hub.token("write", orgs=(), name="stranger"))
    pull = commit(stranger, {"a.json": b"2", "data/a.parquet": b"rows"}, create_pr=True, parent_commit=parent)
    assert hub.repo(NAME).commit_at(pull.pr_revision).parent == parent
    with pytest.raises(HfHubHTTPError, match="403"):
        stranger.merge_pull_request(NAME, pull.pr_num, repo_type="dataset")
    event = hub.repo(NAME).pulls[1].events[0]["id"]
    assert stranger.edit_discussion_comment(NAME, 1, event, "What is new", repo_type="dataset").content == "What is new"
    assert stranger.rename_discussion(NAME, 1, "Version 2", repo_type="dataset").new_title == "Version 2"
    assert [one.num for one in api.get_repo_discussions(NAME, repo_type="dataset")] == [1]
    api.change_discussion_status(NAME, pull.pr_num, "closed", repo_type="dataset", comment="no")
    with pytest.raises(HfHubHTTPError, match="closed"):
        api.merge_pull_request(NAME, pull.pr_num, repo_type="dataset")


# Reading


def test_files_are_downloaded_and_read_in_ranges(hub, api, tmp_path):
    """hf_hub_download, snapshot_download and HfFileSystem give the bytes; LFS never sees a token."""
    data = os.urandom(200_000)
    files = {"data/a.parquet": data, "small.json": b"{}"}
    commit(api, files)
    assert Path(api.hf_hub_download(NAME, "small.json", repo_type="dataset")).read_bytes() == b"{}"
    folder = Path(api.snapshot_download(NAME, repo_type="dataset", local_dir=tmp_path / "snapshot"))
    assert {path: (folder / path).read_bytes() for path in files} == files
    files_there = HfFileSystem(endpoint=hub.endpoint, token=hub.token())
    for path, content in files.items():
        with files_there.open(f"datasets/{NAME}/{path}", block_size=1000) as file:
            assert (file.read(1), file.seek(len(content) - 1), file.read()) == (content[:1], len(content) - 1, content[-1:])
    assert files_there.cat_ranges([f"datasets/{NAME}/data/a.parquet"], [5], [9]) == [data[5:9]]
    assert sorted(files_there.find(f"datasets/{NAME}")) == [f"datasets/{NAME}/{path}" for path in sorted([*files, ".gitattributes"])]
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(NAME, "no.json", repo_type="dataset")
    downloads = [request for request in hub.log if request.server == "lfs" and request.method == "GET"]
    assert downloads
    assert not [request for request in downloads if "authorization" in request.headers]


@pytest.mark.parametrize(
    ("given", "status", "shown"), [("bytes=0-0", 206, b"0"), ("bytes=7-", 206, b"789"), ("bytes=-2", 206, b"89"), ("bytes=10-", 416, b"")]
)
def test_ranges(hub, given, status, shown):
    """First, last and suffix ranges are served; one behind the end is refused."""
    hub.create(NAME, {"a.txt": b"0123456789"})
    found, headers, body = raw(hub, "GET", f"/datasets/{NAME}/resolve/main/a.txt", headers={"Range": given})
    assert (found, body) == (status, shown)
    assert headers["X-Repo-Commit"] == hub.repo(NAME).head()


LOAD = """
import os, sys, datasets
name = "org/name"
for streaming in (False, True):
    rows = datasets.load_dataset(name, split="train", streaming=streaming)
    print(sorted(row["text"] for row in rows))
datasets.Dataset.from_dict({"text": ["pushed"]}).push_to_hub("org/pushed")
print([row["text"] for row in datasets.load_dataset("org/pushed", split="train", streaming=True)])
sys.stdout.flush()
os._exit(0)  # threads of the libraries now and then abort an interpreter that ends ("terminate called without an active exception")
"""


def test_datasets_loads_streams_and_pushes(hub, tmp_path):
    """load_dataset gives the documents, streaming and not; push_to_hub makes a repo that loads."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["one", "two"]}), tmp_path / "a.parquet")
    card = b"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*.parquet\n---\n"
    hub.create(NAME, {"README.md": card, "data/a.parquet": (tmp_path / "a.parquet").read_bytes()})
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env={**os.environ, **hub.environment()}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['one', 'two']", "['one', 'two']", "['pushed']"]
    assert hub.repos == (NAME, "org/pushed")


def test_upload_folder(hub, api, tmp_path):
    """A folder arrives in one commit."""
    for name in ("a.json", "data/b.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    api.upload_folder(folder_path=tmp_path, repo_id=NAME, repo_type="dataset")
    assert hub.repo(NAME).tree()["data/b.parquet"] == b"data/b.parquet"
    assert len(hub.repo(NAME).history()) == 2


# What was sent


def test_what_was_received_can_be_searched(hub, api):
    """All that arrives is kept, files in commits decoded, tokens left out; links in the log carry no signature."""
    commit(api, {"a.json": b'{"planted": "secret-in-git"}', "a.parquet": b"secret-in-lfs"}, commit_message="secret-in-message")
    for planted in (b"secret-in-git", b"secret-in-lfs", b"secret-in-message"):
        assert planted in hub.received
    assert hub.token().encode() not in hub.received
    assert not [request.path for request in hub.log if "ignature" in request.path]
