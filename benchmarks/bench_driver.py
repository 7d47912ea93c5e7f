"""What a unit costs the driver: CPU seconds of the driver's process over 10,000 tiny units on a local Ray.

The bound of DESIGN 11 is 1 ms. Prints one JSON object; the start of Ray is not counted, planning, commits, packing and the manifest are.

    python benchmarks/bench_driver.py [--units 10000] [--stages]

`--stages` takes a pipeline of three stages, with two exchanges between them, instead of one.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cluster import session
from pipelines.config import load
from pipelines.run import run

PIPELINE = """
name: tiny
input: {{uri: {folder}/input.parquet}}
operators: {operators}
output: {{uri: {folder}/out}}
execution: {{unit_bytes: 1KiB, batch_bytes: 1KiB, max_quarantined_fraction: 1.0}}
cluster: {{type: local}}
"""

STAGES = [
    {"type": "exact_dedup"},
    {"type": "length_filter", "min_chars": 1},
    {"type": "exact_dedup", "name": "ids", "columns": ["id"]},
    {"type": "length_filter", "min_chars": 1, "name": "again"},
]


def tiny_units(path: Path, number: int) -> None:
    """A file with a row group a unit, each above `unit_bytes`."""
    text = pa.array(["x" * 200] * 6)
    with pq.ParquetWriter(path, pa.schema([("id", pa.string()), ("text", pa.string())])) as writer:
        for unit in range(number):
            ids = pa.array([f"{unit}-{row}" for row in range(len(text))])
            writer.write_table(pa.table({"id": ids, "text": text}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--stages", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tiny_units(Path(folder) / "input.parquet", options.units)
        file = Path(folder) / "tiny.yaml"
        file.write_text(PIPELINE.format(folder=folder, operators=json.dumps(STAGES if options.stages else [])))
        with session.local(None):
            cpu, wall = time.process_time(), time.perf_counter()
            run(load(file))
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    result = {
        "units": options.units,
        "stages": 3 if options.stages else 1,
        "driver_ms_per_unit": round(cpu / options.units * 1000, 3),
        "wall_seconds": round(wall, 1),
        "driver_peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "bound_ms": 1.0,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
