"""Peak memory of a worker over a large input: the largest that any record of the run reports. The bound of DESIGN 11 is 1.5 GiB.

Runs length_filter, exact_dedup and filter_where on a local Ray with default settings. Prints one JSON object. A large input is made with
`python ../shared/data/make_bench.py --pack ../shared/data --out /tmp/bench --gb 5`.

    python benchmarks/bench_memory.py --input '/tmp/bench/data/*.parquet'
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from cluster import session
from pipelines.commit import CommitLog, unsealed
from pipelines.config import load
from pipelines.run import run
from pipelines.storage import open_store

PIPELINE = """
name: memory
input: {{uri: {uri}}}
operators:
  - {{type: length_filter, min_chars: 50}}
  - {{type: exact_dedup}}
  - {{type: filter_where, where: "length(text) < 10000000"}}
output: {{uri: {output}}}
execution: {{max_quarantined_fraction: 1.0, unit_bytes: {unit_bytes}}}
cluster: {{type: local}}
"""


def peak_rss_bytes(output: Path) -> dict[str, int]:
    """Largest peak of a worker by kind of work, over every record of the run."""
    store = open_store(str(output))
    plan = unsealed(store.read("_shardmill/plan.json"))
    peaks: dict[str, int] = {}
    for stage in [*(stage["fingerprint"] for stage in plan["stages"]), f"pack-{plan['plan']}"]:
        log = CommitLog(store, stage, 0)
        log.load()
        for record in log.records(log.keys()):
            peaks[record.kind] = max(peaks.get(record.kind, 0), record.usage["peak_rss_bytes"])
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", default="../shared/data/docs/en-open-*.parquet")
    parser.add_argument("--unit-bytes", default="auto", help="auto makes the units of a small input small; to compare two inputs, set it")
    options = parser.parse_args()
    uri = Path(options.input).absolute()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        file = Path(folder) / "memory.yaml"
        file.write_text(PIPELINE.format(uri=json.dumps(str(uri)), output=json.dumps(str(output)), unit_bytes=options.unit_bytes))
        with session.local(None):
            started = time.perf_counter()
            manifest = run(load(file)).manifest
            seconds = time.perf_counter() - started
        peaks = peak_rss_bytes(output)
    size = sum(path.stat().st_size for path in uri.parent.glob(uri.name))
    result = {
        "files_bytes": size,
        "rows_in": manifest["ledger"]["rows_in"],
        "seconds": round(seconds, 1),
        "peak_rss_bytes": peaks,
        "bound_bytes": 3 << 29,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
