"""Killed while it draws a sample, learns, or uses what is learned, and run again, a pipeline leaves the bytes of an undisturbed run."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest
from pipelines_made import Runs, assert_each_once, contents, internals, orphans, same, write_input, write_pipeline

from pipelines.faults import LEARNING_POINTS

KILLED = -signal.SIGKILL
COARSE = {"execution": {"unit_bytes": "16KiB"}}
OPERATORS = [
    {"type": "length_filter", "min_chars": 8},
    {"type": "exact_dedup"},
    {"type": "train_tokenizer", "vocab_size": 300, "sample_bytes": 6000, "max_document_bytes": 2000},
    {"type": "tokenize", "tokenizer": "train_tokenizer"},
]
LATE_POINTS = ("run.stage-done", "run.packed", "version.tables-written", "version.manifest-written")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_input(tmp_path_factory.mktemp("input") / "input")


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    """What a run that nothing happens to leaves, and how often it passed each point."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs = made(folder, source)
    child = runs.start()
    assert child.wait() == 0, child.answered()
    assert not orphans(runs.store())
    assert_each_once(runs.store())
    return contents(runs.store()), Counter(child.points())


def made(folder, source, target="", **changes):
    path = write_pipeline(folder / "pipeline", source, target or str(folder / "out"), operators=OPERATORS, **changes)
    return Runs(path, folder / "runs")


def assert_as_undisturbed(runs, undisturbed):
    assert not same(contents(runs.store()), undisturbed[0])
    assert not orphans(runs.store())


def test_the_sample_takes_several_tasks(undisturbed):
    """Else these tests would show little; the sample is a part of the documents, and the file is in the version."""
    files, passings = undisturbed
    assert passings["sample.before-record"] > 3
    assert passings["learn.before-record"] == 1
    manifest = json.loads(files["manifest.json"])
    (entry,) = manifest["learned"]
    assert 0 < entry["documents"] < manifest["operators"][2]["rows_in"]
    assert entry["path"] in files
    assert manifest["output"]["tokens"] > 0


@pytest.mark.parametrize("point", LEARNING_POINTS)
def test_killed_while_it_learns(point, source, undisturbed, shm_path):
    """kill -9 in the middle, and at once in the run after that: what is committed is not done again, and the bytes are the same."""
    runs = made(shm_path, source)
    for passing in ((undisturbed[1][point] + 1) // 2, 1):
        assert runs.start(f"{point}@{passing}=kill", once=False).wait() == KILLED
    last = runs.start()
    assert last.wait() == 0, last.answered()
    assert last.points().count("sample.before-record") < undisturbed[1]["sample.before-record"]
    assert_as_undisturbed(runs, undisturbed)
    assert runs.finish()["was_finished"]


@pytest.mark.chaos
def test_killed_again_and_again_after_it_has_learned(source, undisturbed, shm_path):
    """Killed between stages, in the midst of tokenization and while the version is made, it never learns a second time."""
    runs = made(shm_path, source)
    middle = undisturbed[1]["unit.begin"] - 3
    points = [f"run.stage-done@{number}" for number in (2, 3)] + [f"unit.begin@{middle}", *LATE_POINTS[1:]]
    learned = 0
    for point in points:
        child = runs.start(f"{point}=kill", once=False)
        child.wait()
        learned += child.points().count("learn.before-record")
    runs.finish()
    assert learned == 1
    assert_as_undisturbed(runs, undisturbed)


@pytest.mark.parametrize("point", [*LEARNING_POINTS, "version.tables-written"])
@pytest.mark.chaos
def test_killed_while_it_learns_on_s3(point, source, undisturbed, tmp_path, s3_server):
    """The same with the sample and the learned file on an object store, and larger units."""
    options = {"storage_options": {"endpoint_url": s3_server.endpoint}}
    runs = made(tmp_path, source, f"s3://{s3_server.make_bucket()}/clean", output=options, **COARSE)
    assert runs.start(f"{point}@1=kill").wait() == KILLED
    runs.finish()
    assert_as_undisturbed(runs, undisturbed)


def test_a_unit_that_is_split_learns_the_same(source, undisturbed, shm_path):
    """Where a worker ran out of memory and units were halved, the sample is the same."""
    operators = [*OPERATORS[:1], {"type": "own:Measure", "name": "measure"}, *OPERATORS[1:]]
    both = []
    for name, most in (("plain", "1000"), ("split", "5")):
        path = write_pipeline(shm_path / name, source, str(shm_path / name / "out"), operators=operators)
        runs = Runs(path, shm_path / name / "runs", {"SHARDMILL_TEST_MOST_ROWS": most})
        runs.finish()
        both.append(runs)
    plain, split = both
    assert any("/splits/" in path for path in internals(split.store()))
    assert not same(contents(split.store()), contents(plain.store()))


def test_a_learned_file_that_was_changed_stops_the_run(source, undisturbed, shm_path):
    """What workers use and versions hold is what was committed, or nothing."""
    runs = made(shm_path, source)
    runs.run("run.packed=kill")
    (path,) = [path for path in internals(runs.store()) if path.endswith(".learned")]
    place = shm_path / "out" / path
    place.write_bytes(place.read_bytes()[:-1] + b" ")
    child = runs.run()
    assert "was changed or damaged" in child.answered()["message"]
    assert "manifest.json" not in contents(runs.store())
