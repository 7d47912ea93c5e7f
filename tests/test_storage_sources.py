"""Inputs: which files a pattern names, and that what is read is what was listed."""

from __future__ import annotations

import pickle
import uuid

import pytest
from servers import RangeServer

from pipelines.errors import (
    ConfigError,
    InputChanged,
    InputError,
    NotFound,
    UnsafeStore,
)
from pipelines.storage import Sources, open_store

KINDS = ["local", "memory", "s3"]


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
