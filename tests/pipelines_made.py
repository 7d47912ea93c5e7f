"""A small pipeline in which everything happens, runs of it in processes that may be killed, and what a finished output must be.

Children come from a fork server that has the libraries loaded, but neither `pipelines.faults` nor `pipelines.lease`, which read the
environment when they are imported: each child gets its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.config import PipelineConfig, load
from pipelines.storage import Store, open_store

ROOT = Path(__file__).resolve().parent.parent
PRELOADED = ["pipelines_made", "pandas", "pyarrow.dataset", "s3fs", "pipelines.inventory", "pipelines.config", "cluster.session", "cffi"]
WARM = "SHARDMILL_TEST_WARM"
READS_ENVIRONMENT = ("pipelines.faults", "pipelines.lease")
SMALL = {"task_bytes": 4096, "range_bytes": 2048, "task_units": 4}
"""Bounds under which two hundred documents take two radix passes to the partitions, and one back to several ranges of units."""
INTERNAL = ("inventories/", "stages/", "versions/", "splits/", "submissions/", "tombstones/", "history/", "plan.json", "lease.json")
"""What may be left below `_shardmill/` when a run is finished; what of a history is not named, `history_made.unnamed_files` says."""
BAD = "this row cannot be processed"
WAIT_SECONDS = 120.0

OPERATOR = '''
"""Operators of the pipeline's own folder."""

import os
import signal
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from operators.base import BatchOperator, Result
from operators.exact_dedup import ExactDedup


class Measure(BatchOperator):
    """Add the number of characters. Fails for rows that say so; the environment may make it die for a row, or of a large batch."""

    type: Literal["measure"] = "measure"

    def open(self, assets):
        most = int(os.environ.get("SHARDMILL_TEST_MOST_ROWS", "1000000000"))
        poison = os.environ.get("SHARDMILL_TEST_POISON")
        hungry = os.environ.get("SHARDMILL_TEST_HUNGRY")

        def measure(batch):
            text = batch.column("text")
            ids = batch.column("id").to_pylist()
            if batch.num_rows > most or hungry in ids:
                raise MemoryError(f"{batch.num_rows} rows are too many")
            if poison in ids:
                os.kill(os.getpid(), signal.SIGKILL)
            if pc.any(pc.match_substring(text, "cannot be processed")).as_py():
                raise ValueError("a row cannot be processed")
            return Result(batch.append_column("num_chars", pc.cast(pc.utf8_length(text), pa.int64())))

        return measure


class Dedup(ExactDedup):
    """Exact deduplication; the environment may make it run out of memory with a large batch."""

    type: Literal["dedup"] = "dedup"

    def open(self, assets):
        most = int(os.environ.get("SHARDMILL_TEST_MOST_ROWS", "1000000000"))
        inner = super().open(assets)

        def keys(batch):
            if batch.num_rows > most:
                raise MemoryError(f"keys of {batch.num_rows} rows are too many")
            return inner(batch)

        return keys
'''


@pytest.fixture
def shm_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a kill leaves the same in it, and the hundreds of syncs of a run cost nothing."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="shardmill-test-", dir="/dev/shm") as folder:
        yield Path(folder)


# --- input and pipeline


def documents(number: int, seed: int, prefix: str) -> list[dict[str, Any]]:
    """Documents of which some are too short, some equal to others, and one cannot be processed."""
    draw = random.Random(seed)
    made = []
    for position in range(number):
        text = " ".join(draw.choice(("stone", "river", "cloud", "Wörter", "文字", "bread")) for _ in range(draw.randrange(8, 40)))
        if position % 5 == 1:
            text = f"a text that is shared, number {draw.randrange(6)}, in every file of the input"
        elif position % 11 == 3:
            text = "short"
        elif position == 7:
            text = BAD
        made.append({"id": f"{prefix}{position}", "text": text, "score": round(draw.random(), 3)})
    return made


def write_input(folder: Path, rows: int = 60, files: int = 3) -> Path:
    """Parquet files of several row groups, and a JSONL file with lines that are no documents."""
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("score", pa.float64())])
    for number in range(files):
        table = pa.Table.from_pylist(documents(rows, number, f"f{number}-"), schema=schema)
        pq.write_table(table, folder / f"part-{number}.parquet", row_group_size=12)
    lines = [json.dumps(row, ensure_ascii=False) for row in documents(rows // 2, 99, "j")]
    lines[4] = '{"id": "j4", "text": 7}'
    lines[9] = "{broken"
    (folder / "rest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_pipeline(folder: Path, source: Path, target: str, **changes: Any) -> Path:
    """The pipeline's file and its operator; `changes` replace whole sections, or single keys of `output` and `execution`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.py").write_text(OPERATOR)
    made = {
        "name": "small",
        "input": {"uri": [f"{source}/*.parquet", f"{source}/*.jsonl"]},
        "operators": changes.get("operators", operators()),
        "output": {"uri": target, "target_shard_bytes": "6KiB", **changes.get("output", {})},
        "execution": {"unit_bytes": "5KiB", "batch_bytes": "2KiB", "max_quarantined_fraction": 0.2, **changes.get("execution", {})},
        "cluster": changes.get("cluster", {"type": "inline"}),
    }
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(made, sort_keys=False))
    return path


def operators(max_chars: int = 200) -> list[dict[str, Any]]:
    """Two stages: batch operators, a group operator, a batch operator."""
    return [
        {"type": "length_filter", "min_chars": 8},
        {"type": "own:Measure", "name": "measure"},
        {"type": "exact_dedup"},
        {"type": "filter_where", "where": f"num_chars < {max_chars} and score > 0.05"},
    ]


# --- processes


@dataclass
class Child:
    """A run in a process of its own."""

    process: BaseProcess
    answer: Path
    trace: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def wait(self, seconds: float = WAIT_SECONDS) -> int:
        """The exit status once it has ended; that of a killed process is minus the signal."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"a run has not ended after {seconds} s; it passed {self.points()[-3:]}")
        return self.process.exitcode

    def points(self) -> list[str]:
        """Fault points that it passed, in order."""
        return self.trace.read_text().split() if self.trace.exists() else []

    def answered(self) -> dict[str, Any]:
        """What it said at its end: `was_finished` and `version`, or `error` and `message`."""
        found: dict[str, Any] = json.loads(self.answer.read_text())
        return found


@dataclass
class Runs:
    """Starts runs of one pipeline file. Every child's answer and trace have names of their own in `folder`."""

    pipeline: Path
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    ingests: bool = False
    _count: int = 0

    def __post_init__(self) -> None:
        (self.folder / "once").mkdir(parents=True, exist_ok=True)

    def start(
        self,
        fault: str = "",
        limits: Mapping[str, int] | None = SMALL,
        pipeline: Path | None = None,
        once: bool = True,
        **environment: str,
    ) -> Child:
        """Start a run. `fault` as in SHARDMILL_FAULT; with `once` each fires once for this object's runs together."""
        self._count += 1
        answer, trace = self.folder / f"answer-{self._count}.json", self.folder / f"trace-{self._count}.txt"
        passed = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "RAY_"))}
        faults = {"SHARDMILL_FAULT": fault} if fault else {}
        if once:
            faults["SHARDMILL_FAULT_ONCE"] = str(self.folder / "once")
        settings = {**passed, **self.environment, **faults, **environment}
        target = pipeline or self.pipeline
        process = server().Process(
            target=_run, args=(str(target), settings, dict(limits or {}), str(answer), str(trace), self.ingests), daemon=False
        )
        process.start()
        return Child(process, answer, trace)

    def run(self, fault: str = "", **environment: str) -> Child:
        """Start a run and wait for its end."""
        child = self.start(fault, **environment)
        child.wait()
        return child

    def finish(self, **environment: str) -> dict[str, Any]:
        """Run to the end, which must be a good one."""
        child = self.start(**environment)
        assert child.wait() == 0, child.answered()
        return child.answered()

    def fired(self, point: str) -> bool:
        """Whether a fault at this point happened."""
        return (self.folder / "once" / point.partition("@")[0]).exists()

    def config(self) -> PipelineConfig:
        return load(self.pipeline)

    def store(self) -> Store:
        output = self.config().output
        return open_store(output.uri, output.storage_options)


def server() -> Any:
    """The fork server's context. Set up at its first use in a session, as multiprocessing has only one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:  # before Python 3.13 the server does not take over our sys.path
        patch.setenv(WARM, "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        forkserver.ensure_running()
    return context


def _run(pipeline: str, environment: dict[str, str], limits: dict[str, int], answer: str, trace: str, ingests: bool) -> None:
    """A child's whole life: a run as the command does it, its exit status, and an answer in a file."""
    early = [name for name in READS_ENVIRONMENT if name in sys.modules]
    assert not early, f"{early} were imported before the child's environment was set"
    os.environ.update(environment)
    from pipelines import faults
    from pipelines.errors import ShardmillError
    from pipelines.exchange import Limits
    from pipelines.ingest import ingest
    from pipelines.run import run

    _trace(faults, trace)
    status, said = 0, {}
    try:
        if ingests:
            taken = ingest(load(Path(pipeline)), limits=Limits(**limits))
            said = {"was_finished": not taken.is_new, "version": taken.manifest and taken.manifest["version"]}
        else:
            result = run(load(Path(pipeline)), limits=Limits(**limits))
            said = {"was_finished": result.was_finished, "version": result.manifest["version"]}
    except ShardmillError as error:
        status, said = error.exit_status, {"error": type(error).__name__, "message": error.message}
    except BaseException as error:  # noqa: BLE001  the edge of the process
        status, said = 70, {"error": type(error).__name__, "message": traceback.format_exc()}
    Path(answer).write_text(json.dumps(said))
    sys.exit(status)


def _trace(faults: Any, path: str) -> None:
    """Write down every point that is passed, before what happens there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    inner = faults.point

    def point(name: str) -> None:
        os.write(descriptor, name.encode() + b"\n")
        inner(name)

    faults.point = point


# --- what must be there in the end


def contents(store: Store) -> dict[str, bytes]:
    """Every file outside `_shardmill/`: manifests without times and the output's place; card and reports are checked against them."""
    found = {info.path: store.read(info.path) for info in store.list() if not info.path.startswith("_shardmill/")}
    return {path: _comparable(path, data, found) for path, data in found.items()}


def _comparable(path: str, data: bytes, found: Mapping[str, bytes]) -> bytes:
    from pipelines.card import card

    folder = path.rpartition("/")[0]
    match path.rpartition("/")[2]:
        case "manifest.json":
            return json.dumps(_timeless(json.loads(data)), indent=1).encode()
        case "README.md":
            assert data.decode() == card(json.loads(found["manifest.json"])), "the card is not the one of the manifest"
            return b"the card of the manifest"
        case "report.html":
            made = json.loads(found[f"{folder}/manifest.json"])
            assert f"{made['name']} {made['version']}".encode() in data, f"{path} is not the report of its manifest"
            assert made["created_at"].encode() in data, f"{path} is not the report of its manifest"
            return b"a report of the manifest: what work took, and how often it was tried, differs between runs"
    return data


def _timeless(manifest: dict[str, Any]) -> dict[str, Any]:
    for operator in manifest["operators"]:
        operator["seconds"] = None
    for key in ("output", "cluster", "execution", "submit"):
        manifest["config"].pop(key, None)
    manifest["created_at"] = None
    return manifest


def internals(store: Store) -> list[str]:
    """Everything below `_shardmill/`, also what a store hides; locks, which are for ever, left out."""
    hidden = Path(store.uri, "_shardmill", "tmp")
    files = [f"_shardmill/tmp/{path.name}" for path in hidden.iterdir()] if store.kind == "local" and hidden.exists() else []
    return files + [info.path for info in store.list("_shardmill")]


def orphans(store: Store) -> list[str]:
    """What a finished output should not hold: files that no table names, parts, temporary files."""
    from pipelines.version import claims

    inside = [path for path in internals(store) if not path.removeprefix("_shardmill/").startswith(INTERNAL)]
    live = {claim.name for claim in claims(store) if claim.state == "finished"}
    named = {"manifest.json", "README.md"}
    for version in live:
        manifest = json.loads(store.read(f"versions/{version}/manifest.json"))
        shards = pq.read_table(pa.BufferReader(store.read(f"versions/{version}/shards.parquet")))["path"].to_pylist()
        tables = [file["path"] for table in manifest["tables"].values() for file in table.get("files", ())]
        learned = [entry["path"] for entry in manifest.get("learned", ())]
        own = (f"versions/{version}/{name}" for name in ("manifest.json", "report.html", "shards.parquet"))
        named |= {*shards, *tables, *learned, *own}
        if "token_shards" in manifest["tables"]:
            path = f"versions/{version}/token_shards.parquet"
            named |= {path, *pq.read_table(pa.BufferReader(store.read(path)))["path"].to_pylist()}
    return inside + [info.path for info in store.list() if not info.path.startswith("_shardmill/") and info.path not in named]


def rows_of(store: Store, prefix: str) -> list[dict[str, Any]]:
    """Rows of all Parquet files below a folder."""
    paths = [info.path for info in store.list(prefix) if info.path.endswith(".parquet")]
    return [row for path in paths for row in pq.read_table(pa.BufferReader(store.read(path))).to_pylist()]


def assert_each_once(store: Store, version: str = "v1", rows: int = 210) -> None:
    """Every row of the input is in exactly one of: shards, dropped, quarantine; duplicates are among the dropped; so says the ledger."""
    manifest = json.loads(store.read(f"versions/{version}/manifest.json"))
    kept, dropped = rows_of(store, f"data/{version}"), rows_of(store, f"versions/{version}/dropped")
    bad, duplicates = rows_of(store, f"versions/{version}/quarantine"), rows_of(store, f"versions/{version}/duplicates")
    ids = Counter(row["id"] for row in kept)
    assert not [name for name, times in ids.items() if times > 1]
    places = Counter((row["uri"], row["row"]) for row in dropped + bad)
    assert not [place for place, times in places.items() if times > 1]
    ledger = manifest["ledger"]
    num_dropped = sum(sum(reasons.values()) for reasons in ledger["dropped"].values())
    counted = (ledger["rows_in"], ledger["rows_out"], num_dropped, sum(ledger["quarantined"].values()))
    assert counted == (rows, len(kept), len(dropped), len(bad))
    assert len(kept) + len(dropped) + len(bad) == rows
    assert {row["doc_key"] for row in duplicates} == {row["doc_key"] for row in dropped if row["reason"].endswith("_duplicate")}
    for operator in {row["operator"] for row in duplicates}:
        mine = [row for row in duplicates if row["operator"] == operator]
        assert {row["kept_id"] for row in mine if row["kept_id"] is not None}.isdisjoint(row["id"] for row in mine)


def same(found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> Sequence[str]:
    """Paths that are in one only, or differ."""
    return sorted(path for path in {*found, *expected} if found.get(path) != expected.get(path))


def _warm() -> None:
    """Load the compiled kernels, and parse the operators' sources, once in the fork server. Starts no thread."""
    from operators.custom import source_files
    from operators.exact_dedup import ExactDedup
    from operators.kernels.hashing import hash_bytes
    from operators.length import LengthFilter
    from operators.where import FilterWhere

    hash_bytes(pa.array(["a"], pa.large_string()))
    for made in (ExactDedup, LengthFilter, FilterWhere):
        source_files(made)


if os.environ.pop(WARM, None) is not None:
    _warm()
