"""An ingestion takes in what no version has, once; what comes of many is what one run over all would have made."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from growing import ALL, Growing, batches
from history_made import KINDS, SCHEMA
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.arrivals import arrivals
from pipelines.cli import main
from pipelines.errors import ConfigError, InputError
from pipelines.growth import added, lineage_of
from pipelines.ingest import ingest
from pipelines.lineage import FILES, Lineage
from pipelines.storage import open_store
from pipelines.token_counts import merged_tokens

pytestmark = pytest.mark.usefixtures("no_fsync")

TOKENIZED = [{"type": "train_tokenizer", "name": "learner", "vocab_size": 300}, {"type": "tokenize", "tokenizer": "learner"}]


@pytest.fixture
def growing(shm_path):
    return Growing(shm_path, ALL)


# --- ten ingestions and one run


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    """Ten ingestions of a file each, and one run over all ten."""
    made = Growing(tmp_path_factory.mktemp("ten"), ALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _descriptor: None)
        for number, rows in enumerate(batches(10)):
            made.arrives(f"f{number}", rows)
            assert made.ingest().is_new
        made.run(made.root / "whole")
    return made


def test_ten_ingestions_are_one_run_over_all(ten):
    """The same documents in the same order, and the ledgers of ten versions together are that of one run."""
    assert ten.rows() == ten.rows(ten.root / "whole")
    whole = json.loads((ten.root / "whole" / "manifest.json").read_text())
    lineage = ten.manifest()["ingest"]["lineage"]
    assert lineage["ledger"] == whole["ledger"]
    assert {key: lineage[key] for key in ("files", "rows", "bytes")} == {key: whole["input"][key] for key in ("files", "rows", "bytes")}
    assert ten.manifest()["documents"] == whole["documents"]
    assert sum(map(len, whole["ledger"]["dropped"].values())) > 2, "documents must be alike, else this shows nothing"


def test_each_version_has_its_parent_and_the_shards_of_those_before(ten):
    """v10 names v9's manifest by its digest, and so on; shards of before stand first, as they were; every version can be verified."""
    store = open_store(str(ten.target))
    before: list[dict[str, object]] = []
    for number in range(1, 11):
        manifest = ten.manifest(f"v{number}")
        parents = [hashlib.sha256(store.read(f"versions/v{number - 1}/manifest.json")).hexdigest()] if number > 1 else []
        assert manifest["parents"] == parents
        assert manifest["ingest"]["base"] == (f"v{number - 1}" if number > 1 else None)
        assert (manifest["ingest"]["new_files"], manifest["ingest"]["known_files"]) == (1, number - 1)
        shards = pq.read_table(ten.target / f"versions/v{number}/shards.parquet").to_pylist()
        assert shards[: len(before)] == before
        assert {shard["path"].split("/")[1] for shard in shards[len(before) :]} == {f"v{number}"}
        before = shards
    ten.prove()


def test_load_dataset_reads_all_versions_shards(ten, tmp_path):
    """The card names the files of every version that the current one is made of, and no others."""
    found = load_dataset(str(ten.target), split="train", cache_dir=str(tmp_path))
    assert sorted(found["id"]) == sorted(row[0] for row in ten.rows())


def test_nothing_new_is_exit_status_3(ten, capsys):
    """Again and again; nothing is written then."""
    before = {info.path: info.etag for info in open_store(str(ten.target)).list("versions")}
    assert main(["ingest", str(ten.file())]) == 3
    assert "nothing is new since v10" in capsys.readouterr().out
    assert main(["ingest", str(ten.file()), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["new"], told["known"]) == (0, 10)
    assert main(["ingest", str(ten.file()), "--dry"]) == 3
    assert {info.path: info.etag for info in open_store(str(ten.target)).list("versions")} == before


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_plain_run_is_added_to(kind, shm_path):
    """A first version that left no keys of its documents, as its pipeline has no history: the ingestion finds them, then compares."""
    made = Growing(shm_path, KINDS[kind])
    first, *rest = batches(4, seed=3)
    made.arrives("f0", first)
    made.run()
    for number, rows in enumerate(rows for rows in [rest[0] + rest[1], rest[2]]):
        made.arrives(f"g{number}", rows)
        assert made.ingest().is_new
    made.run(made.root / "whole")
    if kind != "boilerplate":  # lines are boilerplate once enough documents have them: earlier ones keep theirs
        assert made.rows() == made.rows(made.root / "whole")
    made.prove()


@settings(max_examples=4, deadline=None)
@given(st.lists(st.sampled_from(["new", "two", "nothing", "backfill"]), min_size=1, max_size=4), st.integers(0, 10**6))
def test_whatever_comes_in_between(tmp_path_factory, steps, seed):
    """Any order of arrivals, idle ingestions and backfills ends with the documents of one run over all."""
    made = Growing(tmp_path_factory.mktemp("any"), KINDS["exact"])
    todo = batches(2 * len(steps) + 1, size=6, seed=seed)
    made.arrives("f00", todo.pop())
    made.ingest()
    for number, step in enumerate(steps, 1):
        for part in range({"new": 1, "two": 2}.get(step, 0)):
            made.arrives(f"f{number:02}-{part}", todo.pop())
        assert made.ingest(backfill=step == "backfill").is_new == (step in ("new", "two")) or step == "backfill"
    made.run(made.root / "whole")
    assert sorted(made.rows()) == sorted(made.rows(made.root / "whole"))
    made.prove()


# --- what is new


def test_late_files_come_with_the_next_ingestion(growing):
    """A file whose name and date are before those that were taken in is new all the same."""
    one, two, three = batches(3)
    growing.arrives("m", one)
    growing.ingest()
    late = growing.arrives("a", two)
    os.utime(late, (1, 1))
    growing.arrives("z", three)
    assert growing.ingest().manifest["ingest"]["new_files"] == 2
    growing.prove()


def test_a_file_that_could_not_be_read_is_taken_in_once_it_can(growing):
    """While it is as it was it is not new: no version is made for it again and again."""
    one, two = batches(2)
    growing.arrives("a", one)
    broken = growing.input / "b.parquet"
    broken.write_bytes(b"PAR1 half of an upload")
    lenient = {"execution": {"max_quarantined_fraction": 0.9}}
    assert growing.ingest(**lenient).manifest["input"]["unreadable_files"] == 1
    found = growing.ingest(**lenient)
    assert not found.is_new
    assert found.found.unreadable == 1
    broken.unlink()
    assert not growing.ingest(**lenient, ingest={"vanished": "fail"}).is_new, "nothing of it is there to be missed"
    growing.arrives("b", two)
    assert growing.ingest(**lenient).manifest["ingest"]["lineage"]["files"] == 3
    growing.prove()


def test_a_new_file_may_be_empty_or_lie_beside_the_folders(growing):
    """What one run over all files takes, an ingestion of each takes: a file without a line, and one outside of the folders of a column."""
    lines = {"dump=1/a.jsonl": '{"id": "1", "text": "one"}\n', "dump=2/b.jsonl": "", "c.jsonl": '{"id": "2", "text": "two"}\n'}
    growing.operators = KINDS["exact"]
    growing.sections = {"input": {"uri": f"{growing.input}/**/*.jsonl", "path_columns": ["dump"]}}
    for name, content in lines.items():
        (growing.input / name).parent.mkdir(exist_ok=True)
        (growing.input / name).write_text(content)
        assert growing.ingest().is_new
    assert growing.rows(None, "id", "dump") == [("1", "1"), ("2", None)]
    growing.prove()
    (growing.input / "d.jsonl").write_text('{"id": "3", "body": "three"}\n')
    with pytest.raises(InputError, match=r"no input file has a string column 'text'; found: id \(string\), body"):
        growing.ingest()


files = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 2), st.sampled_from("xyz")), max_size=8)


class Listed:
    def __init__(self, uri, size, etag):
        self.uri, self.size, self.etag = uri, size, etag


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 2), st.sampled_from("xyz"), st.booleans()), max_size=10), files)
def test_arrivals_are_what_a_plain_comparison_finds(taken, listed):
    """By uri, size and etag, against the last time that a file was taken in; one that could not be read is no change."""
    table = pa.table([list(column) for column in zip(*taken, strict=True)] or [[], [], [], []], schema=FILES)
    found = arrivals([Listed(uri, *listed[uri]) for uri in sorted(listed)], table)
    last = {}
    for uri, size, etag, is_read in reversed(taken):
        last[uri] = (size, etag, is_read)
    new, changed = [], []
    for uri in sorted(listed):
        before = last.get(uri)
        if before is None or (before[:2] != listed[uri] and not before[2]):
            new.append(uri)
        elif before[:2] != listed[uri]:
            changed.append(uri)
    assert ([file.uri for file in found.new], list(found.changed)) == (new, changed)
    assert list(found.vanished) == sorted({uri for uri, *_, is_read in taken if is_read} - set(listed))
    assert found.known == len(listed) - len(new) - len(changed)


# --- files that are not what they were


@pytest.mark.parametrize("what", ["changed", "vanished"])
def test_files_that_are_not_what_they_were(what, growing):
    """They are named. fail: nothing happens; keep: their documents stay; rebuild: the version is that of a run over what is there now."""
    one, two, three, other = batches(4)
    growing.arrives("a", one)
    growing.arrives("b", two)
    growing.ingest()
    path = growing.arrives("b", other)
    if what == "vanished":
        path.unlink()
    growing.arrives("c", three)
    with pytest.raises(InputError, match=rf"1 files that v1 .*b\.parquet; nothing was ingested.*ingest\.{what} to keep"):
        growing.ingest(ingest={what: "fail"})
    assert growing.manifest()["version"] == "v1"
    kept = growing.ingest(ingest={what: "keep"}).manifest
    assert kept["ingest"][what] == {"policy": "keep", "files": 1, "examples": [str(path)]}
    assert {row["id"] for row in two} & {row[0] for row in growing.rows()}
    growing.prove()
    rebuilt = growing.ingest(ingest={what: "rebuild"})
    assert (rebuilt.is_new, rebuilt.manifest["ingest"]["base"]) == (True, None)
    growing.run(growing.root / "whole")
    assert growing.rows() == growing.rows(growing.root / "whole")
    growing.prove()
    assert not growing.ingest(ingest={what: "fail"}).is_new


def test_dry_ends_as_the_ingestion_would(growing, capsys):
    """With its exit status, after what is to be told of the files; nothing is written, and all files whatever is new is no question."""
    one, two = batches(2)
    growing.arrives("a", one)
    growing.ingest()
    growing.arrives("a", two)
    before = [(info.path, info.etag) for info in open_store(str(growing.target)).list("")]
    found = {}
    for policy in ("fail", "keep", "rebuild"):
        found[policy] = main(["ingest", str(growing.file(ingest={"changed": policy})), "--dry", "--json"])
        told = capsys.readouterr()
        assert json.loads(told.out)["changed"]["files"] == 1
        assert "nothing was ingested" in told.err if policy == "fail" else f"ingest.changed is {policy!r}" in told.err
    assert found == {"fail": 1, "keep": 3, "rebuild": 0}
    assert main(["ingest", str(growing.file()), "--dry", "--backfill"]) == 2
    assert [(info.path, info.etag) for info in open_store(str(growing.target)).list("")] == before


def test_documents_that_are_gone_remove_nothing(growing):
    """After a rebuild without a file, documents that its own removed once come in."""
    growing.operators = KINDS["exact"]
    (one,) = batches(1)
    other = growing.arrives("other", [{**one[0], "id": "other", "text": "another text altogether, of its own"}])
    growing.arrives("a", one)
    growing.ingest()
    (growing.input / "a.parquet").unlink()
    growing.ingest(ingest={"vanished": "rebuild"})
    growing.arrives("c", [{**row, "id": f"c-{row['id']}"} for row in one])
    growing.ingest()
    assert other.exists()
    found = {row[0] for row in growing.rows()}
    assert any(name.startswith("c-") for name in found)
    growing.run(growing.root / "whole")
    assert sorted(growing.rows()) == sorted(growing.rows(growing.root / "whole"))


def test_an_input_without_a_file(growing, capsys):
    """Before anything was taken in that is an error, as an address that was mistyped would be; later nothing is new, and that is told."""
    assert main(["ingest", str(growing.file())]) == 1
    assert "no file there" in capsys.readouterr().err
    path = growing.arrives("a", batches(1)[0])
    growing.ingest()
    path.unlink()
    assert main(["ingest", str(growing.file())]) == 3
    assert "1 files that were taken in have vanished" in capsys.readouterr().err
    assert main(["ingest", str(growing.file(ingest={"vanished": "rebuild"}))]) == 1
    assert "no file there" in capsys.readouterr().err


def test_a_run_says_that_it_adds_to_nothing(growing, capsys):
    """Whoever runs a pipeline whose output grew by ingestions is told, before and then, that all is made anew."""
    for name, rows in zip("ab", batches(2), strict=True):
        growing.arrives(name, rows)
        growing.ingest()
    assert main(["plan", str(growing.file())]) == 0
    assert "v2 grew by ingestions, and `shardmill ingest FILE` adds to it what is new; a run makes" in capsys.readouterr().out
    assert main(["run", str(growing.file())]) == 0
    assert "v2 grew by ingestions" in capsys.readouterr().err
    assert main(["run", str(growing.file())]) == 0
    assert "grew by" not in capsys.readouterr().err
    assert growing.manifest()["version"] == "v3"
    assert not growing.ingest().is_new
    growing.prove()


# --- a changed pipeline


def test_backfill_makes_the_version_anew(growing):
    """With the pipeline as it is now, of all files; what comes later is added to that."""
    one, two, three = batches(3)
    for name, rows in (("a", one), ("b", two)):
        growing.arrives(name, rows)
        growing.ingest()
    growing.operators = [{"type": "length_filter", "min_chars": 100}, *ALL[:2]]
    assert growing.ingest(backfill=True).manifest["ingest"]["base"] is None
    assert not growing.ingest(backfill=True).is_new
    growing.arrives("c", three)
    assert growing.ingest().manifest["ingest"]["lineage"]["versions"] == ["v3", "v4"]
    growing.run(growing.root / "whole")
    assert growing.rows() == growing.rows(growing.root / "whole")
    growing.prove()


def test_other_keys_than_those_of_before_are_refused(growing):
    """Documents could not be compared: the message names what differs, and what to do."""
    one, two = batches(2)
    growing.operators = [{"type": "exact_dedup"}]
    growing.arrives("a", one)
    growing.ingest()
    growing.arrives("b", two)
    growing.operators = [{"type": "exact_dedup", "normalize": "words"}]
    with pytest.raises(ConfigError, match="deduplicate alike"):
        growing.ingest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"operators": [*ALL, {"type": "tokenize", "tokenizer": "t.json"}]}, None),
        ({"output": {"partition_by": ["lang"]}}, r"v1 is partitioned by \[\], the new documents would be by \['lang'\]"),
        ({"output": {"columns": ["id", "text"]}}, r"other columns than v1.*url: string before, not there now"),
        ({"input": {"text_column": "url"}}, "v1 was made of the texts in 'text', the new documents would be of those in 'url'"),
        ({"operators": [{"type": "exact_dedup", "keep": "longest"}]}, "to ingest, documents are compared.*keep 'first'"),
    ],
    ids=["tokens", "partitions", "columns", "texts", "keep"],
)
def test_what_would_not_fit_together_is_refused(change, message, growing):
    """Before anything is done, with what to do instead."""
    one, two = batches(2)
    growing.arrives("a", one)
    growing.ingest()
    growing.arrives("b", two)
    changed = {**change}
    if "output" in changed:
        changed["output"] = {"uri": str(growing.target), **changed["output"]}
    if "input" in changed:
        changed["input"] = {"uri": f"{growing.input}/*.parquet", **changed["input"]}
    with pytest.raises((ConfigError, InputError), match=message):
        growing.ingest(**changed)
    assert growing.manifest()["version"] == "v1"


def test_new_files_with_more_columns_are_refused_unless_columns_are_named(growing):
    """The dataset has one schema; with `output.columns` the rest is left out, and columns that new files lack are null."""
    one, two, three = batches(3)
    growing.sections = {"output": {"uri": str(growing.target), "columns": ["id", "text", "lang"]}}
    growing.arrives("a", one)
    growing.ingest()
    growing.arrives("b", [{**row, "more": 1} for row in two], SCHEMA.append(pa.field("more", pa.int64())))
    growing.arrives("c", [{"text": row["text"]} for row in three], pa.schema([("text", pa.large_string())]))
    assert growing.ingest().is_new
    growing.prove()
    growing.sections = {}
    shutil.rmtree(growing.target)
    for name in "bc":
        (growing.input / f"{name}.parquet").unlink()
    growing.ingest()
    growing.arrives("b", [{**row, "more": 1} for row in two], SCHEMA.append(pa.field("more", pa.int64())))
    with pytest.raises(InputError, match="more: not there before, int64 now"):
        growing.ingest()


def test_a_limited_version_is_not_added_to(growing):
    """What of its files was left out could not be told."""
    one, two = batches(2)
    growing.arrives("a", one)
    assert main(["run", str(growing.file()), "--limit", "5", "--quiet"]) == 0
    growing.arrives("b", two)
    with pytest.raises(InputError, match=r"first 5 documents.*--backfill"):
        growing.ingest()
    assert growing.ingest(backfill=True).is_new


def test_an_output_that_was_moved_grows_on(growing):
    """What it kept of its documents went with it: they are compared with, and those that a rebuild gave up before remove nothing."""
    growing.operators = [*KINDS["exact"], *TOKENIZED]
    one, two, three = batches(3, size=20)
    gone = growing.arrives("gone", [{**row, "text": f"{row['text']} of a file that goes"} for row in one])
    growing.arrives("a", one)
    growing.ingest()
    gone.unlink()
    growing.ingest(ingest={"vanished": "rebuild"})
    growing.arrives("b", two)
    growing.ingest()
    place = shutil.move(growing.target, growing.root / "moved")
    growing.arrives("c", [*three, *({**row, "id": f"c-{row['id']}", "text": f"{row['text']} of a file that goes"} for row in one)])
    moved = growing.config(place)
    assert ingest(moved).manifest["ingest"]["lineage"]["versions"] == ["v2", "v3", "v4"]
    assert not ingest(moved).is_new
    growing.run(growing.root / "whole")
    assert growing.rows(place) == growing.rows(growing.root / "whole")


# --- tokens and learned files


def test_the_tokenizer_of_the_first_version_is_used(shm_path):
    """An operator that learns has learned: later versions have the same token ids, and tell their counts together."""
    made = Growing(
        shm_path, [*KINDS["exact"], *TOKENIZED], {"output": {"uri": str(shm_path / "out"), "token_shards": {"formats": ["megatron"]}}}
    )
    for number, rows in enumerate(batches(3, size=20)):
        made.arrives(f"f{number}", rows)
        manifest = made.ingest().manifest
        assert manifest["tokens"]["total"] == manifest["output"]["tokens"] == manifest["output"]["token_shards"]["tokens"]
        made.prove()
    assert [bool(made.manifest(f"v{number}").get("learned")) for number in (1, 2, 3)] == [True, False, False]
    assert made.manifest("v1")["output"]["token_shards"]["shards"] * 3 == manifest["output"]["token_shards"]["shards"]
    text = dict(made.rows(None, "text", "input_ids"))
    assert len({len(ids) for ids in text.values()}) > 1
    learned = made.manifest("v1")["learned"][0]["path"]
    tokenize = next(one for one in manifest["operators"] if one["type"] == "tokenize")
    assert tokenize["settings"]["tokenizer"] == f"{made.target}/{learned}"
    made.operators = [
        *KINDS["exact"],
        {"type": "train_tokenizer", "name": "other", "vocab_size": 300},
        {"type": "tokenize", "tokenizer": "other"},
    ]
    made.arrives("g", batches(1, seed=5)[0])
    with pytest.raises(ConfigError, match="'other': it learns from documents, and v3 was made without it"):
        made.ingest()


def test_what_was_learned_is_read_from_where_the_output_is(growing, s3_server):
    """An output at an endpoint of its own, which the input knows nothing of: the tokenizer of the first version lies there."""
    uri = f"s3a://{s3_server.make_bucket()}/out/"
    growing.sections = {"output": {"uri": uri, "storage_options": s3_server.options}}
    growing.operators = TOKENIZED
    for name, rows in zip("ab", batches(2, size=20), strict=True):
        growing.arrives(name, rows)
        manifest = growing.ingest().manifest
    assert manifest["ingest"]["lineage"]["versions"] == ["v1", "v2"]
    assert manifest["tokens"]["total"] == manifest["output"]["tokens"] > 0


def test_a_tokenizer_is_known_by_its_content(growing):
    """The same file elsewhere gives the same ids; another file under the same address, or other settings, are refused."""
    growing.operators = [*KINDS["exact"], *TOKENIZED]
    one, two, three = batches(3, size=20)
    growing.arrives("a", one)
    learned = growing.target / growing.ingest().manifest["learned"][0]["path"]
    other = growing.root / "other.json"
    other.write_bytes(learned.read_bytes())
    tokenize = {"type": "tokenize", "tokenizer": str(other)}
    growing.operators = [*KINDS["exact"], tokenize]
    growing.arrives("b", two)
    assert growing.ingest().is_new
    growing.prove()
    growing.arrives("c", three)
    for text, change in ((learned.read_text(), {"add_special_tokens": True}), (learned.read_text().replace("Ġ", "ġ"), {})):
        other.write_text(text)
        growing.operators = [*KINDS["exact"], {**tokenize, **change}]
        with pytest.raises(InputError, match=r"token ids of v2 were made with .*other\.json \(sha256 .*; use the same tokenizer"):
            growing.ingest()


counts = st.dictionaries(st.sampled_from(["a", "b", "c", "(other)"]), st.tuples(st.integers(1, 9), st.integers(0, 99)), max_size=4)


@given(counts, counts)
def test_tokens_of_two_versions_add_up(one, two):
    """Nothing is lost, and a name is told only where both tell it by name or one has no others."""
    told = [
        {
            "total": sum(tokens for _, tokens in some.values()),
            "source_column": "s",
            "language_column": None,
            "by_source": {name: {"documents": number, "tokens": tokens} for name, (number, tokens) in some.items()},
            "by_language": None,
        }
        for some in (one, two)
    ]
    merged = merged_tokens(*told)
    assert merged["total"] == sum(entry["tokens"] for entry in merged["by_source"].values()) == told[0]["total"] + told[1]["total"]
    documents = sum(number for some in (one, two) for number, _ in some.values())
    assert sum(entry["documents"] for entry in merged["by_source"].values()) == documents
    assert list(merged["by_source"]) == sorted(merged["by_source"])


def test_accounts_add_up_in_any_grouping():
    """What two versions tell and a third is what the first tells and the two others together."""

    def account(number: int) -> dict[str, object]:
        ledger = {"rows_in": 4 * number, "rows_out": number, "dropped": {f"o{number % 2}": {"r": 2 * number}}, "quarantined": {"E": number}}
        return {"versions": [f"v{number}"], "files": number, "rows": 4 * number, "bytes": 7, "unreadable_files": 0, "ledger": ledger}

    one, two, three = map(account, (1, 2, 3))
    assert added(added(one, two), three) == added(one, added(two, three))
    manifest = {"version": "v1", "input": {"files": 1, "rows": 4, "bytes": 7, "unreadable_files": 0}, "ledger": one["ledger"]}
    assert lineage_of(manifest) == one


# --- damage


def test_what_it_adds_to_is_of_one_reading(growing, monkeypatch):
    """A version that is swapped in while the current one is looked up: the parent is the one that was read, so that it is noticed."""
    for name, rows in zip("ab", batches(2), strict=True):
        growing.arrives(name, rows)
        growing.ingest()
    current, older = growing.target / "manifest.json", (growing.target / "versions/v1/manifest.json").read_bytes()
    newer = current.read_bytes()
    current.write_bytes(older)
    store = open_store(str(growing.target))
    inner = store.read_versioned

    def swapped_meanwhile(path):
        found = inner(path)
        current.write_bytes(newer)
        return found

    monkeypatch.setattr(store, "read_versioned", swapped_meanwhile)
    lineage = Lineage.current(store)
    assert (lineage.newest["version"], lineage.sha256) == ("v1", hashlib.sha256(older).hexdigest())


def test_a_version_before_that_is_gone_or_changed_stops_it(growing):
    """Nothing is guessed: the message names the file and the remedy."""
    for name, rows in zip("ab", batches(2), strict=True):
        growing.arrives(name, rows)
        growing.ingest()
    growing.arrives("c", batches(1, seed=9)[0])
    first = Path(growing.target, "versions/v1/manifest.json")
    content = first.read_bytes()
    first.write_bytes(content.replace(b"growing", b"g owing", 1))
    with pytest.raises(InputError, match=r"versions/v1/manifest\.json: it is not the manifest that v2 names"):
        growing.ingest()
    first.unlink()
    with pytest.raises(InputError, match=r"versions/v1/manifest\.json: it is missing.*--backfill"):
        growing.ingest()
    first.write_bytes(content)
    lineage = Lineage.current(open_store(str(growing.target)))
    Path(growing.target, lineage.manifests[1]["input"]["inventory"]).unlink()
    with pytest.raises(InputError, match=r"the inventory of v1 is missing.*--backfill"):
        growing.ingest()


def test_dates_do_not_matter_but_contents_do(growing):
    """A file that was only touched has another etag on a local disk: that is a change, and is told as one."""
    (one,) = batches(1)
    path = growing.arrives("a", one)
    growing.ingest()
    assert np.array_equal(*[path.stat().st_size] * 2)
    os.utime(path, (5, 5))
    assert growing.ingest(ingest={"changed": "keep"}).found.changed == (str(path),)
