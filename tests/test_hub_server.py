"""The loopback Hub, driven by the official clients."""

from __future__ import annotations

import pytest


def test_publish_flow(hub):
    """x."""
    api = hub.api()
    api.create_repo("org/name", repo_type="dataset")
    api.create_repo("org/name", repo_type="dataset", exist_ok=True)
    from huggingface_hub import CommitOperationAdd

    head = api.repo_info("org/name", repo_type="dataset").sha
    info = api.create_commit("org/name", [CommitOperationAdd("data/a.parquet", b"abc"), CommitOperationAdd("x.json", b"{}")], commit_message="m", repo_type="dataset", parent_commit=head)
    assert hub.repo("org/name").head() == info.oid
    assert hub.repo("org/name").tree()["data/a.parquet"] == b"abc"
    api.create_tag("org/name", tag="v1", repo_type="dataset")
    pr = api.create_pull_request("org/name", "title", repo_type="dataset")
    api.create_commit("org/name", [CommitOperationAdd("data/b.parquet", b"abcd")], commit_message="m", repo_type="dataset", revision=pr.git_reference)
    with pytest.raises(Exception, match="draft"):
        api.merge_pull_request("org/name", pr.num, repo_type="dataset")
    api.change_discussion_status("org/name", pr.num, "open", repo_type="dataset")
    api.merge_pull_request("org/name", pr.num, repo_type="dataset")
    print(api.get_discussion_details("org/name", pr.num, repo_type="dataset"))
    print(api.list_repo_refs("org/name", repo_type="dataset", include_pull_requests=True))
    print(api.list_repo_commits("org/name", repo_type="dataset"))
    print(list(api.list_repo_tree("org/name", repo_type="dataset", recursive=True, expand=True)))
    p = api.hf_hub_download("org/name", "data/b.parquet", repo_type="dataset")
    from pathlib import Path; assert Path(p).read_bytes() == b"abcd"
    print(api.snapshot_download("org/name", repo_type="dataset"))
    from huggingface_hub import HfFileSystem
    fs = HfFileSystem(endpoint=hub.endpoint, token=hub.token())
    with fs.open("datasets/org/name/data/b.parquet") as f:
        f.seek(1); assert f.read(2) == b"bc"
    for e in hub.log: print(e.server, e.method, e.path, e.status)
