"""The inventories of several ingestions, one after the other, are one inventory of all their files."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.documents import ReadOptions
from pipelines.inventory import Inventory, take_inventory
from pipelines.storage import Sources, open_store

OPTIONS = ReadOptions(None, "text", None, ())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Eight files of several sizes and columns; one has no rows, one cannot be read."""
    folder = tmp_path_factory.mktemp("files")
    for number in range(7):
        columns = {"text": pa.array(["x"] * (5 * number), pa.large_string()), **({"n": [1] * (5 * number)} if number % 3 else {})}
        pq.write_table(pa.table(columns), folder / f"{number}.parquet", row_group_size=4)
    (folder / "7.parquet").write_bytes(b"PAR1 half of one")
    return Sources().find([f"{folder}/*.parquet"])


def taken(files, like=None):
    return take_inventory(Sources(), [], OPTIONS, only=files, like=like)


@settings(max_examples=25, deadline=None)
@given(cuts=st.sets(st.integers(1, 6), max_size=3))
def test_pieces_are_the_whole(cuts, files, tmp_path_factory):
    """However the files came: the same rows, in the same row groups, known by the same keys, saved and loaded."""
    whole = taken(files)
    bounds = [0, *sorted(cuts), len(files)]
    pieces, like = [], None
    for start, stop in pairwise(bounds):
        pieces.append(taken(files[start:stop], like))
        like = pieces[-1].schema
    joined = Inventory.joined(pieces)
    assert (joined.num_files, joined.rows, joined.num_bytes) == (whole.num_files, whole.rows, whole.num_bytes)
    assert joined.prefixes() == whole.prefixes()
    assert joined.unreadable == whole.unreadable
    assert [joined.file(at) for at in range(8)] == [whole.file(at) for at in range(8)]
    assert set(joined.schema.names) == set(whole.schema.names)
    store = open_store(str(tmp_path_factory.mktemp("saved")))
    joined.save(store, "one.parquet")
    loaded = Inventory.load(store, "one.parquet")
    assert loaded.fingerprint == joined.fingerprint
    assert [loaded.file(at) for at in range(8)] == [whole.file(at) for at in range(8)]


def test_what_could_not_be_read_gives_way_to_a_later_try(files):
    """Once, whether that one could be read or not; before it, nothing is left out."""
    first, again = taken(files[5:]), taken([files[0], files[7]])
    joined = Inventory.joined([first, again])
    assert joined.uris.to_pylist() == [files[at].uri for at in (5, 6, 0, 7)]
    assert joined.rows == 25 + 30
    assert [uri for uri, _, _ in joined.unreadable] == [files[7].uri]
