"""Documents that came and went between two versions: the same as by set arithmetic over what the versions really hold."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import SCHEMA, config_of, documents, write_jsonl, write_parquet
from difference_made import LENIENT, Two, changed_threshold, files_of, finished, ids_of, side, two
from hypothesis import given
from hypothesis import strategies as st
from made import Output as Made

from pipelines.difference_documents import DocumentsDifference, compare_documents
from pipelines.difference_files import Files, inventory_of
from pipelines.difference_ids import compare_ids
from pipelines.difference_lost import compare_lost
from pipelines.difference_passes import RowGroup, ranges_of
from pipelines.identity import uri_prefix
from pipelines.run import run
from pipelines.storage import open_store
from pipelines.verify_manifest import Finished

ROOT = Path(__file__).resolve().parent.parent
NO_ID = pa.schema([field for field in SCHEMA if field.name != "id"])


@dataclass
class Expected:
    """What plain sets say."""

    removed: set[str]
    added: set[str]
    both: set[str]
    changed: tuple[int, int, int]
    removed_by: Counter[tuple[str, ...]]
    added_by: Counter[tuple[str, ...]]

    @classmethod
    def of(cls, old: Finished, new: Finished) -> Expected:
        before, after = set(ids_of(old)), set(ids_of(new))
        files = files_of(old), files_of(new)
        changed = {prefix for prefix in files[0].keys() & files[1].keys() if files[0][prefix] != files[1][prefix]}
        apart = [{key for key in keys if bytes.fromhex(key)[:10] in changed} for keys in (before, after)]
        removed, added = before - apart[0] - after, after - apart[1] - before
        return cls(
            removed,
            added,
            before & after - apart[0],
            (len(changed), len(apart[0]), len(apart[1])),
            cls._why(removed, side(new), files[1]),
            cls._why(added, side(old), files[0]),
        )

    @staticmethod
    def _why(keys: set[str], lost: dict[str, tuple[str, str, str]], files: dict[bytes, Any]) -> Counter[tuple[str, ...]]:
        def of(key: str) -> tuple[str, ...]:
            return lost.get(key) or (("not_read", "", "") if bytes.fromhex(key)[:10] in files else ("only_file", "", ""))

        return Counter(map(of, keys))


def prove(old: Finished, new: Finished) -> DocumentsDifference:
    """Compare two versions whose ids are doc_keys, and hold every number and example against plain sets."""
    found, expected = compare_documents(old, new), Expected.of(old, new)
    counts = found.counts
    assert found.by == "doc_key", found.because
    assert counts is not None
    assert (counts.old, counts.new) == (len(ids_of(old)), len(ids_of(new)))
    assert (counts.removed, counts.added, counts.both) == (len(expected.removed), len(expected.added), len(expected.both))
    assert (counts.changed_files, *counts.changed) == expected.changed
    for told, right in ((counts.removed_by, expected.removed_by), (counts.added_by, expected.added_by)):
        assert Counter({(cause.what, cause.operator, cause.reason): number for cause, number in told}) == right
    for examples, keys, lost in ((found.removed, expected.removed, side(new)), (found.added, expected.added, side(old))):
        assert {one.doc_key for one in examples} <= keys
        assert len({one.doc_key for one in examples}) == len(examples)
        assert bool(examples) == bool(keys)
        for one in examples:
            assert one.doc_key is not None
            assert one.cause is not None
            assert one.uri is not None
            assert bytes.fromhex(one.doc_key) == uri_prefix(one.uri) + int(one.row or 0).to_bytes(6, "big")
            if one.cause.operator:
                assert lost[one.doc_key] == (one.cause.what, one.cause.operator, one.cause.reason)
                assert one.id == one.doc_key
    changed = found.changed
    assert len(changed) == min(5, expected.changed[0])
    return found


# --- random corpora


class Corpus:
    """An input folder that changes between runs, and an output with a version of each."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.draw = random.Random(seed)
        self.count = 0
        for _ in range(self.draw.randrange(2, 5)):
            self.add()

    def add(self, name: str | None = None) -> None:
        """Write a file, with rows that are no documents in some."""
        self.count += 1
        rows = [{key: value for key, value in row.items() if key != "id"} for row in documents(self.draw.randrange(1, 40), seed=self.count)]
        if name is None:
            name = f"{self.draw.choice('abcdef')}{self.count}.{self.draw.choice(['parquet', 'jsonl'])}"
        path = self.root / "in" / name
        if path.suffix == ".parquet":
            write_parquet(path, rows, group_rows=7, schema=NO_ID)
        else:
            write_jsonl(path, [b"{broken" if self.draw.random() < 0.1 else row for row in rows])

    def change(self) -> None:
        """Add, remove and write again."""
        names = sorted(path.name for path in (self.root / "in").iterdir())
        for name in self.draw.sample(names, self.draw.randrange(len(names))):
            if self.draw.random() < 0.5:
                (self.root / "in" / name).unlink()
            else:
                self.add(name)
        for _ in range(self.draw.randrange(3)):
            self.add()
        if not any((self.root / "in").iterdir()):
            self.add()

    def run(self) -> Finished:
        """A version with settings drawn at random."""
        draw = self.draw
        steps: list[dict[str, Any]] = [
            {"type": "length_filter", "min_chars": draw.choice([1, 8, 40, 120])},
            {"type": "exact_dedup"},
            {"type": "filter_where", "where": f"length(text) < {draw.choice([60, 100, 1000])}"},
        ]
        chosen = [step for step in steps if draw.random() < 0.7]
        config = config_of(
            self.root / "p.yaml",
            f"{self.root}/in/",
            self.root / "out",
            chosen,
            execution=LENIENT | {"unit_bytes": "2KiB"},
            output={"partition_by": draw.choice([[], ["lang"]]), "target_shard_bytes": "4KiB"},
        )
        result = run(config, limit=draw.choice([None, None, 30]))
        return finished(self.root / "out", result.manifest["version"])


@pytest.mark.parametrize("seed", range(6))
def test_what_came_and_went_is_what_sets_say(shm_path: Path, no_fsync: None, seed: int) -> None:
    """Random corpora that change, thresholds, deduplication, limits, partitions, broken lines: each pair of three versions, both ways."""
    corpus = Corpus(shm_path, seed)
    versions = [corpus.run()]
    for _ in range(2):
        corpus.change()
        versions.append(corpus.run())
    made = {one.version: one for one in versions}
    for old in made.values():
        for new in made.values():
            found = prove(old, new)
            if old is new:
                assert found.shards is not None
                assert (found.shards.removed.files, found.shards.added.files) == (0, 0)
    first, last = versions[0], versions[-1]
    by_pass = [compare_lost(first, last, 5, pass_rows) for pass_rows in (7, 1 << 22)]
    assert [side.by_cause for side in by_pass[0]] == [side.by_cause for side in by_pass[1]]
    assert [side.samples[0].tolist() for side in by_pass[0]] == [side.samples[0].tolist() for side in by_pass[1]]
    _compared_by_ids(first, last)
    for statistics in (True, False):
        for one in {first.version: first, last.version: last}.values():
            _cut_small(one, statistics=statistics)
        cut = compare_lost(first, last, 5, 3)
        assert [side.by_cause for side in cut] == [side.by_cause for side in by_pass[1]]
        assert [side.samples[0].tolist() for side in cut] == [side.samples[0].tolist() for side in by_pass[1]]


def _cut_small(one: Finished, *, statistics: bool) -> None:
    """Write the side tables of a version again in row groups of two rows."""
    for table in ("dropped", "quarantine"):
        for file in one.manifest["tables"][table]["files"]:
            path = Path(one.store.uri) / file["path"]
            pq.write_table(pq.read_table(path), path, row_group_size=2, write_statistics=statistics)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3), st.integers(1, 9)), max_size=30), st.integers(1, 40))
def test_row_groups_in_order_are_read_about_once(groups: list[tuple[int, int, int]], rows: int) -> None:
    """Every range has its row groups, and of those that follow each other only the ones at its ends are in two ranges."""
    made = [RowGroup("p", at, size, f"{low:03}", f"{low + more:03}") for at, (low, more, size) in enumerate(sorted(groups))]
    ends = ranges_of(made, rows)
    assert ends == sorted(set(ends))
    met = [[number for number in range(len(ends) + 1) if group.meets(ends, number)] for group in made]
    for group, numbers in zip(made, met, strict=True):
        assert numbers == list(range(bisect_left(ends, str(group.low)), bisect_left(ends, str(group.high)) + 1))
    assert sum(group.rows for group in made) >= rows * len(ends)
    apart = [RowGroup("p", at, size, f"{at:03}", f"{at:03}") for at, (_, _, size) in enumerate(groups)]
    ends = ranges_of(apart, rows)
    assert all(sum(group.meets(ends, number) for number in range(len(ends) + 1)) == 1 for group in apart)


def test_a_table_without_statistics_is_read_in_every_range() -> None:
    """Where nobody knows which files are in a row group, it may be any."""
    assert all(RowGroup("p", 0, 5, None, None).meets(["a", "b"], number) for number in range(3))


def _compared_by_ids(old: Finished, new: Finished) -> None:
    """By the ids alone the numbers are those of multisets, however many passes there are."""
    before, after = Counter(ids_of(old)), Counter(ids_of(new))
    for pass_rows in (5, 1 << 22):
        found = compare_ids(old, new, 3, pass_rows)
        removed, added = before - after, after - before
        assert (found.both, found.removed, found.added) == ((before & after).total(), removed.total(), added.total())
        assert set(found.removed_ids) <= set(removed)
        assert set(found.added_ids) <= set(added)
        assert (len(found.removed_ids), len(found.added_ids)) == (min(3, len(removed)), min(3, len(added)))


# --- single cases


@pytest.fixture
def thresholds(shm_path: Path, no_fsync: None) -> Two:
    """See `changed_threshold`."""
    return changed_threshold(shm_path)


def test_ids_that_repeat_are_told_apart(thresholds: Two) -> None:
    """Documents are known by file and row; an example has the user's id and the place that it was read from."""
    found = thresholds.compared()
    assert found.counts is not None
    lost = Counter(row[2] for row in side(thresholds.new).values())["too_short"] - len(side(thresholds.old))
    assert (found.counts.removed, found.counts.added) == (lost, 0)
    for one in found.removed:
        path = Path(one.uri or "")
        assert pq.read_table(path).to_pylist()[one.row or 0]["id"] == one.id


def test_as_many_examples_as_asked_for_and_the_same_every_time(thresholds: Two) -> None:
    """None, few or all of them; fewer are the first of more."""
    counts = thresholds.compared().counts
    assert counts is not None
    found = {number: compare_documents(thresholds.old, thresholds.new, number).removed for number in (0, 3, 1000)}
    assert [len(one) for one in found.values()] == [0, 3, counts.removed]
    assert found[1000][:3] == found[3]
    assert found[3] == compare_documents(thresholds.old, thresholds.new, 3).removed


def test_a_file_that_is_touched_is_changed_and_nothing_else(shm_path: Path, no_fsync: None) -> None:
    """Its documents count neither as removed nor as added, and the file is named with its numbers."""
    for number in range(3):
        write_parquet(shm_path / "in" / f"{number}.parquet", documents(20, seed=number))
    made = two(shm_path, {}, {}, lambda: write_parquet(shm_path / "in" / "1.parquet", documents(35, seed=9)))
    found = made.compared()
    assert found.counts is not None
    assert (found.counts.removed, found.counts.added, found.counts.both) == (0, 0, 40)
    assert [(one.uri.rpartition("/")[2], one.old, one.new) for one in found.changed] == [("1.parquet", 20, 35)]


def test_rows_past_a_limit_were_not_read(shm_path: Path, no_fsync: None) -> None:
    """A run of the first documents, then of all: in the file that was cut, rows are new that were not read before."""
    for number in range(2):
        write_parquet(shm_path / "in" / f"{number}.parquet", documents(40, seed=number))
    made = two(shm_path, {"limit": 25}, {})
    found = made.compared()
    assert found.counts is not None
    assert found.counts.removed_by == ()
    assert {cause.what: number for cause, number in found.counts.added_by} == {"not_read": 15, "only_file": 40}
    rows = [one.row for one in found.added if one.cause is not None and one.cause.what == "not_read"]
    assert rows in ([25, 26], [25, 26, 27])  # five examples of two files, of which either may come first


def test_shards_that_stay_are_told(thresholds: Two) -> None:
    """By path and digest: those of another version are other files."""
    shards = thresholds.compared().shards
    assert shards is not None
    tables = [pq.read_table(thresholds.root / one.folder / "shards.parquet") for one in (thresholds.old, thresholds.new)]
    assert (shards.both.files, shards.removed.files, shards.added.files) == (0, tables[0].num_rows, tables[1].num_rows)
    assert shards.added.rows == thresholds.new.manifest["output"]["rows"]


def test_a_version_that_names_older_shards_shares_them(tmp_path: Path) -> None:
    """As a takedown leaves it: one shard is rewritten, the others are those of the version before, and one more document is gone."""
    root = tmp_path / "out"
    store = open_store(str(root))
    Made().write(store)
    old = finished(root, "v1")
    takedown = ("takedown", "takedown")
    first = Made()
    kept = [places for _, places in first.shards]
    gone = kept[0][0]
    shards = [("", [place for place in kept[0] if place != gone]), *first.shards[1:]]
    Made(
        version="v2", operators=[*first.operators, takedown], dropped=[*first.dropped, (gone, "takedown", "taken_down")], shards=shards
    ).write(store)
    _name_old_shards(root, old, from_position=1)
    found = compare_documents(old, finished(root, "v2"))
    assert found.by == "doc_key", found.because
    assert found.counts is not None
    ((cause, number),) = found.counts.removed_by
    assert (cause.what, cause.operator, cause.reason, number) == ("dropped", "takedown", "taken_down", 1)
    assert [one.id for one in found.removed] == [f"id-{gone[0]}-{gone[1]}"]
    assert found.shards is not None
    assert (found.shards.both.files, found.shards.removed.files, found.shards.added.files) == (len(kept) - 1, 1, 1)


def _name_old_shards(root: Path, old: Finished, from_position: int) -> None:
    """Make the second version's table of shards name those of the first from a place on."""
    mine = pq.read_table(root / "versions/v2/shards.parquet")
    before = pq.read_table(root / old.folder / "shards.parquet")
    pq.write_table(pa.concat_tables([mine.slice(0, from_position), before.slice(from_position)]), root / "versions/v2/shards.parquet")


def test_an_etag_tells_files_of_one_size_apart(tmp_path: Path) -> None:
    """Two inventories whose files differ in the etag alone have no file that is the same."""
    for name in ("a", "b"):
        Made().write(open_store(str(tmp_path / name)))
    inventory = tmp_path / "b" / inventory_of(finished(tmp_path / "b", "v1"))
    table = pq.read_table(inventory)
    etags = pa.array([f"{etag}!" for etag in table["etag"].to_pylist()], pa.large_string())
    pq.write_table(table.set_column(table.schema.get_field_index("etag"), "etag", etags), inventory)
    counts = compare_documents(finished(tmp_path / "a", "v1"), finished(tmp_path / "b", "v1")).counts
    assert counts is not None
    assert (counts.both, counts.removed, counts.added, counts.changed_files) == (0, 0, 0, 3)


def test_no_files_hold_no_rows() -> None:
    """Looking among no files finds none."""
    import numpy as np

    empty = Files.of(np.empty(0, "S10"), np.empty(0, "S16"), np.empty(0, np.int64), np.empty(0, np.int32))
    assert empty.find(np.array([b"x" * 16], "S16"))[0].tolist() == [-1]
    assert empty.index(np.array([b"y" * 10], "S10")).tolist() == [-1]


def test_a_copy_of_an_output_is_the_same(thresholds: Two, tmp_path: Path) -> None:
    """Somewhere else, the same version has the same documents and shards."""
    shutil.copytree(thresholds.root, tmp_path / "copy")
    copied = replace(thresholds.new, store=open_store(str(tmp_path / "copy")))
    found = compare_documents(thresholds.new, copied)
    assert found.counts is not None
    assert (found.counts.removed, found.counts.added) == (0, 0)
    assert found.shards is not None
    assert found.shards.added.files == 0


def test_quarantined_documents_are_told_with_their_error(tmp_path: Path) -> None:
    """A document that could not be processed now, and could before, is removed by that operator and error; and the other way round."""
    before = Made(quarantined=[((0, 7), "read", "null_text")])
    before.shards = [*before.shards, ("", [(1, 5)])]
    after = Made()
    for name, made in (("before", before), ("after", after)):
        made.write(open_store(str(tmp_path / name)))
    pair = finished(tmp_path / "before", "v1"), finished(tmp_path / "after", "v1")
    for old, new in (pair, pair[::-1]):
        found = compare_documents(old, new)
        assert found.counts is not None, found.because
        causes = [
            (cause.what, cause.operator, cause.reason, number) for cause, number in (*found.counts.removed_by, *found.counts.added_by)
        ]
        assert causes == [("quarantined", "tokenize", "too_odd", 1)]
        assert [one.row for one in (*found.removed, *found.added)] == [5]


@pytest.mark.chaos
def test_memory_does_not_grow_with_the_number_of_documents(shm_path: Path) -> None:
    """The keys of a million lost documents are compared in passes, in the memory that those of one pass take."""
    child = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("difference_memory.py")), str(shm_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    few, many = json.loads(child.stdout)
    # Of each six rows 0 is lost in both, 2 and 4 only in the old version, 3 only in the new one.
    assert [(one["removed"], one["added"]) for one in (few, many)] == [(20_000, 40_000), (200_000, 400_000)]
    assert few["growth"] + many["growth"] < 32 << 20, (few, many)
