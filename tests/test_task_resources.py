"""What tasks ask of their nodes, where there is room for them, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_files import MINIMAL
from hypothesis import given
from hypothesis import strategies as st

from cluster.resources import Needs, lacking, most, room
from pipelines import task_resources
from pipelines.config import load
from pipelines.errors import ConfigError, NoRoom
from pipelines.settings_cluster import RayCluster
from pipelines.task_resources import Asked, Askings, Scarcity

GIB = 1 << 30
RESOURCES = {
    "default": {"num_cpus": 0.5, "custom": {"disk": 1}},
    "small": {"num_cpus": 0.25},
    "tokenize": {"num_cpus": 2, "memory": "4GiB"},
    "classify": {"custom": {"GPU": 1, "disk": 0.5}},
    "exchange": {"memory": "8GiB"},
}
STAGES = {"one": ("small",), "two": ("small", "tokenize", "classify"), "three": ()}
amounts = st.integers(1, 40).map(lambda number: number / 4)
needs = st.builds(
    Needs, amounts, st.integers(0, 8).map(lambda number: number * GIB), st.sampled_from([(), (("GPU", 1.0),), (("a", 0.5), ("b", 2.0))])
)
node = st.fixed_dictionaries({"CPU": amounts, "memory": st.integers(0, 32).map(lambda number: float(number * GIB))}).flatmap(
    lambda known: st.dictionaries(st.sampled_from(["GPU", "a", "b"]), amounts, max_size=3).map(lambda extra: {**known, **extra})
)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(task_resources, "time", made)
    return made


def asked(stage, *kinds):
    return Askings(RayCluster(resources=RESOURCES), STAGES).of(stage, kinds)


def test_a_stage_asks_for_the_most_of_its_operators():
    """What an operator does not say is as in `default`; of each resource the most counts, as one task applies them all."""
    assert asked("one", "unit").needs == Needs(0.25, 0, (("disk", 1.0),))
    assert asked("two", "unit").needs == Needs(2, 4 * GIB, (("GPU", 1.0), ("disk", 1.0)))
    assert asked("three", "unit").needs == Needs(0.5, 0, (("disk", 1.0),))
    assert asked("two", "unit").subject == "stage 2 (small, tokenize, classify)"


@pytest.mark.parametrize(("kind", "memory"), [("partition", 8 * GIB), ("buckets", 8 * GIB), ("shard", 0), ("learn", 0), ("retain", 0)])
def test_other_work_has_keys_of_its_own(kind, memory):
    """An exchange asks for what `exchange` says, whatever the operators of its stage ask for."""
    assert asked("two", kind).needs == Needs(0.5, memory, (("disk", 1.0),))


def test_without_resources_a_task_asks_for_a_core():
    """Other clusters have no such settings."""
    assert Askings().of("anything", ["unit"]).needs == Needs() == most([])


@given(st.lists(node, max_size=4), needs)
def test_there_is_room_exactly_where_nothing_is_lacking(nodes, wanted):
    """A message names what is lacking if and only if not even one task fits; every node counts for itself."""
    places = room(nodes, wanted)
    assert places == sum(room([one], wanted) for one in nodes)
    assert bool(places) == (lacking(nodes, wanted) == "")
    for one in nodes:
        fitting = room([one], wanted)
        assert all(one.get(name, 0) >= fitting * amount - 1e-6 for name, amount in wanted.demand().items())
        assert any(one.get(name, 0) < (fitting + 1) * amount - 1e-9 for name, amount in wanted.demand().items())


def test_what_is_lacking_is_named_with_the_most_that_there_is():
    """The name of the resource, how much is wanted, and how much the best node has."""
    nodes = [{"CPU": 4.0, "memory": 2.0 * GIB}, {"CPU": 1.0, "memory": 64.0 * GIB}]
    assert lacking(nodes, Needs(1, 0, (("big", 1.0),))) == "big 1 (the most that a node has is 0)"
    assert (
        lacking(nodes, Needs(8, 128 * GIB))
        == "CPU 8 (the most that a node has is 4) and memory 128 GiB (the most that a node has is 64 GiB)"
    )
    assert lacking(nodes, Needs(4, 32 * GIB)) == "together CPU 4, memory 32 GiB"
    assert "the most that a node has is 0" in lacking([], Needs())


def test_scarcity_is_told_after_a_while_and_fails_in_the_end(clock):
    """A node may be on its way, so it is told once, then that it has passed; only a very long wait is an error."""
    told = []
    scarcity = Scarcity(Asked(Needs(), "stage 1 (tokenize)"), 600, told.append)
    scarcity.look("big 1")
    clock.now += 19
    scarcity.look("big 1")
    assert told == []
    clock.now += 2
    scarcity.look("big 1")
    scarcity.look("big 1")
    assert told == ["stage 1 (tokenize): waiting for a node that has big 1"]
    scarcity.look("")
    assert told[1:] == [""]
    scarcity.look("big 1")
    clock.now += 599
    scarcity.look("big 1")
    clock.now += 2
    with pytest.raises(NoRoom, match=r"^stage 1 \(tokenize\): for 10 minutes no node of the cluster has had big 1; .*max_wait_minutes"):
        scarcity.look("big 1")


# The settings


def test_options_for_ray():
    """A GPU has an option of its own in Ray; memory that nobody asks for is not named."""
    assert Needs(2, 5, (("GPU", 1.0), ("a", 2.0))).options() == {"num_cpus": 2, "memory": 5, "num_gpus": 1.0, "resources": {"a": 2.0}}
    assert Needs().options() == {"num_cpus": 1.0}


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ("{lenght_filter: {num_cpus: 1}}", "no operator or kind of work is called 'lenght_filter'; did you mean 'length_filter'?"),
        ("{exchanges: {}}", "did you mean 'exchange'?"),
        ("{default: {num_cpus: 1.5}}", "expected a whole number, or a part of one core"),
        ("{default: {num_cpu: 1}}", "did you mean 'num_cpus'?"),
        ("{default: {memory: 4 potatoes}}", "expected a size in bytes"),
        ("{default: {custom: {CPU: 1}}}", "set `num_cpus`"),
        ("{default: {custom: {a: 2.5}}}", "expected a whole number, or a part of one"),
    ],
)
def test_wrong_resources(resources, said, tmp_path):
    """A wrong name or amount is told before a run, with its line and the nearest word."""
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL + "operators: [{type: length_filter}]\ncluster: {type: ray, resources: " + resources + "}\n")
    with pytest.raises(ConfigError) as caught:
        load(Path(path))
    assert said in caught.value.message
    assert "cluster.resources" in caught.value.message


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("ship: [../secret.txt]", "leads out of the pipeline's folder"),
        ('pip: ["https://me:word@index.example.org/a.whl"]', "would be stored by the cluster"),
        ("autoscale: {max_cpus: 0}", "at least 1"),
    ],
)
def test_wrong_settings_of_a_cluster(setting, said, tmp_path):
    """Each is one problem that names its key."""
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL + "cluster: {type: ray, " + setting + "}\n")
    with pytest.raises(ConfigError) as caught:
        load(Path(path))
    assert said in caught.value.message


def test_where_a_token_lies_is_no_secret(tmp_path):
    """The path of the token's file stays in what a run writes down of its settings."""
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL + "cluster: {type: ray, token_path: /etc/token}\n")
    assert load(Path(path)).redacted()["cluster"]["token_path"] == "/etc/token"
