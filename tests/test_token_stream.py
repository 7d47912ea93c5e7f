"""`open_dataset(tokens=True)`: ids as they are stored, no text, divided among workers, resumed where it was stopped, packed on request."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.distributed import split_dataset_by_node
from hypothesis import given, settings
from hypothesis import strategies as st
from made import Output

from pipelines import open_dataset, token_stream
from pipelines.errors import InputError
from pipelines.storage import LocalStore, Store, open_store
from pipelines.version import replace_any

LENGTH = 4


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = open_store(str(tmp_path / "out"))
    Output().write(opened)
    return opened


def expected() -> list[list[dict[str, Any]]]:
    """Documents of each shard."""
    return [
        [{"id": f"id-{file}-{row}", "input_ids": [*range(row + 1)], "num_tokens": row + 1} for file, row in places]
        for _, places in Output().shards
    ]


def plain(rows: Any) -> list[dict[str, Any]]:
    """Rows with lists in place of arrays."""
    return [{name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in row.items()} for row in rows]


def packs(shards: list[list[list[int]]], length: int) -> list[list[int]]:
    """The ids of each shard joined and cut; what is left is dropped."""
    found = []
    for shard in shards:
        joined = [*itertools.chain(*shard)]
        found += [joined[start : start + length] for start in range(0, len(joined) // length * length, length)]
    return found


IDS = [[row["input_ids"] for row in shard] for shard in expected()]


def test_documents_come_as_arrays_of_the_stored_type(store):
    """Id, ids and their number of each document, in order; the ids are memory of their own, of the type that they are stored in."""
    found = [*open_dataset(store.uri, tokens=True)]
    assert plain(found) == [*itertools.chain(*expected())]
    assert {row["input_ids"].dtype for row in found} == {np.dtype(np.int32)}
    assert all(row["input_ids"].base is None and row["input_ids"].flags.writeable for row in found)


@pytest.mark.parametrize("kind", [pa.large_list(pa.uint16()), pa.list_(pa.uint32()), pa.large_list(pa.int64())])
def test_any_list_of_integers_is_streamed(tmp_path, kind):
    """Types of lists and of ids stay; a null document is None, and an empty one an empty array."""
    rows = [[1, 2], None, [], [65535]]
    source = one_shard(tmp_path, pa.table({"input_ids": pa.array(rows, kind), "text": ["x"] * 4}))
    dataset = open_dataset(source, tokens=True)
    found = [*dataset]
    assert [row["input_ids"] if row["input_ids"] is None else row["input_ids"].tolist() for row in found] == rows
    assert str(found[0]["input_ids"].dtype) == str(kind.value_type) == dataset.features["input_ids"].feature.dtype
    assert {*found[0]} == {"input_ids"}


def one_shard(folder: Path, table: pa.Table, row_group_size: int | None = None) -> str:
    """An output whose first shard is this table, and which has no other."""
    opened = open_store(str(folder / "other"))
    Output(shards=[("", [(0, 0)])]).write(opened)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=row_group_size)
    replace_any(opened, next(iter(Output(shards=[("", [(0, 0)])]).shard_files())), sink.getvalue().to_pybytes())
    return opened.uri


def test_no_text_is_read(tmp_path, monkeypatch):
    """Of a shard that is nearly all text, only the columns of ids and its footer are read."""
    rng = np.random.default_rng(0)
    texts = [rng.bytes(20_000).hex() for _ in range(1200)]
    ids = pa.array([[1, 2, 3]] * len(texts), pa.large_list(pa.uint16()))
    table = pa.table({"id": [str(at) for at in range(len(texts))], "text": texts, "input_ids": ids, "num_tokens": [3] * len(texts)})
    source = one_shard(tmp_path, table)
    read: list[int] = []
    right = LocalStore.read_range

    def counting(self: LocalStore, path: str, start: int, stop: int, **options: Any) -> bytes:
        data = right(self, path, start, stop, **options)
        read.append(len(data))
        return data

    monkeypatch.setattr(LocalStore, "read_range", counting)
    assert sum(row["num_tokens"] for row in open_dataset(source, tokens=True)) == 3 * len(texts)
    assert sum(read) < sum(map(len, texts)) / 2


def test_other_columns_come_on_request(store):
    """`columns` says what comes beside the ids, in its order; the ids are last unless they are named."""
    assert list(open_dataset(store.uri, tokens=True, columns=["text", "id"]).features) == ["text", "id", "input_ids"]
    rows = [*open_dataset(store.uri, tokens=True, columns=["input_ids", "text"])]
    assert [*rows[0]] == ["input_ids", "text"]
    assert rows[1]["text"] == "Document 4 of 0"
    assert isinstance(rows[1]["input_ids"], np.ndarray)


@pytest.mark.parametrize("length", [1, 4, 13, 20, 1000])
def test_packed_sequences_have_exactly_that_many_ids(store, length):
    """Documents follow each other within a shard, and what is left at its end is dropped."""
    dataset = open_dataset(store.uri, tokens=True, sequence_length=length)
    assert [row["input_ids"].tolist() for row in dataset] == packs(IDS, length)
    assert (dataset.features["input_ids"].length, [*dataset.features]) == (length, ["input_ids"])


@given(st.lists(st.one_of(st.none(), st.lists(st.integers(0, 65535), max_size=9)), max_size=30), st.integers(1, 12), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_packing_agrees_with_lists(documents, length, batch_rows):
    """Whatever the batches, sequences are the joined lists, cut."""
    lists = pa.array(documents, pa.large_list(pa.uint16()))
    batches = [pa.record_batch({"input_ids": lists.slice(start, batch_rows)}) for start in range(0, len(documents), batch_rows)]
    found = [row["input_ids"].tolist() for row in token_stream._sequences(iter(batches), "x", length)]
    assert found == packs([[ids or [] for ids in documents]], length)
    rows = [row["input_ids"] for row in token_stream._documents(iter(batches), "x")]
    assert [None if ids is None else ids.tolist() for ids in rows] == documents


@pytest.mark.parametrize("length", [None, LENGTH])
def test_nodes_workers_and_pickles_divide_the_shards(store, length):
    """Each node, and each part that a DataLoader's worker would get, has shards of its own; together they are everything, each once."""
    dataset = pickle.loads(pickle.dumps(open_dataset(store.uri, tokens=True, sequence_length=length)))
    assert dataset.num_shards == 4
    whole = plain(dataset)
    for parts in (
        [plain(split_dataset_by_node(dataset, rank, 2)) for rank in range(2)],
        [plain(dataset.shard(num_shards=3, index=index)) for index in range(3)],
    ):
        assert all(parts)
        assert sorted(map(str, itertools.chain(*parts))) == sorted(map(str, whole))
    shuffled = plain(dataset.shuffle(seed=3, buffer_size=2))
    assert shuffled != whole
    assert sorted(map(str, shuffled)) == sorted(map(str, whole))


@pytest.mark.parametrize("length", [None, LENGTH])
@pytest.mark.parametrize("stop", [0, 1, 3, 5, 7])
def test_a_stream_goes_on_where_its_state_was_taken(store, length, stop):
    """A state taken after some rows, loaded elsewhere, gives exactly the others."""
    dataset = open_dataset(store.uri, tokens=True, sequence_length=length)
    rows = iter(dataset)
    before = plain(itertools.islice(rows, stop))
    state = dataset.state_dict()
    again = open_dataset(store.uri, tokens=True, sequence_length=length)
    again.load_state_dict(state)
    assert before + plain(again) == plain(open_dataset(store.uri, tokens=True, sequence_length=length))


def test_formats_and_maps_of_datasets_work(store):
    """NumPy's and Arrow's formats, batches, maps, skips and takes give the same ids."""
    dataset = open_dataset(store.uri, tokens=True, sequence_length=LENGTH)
    whole = packs(IDS, LENGTH)
    batch = next(iter(dataset.with_format("numpy").batch(3)))["input_ids"]
    assert (batch.shape, batch.tolist()) == ((3, LENGTH), whole[:3])
    assert next(iter(dataset.with_format("arrow").iter(2)))["input_ids"].to_pylist() == whole[:2]
    assert plain(dataset.skip(2).take(1)) == [{"input_ids": whole[2]}]
    assert [row["n"] for row in dataset.map(lambda row: {"n": len(row["input_ids"])}).take(2)] == [LENGTH, LENGTH]


def test_what_cannot_be_streamed_is_said(store, tmp_path):
    """No ids, ids that are no lists of integers, and wishes that contradict each other are errors that say what to do."""
    with pytest.raises(InputError, match="sequence_length: only token ids can be packed; say tokens=True too"):
        open_dataset(store.uri, sequence_length=4)
    with pytest.raises(InputError, match="sequence_length: found 0, expected a whole number"):
        open_dataset(store.uri, tokens=True, sequence_length=0)
    with pytest.raises(InputError, match="columns: a packed sequence is of several documents"):
        open_dataset(store.uri, tokens=True, sequence_length=4, columns=["id"])
    with pytest.raises(InputError, match="there is no column 'txt'"):
        open_dataset(store.uri, tokens=True, columns=["txt"])
    with pytest.raises(InputError, match="there is no column 'input_ids', expected lists of ids; the columns are: text; put the operator"):
        open_dataset(one_shard(tmp_path, pa.table({"text": ["x"]})), tokens=True)
    with pytest.raises(InputError, match="the column 'input_ids' is list<element: string>, expected lists of ids"):
        open_dataset(one_shard(tmp_path, pa.table({"input_ids": [["a"]]})), tokens=True)
    nulls = one_shard(tmp_path, pa.table({"input_ids": [[1, None]]}))
    with pytest.raises(InputError, match="an id in 'input_ids' is null"):
        [*open_dataset(nulls, tokens=True)]


def test_a_version_of_several_shards_and_an_older_one_can_be_streamed(store):
    """`version` and `storage_options` mean what they mean without tokens."""
    Output(version="v2", shards=[("", [(0, 0)])], edit=lambda manifest: manifest.update(parents=[])).write(store)
    assert plain(open_dataset(store.uri, tokens=True)) == expected()[0][:1]
    assert len(plain(open_dataset(store.uri, tokens=True, version="v1", storage_options={}))) == 9
