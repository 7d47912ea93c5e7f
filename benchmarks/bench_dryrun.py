"""Dry runs against real runs: do the intervals hold the truth, are time and size foretold, is it quick from an object store?

    python benchmarks/bench_dryrun.py                           # coverage: three small grown corpora (make_bench.py), minutes
    python benchmarks/bench_dryrun.py --gb 2 --corpora 1 --draws 3   # with the time and size of a run of 2 GB
    python benchmarks/bench_dryrun.py --only-s3            # 10,000 files on a static S3 server

A corpus is grown for each seed, run once in full, and dry-run with several seeds of the sample. A case is an operator in one dry run: its
keep rate in the real run lies in the interval, or not. A table, and benchmarks/results/dryrun.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pipelines.config import PipelineConfig, load  # noqa: E402
from pipelines.dryrun import dry_run  # noqa: E402
from pipelines.run import run  # noqa: E402

SHARED = Path(os.environ.get("SHARDMILL_SHARED", ROOT.parent / "shared")) / "data"
BOUNDS = {"coverage": 0.9, "factor": 2.0, "s3_seconds": 30.0, "s3_fraction": 0.03}
FILES = 10_000
FILE_ROWS = 30
WARM_ROWS = 3000
PIPELINE = """
name: bench
input: {{uri: "{uri}", format: parquet, storage_options: {options}}}
operators:
  - {{type: length_filter, min_chars: 200}}
  - {{type: language_filter, languages: [en], min_score: 0.65}}
  - {{type: gopher_repetition}}
  - {{type: gopher_quality}}
  - {{type: c4_quality}}
  - {{type: fineweb_quality}}
  - {{type: exact_dedup}}
  - {{type: minhash_dedup}}
  - {{type: pii_redact}}
output: {{uri: {output}}}
cluster: {{type: {cluster}}}
"""


def pipeline(folder: Path, uri: str, name: str, options: str = "{}", cluster: str = "inline") -> PipelineConfig:
    """A pipeline of filters and duplicates over an input."""
    file = folder / f"{name}.yaml"
    file.write_text(PIPELINE.format(uri=uri, output=folder / f"out-{name}", options=options, cluster=cluster))
    return load(file)


def grow(folder: Path, gb: float, seed: int) -> Path:
    """A corpus of make_bench.py, made once."""
    if not (folder / "manifest.json").exists():
        arguments = ["--pack", SHARED, "--out", folder, "--gb", gb, "--seed", seed]
        subprocess.run([sys.executable, str(SHARED / "make_bench.py"), *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return folder / "data"


def warm(config: PipelineConfig) -> None:
    """Compile the kernels and keep them, which takes one to two minutes on a machine that has none: no dry run foretells it, it says so."""
    run(config, limit=WARM_ROWS)
    dry_run(config, WARM_ROWS)


def compared(config: PipelineConfig, draws: Sequence[int], documents: int) -> Iterator[dict[str, Any]]:
    """The real run, and each dry run beside it."""
    started = time.monotonic()
    manifest = run(config).manifest
    seconds = time.monotonic() - started
    truth = {one["name"]: one["rows_out"] / one["rows_in"] for one in manifest["operators"] if one["rows_in"]}
    for seed in draws:
        started = time.monotonic()
        told = dry_run(config, documents, seed)
        cases = [
            {"operator": one.name, "truth": truth[one.name], **one.keep_rate.to_json(), "sample": one.rows_out / max(one.rows_in, 1)}
            for one in told.operators
            if one.name in truth
        ]
        whole = manifest["ledger"]["rows_out"] / manifest["ledger"]["rows_in"]
        yield {
            "seed": seed,
            "seconds": time.monotonic() - started,
            "cases": cases,
            "kept": {"truth": whole, **told.kept.to_json()},
            "run_seconds": seconds,
            "told_seconds": told.projection["wall_seconds"],
            "run_bytes": manifest["output"]["bytes"],
            "told_bytes": told.projection["output_bytes"],
        }


def is_held(case: dict[str, Any]) -> bool:
    """Whether the interval holds the truth."""
    return bool(case["low"] - 1e-9 <= case["truth"] <= case["high"] + 1e-9)


def coverage(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The part of the dry runs that held the truth, by operator, over all of these, and for the whole pipeline."""
    cases = [case for row in rows for case in row["cases"]]
    names = list(dict.fromkeys(case["operator"] for case in cases))
    by_name = {name: _mean([is_held(case) for case in cases if case["operator"] == name]) for name in names}
    return {**by_name, "all operators": _mean(list(map(is_held, cases))), "whole pipeline": _mean([is_held(row["kept"]) for row in rows])}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A static S3 server of its own process."""
    command = [sys.executable, str(ROOT / "tests" / "servers.py"), str(folder), "--latency-ms", "5"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def from_s3(folder: Path, source: Path, documents: int) -> dict[str, Any]:
    """A dry run of many small files behind a server."""
    table = pq.read_table(source).slice(0, 50_000)
    for number in range(FILES):
        path = folder / "bucket" / "data" / f"{number % 100:02d}" / f"part-{number:05d}.parquet"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table.slice(number * FILE_ROWS % (len(table) - FILE_ROWS), FILE_ROWS), path, compression="zstd")
    with served(folder) as endpoint:
        config = pipeline(folder, "s3://bucket/data/", "s3", json.dumps({"endpoint_url": endpoint, "anon": True}))
        started = time.monotonic()
        told = dry_run(config, documents, 0)
        seconds = time.monotonic() - started
    size = sum(path.stat().st_size for path in (folder / "bucket").rglob("*.parquet"))
    return {"seconds": seconds, "files": told.input["files"], "bytes": size, "input": dict(told.input)}


def main() -> None:
    """Run what was asked for, print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=0.1, help="text of a corpus (default: 0.1)")
    parser.add_argument("--corpora", type=int, default=3, help="seeds of make_bench.py, from 1 (default: 3)")
    parser.add_argument("--draws", type=int, default=5, help="dry runs of each (default: 5)")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--cluster", default="inline", choices=["inline", "local"], help="of the real run (default: inline)")
    parser.add_argument("--folder", type=Path, help="where corpora are made, and found again (default: a temporary one)")
    parser.add_argument("--s3", action="store_true", help="also from an S3 server")
    parser.add_argument("--only-s3", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "dryrun.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-dryrun-") as scratch:
        kept = arguments.folder or Path(scratch)
        kept.mkdir(parents=True, exist_ok=True)
        results = measured(arguments, kept, Path(scratch))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")


def line_of(row: dict[str, Any]) -> str:
    """One dry run beside its real one."""
    told, size = row["told_seconds"]["value"], row["told_bytes"]["value"] / 1e6
    missed = [f"{one['operator']} {one['truth']:.4f} not in {one['low']:.4f}-{one['high']:.4f}" for one in row["cases"] if not is_held(one)]
    return (
        f"corpus {row['corpus']} draw {row['seed']}: dry run {row['seconds']:.1f} s; run {row['run_seconds']:.0f} s, told {told:.0f}; "
        f"{row['run_bytes'] / 1e6:.1f} MB, told {size:.1f}; missed: {', '.join(missed) or 'none'}"
    )


def measured(arguments: argparse.Namespace, kept: Path, scratch: Path) -> dict[str, Any]:
    """All results, printed as they come."""
    rows: list[dict[str, Any]] = []
    for seed in () if arguments.only_s3 else range(1, arguments.corpora + 1):
        data = grow(kept / f"corpus-{arguments.gb:g}-{seed}", arguments.gb, seed)
        if seed == 1:
            warm(pipeline(scratch, f"{data}/", "warm-up", cluster=arguments.cluster))
        for row in compared(
            pipeline(scratch, f"{data}/", f"run-{seed}", cluster=arguments.cluster), range(arguments.draws), arguments.documents
        ):
            row["corpus"] = seed
            rows.append(row)
            print(line_of(row), flush=True)
    found = coverage(rows) if rows else {}
    for name, value in found.items():
        print(f"{name:24} {value:.1%} of {len(rows)} dry runs hold the truth")
    results: dict[str, Any] = {"bounds": BOUNDS, "coverage": found, "runs": rows}
    if arguments.s3 or arguments.only_s3:
        source = grow(kept / "corpus-0.1-1", 0.1, 1)
        warm(pipeline(scratch, f"{source}/", "warm-up-s3"))
        results["s3"] = from_s3(kept / "s3", source, arguments.documents)
        print(f"S3: {results['s3']['seconds']:.1f} s of {results['s3']['files']} files of {results['s3']['bytes'] / 1e6:.0f} MB in all")
    return results


if __name__ == "__main__":
    main()
