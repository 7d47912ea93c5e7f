"""On a real Ray: workers, a node and the driver are killed with -9, and the files and bytes are those of an undisturbed run without Ray."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipelines_made import (
    Runs,
    assert_each_once,
    contents,
    documents,
    internals,
    orphans,
    rows_of,
    same,
    write_input,
    write_pipeline,
)

pytestmark = pytest.mark.ray

KILLED = -signal.SIGKILL
WORKER_POINTS = {
    "of each kind": ("unit.parts-written", "commit.after-record", "exchange.before-record", "pack.after-shard"),
    "committing": ("unit.begin", "unit.parts-written", "commit.before-record", "commit.after-record"),
    "exchange and pack": ("unit.end", "exchange.before-record", "pack.before-shard", "pack.after-shard"),
}
"""Each point's first passing kills a worker: in two runs, so that no piece of work is lost more often than its budget allows."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_input(tmp_path_factory.mktemp("input") / "input")


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    """The files of a run without Ray that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs = Runs(write_pipeline(folder, source, str(folder / "out")), folder / "runs")
    runs.finish()
    return contents(runs.store())


@pytest.fixture
def runs(source, shm_path, ray_cluster):
    """Runs on the session's Ray into a local folder."""
    path = write_pipeline(shm_path / "pipeline", source, str(shm_path / "out"), cluster=ray_cluster.settings)
    return Runs(path, shm_path / "runs")


def assert_as_undisturbed(runs, undisturbed):
    assert not same(contents(runs.store()), undisturbed)
    assert not orphans(runs.store())


def num_records(runs):
    return sum("/records/" in path for path in internals(runs.store()))


def waited_for(condition, seconds=90.0):
    """Return when the condition holds; the processes that bring it about are not ours to be told by."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for has not happened"
        threading.Event().wait(0.02)


@pytest.mark.parametrize(
    "points", ["of each kind", *(pytest.param(some, marks=pytest.mark.chaos) for some in ("committing", "exchange and pack"))]
)
def test_workers_are_killed_at_every_point(points, runs, undisturbed):
    """kill -9 of a worker at each of some points: the run itself goes on and ends as if nothing had been."""
    points = WORKER_POINTS[points]
    child = runs.start(",".join(f"{point}=kill" for point in points))
    assert child.wait() == 0, child.answered()
    assert [point for point in points if not runs.fired(point)] == []
    assert_as_undisturbed(runs, undisturbed)


@pytest.mark.chaos
def test_the_driver_is_killed_twice(runs, undisturbed):
    """kill -9 of the driver while tasks are under way, and before the manifest; what workers committed is found by the next run."""
    child = runs.start()
    waited_for(lambda: num_records(runs) >= 4)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == KILLED
    assert runs.start("version.tables-written=kill").wait() == KILLED
    assert runs.finish()["version"] == "v1"
    assert_as_undisturbed(runs, undisturbed)


@pytest.mark.chaos
def test_a_node_is_killed(runs, undisturbed, ray_cluster, shm_path):
    """kill -9 of the raylet of one of two nodes, while every worker is about to commit its second unit: the run goes on."""
    wake = shm_path / "wake"
    with ray_cluster.another_node() as node:
        child = runs.start(f"commit.before-record@2=wait:{wake}", once=False)
        waited_for(lambda: num_records(runs) == 3 and len(node.workers()) == 1)
        node.kill()
        wake.touch()
        assert child.wait() == 0, child.answered()
    assert_as_undisturbed(runs, undisturbed)


@pytest.mark.chaos
def test_a_row_that_kills_its_worker(tmp_path, ray_cluster):
    """A row that no process survives is found by splitting its unit, and quarantined as `worker_died`; every other row is processed."""
    rows = [{**row, "text": f"{row['id']} " + row["text"] * 12} for row in documents(6, 1, "p")]
    (tmp_path / "input").mkdir()
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("score", pa.float64())])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "input" / "a.parquet", row_group_size=2)
    path = write_pipeline(
        tmp_path / "pipeline",
        tmp_path / "input",
        str(tmp_path / "out"),
        cluster=ray_cluster.settings,
        execution={"unit_bytes": "1KiB", "batch_bytes": "1KiB"},
    )
    text = path.read_text().replace(f"  - {tmp_path}/input/*.jsonl\n", "")
    path.write_text(text)
    runs = Runs(path, tmp_path / "runs")
    runs.finish(SHARDMILL_TEST_POISON="p4")
    assert_each_once(runs.store(), rows=6)
    (bad,) = rows_of(runs.store(), "versions/v1/quarantine")
    assert (bad["error"], bad["row"], Path(bad["uri"]).name) == ("worker_died", 4, "a.parquet")
    assert not orphans(runs.store())
