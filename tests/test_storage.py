"""The contract of stores, over every kind of store, and what only local files can do wrong."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import storage_local
from pipelines.errors import (
    AccessDenied,
    Conflict,
    InputChanged,
    InputError,
    NotFound,
    StorageError,
    UnsafeStore,
)
from pipelines.storage import Store, open_store

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

    def test_processes_race_like_threads(self, tmp_path):
        """Of several processes one creates each record, and no increment of a counter by compare-and-swap is lost."""
        store = open_store(str(tmp_path))
        store.create("counter", b"0")
        program = """
import sys
from pipelines.errors import Conflict
from pipelines.storage import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(sum(store.create(f"race/{number}", sys.argv[2].encode()) for number in range(60)))
for _ in range(100):
    while True:
        content, etag = store.read_versioned("counter")
        try:
            store.replace("counter", b"%d" % (int(content) + 1), etag=etag)
            break
        except Conflict:
            pass
"""
        root = Path(__file__).parent.parent
        command = [sys.executable, "-c", program, str(tmp_path)]
        processes = [subprocess.Popen([*command, str(me)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for me in range(3)]
        assert all(process.stdout.readline() == b"ready\n" for process in processes)
        for process in processes:
            process.stdin.write(b"go\n")
            process.stdin.flush()
        assert sum(int(process.communicate()[0]) for process in processes) == 60
        assert store.read("counter") == b"300"

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


def test_paths_are_plain(tmp_path):
    """A store on a local path has the absolute path as its URI."""
    assert open_store(f"file://{tmp_path}/x").uri == str(Path(tmp_path) / "x")


def test_local_storage_does_not_wait_for_s3_clients():
    """Importing storage and using a local store loads no S3 client, which takes half a second."""
    code = "import sys, pipelines.storage as s; s.open_store('/tmp').exists('x'); sys.exit('aiobotocore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
