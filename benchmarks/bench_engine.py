"""Reading and writing through the engine, no operator, against pyarrow alone; one core, one process, the two in turn.

The floor of DESIGN 11 is 0.5: the engine also commits, accounts, hashes, and writes its parts before it packs them. Prints one JSON object.

    python benchmarks/bench_engine.py [--input 'FILES*.parquet'] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.config import load
from pipelines.run import run

PIPELINE = """
name: copy
input: {{uri: {uri}}}
output: {{uri: {output}}}
execution: {{max_quarantined_fraction: 1.0}}
cluster: {{type: inline}}
"""


def alone(files: list[str], output: Path) -> int:
    """What the engine cannot beat: read batches, write them as zstd Parquet, nothing else. Returns Arrow bytes."""
    size = 0
    for number, file in enumerate(files):
        source = pq.ParquetFile(file)
        with pq.ParquetWriter(output / f"{number}.parquet", source.schema_arrow, compression="zstd") as writer:
            for batch in source.iter_batches(batch_size=4096, use_threads=False):
                size += batch.nbytes
                writer.write_batch(batch)
    return size


def through(uri: str, folder: Path) -> None:
    """The same through the engine, to a finished version."""
    file = folder / "copy.yaml"
    file.write_text(PIPELINE.format(uri=json.dumps(uri), output=json.dumps(str(folder / "out"))))
    run(load(file))


def measured(uri: str, files: list[str]) -> dict[str, float]:
    """One round: seconds of each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "alone").mkdir()
        started = time.perf_counter()
        size = alone(files, folder / "alone")
        middle = time.perf_counter()
        through(uri, folder)
        ended = time.perf_counter()
        shutil.rmtree(folder / "out")
    return {"bytes": size, "alone_seconds": middle - started, "engine_seconds": ended - middle}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", default="../shared/data/docs/en-open-*.parquet")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    uri = Path(options.input).absolute()
    files = sorted(map(str, uri.parent.glob(uri.name)))
    rounds = [measured(str(uri), files) for _ in range(options.rounds + 1)][1:]
    ratio = statistics.median(found["alone_seconds"] / found["engine_seconds"] for found in rounds)
    size = rounds[0]["bytes"]
    result = {
        "bytes": size,
        "alone_mb_per_second": round(size / 1e6 / statistics.median(found["alone_seconds"] for found in rounds), 1),
        "engine_mb_per_second": round(size / 1e6 / statistics.median(found["engine_seconds"] for found in rounds), 1),
        "ratio": round(ratio, 3),
        "floor": 0.5,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
