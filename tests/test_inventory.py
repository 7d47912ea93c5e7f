"""The inventory: what it lists, what it refuses, that it is kept, cut and told apart, and what a million files cost."""

from __future__ import annotations

import pickle
import random
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import OPTIONS, outcome, text_table

from pipelines import inventory as inventory_module
from pipelines.documents import NO_GROUPS, FileDescription
from pipelines.errors import InputChanged, InputError
from pipelines.formats import ReadOptions
from pipelines.inventory import Chunk, Inventory, describe, describe_chunk, take_inventory
from pipelines.storage import Sources, open_store


@pytest.fixture
def folder(tmp_path):
    """Parquet with several row groups, JSON lines, a file without rows, and two that cannot be read."""
    pq.write_table(text_table(50), tmp_path / "a.parquet", row_group_size=20)
    (tmp_path / "b.jsonl").write_bytes(b'{"id":"x","text":"y","extra":1}\n' * 7)
    pq.write_table(text_table(0), tmp_path / "c.parquet")
    (tmp_path / "d.parquet").write_bytes(b"")
    (tmp_path / "e.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-100])
    return tmp_path


def same(one: Inventory, other: Inventory) -> bool:
    return (
        [one.file(i) for i in range(one.num_files)] == [other.file(i) for i in range(other.num_files)]
        and one.schema.equals(other.schema)
        and one.fingerprint == other.fingerprint
        and np.array_equal(one.group_file, other.group_file)
    )


def test_every_file_is_listed_with_its_row_groups(folder):
    """Files are sorted, row groups follow each other, and totals are sums."""
    inventory = take_inventory(Sources(), [str(folder)], OPTIONS)
    files = [inventory.file(ordinal) for ordinal in range(inventory.num_files)]
    assert [file.uri.rsplit("/", 1)[1] for file in files] == ["a.parquet", "b.jsonl", "c.parquet", "d.parquet", "e.parquet"]
    assert [group.rows for group in files[0].row_groups] == [20, 20, 10]
    assert [group.first_row for group in files[0].row_groups] == [0, 20, 40]
    assert [file.rows for file in files] == [50, 7, 0, 0, 0]
    assert inventory.rows == inventory.group_rows.sum() == 57
    assert inventory.num_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert inventory.group_file.tolist() == [0, 0, 0, 1, 2]
    assert inventory.file_first_group.tolist() == [0, 3, 4, 5, 5, 5]
    assert inventory.schema == pa.schema({"id": pa.string(), "text": pa.string(), "extra": pa.int64()})


def test_row_groups_say_where_their_bytes_are(tmp_path):
    """A row group's byte range holds all its pages: reading with every other byte of the data wiped gives the same rows."""
    path = tmp_path / "a.parquet"
    pq.write_table(text_table(100), path, row_group_size=30)
    group = take_inventory(Sources(), [str(path)], OPTIONS).file(0).row_groups[1]
    data = bytearray(path.read_bytes())
    data[4 : group.offset] = bytes(group.offset - 4)
    data_end = take_inventory(Sources(), [str(path)], OPTIONS).file(0).row_groups[3]
    stop = data_end.offset + data_end.length
    data[group.offset + group.length : stop] = bytes(stop - group.offset - group.length)
    assert pq.ParquetFile(pa.BufferReader(bytes(data))).read_row_group(1).equals(text_table(100).slice(30, 30))


def test_unreadable_files_are_listed_with_their_error(folder):
    """Files that cannot be read are listed and counted as files, with class and message, and have no rows."""
    inventory = take_inventory(Sources(), [str(folder)], OPTIONS)
    assert [(uri.rsplit("/", 1)[1], error) for uri, error, _ in inventory.unreadable] == [
        ("d.parquet", "empty_file"),
        ("e.parquet", "truncated_parquet"),
    ]
    assert inventory.file(4).error == "truncated_parquet"
    assert inventory.file(4).rows == 0
    assert not outcome(Sources(), inventory).damaged


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"hello world, this is text", "not_parquet"),
        (b"PAR1", "truncated_parquet"),
        (b"PAR1" + b"x" * 50 + b"PARE", "encrypted_parquet"),
        (b"PAR1" + b"x" * 50 + b"\xff\xff\xff\x7fPAR1", "corrupt_footer"),
        (b"PAR1" + b"x" * 50 + b"\x20\x00\x00\x00PAR1", "corrupt_footer"),
    ],
)
def test_what_is_wrong_with_a_footer_is_told(tmp_path, content, error):
    """Each way in which a file is no Parquet has its class, the same text every time."""
    (tmp_path / "b.parquet").write_bytes(content)
    pq.write_table(text_table(1), tmp_path / "a.parquet")
    first, second = (take_inventory(Sources(), [str(tmp_path)], OPTIONS).unreadable for _ in range(2))
    assert [problem[1] for problem in first] == [error]
    assert first == second


def test_a_long_footer_and_repeated_columns(tmp_path):
    """A footer far longer than the first request is read whole; two columns of one name make a file unreadable."""
    wide = pa.table({"text": ["a"] * 50, **{f"a rather long name of a column {i}": range(50) for i in range(200)}})
    pq.write_table(wide, tmp_path / "a.parquet", row_group_size=5)
    twice = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
    pq.write_table(twice, tmp_path / "b.parquet")
    inventory = take_inventory(Sources(), [str(tmp_path)], OPTIONS)
    assert (inventory.rows, len(inventory.group_rows), len(inventory.schema)) == (50, 10, 201)
    assert [error for _, error, _ in inventory.unreadable] == ["repeated_column"]


class TestRefusals:
    def test_nothing_matches(self, tmp_path):
        """A pattern without files is an error that names it."""
        with pytest.raises(InputError, match="nothing-here"):
            take_inventory(Sources(), [str(tmp_path / "nothing-here*.parquet")], OPTIONS)

    def test_no_file_can_be_read(self, tmp_path):
        """If every file is unreadable the first problem is told."""
        (tmp_path / "a.parquet").write_bytes(b"")
        with pytest.raises(InputError, match=r"none of 1 input files can be read.*a\.parquet.*0 bytes"):
            take_inventory(Sources(), [str(tmp_path)], OPTIONS)

    def test_no_file_has_the_text_column(self, tmp_path):
        """The columns that there are, with their types, are told."""
        pq.write_table(pa.table({"body": ["a"], "text": [1]}), tmp_path / "a.parquet")
        with pytest.raises(InputError, match=r"no input file has a string column 'text'; found: body \(string\), text \(int64\)"):
            take_inventory(Sources(), [str(tmp_path)], OPTIONS)

    def test_a_path_column_without_a_folder(self, tmp_path):
        """A misspelt path column is an error."""
        pq.write_table(text_table(1), tmp_path / "a.parquet")
        with pytest.raises(InputError, match="path column 'dmup'"):
            take_inventory(Sources(), [str(tmp_path)], ReadOptions(None, "text", None, ("dmup",)))

    def test_an_object_that_changes_between_listing_and_footer(self, tmp_path):
        """What was listed is what is described, or InputChanged."""
        pq.write_table(text_table(1), tmp_path / "a.parquet")
        sources = Sources()
        listed = sources.find([str(tmp_path)])[0]
        pq.write_table(text_table(500), tmp_path / "a.parquet")
        with pytest.raises(InputChanged):
            describe(sources, listed, OPTIONS)


class TestKept:
    @pytest.mark.parametrize("saved_files", [1, 2, 1 << 16])
    def test_saving_and_loading_gives_the_same_inventory(self, folder, tmp_path, monkeypatch, saved_files):
        """Files, schemas, errors, path values and the fingerprint survive, whatever the pieces in which it is written."""
        monkeypatch.setattr(inventory_module, "SAVED_FILES", saved_files)
        (folder / "dump=1").mkdir()
        pq.write_table(text_table(3, score=[1.0, 2.0, 3.0]), folder / "dump=1" / "z.parquet")
        inventory = take_inventory(Sources(), [str(folder)], ReadOptions(None, "text", None, ("dump",)))
        store = open_store(str(tmp_path / "out"))
        inventory.save(store, "inventory.parquet")
        loaded = Inventory.load(store, "inventory.parquet")
        assert same(inventory, loaded)
        assert loaded.unreadable == inventory.unreadable
        assert loaded.file(3).path_values in ((), (("dump", "1"),))
        assert outcome(Sources(), loaded, options=ReadOptions(None, "text", None, ("dump",))).documents

    def test_loading_something_else_is_an_error(self, tmp_path):
        """A file that is no inventory is refused."""
        store = open_store(str(tmp_path))
        store.create("x.parquet", b"nonsense")
        with pytest.raises(InputError, match="not an inventory"):
            Inventory.load(store, "x.parquet")

    def test_the_fingerprint_follows_what_went_in(self, folder):
        """It is the same for the same files, and another after any change of content, name or columns, or a limit."""
        take = partial(take_inventory, Sources(), [str(folder)], OPTIONS)
        first = take()
        assert first.fingerprint == take().fingerprint
        seen = {first.fingerprint, first.limited(56).fingerprint, first.limited(55).fingerprint}
        (folder / "b.jsonl").write_bytes(b'{"id":"x","text":"z","extra":1}\n' * 7)
        seen.add(take().fingerprint)
        (folder / "b.jsonl").rename(folder / "b2.jsonl")
        seen.add(take().fingerprint)
        assert len(seen) == 5


@pytest.mark.parametrize("rows", [0, 1, 19, 20, 21, 50, 53, 57, 1000])
def test_a_limit_gives_the_first_rows(folder, rows):
    """`limited` keeps the first rows in order, cuts the last row group, and reads as the beginning of the whole."""
    inventory = take_inventory(Sources(), [str(folder)], OPTIONS)
    limited = inventory.limited(rows)
    assert limited.rows == min(rows, 57)
    everything = list(outcome(Sources(), inventory).documents.values())
    assert list(outcome(Sources(), limited).documents.values()) == everything[:rows]
    assert inventory.rows == 57


def test_chunks_may_come_back_in_any_order_from_other_processes(folder, monkeypatch):
    """The task is picklable and results may arrive shuffled: the inventory is the same."""
    monkeypatch.setattr(inventory_module, "CHUNK_FILES", 1)

    def shuffled(task, chunks):
        task = pickle.loads(pickle.dumps(task))
        results = [pickle.loads(pickle.dumps(task(chunk))) for chunk in chunks]
        assert len(results) == 5
        random.Random(1).shuffle(results)
        return results

    expected = take_inventory(Sources(), [str(folder)], OPTIONS)
    assert same(take_inventory(Sources(), [str(folder)], OPTIONS, map_files=shuffled), expected)


def test_files_on_a_server_are_listed_as_local_ones_are(folder, tmp_path_factory):
    """An inventory of objects behind a store has the rows, groups and schemas of the local one."""
    root = f"memory://inventory-{folder.name}"
    store = open_store(root)
    for path in folder.iterdir():
        if path.stat().st_size:
            store.create(path.name, path.read_bytes())
    far = take_inventory(Sources(), [f"{root}/*"], OPTIONS)
    near = take_inventory(Sources(), [str(folder)], OPTIONS)
    assert np.array_equal(far.group_rows, near.group_rows)
    assert far.schema == near.schema


def test_described_chunks_are_columns(folder):
    """What travels from a task is a few arrays, with each distinct schema once."""
    sources = Sources()
    listed = tuple(file for file in sources.find([str(folder)]) if file.uri.endswith("parquet"))
    described = describe_chunk(sources, OPTIONS, Chunk(0, listed))
    assert described.num_groups.tolist() == [3, 1, 0, 0]
    assert len(described.schemas) == 3
    assert described.errors[3][0] == "truncated_parquet"
    assert isinstance(describe(sources, listed[0], OPTIONS), FileDescription)
    assert NO_GROUPS.shape == (0, 4)


def test_a_hundred_thousand_files_are_kept_in_columns(tmp_path):
    """Files are not Python objects: 100,000 of them with a million row groups save and load, and one can be looked at."""
    inventory = synthetic(100_000, 10)
    store = open_store(str(tmp_path))
    inventory.save(store, "i.parquet")
    loaded = Inventory.load(store, "i.parquet")
    assert loaded.fingerprint == inventory.fingerprint
    assert loaded.file(99_999) == inventory.file(99_999)
    assert (loaded.rows, len(loaded.group_rows)) == (inventory.rows, 1_000_000)
    assert loaded.limited(1234).rows == 1234


def synthetic(num_files: int, groups_per_file: int) -> Inventory:
    """An inventory of files that do not exist."""
    schema = pa.schema({"text": pa.string(), "id": pa.string()})
    rng = np.random.default_rng(0)
    rows = rng.integers(1, 20_000, num_files * groups_per_file)
    lengths = rows * 900
    starts = np.cumsum(lengths.reshape(num_files, groups_per_file), axis=1).ravel() - lengths
    files = pa.table(
        {
            "uri": pa.array(
                [f"s3://a-bucket/some/prefix/dump={number % 90}/part-{number:07}.parquet" for number in range(num_files)], pa.large_string()
            ),
            "size": pa.array(lengths.reshape(num_files, groups_per_file).sum(axis=1)),
            "etag": pa.array([f"{number * 2654435761 % 2**128:032x}" for number in range(num_files)], pa.large_string()),
            "format": pa.array(["parquet"] * num_files),
            "schema": pa.array(np.zeros(num_files, np.int32)),
            "error": pa.nulls(num_files, pa.string()),
            "message": pa.nulls(num_files, pa.string()),
            "dump": pa.array([str(number % 90) for number in range(num_files)]),
        }
    )
    groups = np.stack([rows, starts, lengths, lengths * 3])
    bounds = np.arange(num_files + 1, dtype=np.int64) * groups_per_file
    return Inventory(files, groups, bounds, [schema], schema.append(pa.field("dump", pa.string())))
