"""The contract of stores, over every kind of store, and what only one kind can do wrong."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import pickle
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import botocore.exceptions
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from servers import FaultProxy, RangeServer

from pipelines import storage_local, storage_s3_upload
from pipelines.errors import (
    AccessDenied,
    CommitUnknown,
    ConfigError,
    Conflict,
    InputChanged,
    InputError,
    NotFound,
    StorageError,
    Throttled,
    Unavailable,
    UnsafeStore,
)
from pipelines.storage import S3Store, Sources, Store, open_store, retryable

KINDS = ["local", "memory", "s3"]
PATHS = ["plain.bin", "a b/ä/漢字 #1?.json", "dump=2024-10/part+00%20.parquet", "deep/" * 20 + "x"]


@pytest.fixture(params=KINDS)
def store(request, tmp_path) -> Store:
    """An empty store of each kind."""
    if request.param == "local":
        return open_store(str(tmp_path / "out"))
    if request.param == "memory":
        return open_store(f"memory://{uuid.uuid4().hex}/out")
    server = request.getfixturevalue("s3_server")
    return open_store(f"s3://{server.make_bucket()}/some/prefix", server.options)


def hurried(store: Store, tries: int = 8) -> list[float]:
    """Make a store's retries not wait; returns the list of the waits that it would have made."""
    waits: list[float] = []
    store.backoff.sleep = waits.append
    store.backoff.tries = tries
    return waits


class TestContract:
    def test_what_was_created_is_read_back(self, store):
        """Content, size and existence of a created object are what was written, whatever its path."""
        for path in PATHS:
            assert store.create(path, path.encode())
            assert store.read(path) == path.encode()
            assert store.exists(path)
            found = store.info(path)
            assert (found.path, found.size) == (path, len(path.encode()))
            assert abs(found.modified - store.now()) < 60

    def test_missing_objects_are_not_found(self, store):
        """Every reading call says NotFound for what is not there, and for a folder."""
        store.create("folder/object", b"x")
        for path in ("missing", "folder", "folder/object/below"):
            for call in (store.info, store.read, store.read_versioned, lambda p: store.read_range(p, 0, 1)):
                with pytest.raises(NotFound, match=path):
                    call(path)
            assert not store.exists(path)

    def test_create_does_not_overwrite(self, store):
        """The second create of a path is told so and changes nothing, even with the same bytes."""
        assert store.create("record", b"first")
        assert not store.create("record", b"second")
        assert not store.create("record", b"first")
        assert store.read("record") == b"first"

    def test_an_empty_object_is_an_object(self, store):
        """Zero bytes can be created, listed and read, and still refuse a second creation."""
        assert store.create("empty", b"")
        assert not store.create("empty", b"x")
        assert store.read("empty") == b""
        assert store.read_range("empty", 0, 0) == b""
        with store.writer("streamed"):
            pass
        assert [(found.path, found.size) for found in store.list()] == [("empty", 0), ("streamed", 0)]

    def test_of_racing_creators_one_wins(self, store):
        """Of eight threads that create the same path, exactly one is told that it did, and its bytes are the ones there."""
        with ThreadPoolExecutor(8) as pool:
            for number in range(50):
                gate = threading.Barrier(8)

                def attempt(me: int, path: str = f"race/{number}", gate: threading.Barrier = gate) -> bool:
                    gate.wait()
                    return store.create(path, b"attempt %d" % me)

                won = list(pool.map(attempt, range(8)))
                assert sum(won) == 1
                assert store.read(f"race/{number}") == b"attempt %d" % won.index(True)

    def test_of_racing_replacers_one_wins(self, store):
        """Of eight threads that swap the same state, exactly one does and seven get Conflict."""
        etag = store.replace("manifest", b"start", etag=None)
        with ThreadPoolExecutor(8) as pool:
            for number in range(50):
                gate = threading.Barrier(8)

                def attempt(me: int, number: int = number, etag: str = etag, gate: threading.Barrier = gate) -> str | None:
                    gate.wait()
                    try:
                        return store.replace("manifest", b"round %d attempt %d" % (number, me), etag=etag)
                    except Conflict:
                        return None

                results = list(pool.map(attempt, range(8)))
                (winner,) = [me for me, result in enumerate(results) if result is not None]
                content, etag = store.read_versioned("manifest")
                assert (content, etag) == (b"round %d attempt %d" % (number, winner), results[winner])

    def test_swaps_are_not_fooled_by_equal_sizes(self, store):
        """A swap against a state that was replaced by one of the same size, in the same instant, is a conflict."""
        old = store.replace("manifest", b"aaaa", etag=None)
        store.replace("manifest", b"bbbb", etag=old)
        with pytest.raises(Conflict, match="manifest"):
            store.replace("manifest", b"cccc", etag=old)
        assert store.read("manifest") == b"bbbb"

    def test_swaps_need_what_they_expect(self, store):
        """A swap of what is missing, and a first swap of what is there, are conflicts."""
        with pytest.raises(Conflict):
            store.replace("manifest", b"x", etag="0123456789abcdef0123456789abcdef")
        etag = store.replace("manifest", b"x", etag=None)
        with pytest.raises(Conflict):
            store.replace("manifest", b"y", etag=None)
        assert store.read("manifest", etag=etag) == b"x"

    def test_ranges_are_exact(self, store):
        """A range gives just its bytes, and one beyond the end is an error rather than fewer bytes."""
        content = bytes(range(256)) * 10
        store.create("data", content)
        for start, stop in [(0, 1), (0, 2560), (100, 100), (2559, 2560), (17, 1999)]:
            assert store.read_range("data", start, stop) == content[start:stop]
        for start, stop in [(0, 2561), (2560, 2570), (2000, 3000)]:
            with pytest.raises(InputError, match="data"):
                store.read_range("data", start, stop)
        with pytest.raises(InputError):
            store.read_range("data", 5, 4)

    def test_a_changed_object_is_noticed(self, store):
        """Reading with an etag succeeds while the object is the same and is InputChanged once it is not."""
        store.create("data", b"0123456789")
        etag = store.info("data").etag
        assert next(iter(store.list())).etag == etag
        assert store.read("data", etag=etag) == b"0123456789"
        assert store.read_range("data", 2, 4, etag=etag) == b"23"
        with store.writer("data") as writer:
            writer.write(b"9876543210!")
        for read in (lambda: store.read("data", etag=etag), lambda: store.read_range("data", 2, 4, etag=etag)):
            with pytest.raises(InputChanged, match="data"):
                read()

    def test_a_writer_streams_an_object(self, store):
        """The object is not there before the block ends, and then whole, with the digest that the writer took."""
        chunks = [bytes([number]) * 70_001 for number in range(40)]
        with store.writer("parts/p.bin") as writer:
            for chunk in chunks:
                assert writer.write(chunk) == len(chunk)
            writer.close()
            assert not store.exists("parts/p.bin")
        content = b"".join(chunks)
        assert store.read("parts/p.bin") == content
        assert writer.tell() == len(content)
        assert writer.sha256 == hashlib.sha256(content).hexdigest()
        with pytest.raises(ValueError, match="closed"):
            writer.write(b"more")

    def test_a_writer_is_a_pyarrow_sink(self, store):
        """A Parquet file written through a writer reads back."""
        table = pa.table({"text": ["a", "b", "c"] * 1000})
        with store.writer("t.parquet") as writer:
            pq.write_table(table, pa.PythonFile(writer, "w"))
        assert pq.read_table(pa.BufferReader(store.read("t.parquet"))) == table

    def test_a_writer_that_fails_leaves_nothing(self, store):
        """An exception in the block of a writer or creator discards what was written, also after close."""
        for opened in (store.writer, store.creator):
            with pytest.raises(ZeroDivisionError), opened("x/y") as writer:  # noqa: PT012 - the block is what is tested
                writer.write(b"z" * 100)
                writer.close()
                raise ZeroDivisionError
        assert list(store.list()) == []
        assert store.discard_unfinished(-3600) == 0

    def test_a_creator_tells_whether_it_created(self, store):
        """The first creator of a path creates it, the second leaves it as it is; before the end of its block nothing is told."""
        with store.creator("shard") as first:
            first.write(b"first")
            with pytest.raises(RuntimeError):
                bool(first.created)
        with store.creator("shard") as second:
            second.write(b"second")
        assert first.created
        assert not second.created
        assert store.read("shard") == b"first"

    def test_writers_take_whatever_has_bytes(self, store):
        """bytes, bytearray, memoryviews of any type and Arrow buffers are all written as their bytes."""
        numbers = pa.array([1, 2, 3], pa.int32()).buffers()[1]
        reused = bytearray(b"abc")
        with store.writer("x") as writer:
            writer.write(reused)
            reused[:] = b"xyz"
            writer.write(memoryview(numbers).cast("B").cast("i"))
            writer.write(numbers)
        assert store.read("x") == b"abc" + numbers.to_pybytes() * 2

    def test_lists_are_sorted_and_complete(self, store):
        """A listing has every object below a folder once, sorted by its whole path, and nothing of neighbours with a longer name."""
        paths = sorted(["a/b", "a-b", "a/b-c/d", "a/b/c" if store.kind != "local" else "a/bb/c", "a.x", "a/B", "a/é", "a0/z", "z"])
        for path in reversed(paths):
            store.create(path, path.encode())
        assert [found.path for found in store.list()] == paths
        assert [found.path for found in store.list("a")] == [path for path in paths if path.startswith("a/")]
        assert [found.path for found in store.list("a/")] == [path for path in paths if path.startswith("a/")]
        assert list(store.list("missing/folder")) == []

    def test_lists_of_more_than_a_page(self, store):
        """More than a thousand objects are listed over several pages and deleted in several batches."""
        paths = [f"many/{number:05d}" for number in range(1234)]
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda path: store.create(path, b""), paths))
        assert [found.path for found in store.list("many")] == paths
        assert store.delete(found.path for found in store.list("many")) == 1234
        assert list(store.list()) == []

    def test_deleting(self, store):
        """Deleting removes what is named and nothing else, and what is missing is fine."""
        for path in ("a/x", "a/y", "b"):
            store.create(path, b"")
        store.delete(["a/x", "missing", "b", "no/such/folder"])
        store.delete([])
        assert [found.path for found in store.list()] == ["a/y"]
        assert store.create("a/x", b"again")

    def test_children_are_one_level(self, store):
        """The children of a folder are its objects and its folders, and `starting` leaves out other names."""
        for path in ("f/one", "f/two/x", "f/two/y/z", "g"):
            store.create(path, b"")
        found = {item if isinstance(item, str) else (item.path,) for item in store.children("f")}
        assert found == {("f/one",), "f/two"}
        assert list(store.children("f", "t")) == ["f/two"]
        assert list(store.children("nowhere")) == []

    def test_names_that_no_store_keeps_are_refused(self, store):
        """Absolute paths, empty parts and dots are refused before anything is written."""
        for path in ("", "/absolute", "a//b", "../outside", "a/./b", "a\0b"):
            for call in (lambda p: store.create(p, b""), lambda p: store.replace(p, b"", etag=None)):
                with pytest.raises(StorageError):
                    call(path)
            with pytest.raises(StorageError), store.writer(path):
                pass
        assert list(store.list()) == []

    def test_a_pickled_store_is_the_same_store(self, store):
        """A copy by pickle reads what the original wrote (in the same process, for memory)."""
        store.create("x", b"1")
        copy = pickle.loads(pickle.dumps(store))
        assert copy.read("x") == b"1"
        assert (copy.uri, copy.kind) == (store.uri, store.kind)

    def test_the_check_passes_and_leaves_nothing(self, store):
        """A sound store passes the start-up check, twice, and has no object more than before."""
        store.check()
        store.check()
        assert list(store.list()) == []

    def test_bytes_are_counted(self, store):
        """The counters say how many bytes went each way."""
        store.create("x", b"12345")
        with store.writer("y") as writer:
            writer.write(b"67")
        store.read("x")
        store.read_range("x", 1, 3)
        assert (store.stats.bytes_written, store.stats.bytes_read) == (7, 7)
        assert store.stats.requests >= 4


class TestLocal:
    def test_a_kill_leaves_no_object(self, tmp_path):
        """What a writer left that never finished is not listed, and is removed once it is old enough."""
        store = open_store(str(tmp_path))
        killed = store._upload("x", conditional=False)
        killed.write(memoryview(b"half"))
        killed._file.close()
        assert list(store.list()) == []
        assert store.discard_unfinished(3600) == 0
        assert store.discard_unfinished(-60) == 1

    def test_a_full_disk_is_said(self, tmp_path, monkeypatch):
        """ENOSPC is one clear error, and nothing stays behind."""
        store = open_store(str(tmp_path))

        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="no space is left"):
            store.create("x", b"1")
        with pytest.raises(StorageError, match="no space is left"), store.writer("y") as writer:
            writer.write(b"1")
        monkeypatch.undo()
        assert list(store.list()) == []
        assert store.discard_unfinished(-60) == 0

    def test_without_hard_links_creation_is_still_exclusive(self, tmp_path, monkeypatch):
        """Where links are refused, the rename that does not replace decides; where that fails too, the store is unsafe."""

        def refused(*_: object) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refused)
        store = open_store(str(tmp_path))
        store.check()
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(lambda me: store.create("race", b"%d" % me), range(8))) == 1
        monkeypatch.setattr(storage_local.ctypes, "CDLL", lambda *_, **__: object())
        with pytest.raises(UnsafeStore, match="hard links"):
            store.check()

    def test_a_repeated_link_request_is_still_ours(self, tmp_path, monkeypatch):
        """NFS may tell the winner of a creation that the name exists; that it has two names shows that it won."""
        real = os.link

        def answered_twice(source: str, target: str) -> None:
            real(source, target)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

        monkeypatch.setattr(os, "link", answered_twice)
        assert open_store(str(tmp_path)).create("x", b"1")

    def test_deleting_removes_empty_folders_while_others_write(self, tmp_path):
        """Folders that become empty vanish, and writers into them do not fail for that."""
        store = open_store(str(tmp_path))

        def churn(me: int) -> int:
            for number in range(100):
                assert store.create(f"deep/er/{me}-{number}", b"")
                store.delete([f"deep/er/{me}-{number}"])
            return 100

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(churn, range(4))) == 400
        assert not (tmp_path / "deep").exists()

    def test_links_are_followed_but_not_in_circles(self, tmp_path):
        """Links to files and folders are listed as what they name, a circle ends, and a link to nothing is an error."""
        store = open_store(str(tmp_path / "root"))
        store.create("real/file", b"1")
        (tmp_path / "root/linked").symlink_to(tmp_path / "root/real")
        (tmp_path / "root/real/up").symlink_to(tmp_path / "root")
        assert next(store.list("linked")).path == "linked/file"
        assert len(list(store.list())) < 10
        (tmp_path / "root/gone").symlink_to(tmp_path / "nothing")
        with pytest.raises(NotFound, match="gone"):
            list(store.list())

    def test_no_permission_is_said(self, tmp_path, monkeypatch):
        """A refused write is AccessDenied, which is not retried."""

        def refused(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        store = open_store(str(tmp_path))
        store.create("x", b"1")
        monkeypatch.setattr(os, "link", refused)
        with pytest.raises(AccessDenied, match="permission denied"):
            store.create("y", b"1")

    def test_a_file_where_a_folder_should_be(self, tmp_path):
        """Writing below a file is one clear error."""
        store = open_store(str(tmp_path))
        store.create("a", b"1")
        with pytest.raises(StorageError, match="is a file"):
            store.create("a/b", b"1")


@pytest.fixture
def proxied(s3_server, fault_proxy) -> tuple[S3Store, FaultProxy]:
    """An S3 store behind a proxy that breaks requests by rule; its retries do not wait."""
    store = open_store(f"s3://{s3_server.make_bucket()}/p", fault_proxy.options)
    hurried(store)
    assert isinstance(store, S3Store)
    return store, fault_proxy


class TestS3Faults:
    def test_storms_pass(self, proxied):
        """503, cut connections and 500 in a third of all requests change nothing but the counters."""
        store, proxy = proxied
        for action, seed in (("refuse", 1), ("cut_before", 2), ("cut_after", 3)):
            proxy.add(action, probability=0.12, seed=seed)
        for number in range(40):
            assert store.create(f"o/{number}", b"%d" % number)
            assert store.read(f"o/{number}") == b"%d" % number
        assert len(list(store.list())) == 40
        etag = store.replace("m", b"0", etag=None)
        for number in range(20):
            etag = store.replace("m", b"%d" % number, etag=etag)
        store.delete([f"o/{number}" for number in range(40)])
        assert [found.path for found in store.list()] == ["m"]
        assert store.stats.retries > 10
        assert store.stats.throttled > 5

    def test_a_lost_answer_to_our_own_creation_is_a_success(self, proxied):
        """When the first put happened and its answer was lost, the refusal of the second is recognised as our own."""
        store, proxy = proxied
        proxy.add("cut_after", method="PUT", times=1)
        assert store.create("record", b"mine")
        assert [method for method, _ in proxy.seen] == ["PUT", "PUT", "HEAD"]

    def test_a_lost_answer_does_not_steal_another_creation(self, proxied, s3_server):
        """When the first put was lost on its way and another's happened meanwhile, ours is refused, even with the same bytes."""
        store, proxy = proxied
        other = open_store(store.uri, s3_server.options)
        proxy.add("cut_before", method="PUT", times=1, hook=lambda *_: other.create("record", b"same"))
        assert not store.create("record", b"same")

    def test_a_lost_answer_to_our_own_swap_is_a_success(self, proxied):
        """The swap happened once, its answer was lost, and its repetition is recognised."""
        store, proxy = proxied
        etag = store.replace("m", b"1", etag=None)
        proxy.add("cut_after", method="PUT", times=1)
        new = store.replace("m", b"2", etag=etag)
        assert store.read_versioned("m") == (b"2", new)

    def test_no_answer_at_all_is_commit_unknown(self, proxied):
        """When neither the put nor a look at the object is answered, the commit is unknown, not failed."""
        store, proxy = proxied
        proxy.add("cut_after")
        with pytest.raises(CommitUnknown, match="may or may not"):
            store.create("record", b"mine")
        proxy.clear()
        assert store.read("record") == b"mine"

    def test_puts_that_may_still_arrive_are_commit_unknown(self, proxied):
        """Every put was cut off and nothing is there: a put may still be on its way, so nothing is certain."""
        store, proxy = proxied
        proxy.add("cut_before", method="PUT")
        for call in (lambda: store.create("record", b"x"), lambda: store.replace("record", b"x", etag="00")):
            with pytest.raises(CommitUnknown):
                call()

    def test_puts_that_were_refused_are_not_unknown(self, proxied):
        """503 to every try says that nothing happened: Throttled, after all tries, with waits that grow."""
        store, proxy = proxied
        waits = hurried(store)
        store.backoff.jitter = lambda: 1.0
        proxy.add("refuse")
        with pytest.raises(Throttled, match="slow down"):
            store.create("record", b"x")
        assert waits == [0.1 * 2**n for n in range(7)]
        assert len(proxy.seen) == 8

    def test_the_last_try_can_settle(self, proxied):
        """Every answer to the puts was lost, but the object says that it is ours."""
        store, proxy = proxied
        proxy.add("cut_after", method="PUT")
        assert store.create("record", b"mine")

    def test_retry_after_is_honoured(self, proxied):
        """The store's own word on how long to wait beats a shorter backoff."""
        store, proxy = proxied
        waits = hurried(store)
        store.create("x", b"1")
        proxy.add("refuse", status=429, code="TooManyRequests", times=1, retry_after="7")
        assert store.read("x") == b"1"
        assert waits == [7.0]

    def test_a_store_that_ignores_conditions_is_refused(self, proxied):
        """A store that overwrites what it was asked to create, or swaps whatever is there, does not pass the check."""
        store, proxy = proxied
        proxy.add("ignore_conditions", method="PUT")
        with pytest.raises(UnsafeStore, match="If-None-Match"):
            store.check()
        proxy.clear()
        creations = itertools.count()
        # Two creations keep their condition, what follows them loses it.
        proxy.add("forward", method="PUT", times=2, hook=lambda *_: next(creations))
        proxy.add("ignore_conditions", method="PUT")
        with pytest.raises(UnsafeStore, match="If-Match"):
            store.check()
        assert list(store.list()) == []

    def test_a_store_that_does_not_know_conditions_is_refused(self, proxied):
        """501 to a conditional put is an unsafe store, said at once."""
        store, proxy = proxied
        proxy.add("refuse", method="PUT", status=501, code="NotImplemented")
        with pytest.raises(UnsafeStore, match="NotImplemented"):
            store.check()
        assert store.stats.retries == 0

    def test_a_store_that_ignores_if_match_cannot_fool_a_read(self, proxied):
        """The etag of the answer itself is compared too."""
        store, proxy = proxied
        store.create("x", b"1")
        proxy.add("ignore_conditions", method="GET")
        with pytest.raises(InputChanged):
            store.read("x", etag="0000")

    def test_no_permission_is_not_retried(self, proxied):
        """403 is AccessDenied at once, with the names of the variables to set and no value of them."""
        store, proxy = proxied
        proxy.add("refuse", status=403, code="AccessDenied")
        with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID") as caught:
            store.create("x", b"1")
        assert "'test'" not in str(caught.value)
        assert len(proxy.seen) == 1

    def test_no_server_is_unavailable(self):
        """A refused connection is retried and then Unavailable; nothing was sent, so no commit is unknown."""
        store = open_store("s3://bucket", {"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s"})
        waits = hurried(store, tries=3)
        with pytest.raises(Unavailable):
            store.create("x", b"1")
        assert len(waits) == 2

    def test_a_missing_bucket_is_said(self, s3_server):
        """Writing to a bucket that does not exist names the remedy."""
        with pytest.raises(NotFound, match="no such bucket"):
            open_store("s3://no-such-bucket-here", s3_server.options).check()

    def test_deletes_one_by_one_where_batches_are_not_known(self, proxied):
        """A store that refuses DeleteObjects gets single deletes."""
        store, proxy = proxied
        for path in ("a", "b"):
            store.create(path, b"")
        proxy.add("refuse", method="POST", status=400, code="MissingContentMD5")
        assert store.delete(["a", "b", "c"]) == 3
        assert list(store.list()) == []


@pytest.fixture
def _small_parts(monkeypatch):
    monkeypatch.setattr(storage_s3_upload, "PART_BYTES", 5 << 20)  # the least that S3 takes


@pytest.mark.usefixtures("_small_parts")
class TestS3Multipart:
    content = os.urandom(1 << 20) * 17

    def write(self, store, path="big", *, opened="creator"):
        with getattr(store, opened)(path) as writer:
            for start in range(0, len(self.content), 700_000):
                writer.write(self.content[start : start + 700_000])
        return writer

    def test_large_objects_go_up_in_parts(self, proxied):
        """A large object is sent in parts, reads back whole, and leaves no unfinished upload."""
        store, proxy = proxied
        self.write(store, opened="writer")
        assert store.read("big") == self.content
        assert len([target for method, target in proxy.seen if method == "PUT" and "partNumber" in target]) == 4
        assert store.discard_unfinished(-3600) == 0

    def test_a_creator_in_parts_does_not_overwrite(self, proxied):
        """A creator whose path was taken while it wrote is refused by the completion, and its parts are gone."""
        store, proxy = proxied
        proxy.add("forward", method="POST", matching="uploadId", times=1, hook=lambda *_: store.create("big", b"first"))
        assert not self.write(store).created
        assert store.read("big") == b"first"
        assert store.discard_unfinished(-3600) == 0

    def test_lost_answers_to_the_completion(self, proxied):
        """The completion happened and its answer was lost: the repetition is refused or finds no upload, and is still a success."""
        store, proxy = proxied
        for opened in ("creator", "writer"):
            proxy.add("cut_after", method="POST", matching="uploadId", times=1)
            writer = self.write(store, opened, opened=opened)
            assert store.read(opened) == self.content
            assert opened == "writer" or writer.created

    def test_storms_while_uploading(self, proxied):
        """Parts that fail are sent again, and the object is right."""
        store, proxy = proxied
        proxy.add("refuse", method="PUT", probability=0.3, seed=5)
        proxy.add("cut_after", method="PUT", probability=0.3, seed=6)
        assert self.write(store).created
        assert store.read("big") == self.content

    def test_a_failure_in_the_block_aborts(self, proxied):
        """An upload whose block raises is aborted, and no object appears."""
        store, _ = proxied
        with pytest.raises(ZeroDivisionError), store.writer("big") as writer:  # noqa: PT012 - the block is what is tested
            writer.write(self.content)
            raise ZeroDivisionError
        assert not store.exists("big")
        assert store.discard_unfinished(-3600) == 0

    def test_a_part_that_cannot_be_sent_fails_the_block(self, proxied):
        """A part that is refused for good is raised to the writer, and the upload is aborted."""
        store, proxy = proxied
        proxy.add("refuse", method="PUT", matching="partNumber=2", status=403, code="AccessDenied")
        with pytest.raises(AccessDenied):
            self.write(store)
        assert store.discard_unfinished(-3600) == 0

    def test_uploads_of_killed_writers_are_found(self, proxied):
        """An upload that nobody finished is no object, and is aborted when it is old."""
        store, _ = proxied
        upload = store._upload("big", conditional=False)
        upload.write(memoryview(self.content))
        upload._close()
        assert list(store.list()) == []
        assert store.discard_unfinished(60) == 1  # moto says of every upload that it is years old


@pytest.fixture(params=KINDS)
def sources(request, tmp_path):
    """Sources, the URI of an empty place, and a function that puts an object there."""
    if request.param == "local":
        root, options = str(tmp_path / "in put"), {}
    elif request.param == "memory":
        root, options = f"memory://{uuid.uuid4().hex}/in put", {}
    else:
        server = request.getfixturevalue("s3_server")
        root, options = f"s3://{server.make_bucket()}/in put", server.options
    store = open_store(root, options)
    return Sources(options), root, store


TREE = [
    "a.jsonl",
    "b.parquet",
    "dump=1/x.parquet",
    "dump=1/sub/y.parquet",
    "dump=2/x.parquet",
    "_hidden/h.parquet",
    "dump=2/.tmp",
    "w[1]?.txt",
]


class TestSources:
    def fill(self, store):
        for path in TREE:
            store.create(path, path.encode())

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("", ["a.jsonl", "b.parquet", "dump=1/sub/y.parquet", "dump=1/x.parquet", "dump=2/x.parquet", "w[1]?.txt"]),
            ("/dump=1", ["dump=1/sub/y.parquet", "dump=1/x.parquet"]),
            ("/dump=1/", ["dump=1/sub/y.parquet", "dump=1/x.parquet"]),
            ("/*", ["a.jsonl", "b.parquet", "w[1]?.txt"]),
            ("/*.parquet", ["b.parquet"]),
            ("/*/x.parquet", ["dump=1/x.parquet", "dump=2/x.parquet"]),
            ("/dump=?/*.parquet", ["dump=1/x.parquet", "dump=2/x.parquet"]),
            ("/dump=[!1]/*", ["dump=2/x.parquet"]),
            ("/dump=*/", ["dump=1/sub/y.parquet", "dump=1/x.parquet", "dump=2/x.parquet"]),
            ("/**/*.parquet", ["b.parquet", "dump=1/sub/y.parquet", "dump=1/x.parquet", "dump=2/x.parquet"]),
            ("/**/sub/", ["dump=1/sub/y.parquet"]),
            ("/dump=1/**", ["dump=1/sub/y.parquet", "dump=1/x.parquet"]),
            ("/**/sub/*", ["dump=1/sub/y.parquet"]),
            ("/_hidden/h.parquet", ["_hidden/h.parquet"]),
            ("/_hidden", ["_hidden/h.parquet"]),
            ("/_*/*", ["_hidden/h.parquet"]),
            ("/dump=2/.*", ["dump=2/.tmp"]),
            ("/w[1]?.txt", ["w[1]?.txt"]),
        ],
    )
    def test_patterns(self, sources, pattern, expected):
        """Files, folders and globs name the files that they should, the hidden ones only when spelt out."""
        found, root, store = sources
        self.fill(store)
        assert [source.uri for source in found.find([root + pattern])] == [f"{root}/{path}" for path in expected]

    def test_several_patterns_make_one_sorted_list(self, sources):
        """Patterns that overlap name each file once."""
        found, root, store = sources
        self.fill(store)
        uris = [source.uri for source in found.find([f"{root}/dump=2/x.parquet", f"{root}/**/x.parquet"])]
        assert uris == [f"{root}/dump=1/x.parquet", f"{root}/dump=2/x.parquet"]

    def test_a_pattern_without_a_file_is_named(self, sources):
        """The error names the pattern that matched nothing, not the one that matched."""
        found, root, store = sources
        self.fill(store)
        with pytest.raises(InputError, match="nothing") as caught:
            found.find([f"{root}/*.parquet", f"{root}/nothing/*.parquet"])
        assert f"{root}/*.parquet," not in str(caught.value)

    def test_reading_with_the_listed_etag(self, sources):
        """What was found is read by its URI; once it changed or vanished, that is InputChanged, also after pickling."""
        found, root, store = sources
        self.fill(store)
        (source,) = found.find([f"{root}/dump=1/x.parquet"])
        found = pickle.loads(pickle.dumps(found))
        assert found.info(source.uri) == source
        assert found.read(source.uri, etag=source.etag) == b"dump=1/x.parquet"
        assert found.read_range(source.uri, 5, 6, etag=source.etag) == b"1"
        assert found.stats.bytes_read == 17
        store.delete(["dump=1/x.parquet"])
        with pytest.raises(InputChanged):
            found.read(source.uri, etag=source.etag)
        with pytest.raises(NotFound):
            found.read(source.uri)
        store.create("dump=1/x.parquet", b"something else")
        with pytest.raises(InputChanged):
            found.read_range(source.uri, 0, 1, etag=source.etag)

    def test_local_paths_become_absolute(self, tmp_path, monkeypatch):
        """Relative paths and file:// URIs are the absolute path that they mean."""
        (tmp_path / "x.txt").write_bytes(b"1")
        monkeypatch.chdir(tmp_path)
        assert Sources().find(["x.txt", "./*.txt", f"file://{tmp_path}/x.txt"])[0].uri == str(tmp_path / "x.txt")
        assert len(Sources().find(["x.txt", "./*.txt", f"file://{tmp_path}/x.txt"])) == 1

    def test_globs_do_not_list_the_whole_bucket(self, s3_server, fault_proxy):
        """Only folders that match are listed, and by the letters before the first wildcard."""
        store = open_store(f"s3://{s3_server.make_bucket()}", s3_server.options)
        for path in ("crawl/2024-10/wet/a.gz", "crawl/2024-18/wet/b.gz", "crawl/2019/wet/c.gz", "other/x"):
            store.create(path, b"")
        assert len(Sources(fault_proxy.options).find([f"{store.uri}/crawl/2024-*/wet/*.gz"])) == 2
        listed = [target for _, target in fault_proxy.seen if "list-type" in target]
        assert len(listed) == 3
        assert not [target for target in listed if "2019" in target or "prefix=&" in target]

    def test_http_is_read(self, tmp_path):
        """A plain HTTP server is read whole and by ranges, with its etag; it is refused as an output."""
        (tmp_path / "b").mkdir()
        (tmp_path / "b/x.bin").write_bytes(bytes(range(200)))
        with RangeServer(tmp_path) as server:
            uri = f"{server.endpoint}/b/x.bin"
            found = Sources()
            (source,) = found.find([uri])
            assert (source.uri, source.size) == (uri, 200)
            assert found.read(uri, etag=source.etag) == bytes(range(200))
            assert found.read_range(uri, 3, 5, etag=source.etag) == b"\3\4"
            with pytest.raises(InputError):
                found.read_range(uri, 190, 210)
            (tmp_path / "b/x.bin").write_bytes(b"other")
            with pytest.raises(InputChanged):
                Sources().read(uri, etag=source.etag)
            with pytest.raises(NotFound):
                found.read(f"{server.endpoint}/b/missing")
            with pytest.raises(UnsafeStore, match="output"):
                open_store(f"{server.endpoint}/b").check()

    def test_an_unknown_kind_of_uri_is_a_config_error(self):
        """A scheme that nothing reads is said, as are storage options that no client knows."""
        with pytest.raises(ConfigError, match="nosuch"):
            Sources().find(["nosuch://x/y"])
        with pytest.raises(ConfigError, match="endpoint_urll"):
            Sources({"endpoint_urll": "http://x"}).find(["s3://b/y"])


class TestRangeServer:
    def test_it_is_a_store(self, tmp_path):
        """The static server lists over pages, heads, and reads ranges with conditions as S3 does, and counts the bytes."""
        (tmp_path / "b/f").mkdir(parents=True)
        for number in range(1100):
            (tmp_path / f"b/f/{number:04d}").write_bytes(b"%04d" % number)
        with RangeServer(tmp_path) as server:
            store = open_store("s3://b", server.options)
            listed = list(store.list("f"))
            assert [found.path for found in listed] == [f"f/{number:04d}" for number in range(1100)]
            assert list(store.children("")) == ["f"]
            assert store.info("f/0007") == listed[7]
            assert server.counts["LIST"] == 3
            assert store.read_range("f/0007", 2, 4, etag=listed[7].etag) == b"07"
            assert server.counts["bytes"] == 2
            with pytest.raises(InputChanged):
                store.read_range("f/0007", 2, 4, etag=listed[8].etag)
            with pytest.raises(NotFound):
                store.read("f/none")


class TestRetryable:
    def test_by_code_status_and_errno(self):
        """What may pass is told by service code, HTTP status and errno, also behind s3fs's wrapping."""

        def answered(code: str, status: int) -> Exception:
            return botocore.exceptions.ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")

        wrapped = OSError(errno.EIO, "x")
        wrapped.__cause__ = answered("SlowDown", 503)
        passing = [
            answered("SlowDown", 503),
            answered("Unheard", 502),
            answered("RequestTimeTooSkewed", 403),
            answered("ConditionalRequestConflict", 409),
            answered("429", 429),
            wrapped,
            TimeoutError(),
            ConnectionResetError(errno.ECONNRESET, "x"),
            OSError(errno.ESTALE, "x"),
            Throttled("x"),
            Unavailable("x"),
        ]
        lasting = [
            answered("AccessDenied", 403),
            answered("NoSuchKey", 404),
            answered("PreconditionFailed", 412),
            answered("NotImplemented", 501),
            FileNotFoundError(errno.ENOENT, "x"),
            OSError(errno.ENOSPC, "x"),
            botocore.exceptions.NoCredentialsError(),
            ValueError("x"),
            NotFound("x"),
            CommitUnknown("x"),
        ]
        assert [error for error in passing if not retryable(error)] == []
        assert [error for error in lasting if retryable(error)] == []

    def test_mistakes_of_ours_are_not_wrapped(self, tmp_path):
        """An error that is not about storage leaves the loop as it is."""
        store = open_store(str(tmp_path))
        with pytest.raises(ZeroDivisionError):
            store.backoff.run("x", lambda: 1 // 0)

    def test_missing_credentials_are_said(self, s3_server, monkeypatch):
        """Without credentials the error says which variables to set."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        with pytest.raises(AccessDenied, match="AWS_SECRET_ACCESS_KEY"):
            open_store("s3://b", s3_server.options).read("x")


class TestSecrets:
    def test_they_are_not_shown(self, s3_server):
        """Neither a store's repr nor its URI nor its errors show keys or a password of a URI."""
        store = open_store("s3://b/p", {"key": "AKIASECRET", "secret": "VERYSECRET", **s3_server.options})
        assert "SECRET" not in repr(store) + store.uri
        web = open_store("http://user:VERYSECRET@host/x?token=VERYSECRET")
        assert "SECRET" not in repr(web) + web.uri
        sources = Sources({"key": "AKIASECRET", "secret": "VERYSECRET", **s3_server.options})
        with pytest.raises(InputError) as caught:
            sources.find([f"s3://{s3_server.make_bucket()}/x"])
        assert "SECRET" not in repr(sources) + str(caught.value)


def test_an_access_point_is_a_bucket():
    """The ARN of an access point stands where a bucket does; its first part of the path belongs to it."""
    store = open_store("s3://arn:aws:s3:us-west-2:123456789012:accesspoint/mine/some/prefix")
    assert isinstance(store, S3Store)
    assert (store.bucket, store.locate("x")) == ("arn:aws:s3:us-west-2:123456789012:accesspoint/mine", f"{store.uri}/x")


def test_local_storage_does_not_wait_for_s3_clients():
    """Importing storage and using a local store loads no S3 client, which takes half a second."""
    code = "import sys, pipelines.storage as s; s.open_store('/tmp').exists('x'); sys.exit('aiobotocore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


def test_paths_are_plain(tmp_path):
    """A store on a local path has the absolute path as its URI."""
    assert open_store(f"file://{tmp_path}/x").uri == str(Path(tmp_path) / "x")
