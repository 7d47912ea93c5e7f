"""The exchange of near-duplicates alone: millions of synthetic signatures through buckets, verification, components and decision.

    python benchmarks/bench_exchange_near.py                                           # half a million and a million
    python benchmarks/bench_exchange_near.py --rows 1000000 2000000 5000000 10000000   # 11 GB of disk at the largest

Keys and features of units are written as units leave them (signature_rows.py), then everything between them and the verdicts on the units
goes as in a run: the engine's driver, with default limits, on a Ray of two cores. Of each kind of task: how many, wall seconds of the step,
CPU seconds, bytes written, and the largest peak of a task's resident memory, which is set back before each task. The bound is 1.5 GiB; time
and bytes are to grow as the rows do (`per million`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.signature_rows import make_unit, orders  # noqa: E402
from cluster import session  # noqa: E402
from cluster.resources import Needs  # noqa: E402
from cluster.tasks import ONE_CORE, Done, Executor  # noqa: E402
from operators.minhash import MinhashDedup  # noqa: E402
from pipelines.commit import CommitLog, Record, digest  # noqa: E402
from pipelines.drive import Driver  # noqa: E402
from pipelines.exchange import Limits  # noqa: E402
from pipelines.fingerprint import engine_facts, fingerprint  # noqa: E402
from pipelines.frames import read_frames  # noqa: E402
from pipelines.identity import uri_prefix  # noqa: E402
from pipelines.inventory import prefixes_path  # noqa: E402
from pipelines.lease import Lease  # noqa: E402
from pipelines.near_grouping import UnitKeys, group_near  # noqa: E402
from pipelines.operatorspec import OperatorSpec  # noqa: E402
from pipelines.steps import Steps  # noqa: E402
from pipelines.storage import Store, open_store  # noqa: E402
from pipelines.work import Work  # noqa: E402
from pipelines.worker import Place  # noqa: E402

STAGE: Final = "bench"
INVENTORY: Final = "inventory"
BOUND_BYTES: Final = 3 << 29
WARM_ROWS: Final = 500_000
"""Documents of a first exchange that does not count, so that workers have their kernels: enough of them for every step."""


class FreshPeaks(Executor):
    """Runs calls elsewhere, each with the peak of its process set back before."""

    def __init__(self, inner: Executor) -> None:
        super().__init__(inner.slots)
        self._inner = inner

    def submit(self, token: int, function: Callable[[Any], Any], argument: Any, needs: Needs = ONE_CORE) -> None:
        """See Executor."""

        def fresh(argument: Any) -> Any:
            Path("/proc/self/clear_refs").write_text("5")  # Linux: sets the peak of the resident size back
            return function(argument)

        self._inner.submit(token, fresh, argument, needs)

    def wait(self, timeout_seconds: float) -> list[Done]:
        """See Executor."""
        return self._inner.wait(timeout_seconds)

    def cancel(self) -> None:
        """See Executor."""
        self._inner.cancel()


@dataclass
class Step:
    """What the tasks of one kind took."""

    tasks: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    bytes: int = 0
    peak_rss_bytes: int = 0


@dataclass
class Measured:
    """The driver's part of a run: completes work, and keeps count."""

    driver: Driver
    log: CommitLog
    steps: dict[str, Step] = field(default_factory=dict)

    def complete(self, works: Sequence[Work]) -> None:
        """Do work of one kind."""
        if not works:
            return
        step = self.steps.setdefault(works[0].kind, Step())
        started = time.perf_counter()
        self.driver.complete(self.log, works)
        step.wall_seconds += time.perf_counter() - started
        for record in self.log.records(work.key for work in works):
            _count(step, record)


def _count(step: Step, record: Record) -> None:
    step.tasks += 1
    step.cpu_seconds += record.usage["seconds"]
    step.bytes += sum(part.bytes for part in record.parts.values())
    step.peak_rss_bytes = max(step.peak_rss_bytes, record.usage["peak_rss_bytes"])


def units_of(executor: Executor, output: Path, total: int, unit_rows: int) -> list[UnitKeys]:
    """Keys and features of all units, in order."""
    listed = list(orders(str(output), STAGE, total, unit_rows))
    for number, order in enumerate(listed):
        executor.submit(number, make_unit, order)
    found: dict[int, UnitKeys] = {}
    while len(found) < len(listed):
        for done in executor.wait(1.0):
            if done.loss is not None:
                raise RuntimeError(done.message)
            found[done.token] = done.value
    return [found[number] for number in range(len(listed))]


def place(store: Store, output: Path, num_files: int, epoch: int) -> Place:
    """What workers are told of the run."""
    store.create(prefixes_path(INVENTORY), b"".join(uri_prefix(str(number)) for number in range(num_files)))
    return Place(str(output), {}, {}, INVENTORY, "text", 0, {}, epoch, fingerprint(engine_facts()))


def removed(store: Store, refs: Iterable[Any]) -> int:
    """Verdicts that there are."""
    return sum(batch.num_rows for ref in refs if ref is not None for batch in read_frames(store, [ref]))


def measure(executor: Executor, output: Path, total: int, unit_rows: int, limits: Limits) -> dict[str, Any]:
    """One exchange of so many documents. The folder is there only meanwhile."""
    output.mkdir(parents=True)
    store = open_store(str(output))
    store.check()
    started = time.perf_counter()
    units = units_of(executor, output, total, unit_rows)
    made = time.perf_counter()
    with Lease(store) as lease:
        driver = Driver(FreshPeaks(executor), lease, place(store, output, len(units), lease.epoch), lambda _record, _work: None)
        measured = Measured(driver, CommitLog(store, STAGE, 0))
        steps = Steps(measured.log, measured.complete, OperatorSpec.of(MinhashDedup(), ROOT), limits)
        verdicts = group_near(steps, units, [unit.place for unit in units])
    ended = time.perf_counter()
    num_removed = removed(store, (verdict.frame for verdict in verdicts))
    shutil.rmtree(output)
    sums = [vars(step) for step in measured.steps.values()]
    return {
        "rows": total,
        "removed": num_removed,
        "digest": digest(*(verdict.digest for verdict in verdicts)),
        "input_bytes": sum(unit.keys.bytes + unit.features.bytes for unit in units),
        "making_seconds": round(made - started, 1),
        "wall_seconds": round(ended - made, 1),
        "driver_seconds": round(ended - made - sum(step["wall_seconds"] for step in sums), 2),
        "cpu_seconds": round(sum(step["cpu_seconds"] for step in sums), 1),
        "bytes": sum(step["bytes"] for step in sums),
        "peak_rss_bytes": max(step["peak_rss_bytes"] for step in sums),
        "steps": {
            kind: {name: round(value, 2) if isinstance(value, float) else value for name, value in vars(step).items()}
            for kind, step in measured.steps.items()
        },
    }


def markdown(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Two tables for the docs: the whole by rows, and the steps of the largest."""
    yield "| rows | removed | wall s | CPU s | GB written | largest task, GiB | wall s per million | CPU s per million | GB per million |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for result in results:
        wall, cpu, size, millions = result["wall_seconds"], result["cpu_seconds"], result["bytes"] / 1e9, result["rows"] / 1e6
        cells = [f"{wall:.1f}", f"{cpu:.1f}", f"{size:.2f}", f"{result['peak_rss_bytes'] / (1 << 30):.2f}"]
        each = [f"{wall / millions:.2f}", f"{cpu / millions:.2f}", f"{size / millions:.3f}"]
        yield f"| {result['rows']:,} | {result['removed']:,} | " + " | ".join(cells + each) + " |"
    last = results[-1]
    yield ""
    yield f"| step, {last['rows']:,} rows | tasks | wall s | CPU s | GB written | largest task, GiB |"
    yield "|---|---:|---:|---:|---:|---:|"
    for kind, step in last["steps"].items():
        cells = [f"{step['wall_seconds']:.1f}", f"{step['cpu_seconds']:.1f}", f"{step['bytes'] / 1e9:.2f}"]
        yield f"| {kind} | {step['tasks']} | " + " | ".join([*cells, f"{step['peak_rss_bytes'] / (1 << 30):.2f}"]) + " |"


@contextlib.contextmanager
def cores(number: int) -> Iterator[Executor]:
    """Where tasks run: a Ray of so many cores, or without any in this process."""
    with session.local(number) if number else session.inline() as executor:
        yield executor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[500_000, 1_000_000])
    parser.add_argument("--unit-rows", type=int, default=32_768, help="documents of a unit: 128 MiB of text")
    parser.add_argument("--task-bytes", type=int, default=Limits().task_bytes, help="rows that a task holds at once")
    parser.add_argument("--cores", type=int, default=2, help="0: no Ray, this process")
    parser.add_argument("--folder", type=Path, default=None, help="where to work; default: a temporary folder")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "exchange_near.json")
    options = parser.parse_args()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    limits = Limits(task_bytes=options.task_bytes)
    results = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, cores(options.cores) as executor:
        measure(executor, Path(folder) / "warm", min(WARM_ROWS, options.rows[0]), options.unit_rows, limits)
        for total in options.rows:
            results.append(measure(executor, Path(folder) / str(total), total, options.unit_rows, limits))
            print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"cores": options.cores, "bound_bytes": BOUND_BYTES, "results": results}, indent=1) + "\n")
    print("\n".join(markdown(results)))


if __name__ == "__main__":
    main()
