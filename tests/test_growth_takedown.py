"""Documents are taken out of an output that grew as out of any other, and what comes of it accounts for all that went in."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from growing import ALL, Growing, batches
from grown import grow, ids, lent, shards_of, take, verified
from history_made import KINDS
from takedowns import holding

from pipelines.errors import InputError
from pipelines.funnel import balances
from pipelines.lineage import OWN_HISTORY
from pipelines.recall import struck_keys
from pipelines.storage import open_store
from pipelines.takedown_matches import Matches

pytestmark = pytest.mark.usefixtures("no_fsync")

TOKENIZED = [
    *KINDS["exact"],
    {"type": "train_tokenizer", "name": "learner", "vocab_size": 300},
    {"type": "tokenize", "tokenizer": "learner"},
]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """Three ingestions; tests copy it."""
    return grow(tmp_path_factory.mktemp("grown"), ALL)


@pytest.fixture
def made(grown):
    with lent(grown) as found:
        yield found


def test_documents_of_any_version_go_and_the_rest_stays(made):
    """One of each version's shards: only these shards are written anew, and one version accounts for what three told together."""
    before, shards, old = ids(made), made.output().shards(), made.manifest()
    whole = old["ingest"]["lineage"]
    names = list(shards_of(made).values())
    assert len(names) == 3
    done = take(made, names, reason="asked")
    assert (done.version, done.base, list(done.holding)) == ("v4", "v3", ["v1", "v2", "v3"])
    assert ids(made) == [name for name in before if name not in names]
    made.prove()
    manifest = made.manifest()
    assert "ingest" not in manifest
    assert manifest["takedown"]["covers"] == ["v1", "v2", "v3", "v4"]
    assert manifest["takedown"]["runs"] == [made.manifest(f"v{number}")["run_id"] for number in (1, 2, 3)]
    assert {key: manifest["input"][key] for key in ("files", "rows", "bytes")} == {key: whole[key] for key in ("files", "rows", "bytes")}
    dropped = {**whole["ledger"]["dropped"], "takedown": {"taken_down": 3}}
    assert manifest["ledger"] == {**whole["ledger"], "rows_out": whole["ledger"]["rows_out"] - 3, "dropped": dropped}
    assert "pipelines" not in manifest["takedown"]
    assert len(made.output().shards()) <= len(shards)
    assert balances(manifest)


def test_untouched_versions_keep_their_shards(made):
    """A document of the second version alone: the shards of the others are named as they were."""
    shards = made.output().shards()
    take(made, [shards_of(made)["v2"]])
    kept = [path for path in made.output().shards() if not path.startswith("data/v4/")]
    assert kept == [path for path in shards if not path.startswith("data/v2/")]


def test_what_a_version_lost_is_found_too(made):
    """A document that v1 dropped is blanked where it stands, and counts as out already; a doc_key of a later version's file names one."""
    lost = pq.read_table(next(made.target.glob("versions/v1/dropped/*.parquet"))).to_pylist()[0]
    key = ids(made)[-1]
    done = take(made, [lost["id"], key])
    assert isinstance(done.matches, Matches)
    assert done.matches.lost["id"].to_pylist() == [lost["id"]] or lost["id"] in done.matches.lost["id"].to_pylist()
    assert not done.matches.unmatched
    made.prove()


def test_a_dry_run_writes_nothing(made):
    """Not even the inventory of all versions together."""
    before = sorted(info.path for info in open_store(str(made.target)).list())
    done = take(made, [ids(made)[0]], dry_run=True)
    assert done.is_dry
    assert sorted(info.path for info in open_store(str(made.target)).list()) == before


def test_the_same_takedown_again_finds_nothing_to_do(made):
    """None of the documents is there any more."""
    name = ids(made)[0]
    assert take(made, [name]).is_new
    assert not take(made, [name]).is_new
    assert made.manifest()["version"] == "v4"


def test_taking_out_and_ingesting_take_turns(made):
    """Takedowns, ingestions and purges in any order: every version holds what it should, and tells how its rows went."""
    more = batches(2, seed=40)
    first = ids(made)[0]
    take(made, [first])
    made.arrives("g0", [{**row, "id": f"g-{row['id']}"} for row in more[0]])
    assert made.ingest().is_new
    made.prove()
    fresh = [name for name in ids(made) if name.startswith("g-")]
    assert fresh
    second, third = ids(made)[1], fresh[-1]
    take(made, [second, third])
    made.prove()
    manifest = made.manifest()
    chains = manifest["takedown"]["pipelines"]
    assert [chain["versions"] for chain in chains] == [["v1", "v2", "v3", "v4"], ["v5"]]
    assert chains[1]["operators"][0]["name"] == "takedown", "the ingestion left out first what had been taken out"
    assert balances(manifest)
    fourth = ids(made)[0]
    done = take(made, [fourth], purge_versions=True)
    assert done.purged.versions == ("v1", "v2", "v3", "v4", "v5", "v6")
    made.prove()
    made.arrives("g1", [{**row, "id": f"h-{row['id']}"} for row in more[1]])
    assert made.ingest().is_new
    made.prove()
    purged = take(made, None, purge_versions=True)
    assert list(purged.holding) == []
    assert not {"v7", "v8"} & set(purged.purged.versions), "v8 was added to v7, and needs it"
    made.prove()
    assert not made.ingest().is_new
    last = ids(made)[-1]
    take(made, [last], purge_versions=True)
    made.prove()
    assert balances(made.manifest())
    assert not {first, second, third, fourth, last} & set(ids(made))
    assert [chain["versions"][-1] for chain in made.manifest()["takedown"]["pipelines"]] == ["v4", "v5", "v7", "v8"]


def test_what_was_taken_out_does_not_come_back_with_new_files(made):
    """Under another id in a new file: the text is known; a copy of what stayed is a duplicate as before."""
    rows = {row["id"]: row for row in made.output().rows()}
    gone, stays = list(shards_of(made).values())[:2]
    take(made, [gone])
    made.arrives("again", [{**rows[gone], "id": "again"}, {**rows[stays], "id": "copy"}, {**rows[gone], "id": "new", "text": "word " * 40}])
    assert made.ingest().is_new
    assert {"again", "copy"} & set(ids(made)) == set()
    reasons = {row["id"]: row["reason"] for row in made.output().table("dropped")}
    assert reasons["again"] == "taken_down"
    assert "duplicate" in reasons["copy"]
    made.prove()


def test_nothing_is_removed_for_what_was_taken_out(made):
    """The keys of a document that goes are struck from the output's own history: one that is only near it comes in."""
    name = shards_of(made)["v1"]
    done = take(made, [name])
    history = open_store(f"{made.target}/{OWN_HISTORY}")
    struck = struck_keys(history, [info.path for info in history.list("tombstones")])
    assert [key.ljust(16, b"\0") for key in struck.tolist()] == [key.as_py() for key in done.matches.keys]


def test_the_history_of_an_output_that_a_plain_run_began(shm_path):
    """The run had no history; an ingestion that found nothing new left its keys in the output's own: a takedown strikes them there."""
    made = Growing(shm_path, KINDS["exact"])
    made.arrives("f0", batches(1)[0])
    made.run()
    assert made.manifest()["config"]["history"] is None
    assert not made.ingest().is_new
    done = take(made, [ids(made)[0]])
    history = open_store(f"{made.target}/{OWN_HISTORY}")
    struck = struck_keys(history, [info.path for info in history.list("tombstones")])
    assert len(struck) == len(done.matches.found) == 1
    made.arrives("f1", batches(2)[1])
    assert made.ingest().is_new
    made.prove()


def test_after_a_purge_no_text_of_it_is_left(made):
    """Neither in shards nor in tables, of whatever version; the output's inventory and history do not have it."""
    text = made.rows(None, "id", "text")[0]
    take(made, [text[0]], purge_versions=True)
    assert holding(open_store(str(made.target)), text[1]) == []
    assert verified(made) == []
    assert verified(made, "v2")[0][0] == "purged"


def test_the_first_ingestion_is_a_version_like_any_other(shm_path):
    """A takedown of it is no ingestion; what comes later is added to that."""
    made = grow(shm_path, KINDS["exact"], files=1)
    take(made, [ids(made)[0]])
    made.prove()
    manifest = made.manifest()
    assert "ingest" not in manifest
    assert (manifest["takedown"]["covers"], manifest["takedown"]["runs"]) == (["v1", "v2"], [made.manifest("v1")["run_id"]])
    made.arrives("g", batches(2)[1])
    assert made.ingest().manifest["ingest"]["lineage"]["versions"] == ["v2", "v3"]
    made.prove()
    assert made.ingest(backfill=True).manifest["ingest"]["base"] is None
    made.prove()


def test_a_file_that_could_be_read_only_later_is_there_once(shm_path):
    """Its first try is no file of the version that a takedown makes; rows of it are found."""
    made = Growing(shm_path, KINDS["exact"], {"execution": {"max_quarantined_fraction": 0.9, "unit_bytes": "4KiB"}})
    one, two, three = batches(3)
    made.arrives("a", one)
    (made.input / "b.parquet").write_bytes(b"PAR1 half of an upload")
    made.ingest()
    made.arrives("b", two)
    made.ingest()
    made.arrives("c", three)
    made.ingest()
    made.prove()
    lineage = made.manifest()["ingest"]["lineage"]
    assert (lineage["files"], lineage["unreadable_files"]) == (4, 1)
    take(made, [shards_of(made)["v2"]])
    made.prove()
    assert [made.manifest()["input"][key] for key in ("files", "unreadable_files", "rows")] == [3, 0, 36]
    assert not made.ingest().is_new


def test_operators_that_only_some_versions_had(shm_path):
    """Rows are told by the chains that they went through; what was set otherwise is told beside what is set now."""
    made = Growing(shm_path, [*KINDS["exact"], {"type": "length_filter", "min_chars": 60}])
    for number, rows in enumerate(batches(3)):
        if number == 1:
            made.operators = [{"type": "length_filter", "min_chars": 5}, *KINDS["exact"]]
        if number == 2:
            made.operators = [{"type": "normalize_text", "collapse_spaces": True}, *made.operators]
        made.arrives(f"f{number}", rows)
        made.ingest()
        made.prove()
    take(made, [ids(made)[0]])
    made.prove()
    manifest = made.manifest()
    assert [entry["name"] for entry in manifest["operators"]] == ["normalize_text", "length_filter", "exact_dedup", "takedown"]
    assert manifest["operators"][0]["rows_in"] == 12
    chains = manifest["takedown"]["pipelines"]
    assert [[entry["name"] for entry in chain["operators"]] for chain in chains] == [
        ["exact_dedup", "length_filter"],
        ["length_filter", "exact_dedup"],
        ["normalize_text", "length_filter", "exact_dedup"],
    ]
    (before,) = manifest["operators"][1]["settings_before"]
    assert (before["versions"], before["settings"]["min_chars"], manifest["operators"][1]["settings"]["min_chars"]) == (["v1"], 60, 5)
    assert balances(manifest)
    assert "those of `v1` were made with other settings" in (made.target / "README.md").read_text()
    take(made, [ids(made)[0]])
    made.prove()
    assert made.manifest()["takedown"]["pipelines"] == chains


def test_learned_files_and_token_shards(shm_path):
    """The tokenizer that the first version learned is the new version's; after a purge the next ingestion still uses it."""
    sections = {"output": {"uri": str(shm_path / "out"), "token_shards": {"formats": ["megatron"]}}}
    made = grow(shm_path, TOKENIZED, files=2, **sections)
    tokens = made.manifest()["tokens"]["total"]
    take(made, [ids(made)[0], ids(made)[-1]], purge_versions=True)
    made.prove()
    manifest = made.manifest()
    assert [entry["path"].split("/")[1] for entry in manifest["learned"]] == ["v3"]
    tokenize = next(entry for entry in manifest["operators"] if entry["type"] == "tokenize")
    assert tokenize["settings"]["tokenizer"] == "learner"
    assert "settings_before" not in tokenize
    assert manifest["tokens"]["total"] < tokens
    made.arrives("g", batches(1, seed=50)[0])
    assert made.ingest().is_new
    made.prove()
    take(made, [ids(made)[-1]])
    made.prove()


def test_partitioned_outputs_and_ids_that_are_doc_keys(shm_path):
    """Rows of partitions are found by their ids, whichever version wrote them."""
    made = grow(shm_path, KINDS["exact"], output={"uri": str(shm_path / "out"), "partition_by": ["lang"]})
    before = sorted(ids(made))
    names = list(shards_of(made).values())
    take(made, names)
    assert sorted(ids(made)) == [name for name in before if name not in names]
    made.prove()


def test_documents_without_ids(shm_path):
    """Where the ids are the doc_keys, these name documents of all versions."""
    schema = pa.schema([("text", pa.large_string())])
    made = Growing(shm_path, KINDS["exact"])
    for number, rows in enumerate(batches(2)):
        made.arrives(f"f{number}", [{"text": row["text"]} for row in rows], schema)
        made.ingest()
    before = ids(made)
    take(made, [before[0], before[-1]])
    assert ids(made) == before[1:-1]
    made.prove()


def test_the_messages_of_a_lineage_that_is_broken(made):
    """A version that it was added to is gone: nothing is taken out, and the message says what to do."""
    (made.target / "versions/v2/manifest.json").unlink()
    with pytest.raises(InputError, match=r"versions/v2/manifest\.json: it is missing, but v3 has the shards of v2"):
        take(made, ["d1"])
    assert json.loads((made.target / "manifest.json").read_text())["version"] == "v3"


KILLED = ["version.claimed", "takedown.tombstones-written", "takedown.before-shard", "version.tables-written", "version.manifest-written"]


def dies(made, monkeypatch, name, point):
    """A takedown of one document that dies there."""

    def die(passed: str) -> None:
        if passed == point:
            raise RuntimeError(passed)

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.faults.point", die)
        with pytest.raises(RuntimeError, match=point):
            take(made, [name])


@pytest.mark.parametrize("point", KILLED)
def test_a_takedown_that_died_goes_on(point, made, monkeypatch):
    """Wherever it died, the same takedown again makes the same version."""
    name = shards_of(made)["v2"]
    before = ids(made)
    dies(made, monkeypatch, name, point)
    assert made.manifest()["version"] == "v3"
    assert verified(made) == []
    assert take(made, [name]).version == "v4"
    assert ids(made) == [one for one in before if one != name]
    made.prove()


def test_a_takedown_that_died_is_honoured_by_the_next_ingestion(made, monkeypatch):
    """Its tombstones are there, its version is not: what is ingested leaves such texts out, and no later takedown claims what it struck."""
    rows = {row["id"]: row for row in made.output().rows()}
    name, other = list(shards_of(made).values())[:2]
    dies(made, monkeypatch, name, "version.tables-written")
    made.arrives("again", [{**rows[name], "id": "again"}])
    assert made.ingest().is_new
    assert "again" not in ids(made)
    made.prove()
    take(made, [other])
    made.prove()
    assert name in ids(made)
    take(made, [name])
    made.prove()
    assert not {name, other} & set(ids(made))
