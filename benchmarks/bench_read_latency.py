"""How much of its rate a unit keeps when each request waits 50 ms for its first byte, and how near local reading comes to pyarrow alone.

    python benchmarks/bench_read_latency.py [--mib 96] [--latency-ms 50] [--repeats 5]

Prints one JSON object: for each shape of input seconds without and with the latency and their ratio (floor 0.8), then local seconds through
`read` and through pyarrow's `iter_batches` on one core and their ratio (floor 0.85). The server has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.formats import ReadOptions, Slice, read
from pipelines.inventory import Inventory, take_inventory
from pipelines.storage import Sources

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ReadOptions(None, "text", "id", ())
BATCH_BYTES = 16 << 20


def documents(num_bytes: int, seed: int = 0) -> pa.Table:
    """English-like documents of log-normal length that zstd compresses about 2.5 times."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    vocabulary = np.array(["".join(letters[np.minimum(rng.geometric(0.12, size), 26) - 1]) for size in rng.integers(2, 11, 20000)])
    texts: list[str] = []
    made = 0
    while made < num_bytes:
        size = int(min(rng.lognormal(6, 1), 20000)) + 5
        ranks = np.minimum(rng.pareto(0.7, size) * 20, len(vocabulary) - 1).astype(np.int64)
        texts.append(" ".join(vocabulary[ranks]))
        made += len(texts[-1])
    ids = [f"doc-{number}" for number in range(len(texts))]
    return pa.table({"id": ids, "url": [f"https://example.org/{name}" for name in ids], "text": texts})


def write_shapes(bucket: Path, num_bytes: int) -> None:
    """The same documents as one file of many row groups, as one row group, as many small files, and as JSON lines."""
    table = documents(num_bytes)
    for name in ("groups", "giant", "small", "jsonl"):
        (bucket / name).mkdir(parents=True)
    size = table.num_rows // 24
    pq.write_table(table, bucket / "groups/a.parquet", compression="zstd", row_group_size=size)
    pq.write_table(table, bucket / "giant/a.parquet", compression="zstd", row_group_size=table.num_rows)
    step = table.num_rows // 100 + 1
    for number, start in enumerate(range(0, table.num_rows, step)):
        pq.write_table(table.slice(start, step), bucket / f"small/{number:03}.parquet", compression="zstd")
    with (bucket / "jsonl/a.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in table.slice(0, table.num_rows // 2).to_pylist())


@contextmanager
def served(folder: Path, latency_ms: float) -> Iterator[str]:
    """A static server with ranges in its own process; gives its endpoint."""
    command = [sys.executable, str(ROOT / "tests/servers.py"), str(folder), "--latency-ms", str(latency_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def best(repeats: int, run: Callable[[], int]) -> float:
    """Seconds of the fastest of some runs, after one that warms up."""
    run()
    seconds: list[float] = []
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def read_all(sources: Sources, inventory: Inventory) -> int:
    """Read a whole inventory as one unit; gives the rows."""
    files = [inventory.file(ordinal) for ordinal in range(inventory.num_files)]
    slices = [Slice(file, index, 0, group.rows) for file in files for index, group in enumerate(file.row_groups)]
    return sum(len(item.rows) for item in read(sources, slices, inventory.schema, OPTIONS, BATCH_BYTES))


def measure_remote(folder: Path, shape: str, latency_ms: float, repeats: int) -> dict[str, float]:
    """Seconds without and with latency."""
    seconds = {}
    for name, latency in (("without", 0.0), ("with", latency_ms)):
        with served(folder, latency) as endpoint:
            sources = Sources({"endpoint_url": endpoint, "anon": True})
            inventory = take_inventory(sources, [f"s3://bucket/{shape}/"], OPTIONS)
            seconds[name] = best(repeats, lambda sources=sources, inventory=inventory: read_all(sources, inventory))
    return {**seconds, "ratio": seconds["without"] / seconds["with"], "megabytes": inventory.num_bytes / 1e6}


def measure_local(path: Path, repeats: int) -> dict[str, float]:
    """Seconds through `read` and through pyarrow alone."""
    sources = Sources()
    inventory = take_inventory(sources, [str(path)], OPTIONS)
    metadata = pq.read_metadata(path)
    rows = max(1, metadata.num_rows * BATCH_BYTES // sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)))

    def plain() -> int:
        return sum(batch.num_rows for batch in pq.ParquetFile(path).iter_batches(min(rows, 8192), use_threads=False))

    ours = best(repeats, lambda: read_all(sources, inventory))
    alone = best(repeats, plain)
    return {"read": ours, "pyarrow": alone, "ratio": alone / ours}


def main() -> None:
    """Make the input, measure, print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--mib", type=int, default=256, help="uncompressed text")
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_shapes(Path(folder) / "bucket", arguments.mib << 20)
        shapes = ("groups", "giant", "small", "jsonl")
        remote = {shape: measure_remote(Path(folder), shape, arguments.latency_ms, arguments.repeats) for shape in shapes}
        local = measure_local(Path(folder) / "bucket/groups/a.parquet", arguments.repeats)
    print(json.dumps({"latency_ms": arguments.latency_ms, "remote": remote, "local": local}, indent=2))


if __name__ == "__main__":
    main()
