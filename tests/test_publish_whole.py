"""From a pipeline file to a repo that official clients read, that `verify` proves, and in which no secret stands."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from pipelines_made import operators, write_input, write_pipeline
from publications import REPO, whole

import pipelines
from pipelines.publish import publish
from pipelines.settings_publish import PublishConfig
from pipelines.verify import verify

URI = f"hf://datasets/{REPO}"
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "planted-aws-secret-0123456789",
    "AWS_SESSION_TOKEN": "planted-aws-session-0123456789",
    "SOME_SERVICE_PASSWORD": "planted-password-0123456789",
}
LOAD = """
import json, os, sys
from datasets import load_dataset
for streaming in (False, True):
    rows = list(load_dataset(sys.argv[1], split=sys.argv[2], streaming=streaming))
    print(json.dumps([row["id"] for row in rows]))
sys.stdout.flush()
os._exit(0)  # threads of the libraries now and then abort an interpreter that ends ("terminate called without an active exception")
"""


def command(hub, *arguments, **environment):
    """A command in a process of its own, with the Hub and planted secrets in its environment."""
    settings = {**os.environ, **hub.environment(), **SECRETS, **environment}
    return subprocess.run([sys.executable, *arguments], env=settings, capture_output=True, text=True, check=False)


def shardmill(hub, *arguments, **environment):
    return command(hub, "-m", "pipelines.cli", *map(str, arguments), **environment)


def failures(uri, **options):
    return [f"{check.name}: {check.subject}: {check.message}" for check in verify(uri, **options).checks if not check.ok]


def unpacked(data: bytes) -> bytes:
    """What a published file says, where it is compressed."""
    if not data.startswith(b"PAR1"):
        return data
    table = pq.read_table(io.BytesIO(data))
    return data + repr([row for batch in table.to_batches() for row in batch.to_pylist()]).encode()


@pytest.fixture
def pipeline(tmp_path):
    """A pipeline that publishes what it makes, to be run from the command line."""

    def write(**section):
        path = write_pipeline(tmp_path / "pipeline", write_input(tmp_path / "input"), str(tmp_path / "out"))
        path.write_text(path.read_text() + f"publish: {json.dumps({'repo_id': REPO, **section})}\n")
        return path

    return write


def test_a_run_publishes_what_it_made_and_official_clients_read_it(hub, pipeline, tmp_path):
    done = shardmill(hub, "run", pipeline(include_data=True), "--quiet")
    assert done.returncode == 0, done.stderr
    assert "v1 is published" in done.stderr
    assert whole(hub.repo(REPO).tree()) == "v1"
    mine = [row["id"] for row in pipelines.open_dataset(str(tmp_path / "out"))]
    assert [row["id"] for row in pipelines.open_dataset(URI)] == mine
    loaded = command(hub, "-c", LOAD, REPO, "train")
    assert loaded.returncode == 0, loaded.stderr
    assert [json.loads(line) for line in loaded.stdout.splitlines()] == [mine, mine]
    assert failures(URI) == failures(f"{URI}@v1") == []
    again = shardmill(hub, "run", tmp_path / "pipeline" / "pipeline.yaml", "--quiet")
    assert (again.returncode, "was published already" in again.stderr) == (0, True), again.stderr
    other = write_pipeline(tmp_path / "pipeline", tmp_path / "input", str(tmp_path / "out"), operators=operators(max_chars=150))
    done = shardmill(hub, "run", other, "--quiet")
    assert done.returncode == 0, done.stderr
    done = shardmill(hub, "publish", tmp_path / "out", "--repo", REPO)
    assert done.returncode == 0, done.stderr
    assert whole(hub.repo(REPO).tree()) == "v2"
    assert failures(URI) == []
    told = shardmill(hub, "diff", f"{URI}@v1", URI)
    assert told.returncode == 0, told.stderr
    assert "num_chars < 150" in told.stdout


def test_a_run_of_some_documents_is_not_published(hub, pipeline, tmp_path):
    """It was to try something: the whole dataset on the Hub must not give way to it."""
    done = shardmill(hub, "run", pipeline(), "--limit", 20, "--quiet")
    assert done.returncode == 0, done.stderr
    assert "With --limit nothing is published" in done.stderr
    assert not hub.repos
    assert shardmill(hub, "publish", tmp_path / "out").returncode == 0
    assert whole(hub.repo(REPO).tree()) == "v1"


def test_without_data_the_preview_is_what_load_dataset_reads_and_the_rest_is_where_the_output_is(hub, pipeline, tmp_path):
    done = shardmill(hub, "run", pipeline(preview_documents=20), "--quiet", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["version"] == "v1"
    out = str(tmp_path / "out")
    mine = list(pipelines.open_dataset(out))
    assert list(pipelines.open_dataset(URI)) == mine
    loaded = command(hub, "-c", LOAD, REPO, "preview")
    assert loaded.returncode == 0, loaded.stderr
    shown, streamed = (json.loads(line) for line in loaded.stdout.splitlines())
    assert shown == streamed
    assert 0 < len(shown) <= 20
    assert set(shown) <= {row["id"] for row in mine}
    assert failures(URI) == []


@pytest.mark.parametrize("include_data", [False, True])
def test_an_output_on_an_object_store_is_published_from_there(hub, s3_server, tmp_path, include_data):
    bucket = s3_server.make_bucket()
    options = s3_server.options
    changes = {"output": {"storage_options": options}}
    path = write_pipeline(tmp_path / "pipeline", write_input(tmp_path / "input"), f"s3://{bucket}/out", **changes)
    pipelines.run.run(pipelines.config.load(path))
    publish(f"s3://{bucket}/out", PublishConfig(repo_id=REPO, include_data=include_data), options)
    assert whole(hub.repo(REPO).tree()) == "v1"
    assert failures(URI) == []
    mine = list(pipelines.open_dataset(f"s3://{bucket}/out", storage_options=options))
    assert list(pipelines.open_dataset(URI)) == mine


def test_no_secret_is_published_or_told(hub, pipeline, tmp_path):
    """The token of the Hub and credentials of stores; also where requests of every kind fail."""
    token = hub.token("write", name="holder")
    told = []
    for fault in ("objects/batch", "/commit/"):
        with hub.fail("status", matching=fault, status=400, times=None):
            words = ["publish", tmp_path / "out"] if told else ["run", pipeline(include_data=True)]
            told.append(shardmill(hub, *words, "--debug", HF_TOKEN=token))
        assert told[-1].returncode == 1, told[-1].stderr
    told.append(shardmill(hub, "publish", tmp_path / "out", HF_TOKEN=token))
    assert told[-1].returncode == 0, told[-1].stderr
    tree = hub.repo(REPO).tree()
    haystack = b"\n".join([hub.received, *(unpacked(data) for data in tree.values())])
    haystack += "\n".join(process.stdout + process.stderr for process in told).encode()
    for secret in (token, *SECRETS.values()):
        assert secret.encode() not in haystack, secret


def test_what_stops_a_publication_stops_the_run_before_it_works(hub, pipeline, tmp_path):
    path = pipeline()
    hub.create(REPO, {"train.csv": b"a\n"}, private=True)
    refused = shardmill(hub, "run", path, "--quiet")
    assert refused.returncode == 2, refused.stderr
    assert "holds something else (train.csv)" in refused.stderr
    assert not (tmp_path / "out" / "data").exists()
    nobody = shardmill(hub, "publish", tmp_path / "out", "--repo", "no-owner")
    assert nobody.returncode == 1
    typo = shardmill(hub, "publish", tmp_path / "nothing", "--repo", REPO)
    assert "nothing to publish" in typo.stderr
