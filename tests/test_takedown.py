"""Taking documents out of an output: exactly those that are named, from every place that shows them, and never again by a later run."""

from __future__ import annotations

import json
import random
import shutil

import pyarrow.parquet as pq
import pytest
from corpora import output_of, write_jsonl, write_parquet
from takedowns import (
    SECRET,
    after,
    assert_without,
    config,
    corpus,
    holding,
    kept_ids,
    key_of,
    made,
    quarantining,
    take,
    write_without_ids,
)
from tokens_made import BOTH, ids_operator

from pipelines import open_dataset
from pipelines.difference_documents import compare_documents
from pipelines.difference_versions import open_version
from pipelines.errors import InputError, NotFound, StorageError
from pipelines.pack import shard_form
from pipelines.run import run
from pipelines.storage import open_store
from pipelines.takedown_rewrite import Columns, ShardWork, rewrite_shard, schema_of
from pipelines.verify import verify

pytestmark = pytest.mark.usefixtures("no_fsync")


# --- what goes


def test_all_documents_that_have_an_id_go_and_only_their_shards_are_written_anew(shm_path):
    """Those with an id of several all go; the other shards are the old ones; both versions verify, and `open_dataset` reads the new."""
    before = made(shm_path)
    names = ["a6", "a10", "b30", "nobody"]
    assert kept_ids(before).count("a10") == 2
    done = take(shm_path, names, reason="they asked")
    now = after(shm_path)
    assert_without(before, now, names)
    assert (done.version, done.is_new, done.matches.unmatched) == ("v2", True, ["nobody"])
    for row in now.table("dropped"):
        assert corpus(60, "ab"[row["uri"].endswith("f1.parquet")])[row["row"]]["id"] == row["id"]
    old = set(before.shards())
    assert 0 < len(set(now.shards()) - old) < len(old)
    assert len(set(now.shards()) & old) == len(old) - len(done.matches.by_shard())
    assert verify(str(shm_path / "out"), version="v1").ok
    assert [row["id"] for row in open_dataset(str(shm_path / "out"))] == kept_ids(now)
    entry = now.manifest["operators"][-1]
    assert (entry["type"], entry["settings"]["documents"], entry["settings"]["reason"]) == ("takedown", 4, "they asked")
    shown = [(shm_path / "out" / path).read_text() for path in ("manifest.json", "README.md", "versions/v2/report.html")]
    assert not any('"b30"' in text or ">b30<" in text for text in shown)


def test_load_dataset_reads_the_version_in_its_order(shm_path, monkeypatch):
    """The card names the shards that are left, and no replaced one."""
    from datasets import load_dataset

    made(shm_path)
    take(shm_path, ["a6", "b30"])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loaded = load_dataset(str(shm_path / "out"), split="train", cache_dir=str(shm_path / "cache"))
    assert loaded["id"][:] == kept_ids(after(shm_path))


def test_a_doc_key_takes_out_one_of_several_with_its_id(shm_path):
    """Of two documents that share an id, the one whose key is given goes, whatever the case of its digits."""
    before = made(shm_path)
    keys = [key_of(shm_path, 0, row) for row in (10, 21)]
    assert [corpus(60, "a")[row]["id"] for row in (10, 21)] == ["a10", "a10"]
    take(shm_path, [keys[1].hex().upper()])
    now = after(shm_path)
    assert [row["doc_key"] for row in now.table("dropped") if row["operator"] == "takedown"] == [keys[1]]
    texts = [row["text"] for row in before.rows() if row["id"] == "a10"]
    assert [row["text"] for row in now.rows() if row["id"] == "a10"] == [text for text in texts if text != corpus(60, "a")[21]["text"]]


def test_ids_that_were_made_are_doc_keys(shm_path):
    """Where the input has no ids, those in the shards are doc_keys, by which documents are taken out."""
    write_without_ids(shm_path / "in")
    before = made(shm_path)
    names = [row["id"] for row in before.rows()][3:30:7]
    take(shm_path, names)
    assert_without(before, after(shm_path), names)


@pytest.mark.parametrize("own", [True, False], ids=["own ids", "made ids"])
def test_partitioned_shards(shm_path, own):
    """Documents of several partitions go, also those that share an id; folders and the other partitions stay."""
    if not own:
        write_without_ids(shm_path / "in")
    before = made(shm_path, output={"partition_by": ["lang"]})
    names = ["a10", "a6", "a2", "b30"] if own else kept_ids(before)[2:40:9]
    take(shm_path, names)
    now = after(shm_path)
    assert_without(before, now, names)
    assert {path.rsplit("/", 2)[-2] for path in now.shards()} == {path.rsplit("/", 2)[-2] for path in before.shards()}


def test_partitioned_shards_without_their_input(shm_path):
    """What a row of them is cannot be told once the input is gone: an error that says so, and nothing is written."""
    made(shm_path, output={"partition_by": ["lang"]})
    (shm_path / "in" / "f0.parquet").unlink()
    with pytest.raises(StorageError, match="restore the file as it was"):
        take(shm_path, ["a6"])
    assert output_of(shm_path / "out").manifest["version"] == "v1"


def test_a_doc_key_in_partitioned_shards(shm_path):
    """It names a document whose id nobody else has; of two in different partitions it is refused, with what to do instead."""
    before = made(shm_path, output={"partition_by": ["lang"]})
    with pytest.raises(InputError, match=r"2 documents have the id 'a10' of doc_key .* name the id 'a10', which takes all of them out"):
        take(shm_path, [key_of(shm_path, 0, 10).hex()])
    take(shm_path, [key_of(shm_path, 0, 6).hex(), key_of(shm_path, 1, 8).hex(), "f" * 32])
    assert_without(before, after(shm_path), ["a6", "b8"], [key_of(shm_path, 0, 6)])


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """An output, and the doc_key of every text of its input."""
    folder = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _descriptor: None)
        before = made(folder)
    keys = {row["text"]: key_of(folder, file, at) for file in (1, 0) for at, row in reversed(list(enumerate(corpus(60, "ab"[file]))))}
    return folder, before.rows(), keys, [row["doc_key"] for row in before.table("dropped")]


@pytest.mark.parametrize("seed", range(6))
def test_any_documents(several, shm_path, seed):
    """Random ids and keys, of documents that are there and that are lost, in several takedowns: what a few lines of Python leave."""
    folder, rows, keys, lost = several
    shutil.copytree(folder / "out", shm_path / "out")
    draw = random.Random(seed)
    for _ in range(2):
        names = [row["id"] for row in draw.sample(rows, draw.randrange(0, 6))]
        some = [keys[row["text"]] for row in draw.sample(rows, draw.randrange(1, 12))] + draw.sample(lost, 2)
        take(shm_path, [*names, *(key.hex() for key in some)])
        rows = [row for row in rows if row["id"] not in names and keys[row["text"]] not in some]
        assert after(shm_path).rows() == rows


def test_the_input_may_be_gone(shm_path):
    """Without it documents are taken out all the same; how many could not be read again is told."""
    before = made(shm_path)
    (shm_path / "in" / "f0.parquet").unlink()
    done = take(shm_path, ["a6", "b30"])
    assert done.unread == 1
    assert_without(before, after(shm_path), ["a6", "b30"])


def test_shards_without_ids(shm_path):
    """Where the output leaves out the id column, the input says which rows have the ids."""
    before = made(shm_path, output={"columns": ["text"]})
    take(shm_path, ["a6", "a10"])
    now = after(shm_path)
    gone = [corpus(60, "a")[row]["text"] for row in (6, 10, 21)]
    assert [row["text"] for row in now.rows()] == [row["text"] for row in before.rows() if row["text"] not in gone]
    assert sorted(row["id"] for row in now.table("dropped") if row["operator"] == "takedown") == ["a10", "a10", "a6"]


def test_everything_may_go(shm_path):
    """One empty shard stays, so that there are columns."""
    before = made(shm_path)
    take(shm_path, kept_ids(before))
    now = after(shm_path)
    assert now.rows() == []
    assert len(now.shards()) == 1
    assert now.manifest["output"]["rows"] == 0


def test_a_shard_that_becomes_empty_goes(shm_path):
    """The others keep their names."""
    before = made(shm_path)
    first = before.shards()[1]
    ids = pq.read_table(shm_path / "out" / first)["id"].to_pylist()
    take(shm_path, ids)
    now = after(shm_path)
    assert_without(before, now, ids)
    assert first not in now.shards()
    assert len(now.shards()) < len(before.shards())


def test_nothing_that_is_named_is_there(shm_path):
    """An error, and no new version."""
    made(shm_path)
    with pytest.raises(InputError, match=r"none of 2 ids names a document of v1.*nothing was changed"):
        take(shm_path, ["x", "y"])
    assert output_of(shm_path / "out").manifest["version"] == "v1"
    assert not open_store(str(shm_path / "out")).exists("_shardmill/tombstones/t00001.arrow")


def test_nothing_is_finished(shm_path):
    """An error that says so."""
    (shm_path / "out").mkdir()
    with pytest.raises(NotFound, match="nothing is finished here"):
        take(shm_path, ["x"], dry_run=True)


# --- side tables


def test_what_was_lost_already_keeps_its_place_without_its_text(shm_path):
    """With `dropped: true` the columns of documents that are named become null, a quarantined one's message is blanked, nobody else's."""
    before = made(
        shm_path, [quarantining(shm_path), {"type": "length_filter", "min_chars": 20}, {"type": "exact_dedup"}], output={"dropped": True}
    )
    lost = [row["doc_key"] for row in (before.table("dropped")[0], before.table("quarantine")[1])]
    assert before.table("dropped")[0]["text"]
    done = take(shm_path, [key.hex() for key in lost])
    now = after(shm_path)
    assert now.rows() == before.rows()
    assert now.manifest["ledger"] == before.manifest["ledger"]
    assert now.manifest["operators"][-1]["settings"]["documents"] == 0
    for name, column, blank in (("dropped", "text", None), ("quarantine", "message", "(taken down)")):
        found = {row["doc_key"]: row[column] for row in now.table(name)}
        for row in before.table(name):
            assert found[row["doc_key"]] == (blank if row["doc_key"] in lost else row[column])
    assert done.is_new
    assert not take(shm_path, [key.hex() for key in lost]).is_new


def test_kin_is_told(shm_path):
    """Copies that were removed for a document that goes are told, as are documents that were removed for one that stays."""
    before = made(shm_path)
    duplicates = before.table("duplicates")
    kept = duplicates[0]["kept_id"]
    copies = [row["doc_key"] for row in duplicates if row["kept_doc_key"] == duplicates[0]["kept_doc_key"]]
    foreseen = take(shm_path, [duplicates[-1]["doc_key"].hex()], dry_run=True)
    assert [row["kept_id"] for row in foreseen.instead.told.to_pylist()] == [duplicates[-1]["kept_id"]]
    done = take(shm_path, [duplicates[0]["kept_doc_key"].hex()])
    assert {row["doc_key"] for row in done.orphans.told.to_pylist()} == set(copies)
    assert {row["kept_id"] for row in done.orphans.told.to_pylist()} == {kept}
    after(shm_path)


# --- tokens


def test_token_shards_and_counts(shm_path):
    """Token shards of the shards that are written anew are so too; counts of tokens and lengths are those of what is left."""
    before = made(
        shm_path, [ids_operator(shm_path)], output={"token_shards": {"formats": BOTH}, "target_shard_bytes": "9KiB"}, execution={"seed": 5}
    )
    names = ["a6", "b31", "b5"]
    take(shm_path, names)
    now = after(shm_path)
    assert_without(before, now, names)
    gone = sum(row["num_tokens"] for row in before.rows() if row["id"] in names)
    assert now.manifest["tokens"]["total"] == before.manifest["tokens"]["total"] - gone
    summary = now.manifest["output"]["token_shards"]
    assert (summary["documents"], summary["tokens"]) == (len(now.rows()), now.manifest["tokens"]["total"])
    languages = {}
    for row in now.rows():
        entry = languages.setdefault(row["lang"] or "(null)", {"documents": 0, "tokens": 0})
        entry["documents"] += 1
        entry["tokens"] += row["num_tokens"]
    assert now.manifest["tokens"]["by_language"] == languages
    assert sum(entry["documents"] for entry in now.manifest["documents"]["lengths"]) == len(now.rows())


def test_counts_by_a_column_that_is_not_in_the_shards(shm_path):
    """Whose tokens went nobody can say then: languages are no longer told, sources are summed up."""
    made(shm_path, [ids_operator(shm_path)], output={"columns": ["id", "text", "num_tokens"], "source_column": "lang"})
    take(shm_path, ["a6"])
    tokens = after(shm_path).manifest["tokens"]
    assert set(tokens["by_source"]) == {"(other)"}
    assert tokens["by_language"] is None


def test_a_shard_without_nothing_is_the_same_shard(shm_path):
    """Rewriting is what packing does: without rows that go, byte for byte."""
    before = made(shm_path, [ids_operator(shm_path)])
    store = open_store(str(shm_path / "out"))
    path = before.shards()[0]
    form = shard_form(schema_of(store, path), "text", "zstd")
    import numpy as np

    import pipelines.takedown_rewrite as module

    columns = Columns(None, None, {}, None, tokens=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "joined", lambda _pieces: None)
        done = rewrite_shard(store, ShardWork(path, "data/v9/part-00000-0.parquet", np.empty(0, np.int64)), form, columns)
    assert store.read("data/v9/part-00000-0.parquet") == store.read(path)
    assert done.tokens == sum(row["num_tokens"] for row in pq.read_table(shm_path / "out" / path).to_pylist())


# --- later


def test_a_run_of_the_same_input_has_nothing_to_do_and_one_of_another_leaves_them_out(shm_path):
    """Finished stays finished; a new file with a copy of a text that was taken out makes a version without it."""
    before = made(shm_path)
    take(shm_path, ["a6", "b30"])
    now = after(shm_path)
    assert run(config(shm_path)).was_finished
    texts = [row["text"] for row in before.rows() if row["id"] in ("a6", "b30")]
    write_parquet(
        shm_path / "in" / "z.parquet",
        [{"id": f"z{at}", "text": text, "lang": "en"} for at, text in enumerate([*texts, "a text that is new here"])],
    )
    run(config(shm_path))
    later = after(shm_path)
    assert kept_ids(later) == [*kept_ids(now), "z2"]
    assert sum(reasons.get("taken_down", 0) for reasons in later.manifest["ledger"]["dropped"].values()) == 4
    take(shm_path, ["z2", "a2"])
    assert kept_ids(after(shm_path)) == [name for name in kept_ids(now) if name != "a2"]


def test_again_and_again(shm_path):
    """The same takedown finds nothing to do; another one goes on from the first, and takes from what that wrote anew too."""
    before = made(shm_path)
    take(shm_path, ["a6", "a2"])
    first = after(shm_path)
    again = take(shm_path, ["a6", "a2"])
    assert (again.is_new, again.version, again.matches.lost.num_rows) == (False, "v2", 2)
    take(shm_path, ["a3", "b30"])
    second = after(shm_path)
    assert second.manifest["version"] == "v3"
    assert_without(first, second, ["a3", "b30"])
    assert [operator["name"] for operator in second.manifest["operators"][-2:]] == ["takedown", "takedown-2"]
    assert [name for name in kept_ids(before) if name not in ("a6", "a2", "a3", "b30")] == kept_ids(second)
    assert verify(str(shm_path / "out"), version="v2").ok


def test_a_dry_run_writes_nothing(shm_path):
    """It says what a takedown would do."""
    made(shm_path)
    files = {path: path.stat().st_mtime_ns for path in (shm_path / "out").rglob("*")}
    done = take(shm_path, ["a6", "a10", "nobody"], dry_run=True)
    assert (len(done.matches.found), done.matches.unmatched, list(done.holding), done.version) == (3, ["nobody"], ["v1"], None)
    assert {path: path.stat().st_mtime_ns for path in (shm_path / "out").rglob("*")} == files


def test_documents_are_struck_from_the_history(shm_path):
    """Later runs that share it remove nothing for a document that is gone."""
    before = made(shm_path, history=str(shm_path / "history"))
    kept = before.table("duplicates")[0]
    take(shm_path, [kept["kept_doc_key"].hex()])
    store = open_store(str(shm_path / "history"))
    from pipelines.history import tombstones_of
    from pipelines.recall import struck_keys

    assert struck_keys(store, tombstones_of(store)).tolist() == [kept["kept_doc_key"]]
    assert run(config(shm_path, history=str(shm_path / "history"))).was_finished


# --- purge


def test_a_purge_leaves_nothing_of_the_documents(shm_path):
    """No byte and no column of the output has their texts, intermediates included; the version verifies, the old one says what happened."""
    made(
        shm_path,
        [quarantining(shm_path), {"type": "length_filter", "min_chars": 20}, {"type": "exact_dedup"}],
        output={"dropped": True},
        execution={"keep_intermediates": "latest"},
    )
    store = open_store(str(shm_path / "out"))
    assert len(holding(store, f"{SECRET}-a6 ")) > 1
    short = next(row for row in output_of(shm_path / "out").table("dropped") if row["operator"] == "length_filter")
    odd = output_of(shm_path / "out").table("quarantine")[0]
    done = take(shm_path, ["a6", short["doc_key"].hex(), odd["doc_key"].hex()], purge_versions=True)
    assert done.purged.versions == ("v1",)
    for text in (f"{SECRET}-a6 ", short["text"], odd["message"][:16] + " "):
        assert holding(store, text) == []
    now = after(shm_path)
    assert sorted(path.name for path in (shm_path / "out" / "versions" / "v1").rglob("*")) == ["manifest.json", "purged.json"]
    (check,) = [check for check in verify(str(shm_path / "out"), version="v1").checks if not check.ok]
    assert "purged when documents were taken out" in check.message
    assert run(
        config(
            shm_path,
            [quarantining(shm_path), {"type": "length_filter", "min_chars": 20}, {"type": "exact_dedup"}],
            output={"dropped": True},
            execution={"keep_intermediates": "latest"},
        )
    ).was_finished
    assert after(shm_path).manifest == now.manifest


def test_a_purge_comes_later(shm_path):
    """Without ids it removes older versions only; where nothing was taken out it is refused; twice does nothing."""
    made(shm_path)
    with pytest.raises(InputError, match="nothing was ever taken out"):
        take(shm_path, None, purge_versions=True)
    with pytest.raises(InputError, match="nothing was ever taken out"):
        take(shm_path, None, purge_versions=True, dry_run=True)
    take(shm_path, ["a6"])
    assert take(shm_path, None, purge_versions=True, dry_run=True).holding == ("v1",)
    done = take(shm_path, None, purge_versions=True)
    assert (done.version, done.purged.versions, done.holding) == ("v2", ("v1",), ())
    told = compare_documents(open_version(f"{shm_path / 'out'}@v1").finished, open_version(str(shm_path / "out")).finished)
    assert (told.counts, told.because) == (None, ("v1 was purged when documents were taken out; only its manifest is left.",))
    after(shm_path)
    take(shm_path, ["a2"], purge_versions=True)
    after(shm_path)
    write_parquet(shm_path / "in" / "z.parquet", [{"id": "z", "text": "a text that is new here", "lang": "en"}])
    run(config(shm_path))
    assert {"a2", "a6"}.isdisjoint(kept_ids(after(shm_path)))
    with pytest.raises(NotFound, match="purged"):
        open_dataset(str(shm_path / "out"), version="v1")


def test_gc_leaves_tombstones(shm_path):
    """What was taken out stays known."""
    from pipelines.gc import collect_output

    made(shm_path)
    take(shm_path, ["a6"])
    collect_output(str(shm_path / "out"))
    assert open_store(str(shm_path / "out")).exists("_shardmill/tombstones/t00001.arrow")
    after(shm_path)


def test_the_manifest_names_no_document(shm_path):
    """Of ids and keys there is a digest alone."""
    before = made(shm_path)
    name = kept_ids(before)[0]
    take(shm_path, [name])
    told = json.loads((shm_path / "out" / "manifest.json").read_bytes())
    assert f'"{name}"' not in json.dumps(told)


def test_a_whole_recipe(shm_path):
    """Near-duplicates, what an operator learned, its token shards, JSONL and a limit: the version is the old one without the documents."""
    write_jsonl(shm_path / "in" / "a.jsonl.gz", corpus(50, "a"))
    write_jsonl(shm_path / "in" / "b.jsonl", [*corpus(50, "b")[:20], b"{broken", *corpus(50, "b")[20:]])
    operators = [
        {"type": "minhash_dedup"},
        {"type": "train_tokenizer", "vocab_size": 300},
        {"type": "tokenize", "tokenizer": "train_tokenizer"},
    ]
    output = {"token_shards": {"formats": ["megatron"], "shuffle": False}, "target_shard_bytes": "9KiB", "compression": "snappy"}
    made_of = config(shm_path, operators, output=output)
    run(made_of, limit=90)
    before = after(shm_path)
    rows, names = before.rows(), ["a6", "b13"]
    take(shm_path, names, purge_versions=True)
    now = after(shm_path)
    assert now.rows() == [row for row in rows if row["id"] not in names]
    taken = [(row["uri"].rsplit("/", 1)[1], row["row"], row["id"]) for row in now.table("dropped") if row["reason"] == "taken_down"]
    assert taken == [("a.jsonl.gz", 6, "a6"), ("b.jsonl", 13, "b13")]
    assert (shm_path / "out" / now.manifest["learned"][0]["path"]).exists()
    assert run(made_of, limit=90).was_finished
