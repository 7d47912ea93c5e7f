"""A takedown that dies anywhere, and is started again: the same version as one that was never disturbed, and nothing left over."""

from __future__ import annotations

import shutil
import signal

import pytest
from pipelines_made import contents, orphans, same
from takedown_children import start
from takedowns import SECRET, after, config, holding, made, take
from tokens_made import BOTH, ids_operator

from pipelines import purge
from pipelines.errors import LeaseHeld
from pipelines.faults import TAKEDOWN_POINTS
from pipelines.lease import Lease
from pipelines.run import run
from pipelines.storage import open_store
from pipelines.verify import verify
from pipelines.version import claims

pytestmark = pytest.mark.usefixtures("no_fsync")

NAMES = ["a6", "a10", "b30", "b12"]
MAKING = (
    "version.claimed",
    "takedown.before-shard@2",
    "takedown.after-shard",
    "tokens.before-file@3",
    "takedown.tombstones-written",
    "version.tables-written",
    "version.manifest-written",
    "version.card-written",
    "version.swapped",
)
PURGING = ("takedown.purging", "takedown.purged", "gc.marked", "gc.deleting")


def store_of(folder):
    return open_store(str(folder / "out"))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An output with token shards and kept intermediates, what a takedown makes of it, and what a purge leaves."""
    folder = tmp_path_factory.mktemp("takedown")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _descriptor: None)
        patch.setattr(purge, "UPLOAD_SECONDS", 0.0)
        output = {"token_shards": {"formats": BOTH}, "target_shard_bytes": "9KiB", "dropped": True}
        made(folder, [ids_operator(folder), {"type": "exact_dedup"}], output=output, execution={"keep_intermediates": "latest"})
        shutil.copytree(folder / "out", folder / "first")
        take(folder, NAMES)
        taken = contents(store_of(folder))
        take(folder, None, purge_versions=True)
        return folder, taken, contents(store_of(folder))


@pytest.fixture
def folder(template, shm_path):
    """A folder with the output before the takedown."""
    shutil.copytree(template[0] / "first", shm_path / "out")
    return shm_path


def test_the_points_are_those_that_a_takedown_passes(template):
    """Every point of a takedown is killed at."""
    killed = {point.partition("@")[0] for point in (*MAKING, *PURGING)}
    assert set(TAKEDOWN_POINTS) <= killed


@pytest.mark.parametrize("point", MAKING)
def test_killed_and_started_again(template, folder, point):
    """The version is that of an undisturbed takedown, byte for byte but for times; there is one, and nothing is left over."""
    child = start(folder, NAMES, f"{point}=kill")
    assert child.wait() == -signal.SIGKILL
    # The card is written before the manifest is swapped, as a run does.
    assert point == "version.card-written" or verify(str(folder / "out")).ok
    take(folder, NAMES)
    assert same(contents(store_of(folder)), template[1]) == []
    assert [claim.state for claim in claims(store_of(folder))] == ["finished", "finished"]
    left = [path for path in orphans(store_of(folder)) if not path.startswith(("_shardmill/parts/", "_shardmill/tmp/"))]
    assert left == []
    assert len(list(store_of(folder).list("_shardmill/tombstones"))) == 1
    after(folder)


@pytest.mark.parametrize("point", PURGING)
def test_a_purge_that_is_killed_goes_on(template, folder, monkeypatch, point):
    """What is left is what an undisturbed purge leaves, and verifies meanwhile."""
    child = start(folder, NAMES, f"{point}=kill", purge_versions=True)
    assert child.wait() == -signal.SIGKILL
    assert verify(str(folder / "out")).ok
    monkeypatch.setattr(purge, "UPLOAD_SECONDS", 0.0)
    take(folder, NAMES, purge_versions=True)
    assert same(contents(store_of(folder)), template[2]) == []
    assert holding(store_of(folder), f"{SECRET}-a6 ") == []
    after(folder)


def test_a_torn_shard_is_purged(folder, monkeypatch):
    """A temporary file of a takedown that was killed as it wrote goes with the purge."""
    child = start(folder, NAMES, "takedown.before-shard@2=kill")
    assert child.wait() == -signal.SIGKILL
    (folder / "out" / "_shardmill" / "tmp" / "left.tmp").write_text(f"{SECRET}-a6 half")
    monkeypatch.setattr(purge, "UPLOAD_SECONDS", 0.0)
    take(folder, NAMES, purge_versions=True)
    assert holding(store_of(folder), f"{SECRET}-a6 ") == []


def test_another_takedown_after_one_that_died_before_its_swap(folder):
    """The version that was whole becomes current first, and the other goes on from it."""
    child = start(folder, ["a6"], "version.card-written=kill")
    assert child.wait() == -signal.SIGKILL
    take(folder, ["b30"])
    now = after(folder)
    assert now.manifest["version"] == "v3"
    assert {"a6", "b30"}.isdisjoint(row["id"] for row in now.rows())


def test_another_takedown_after_one_that_died_earlier(folder):
    """Its version is given up; a run would leave out what both took, and the later takedown's version lacks what it named."""
    child = start(folder, ["a6"], "version.tables-written=kill")
    assert child.wait() == -signal.SIGKILL
    take(folder, ["b30"])
    assert [claim.state for claim in claims(store_of(folder))] == ["finished", "abandoned", "finished"]
    assert "b30" not in {row["id"] for row in after(folder).rows()}
    take(folder, ["a6"])
    assert {"a6", "b30"}.isdisjoint(row["id"] for row in after(folder).rows())


def test_a_run_after_a_takedown_that_nobody_started_again(shm_path):
    """The version of a later takedown does not claim that the first one's documents are out: the next run makes one without them."""
    made(shm_path)
    assert start(shm_path, ["a6"], "takedown.tombstones-written=kill").wait() == -signal.SIGKILL
    assert take(shm_path, ["b30"]).is_new
    assert "a6" in {row["id"] for row in after(shm_path).rows()}
    assert not take(shm_path, ["b30"]).is_new
    assert not run(config(shm_path)).was_finished
    assert {"a6", "b30"}.isdisjoint(row["id"] for row in after(shm_path).rows())
    assert run(config(shm_path)).was_finished
    assert not take(shm_path, ["a6", "b30"]).is_new


def test_two_at_once(folder):
    """While one is at work, another is told so; it does nothing."""
    with Lease(store_of(folder), lambda: "takedown"), pytest.raises(LeaseHeld, match="another run is writing this output"):
        take(folder, NAMES)
    children = [start(folder, NAMES) for _ in range(2)]
    statuses = sorted(child.wait() for child in children)
    assert statuses in ([0, 0], [0, 1])
    assert all(child.answered().get("version", "v2") == "v2" for child in children)
    assert after(folder).manifest["version"] == "v2"
