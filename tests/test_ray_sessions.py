"""Sessions with a real Ray: its token, the nodes that come and go, what tasks ask for, and what an autoscaler is told."""

from __future__ import annotations

import os
import time

import pytest
from pipelines_made import Runs, contents, same, write_input, write_pipeline
from ray_nodes import until

pytestmark = pytest.mark.ray

WRONG = "f" * 64


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_input(tmp_path_factory.mktemp("input") / "input", rows=24, files=1)


@pytest.fixture
def runs_with(source, shm_path, ray_cluster):
    """Makes runs on the session's Ray with other settings of the cluster."""

    def made(**cluster):
        path = write_pipeline(shm_path / "pipeline", source, str(shm_path / "out"), cluster={**ray_cluster.settings, **cluster})
        return Runs(path, shm_path / "runs")

    return made


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"RAY_AUTH_TOKEN": WRONG}, "it refuses the token that it was given"),
        ({"RAY_AUTH_TOKEN": "", "RAY_AUTH_MODE": ""}, "it wants a token, and none was given"),
        ({"RAY_AUTH_TOKEN": "", "RAY_AUTH_TOKEN_PATH": "/nowhere/token"}, "no token: /nowhere/token: No such file or directory"),
    ],
    ids=["wrong", "none", "no file"],
)
def test_a_token_that_is_missing_or_wrong(environment, said, runs_with, ray_cluster):
    """One message, within seconds, that says where a token belongs and holds none."""
    started = time.monotonic()
    child = runs_with().start(**environment)
    assert child.wait() == 1
    assert time.monotonic() - started < 30  # Ray alone takes 20 s more than the start of a process
    answer = child.answered()
    assert answer["error"] == "ClusterError"
    assert said in answer["message"]
    assert "cluster.token_path" in answer["message"]
    assert WRONG not in answer["message"]
    assert os.environ["RAY_AUTH_TOKEN"] not in answer["message"]


@pytest.mark.chaos
def test_a_stage_waits_for_what_no_node_has(runs_with, source, shm_path, tmp_path, ray_cluster):
    """A resource that no node has is an error after the time set, naming the stage; with a node that has it the run goes on to its end.

    The token comes from the file that `token_path` names.
    """
    (tmp_path / "token").write_text(os.environ["RAY_AUTH_TOKEN"] + "\n")
    alone = Runs(write_pipeline(tmp_path / "alone", source, str(tmp_path / "out")), tmp_path / "alone-runs")
    alone.finish()
    cluster = {"resources": {"measure": {"num_cpus": 0.5, "custom": {"big": 1}}}, "token_path": str(tmp_path / "token")}
    own = {"RAY_AUTH_TOKEN": "", "RAY_AUTH_MODE": ""}
    child = runs_with(**cluster, max_wait_minutes=0.02).start(**own)
    assert child.wait() == 1
    assert child.answered()["error"] == "NoRoom"
    assert "stage 1 (length_filter, measure, exact_dedup)" in child.answered()["message"]
    assert "big 1 (the most that a node has is 0)" in child.answered()["message"]
    runs = runs_with(**cluster)
    with ray_cluster.another_node({"big": 2}) as node:
        child = runs.start(**own)
        until(lambda: len(node.workers()) == 2 or child.process.exitcode is not None, child.points)
        assert child.wait() == 0, child.answered()
    assert not same(contents(runs.store()), contents(alone.store()))


@pytest.mark.chaos
def test_room_follows_the_nodes(ray_cluster, connected):
    """A node that joins during a run is used, one that leaves is not counted any more."""
    from cluster import session
    from cluster.resources import Needs

    half = Needs(0.5)
    with session.remote(session.Remote(ray_cluster.address)) as executor:
        assert (executor.slots, executor.room(half), executor.room(Needs(2))) == (2, 4, 1)
        assert executor.lacking(Needs(3)) == "CPU 3 (the most that a node has is 2)"
        with ray_cluster.another_node({"big": 1}):
            until(lambda: executor.slots == 3)
            assert executor.room(half) == 6
            assert executor.lacking(Needs(1, 0, (("big", 1.0),))) == ""
        until(lambda: executor.slots == 2)
        assert executor.lacking(Needs(1, 0, (("big", 1.0),)))


def test_an_autoscaler_is_asked_within_bounds(ray_cluster, connected):
    """Nodes are asked for as much work as there is, up to `max_cpus`, for none in the end; a cluster without autoscaler takes no notice."""
    import json

    from ray.experimental.internal_kv import _internal_kv_get

    from cluster.ray_tasks import RayExecutor
    from cluster.resources import Needs

    def asked():
        return json.loads(_internal_kv_get("autoscaler_resource_request"))

    executor = RayExecutor(max_cpus=5)
    executor.expect(3, Needs())
    assert asked() == [{"CPU": 1.0}] * 3
    executor.expect(100, Needs(2, 0, (("big", 1.0),)))
    assert asked() == [{"CPU": 2, "big": 1.0}] * 2
    executor.release()
    assert asked() == []
    RayExecutor().expect(3, Needs())
    assert asked() == []
