"""The answer does not depend on the machine: workers, sizes, bounds of the exchange and the order of files change no byte."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from corpora import (
    SCHEMA,
    SHARED_TEXT,
    TINY,
    Document,
    config_of,
    custom,
    differences,
    documents,
    files_of,
    finished,
    hive_corpus,
    lasting,
    output_of,
    write_jsonl,
    write_parquet,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.base import GroupOperator
from operators.exact_dedup import ExactDedup
from pipelines import drive
from pipelines.commit import CommitLog
from pipelines.exchange import DecideJob, GatherJob, Limits, Source, UnitPlace, by_key, decide, passes
from pipelines.formats import ReadOptions
from pipelines.frames import FrameRef, read_frames, refs
from pipelines.inventory import Inventory, take_inventory
from pipelines.operatorspec import OperatorSpec
from pipelines.pack import cut
from pipelines.partitioning import ByPlace
from pipelines.plan import PLACE_ROWS
from pipelines.results import inventory_path
from pipelines.run import run
from pipelines.storage import MemoryStore, Sources
from pipelines.worker import Attempt

pytestmark = pytest.mark.usefixtures("no_fsync")

EXECUTION = {"max_quarantined_fraction": 0.1, "unit_bytes": "8KiB", "batch_bytes": "2KiB"}

GROUPS = [
    {"type": "length_filter", "min_chars": 3, "max_chars": 150},
    {"type": "exact_dedup", "within": ["dump"]},
    {"type": "exact_dedup", "columns": ["url"], "keep": "longest"},
    {"type": "filter_where", "where": "length(text) < 140"},
    {"type": "exact_dedup", "columns": ["id"], "keep": "highest", "by": "score", "name": "scored"},
    {"type": "filter_where", "where": "lang != 'de' or length(text) > 20", "name": "last"},
]
"""Consecutive group operators, `within` a path column, and every way to choose the one that stays."""

NEAR = [
    {"type": "length_filter", "min_chars": 3},
    {"type": "minhash_dedup", "within": ["dump"], "shingle_size": 2, "bands": 16, "rows": 2, "threshold": 0.6, "num_duplicates": "copies"},
    {
        "type": "minhash_dedup",
        "name": "exactly",
        "verify": "exact",
        "keep": "longest",
        "shingle": "char",
        "shingle_size": 6,
        "bands": 16,
        "rows": 2,
        "threshold": 0.4,
        "max_candidates": 3,
    },
    {"type": "filter_where", "where": "lang != 'de' or length(text) > 60", "name": "last"},
]
"""Near-duplicates by both ways to verify, the second among what the first leaves, in the order of places and of a policy."""

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {"input": {"path_columns": ["dump"]}, "output": {"target_shard_bytes": "2KiB"}},
    "partitioned": {
        "input": {"path_columns": ["dump"], "id_column": None},
        "output": {"target_shard_bytes": "2KiB", "columns": ["lang", "text", "dump"], "partition_by": ["dump", "lang"], "dropped": True},
    },
    "near": {"input": {"path_columns": ["dump"]}, "output": {"target_shard_bytes": "2KiB"}},
}


@dataclass
class Undisturbed:
    """A pipeline over a corpus, and what a plain run of it leaves."""

    folder: Path
    source: Path
    shape: dict[str, Any]
    operators: list[dict[str, Any]]

    def config(self, name: str, source: Any = None, cluster: Any = None, **execution: Any) -> Any:
        sections = {**self.shape, "execution": {**EXECUTION, **execution}, "cluster": cluster or {"type": "inline"}}
        return config_of(self.folder / f"{name}.yaml", source or f"{self.source}/", self.folder / name, self.operators, **sections)

    @cached_property
    def files(self) -> dict[str, bytes]:
        finished(self.config("undisturbed"))
        return files_of(self.folder / "undisturbed")

    def check(self, name: str, limits: Limits | None = None, **how: Any) -> None:
        """A run of another kind leaves the same files and bytes."""
        assert self.files
        finished(self.config(name, **how), limits)
        assert differences(self.files, files_of(self.folder / name)) == []


@pytest.fixture(scope="module", params=list(SHAPES))
def undisturbed(request, tmp_path_factory) -> Undisturbed:
    folder = tmp_path_factory.mktemp(request.param)
    return Undisturbed(folder, hive_corpus(folder / "in"), SHAPES[request.param], NEAR if request.param == "near" else GROUPS)


def test_the_pipelines_of_this_file_do_something(undisturbed):
    """Every operator drops something, rows are quarantined, and there are several shards, so that equality means something."""
    assert undisturbed.files
    found = output_of(undisturbed.folder / "undisturbed")
    assert set(found.manifest["ledger"]["dropped"]) == {entry["name"] for entry in found.manifest["operators"]}
    assert found.manifest["ledger"]["quarantined"] == {"invalid_json": 1, "invalid_utf8": 1, "null_text": 1}
    assert len(found.shards()) > 3
    assert any(row["num_duplicates"] > 30 for row in found.table("duplicates"))


@pytest.mark.parametrize(
    "execution",
    [
        {"batch_bytes": "1KiB"},
        {"batch_bytes": "4KiB"},
        {"unit_bytes": "4KiB"},
        {"unit_bytes": "16KiB"},
        {"unit_bytes": "auto", "batch_bytes": "16MiB"},
        {"keep_intermediates": "latest"},
    ],
    ids=str,
)
def test_sizes_change_no_byte(undisturbed, execution):
    """Batches and units of half and double the size, or everything at once, give the same files."""
    undisturbed.check("-".join(map(str, (*execution, *execution.values()))), **execution)


def test_tiny_bounds_of_the_exchange_change_no_byte(undisturbed):
    """Radix passes, bounded rounds for a text that a third of the documents share, and several gather ranges give the same files."""
    assert len(passes(64, TINY.fan_out)) > 2
    undisturbed.check("tiny", TINY)


def test_the_order_of_the_list_changes_no_byte(undisturbed):
    """Files named one by one, backwards, give the same files: the inventory is in the order of the addresses."""
    names = sorted((str(path) for path in undisturbed.source.rglob("*.*")), reverse=True)
    undisturbed.check("backwards", source=names)


@pytest.mark.ray
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.chaos), 2])
def test_workers_change_no_byte(undisturbed, connected, workers, monkeypatch):
    """One and two workers on Ray give the files of a run without Ray."""
    monkeypatch.setattr(drive, "TASKS_A_SLOT", 1)  # as many tasks under way as workers, so that one means one
    cluster = {"type": "local", "num_cpus": workers}
    undisturbed.check(f"ray-{workers}", Limits(task_bytes=16 << 10, range_bytes=1 << 10), cluster=cluster)


def test_where_the_work_ran_does_not_show_in_the_plan(undisturbed):
    """An output that one way of running finished is finished for every other: sizes and cluster are in no fingerprint."""
    assert undisturbed.files
    again = undisturbed.config("undisturbed", unit_bytes="1KiB", batch_bytes="1KiB", keep_intermediates="latest")
    assert run(again).was_finished


# --- against a plain reference

texts = st.sampled_from(["a", "b", "cc", "dd dd", "eee e", "ffff", "ä\u0301", ""])
corpora = st.lists(st.lists(st.tuples(texts, st.sampled_from(["u", "v", None])), max_size=7), min_size=1, max_size=4)


def reference(files: Sequence[Sequence[Document]]) -> tuple[list[str], Counter[tuple[str, str]]]:
    """The pipeline as anyone would write it: ids of the documents that stay in the inventory's order, and what was dropped why."""
    rows = [row for file in files for row in file]
    gone: Counter[tuple[str, str]] = Counter()
    long_enough = [row for row in rows if len(row["text"]) >= 2]
    gone["length_filter", "too_short"] = len(rows) - len(long_enough)
    first: dict[str, Document] = {}
    for row in long_enough:
        first.setdefault(row["text"], row)
    gone["exact_dedup", "exact_duplicate"] = len(long_enough) - len(first)
    stays = [row for row in first.values() if row["url"] is not None and row["url"] != "v"]
    gone["filter_where", "unknown"] = sum(row["url"] is None for row in first.values())
    gone["filter_where", "not_met"] = len(first) - len(stays) - gone["filter_where", "unknown"]
    return [row["id"] for row in stays], +gone


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    corpus=corpora,
    unit=st.sampled_from(["1KiB", "auto"]),
    shard=st.sampled_from(["1KiB", "1MiB"]),
    tiny=st.booleans(),
    groups=st.integers(1, 5),
)
def test_any_corpus_gives_what_plain_python_gives(tmp_path_factory, corpus, unit, shard, tiny, groups):
    """Shards one after the other are the reference's documents in the inventory's order, and the drop table its counts."""
    folder = tmp_path_factory.mktemp("any")
    files = [
        [{"id": f"{number}-{row}", "text": text, "url": url} for row, (text, url) in enumerate(file)] for number, file in enumerate(corpus)
    ]
    for number, file in enumerate(files):
        write_parquet(folder / "in" / f"{number}.parquet", file, groups, pa.schema([SCHEMA.field(name) for name in ("id", "text", "url")]))
    operators = [{"type": "length_filter", "min_chars": 2}, {"type": "exact_dedup"}, {"type": "filter_where", "where": "url != 'v'"}]
    sections = {"output": {"target_shard_bytes": shard}, "execution": {"unit_bytes": unit, "batch_bytes": "1KiB"}}
    config = config_of(folder / "p.yaml", f"{folder}/in/", folder / "out", operators, **sections)
    found = finished(config, Limits(task_bytes=256, range_bytes=64, task_units=1) if tiny else None)
    expected, gone = reference(files)
    assert [row["id"] for row in found.rows()] == expected
    assert Counter((row["operator"], row["reason"]) for row in found.table("dropped")) == gone
    kept = {row["kept_id"]: row["num_duplicates"] for row in found.table("duplicates")}
    assert kept == Counter(row["kept_id"] for row in found.table("duplicates"))


# --- the jobs of the exchange


class Desk:
    """A worker in this process: an inventory in memory and parts of attempts."""

    def __init__(self, inventory: Inventory, name: str) -> None:
        self.store = MemoryStore(f"memory://{name}")
        self.place = SimpleNamespace(inventory_path=inventory_path(inventory))
        inventory.save(self.store, self.place.inventory_path)
        self.log = CommitLog(self.store, "stage", 0)
        self._written = 0

    def source(self, batch: pa.RecordBatch, frame_rows: int = 7) -> Source:
        """A part with these rows in small frames."""
        attempt = self.attempt()
        with attempt.writer("rows") as writer:
            for start in range(0, batch.num_rows, frame_rows):
                writer.write(batch.slice(start, frame_rows))
            part = writer.finish()
        return Source(tuple(refs(part)), bytes=0 if part is None else part.bytes)

    def attempt(self) -> Attempt:
        self._written += 1
        return Attempt(self.log, f"{self._written:032x}")

    def rows(self, frames: Sequence[FrameRef]) -> list[dict[str, Any]]:
        return [row for batch in read_frames(self.store, frames) for row in batch.to_pylist()]


@pytest.fixture
def desk(tmp_path) -> Desk:
    for number in range(3):
        write_parquet(tmp_path / f"{number}.parquet", documents(60, seed=number))
    inventory = take_inventory(Sources(), [f"{tmp_path}/"], ReadOptions(None, "text", "id", ()))
    return Desk(inventory, tmp_path.name)


def keyed(num_rows: int, num_keys: int, seed: int) -> pa.RecordBatch:
    """Keys of documents in the inventory's order, few different ones, the first of them in half of the rows."""
    draw = np.random.default_rng(seed)
    key = np.where(draw.random(num_rows) < 0.5, 0, draw.integers(0, num_keys, num_rows)).astype(np.uint64)
    place = np.sort(draw.choice(180, num_rows, replace=False))
    columns = {
        "file": place // 60,
        "row": place % 60,
        "key_hi": key * np.uint64(2**61 + 12345),
        "key_lo": key,
        "rank": draw.integers(0, 3, num_rows).astype(np.uint64),
        "tie": draw.integers(0, 2, num_rows).astype(np.uint64),
    }
    return pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})


@pytest.mark.parametrize("keep", ["first", "longest"])
@pytest.mark.parametrize("seed", range(4))
def test_a_partition_is_decided_alike_at_once_and_in_rounds(desk, keep, seed):
    """A key that half of the documents have is decided in bounded rounds as if it had been held at once, whatever the rounds are."""
    operator = OperatorSpec.of(ExactDedup(keep=keep, name="dedup"), Path())
    rows = keyed(120, 6, seed)
    if keep == "first":
        rows = rows.select(["file", "row", "key_hi", "key_lo"])
    source = desk.source(rows)
    found = []
    for task_bytes in (1 << 20, 1, 300, 2000):
        outcome = DecideJob(operator, (source,), task_bytes).run(desk, desk.attempt())
        verdicts = desk.rows(refs(outcome.parts["verdicts"]))
        found.append(sorted(verdicts, key=lambda row: (row["file"], row["row"])))
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == rows.num_rows - len(set(rows.column("key_lo").to_pylist()))


class KeepsAll(GroupOperator):
    """Removes nothing, and may have any number of kept documents a key."""

    type: str = "keeps_all"

    def open(self, assets: Any) -> Any:
        raise NotImplementedError

    def decide(self, rows: pa.RecordBatch) -> Any:
        return ExactDedup().decide(rows.slice(0, 0))


def test_verdicts_that_cannot_be_are_refused():
    """An operator that removes a document twice, or in favour of itself, is to blame by name."""
    from operators.base import Verdicts
    from pipelines.errors import UnitError

    class Contradicts(KeepsAll):
        removed: list[int]
        kept: list[int]

        def decide(self, rows: pa.RecordBatch) -> Verdicts:
            ones = np.ones(len(self.removed), np.int64)
            return Verdicts(np.array(self.removed), np.array(self.kept), ones.astype(np.float32), ones)

    rows = by_key(keyed(10, 2, 0)).drop_columns(["tie"])  # without a policy no doc_key is asked for
    for removed, kept in (([1, 1], [0, 2]), ([1], [1])):
        with pytest.raises(UnitError, match="'odd' removed a document twice, or in favour of itself"):
            decide(None, Contradicts(name="odd", removed=removed, kept=kept), rows)


@pytest.mark.parametrize("num_units", [1, 3, 10])
def test_verdicts_find_their_units(desk, num_units):
    """Gathered in any ranges, each unit gets exactly the verdicts on its rows, and a digest that depends on them alone."""
    rows = keyed(90, 5, 1).select(["file", "row", "key_hi", "key_lo"])
    outcome = DecideJob(OperatorSpec.of(ExactDedup(name="dedup"), Path()), (desk.source(rows),), 1 << 20).run(desk, desk.attempt())
    decided = Source(tuple(refs(outcome.parts["verdicts"])))
    expected = sorted((row["file"] * 60 + row["row"], row["kept_doc_key"]) for row in desk.rows(decided.frames))
    bounds = np.linspace(0, 180, num_units + 1).astype(int).tolist()
    places = [unit_between(start, stop) for start, stop in itertools.pairwise(bounds)]
    digests: list[dict[str, str]] = []
    for width in (1, 2, num_units):
        found, told = [], {}
        for first in range(0, num_units, width):
            units = tuple(places[first : first + width])
            gathered = GatherJob((decided,), units).run(desk, desk.attempt())
            part = gathered.parts["verdicts"]
            told |= {str(first + int(position)): digest for position, digest in gathered.detail["digests"].items()}
            for frame, ref in zip(part.frames, refs(part), strict=True) if part is not None else ():
                unit = units[int(part.groups[frame[4]])]
                mine = [(unit.ordinals[row["file"]] * 60 + row["row"], row["kept_doc_key"]) for row in desk.rows([ref])]
                assert mine == sorted(mine)
                assert all(bounds[places.index(unit)] <= place < bounds[places.index(unit) + 1] for place, _ in mine)
                found += mine
        assert sorted(found) == expected
        digests.append(told)
    assert digests[0] == digests[1] == digests[2]


def unit_between(start: int, stop: int) -> UnitPlace:
    """The unit of the documents from one number to before another, 60 in each file."""
    last = stop - 1
    return UnitPlace(
        start // 60 * PLACE_ROWS + start % 60, last // 60 * PLACE_ROWS + last % 60 + 1, tuple(range(start // 60, last // 60 + 1))
    )


@given(st.integers(0, 14), st.integers(1, 10))
def test_radix_passes_cover_all_bits(bits, most):
    """However few partitions a pass may make, the passes together tell all of them apart, evenly."""
    made = passes(1 << bits, 1 << most)
    assert sum(made) == bits
    assert all(1 <= one <= most for one in made)
    assert max(made, default=0) - min(made, default=0) <= 1


def test_places_are_parted_at_the_starts_of_units():
    """A row belongs to the last range that begins at or before it."""
    batch = pa.RecordBatch.from_pydict({"file": [0, 0, 1, 1, 2], "row": [0, 9, 0, 5, 0]})
    assert ByPlace((0, PLACE_ROWS + 5)).of(batch).tolist() == [0, 0, 0, 1, 1]


def test_a_document_larger_than_a_shard_is_in_one_shard(tmp_path):
    """Shards are cut by the bytes before a row: a huge row is not torn, none is empty but the only one, and the numbers go on."""
    rows = [{"id": str(number), "text": "x" * (9000 if number == 2 else 100)} for number in range(30)]
    write_parquet(tmp_path / "in" / "a.parquet", rows, 5, pa.schema([SCHEMA.field("id"), SCHEMA.field("text")]))
    config = config_of(tmp_path / "p.yaml", f"{tmp_path}/in/", tmp_path / "out", output={"target_shard_bytes": 1024})
    found = finished(config)
    assert [row["id"] for row in found.rows()] == [str(number) for number in range(30)]
    assert all(row["rows"] > 0 for row in shards_table(found))
    assert list(cut([], 10)) == [(0, 10, ())]


def shards_table(found: Any) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(found.folder / "shards.parquet").to_pylist()
    return rows


def test_the_same_documents_as_parquet_and_as_jsonl_give_the_same_shards(tmp_path):
    """A shard's bytes are a function of its documents: the format and row groups that they came in do not show."""
    rows = [{"id": row["id"], "text": row["text"]} for row in documents(80, seed=5)]
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    write_parquet(tmp_path / "parquet" / "a.parquet", rows, 7, schema)
    write_jsonl(tmp_path / "jsonl" / "a.jsonl.gz", rows)
    found = []
    for name in ("parquet", "jsonl"):
        operators = [custom(tmp_path, "return Result(batch.select(['id', 'text']))"), {"type": "exact_dedup"}]
        config = config_of(tmp_path / f"{name}.yaml", f"{tmp_path}/{name}/", tmp_path / f"{name}-out", operators)
        found.append(finished(config))
    assert found[0].texts() == found[1].texts()
    assert found[0].texts().count(SHARED_TEXT) == 1
    hashes = [[row["sha256"] for row in shards_table(one)] for one in found]
    assert hashes[0] == hashes[1]
    assert lasting(found[0].manifest)["ledger"] == lasting(found[1].manifest)["ledger"]
