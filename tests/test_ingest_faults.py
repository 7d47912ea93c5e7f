"""An ingestion that is killed and started again makes the version that an undisturbed one makes; of several at once one goes on."""

from __future__ import annotations

import json
import signal

import pytest
import yaml
from history_made import unnamed_files
from pipelines_made import Runs, contents, orphans, same, write_input, write_pipeline

from pipelines.faults import HISTORY_POINTS, POINTS
from pipelines.history import describe
from pipelines.storage import open_store
from pipelines.verify import verify

KILLED = -signal.SIGKILL
OPERATORS = [{"type": "length_filter", "min_chars": 8}, {"type": "exact_dedup"}, {"type": "minhash_dedup", "bands": 6, "rows": 2}]
EVERY = (*POINTS, *HISTORY_POINTS)
OFTEN = {
    "version.manifest-written",
    "version.swapped",
    "history.before-generation",
    "history.left",
    "pack.after-shard",
    "unit.parts-written",
}


class Arriving:
    """An input of two files, to which others come, and ingestions of it in processes of their own."""

    def __init__(self, root, source):
        self.root, self.source, self.input = root, source, root / "in"
        self.input.mkdir(parents=True)
        path = write_pipeline(root / "pipeline", self.input, str(root / "out"), operators=OPERATORS, execution={"unit_bytes": "16KiB"})
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "input": {"uri": f"{self.input}/*.parquet"}}))
        self.runs = Runs(path, root / "runs", ingests=True)
        self.arrives("part-0.parquet")

    def arrives(self, *names):
        for name in names:
            (self.input / name).write_bytes((self.source / name).read_bytes())

    @property
    def store(self):
        return self.runs.store()

    def shards(self):
        """Shards and tables by what is in them: where the input lies is in their keys and names."""
        manifest = json.loads(self.store.read("manifest.json"))
        return manifest["version"], manifest["ingest"]["lineage"]["ledger"], manifest["output"]["rows"], manifest["output"]["shards"]

    def assert_whole(self, version):
        assert not orphans(self.store)
        assert unnamed_files(open_store(f"{self.root}/out/_shardmill/history")) == []
        assert len(describe(open_store(f"{self.root}/out/_shardmill/history"))) == version
        found = verify(f"{self.root}/out")
        assert found.ok, [check for check in found.checks if not check.ok]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_input(tmp_path_factory.mktemp("source") / "in", rows=36, files=3)


@pytest.fixture
def arriving(shm_path, source):
    return Arriving(shm_path, source)


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    """What two ingestions leave if nothing happens, and how often the second passes each point."""
    made = Arriving(tmp_path_factory.mktemp("undisturbed"), source)
    made.runs.finish()
    made.arrives("part-1.parquet")
    child = made.runs.start()
    assert child.wait() == 0, child.answered()
    return made.shards(), child.points()


def test_every_point_is_passed(undisturbed):
    """Else these tests would show nothing; and documents of the first version remove some of the second."""
    assert set(EVERY) <= {*undisturbed[1], "gc.deleting", "exchange.before-record"}
    assert undisturbed[0][1]["dropped"]["exact_dedup"]["exact_duplicate"] > 2


@pytest.mark.parametrize("point", [pytest.param(point, marks=[] if point in OFTEN else pytest.mark.chaos) for point in EVERY])
def test_killed_and_started_again(point, arriving, undisturbed):
    """kill -9 at the last passing of each point of the second ingestion: the next goes on, and what is there is as if nothing had been."""
    arriving.runs.finish()
    arriving.arrives("part-1.parquet")
    passings = undisturbed[1].count(point)
    assert arriving.runs.start(f"{point}@{passings}=kill", once=False).wait() == KILLED
    arriving.runs.finish()
    assert arriving.shards() == undisturbed[0]
    arriving.assert_whole(2)
    assert arriving.runs.finish() == {"was_finished": True, "version": "v2"}


@pytest.mark.parametrize("point", ["version.swapped", pytest.param("history.before-generation", marks=pytest.mark.chaos)])
def test_killed_and_more_has_come(point, arriving, undisturbed):
    """What the dead one owed is made up for first, then what came meanwhile is taken in."""
    arriving.runs.finish()
    arriving.arrives("part-1.parquet")
    assert arriving.runs.start(f"{point}=kill").wait() == KILLED
    arriving.arrives("part-2.parquet")
    assert arriving.runs.finish() == {"was_finished": False, "version": "v3"}
    arriving.assert_whole(3)
    before = json.loads(arriving.store.read("versions/v2/manifest.json"))
    assert before["ingest"]["lineage"]["ledger"] == undisturbed[0][1]


def test_killed_before_the_swap_and_more_has_come(arriving):
    """The version that was not made current stays what it is, a number that was used up: its files come in with the next."""
    arriving.runs.finish()
    arriving.arrives("part-1.parquet")
    assert arriving.runs.start("version.manifest-written=kill").wait() == KILLED
    arriving.arrives("part-2.parquet")
    arriving.runs.finish()
    manifest = json.loads(arriving.store.read("manifest.json"))
    assert (manifest["ingest"]["base"], manifest["ingest"]["new_files"]) == ("v1", 2)
    arriving.assert_whole(2)


def test_of_several_at_once_one_goes_on(arriving, undisturbed):
    """Four at the same moment, again until there is nothing left: each file is taken in once."""
    arriving.runs.finish()
    arriving.arrives("part-1.parquet")
    children = [arriving.runs.start(once=False) for _ in range(4)]
    answers = [(child.wait(), child.answered()) for child in children]
    assert all(status == 0 or said["error"] in ("LeaseHeld", "VersionConflict") for status, said in answers), answers
    assert sum(not said.get("was_finished", True) for _, said in answers) == 1, answers
    assert arriving.shards() == undisturbed[0]
    arriving.assert_whole(2)


def test_another_ingests_while_one_plans(arriving, monkeypatch):
    """One that found the same files new, but comes second to the lease, plans again, and finds nothing."""
    from pipelines.config import load
    from pipelines.ingest import Ingestion, ingest

    arriving.runs.finish()
    arriving.arrives("part-1.parquet")
    inner = Ingestion._prepared

    def slow(self, *given):
        monkeypatch.setattr(Ingestion, "_prepared", inner)
        assert ingest(load(arriving.runs.pipeline)).is_new
        return inner(self, *given)

    monkeypatch.setattr(Ingestion, "_prepared", slow)
    late = ingest(load(arriving.runs.pipeline))
    assert (late.is_new, late.manifest["version"]) == (False, "v2")
    arriving.assert_whole(2)


def test_the_bytes_are_the_same_wherever_and_whenever(arriving):
    """Two outputs that are grown by the same steps, at other times, have shards and tables of the same names and bytes."""
    other = arriving.runs.pipeline.with_name("other.yaml")
    other.write_text(arriving.runs.pipeline.read_text().replace(f"{arriving.root}/out", f"{arriving.root}/other"))
    again = Runs(other, arriving.root / "again", ingests=True)
    for name in ("part-1.parquet", "part-2.parquet"):
        arriving.runs.finish()
        again.finish()
        arriving.arrives(name)
    found = [{path: data for path, data in contents(runs.store()).items() if path.endswith(".parquet")} for runs in (arriving.runs, again)]
    assert any(path.startswith("data/v2/") for path in found[0])
    assert not same(*found)
