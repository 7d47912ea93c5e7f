"""`verify` proves what an ingestion promises, and what a takedown of an output that grew tells; it finds every damage to either."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from growing import ALL, Growing, batches
from grown import grow, ids, lent, take, verified

from pipelines.verify import verify

pytestmark = pytest.mark.usefixtures("no_fsync")

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """Three ingestions."""
    return grow(tmp_path_factory.mktemp("grown"), ALL)


@pytest.fixture
def made(grown):
    with lent(grown) as found:
        yield found


@pytest.fixture(scope="module")
def taken(grown, tmp_path_factory):
    """A takedown of an output that grew, with operators that were set otherwise in between."""
    made = grow(tmp_path_factory.mktemp("taken"), ALL, files=2)
    made.operators = [*ALL[1:], ALL[0]]
    made.arrives("g", batches(1, seed=77)[0])
    made.ingest()
    take(made, ids(made)[:2])
    return made


def edit(made: Growing, change: Edit, version: str | None = None) -> None:
    """Change a version's manifest wherever it lies; of the newest both copies."""
    current = json.loads((made.target / "manifest.json").read_text())["version"]
    version = version or current
    places = [made.target / f"versions/{version}/manifest.json", *([made.target / "manifest.json"] if version == current else [])]
    manifest = json.loads(places[0].read_text())
    change(manifest)
    for place in places:
        place.write_text(json.dumps(manifest))


def rewritten(made: Growing, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the table of shards of the newest version, and what its manifest says of it."""
    version = made.manifest()["version"]
    path = made.target / f"versions/{version}/shards.parquet"
    table = change(pq.read_table(path))
    pq.write_table(table, path)

    def told(manifest: dict[str, Any]) -> None:
        manifest["tables"]["shards"] = {"rows": table.num_rows, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    edit(made, told)


def test_a_grown_version_is_proven(grown):
    """Each of its versions by its own check, none left out; what is proven is said."""
    for version in ("v1", "v2", "v3"):
        found = verify(str(grown.target), version=version)
        assert found.ok
        assert {check.name for check in found.checks if not check.checked} <= {"card"}, "which is the current version's"
        (told,) = [check.message for check in found.checks if check.name == "ingest"]
        assert "no file was taken in twice" in told
        assert ("all its shards are its own" in told) == (version == "v1")


DAMAGES: dict[str, tuple[Edit, str]] = {
    "another base": (lambda m: m["ingest"].update(base="v1"), "its digest is not among the parents of v3"),
    "no base": (lambda m: m["ingest"].update(base=None), "is neither a shard of the version before"),
    "a base that is not there": (lambda m: m["ingest"].update(base="v9"), "is missing"),
    "parents": (lambda m: m.update(parents=[]), "its digest is not among the parents"),
    "the lineage's rows": (
        lambda m: m["ingest"]["lineage"].update(rows=35),
        "ingest.lineage.rows is 35, but the versions together have 36",
    ),
    "the lineage's files": (lambda m: m["ingest"]["lineage"].update(files=4), "ingest.lineage.files is 4"),
    "the lineage's versions": (lambda m: m["ingest"]["lineage"].update(versions=["v1", "v3"]), "ingest.lineage.versions is"),
    "rows in": (lambda m: m["ingest"]["lineage"]["ledger"].update(rows_in=37), "ledger.rows_in is 37"),
    "rows out": (lambda m: m["ingest"]["lineage"]["ledger"].update(rows_out=1), "rows_out is 1, but output.rows is"),
    "drops": (
        lambda m: m["ingest"]["lineage"]["ledger"]["dropped"]["url_dedup"].update(url_duplicate=0),
        "dropped.url_dedup.url_duplicate is 0",
    ),
    "new files": (lambda m: m["ingest"].update(new_files=2), "ingest.new_files is 2"),
    "known files": (lambda m: m["ingest"].update(known_files=1), "are 1 files together, but 2 were taken in before"),
    "a policy": (lambda m: m["ingest"]["changed"].update(policy="ignore"), "ingest.changed.policy is"),
    "a policy that adds nothing": (
        lambda m: m["ingest"]["changed"].update(policy="fail", files=1),
        "with the policy fail nothing is added",
    ),
    "its shape": (lambda m: m["ingest"].pop("lineage"), "ingest.lineage is missing"),
    "an inventory of before": (
        lambda m: m["input"].update(inventory=m["input"]["inventory"].replace("inventories/", "inventories/no")),
        "the inventory that it names cannot be read",
    ),
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_manifest_that_does_not_fit_its_lineage_is_found(damage, made):
    """Whatever `ingest` says is held against the version before, the tables and the inventories."""
    change, words = DAMAGES[damage]
    edit(made, change)
    found = verified(made)
    assert any(words in message for _, message in found), found


def test_shards_that_are_not_those_of_before_are_found(made):
    """Another digest, another order, one that is left out; a base whose manifest, table or inventory is gone or was changed."""
    for change in (
        lambda table: table.take([1, 0, 2]),
        lambda table: table.set_column(1, "rows", pa.array([table["rows"][0].as_py() + 1, *table["rows"].to_pylist()[1:]])),
        lambda table: table.slice(1),
    ):
        with lent(made):
            rewritten(made, change)
            assert any(name == "ingest" for name, _ in verified(made))


@pytest.mark.parametrize("name", ["manifest.json", "shards.parquet", "inventory"])
@pytest.mark.parametrize("is_gone", [True, False])
def test_a_base_that_is_damaged_is_found(name, is_gone, made):
    """Without it nobody knows what the version was added to."""
    path = made.target / (made.manifest("v2")["input"]["inventory"] if name == "inventory" else f"versions/v2/{name}")
    if is_gone:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20] + b" " * 19 + b"}")
    found = [message for check, message in verified(made) if check == "ingest"]
    assert found, "nothing was found"
    assert "v2" in found[0]


def test_files_that_were_taken_in_twice_are_found(made):
    """An inventory that names a file of the version before."""
    other = made.manifest("v1")["input"]["inventory"]
    edit(made, lambda m: m["input"].update(inventory=other))
    assert any("took in 1 of its files" in message for _, message in verified(made))


def test_an_ingestion_that_forgot_the_tombstones_is_found(made):
    """After a takedown, a version that was made without leaving anything out."""
    take(made, [ids(made)[0]])
    made.arrives("g", batches(1, seed=77)[0])
    made.ingest()
    assert verified(made) == []
    edit(made, lambda m: m["operators"].pop(0))
    assert any("documents were taken out of v4, but no first operator" in message for _, message in verified(made))


TAKEN: dict[str, tuple[Edit, str]] = {
    "covers": (lambda m: m["takedown"].update(covers=["v2", "v3", "v4"]), "takedown.covers is"),
    "runs": (lambda m: m["takedown"].update(runs=m["takedown"]["runs"][:2]), "takedown.runs is"),
    "an ingestion": (lambda m: m.update(ingest={}), "ingest"),
    "the ledger": (lambda m: m["ledger"]["dropped"].pop("minhash_dedup"), "ledger is not that of v3 less"),
    "input rows": (lambda m: m["input"].update(rows=35), "input tells of"),
    "input uri": (lambda m: m["input"].update(uri="elsewhere"), "input.uri is not that of v3"),
    "rows of an operator": (lambda m: m["operators"][0].update(rows_in=1), "are not the sums over the versions"),
    "settings": (lambda m: m["operators"][1]["settings"].update(threshold=0.9), "its settings are not those of the newest"),
    "an operator": (lambda m: m["operators"].pop(1), "operators:"),
    "no pipelines": (lambda m: m["takedown"].pop("pipelines"), "rows_in is"),
    "rows of a pipeline": (lambda m: m["takedown"]["pipelines"][0]["operators"][0].update(rows_out=3), "takedown.pipelines: v1, v2"),
    "a pipeline": (lambda m: m["takedown"]["pipelines"].pop(), "takedown.pipelines:"),
    "what a pipeline got": (lambda m: m["takedown"]["pipelines"][0].update(rows_in=3), "takedown.pipelines:"),
}


@pytest.mark.parametrize("damage", sorted(TAKEN))
def test_a_takedown_that_does_not_tell_its_lineage_is_found(damage, taken):
    """What it says of all versions is held against the manifests of each."""
    change, words = TAKEN[damage]
    with lent(taken):
        edit(taken, change)
        found = verified(taken)
        assert any(words in message for _, message in found), found
    assert verified(taken) == []


def test_a_lineage_that_is_cut_further_back_is_found(made):
    """The base is here, what that was added to is not."""
    (made.target / "versions/v1/manifest.json").unlink()
    assert [name for name, _ in verified(made)] == ["ingest"]
