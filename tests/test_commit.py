"""Attempts, crashes, commits, folds and gc in any order, against a dict: one record counts, its parts are there, no other shows.

The state machine plays drivers and workers of two stages on one store. What it calls an epoch's records are the model's truth.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from dataclasses import dataclass, field

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, precondition, rule

from pipelines.commit import CommitLog, Part, Record, TornRecord, epoch_of, sealed, unsealed
from pipelines.errors import CommitUnknown, VersionConflict
from pipelines.frames import read_frames, refs
from pipelines.gc import collect
from pipelines.ledger import Ledger
from pipelines.storage import LocalStore, MemoryStore
from pipelines.version import claim, claims, finish, swap
from pipelines.worker import Attempt

STAGES = ("aaaa", "pack-bbbb")
KEYS = ("00k0", "00k1", "01k2")
NUMBERS = itertools.count()
Place = tuple[str, int, str]


def known(log):
    """Keys of the records that a log knows."""
    return log.keys()


class Crash(Exception):
    """The process ends here."""


@dataclass
class Try:
    """An attempt of the model: what it has written so far, and whether its process still lives."""

    attempt: Attempt
    stage: str
    numbers: list[int]
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return self.stage, self.attempt.log.epoch, self.attempt.key

    def record(self) -> Record:
        return Record(self.attempt.key, self.attempt.id, "unit", self.parts, Ledger(rows_in=len(self.numbers)), {"numbers": self.numbers})


def on(base, root):
    """A store of a kind whose answers can be lost and whose deletions can be interrupted, once each."""

    class Unreliable(base):
        lose_answer = False
        deletions_left = None

        def create(self, path, data):
            created = super().create(path, data)
            if self.lose_answer and "/records/" in path:
                self.lose_answer = False
                raise CommitUnknown(f"{path}: no answer")
            return created

        def delete(self, paths):
            listed = list(paths)
            if self.deletions_left is None:
                return super().delete(listed)
            super().delete(listed[: self.deletions_left])
            self.deletions_left = None
            raise Crash

    return Unreliable(root)


class Commits(RuleBasedStateMachine):
    """Drivers, workers and gc on one store."""

    kind = "memory"
    tries = Bundle("tries")

    @initialize()
    def begin_with_an_empty_store(self):
        self.folder = None
        if self.kind == "memory":
            self.store = on(MemoryStore, f"memory://commits-{next(NUMBERS)}")
        else:
            parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
            self.folder = tempfile.mkdtemp(prefix="shardmill-test-", dir=parent)
            self.store = on(LocalStore, self.folder)
        self.committed: dict[Place, Try] = {}
        self.folded: set[Place] = set()
        self.swept: dict[str, int] = dict.fromkeys(STAGES, 0)
        self.logs = {stage: CommitLog(self.store, stage, 0) for stage in STAGES}
        self.number = itertools.count()

    def teardown(self):
        if not hasattr(self, "store"):
            return
        self.collected(keep=())
        assert list(self.store.list("_shardmill/parts")) == []
        self.store.delete([info.path for info in self.store.list()])
        if self.folder is not None:
            shutil.rmtree(self.folder)

    # --- workers

    @rule(target=tries, stage=st.sampled_from(STAGES), key=st.sampled_from(KEYS))
    def an_attempt_begins(self, stage, key):
        log = CommitLog(self.store, stage, self.logs[stage].epoch)
        return Try(Attempt(log, key), stage, [next(self.number) for _ in range(3)])

    @rule(made=tries, role=st.sampled_from(["documents", "dropped"]))
    def it_writes_a_part(self, made, role):
        if role in made.parts or self.committed.get(made.place) is made:
            return
        with made.attempt.writer(role) as writer:
            for number in made.numbers:
                writer.write(pa.record_batch({"number": [number]}))
            made.parts[role] = writer.finish()

    @rule(made=consumes(tries))
    def it_crashes_while_it_writes(self, made):
        with contextlib.suppress(Crash), made.attempt.writer("duplicates") as writer:
            writer.write(pa.record_batch({"number": [1]}))
            raise Crash

    @rule(made=consumes(tries))
    def it_crashes(self, made):
        """Before or after its commit: nobody was told."""

    @rule(target=tries, made=consumes(tries), told=st.booleans())
    def it_commits(self, made, told):
        winner = self.committed.setdefault(made.place, made)
        record = made.attempt.log.commit(made.record())
        assert record.attempt == winner.attempt.id
        assert record.detail["numbers"] == winner.numbers
        if told:
            self.told(made.stage, record, made.attempt.log.epoch)
        return made if told else multiple()

    @rule(target=tries, made=consumes(tries))
    def its_answer_is_lost(self, made):
        """The worker does not know whether it has committed; asked again, it finds out."""
        winner = self.committed.setdefault(made.place, made)
        self.store.lose_answer = True
        with pytest.raises(CommitUnknown):
            made.attempt.log.commit(made.record())
        found = made.attempt.log.find(made.attempt.key)
        assert found is not None
        assert found.attempt == winner.attempt.id
        assert made.attempt.log.commit(made.record()).attempt == winner.attempt.id
        return made

    # --- drivers

    def told(self, stage, record, epoch):
        """A driver hears of a record; one of an older epoch heard only of attempts that it had sent itself."""
        if self.logs[stage].epoch == epoch:
            self.logs[stage].note(record)

    @rule(stage=st.sampled_from(STAGES))
    def the_driver_folds(self, stage):
        log = self.logs[stage]
        self.folded |= {(stage, log.epoch, key) for key in known(log)}
        log.fold()

    @rule(stage=st.sampled_from(STAGES))
    def the_driver_starts_again(self, stage):
        self.restarted(stage)

    def restarted(self, stage):
        epoch = epoch_of(self.store, stage)
        assert epoch == self.swept[stage]
        log = self.logs[stage] = CommitLog(self.store, stage, epoch)
        log.load()
        expected = {key: made for (of, at, key), made in self.committed.items() if (of, at) == (stage, epoch)}
        assert set(log.keys()) == set(expected)
        for key, made in expected.items():
            assert log.record(key).attempt == made.attempt.id

    @precondition(lambda self: set(self.committed) - self.folded)
    @rule(data=st.data(), keep=st.integers(0, 60))
    def a_record_is_torn(self, data, keep):
        """The machine crashes; a record that no fold has is cut off, set aside at the next start, and its work is to be done again."""
        live = sorted(place for place in self.committed if place not in self.folded and place[1] == self.swept[place[0]])
        if not live:
            return
        stage, epoch, key = place = data.draw(st.sampled_from(live))
        path = CommitLog(self.store, stage, epoch).record_path(key)
        content = self.store.read(path)[:keep]
        self.store.delete([path])
        self.store.create(path, content)
        with pytest.raises(TornRecord):
            CommitLog(self.store, stage, epoch).find(key)
        del self.committed[place]
        self.restarted(stage)
        assert any(".torn-" in info.path for info in self.store.list("_shardmill/stages"))

    @precondition(lambda self: self.folded)
    @rule(data=st.data())
    def a_fold_is_torn(self, data):
        """A fold that cannot be read is forgotten: every record in it is an object of its own too."""
        stage = data.draw(st.sampled_from(STAGES))
        folds = [info.path for info in self.store.list(f"{self.logs[stage].folder}/folds")]
        if not folds:
            return
        path = data.draw(st.sampled_from(folds))
        content = self.store.read(path)
        self.store.delete([path])
        self.store.create(path, content[: len(content) // 2])
        self.restarted(stage)
        self.folded = {place for place in self.folded if place[0] != stage}

    # --- gc

    @rule(keep=st.sets(st.sampled_from(STAGES)))
    def gc_runs(self, keep):
        self.collected(keep)
        parts = [info.path for info in self.store.list("_shardmill/parts")]
        for path in parts:
            stage, _, epoch = path.split("/")[3].rpartition(".e")
            key, attempt, _ = path.split("/")[4].split(".")
            assert int(epoch) == self.swept[stage], "a part of a swept epoch is left"
            winner = self.committed.get((stage, int(epoch), key))
            assert winner is None or attempt == winner.attempt.id, "a part of an attempt that lost is left"

    @rule(keep=st.sets(st.sampled_from(STAGES)), deletions=st.integers(0, 2))
    def gc_is_interrupted(self, keep, deletions):
        """Some markers are written and some parts are gone; the next gc goes on."""
        self.store.deletions_left = deletions
        with contextlib.suppress(Crash):
            collect(self.store, keep=keep, confirm=lambda: None)
        self.store.deletions_left = None
        for stage in STAGES:
            self.swept[stage] = epoch_of(self.store, stage)
            self.logs[stage] = CommitLog(self.store, stage, self.swept[stage])
            self.logs[stage].load()

    def collected(self, keep):
        self.mark(keep)
        collect(self.store, keep=keep, confirm=lambda: None)

    def mark(self, keep):
        """What gc is going to mark: every stage that is not kept and has a record in its epoch, or any part."""
        paths = [info.path for info in self.store.list("_shardmill")]
        for stage in set(STAGES) - set(keep):
            epoch = self.swept[stage]
            if any(f"/stages/{stage}/e{epoch}/" in path or f"/{stage}.e" in path for path in paths):
                self.swept[stage] += 1
                self.logs[stage] = CommitLog(self.store, stage, self.swept[stage])

    # --- what always holds

    @invariant()
    def what_is_committed_can_be_read(self):
        """The record names the winner, and every part of it has what the winner wrote, as long as its epoch lives."""
        for (stage, epoch, key), made in getattr(self, "committed", {}).items():
            record = CommitLog(self.store, stage, epoch).find(key)
            assert record is not None
            assert record.attempt == made.attempt.id
            if epoch == self.swept[stage]:
                for part in record.parts.values():
                    numbers = [number for batch in read_frames(self.store, refs(part)) for number in batch["number"].to_pylist()]
                    assert numbers == made.numbers

    @invariant()
    def no_other_record_shows(self):
        """What the drivers have been told, and what lies in the store, are the model's records and no more."""
        if not hasattr(self, "store"):
            return
        for stage, log in self.logs.items():
            for key in known(log):
                assert log.record(key).attempt == self.committed[stage, log.epoch, key].attempt.id
        found = {info.path for info in self.store.list("_shardmill/stages") if "/records/" in info.path and ".torn-" not in info.path}
        assert found == {CommitLog(self.store, stage, epoch).record_path(key) for stage, epoch, key in self.committed}


class LocalCommits(Commits):
    """The same on a local path."""

    kind = "local"


TestCommitsInMemory = Commits.TestCase
TestCommitsInMemory.settings = settings(max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
TestCommitsOnALocalPath = LocalCommits.TestCase
TestCommitsOnALocalPath.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


# --- the record by itself


@pytest.mark.parametrize("length", range(0, 130, 13))
def test_a_record_that_is_cut_off_is_known_as_torn(length):
    """No prefix of a record is taken for a record."""
    data = Record("k", "a", "unit", {"documents": Part("p", 1, 2, "s", ((0, 1, 2, 3, 0),), ("g",))}).to_bytes()
    assert Record.from_bytes(data).to_bytes() == data
    with pytest.raises(TornRecord):
        Record.from_bytes(data[:length])


@pytest.mark.parametrize("position", [15, 60, 90, 120, 200])
def test_a_changed_byte_is_known(position):
    """A record tells that a byte of its content or of its checksum is another."""
    data = bytearray(sealed({"key": "k" * 100, "more": ["x", 1, None]}))
    data[position] ^= 1
    with pytest.raises(TornRecord):
        unsealed(bytes(data))


def test_a_log_reads_folds_and_the_records_that_are_in_none(tmp_path):
    """A restart knows every record, whether it was folded, committed after the fold, or never told to the driver."""
    store = LocalStore(str(tmp_path))
    log = CommitLog(store, "stage", 0)
    for number in range(5):
        log.note(log.commit(Record(f"{number:02}", f"attempt-{number}", "unit", {})))
    log.fold()
    log.commit(Record("05", "attempt-5", "unit", {}))
    again = CommitLog(store, "stage", 0)
    again.load()
    assert sorted(again.keys()) == [f"{number:02}" for number in range(6)]
    assert [record.attempt for record in again.records(sorted(again.keys()))] == [f"attempt-{number}" for number in range(6)]
    again.fold()
    assert len(list(store.list(f"{log.folder}/folds"))) == 2


# --- the claims of versions


def test_a_version_that_was_given_up_cannot_be_finished(tmp_path):
    """A run that was stopped while another plan took its version's place neither finishes nor swaps it in."""
    store = LocalStore(str(tmp_path))
    first = claim(store, "plan-a", "pack-a")
    assert claim(store, "plan-a", "pack-a") == first
    second = claim(store, "plan-b", "pack-b")
    assert [(made.number, made.state) for made in claims(store)] == [(1, "abandoned"), (2, "claimed")]
    with pytest.raises(VersionConflict, match="v1"):
        finish(store, first)
    assert finish(store, second).state == "finished"
    assert finish(store, second).state == "finished"
    assert claim(store, "plan-b", "pack-b").number == 3


def test_the_current_version_never_goes_back(tmp_path):
    """A swap to an older version than the current one does nothing."""
    store = LocalStore(str(tmp_path))
    swap(store, 2, b'{"version":"v2"}', b"card of v2")
    swap(store, 1, b'{"version":"v1"}', b"card of v1")
    assert (store.read("manifest.json"), store.read("README.md")) == (b'{"version":"v2"}', b"card of v2")
    swap(store, 3, b'{"version":"v3"}', b"card of v3")
    assert (store.read("manifest.json"), store.read("README.md")) == (b'{"version":"v3"}', b"card of v3")
