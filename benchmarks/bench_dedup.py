"""Near-duplicate removal from Parquet to Parquet on one core: ours, datatrove's four stages, and reading and writing alone.

    python benchmarks/bench_dedup.py                                     # documents of ../shared/data
    python benchmarks/bench_dedup.py --input '/tmp/bench/data/*.parquet' # a grown corpus (make_bench.py)

The three run in turns, in one process on one core; the best round of each counts, by the CPU time of the process (waiting for the disk and
for others does not count; wall time is told beside it). Rates are bytes of text a second. datatrove sees a part of the documents
(`--megabytes`, evenly from all), as it takes minutes for what ours does in a second; its executor is the local one, with one task where a
stage may have one. `signatures` compares the operator's keys, in memory, with datatrove's first stage.

Floors (DESIGN 11): the whole removal 80 times datatrove's and 0.15 of reading and writing alone; signatures 150 times datatrove's.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.worker import Worker  # noqa: E402
from operators.minhash import MinhashDedup  # noqa: E402
from pipelines.config import load  # noqa: E402
from pipelines.run import run  # noqa: E402

SHARED = Path(os.environ.get("SHARDMILL_SHARED", ROOT.parent / "shared")) / "data"
INPUTS = [SHARED / "docs" / name for name in ("en-open-*.parquet", "web-thirdparty-*.parquet", "neardup-*.parquet", "dups-*.parquet")]
STAGES = ("signatures", "buckets", "clusters", "removal")
BATCH_ROWS = 2048

Timed = tuple[float, float]
"""CPU and wall seconds."""


def alone(files: Sequence[str], folder: Path) -> int:
    """What the engine cannot beat: read batches, write them as zstd Parquet, nothing else. Returns bytes of text."""
    size = 0
    for number, file in enumerate(files):
        source = pq.ParquetFile(file)
        with pq.ParquetWriter(folder / f"{number}.parquet", source.schema_arrow, compression="zstd") as writer:
            for batch in source.iter_batches(batch_size=4096, use_threads=False):
                size += int(pc.sum(pc.binary_length(batch["text"])).as_py() or 0)
                writer.write_batch(batch)
    return size


def through(files: Sequence[str], folder: Path, removed: dict[str, int]) -> None:
    """The same with `minhash_dedup`, through the engine to a finished version."""
    file = folder / "dedup.json"
    pipeline = {
        "name": "dedup",
        "input": {"uri": list(files)},
        "operators": [{"type": "minhash_dedup"}],
        "output": {"uri": str(folder / "out")},
        "execution": {"max_quarantined_fraction": 1.0},
        "cluster": {"type": "inline"},
    }
    file.write_text(json.dumps(pipeline))
    ledger = run(load(file)).manifest["ledger"]
    removed |= {"documents": ledger["rows_in"], "removed": sum(ledger["dropped"].get("minhash_dedup", {}).values())}


def datatrove_stages(source: Path, folder: Path) -> dict[str, Callable[[], Any]]:
    """Datatrove's four stages with its defaults, as its example has them; Parquet in and out."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter

    config = MinhashConfig()
    signatures, buckets, removed = (str(folder / name) for name in ("signatures", "buckets", "removed"))
    writer = ParquetWriter(str(folder / "theirs"), output_filename="${rank}.parquet")

    def reader() -> Any:
        return ParquetReader(str(source.parent), glob_pattern=source.name)

    steps = (
        [reader(), MinhashDedupSignature(signatures, config=config)],
        [MinhashDedupBuckets(signatures, buckets, config=config)],
        [MinhashDedupCluster(buckets, removed, config=config)],
        [reader(), MinhashDedupFilter(removed), writer],
    )

    def execute(name: str, pipeline: list[Any]) -> None:
        tasks = config.num_buckets if name == "buckets" else 1  # it wants a task a bucket at least
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, skip_completed=False, logging_dir=str(folder / "logs" / name)).run()

    return {name: partial(execute, name, pipeline) for name, pipeline in zip(STAGES, steps, strict=True)}


def keys(files: Sequence[str]) -> Callable[[], None]:
    """The operator's keys, of documents in memory."""
    tables = [pq.read_table(file, columns=["text"]) for file in files]
    batches = pa.concat_tables(tables).cast(pa.schema([("text", pa.large_string())])).to_batches(BATCH_ROWS)
    function = MinhashDedup().open(Worker())

    def signed() -> None:
        for batch in batches:
            function(batch)

    return signed


def thinned(files: Sequence[str], megabytes: float, to: Path) -> int:
    """Documents from all files, evenly, of about so many bytes together, without empty ones, which datatrove drops. Returns their bytes."""
    table = pa.concat_tables([pq.read_table(file, columns=["id", "text"]) for file in files])
    sizes = pc.binary_length(table["text"])
    table = table.filter(pc.greater(sizes, 0))
    step = max(1, round(int(pc.sum(sizes).as_py()) / (megabytes * 1e6)))
    few = table.take(list(range(0, table.num_rows, step)))
    pq.write_table(few, to)
    return int(pc.sum(pc.binary_length(few["text"])).as_py())


def timed(function: Callable[[], Any]) -> Timed:
    """CPU and wall seconds of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):  # datatrove reports there
        function()
    return time.process_time() - cpu, time.perf_counter() - wall


def measure(files: Sequence[str], megabytes: float, rounds: int) -> dict[str, Any]:
    """Rates of all three, MB of text a second, in turns; best round of each by CPU."""
    found: dict[str, list[Timed]] = {}
    removed: dict[str, int] = {}
    size = few_size = 0
    signed = keys(files)
    for number in range(rounds + 1):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for each in ("few", "alone"):
                (folder / each).mkdir()
            few_size = thinned(files, megabytes if number else 0.05, folder / "few" / "few.parquet")
            size = alone(files[:1] if not number else files, folder / "alone")
            runs: dict[str, Callable[[], Any]] = {"read and write": partial(alone, files, folder / "alone")}
            runs |= {"ours": partial(through, files, folder, removed), "ours, keys": signed}
            runs |= {f"datatrove, {stage}": step for stage, step in datatrove_stages(folder / "few" / "few.parquet", folder).items()}
            for case, function in runs.items():
                found.setdefault(case, []).append(timed(function))
    best = {case: tuple(map(min, zip(*times[1:], strict=True))) for case, times in found.items()}  # the first round warms up
    return {"bytes": size, "few_bytes": few_size, **removed, "seconds": best}


def summary(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Rates and ratios, by CPU and by wall time."""
    seconds, size, few = measured["seconds"], measured["bytes"], measured["few_bytes"]
    sums = {"datatrove": tuple(sum(seconds[f"datatrove, {stage}"][clock] for stage in STAGES) for clock in (0, 1))} | seconds
    rates = {
        name: {clock: (few if name.startswith("datatrove") else size) / 1e6 / each[at] for at, clock in enumerate(("cpu", "wall"))}
        for name, each in sums.items()
    }

    def ratio(one: str, other: str) -> dict[str, float]:
        return {clock: round(rates[one][clock] / rates[other][clock], 3) for clock in ("cpu", "wall")}

    return {
        **{name: measured[name] for name in ("bytes", "few_bytes", "documents", "removed")},
        "mb_per_second": {name: {clock: round(rate, 3) for clock, rate in both.items()} for name, both in rates.items()},
        "ratios": {
            "read and write": ratio("ours", "read and write"),
            "datatrove": ratio("ours", "datatrove"),
            "datatrove, signatures": ratio("ours, keys", "datatrove, signatures"),
        },
        "floors": {"read and write": 0.15, "datatrove": 80, "datatrove, signatures": 150},
    }


def markdown(result: Mapping[str, Any]) -> Iterator[str]:
    """Two tables for the docs."""
    yield "| what | MB/s of text, CPU | wall |"
    yield "|---|---:|---:|"
    for name, rate in result["mb_per_second"].items():
        yield f"| {name} | {rate['cpu']:.3f} | {rate['wall']:.3f} |"
    yield ""
    yield "| ours against | CPU | wall | floor |"
    yield "|---|---:|---:|---:|"
    for name, both in result["ratios"].items():
        yield f"| {name} | {both['cpu']} | {both['wall']} | {result['floors'][name]} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", default=[str(path) for path in INPUTS], help="globs of Parquet files")
    parser.add_argument("--megabytes", type=float, default=2.0, help="of text that datatrove gets")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "dedup.json")
    options = parser.parse_args()
    with contextlib.suppress(ImportError):
        from loguru import logger

        logger.remove()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    files = sorted(file for pattern in options.input for file in glob.glob(pattern))  # noqa: PTH207  patterns may be absolute
    result = summary(measure(files, options.megabytes, options.rounds))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"cores": 1, **result}, indent=1) + "\n")
    print("\n".join(markdown(result)))


if __name__ == "__main__":
    main()
