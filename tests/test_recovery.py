"""What a run does about things that should not happen: code edited under it, torn control objects, a lease that is silent."""

import threading
from pathlib import Path

import orjson
import pytest
from corpora import config_of, custom, documents, files_of, finished, output_of, write_parquet

import pipelines.lease
from pipelines.commit import PLAN, ROOT, CommitLog, Part, Record, epoch_of, sealed
from pipelines.errors import Conflict, InputChanged, LeaseLost, StorageError, Unavailable
from pipelines.gc import collect
from pipelines.lease import Lease
from pipelines.run import run
from pipelines.run_units import SPLITS
from pipelines.storage import open_store
from pipelines.version import claim, claims

pytestmark = pytest.mark.usefixtures("no_fsync")

EXECUTION = {"unit_bytes": "1KiB", "batch_bytes": "1KiB", "max_quarantined_fraction": 1.0}


def made(source, operators, execution):
    """A pipeline over the folder's input."""
    return config_of(source / "p.yaml", source / "in" / "*.parquet", source / "out", operators, execution=execution)


@pytest.fixture
def source(tmp_path) -> Path:
    write_parquet(tmp_path / "in" / "a.parquet", documents(60), 20)
    return tmp_path


def test_code_that_is_edited_in_mid_run_is_not_committed_under_the_old_fingerprint(source):
    """A worker that loads other code than the plan was made with refuses to work."""
    edit = "\n".join(
        [
            "import pathlib",
            f"path = pathlib.Path({str(source / 'mine.py')!r})",
            "path.write_text(path.read_text() + '# edited')",
            "return Result(batch)",
        ]
    )
    operators = [custom(source, edit), {"type": "exact_dedup"}, {"type": "mine:Mine", "name": "again"}]
    with pytest.raises(InputChanged, match="its code or its libraries on this worker are not those"):
        run(made(source, operators, execution=EXECUTION))


def test_a_set_in_the_settings_has_one_fingerprint(source):
    """Settings are digested by their values: a set's order in one process does not make another version."""
    entry = custom(source, "return Result(batch)")
    path = source / "mine.py"
    path.write_text(
        path.read_text().replace(
            "class Mine(BatchOperator):", "class Mine(BatchOperator):\n    words: frozenset[str] = frozenset('abcdefgh')", 1
        )
    )
    from pipelines.fingerprint import canonical

    finished(made(source, [entry], execution=EXECUTION))
    assert run(made(source, [entry], execution=EXECUTION)).was_finished
    assert canonical(frozenset("hgfedcba")) == list("abcdefgh")
    assert canonical({"a": float("inf"), "b": (1, {2})}) == {"a": "inf", "b": [1, [2]]}


def test_a_poisoned_row_is_tried_again_by_a_stage_that_did_not_die_of_it(source):
    """What is written down of a deadly row counts only while the plan has the stage that died."""
    store = open_store(str(source / "out"))
    fine = files_of(finished(made(source, [{"type": "length_filter", "min_chars": 1}], execution=EXECUTION)).root)
    store.create(f"{SPLITS}/{'0' * 32}.{'f' * 32}.json", sealed({"unit": "0" * 32, "rows": 1, "stage": "f" * 32, "why": "died"}))
    assert files_of(output_of(source / "out").root) == fine
    again = finished(made(source, [{"type": "length_filter", "min_chars": 2}], execution=EXECUTION))
    assert again.manifest["ledger"]["quarantined"].get("worker_died") is None


@pytest.mark.parametrize("name", [f"{ROOT}/versions/v1.json", PLAN, f"{SPLITS}/{'0' * 32}.json"])
def test_a_torn_control_object_does_not_stop_the_next_run(source, name):
    """A claim, a plan or a split that a crash tore is passed over, and the next version is made."""
    root = finished(made(source, [], execution=EXECUTION)).root
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'{"sha256":"12", half of it')
    assert finished(made(source, [{"type": "length_filter", "min_chars": 1}], execution=EXECUTION)).manifest["version"] == "v2"


def test_a_damaged_manifest_says_what_to_do(source):
    """A torn manifest.json is one clear error, and its remedy works."""
    config = made(source, [], execution=EXECUTION)
    root = finished(config).root
    whole = (root / "manifest.json").read_bytes()
    (root / "manifest.json").write_bytes(whole[:40])
    with pytest.raises(StorageError, match=r"manifest\.json is damaged .*; remove it and run again"):
        run(config)
    (root / "manifest.json").unlink()
    run(config)
    assert (root / "manifest.json").read_bytes() == whole


def test_the_report_is_that_of_the_manifest_that_counts(source, monkeypatch):
    """A death between the manifest and the report leaves a report of that same manifest."""
    import pipelines.run as module

    real = module.write_once

    def dying(store, path, data):
        written = real(store, path, data)
        if path.endswith("manifest.json"):
            monkeypatch.setattr(module, "write_once", real)
            raise KeyboardInterrupt
        return written

    monkeypatch.setattr(module, "write_once", dying)
    config = made(source, [], execution=EXECUTION)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    root = finished(config).root
    manifest = orjson.loads((root / "versions/v1/manifest.json").read_bytes())
    assert manifest["created_at"] in (root / "versions/v1/report.html").read_text()


def test_intermediates_that_are_not_wanted_any_more_go(source):
    """A finished output whose pipeline stops keeping intermediates is swept by the next run, which has nothing else to do."""
    root = finished(made(source, [{"type": "exact_dedup"}], execution={**EXECUTION, "keep_intermediates": "latest"})).root
    store = open_store(str(root))
    assert list(store.list(f"{ROOT}/parts"))
    assert run(made(source, [{"type": "exact_dedup"}], execution=EXECUTION)).was_finished
    assert not list(store.list(f"{ROOT}/parts"))


def _committed(store, stage):
    """A stage with one committed part."""
    log = CommitLog(store, stage, epoch_of(store, stage))
    path = log.part_path("ab" * 16, "1" * 16, "documents")
    store.create(path, b"rows")
    log.commit(Record("ab" * 16, "1" * 16, "unit", {"documents": Part(path, 1, 4, "")}))
    return path


def test_a_collection_that_was_stopped_takes_nothing_of_a_run_that_began_meanwhile(tmp_path):
    """What may go is settled before the first mark; what another run commits afterwards stays, whenever the first one wakes."""
    store = open_store(str(tmp_path / "out"))
    old = _committed(store, "a" * 32)
    found = {}

    def woken():
        if not found:
            found["path"] = _committed(store, "b" * 32)

    collect(store, keep=[], confirm=woken)
    assert not store.exists(old)
    assert store.exists(found["path"])
    assert epoch_of(store, "b" * 32) == 0


def test_a_collection_stops_when_another_run_has_taken_over(tmp_path):
    """The lease is asked before the marks and before each deletion."""
    store = open_store(str(tmp_path / "out"))
    path = _committed(store, "a" * 32)

    def lost():
        raise LeaseLost("another run goes on")

    with pytest.raises(LeaseLost):
        collect(store, keep=[], confirm=lost)
    assert store.exists(path)
    assert epoch_of(store, "a" * 32) == 0


def test_a_heartbeat_outlives_a_store_that_does_not_answer(tmp_path, monkeypatch):
    """A failed look at the lease is no reason to stop beating: the next beat finds out."""
    store = open_store(str(tmp_path / "out"))
    lease = Lease(store, seconds=0.2)
    asked = threading.Event()
    real_replace, real_current = store.replace, pipelines.lease.current

    def refused(*_, **__):
        raise Conflict("somebody else's")

    def away(*_):
        asked.set()
        raise Unavailable("503")

    with lease:
        monkeypatch.setattr(store, "replace", refused)
        monkeypatch.setattr(pipelines.lease, "current", away)
        assert asked.wait(10)
        monkeypatch.setattr(store, "replace", real_replace)
        monkeypatch.setattr(pipelines.lease, "current", real_current)
        lease.confirm()


def test_a_torn_claim_uses_its_number_up(tmp_path):
    """Nobody knows what a torn claim said, so its files stay and the next version has another number."""
    store = open_store(str(tmp_path / "out"))
    claim(store, "plan", "pack")
    (tmp_path / "out" / ROOT / "versions" / "v1.json").write_bytes(b"{")
    assert claim(store, "plan", "pack").name == "v2"
    assert [found.state for found in claims(store)] == ["torn", "claimed"]
