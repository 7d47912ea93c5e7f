"""Benchmarks run, small, so that they don't rot; what they measure is no test's business."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from corpora import write_parquet
from operator_samples import SHARED, TEXTS

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: object) -> str:
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_filters_against_others(tmp_path):
    """Each case has a rate of ours and of what it is compared with, in the table and as JSON."""
    texts = [f"{text} Number {number}." for number in range(8) for text in TEXTS if text]
    rows = [{"id": f"d{row}", "text": text, "url": f"https://site{row}.example/"} for row, text in enumerate(texts)]
    write_parquet(tmp_path / "in.parquet", rows)
    small = ("--input", tmp_path / "in.parquet", "--megabytes", 0.01, "--rounds", 1, "--out", tmp_path / "out.json")
    table = run("benchmarks/bench_filters.py", *small, "--only", "c4_paragraph", "sample", "recipe")
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    assert {"c4_paragraph", "sample"} < {result["case"] for result in results}
    assert all(rate > 0 for result in results for rate in result["mb_per_second"].values())
    assert all(result["case"] in table for result in results)


@pytest.mark.skipif(not (SHARED / "data" / "truth" / "junk_kinds.parquet").exists(), reason="the planted junk is absent")
def test_the_table_of_junk_is_the_one_in_the_docs():
    """docs/filters.md shows what the filters do today."""
    assert run("benchmarks/junk.py").strip() in (ROOT / "docs" / "filters.md").read_text()
