"""Versions whose files are missing, damaged or contradict each other: compared otherwise or not at all, never with a wrong number."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from corpora import documents, write_parquet
from difference_made import Two, changed_threshold, finished, ids_of, two
from made import Output as Made
from made import rewrite_manifest

from pipelines.difference_documents import compare_documents
from pipelines.difference_files import inventory_of
from pipelines.difference_lost import compare_lost
from pipelines.difference_passes import RowGroup
from pipelines.errors import InputError
from pipelines.storage import open_store


@pytest.fixture
def thresholds(shm_path: Path, no_fsync: None) -> Two:
    """See `changed_threshold`."""
    return changed_threshold(shm_path)


def test_without_an_inventory_the_ids_are_compared(thresholds: Two) -> None:
    """A copy that lacks it is compared by ids, one that several documents have counted as often as it is there; why is told."""
    path = thresholds.old.manifest["input"]["inventory"]
    thresholds.damaged(path)
    found = thresholds.compared()
    before, after = Counter(ids_of(thresholds.old)), Counter(ids_of(thresholds.new))
    assert max(before.values()) > 1
    assert found.by == "id"
    assert path in found.because[0]
    assert found.counts is not None
    assert (found.counts.removed, found.counts.added) == ((before - after).total(), (after - before).total())
    assert {one.id for one in found.removed} <= set(before - after)
    assert all(one.doc_key is None for one in found.removed)


def test_without_tables_and_ids_nothing_is_claimed(thresholds: Two) -> None:
    """No number, and both reasons, where the side tables are gone and a shard too."""
    for path in (thresholds.root / "versions/v1/dropped").iterdir():
        path.unlink()
    shard = pq.read_table(thresholds.root / "versions/v1/shards.parquet")["path"][0].as_py()
    thresholds.damaged(shard)
    found = thresholds.compared()
    assert (found.by, found.counts, len(found.because)) == (None, None, 2)
    assert "dropped" in found.because[0]
    assert shard in found.because[1]
    assert found.shards is not None
    assert "removed" not in found.to_json()


def test_columns_without_ids_are_not_compared_by_them(shm_path: Path, no_fsync: None) -> None:
    """An output without the column has no ids to fall back on."""
    write_parquet(shm_path / "in" / "a.parquet", documents(20))
    made = two(
        shm_path,
        {"output": {"columns": ["text"]}},
        {"output": {"columns": ["text"]}, "operators": [{"type": "length_filter", "min_chars": 60}]},
    )
    assert made.compared().by == "doc_key"
    made.damaged(made.old.manifest["input"]["inventory"])
    found = made.compared()
    assert found.counts is None
    assert "no column 'id'" in found.because[1]


def _lose_twice(made: Made) -> None:
    made.dropped.append(made.dropped[0])


def _lose_what_is_not_there(made: Made) -> None:
    made.dropped.append(((0, 999), "short", "too_short"))


def _lose_one_less(made: Made) -> None:
    made.dropped.pop(0)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_lose_twice, "a document is lost more than once"),
        (_lose_what_is_not_there, "is of no row that its inventory has"),
        (_lose_one_less, "documents were read and not lost"),
    ],
)
def test_tables_that_contradict_each_other_give_no_number(tmp_path: Path, damage: Callable[[Made], None], words: str) -> None:
    """What the files cannot prove is not told: documents are not compared by key then, and why is said."""
    sound = Made()
    sound.write(open_store(str(tmp_path / "sound")))
    worse = Made()
    damage(worse)
    worse.write(open_store(str(tmp_path / "worse")))
    pair = finished(tmp_path / "sound", "v1"), finished(tmp_path / "worse", "v1")
    for old, new in (pair, pair[::-1]):
        found = compare_documents(old, new)
        assert found.by == "id"
        assert any(words in one for one in found.because), found.because


@pytest.mark.parametrize("path", ["../../etc/passwd", "_shardmill/../x.parquet", "data/v1/x.parquet", None, 7])
def test_a_strangers_manifest_leads_nowhere_else(tmp_path: Path, path: Any) -> None:
    """An inventory, a side table or a shard outside its folder is not opened."""
    root = tmp_path / "out"
    store = open_store(str(root))
    Made().write(store)
    sound = finished(root, "v1")
    rewrite_manifest(store, lambda manifest: manifest["input"].update(inventory=path))
    assert "names no inventory" in compare_documents(sound, finished(root, "v1")).because[0]
    if isinstance(path, str):
        Made().write(store)
        rewrite_manifest(store, lambda manifest: manifest["tables"]["dropped"]["files"][0].update(path=path))
        assert "expected a file in versions/v1/dropped/" in compare_documents(sound, finished(root, "v1")).because[0]


def test_files_that_are_no_parquet_are_told(thresholds: Two) -> None:
    """A damaged inventory, side table and table of shards: each is named, and no number is given."""
    inventory = thresholds.root / inventory_of(thresholds.old)
    inventory.write_bytes(b"PAR1 rubbish")
    (thresholds.root / "versions/v2/shards.parquet").write_bytes(b"rubbish")
    found = thresholds.compared()
    assert (found.counts, found.shards) == (None, None)
    assert any(str(inventory) in one for one in found.because)
    assert any("shards.parquet" in one for one in found.because)
    json.dumps(found.to_json())


def test_statistics_that_lie_give_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost documents that were looked for in the wrong range are missing in the sum, and nothing is told."""
    for name in ("a", "b"):
        Made().write(open_store(str(tmp_path / name)))
    pair = finished(tmp_path / "a", "v1"), finished(tmp_path / "b", "v1")
    assert compare_lost(*pair, 5, 1)[0].by_cause == {}
    monkeypatch.setattr(RowGroup, "meets", lambda _group, _ranges, number: number == 0)
    with pytest.raises(InputError, match="documents were read and not lost"):
        compare_lost(*pair, 5, 1)
