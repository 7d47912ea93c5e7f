"""Killed at any named point and run again, a pipeline gives the files and bytes of an undisturbed run; no race or fault breaks an output.

The runs are real processes on real stores: a local path and an S3 server. Those on Ray are in test_faults_ray.py.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from pipelines_made import (
    SMALL,
    Runs,
    assert_each_once,
    contents,
    internals,
    operators,
    orphans,
    rows_of,
    same,
    write_input,
    write_pipeline,
)

from pipelines.config import load
from pipelines.errors import ConfigError, LeaseHeld
from pipelines.exchange import Limits
from pipelines.faults import POINTS
from pipelines.gc import collect, needed
from pipelines.lease import PATH as LEASE
from pipelines.lease import Lease
from pipelines.run import run
from pipelines.storage import open_store
from pipelines.version import claims

KILLED = -signal.SIGKILL
COARSE = {"execution": {"unit_bytes": "16KiB"}}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The input of every run of this file: the side tables name its files."""
    return write_input(tmp_path_factory.mktemp("input") / "input")


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    """What a run that nothing happens to leaves, and how often it passed each point."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs = Runs(write_pipeline(folder, source, str(folder / "out")), folder / "runs")
    child = runs.start()
    assert child.wait() == 0, child.answered()
    assert not orphans(runs.store())
    assert_each_once(runs.store())
    return contents(runs.store()), Counter(child.points())


@pytest.fixture
def runs(source, shm_path):
    """Runs into a local folder."""
    return Runs(write_pipeline(shm_path / "pipeline", source, str(shm_path / "out")), shm_path / "runs")


def on_s3(source, folder, server, endpoint=None, **changes):
    """Runs into a bucket."""
    output = f"s3://{server.make_bucket()}/clean"
    options = {"endpoint_url": endpoint or server.endpoint}
    changes["output"] = {"storage_options": options, **changes.get("output", {})}
    return Runs(write_pipeline(folder / "pipeline", source, output, **changes), folder / "runs")


def assert_as_undisturbed(runs, undisturbed):
    """The output is that of an undisturbed run, with nothing beside it."""
    assert not same(contents(runs.store()), undisturbed[0])
    assert not orphans(runs.store())


def waited_for(condition, seconds=60.0):
    """Return when the condition holds; the processes that bring it about are not ours to be told by."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for has not happened"
        threading.Event().wait(0.01)


# Kills at these are tested on an object store, where they leave another thing than on a disk; at the others on a disk. The rest is chaos.
OF_STORES = frozenset(
    {
        *("unit.parts-written", "commit.before-record", "commit.after-record", "pack.before-shard", "pack.after-shard"),
        *("version.claimed", "version.manifest-written", "gc.deleting"),
    }
)


# --- kill -9 at every named point


def test_everything_happens_in_the_pipeline_of_these_tests(source, undisturbed, tmp_path):
    """No fault point is dead, and there are several units, partitions, shards, and rows of each kind of end."""
    files, passings = undisturbed
    assert set(passings) == set(POINTS)
    manifest = json.loads(files["manifest.json"])
    assert manifest["output"]["shards"] > 2
    assert set(manifest["ledger"]["dropped"]) == {"length_filter", "exact_dedup", "filter_where"}
    assert set(manifest["ledger"]["quarantined"]) >= {"ValueError"}
    assert len(manifest["ledger"]["quarantined"]) > 1
    runs = Runs(write_pipeline(tmp_path / "p", source, str(tmp_path / "out")), tmp_path / "runs")
    runs.run("run.packed=kill")
    records = [json.loads(runs.store().read(path))["body"] for path in internals(runs.store()) if "/records/" in path]
    kinds = Counter(record["kind"] for record in records)
    assert kinds["unit"] > 10
    assert kinds["partition"] > 2
    assert kinds["decide"] > 2
    assert kinds["gather"] > 1
    assert kinds["file"] > 4


@pytest.mark.parametrize("passing", ["middle", pytest.param("last", marks=pytest.mark.chaos)])
@pytest.mark.parametrize("point", [pytest.param(point, marks=pytest.mark.chaos) if point in OF_STORES else point for point in POINTS])
def test_killed_at_a_point_and_run_again_on_a_local_path(point, passing, runs, undisturbed):
    """kill -9 in the middle of a point's passings, or at its last one; the next run ends as if nothing had been."""
    passings = undisturbed[1][point]
    number = (passings + 1) // 2 if passing == "middle" else passings
    assert runs.start(f"{point}@{number}=kill").wait() == KILLED
    runs.finish()
    assert_as_undisturbed(runs, undisturbed)


@pytest.fixture(scope="module")
def coarse_passings(source, tmp_path_factory):
    """How often each point is passed with larger units: the result is the same, with fewer requests."""
    folder = tmp_path_factory.mktemp("coarse")
    runs = Runs(write_pipeline(folder, source, str(folder / "out"), **COARSE), folder / "runs")
    return Counter(runs.run().points())


@pytest.mark.parametrize("point", [point if point in OF_STORES else pytest.param(point, marks=pytest.mark.chaos) for point in POINTS])
def test_killed_at_a_point_and_run_again_on_s3(point, source, undisturbed, coarse_passings, tmp_path, s3_server):
    """kill -9 in the middle of a point's passings, with everything on an object store."""
    runs = on_s3(source, tmp_path, s3_server, **COARSE)
    assert runs.start(f"{point}@{(coarse_passings[point] + 1) // 2}=kill").wait() == KILLED
    runs.finish()
    assert_as_undisturbed(runs, undisturbed)


@pytest.mark.chaos
def test_killed_again_and_again(runs, undisturbed):
    """A run that is killed at every point in turn, each time going on with what the one before had committed, still ends the same."""
    order = sorted(POINTS, key=lambda point: "swapped" in point or "gc" in point)
    killed = [point for point in order if runs.start(f"{point}=kill").wait() == KILLED]
    assert len(killed) > len(POINTS) / 2
    assert runs.finish()["version"] == "v1"
    assert_as_undisturbed(runs, undisturbed)
    assert_each_once(runs.store())


def test_work_that_is_committed_is_not_done_again(runs, undisturbed):
    """A run that goes on does only what the killed one had not committed."""
    first = runs.run("run.packed=kill")
    second = runs.start()
    assert second.wait() == 0
    assert first.points().count("unit.begin") == undisturbed[1]["unit.begin"]
    assert second.points().count("unit.begin") == 0
    assert_as_undisturbed(runs, undisturbed)


def test_a_finished_output_is_left_alone(runs, undisturbed):
    """A second run changes no file, and says that there was nothing to do."""
    runs.finish()
    before = {path: runs.store().read(path) for path in internals(runs.store())}
    assert runs.finish()["was_finished"]
    assert {path: runs.store().read(path) for path in internals(runs.store())} == before
    assert_as_undisturbed(runs, undisturbed)


NEAR = {"type": "minhash_dedup", "shingle_size": 1, "bands": 20, "rows": 1, "threshold": 0.6, "max_candidates": 4}
NEAR_KINDS = {"spread", "partition", "buckets", "verify", "meet", "contract", "links", "star", "label", "cut", "slice", "count", "gather"}


@pytest.mark.parametrize(
    "how", [pytest.param({"keep": "longest"}, marks=pytest.mark.chaos), {"verify": "exact", "num_duplicates": "copies"}], ids=str
)
def test_killed_in_the_exchange_of_near_duplicates(how, source, shm_path):
    """kill -9 in jobs of every step, again and again: what is run after that ends with the files and bytes of an undisturbed run."""
    operators = [{"type": "length_filter", "min_chars": 8}, {**NEAR, **how}]
    both = []
    for name in ("undisturbed", "killed"):
        path = write_pipeline(shm_path / name, source, str(shm_path / name / "out"), operators=operators)
        both.append(Runs(path, shm_path / name / "runs"))
    plain, killed = both
    stopped = plain.run("run.packed=kill")
    records = [json.loads(plain.store().read(path))["body"]["kind"] for path in internals(plain.store()) if "/records/" in path]
    assert set(records) >= NEAR_KINDS
    plain.finish()
    passings = stopped.points().count("exchange.before-record")
    for part in range(1, 7):  # each run goes on where the one before was killed
        point = "commit.after-record" if part % 3 == 0 else "exchange.before-record"
        assert killed.start(f"{point}@{passings // 7}=kill", once=False).wait() == KILLED
    killed.finish()
    assert not same(contents(killed.store()), contents(plain.store()))
    assert not orphans(killed.store())


# --- slow attempts, stopped drivers, two at once


def test_a_slow_attempt_commits_after_gc(source, undisturbed, shm_path):
    """An attempt that was silent until another run had finished and swept loses: its record does not count and its parts are swept."""
    runs = Runs(write_pipeline(shm_path / "pipeline", source, str(shm_path / "out")), shm_path / "runs", {"SHARDMILL_LEASE_SECONDS": "1"})
    wake = shm_path / "wake"
    slow = runs.start(f"commit.before-record@5=wait:{wake}")
    waited_for(lambda: slow.points().count("commit.before-record") == 5)
    os.kill(slow.pid, signal.SIGSTOP)
    try:
        waited_for(lambda: lease_is_over(runs.store()))
        runs.finish()
        wake.touch()
    finally:
        os.kill(slow.pid, signal.SIGCONT)
    assert slow.wait() == 1
    assert slow.answered()["error"] == "LeaseLost"
    assert not same(contents(runs.store()), undisturbed[0])
    with Lease(runs.store()) as lease:
        collect(runs.store(), keep=needed(runs.store()), confirm=lease.confirm)
    assert_as_undisturbed(runs, undisturbed)
    assert runs.finish()["was_finished"]


def lease_is_over(store, seconds=1.0):
    return store.now() - store.info(LEASE).modified > seconds


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        ("unit.parts-written@9", "local"),
        pytest.param("version.tables-written", "local", marks=pytest.mark.chaos),
        ("version.manifest-written", "local"),
        pytest.param("version.card-written", "local", marks=pytest.mark.chaos),
        pytest.param("unit.parts-written@9", "s3", marks=pytest.mark.chaos),
        ("version.manifest-written", "s3"),
    ],
)
def test_a_driver_is_stopped_past_its_lease(point, kind, source, undisturbed, shm_path, request):
    """Another run takes over and finishes; when the first goes on it ends with an error and changes nothing."""
    runs = (
        Runs(write_pipeline(shm_path / "pipeline", source, str(shm_path / "out")), shm_path / "runs")
        if kind == "local"
        else on_s3(source, shm_path, request.getfixturevalue("s3_server"), **COARSE)
    )
    runs.environment = {"SHARDMILL_LEASE_SECONDS": "1.5"}
    stopped = runs.start(f"{point}=stop")
    waited_for(lambda: state_of(stopped.pid) == "T")
    try:
        refused = runs.start()
        assert refused.wait() in (0, 1)  # 0: the lease ran out while it started
        if refused.answered().get("error") is not None:
            assert refused.answered()["error"] == "LeaseHeld"
            assert "another run" in refused.answered()["message"]
            waited_for(lambda: lease_is_over(runs.store(), 1.5))
            runs.finish()
        done = contents(runs.store())
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
    status = stopped.wait()
    # Stopped between the confirmed lease and the swap, it finds its very version swapped in: there is no harm that it could do.
    assert (status, stopped.answered().get("error")) == (1, "LeaseLost")
    assert contents(runs.store()) == done
    assert not same(done, undisturbed[0])
    with Lease(runs.store()) as lease:
        collect(runs.store(), keep=needed(runs.store()), confirm=lease.confirm)
    assert_as_undisturbed(runs, undisturbed)


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_two_runs_at_once(kind, source, undisturbed, shm_path, request):
    """Of two runs of one pipeline on one output one finishes, and the other is refused or finds the output finished."""
    runs = (
        Runs(write_pipeline(shm_path / "pipeline", source, str(shm_path / "out")), shm_path / "runs")
        if kind == "local"
        else on_s3(source, shm_path, request.getfixturevalue("s3_server"), **COARSE)
    )
    for _ in range(2):
        both = [runs.start(), runs.start()]
        ends = [child.wait() for child in both]
        assert 0 in ends
        for child, end in zip(both, ends, strict=True):
            if end != 0:
                assert (end, child.answered()["error"]) == (1, "LeaseHeld")
                assert "another run" in child.answered()["message"]
    assert_as_undisturbed(runs, undisturbed)


def test_a_run_is_refused_while_another_is_at_work(source, undisturbed, runs):
    """While a run holds the lease a second one, of the same pipeline or of another, ends with exit status 1 and has changed nothing."""
    wake = runs.folder / "wake"
    first = runs.start(f"unit.begin@4=wait:{wake}")
    waited_for(lambda: first.points().count("unit.begin") == 4)
    other = write_pipeline(runs.folder / "other", source, runs.config().output.uri, operators=operators(150))
    before = contents(runs.store())
    for pipeline in (runs.pipeline, other):
        second = runs.start(pipeline=pipeline)
        assert second.wait() == 1
        assert second.answered()["error"] == "LeaseHeld"
        assert str(first.pid) in second.answered()["message"]
    assert contents(runs.store()) == before
    wake.touch()
    assert first.wait() == 0
    assert_as_undisturbed(runs, undisturbed)


def test_two_pipelines_at_once_on_one_output(source, runs):
    """Of two different pipelines one is refused; run again, it makes the next version, and both versions are whole."""
    other = write_pipeline(runs.folder / "other", source, runs.config().output.uri, operators=operators(150))
    both = [(runs.start(pipeline=pipeline), pipeline) for pipeline in (runs.pipeline, other)]
    ends = [child.wait() for child, _ in both]
    assert sorted(ends) in ([0, 0], [0, 1])  # 0, 0: the second began when the first had ended
    for (child, pipeline), end in zip(both, ends, strict=True):
        if end == 1:
            assert child.answered()["error"] == "LeaseHeld"
            assert runs.start(pipeline=pipeline).wait() == 0
    store = runs.store()
    assert [(claim.number, claim.state) for claim in claims(store)] == [(1, "finished"), (2, "finished")]
    assert not orphans(store)
    for version in ("v1", "v2"):
        assert_each_once(store, version)


def test_the_lease_of_a_living_process_is_respected(runs):
    """A run is refused while this very process holds the lease, and not any more once it has let go."""
    config = runs.config()
    with Lease(runs.store()), pytest.raises(LeaseHeld, match="another run"):
        run(config)
    run(config)


# --- another pipeline after a kill


@pytest.mark.parametrize(
    ("point", "version"),
    [
        ("unit.parts-written@1", "v1"),
        ("unit.parts-written@12", "v1"),
        ("version.claimed", "v2"),
        ("pack.after-shard@2", "v2"),
        ("version.manifest-written", "v2"),
        ("version.card-written", "v2"),
        ("version.swapped", "v2"),
    ],
)
def test_the_pipeline_changes_after_a_kill(point, version, source, runs):
    """A version that was claimed and not finished is given up: its number is not used again and its files are swept."""
    assert runs.start(f"{point}=kill").wait() == KILLED
    finished = [claim.name for claim in claims(runs.store()) if claim.state == "finished"]
    write_pipeline(runs.folder.parent / "pipeline", source, runs.config().output.uri, operators=operators(150))
    assert runs.finish()["version"] == version
    store = runs.store()
    assert not orphans(store)
    assert_each_once(store, version)
    left = {path.split("/")[1] for path in contents(store) if path.startswith(("data/", "versions/"))}
    assert left == {version, *finished}
    states = {claim.name: claim.state for claim in claims(store)}
    assert states == {"v1": "finished" if version == "v1" or finished else "abandoned", version: "finished"}


def test_the_pipeline_changes_there_and_back(source, runs, undisturbed):
    """The pipeline of a given-up version, run again after another's, makes a version of its own, with the bytes that it always had."""
    first = runs.pipeline.read_text()
    assert runs.start("pack.after-shard=kill").wait() == KILLED
    write_pipeline(runs.folder.parent / "pipeline", source, runs.config().output.uri, operators=operators(150))
    assert runs.finish()["version"] == "v2"
    runs.pipeline.write_text(first)
    assert runs.finish()["version"] == "v3"
    assert not orphans(runs.store())
    shards = {path.replace("/v3/", "/v1/"): data for path, data in contents(runs.store()).items() if path.startswith("data/v3/")}
    assert shards == {path: data for path, data in undisturbed[0].items() if path.startswith("data/")}


def test_a_finished_output_is_run_again_while_another_version_is_half_made(source, runs):
    """Running the pipeline of the current version does not sweep away what a killed run of another pipeline has committed."""
    runs.finish()
    first = runs.pipeline.read_text()
    write_pipeline(runs.folder.parent / "pipeline", source, runs.config().output.uri, operators=operators(150))
    assert runs.start("version.claimed=kill").wait() == KILLED
    second = runs.pipeline.read_text()
    runs.pipeline.write_text(first)
    assert runs.finish()["was_finished"]
    runs.pipeline.write_text(second)
    child = runs.start()
    assert child.wait() == 0
    assert child.answered()["version"] == "v2"
    assert child.points().count("unit.begin") < 10  # only the files of the version
    assert not orphans(runs.store())


# --- torn files


@pytest.mark.parametrize("passing", [pytest.param(3, marks=pytest.mark.chaos), 14, pytest.param(25, marks=pytest.mark.chaos)])
@pytest.mark.parametrize("cut", ["half", "empty", "zeros"])
def test_records_are_torn_by_a_crash(cut, passing, runs, undisturbed):
    """Records that a crash left torn are set aside, their work is done again, and the result is the same."""
    assert runs.start(f"unit.begin@{passing}=kill").wait() == KILLED
    root = Path(runs.store().uri)
    records = sorted((root / "_shardmill").glob("stages/*/e0/records/*/*.json"))
    assert records
    for path in records[:: max(1, len(records) // 3)]:
        data = path.read_bytes()
        path.write_bytes({"half": data[: len(data) // 2], "empty": b"", "zeros": bytes(len(data))}[cut])
    (root / LEASE).write_bytes(b"")
    runs.finish()
    assert not same(contents(runs.store()), undisturbed[0])
    assert [path for path in orphans(runs.store()) if ".torn-" not in path] == []


# --- the store fails


def test_answers_to_conditional_puts_are_lost(source, undisturbed, tmp_path, s3_server, fault_proxy):
    """A store that does what it was asked but whose answers are lost: each attempt finds its own record, and nothing is done twice."""
    lost = fault_proxy.add("cut_after", method="PUT", matching=r"/records/", probability=0.3, seed=1)
    also = fault_proxy.add(
        "cut_after", method="PUT", matching=r"/(data|versions)/|manifest\.json|lease\.json|README", times=6, probability=0.5
    )
    runs = on_s3(source, tmp_path, s3_server, fault_proxy.endpoint)
    child = runs.start()
    assert child.wait() == 0, child.answered()
    assert lost.hits > 5
    assert also.hits > 3
    assert child.points().count("unit.begin") == undisturbed[1]["unit.begin"]
    fault_proxy.clear()
    assert_as_undisturbed(runs, undisturbed)


def test_a_third_of_all_requests_is_refused(source, undisturbed, tmp_path, s3_server, fault_proxy):
    """A storm of 503 is waited out."""
    storm = fault_proxy.add("refuse", probability=0.3, seed=5)
    runs = on_s3(source, tmp_path, s3_server, fault_proxy.endpoint, **COARSE)
    child = runs.start()
    assert child.wait() == 0, child.answered()
    assert storm.hits > 50
    fault_proxy.clear()
    assert_as_undisturbed(runs, undisturbed)


@pytest.mark.chaos
def test_killed_in_a_storm_and_run_in_another(source, undisturbed, tmp_path, s3_server, fault_proxy):
    """Refused requests, cut connections, lost answers and a kill together change nothing."""
    fault_proxy.add("refuse", probability=0.1, seed=2)
    fault_proxy.add("cut_before", probability=0.05, seed=3)
    fault_proxy.add("cut_after", probability=0.05, seed=4)
    runs = on_s3(source, tmp_path, s3_server, fault_proxy.endpoint)
    assert runs.start("commit.after-record@20=kill").wait() == KILLED
    runs.finish()
    fault_proxy.clear()
    assert_as_undisturbed(runs, undisturbed)


# --- memory


def test_a_unit_is_too_large_for_memory(runs, undisturbed):
    """A unit that runs out of memory twice is split, down to what fits, and the documents are the same."""
    child = runs.start(SHARDMILL_TEST_MOST_ROWS="5")
    assert child.wait() == 0, child.answered()
    assert child.points().count("run.planned") > 3
    assert any(path.startswith("_shardmill/splits/") for path in internals(runs.store()))
    assert_as_undisturbed(runs, undisturbed)


def test_keys_of_a_unit_are_too_large_for_memory(source, shm_path):
    """Memory that runs out where the keys of a group operator are made splits the unit too."""
    outputs = []
    for name, environment in (("plain", {}), ("hungry", {"SHARDMILL_TEST_MOST_ROWS": "5"})):
        path = write_pipeline(shm_path / name, source, str(shm_path / name / "out"), operators=[{"type": "own:Dedup", "name": "dedup"}])
        runs = Runs(path, shm_path / name / "runs")
        runs.finish(**environment)
        outputs.append(contents(runs.store()))
        assert any(path.startswith("_shardmill/splits/") for path in internals(runs.store())) == bool(environment)
    assert not same(*outputs)


def test_splits_are_remembered(runs, undisturbed):
    """A run that goes on does not try a unit again that was too large before."""
    assert runs.start("run.stage-done=kill", SHARDMILL_TEST_MOST_ROWS="5").wait() == KILLED
    child = runs.start(SHARDMILL_TEST_MOST_ROWS="5")
    assert child.wait() == 0
    assert child.points().count("run.planned") == 1
    assert_as_undisturbed(runs, undisturbed)


@pytest.mark.parametrize("point", [pytest.param("run.planned@2", marks=pytest.mark.chaos), "commit.after-record@20"])
@pytest.mark.chaos
def test_killed_while_units_are_split(point, runs, undisturbed):
    """A kill between the attempts, splits and plans of units that are too large changes nothing."""
    assert runs.start(f"{point}=kill", SHARDMILL_TEST_MOST_ROWS="5").wait() == KILLED
    runs.finish(SHARDMILL_TEST_MOST_ROWS="5")
    assert_as_undisturbed(runs, undisturbed)


def test_a_single_row_that_no_memory_holds(runs, undisturbed):
    """The row is found by halving and quarantined with its place; all others are processed, and the ledger balances."""
    runs.finish(SHARDMILL_TEST_HUNGRY="f1-20")
    store = runs.store()
    assert_each_once(store)
    assert not orphans(store)
    (row,) = [row for row in rows_of(store, "versions/v1/quarantine") if row["error"] == "worker_died"]
    assert row["uri"].endswith("part-1.parquet")
    assert (row["row"], row["row_group"]) == (20, 1)
    assert "too many" in row["message"]
    ledger = json.loads(contents(store)["manifest.json"])["ledger"]
    expected = json.loads(undisturbed[0]["manifest.json"])["ledger"]
    assert ledger["quarantined"] == {**expected["quarantined"], "worker_died": 1}
    assert ledger["rows_out"] == expected["rows_out"] - 1


def test_a_poison_row_stops_a_run_that_must_not_quarantine(source, tmp_path):
    """With `on_error: fail` a row that no memory holds is an error that names its unit."""
    (tmp_path / "clean").mkdir()
    path = write_pipeline(tmp_path / "p", source, str(tmp_path / "out"), execution={"on_error": "fail"})
    text = path.read_text().replace(f"  - {source}/*.jsonl\n", "").replace("min_chars: 8", "min_chars: 40\n  max_chars: 400")
    path.write_text(text)
    runs = Runs(path, tmp_path / "runs")
    child = runs.start(SHARDMILL_TEST_HUNGRY="f1-20")
    assert child.wait() == 1
    assert child.answered()["error"] == "TooLarge"
    assert "unit " in child.answered()["message"]


# --- the pieces by themselves


def test_limits_of_the_exchange_change_no_byte(runs, undisturbed):
    """The bounds that these tests use are as good as the real ones."""
    assert runs.start(limits=None).wait() == 0
    assert_as_undisturbed(runs, undisturbed)
    assert Limits(**SMALL).fan_out == 2


def test_a_pipeline_file_of_these_tests_is_valid(source, tmp_path):
    """What is written loads, and the test's own mistakes would show."""
    path = write_pipeline(tmp_path, source, str(tmp_path / "out"))
    assert [operator.name for operator in load(path).operators] == ["length_filter", "measure", "exact_dedup", "filter_where"]
    path.write_text(path.read_text().replace("own:Measure", "own:Nothing"))
    with pytest.raises(ConfigError, match="Nothing"):
        load(path)
    assert open_store(str(tmp_path / "out")).kind == "local"
