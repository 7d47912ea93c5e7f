"""Killed while it leaves its keys and run again, a run leaves one generation and nothing beside it; runs that leave at once all count."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest
from history_made import unnamed_files
from pipelines_made import Runs, contents, orphans, same, write_input, write_pipeline

from pipelines.faults import HISTORY_POINTS
from pipelines.history import describe
from pipelines.storage import open_store

KILLED = -signal.SIGKILL
OPERATORS = [{"type": "length_filter", "min_chars": 8}, {"type": "exact_dedup"}, {"type": "minhash_dedup", "bands": 6, "rows": 2}]
COARSE = {"execution": {"unit_bytes": "16KiB"}}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two inputs that share some of their documents."""
    root = tmp_path_factory.mktemp("input")
    return [write_input(root / "a", rows=40, files=2), write_input(root / "b", rows=24, files=2)]


class Shared:
    """Runs into folders of their own below one root that share a history."""

    def __init__(self, root, sources, output="", options=None):
        self.root = root
        self.sources = sources
        self.output = output or str(root)
        self.options = options or {}

    @property
    def history(self):
        return open_store(f"{self.output}/history", self.options)

    def runs(self, name, number, operators=OPERATORS):
        """Runs of a pipeline over one of the inputs."""
        changes = {"output": {"storage_options": self.options}, **COARSE}
        path = write_pipeline(self.root / name, self.sources[number], f"{self.output}/out-{name}", operators=operators, **changes)
        path.write_text(f"{path.read_text()}history: {self.output}/history\n")
        return Runs(path, self.root / name / "runs")

    def numbers(self):
        return [one["number"] for one in describe(self.history)]


@pytest.fixture
def shared(shm_path, sources):
    return Shared(shm_path, sources)


@pytest.fixture(scope="module")
def undisturbed(sources, tmp_path_factory):
    """What the second run leaves if nothing happens, and how often it passed each point."""
    made = Shared(tmp_path_factory.mktemp("undisturbed"), sources)
    made.runs("a", 0).finish()
    runs = made.runs("b", 1)
    child = runs.start()
    assert child.wait() == 0, child.answered()
    return parquet(runs), child.points()


def parquet(runs):
    """Shards and tables of an output."""
    return {path: data for path, data in contents(runs.store()).items() if path.endswith(".parquet")}


def assert_as_undisturbed(shared, runs, undisturbed):
    assert not same(parquet(runs), undisturbed[0])
    assert not orphans(runs.store())
    assert unnamed_files(shared.history) == []


def waited_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for has not happened"
        threading.Event().wait(0.01)


def test_the_second_run_removes_documents_for_those_of_the_first(undisturbed):
    """Else these tests would show nothing; and every point is passed."""
    assert set(HISTORY_POINTS) <= set(undisturbed[1])
    assert undisturbed[1].count("history.before-record") > 1
    assert any("/duplicates/" in path for path in undisturbed[0])


@pytest.mark.parametrize("point", [*HISTORY_POINTS, "version.swapped"])
def test_killed_while_it_leaves_and_run_again(point, shared, undisturbed):
    """kill -9 in the middle and at the last passing: the next run leaves what was missing, once, and the version stays."""
    shared.runs("a", 0).finish()
    runs = shared.runs("b", 1)
    passings = undisturbed[1].count(point)
    for passing in sorted({(passings + 1) // 2, passings}, reverse=True):
        assert runs.start(f"{point}@{passing}=kill", once=False).wait() == KILLED
    assert runs.finish()["version"] == "v1"
    assert shared.numbers() == [1, 2]
    assert_as_undisturbed(shared, runs, undisturbed)
    assert runs.finish()["was_finished"]
    assert shared.numbers() == [1, 2]


@pytest.mark.chaos
def test_killed_while_it_leaves_on_s3(sources, undisturbed, tmp_path, s3_server):
    """Also where the history lies on an object store."""
    shared = Shared(tmp_path, sources, f"s3://{s3_server.make_bucket()}", {"endpoint_url": s3_server.endpoint})
    shared.runs("a", 0).finish()
    runs = shared.runs("b", 1)
    assert runs.start("history.before-record@2=kill").wait() == KILLED
    assert runs.start("history.before-generation=kill").wait() == KILLED
    runs.finish()
    assert shared.numbers() == [1, 2]
    assert_as_undisturbed(shared, runs, undisturbed)


@pytest.mark.parametrize("point", [pytest.param("version.swapped", marks=pytest.mark.chaos), "history.before-generation"])
def test_another_run_leaves_its_keys_after_the_kill(point, shared, undisturbed):
    """The killed run's version is finished: it is completed against what it was compared with, not made again."""
    shared.runs("a", 0).finish()
    runs = shared.runs("b", 1)
    assert runs.start(f"{point}=kill").wait() == KILLED
    shared.runs("c", 1, [*OPERATORS[1:]]).finish()
    assert runs.finish()["version"] == "v1"
    assert shared.numbers() == [1, 2, 3]
    assert_as_undisturbed(shared, runs, undisturbed)


def test_two_runs_leave_at_once(shared):
    """They get numbers of their own and both count for a third one."""
    wake = shared.root / "wake"
    both = [shared.runs("a", 0), shared.runs("b", 1)]
    children = [runs.start(f"history.before-generation=wait:{wake}") for runs in both]
    waited_for(lambda: all("history.before-generation" in child.points() for child in children))
    wake.touch()
    assert [child.wait() for child in children] == [0, 0]
    assert shared.numbers() == [1, 2]
    assert unnamed_files(shared.history) == []
    third = Shared(shared.root, [shared.root / "both"])
    (shared.root / "both").mkdir()
    for number, source in enumerate(shared.sources):
        for path in sorted(source.iterdir()):
            (shared.root / "both" / f"{number}-{path.name}").write_bytes(path.read_bytes())
    runs = third.runs("c", 0)
    runs.finish()
    assert json.loads(runs.store().read("manifest.json"))["ledger"]["rows_out"] == 0


def test_a_run_that_was_stopped_while_it_left_changes_nothing(shared, undisturbed):
    """Another one took over and left the same; the first ends without harm to what it left."""
    shared.runs("a", 0).finish()
    wake = shared.root / "wake"
    runs = shared.runs("b", 1)
    runs.environment = {"SHARDMILL_LEASE_SECONDS": "1"}
    slow = runs.start(f"history.before-generation=wait:{wake}")
    waited_for(lambda: "history.before-generation" in slow.points())
    os.kill(slow.pid, signal.SIGSTOP)
    try:
        waited_for(lambda: runs.start(once=True).wait() == 0)
        assert shared.numbers() == [1, 2]
        wake.touch()
    finally:
        os.kill(slow.pid, signal.SIGCONT)
    assert slow.wait() == 1
    assert slow.answered()["error"] == "LeaseLost"
    assert shared.numbers() == [1, 2]
    assert runs.finish()["was_finished"]
    assert shared.runs("c", 1, [*OPERATORS[1:]]).finish()["version"] == "v1"
