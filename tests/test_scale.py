"""What must stay small when the input is large: requests for small frames, memory of quarantined rows, what a worker keeps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from corpora import config_of, documents, finished, write_jsonl, write_parquet

from pipelines import inventory_prefixes, quarantine
from pipelines.commit import CommitLog
from pipelines.formats import ReadOptions
from pipelines.frames import GAP_BYTES, JOINED_BYTES, WINDOW_BYTES, FrameRef, joined, read_frames, refs
from pipelines.identity import uri_prefix
from pipelines.inventory import Inventory, prefixes_path, take_inventory
from pipelines.inventory_prefixes import file_prefixes
from pipelines.storage import MemoryStore, Sources
from pipelines.worker import Attempt

pytestmark = pytest.mark.usefixtures("no_fsync")


def part(store: MemoryStore, key: str, frames: int) -> list[FrameRef]:
    """A part of small frames, each with its own number."""
    with Attempt(CommitLog(store, "stage", 0), key).writer("rows") as writer:
        for number in range(frames):
            writer.write(pa.RecordBatch.from_pydict({"key": [key], "number": [number]}))
        return refs(writer.finish())


@pytest.mark.parametrize("window", [1, 5000, WINDOW_BYTES])
def test_small_frames_share_requests_and_keep_their_order(tmp_path, monkeypatch, window):
    """Frames of two parts that alternate come in the order asked for, whatever is joined; within a window a part is one request."""
    monkeypatch.setattr("pipelines.frames.WINDOW_BYTES", window)
    store = MemoryStore(f"memory://{tmp_path.name}-{window}")
    one, two = part(store, "11", 300), part(store, "22", 300)
    wanted = [ref for pair in zip(one, two, strict=True) for ref in pair] + [one[5], one[4], two[0]]
    before = store.stats.requests
    found = [(batch["key"][0].as_py(), batch["number"][0].as_py()) for batch in read_frames(store, wanted)]
    assert found == [(key, number) for number in range(300) for key in ("11", "22")] + [("11", 5), ("11", 4), ("22", 0)]
    if window == WINDOW_BYTES:
        assert store.stats.requests - before == 5


def test_ranges_are_bounded():
    """Far or many neighbours are not joined: a range is at most so large and wastes less than a gap between two frames."""
    near = [FrameRef("p", start, 1 << 20) for start in range(0, 40 << 20, 1 << 20)]
    ranges, homes = joined(near)
    assert {some.stop - some.start for some in ranges} == {JOINED_BYTES}
    assert homes == sorted(homes)
    assert sum(len(some.frames) for some in ranges) == len(near)
    assert all(before.stop == after.start for before, after in pairwise(ranges))
    apart = [FrameRef("p", 0, 8), FrameRef("p", 8 + GAP_BYTES, 8), FrameRef("p", 16 + GAP_BYTES, 8)]
    assert joined(apart)[1] == [0, 1, 1]
    assert joined([FrameRef("p", 0, JOINED_BYTES * 3)])[1] == [0]


def test_a_worker_reads_the_prefixes_without_the_inventory(tmp_path, monkeypatch):
    """Ten bytes a file are read once; where an older version left none, they are made from the inventory."""
    for number in range(3):
        write_parquet(tmp_path / f"{number}.parquet", documents(5, seed=number))
    inventory = take_inventory(Sources(), [f"{tmp_path}/"], ReadOptions(None, "text", "id", ()))
    store = MemoryStore(f"memory://{tmp_path.name}")
    inventory.save(store, "i.parquet")
    expected = [uri_prefix(uri) for uri in inventory.uris.to_pylist()]
    with monkeypatch.context() as forbidden:
        forbidden.setattr(Inventory, "load", None)
        assert [row.tobytes() for row in file_prefixes(store, "i.parquet")] == expected
        before = store.stats.requests
        file_prefixes(store, "i.parquet")
        assert store.stats.requests == before
    store.delete([prefixes_path("i.parquet")])
    inventory_prefixes._PREFIXES.clear()
    assert [row.tobytes() for row in file_prefixes(store, "i.parquet")] == expected


def bad_corpus(folder):
    """Good and bad rows in both formats; JSONL reports the bad ones of a block behind its documents."""
    for number in range(2):
        rows = [{**row, "text": None if position % 3 == 0 else row["text"]} for position, row in enumerate(documents(90, seed=number))]
        write_parquet(folder / f"{number}.parquet", rows)
        lines = [b'{"id": "torn' if position % 4 == 3 else row for position, row in enumerate(documents(60, seed=7 + number))]
        lines[2::4] = [{**row, "text": None} for row in lines[2::4]]
        write_jsonl(folder / f"{number}.jsonl", lines)
    return folder


def test_quarantine_is_written_in_pieces_and_looks_the_same(tmp_path, monkeypatch):
    """However few rows may be held, the table's files are the same bytes, and no frame is far above the bound."""
    bad_corpus(tmp_path / "in")
    tables, most = [], []
    for held, batch_bytes in ((1 << 16, "1MiB"), (1, "1KiB"), (10, "4KiB")):
        monkeypatch.setattr(quarantine, "HELD_ROWS", held)
        sizes: list[int] = []
        real = quarantine.in_order
        with monkeypatch.context() as seen:
            seen.setattr(quarantine, "in_order", lambda *a, sizes=sizes, real=real: sizes.append(sum(b.num_rows for b in a[0])) or real(*a))
            execution = {"batch_bytes": batch_bytes, "max_quarantined_fraction": 1.0}
            config = config_of(tmp_path / f"{held}.yaml", f"{tmp_path}/in/", tmp_path / f"out{held}", execution=execution)
            found = finished(config)
        tables.append([path.read_bytes() for path in sorted((found.folder / "quarantine").glob("*.parquet"))])
        most.append(max(sizes))
        assert len(found.table("quarantine")) == 120
    assert tables[0] == tables[1] == tables[2]
    assert most[0] == 120
    assert most[1] < most[0]


def test_rows_out_of_order_hold_back_what_is_behind_them():
    """Nothing counts as complete while a row before the farthest one is missing."""
    progress = quarantine.Progress([])
    progress._starts = {"a": -10, "b": 5}
    for uri, rows, complete in (("a", [10, 11], True), ("a", [13, 14], False), ("a", [12], True), ("b", [1], False), ("b", [0], True)):
        progress.give(uri, np.array(rows))
        assert progress.is_complete is complete
