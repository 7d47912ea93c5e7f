"""Entries of the runbook (docs/operations.md) that need a real Ray whose nodes die, or minutes: `make chaos` provokes them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpora import documents, pipeline, write_jsonl
from pipelines_made import internals, write_input, write_pipeline
from provocations import provokes
from ray_servers import QUICK, STORE_BYTES, RayNode, RayServer, command

from pipelines.cli import main
from pipelines.runbook import pointer
from pipelines.storage import open_store

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[1]


@pytest.fixture
def pipeline_file(tmp_path, shm_path, ray_cluster):
    """A pipeline on the session's Ray."""
    return write_pipeline(shm_path / "p", write_input(tmp_path / "input"), str(shm_path / "out"), cluster=ray_cluster.settings)


@contextlib.contextmanager
def started(file: Path, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process of its own; what it prints goes to a file, as in production."""
    words = [sys.executable, "-m", "pipelines.cli", "run", str(file)]
    with log.open("w") as sink:
        process = subprocess.Popen(words, cwd=ROOT, env={**os.environ, **environment}, stdout=sink, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def waited_for(condition, seconds=300.0):
    """Return when the condition holds; the processes that bring it about are not ours to be told by."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for has not happened"
        threading.Event().wait(0.05)


def records(output: Path) -> int:
    return sum("/records/" in path for path in internals(open_store(str(output))))


@provokes("a-node-dies", 0)
def test_a_node_that_dies(pipeline_file, ray_cluster, tmp_path, shm_path):
    """kill -9 of a raylet, then of its worker, which is about to commit: it is told, and the run ends well."""
    wake = shm_path / "wake"
    with (
        ray_cluster.another_node() as node,
        started(pipeline_file, tmp_path / "log", SHARDMILL_FAULT=f"commit.before-record@2=wait:{wake}") as run,
    ):
        waited_for(lambda: records(shm_path / "out") >= 3 and len(node.workers()) == 1)
        (held,) = node.workers()
        node.kill()
        waited_for(lambda: "has been marked dead" in (tmp_path / "log").read_text())  # else it is a worker that died
        os.kill(held, signal.SIGKILL)  # it outlives its raylet until it has done its task: then nothing would be lost
        waited_for(lambda: not command(held))
        wake.touch()
        assert run.wait(300) == 0
    return (tmp_path / "log").read_text()


@provokes("memory-runs-out", 3)
def test_a_worker_that_dies(pipeline_file, tmp_path):
    """kill -9 of one: it is told, and the run ends well."""
    once = tmp_path / "once"
    once.mkdir()
    environment = {"SHARDMILL_FAULT": "unit.begin=kill", "SHARDMILL_FAULT_ONCE": str(once)}
    with started(pipeline_file, tmp_path / "log", **environment) as run:
        assert run.wait(300) == 0
    return (tmp_path / "log").read_text()


@provokes("the-driver-dies", 2, leads=False)
def test_a_head_that_dies(tmp_path, shm_path, capfd):
    """Ray itself ends the driver, after a minute and with words of its own; `status` then leads to the entry."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE_BYTES, "_system_config": QUICK},
    )
    server = RayServer(cluster.address, RayNode(cluster.head_node), cluster)
    file = write_pipeline(shm_path / "p", write_input(tmp_path / "input"), str(shm_path / "out"), cluster=server.settings)
    try:
        with started(file, tmp_path / "log", SHARDMILL_FAULT=f"commit.before-record@3=wait:{shm_path / 'never'}") as run:
            waited_for(lambda: records(shm_path / "out") >= 2)
            (head,) = cluster.head_node.all_processes["gcs_server"]
            os.kill(head.process.pid, signal.SIGKILL)
            assert run.wait(300) != 0
    finally:
        cluster.shutdown()
    assert main(["status", str(shm_path / "out")]) == 0
    assert pointer("the-driver-dies") in capfd.readouterr().out
    return (tmp_path / "log").read_text()


FULL = """
mount -t tmpfs -o size=200k tmpfs {full} || exit 77
head -c 190k /dev/zero > {full}/filler
RAY_TMPDIR={full} {python} -m pipelines.cli run {file} 2>&1
test $? = 1 || exit 78
"""


@provokes("a-disk-is-full", 2)
def test_ray_does_not_start_where_the_disk_is_full(tmp_path):
    """It takes half a minute to give up; the message names the folder."""
    with tempfile.TemporaryDirectory(prefix="f", dir="/tmp") as full:  # Ray's sockets want short names
        write_jsonl(tmp_path / "in" / "a.jsonl", documents(20))
        file = pipeline(tmp_path / "p.yaml", f"{tmp_path}/in/", tmp_path / "out", cluster={"type": "local", "num_cpus": 1})
        script = FULL.format(full=full, python=sys.executable, file=file)
        words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=ROOT, env=environment)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no small disk may be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done
    return done.stdout
