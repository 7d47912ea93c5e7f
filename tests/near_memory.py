"""A process that says how much memory components and decisions took: given a store, the sources of edges, and bounds one after the other.

Run by test_near_paths.py. The first bounds are those of a warm-up, after which all libraries and kernels are loaded.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
from near_made import Exchange
from test_near_paths import shape, verified

from operators.minhash import MinhashDedup
from pipelines.exchange import Limits, Source
from pipelines.frames import FrameRef
from pipelines.near_components import by_component
from pipelines.near_decide import decide
from pipelines.storage import MemoryStore, open_store

OPERATOR = MinhashDedup(name="near", keep="longest")


def peak_bytes() -> int:
    """The most memory that this process has had. `ru_maxrss` would also know that of the process which started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def done(exchange: Exchange, edges: list[Source]) -> Counter[str]:
    """Kinds of the jobs that it took."""
    decide(exchange.steps, by_component(exchange.steps, edges))
    return exchange.kinds


def warm() -> None:
    """Every kind of job once, with little."""
    for task_bytes in (1 << 12, 1 << 14, 1 << 24):
        exchange = Exchange(OPERATOR, Limits(task_bytes, task_bytes >> 3), store=MemoryStore(f"memory://warm-{task_bytes}"))
        _, edges = verified(*shape("random", 600), policy=True)
        done(exchange, [exchange.source("edges", [edges.slice(start, 100)]) for start in range(0, edges.num_rows, 100)])


def main(uri: str, sources: str) -> None:
    """Print the growth of memory and the jobs of each bound."""
    warm()
    edges = [Source(tuple(FrameRef(*frame) for frame in frames), bytes=size) for frames, size in json.loads(sources)]
    base = peak_bytes()
    told = []
    for task_bytes in (2 << 20, 128 << 20):
        store = open_store(uri)
        exchange = Exchange(OPERATOR, Limits(task_bytes, task_bytes >> 5), store=store, stage=f"stage-{task_bytes}")
        kinds = done(exchange, edges)
        told.append([peak_bytes() - base, kinds])
    print(json.dumps(told))


if __name__ == "__main__":
    pa.set_cpu_count(1)
    main(*sys.argv[1:])
