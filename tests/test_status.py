"""The status of a run: in every state that an output can be found in, it says where the run is and what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from manifests import NASTY, make_manifest

from pipelines import committed
from pipelines.commit import CommitLog, Part, Record, new_attempt, sealed, sweep_path
from pipelines.frames import PartWriter
from pipelines.lease import PATH as LEASE
from pipelines.lease import Holder, Lease
from pipelines.ledger import READER, Ledger
from pipelines.progress import KINDS
from pipelines.rows import QUARANTINE
from pipelines.status import EXCHANGE, PLAN, render_status, status
from pipelines.storage import open_store
from pipelines.version import claim, finish, swap

PLANNED = make_manifest()["fingerprints"]
EXCHANGES = ("exchange", "passage_grouping", "near_candidates", "near_components", "near_decide", "near_grouping", "near_pairs", "learning")


@pytest.fixture
def store(tmp_path, no_fsync):
    return open_store(str(tmp_path / "out"))


def plan(store, *, num_units=4, rows=400, allowed=0.01, fingerprints=PLANNED, **changed):
    facts = {
        "run_id": "1a2b3c4d5e6f7081",
        "name": "quickstart",
        "plan": "1a2b3c4d5e6f7081" * 2,
        "fingerprints": fingerprints,
        "rows": rows,
        "files": 3,
        "num_units": num_units,
        "stages": [
            {"fingerprint": "stage-a", "operators": ["length_filter"], "groups": ["exact_dedup"], "facts": {}},
            {"fingerprint": "stage-b", "operators": ["exact_dedup", "tokenize"], "groups": [], "facts": {}},
        ],
        "config": {"execution": {"max_quarantined_fraction": allowed}},
        **changed,
    }
    store.replace(PLAN, sealed(facts), etag=None)
    return facts


def quarantine_part(log, key, attempt, rows):
    columns = {
        "doc_key": [bytes(16)] * len(rows),
        "id": [str(row) for row, _, _ in rows],
        "uri": ["s3://raw/a.parquet"] * len(rows),
        "row_group": [0] * len(rows),
        "row": [row for row, _, _ in rows],
        "operator": [READER] * len(rows),
        "error": [error for _, error, _ in rows],
        "message": [message for _, _, message in rows],
    }
    with PartWriter(log.store, log.part_path(key, attempt, "quarantine")) as writer:
        writer.write(pa.RecordBatch.from_pydict(columns, schema=QUARANTINE))
        return writer.finish()


def unit(log, key, *, rows=100, dropped=10, bad=(), kind="unit", **usage):
    """Commit a record of a unit; `bad` are (row, error, message) of quarantined rows."""
    attempt = new_attempt()
    ledger = None
    if kind == "unit":
        ledger = Ledger(rows, rows - dropped - len(bad))
        ledger.operator("length_filter").dropped["too_short"] = dropped
        for _, error, _ in bad:
            ledger.operator(READER).quarantined[error] += 1
    parts: dict[str, Part] = {"quarantine": quarantine_part(log, key, attempt, bad)} if bad else {}
    used = {"seconds": 1.5, "peak_rss_bytes": 100 << 20, "requests": 4, "retries": 0, **usage}
    record = Record(key, attempt, kind, parts, ledger, {}, used)
    assert log.commit(record) == record
    return record


def holder(**changed):
    # Another machine, so that nobody can tell that the process is not there.
    made = Holder(holder="h", epoch=3, host="node7", machine="another", pid=4711, started="1", doing="stage 1 of 2, units: 3 of 4")
    return sealed({**asdict(made), **changed})


def silence(store, monkeypatch, seconds):
    """Let the store's clock stand `seconds` after the lease's last sign."""
    heard = store.info(LEASE).modified
    monkeypatch.setattr(type(store), "now", lambda _: heard + seconds)


def finished(store, fingerprints=PLANNED, **changed):
    facts = plan(store, fingerprints=PLANNED, **changed)
    claimed = claim(store, facts["plan"], "pack")
    finish(store, claimed)
    manifest = make_manifest(fingerprints=fingerprints)
    swap(store, 1, orjson.dumps(manifest), b"card")
    return manifest


def seen(store):
    found = status(store.uri)
    json.dumps(found, allow_nan=False)
    lines = render_status(found)
    assert all(line.isprintable() for line in lines)
    return found, "\n".join(lines)


def test_where_nothing_ever_ran_it_says_so(store):
    found, text = seen(store)
    assert (found["state"], found["version"], found["plan"], found["stages"], found["lease"]) == ("nothing", None, None, [], None)
    assert "no run has begun here: start `shardmill run FILE`, or check the URI" in text


def test_looking_changes_nothing(store, tmp_path):
    plan(store)
    log = CommitLog(store, "stage-a", 0)
    unit(log, "aa")
    store.create(log.record_path("bb"), b"torn")
    before = {info.path: info.etag for info in store.list()}
    found, _ = seen(store)
    assert {info.path: info.etag for info in store.list()} == before
    assert found["stages"][0]["units_committed"] == 1  # what the torn record stands for will be done again


def test_a_run_that_gives_signs_of_life_is_at_work_on_what_it_said_last(store, monkeypatch):
    plan(store)
    store.create(LEASE, holder())
    silence(store, monkeypatch, 3)
    found, text = seen(store)
    assert found["state"] == "running"
    assert found["lease"]["heartbeat_age_seconds"] == 3.0
    assert "waits for: nothing: process 4711 on node7 (heard of 3.0 s ago) is at work: stage 1 of 2, units: 3 of 4" in text


def test_a_run_in_this_very_process_is_at_work_even_before_it_has_a_plan(store):
    with Lease(store, lambda: "listing the input"):
        found, text = seen(store)
    assert (found["state"], found["plan"]) == ("running", None)
    assert "is at work: listing the input" in text


def test_a_run_that_ended_before_it_had_a_plan_is_stopped(store):
    with Lease(store):
        pass
    assert seen(store)[0]["state"] == "stopped"


def test_a_holder_that_was_silent_for_longer_than_the_lease_lasts_can_be_taken_over(store, monkeypatch):
    plan(store)
    store.create(LEASE, holder())
    silence(store, monkeypatch, 90)
    found, text = seen(store)
    assert found["state"] == "silent"
    assert "process 4711 on node7 (heard of 1 min 30 s ago) is dead, stopped or cut off" in text
    assert "start `shardmill run FILE` again: it takes over at once" in text


def test_a_process_that_died_on_this_machine_is_known_as_dead_at_once(store):
    plan(store)
    script = f"""
import os
from pipelines.lease import Lease
from pipelines.storage import open_store
Lease(open_store({store.uri!r})).__enter__()
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    found, text = seen(store)
    assert (found["state"], found["lease"]["is_dead_here"]) == ("dead", True)
    assert "ended without giving the lease back; start `shardmill run FILE` again: it goes on from what is committed, at once" in text


def test_a_lease_that_is_torn_is_nobodys(store):
    plan(store)
    store.create(LEASE, b'{"sha256":"')
    assert seen(store)[0]["state"] == "stopped"


def test_every_kind_of_an_exchanges_tasks_is_counted_and_has_a_name():
    modules = [import_module(f"pipelines.{name}") for name in EXCHANGES]
    kinds = {
        cls.__dataclass_fields__["kind"].default
        for module in modules
        for name, cls in vars(module).items()
        if name.endswith("Job") and "kind" in getattr(cls, "__dataclass_fields__", ())
    }
    assert kinds == set(EXCHANGE)
    assert kinds < set(KINDS)


def test_a_stopped_run_shows_what_is_committed_of_each_stage(store):
    plan(store)
    first = CommitLog(store, "stage-a", 0)
    for key in ("aa", "bb", "cc", "dd"):
        unit(first, key, rows=100, dropped=10)
    for kind, key in (("partition", "p1"), ("decide", "d1"), ("decide", "d2"), ("resolve", "r1"), ("spread", "s1"), ("verify", "v1")):
        unit(first, key, kind=kind)
    unit(CommitLog(store, "stage-b", 0), "ee", rows=90, dropped=0)
    unit(CommitLog(store, f"pack-{'1a2b3c4d5e6f7081' * 2}", 0), "ff", kind="file")
    found, text = seen(store)
    assert found["state"] == "stopped"
    assert [stage["units_committed"] for stage in found["stages"]] == [4, 1]
    assert found["stages"][0]["exchange_committed"] == {"partition": 1, "spread": 1, "verify": 1, "decide": 2, "resolve": 1}
    assert "exchange: 2 partitions, 1 comparison, 3 decisions committed" in text
    assert found["packing"] == {"files_committed": 1}
    assert "stage 1 of 2 (length_filter, keys of exact_dedup): 4 of 4 units committed; 400 rows in, 360 out, 40 dropped" in text
    assert "stage 2 of 2 (exact_dedup, tokenize): 1 of 4 units committed" in text
    assert "nobody is at work: start `shardmill run FILE` again; it goes on from what is committed" in text


def test_records_are_counted_once_whether_folded_or_not(store):
    plan(store)
    log = CommitLog(store, "stage-a", 0)
    for key in ("aa", "bb", "cc"):
        log.note(unit(log, key))
    log.fold()
    again = CommitLog(store, "stage-a", 0)
    again.note(log.record("cc"))
    again.fold()
    unit(log, "dd")
    stage = seen(store)[0]["stages"][0]
    assert (stage["units_committed"], stage["rows_in"]) == (4, 400)


def test_more_single_records_than_are_worth_reading_are_counted_by_name(store, monkeypatch):
    monkeypatch.setattr(committed, "MAX_SINGLE_RECORDS", 3)
    plan(store, num_units=10)
    log = CommitLog(store, "stage-a", 0)
    for number in range(8):
        unit(log, f"key-{number}")
    found, text = seen(store)
    assert (found["stages"][0]["units_committed"], found["stages"][0]["records_unread"]) == (3, 5)
    assert "3 of 10 units (and 5 records not looked at) committed" in text


def test_units_of_an_earlier_input_are_told_apart_from_those_that_are_planned(store):
    plan(store, num_units=1)
    log = CommitLog(store, "stage-a", 0)
    unit(log, "aa")
    unit(log, "bb")
    assert "1 of 1 unit (and 1 of earlier inputs) committed" in seen(store)[1]


def test_a_plan_that_does_not_say_how_many_units_it_has_shows_how_many_are_done(store):
    plan(store, num_units=None)
    unit(CommitLog(store, "stage-a", 0), "aa")
    assert "1 unit committed" in seen(store)[1]


def test_quarantined_rows_are_shown_by_error_with_up_to_five_examples(store):
    plan(store, allowed=0.5)
    log = CommitLog(store, "stage-a", 0)
    unit(log, "aa", bad=[(row, "null_text", "column 'text' is null") for row in range(7)])
    unit(log, "bb", bad=[(70, "not_a_string", NASTY["terminal"])])
    found, text = seen(store)
    quarantine = found["quarantine"]
    assert (quarantine["rows"], quarantine["by_error"]) == (8, {"null_text": 7, "not_a_string": 1})
    assert [example["row"] for example in quarantine["examples"]] == [0, 1, 2, 3, 4, 70]
    assert {key: quarantine["examples"][0][key] for key in ("uri", "row", "error", "message")} == {
        "uri": "s3://raw/a.parquet",
        "row": 0,
        "error": "null_text",
        "message": "column 'text' is null",
    }
    assert "quarantined: 8 rows of 400 (2.0%); 50% are allowed" in text
    assert "    s3://raw/a.parquet row 0: column 'text' is null" in text
    assert "s3://raw/a.parquet row 70: \\x1b[2J" in text


def test_a_run_that_the_quarantine_stopped_waits_for_better_input_or_a_larger_budget(store):
    plan(store, rows=400, allowed=0.01)
    unit(CommitLog(store, "stage-a", 0), "aa", bad=[(row, "null_text", "") for row in range(5)])
    assert "5 of 400 rows are quarantined, more than execution.max_quarantined_fraction (0.01) allows; mend the input" in seen(store)[1]


def test_examples_that_were_swept_meanwhile_are_missed_without_an_error(store):
    plan(store)
    unit(CommitLog(store, "stage-a", 0), "aa", bad=[(1, "null_text", "x")])
    store.delete([info.path for info in store.list("_shardmill/parts")])
    quarantine = seen(store)[0]["quarantine"]
    assert (quarantine["rows"], quarantine["examples"]) == (1, [])


def test_usage_is_the_sum_of_the_attempts_and_the_largest_worker(store):
    plan(store)
    log = CommitLog(store, "stage-a", 0)
    unit(log, "aa", seconds=2.0, peak_rss_bytes=1 << 30, requests=10, retries=2)
    unit(log, "bb", seconds=3.0, peak_rss_bytes=1 << 20, requests=5, retries=1)
    found, text = seen(store)
    assert found["usage"] == {"cpu_seconds": 5.0, "requests": 15, "retries": 3, "peak_rss_bytes": 1 << 30}
    assert "used: 5.0 s of CPU, at most 1.00 GiB of memory in a worker, 15 requests to the store (3 of them again)" in text


def test_a_finished_version_waits_for_nothing_and_keeps_the_counts_of_the_stages_that_gc_swept(store):
    finished(store)
    unit(CommitLog(store, "stage-a", 0), "aa")
    store.create(sweep_path("stage-a", 0), sealed({"swept": True}))
    found, text = seen(store)
    assert (found["state"], found["version"]["version"], found["version"]["rows"]) == ("finished", "v1", 11_000)
    assert found["stages"][0]["units_committed"] == 1
    assert "waits for: nothing: version v1 is finished" in text
    assert "version: v1 of quickstart, 2026-01-02T03:04:05Z: 11,000 rows, 3,210,987 tokens, 3 shards, 9.42 MiB" in text


def test_a_finished_versions_quarantine_is_that_of_its_manifest_with_examples_from_its_table(store):
    manifest = finished(store)
    path = "versions/v1/quarantine/part-00000-1a2b3c4d.parquet"
    rows = [dict.fromkeys(QUARANTINE.names) | {"uri": "a", "row": row, "error": "null_text", "message": "m"} for row in range(9)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE), sink)
    store.create(path, sink.getvalue().to_pybytes())
    manifest["tables"]["quarantine"]["files"] = [{"path": path, "rows": 9, "bytes": 1, "sha256": ""}]
    _, etag = store.read_versioned("manifest.json")
    store.replace("manifest.json", orjson.dumps(manifest), etag=etag)
    quarantine = seen(store)[0]["quarantine"]
    assert (quarantine["rows"], quarantine["by_error"]) == (12, {"not_a_string": 12})
    assert [example["row"] for example in quarantine["examples"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("content", [None, b"not parquet"])
def test_a_quarantine_table_that_cannot_be_read_is_left_to_verify(store, content):
    manifest = finished(store)
    if content is not None:
        store.create("versions/v1/quarantine/x.parquet", content)
    manifest["tables"]["quarantine"]["files"] = [{"path": "versions/v1/quarantine/x.parquet"}]
    _, etag = store.read_versioned("manifest.json")
    store.replace("manifest.json", orjson.dumps(manifest), etag=etag)
    assert seen(store)[0]["quarantine"]["examples"] == []


def test_a_run_killed_after_its_version_became_current_is_finished(store, monkeypatch):
    finished(store)
    store.create(LEASE, holder())
    silence(store, monkeypatch, 90)
    found, text = seen(store)
    assert found["state"] == "finished"
    assert "`shardmill gc" in text


def test_a_run_at_work_on_a_finished_output_is_running(store, monkeypatch):
    finished(store)
    store.create(LEASE, holder(doing="listing the input"))
    silence(store, monkeypatch, 3)
    found, text = seen(store)
    assert (found["state"], found["version"]["version"]) == ("running", "v1")
    assert "is at work: listing the input" in text


def test_a_new_plan_on_a_finished_output_is_not_finished(store):
    finished(store, fingerprints={**PLANNED, "inputs": "0" * 32})
    found, text = seen(store)
    assert (found["state"], found["version"]["version"]) == ("stopped", "v1")
    assert "nobody is at work" in text


def test_a_version_that_is_whole_but_not_current_only_has_to_be_swapped_in(store):
    facts = plan(store)
    finish(store, claim(store, facts["plan"], "pack"))
    found, text = seen(store)
    assert (found["state"], found["versions"]) == ("unswapped", [{"version": "v1", "state": "finished"}])
    assert "version v1 is whole and only has to become the current one" in text


def test_versions_that_were_given_up_are_named(store):
    plan(store)
    claim(store, "one plan", "pack")
    claim(store, "another plan", "pack")
    found, _ = seen(store)
    assert [version["state"] for version in found["versions"]] == ["abandoned", "claimed"]


def test_an_output_that_can_only_be_read_shows_everything_but_the_age_of_the_lease(store, monkeypatch):
    from pipelines.errors import UnsafeStore

    plan(store)
    store.create(LEASE, holder())

    def refuse(self):
        raise UnsafeStore("read only")

    monkeypatch.setattr(type(store), "now", refuse)
    found, text = seen(store)
    assert (found["state"], found["lease"]["heartbeat_age_seconds"]) == ("running", None)
    assert "process 4711 on node7 is at work" in text


@pytest.mark.parametrize("name", NASTY)
def test_strangers_text_neither_moves_the_cursor_nor_fills_the_screen(store, monkeypatch, name):
    text = NASTY[name].replace("\ud800", "?")  # what is stored is UTF-8
    plan(store, name=text)
    store.create(LEASE, holder(host=text, doing=text))
    silence(store, monkeypatch, 1)
    unit(CommitLog(store, "stage-a", 0), "aa", bad=[(1, text or "x", text)])
    lines = render_status(status(store.uri))
    assert all(line.isprintable() and len(line) < 700 for line in lines)
    assert len(lines) < 20
