"""Reading documents: every row exactly once, as a document or as damage, whatever the slices, batch sizes and places."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import OPTIONS, outcome, read_path, text_table, whole
from servers import RangeServer

from pipelines import formats_jsonl, formats_parquet
from pipelines.errors import InputChanged, InputError, Unavailable
from pipelines.formats import Documents, ReadOptions, Slice, format_of, read
from pipelines.inventory import take_inventory
from pipelines.storage import Sources, open_store

SLOW_OK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def cut(draw, groups):
    """Slices that cover every row of every group, in order, cut at random places."""
    slices = []
    for file, index, rows in groups:
        bounds = sorted({0, rows, *draw(st.lists(st.integers(0, rows), max_size=3))})
        slices += [Slice(file, index, start, stop) for start, stop in pairwise(bounds)]
    return slices


def groups_of(inventory):
    files = [inventory.file(ordinal) for ordinal in range(inventory.num_files)]
    return [(file, index, group.rows) for file in files for index, group in enumerate(file.row_groups)]


tables = st.lists(
    st.tuples(st.text(max_size=30), st.one_of(st.none(), st.integers(-5, 5)), st.lists(st.text(max_size=3), max_size=3)),
    min_size=1,
    max_size=60,
).map(
    lambda rows: pa.table(
        {
            "text": pa.array([row[0] for row in rows], pa.large_string()),
            "number": pa.array([row[1] for row in rows], pa.int32()),
            "tags": pa.array([row[2] for row in rows], pa.list_(pa.string())),
            "meta": pa.array([{"a": row[1], "b": row[0]} for row in rows], pa.struct([("a", pa.int64()), ("b", pa.string())])),
            "kind": pa.array([row[0][:1] for row in rows]).dictionary_encode(),
        }
    )
)


class TestParquetLaw:
    @SLOW_OK
    @given(
        data=st.data(), table=tables, rows_per_group=st.integers(1, 30), batch_bytes=st.sampled_from([1, 300, 5000, 1 << 20]),
        place=st.sampled_from(["local", "memory"]), giant=st.booleans(), pages=st.sampled_from([100, 1000, 1 << 20]),
    )  # fmt: skip
    def test_reading_gives_the_table_back_for_any_cut(
        self, data, table, rows_per_group, batch_bytes, place, giant, pages, tmp_path, monkeypatch
    ):
        """Concatenated documents equal the table, with rows counted from 0, for any row groups, slices and batch sizes, near and far."""
        monkeypatch.setattr(formats_parquet, "GIANT_BYTES", 0 if giant else 1 << 30)
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=rows_per_group, data_page_size=pages)
        root = f"memory://law-{os.getpid()}" if place == "memory" else str(tmp_path)
        with open_store(root).writer("a.parquet") as writer:
            writer.write(sink.getvalue())
        sources = Sources()
        inventory = take_inventory(sources, [f"{root}/a.parquet"], OPTIONS)
        found = outcome(sources, inventory, cut(data.draw, groups_of(inventory)), batch_bytes)
        plain = table.set_column(4, "kind", table.column("kind").cast(pa.string()))
        assert list(found.documents.values()) == plain.to_pylist()
        assert found.order == [(0, row) for row in range(table.num_rows)]

    def test_batches_are_bounded_by_bytes(self, tmp_path):
        """A batch has at most about batch_bytes, and is not much smaller than needed."""
        pq.write_table(text_table(5000), tmp_path / "a.parquet", row_group_size=2500)
        _, found = read_path(tmp_path / "a.parquet", batch_bytes=50_000)
        assert max(size for _, size in found.batch_sizes) <= 1.3 * 50_000
        assert len(found.batch_sizes) <= 3 * sum(size for _, size in found.batch_sizes) / 50_000

    def test_a_document_larger_than_a_batch_is_a_batch_of_its_own(self, tmp_path):
        """One row of 5 MB is read with batches of 64 KiB."""
        pq.write_table(pa.table({"text": ["a", "b" * 5_000_000, "c"]}), tmp_path / "a.parquet")
        _, found = read_path(tmp_path / "a.parquet", batch_bytes=1 << 16)
        assert [len(text) for text in found.texts] == [1, 5_000_000, 1]

    def test_repeated_long_values_are_decoded_in_few_rows(self, tmp_path):
        """A column that is one long value in a dictionary does not decode to gigabytes at once."""
        table = pa.table({"text": pa.array(["x" * 900_000] * 1000).dictionary_encode()})
        pq.write_table(table, tmp_path / "a.parquet")
        sources = Sources()
        inventory = take_inventory(sources, [str(tmp_path / "a.parquet")], OPTIONS)
        sizes = []
        for item in read(sources, whole(inventory), inventory.schema, OPTIONS, 16 << 20):
            sizes.append(len(item.rows))
            assert item.batch.nbytes <= 21 << 20
        assert sum(sizes) == 1000


@pytest.fixture
def bucket(tmp_path):
    """A folder served over HTTP with ranges, and sources that read it."""
    folder = tmp_path / "served" / "bucket"
    folder.mkdir(parents=True)
    with RangeServer(folder.parent) as server:
        yield folder, server, Sources(server.options)


class FailingSources(Sources):
    """Sources that fail for bytes from some place on."""

    failing_from = 1 << 60

    def read_range(self, uri, start, stop, *, etag=None):
        if self.failing_from <= start and stop - start > 1 << 16:
            raise Unavailable("gone for a while")
        return super().read_range(uri, start, stop, etag=etag)


class TestRemote:
    def test_many_files_row_groups_and_a_giant_one_equal_local_reading(self, bucket, monkeypatch):
        """Files of every size, read ahead over HTTP with giant row groups planned by column, give what local reading gives."""
        folder, _, sources = bucket
        monkeypatch.setattr(formats_parquet, "GIANT_BYTES", 6 << 20)
        noise = [os.urandom(700).hex() for _ in range(9000)]
        pq.write_table(pa.table({"id": range(9000), "text": noise, "more": noise[::-1]}), folder / "giant.parquet", use_dictionary=False)
        pq.write_table(text_table(3000), folder / "groups.parquet", row_group_size=500)
        for number in range(5):
            pq.write_table(text_table(10 + number), folder / f"small-{number}.parquet")
        (folder / "x.jsonl.gz").write_bytes(gzip.compress(b'{"text":"a","id":"1"}\n' * 100))
        inventory = take_inventory(sources, ["s3://bucket/*"], OPTIONS)
        local = take_inventory(Sources(), [str(folder)], OPTIONS)
        assert inventory.rows == local.rows
        assert outcome(sources, inventory).documents == outcome(Sources(), local).documents

    def test_a_unit_takes_few_requests(self, bucket):
        """A small file costs one request, a large one one a block, and no byte range is asked for twice."""
        folder, server, sources = bucket
        for number in range(4):
            pq.write_table(text_table(2000), folder / f"{number}.parquet", row_group_size=500)
        inventory = take_inventory(sources, ["s3://bucket/*"], OPTIONS)
        server.counts.clear()
        outcome(sources, inventory)
        assert server.counts["requests"] == 4
        assert server.counts["bytes"] == inventory.num_bytes

    @pytest.mark.parametrize("giant", [False, True])
    def test_units_of_one_file_ask_for_its_footer_once(self, bucket, monkeypatch, giant):
        """The first unit of a file reads its footer; those after it read their own row groups, and no byte beside them."""
        folder, server, sources = bucket
        pq.write_table(text_table(2000), folder / "a.parquet", row_group_size=500)
        inventory = take_inventory(sources, ["s3://bucket/*"], OPTIONS)
        monkeypatch.setattr(formats_parquet, "GIANT_BYTES", 0 if giant else 1 << 30)
        found = {}
        for number, piece in enumerate(whole(inventory)):
            server.counts.clear()
            found |= outcome(sources, inventory, [piece]).documents
            if number:
                assert server.counts["bytes"] == piece.file.row_groups[piece.row_group].length
        assert found == outcome(Sources(), take_inventory(Sources(), [str(folder)], OPTIONS)).documents
        pq.write_table(text_table(2001), folder / "a.parquet", row_group_size=500)
        with pytest.raises(InputChanged):
            outcome(sources, inventory, whole(inventory)[1:2])

    def test_stopping_early_gives_up_what_was_planned(self, bucket):
        """Closing the reader after one batch leaves most of a large input unread."""
        folder, server, sources = bucket
        for number in range(40):
            noise = np.frombuffer(os.urandom(3_000_000), np.uint8)
            pq.write_table(
                pa.table({"text": [noise[i : i + 3000].tobytes().hex() for i in range(0, 3_000_000, 3000)]}),
                folder / f"{number:02}.parquet",
            )
        inventory = take_inventory(sources, ["s3://bucket/*"], OPTIONS)
        server.counts.clear()
        reading = read(sources, whole(inventory), inventory.schema, OPTIONS, 1 << 20)
        next(reading)
        reading.close()
        assert 0 < server.counts["bytes"] < inventory.num_bytes

    @pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
    def test_a_store_that_fails_in_the_middle_is_an_error_not_damage(self, name):
        """An error of the store while pages or lines are read surfaces as itself; no row is called damaged for it."""
        store = open_store(f"memory://failing-{os.getpid()}")
        sink = io.BytesIO()
        pq.write_table(pa.table({"text": [os.urandom(1000).hex() for _ in range(9000)]}), sink, row_group_size=3000)
        store.create("a.parquet", sink.getvalue())
        store.create("a.jsonl", b"".join(b'{"text":"%s"}\n' % os.urandom(1000).hex().encode() for _ in range(6000)))
        sources = FailingSources()
        inventory = take_inventory(sources, [f"{store.uri}/{name}"], OPTIONS)
        sources.failing_from = 5 << 20
        items = []
        with pytest.raises(Unavailable, match="gone for a while"):
            items.extend(read(sources, whole(inventory), inventory.schema, OPTIONS, 1 << 16))
        assert all(isinstance(item, Documents) for item in items)

    def test_an_object_overwritten_after_the_inventory_is_an_error(self, bucket):
        """A changed etag raises InputChanged, for the footer and for lines alike; nothing is quarantined."""
        folder, _, sources = bucket
        pq.write_table(text_table(50), folder / "a.parquet")
        (folder / "b.jsonl").write_bytes(b'{"text":"x"}\n' * 5)
        inventory = take_inventory(sources, ["s3://bucket/*"], OPTIONS)
        pq.write_table(text_table(51), folder / "a.parquet")
        (folder / "b.jsonl").write_bytes(b'{"text":"y"}\n' * 5)
        for piece in whole(inventory):
            with pytest.raises(InputChanged):
                list(read(sources, [piece], inventory.schema, OPTIONS, 1 << 20))


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(bytes(data))


class TestDamagedParquet:
    @pytest.fixture
    def broken(self, tmp_path):
        """Three row groups of 1,000 rows in pages of some 100; a byte in the middle of the second one's text is wrong."""
        path = tmp_path / "a.parquet"
        pq.write_table(
            text_table(3000),
            path,
            row_group_size=1000,
            data_page_size=4000,
            write_page_checksum=True,
            use_dictionary=False,
            write_batch_size=50,
        )
        chunk = pq.read_metadata(path).row_group(1).column(1)
        flip(path, chunk.data_page_offset + chunk.total_compressed_size // 2)
        return path

    def test_rows_of_a_corrupt_row_group_are_damaged_once(self, broken):
        """Rows before the bad page are documents, the rest of its row group is damaged, the other row groups are whole."""
        _, found = read_path(broken)
        lost = sorted(found.errors)
        assert set(found.errors.values()) == {"corrupt_row_group"}
        assert 1000 < lost[0] < 1900
        assert lost == list(range(lost[0], 2000))

    def test_which_rows_are_lost_depends_on_nothing_but_the_file(self, broken):
        """Any batch size and any slices lose the same rows."""
        sources = Sources()
        inventory = take_inventory(sources, [str(broken)], OPTIONS)
        expected = outcome(sources, inventory).errors
        file = inventory.file(0)
        for batch_bytes in (1, 3000, 40_000, 1 << 26):
            assert outcome(sources, inventory, batch_bytes=batch_bytes).errors == expected
        for step in (37, 333, 512):
            slices = [Slice(file, g, start, min(start + step, 1000)) for start in range(0, 1000, step) for g in range(3)]
            assert outcome(sources, inventory, slices).errors == expected

    def test_the_same_rows_are_lost_far_away(self, broken, bucket):
        """Read over HTTP the damage is the same, rows and messages."""
        folder, _, sources = bucket
        (folder / "a.parquet").write_bytes(broken.read_bytes())
        inventory = take_inventory(sources, ["s3://bucket/a.parquet"], OPTIONS)
        _, local = read_path(broken)
        assert outcome(sources, inventory).damaged == local.damaged

    def test_a_local_file_that_changes_is_an_error_not_damage(self, tmp_path):
        """A file overwritten after the inventory raises InputChanged; a deleted one too."""
        path = tmp_path / "a.parquet"
        pq.write_table(text_table(2000), path, row_group_size=100)
        sources = Sources()
        inventory = take_inventory(sources, [str(path)], OPTIONS)
        reading = read(sources, whole(inventory), inventory.schema, OPTIONS, 1000)
        assert isinstance(next(reading), Documents)
        pq.write_table(text_table(2001), path, row_group_size=100)
        with pytest.raises(InputChanged, match="run again"):
            list(reading)
        path.unlink()
        with pytest.raises(InputChanged, match="gone"):
            outcome(sources, inventory)


class TestRows:
    def test_null_text_is_damage_and_empty_text_is_not(self, tmp_path):
        """Null text is quarantined with its id, row by row; the empty string is a document."""
        pq.write_table(pa.table({"id": [1, 2, 3, 4], "text": ["a", None, "", None]}), tmp_path / "a.parquet")
        _, found = read_path(tmp_path / "a.parquet")
        assert found.texts == ["a", ""]
        assert {row: (error, name) for (_, row), (error, _, name) in found.damaged.items()} == {
            1: ("null_text", "2"),
            3: ("null_text", "4"),
        }

    def test_bytes_that_are_not_utf8_are_damage_in_any_string_column(self, tmp_path):
        """Invalid UTF-8 in the text, in another string column or in a nested one takes out exactly its rows."""
        strings = lambda values: pa.array(values, pa.binary()).view(pa.string())  # noqa: E731
        table = pa.table(
            {
                "text": strings([b"ok", b"\xff", b"ok", b"ok", "grün".encode(), b"ok"]),
                "url": strings([b"u", b"u", b"\xc3", b"u", b"u", b"u"]),
                "meta": pa.StructArray.from_arrays([strings([b"m", b"m", b"m", b"\xed\xa0\x80", b"m", b"m"])], ["m"]),
            }
        )
        pq.write_table(table, tmp_path / "a.parquet", store_schema=False)
        _, found = read_path(tmp_path / "a.parquet")
        assert found.errors == {1: "invalid_utf8", 2: "invalid_utf8", 3: "invalid_utf8"}
        assert found.texts == ["ok", "grün", "ok"]

    @pytest.mark.parametrize(
        ("column", "error"),
        [({"body": ["a", "b"]}, "missing_text_column"), ({"text": [1, 2]}, "text_not_string"), ({"text": [b"a", b"b"]}, "text_not_string")],
    )
    def test_files_without_a_string_text_column_are_damage_with_ids(self, tmp_path, column, error):
        """All rows of such a file are damaged and carry their ids; a good file beside it is read."""
        pq.write_table(text_table(3), tmp_path / "a.parquet")
        pq.write_table(pa.table({"id": ["x", "y"], **column}), tmp_path / "b.parquet")
        _, found = read_path(tmp_path)
        assert len(found.documents) == 3
        assert {key: (value[0], value[2]) for key, value in found.damaged.items()} == {(1, 0): (error, "x"), (1, 1): (error, "y")}

    def test_types_are_promoted_and_missing_columns_are_null(self, tmp_path):
        """int32 beside double, string beside large_string, null beside text, a missing column, another order: one schema, equal values."""
        pq.write_table(
            pa.table({"text": ["a"], "n": pa.array([1], pa.int32()), "only": ["here"], "void": pa.nulls(1)}), tmp_path / "a.parquet"
        )
        second = {"void": ["v"], "n": [2.5], "text": pa.array(["b"], pa.large_string())}
        pq.write_table(pa.table(second), tmp_path / "b.parquet")
        inventory, found = read_path(tmp_path)
        assert inventory.schema == pa.schema(
            [("text", pa.large_string()), ("n", pa.float64()), ("only", pa.string()), ("void", pa.string())]
        )
        assert list(found.documents.values()) == [
            {"text": "a", "n": 1.0, "only": "here", "void": None},
            {"text": "b", "n": 2.5, "only": None, "void": "v"},
        ]

    def test_a_value_that_a_promotion_cannot_hold_takes_out_its_row(self, tmp_path):
        """An integer that a double cannot express is a schema_mismatch of its row alone, never a changed number."""
        pq.write_table(pa.table({"text": ["a"], "n": [0.5]}), tmp_path / "a.parquet")
        pq.write_table(pa.table({"text": ["b", "c", "d"], "n": [1, 2**60 + 1, 3]}), tmp_path / "b.parquet")
        _, found = read_path(tmp_path)
        assert {key: value[0] for key, value in found.damaged.items()} == {(1, 1): "schema_mismatch"}
        assert found.texts == ["a", "b", "d"]

    def test_a_file_whose_column_conflicts_is_damage(self, tmp_path):
        """The first file decides the type; a file whose column has no promotion to it is read as schema_mismatch."""
        pq.write_table(pa.table({"text": ["a"], "n": [1]}), tmp_path / "a.parquet")
        pq.write_table(pa.table({"text": ["b"], "n": ["one"]}), tmp_path / "b.parquet")
        inventory, found = read_path(tmp_path)
        assert inventory.schema.field("n").type == pa.int64()
        assert {key: value[0] for key, value in found.damaged.items()} == {(1, 0): "schema_mismatch"}

    def test_nested_and_binary_columns_pass_through(self, tmp_path):
        """Lists, structs, maps, binary, dates, decimals and a dictionary inside a list keep their values."""
        table = pa.table(
            {
                "text": ["a", "b"],
                "blob": [b"\xff\x00", None],
                "tags": pa.array([["x"], ["y", "x"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
                "pairs": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
                "day": pa.array([1, 2], pa.date32()),
                "price": pa.array([None, 5], pa.decimal128(9, 2)),
                "required": pa.StructArray.from_arrays([pa.array([1, 2])], fields=[pa.field("a", pa.int64(), nullable=False)]),
            }
        )
        pq.write_table(table, tmp_path / "a.parquet")
        _, found = read_path(tmp_path)
        assert list(found.documents.values()) == table.to_pylist()

    def test_path_columns_come_from_folders(self, tmp_path):
        """Values of name=value folders are added last as strings, unquoted; a file outside such a folder has null."""
        options = ReadOptions(None, "text", None, ("dump",))
        for folder in ("dump=CC%2D2024", "dump=b", "other"):
            (tmp_path / folder).mkdir()
            pq.write_table(pa.table({"text": [folder]}), tmp_path / folder / "a.parquet")
        inventory, found = read_path(tmp_path, options)
        assert inventory.schema.names == ["text", "dump"]
        assert {d["text"]: d["dump"] for d in found.documents.values()} == {"dump=CC%2D2024": "CC-2024", "dump=b": "b", "other": None}


def jsonl(tmp_path: Path, data: bytes, name: str = "a.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)

OBJECTS = st.fixed_dictionaries({"text": st.text(max_size=40)}, optional={"n": st.integers(-9, 9)})


class TestJsonl:
    @SLOW_OK
    @given(
        data=st.data(), lines=st.lists(OBJECTS, max_size=40),
        ending=st.sampled_from(["\n", "\r\n", "\n\n", " \n"]), packing=st.sampled_from(["", ".gz", ".zst"]),
        group_bytes=st.sampled_from([50, 1000, 1 << 26]), batch_bytes=st.sampled_from([1, 500, 1 << 20]),
        finished=st.booleans(), mark=st.booleans(),
    )  # fmt: skip
    def test_reading_gives_the_objects_back_for_any_cut(
        self, data, lines, ending, packing, group_bytes, batch_bytes, finished, mark, tmp_path, monkeypatch
    ):
        """Documents equal the objects for any line ends, compression, row groups, slices and batch sizes."""
        monkeypatch.setattr(formats_jsonl, "GROUP_BYTES", group_bytes)
        monkeypatch.setattr(formats_jsonl, "BLOCK_BYTES", min(group_bytes, 1 << 20))
        content = ending.join(json.dumps(line, ensure_ascii=False) for line in [{"text": "first", "n": 1}, *lines]) + ending * finished
        blob = (b"\xef\xbb\xbf" if mark else b"") + content.encode()
        pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[packing]
        path = jsonl(tmp_path, pack(blob), f"a.jsonl{packing}")
        sources = Sources()
        inventory = take_inventory(sources, [str(path)], OPTIONS)
        found = outcome(sources, inventory, cut(data.draw, groups_of(inventory)), batch_bytes)
        assert not found.damaged
        assert list(found.documents.values()) == [
            {"text": line["text"], "n": line.get("n")} for line in [{"text": "first", "n": 1}, *lines]
        ]

    @SLOW_OK
    @given(rows=st.lists(st.tuples(st.text(max_size=5), JSON_VALUES, JSON_VALUES), min_size=1, max_size=30), data=st.data())
    def test_a_lines_fate_is_its_own(self, rows, data, tmp_path, monkeypatch):
        """Whatever values lines mix, which are documents and which damage is the same in blocks of any size, and none is lost."""
        lines = [json.dumps({"text": text, "v": value, "w": other}) for text, value, other in rows]
        lines.insert(
            data.draw(st.integers(0, len(lines))),
            data.draw(st.sampled_from(['{"text":"a"', "[1]", '{"text":"\\ud800"}', "\0", '{"text":"b"}{}'])),
        )
        path = jsonl(tmp_path, "\n".join(lines).encode())
        sources = Sources()
        try:
            inventory = take_inventory(sources, [str(path)], OPTIONS)
        except InputError:
            return
        together = outcome(sources, inventory)
        file = inventory.file(0)
        alone = [outcome(sources, inventory, [Slice(file, 0, row, row + 1)]) for row in range(inventory.rows)]
        assert {key: repr(value) for one in alone for key, value in one.documents.items()} == {
            k: repr(v) for k, v in together.documents.items()
        }
        assert {key: value for one in alone for key, value in one.damaged.items()} == together.damaged

    @pytest.mark.parametrize(
        ("line", "error"),
        [
            (b'{"text": "cut', "invalid_json"),
            (b"not json", "invalid_json"),
            (b'{"text":"a"} x', "invalid_json"),
            (b'{"text":"a"}{"text":"b"}', "invalid_json"),
            (b'{"text":"a\x00b"}', "invalid_json"),
            (b"\x00\x00", "invalid_json"),
            (b'{"text":"q"}\x00', "invalid_json"),
            (b'{"text":"a","n":1e999}', "invalid_json"),
            (b"[" * 100_000, "invalid_json"),
            (b'{"text":"lone \\ud800 surrogate"}', "invalid_utf8"),
            (b'{"text":"x","other":"\\udc00"}', "invalid_utf8"),
            (b'{"text":"bad \xff byte"}', "invalid_utf8"),
            (b'{"text":"x","n":"\xc3"}', "invalid_utf8"),
            (b"{}", "null_text"),
            (b'{"text":null}', "null_text"),
            (b'{"text":5}', "text_not_string"),
            (b'{"text":["a"]}', "text_not_string"),
            (b'{"text":"x","n":"one"}', "schema_mismatch"),
            (b'{"text":"x","n":{"a":1}}', "schema_mismatch"),
            (b"[1,2]", "schema_mismatch"),
            (b'"text"', "schema_mismatch"),
            (b"null", "schema_mismatch"),
        ],
    )
    def test_a_bad_line_is_damage_of_its_own(self, tmp_path, line, error):
        """Each kind of bad line is one damaged row of its class; the lines around it are documents."""
        good = [b'{"text":"good %d","n":%d}' % (number, number) for number in range(100)]
        path = jsonl(tmp_path, b"\n".join([*good[:57], line, *good[57:]]))
        _, found = read_path(path)
        assert found.errors == {57: error}
        assert found.texts == [f"good {number}" for number in range(100)]

    def test_objects_cut_and_joined_across_lines_do_not_cancel_out(self, tmp_path):
        """Two objects on one line and one object on two lines are three bad lines, although the numbers of rows agree."""
        path = jsonl(tmp_path, b'{"text":"a"}\n{"text":"b"}{"text":"c"}\n{"text":\n"d"}\n{"text":"e"}\n')
        _, found = read_path(path)
        assert found.errors == {1: "invalid_json", 2: "invalid_json", 3: "invalid_json"}
        assert found.texts == ["a", "e"]

    def test_a_name_given_twice_counts_with_its_last_value(self, tmp_path):
        """Repeated names in an object are resolved as most parsers do."""
        _, found = read_path(jsonl(tmp_path, b'{"text":"a"}\n{"text":"b","text":"c"}\n'))
        assert found.texts == ["a", "c"]

    def test_damage_carries_ids_where_they_can_be_read(self, tmp_path):
        """A line that is JSON gives its id to the damage, one that is not gives none."""
        _, found = read_path(jsonl(tmp_path, b'{"id":7,"text":"a"}\n{"id":8,"text":1}\n{"id":9,"te\n{"id":10,"text":null}\n'))
        assert {row: value[2] for (_, row), value in found.damaged.items()} == {1: "8", 2: None, 3: "10"}

    def test_types_come_from_all_lines(self, tmp_path):
        """Integers mixed with floats are double, dates stay strings, nested fields are united, empty objects are left out."""
        lines = [
            {"text": "2020-01-01", "n": 1, "when": "2020-01-01", "deep": {"a": 1}, "void": {}, "none": None},
            {"text": "x", "n": 1.5, "deep": {"b": ["y"]}, "list": [], "big": 2**80},
            {"text": "y", "list": [1, 2.5]},
        ]
        inventory, found = read_path(jsonl(tmp_path, "\n".join(map(json.dumps, lines)).encode()))
        assert inventory.schema == pa.schema(
            {
                "text": pa.string(),
                "n": pa.float64(),
                "when": pa.string(),
                "deep": pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]),
                "none": pa.null(),
                "list": pa.list_(pa.float64()),
                "big": pa.float64(),
            }
        )
        assert not found.damaged

    def test_kinds_that_conflict_in_one_file_are_damage_of_the_later_kind(self, tmp_path):
        """The first kind of a field wins; lines with another are damaged, wherever the bad ones stand, however many they are."""
        lines = [json.dumps({"text": "t", "v": "s" if number % 3 == 2 else number}) for number in range(3000)]
        inventory, found = read_path(jsonl(tmp_path, "\n".join(lines).encode()))
        assert inventory.schema.field("v").type == pa.int64()
        assert sorted(found.errors) == list(range(2, 3000, 3))
        assert set(found.errors.values()) == {"schema_mismatch"}

    def test_a_file_without_the_text_field_is_damage(self, tmp_path):
        """A file in which no line has the text field is missing_text_column, one in which it is never a string is text_not_string."""
        jsonl(tmp_path, b'{"text":"a"}\n', "a.jsonl")
        jsonl(tmp_path, b'{"body":"a"}\n', "b.jsonl")
        jsonl(tmp_path, b'{"text":1}\n', "c.jsonl")
        _, found = read_path(tmp_path)
        assert {key: value[0] for key, value in found.damaged.items()} == {(1, 0): "missing_text_column", (2, 0): "text_not_string"}

    def test_long_lines_and_odd_text_are_documents(self, tmp_path):
        """A line of 40 MB, escaped NULs, astral characters and a million-letter word arrive unchanged."""
        texts = ["x" * 40_000_000, "a\0b", "𝄞 𐍈", "w" * 1_000_000, ""]
        _, found = read_path(jsonl(tmp_path, "\n".join(json.dumps({"text": text}) for text in texts).encode()))
        assert found.texts == texts

    def test_a_big_file_is_cut_into_row_groups_at_line_ends(self, tmp_path):
        """Row groups of a plain file follow each other, end at line ends, and sum to the file's rows."""
        path = jsonl(tmp_path, b"".join(b'{"text":"%s %d"}\n' % (b"y" * 1000, number) for number in range(150_000)))
        inventory = take_inventory(Sources(), [str(path)], OPTIONS)
        groups = list(inventory.file(0).row_groups)
        assert len(groups) == math.ceil(path.stat().st_size / formats_jsonl.GROUP_BYTES)
        assert sum(group.rows for group in groups) == 150_000
        assert [group.offset for group in groups[1:]] == [group.offset + group.length for group in groups[:-1]]
        assert all(path.read_bytes()[group.offset - 1 : group.offset] == b"\n" for group in groups[1:])


class TestCompressed:
    BODY = b"".join(b'{"text":"%d %s"}\n' % (number, os.urandom(20).hex().encode()) for number in range(20_000))

    @pytest.mark.parametrize(("name", "pack"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress)])
    def test_several_members_are_one_stream(self, tmp_path, name, pack):
        """Concatenated members, cut inside of a line, and zero padding are read as one stream."""
        path = jsonl(tmp_path, pack(self.BODY[:777]) + pack(self.BODY[777:]) + bytes(512), name)
        _, found = read_path(path)
        assert (len(found.documents), len(found.damaged)) == (20_000, 0)

    @pytest.mark.parametrize(("name", "pack"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress)])
    @pytest.mark.parametrize("damage", ["truncated_stream", "trailing_bytes"])
    def test_a_stream_that_ends_in_damage_gives_its_lines_and_one_damaged_row(self, tmp_path, name, pack, damage):
        """The lines before the damage are documents, and the damage itself is the last row, in any batch size."""
        packed = pack(self.BODY)
        path = jsonl(tmp_path, packed[: len(packed) * 2 // 3] if damage == "truncated_stream" else packed + b"rubbish", name)
        inventory, found = read_path(path)
        assert found.errors == {inventory.rows - 1: damage}
        assert found.texts == [json.loads(line)["text"] for line in self.BODY.splitlines()[: inventory.rows - 1]]
        assert len(found.documents) > 5000
        assert read_path(path, batch_bytes=1000)[1].damaged == found.damaged

    @pytest.mark.parametrize(
        ("name", "pack"), [("b.jsonl.gz", gzip.compress), ("b.jsonl.zst", zstandard.ZstdCompressor(write_checksum=True).compress)]
    )
    def test_a_corrupt_stream_is_an_unreadable_file(self, tmp_path, name, pack):
        """A flipped byte that the checksum finds makes the whole file unreadable; nothing of it is given out."""
        jsonl(tmp_path, b'{"text":"good"}\n', "a.jsonl")
        path = jsonl(tmp_path, pack(self.BODY), name)
        flip(path, path.stat().st_size // 2)
        inventory, found = read_path(tmp_path)
        assert [(Path(uri).name, error) for uri, error, _ in inventory.unreadable] == [(name, "corrupt_stream")]
        assert found.texts == ["good"]

    def test_a_file_that_is_not_compressed_is_unreadable(self, tmp_path):
        """A .gz of plain text, and an empty one, are unreadable files."""
        jsonl(tmp_path, b'{"text":"good"}\n', "a.jsonl")
        jsonl(tmp_path, b'{"text":"good"}\n', "b.jsonl.gz")
        jsonl(tmp_path, b"", "c.jsonl.zst")
        inventory, _ = read_path(tmp_path)
        assert [error for _, error, _ in inventory.unreadable] == ["not_compressed", "empty_file"]


@pytest.mark.parametrize(
    ("name", "declared", "expected"),
    [
        ("/a/b.parquet", None, "parquet"), ("s3://b/c.jsonl", None, "jsonl"), ("/x.NDJSON.gz", None, "jsonl.gz"),
        ("/x.json.zst", None, "jsonl.zst"), ("/part-0", "parquet", "parquet"), ("/part-0.gz", "jsonl", "jsonl.gz"),
    ],
)  # fmt: skip
def test_the_extension_or_the_setting_tells_the_format(name, declared, expected):
    """Formats and compressions are told by extensions, a setting overrides the format."""
    assert format_of(name, declared) == expected


@pytest.mark.parametrize(("name", "declared"), [("/README.md", None), ("/a.txt.gz", None), ("/a.parquet.gz", None), ("/a", "xml")])
def test_a_format_that_cannot_be_read_is_an_error_with_a_remedy(name, declared):
    """An unknown extension or format names the file and what is known."""
    with pytest.raises(InputError, match=name):
        format_of(name, declared)
