"""What was published reads as the output it was published from; what is out of reach is told, and nobody is followed anywhere."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import made
import orjson
import pyarrow as pa
import pytest
from corpora import config_of, write_parquet
from hub_server import Hub
from made import Output
from published_made import FIRST, FOLDER, PREVIEW, URI, documents, failures, finished_output, publish, repo_files, second_version
from servers import FaultProxy, S3Server
from tokens_made import BOTH, ids_operator

import pipelines
from pipelines.errors import InputError, LocationUnreadable, NotFound
from pipelines.published import PublishedStore, is_followed, open_finished, public_options, published_problems
from pipelines.run import run
from pipelines.status import status
from pipelines.storage import HubStore, LocalStore, Store, open_store
from pipelines.verify import verify
from pipelines.version import replace_any


@pytest.fixture
def output(tmp_path: Path) -> Store:
    """A finished output on this machine."""
    return finished_output(tmp_path)


# --- whole


@pytest.mark.parametrize("include_data", [False, True])
def test_what_was_published_passes_every_check_and_gives_the_same_documents(hub: Hub, output: Store, include_data: bool) -> None:
    """With the data in the repo or without: the documents are those of the output, and no check is left out."""
    publish(hub, output, include_data=include_data)
    found = verify(URI)
    assert failures(found) == []
    assert [check.name for check in found.checks if not check.checked] == []
    local = verify(output.uri)
    assert (found.version, found.rows, found.files, found.bytes) == (local.version, local.rows, local.files, local.bytes)
    assert {check.name for check in local.checks} - {check.name for check in found.checks} <= {"card"}
    assert documents(URI) == documents(output.uri)
    assert [list(row["input_ids"]) for row in documents(URI, tokens=True)] == [row["input_ids"] for row in documents(output.uri)]
    assert status(URI)["state"] == "finished"


def test_with_the_data_in_the_repo_the_output_is_not_needed(hub: Hub, output: Store) -> None:
    """Everything can be checked from the repo alone."""
    expected = documents(output.uri)
    publish(hub, output, include_data=True)
    output.delete([info.path for info in output.list()])
    assert failures(verify(URI)) == []
    assert documents(URI) == expected


def test_token_shards_of_a_run_are_published_and_checked_with_it(hub: Hub, no_fsync: None, tmp_path: Path) -> None:
    """Of a version with token shards, their table is in the repo, and their files with the data; damage to one is found in both ways."""
    write_parquet(tmp_path / "in.parquet", [{"id": f"d{row}", "text": f"document {row} " * (row % 5 + 1)} for row in range(60)], 20)
    config = config_of(
        tmp_path / "p.yaml",
        tmp_path / "in.parquet",
        tmp_path / "out",
        [ids_operator(tmp_path)],
        output={"target_shard_bytes": "4KiB", "token_shards": {"formats": BOTH}},
    )
    run(config)
    output = open_store(str(tmp_path / "out"))
    for repo, include_data in (("org/name", False), ("org/whole", True)):
        publish(hub, output, repo, include_data=include_data)
        found = verify(f"hf://datasets/{repo}")
        assert failures(found) == []
        assert [check.name for check in found.checks if not check.checked] == []
        assert documents(f"hf://datasets/{repo}") == documents(output.uri)
    path = next(info.path for info in output.list("tokens/v1"))
    hub.repo("org/whole").seed({path: output.read(path)[:-1]})
    replace_any(output, path, output.read(path)[:-1])
    for repo in ("org/name", "org/whole"):
        assert any(path in failure for failure in failures(verify(f"hf://datasets/{repo}")))


def test_documents_on_an_object_store_are_found_from_the_repo(hub: Hub, s3_server: S3Server) -> None:
    """The repo tells bucket and endpoint; credentials are those of whoever reads."""
    output = open_store(f"s3://{s3_server.make_bucket()}/some/out", s3_server.options)
    Output().write(output)
    publish(hub, output, storage_options=s3_server.options)
    assert failures(verify(URI)) == []
    assert documents(URI) == documents(output.uri, storage_options=output.options)
    publish(hub, output, "org/other")
    assert documents("hf://datasets/org/other", storage_options=s3_server.options) == documents(URI)


def test_what_the_caller_says_of_the_location_wins(hub: Hub, s3_server: S3Server) -> None:
    """A repo whose endpoint is out of date is read with the right one given, in either spelling."""
    output = open_store(f"s3://{s3_server.make_bucket()}/out", s3_server.options)
    Output().write(output)
    publish(hub, output, storage_options={"endpoint_url": "http://127.0.0.1:9"})
    for options in (s3_server.options, {"client_kwargs": s3_server.options}):
        assert len(documents(URI, storage_options=options)) == 9


def test_the_command_verifies_and_reports_what_was_published(
    hub: Hub, output: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify`, `status` and `report` take the address of a repo; damage is exit status 4."""
    from pipelines.cli import main

    def printed(*words: str) -> tuple[int, str]:
        return main(list(words)), capsys.readouterr().out

    publish(hub, output)
    second_version(output)
    publish(hub, output)
    for version, words in (("v2", []), ("v1", ["--version", "v1"])):
        found, told = printed("verify", URI, "--json", *words)
        assert (found, orjson.loads(told)["version"]) == (0, version)
    assert orjson.loads(printed("status", URI, "--json")[1])["version"]["version"] == "v2"
    report = tmp_path / "report.html"
    assert printed("report", URI, "--version", "v1", "--output", str(report))[0] == 0
    assert report.read_bytes() == output.read("versions/v1/report.html")
    hub.repo("org/name").seed({"shards.parquet": b"PAR1"})
    assert printed("verify", URI)[0] == 4


LOAD = """
import json, os, sys, datasets
found = {}
for streaming in (False, True):
    for split in sys.argv[3:]:
        rows = datasets.load_dataset(sys.argv[1], sys.argv[2] or None, split=split, streaming=streaming)
        found[f"{split}-{streaming}"] = sorted(row["id"] for row in rows)
print(json.dumps(found))
sys.stdout.flush()
os._exit(0)  # threads of the libraries now and then abort an interpreter that ends ("terminate called without an active exception")
"""


@pytest.mark.parametrize("include_data", [False, True])
def test_load_dataset_reads_the_same_documents(hub: Hub, output: Store, include_data: bool) -> None:
    """Streaming or not: the shards by default if they are there; the preview otherwise, and under its own name."""
    files = publish(hub, output, include_data=include_data)
    preview = sorted(row["id"] for row in pa.Table.to_pylist(made.pq.read_table(pa.BufferReader(files[PREVIEW]))))

    def loaded(config: str, split: str) -> list[list[str]]:
        command = [sys.executable, "-c", LOAD, "org/name", config, split]
        done = subprocess.run(command, env={**os.environ, **hub.environment()}, capture_output=True, text=True, check=True)
        return list(json.loads(done.stdout).values())

    assert loaded("preview", "preview") == [preview] * 2
    if include_data:
        assert loaded("", "train") == [sorted(row["id"] for row in documents(output.uri))] * 2


# --- versions


def test_tags_keep_versions_and_main_is_the_last(hub: Hub, output: Store) -> None:
    """Each version is read and verified by its tag, or by its name, after main has moved on; so is one whose data are in the repo."""
    for repo, include_data in (("org/name", False), ("org/whole", True)):
        store = open_store(f"{output.uri}-{include_data}")
        Output().write(store)
        first = documents(store.uri)
        publish(hub, store, repo, include_data=include_data)
        second_version(store)
        publish(hub, store, repo, include_data=include_data)
        uri = f"hf://datasets/{repo}"
        second = documents(store.uri)
        assert [verify(f"{uri}{at}").version for at in ("", "@v1", "@v2", "@main")] == ["v2", "v1", "v2", "v2"]
        assert [failures(verify(f"{uri}{at}")) for at in ("", "@v1", "@v2")] == [[], [], []]
        assert documents(uri) == documents(f"{uri}@v2") == second
        assert documents(f"{uri}@v1") == documents(uri, version="v1") == first
        assert verify(uri, version="v1").version == "v1"


def test_a_version_that_was_not_published_is_told(hub: Hub, output: Store) -> None:
    """By its name, and beside a revision that holds another one."""
    publish(hub, output)
    with pytest.raises(NotFound, match="version 'v7' is not here, but v1, and there is no such tag"):
        documents(URI, version="v7")
    with pytest.raises(NotFound, match="version 'v2' is not here, but v1; name no revision, or the tag"):
        documents(f"{URI}@main", version="v2")
    with pytest.raises(NotFound, match="is not here"):
        documents(URI, version="../v1")


def test_what_the_output_did_after_publishing_does_not_show(hub: Hub, output: Store) -> None:
    """The published version stays as it is while the output goes on: later shards are no strays, and nobody reads them."""
    expected = documents(output.uri)
    publish(hub, output)
    second_version(output)
    replace_any(output, "data/v3/part-00000-0a1b2c3d.parquet", b"half")
    replace_any(output, "_shardmill/plan.json", b"{}")
    assert failures(verify(URI)) == []
    assert documents(URI) == expected
    store = open_finished(URI)
    listed = [info.path for info in store.list()]
    assert listed == sorted(set(listed))
    assert not [path for path in listed if path.startswith(("data/v2", "data/v3", "versions/v2", "_shardmill/plan"))]
    assert not store.exists("data/v3/part-00000-0a1b2c3d.parquet")
    assert not store.exists("_shardmill/plan.json")


def test_main_may_move_while_one_reads(hub: Hub, output: Store) -> None:
    """A dataset that is open, and its copy in a worker, go on with the version that they began with."""
    expected = documents(output.uri)
    publish(hub, output, include_data=True)
    dataset = pipelines.open_dataset(URI)
    rows = iter(dataset)
    begun = [next(rows)]
    second_version(output)
    publish(hub, output, include_data=True)
    assert begun + list(rows) == expected
    assert list(pickle.loads(pickle.dumps(dataset))) == expected


def test_a_tag_that_holds_another_version_is_found(hub: Hub, output: Store) -> None:
    """A tag named as a version is that version."""
    publish(hub, output)
    hub.repo("org/name").create_tag("v2", hub.repo("org/name").head())
    assert failures(verify(f"{URI}@v2")) == [
        "published: manifest.json: the tag v2 holds v1; publish v2 again, or read another tag",
    ]
    with pytest.raises(NotFound, match="the tag v2 holds another one"):
        documents(URI, version="v2")


# --- what cannot be reached


def test_a_path_on_another_machine_is_told(hub: Hub, output: Store, tmp_path: Path) -> None:
    """Reading says what points where and what to do; verifying fails, with the checks that could not be made told as such."""
    publish(hub, output)
    Path(output.uri).rename(tmp_path / "moved")
    with pytest.raises(LocationUnreadable, match=r"org/name v1 points to .*, a path on the machine that published it"):
        documents(URI)
    found = verify(URI)
    assert [failure.split(": ")[0] for failure in failures(found)] == ["location"]
    skipped = {check.name for check in found.checks if not check.checked}
    assert skipped >= {"shards", "output", "tokens", "dropped table", "version folder", "strays", "ledger", "doc_keys", "card"}
    passed = {check.name for check in found.checks if check.checked and check.ok}
    assert passed >= {"manifest", "current", "published", "root table", "repository", "preview", "preview card"}
    assert status(URI)["state"] == "finished"


def test_a_bucket_that_refuses_is_a_failed_check_and_no_crash(
    hub: Hub, output: Store, s3_server: S3Server, fault_proxy: FaultProxy
) -> None:
    """No permission, none to list only, and nobody who answers: the reason is told, nothing passes silently."""
    bucket = open_store(f"s3://{s3_server.make_bucket()}/out", s3_server.options)
    for info in output.list():
        replace_any(bucket, info.path, output.read(info.path))
    publish(hub, bucket, storage_options=fault_proxy.options)
    assert failures(verify(URI)) == []
    fault_proxy.add("refuse", status=403, code="AccessDenied")
    with pytest.raises(LocationUnreadable, match=r"cannot be read from here: .*access denied"):
        documents(URI)
    found = failures(verify(URI))
    assert len(found) == 1
    assert found[0].startswith("location: published.json: org/name v1 points to s3://")
    fault_proxy.clear()
    fault_proxy.add("refuse", matching="list-type", status=403, code="AccessDenied")
    found_now = verify(URI)
    assert [failure.split(": ")[0] for failure in failures(found_now)] == ["location"]
    assert {check.name for check in found_now.checks if not check.checked} >= {"strays", "version folder"}
    assert {check.name for check in found_now.checks if check.checked and check.ok} >= {"shards", "ledger", "doc_keys"}


def test_a_stranger_is_not_followed_anywhere(hub: Hub, output: Store) -> None:
    """Addresses of other kinds, and options beyond the few, are not used, whoever writes them into a repo."""
    for uri in ("http://127.0.0.1:9/x", "memory://x", "simplecache::s3://x", "relative/out", "~/out", "hf://datasets/org/name", "gs://x/y"):
        assert not is_followed(uri)
        publish(hub, output, location=uri)
        with pytest.raises(LocationUnreadable, match="is not followed"):
            documents(URI)
        assert [failure.split(": ")[0] for failure in failures(verify(URI))] == ["location"]
    assert all(is_followed(uri) for uri in ("/data/out", "file:///data/out", "s3://bucket/out", "s3a://bucket"))


def test_of_storage_options_a_few_are_public() -> None:
    """What is told to everybody, and taken from anybody: where a bucket is, never who may read it."""
    given = {
        "endpoint_url": "https://s3.example.org",
        "anon": True,
        "key": "A",
        "secret": "B",
        "token": "C",
        "client_kwargs": {"region_name": "eu-1", "aws_secret_access_key": "D", "verify": "/etc/passwd"},
        "config_kwargs": {"s3": {"addressing_style": "path"}, "proxies": {"http": "http://me:pw@evil"}},
        "profile": "mine",
        "requester_pays": True,
    }
    public = public_options(given)
    assert public == {
        "anon": True,
        "client_kwargs": {"endpoint_url": "https://s3.example.org", "region_name": "eu-1"},
        "config_kwargs": {"s3": {"addressing_style": "path"}},
    }
    assert public_options(public) == public
    for endpoint in ("https://me:pw@s3.example.org", "file:///etc/passwd", "https://x/?sig=abc", 7, "", "https://"):
        assert public_options({"endpoint_url": endpoint}) == {}
    assert public_options({"anon": "yes", "client_kwargs": "x", "config_kwargs": {"s3": 3}}) == {}


def test_secrets_in_a_repo_are_found(hub: Hub, output: Store) -> None:
    """A repo that tells a secret fails its verification; the secret is not repeated."""
    publish(hub, output, storage_options={"key": "AKIA0123", "secret": "very-secret", "use_ssl": False})
    found = failures(verify(URI))
    assert [failure.split(" is a secret")[0] for failure in found] == [
        f"published: published.json: location.storage_options.{name}" for name in ("key", "secret")
    ]
    assert "very-secret" not in "".join(found)


def test_a_table_that_names_files_elsewhere_is_not_followed(hub: Hub, output: Store, tmp_path: Path) -> None:
    """Paths of a stranger's table stay in the store."""
    secret = tmp_path / "secret.parquet"
    secret.write_bytes(made.parquet(pa.table({"id": ["x"]})))
    for path in ("../secret.parquet", str(secret), "data/../../secret.parquet"):
        files = repo_files(output)
        table = made.pq.read_table(pa.BufferReader(files["shards.parquet"]))
        data = made.parquet(table.set_column(0, "path", pa.array([path, *table.column("path").to_pylist()[1:]])))
        publish(hub, output)
        hub.repo("org/name").seed({"shards.parquet": data, f"{FOLDER}/shards.parquet": data})
        with pytest.raises(InputError, match="expected a relative path"):
            documents(URI)
        assert not verify(URI).ok


# --- published.json


def test_what_is_wrong_with_published_json_is_told() -> None:
    """Each key of the wrong type is named, with what was expected."""
    good = {"publish_version": 1, "version": "v1", "manifest_sha256": "0" * 64, "include_data": False, "location": None, "preview": None}
    assert published_problems(orjson.dumps(good)) == []
    for name, value in [
        ("version", "1"),
        ("manifest_sha256", None),
        ("include_data", 1),
        ("location", "s3://x"),
        ("location", {"uri": 3}),
        ("preview", {"path": "x"}),
        ("preview", {"path": "x", "rows": -1, "bytes": 1, "sha256": "0" * 64}),
    ]:
        (problem,) = published_problems(orjson.dumps({**good, name: value}))
        assert problem.startswith(f"{name}: found")
    assert published_problems(b"[]") == ["found '[]', expected an object"]


def test_a_repo_without_published_json_is_read_as_it_is(hub: Hub, output: Store) -> None:
    """An output that somebody uploaded whole is an output."""
    repo = hub.create("org/name")
    repo.seed({info.path: output.read(info.path) for info in output.list()})
    assert isinstance(open_finished(URI), HubStore)
    assert failures([found := verify(URI)][0]) == [f for f in failures(found) if ".gitattributes" in f]
    assert documents(URI) == documents(output.uri)
    repo.seed({"published.json": b"{"})
    with pytest.raises(InputError, match=r"published\.json: it is no JSON"):
        documents(URI)


def test_a_copy_of_the_store_holds_no_secret_and_reads_the_same(hub: Hub, output: Store) -> None:
    """Workers of a DataLoader get a pickled store: the commit is in it, the token is not."""
    publish(hub, output)
    store = open_finished(URI)
    assert isinstance(store, PublishedStore)
    assert isinstance(store.location, LocalStore)
    data = pickle.dumps(store)
    assert os.environ["HF_TOKEN"].encode() not in data
    copy = pickle.loads(data)
    assert copy.hub.commit == store.hub.commit
    assert copy.read(FIRST) == output.read(FIRST)
    assert repr(copy) == f"PublishedStore('{URI}')"
