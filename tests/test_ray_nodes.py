"""On a Ray of three nodes with processes of their own: nodes and the driver are killed, one joins, the result is the undisturbed one."""

from __future__ import annotations

import os
import signal

import pytest
from pipelines_made import Runs, contents, internals, orphans, rows_of, same, write_input, write_pipeline
from ray_nodes import ray_nodes, until

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.timeout(900)]

WHERE = '''
import os
from typing import Literal

import pyarrow as pa

from operators.base import BatchOperator, Result

from words import WORD  # a neighbour


class Where(BatchOperator):
    """Add the file that this class was loaded from, the words beside it and the id of the node."""

    type: Literal["where"] = "where"

    def open(self, assets):
        from pathlib import Path

        said = f"{__file__} {WORD} {Path(__file__).with_name('list.txt').read_text().strip()}"

        def where(batch):
            return Result(batch.append_column("loaded_from", pa.array([said] * batch.num_rows, pa.string())))

        return where
'''


@pytest.fixture(scope="module")
def nodes():
    with ray_nodes(2, dashboard=False) as started:
        yield started


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_input(tmp_path_factory.mktemp("input") / "input")


def num_records(runs):
    return sum("/records/" in path for path in internals(runs.store()))


def test_nodes_die_one_joins_and_the_driver_is_killed(nodes, source, shm_path, tmp_path):
    """A machine loses power, a raylet leaves its workers behind, a node joins, the driver dies; run again, every byte is as undisturbed."""
    alone = Runs(write_pipeline(tmp_path / "alone", source, str(tmp_path / "alone" / "out")), tmp_path / "alone-runs")
    alone.finish()
    path = write_pipeline(shm_path / "pipeline", source, str(shm_path / "out"), cluster=nodes.settings)
    runs = Runs(path, shm_path / "runs", nodes.environment)
    wake = shm_path / "wake"
    child = runs.start(f"commit.before-record@2=wait:{wake}", once=False)
    until(lambda: num_records(runs) == 3 and all(len(node.workers()) == 1 for node in nodes.nodes), child.points)
    first, second = nodes.nodes
    first.kill()
    second.kill_raylet()
    joined = nodes.join(num_cpus=2)
    until(lambda: joined.workers() != [], child.points)  # it is used, though the run began without it
    wake.touch()
    until(lambda: num_records(runs) >= 8 or child.process.exitcode is not None)
    if child.process.exitcode is None:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
    runs.finish()
    assert not same(contents(runs.store()), contents(alone.store()))
    assert not orphans(runs.store())


def test_operators_beside_the_file_reach_nodes_that_cannot_see_them(nodes, source, shm_path):
    """The pipeline's folder is gone once the run has begun: workers load its module, a neighbour and a file from what was shipped."""
    folder = shm_path / "pipeline"
    path = write_pipeline(
        folder,
        source,
        str(shm_path / "out"),
        cluster={**nodes.settings, "ship": ["*.txt"]},
        operators=[{"type": "where:Where", "name": "where"}],
    )
    (folder / "where.py").write_text(WHERE)
    (folder / "words.py").write_text("WORD = 'neighbour'\n")
    (folder / "list.txt").write_text("listed\n")
    runs = Runs(path, shm_path / "runs", nodes.environment)
    wake = shm_path / "wake"
    store = runs.store()
    child = runs.start(f"run.planned=wait:{wake}")
    until(lambda: "run.planned" in child.points(), lambda: str(child.process.exitcode))
    folder.rename(shm_path / "elsewhere")
    wake.touch()
    assert child.wait() == 0, child.answered()
    found = {row["loaded_from"] for row in rows_of(store, "data/v1")}
    assert found
    for said in found:
        loaded, word, listed = said.split()
        assert loaded.startswith(str(nodes.folder)), loaded
        assert "working_dir_files" in loaded
        assert (word, listed) == ("neighbour", "listed")


def test_a_driver_outside_the_cluster(nodes, source, shm_path, tmp_path):
    """Through `ray://` a run does the same work with the same result; its code and modules come to the workers alike."""
    alone = Runs(write_pipeline(tmp_path / "alone", source, str(tmp_path / "alone" / "out")), tmp_path / "alone-runs")
    alone.finish()
    path = write_pipeline(shm_path / "pipeline", source, str(shm_path / "out"), cluster={"type": "ray", "address": nodes.client})
    runs = Runs(path, shm_path / "runs", nodes.environment)
    runs.finish()
    assert not same(contents(runs.store()), contents(alone.store()))
    wrong = runs.start(RAY_AUTH_TOKEN="f" * 64, pipeline=_moved(path, shm_path / "other"))
    assert wrong.wait() == 1
    assert "it refuses the token that it was given" in wrong.answered()["message"]


def _moved(path, output):
    """The pipeline with another output, for which nothing is done yet."""
    copy = path.with_name("other.yaml")
    copy.write_text(path.read_text().replace(str(path.parent.parent / "out"), str(output)))
    return copy
