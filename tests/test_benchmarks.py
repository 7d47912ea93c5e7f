"""Benchmarks run, small, so that they don't rot; what they measure is no test's business."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
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


def test_removal_of_near_duplicates_against_others(tmp_path):
    """Ours, datatrove's four stages and reading and writing alone have rates by both clocks, in the table and as JSON."""
    texts = [text for text in TEXTS if text and len(text.split()) > 5]
    rows = [{"id": f"d{row}", "text": text} for row, text in enumerate(texts * 4)]
    write_parquet(tmp_path / "in.parquet", rows)
    small = ("--input", tmp_path / "in.parquet", "--megabytes", 0.01, "--rounds", 1, "--out", tmp_path / "out.json")
    table = run("benchmarks/bench_dedup.py", *small)
    result = json.loads((tmp_path / "out.json").read_text())
    assert {"ours", "read and write", "datatrove"} < set(result["mb_per_second"])
    assert all(rate > 0 for rates in result["mb_per_second"].values() for rate in rates.values())
    assert result["removed"] >= 3 * len(set(texts)) > 0
    assert set(result["floors"]) == set(result["ratios"])
    assert all(name in table for name in result["ratios"])


@pytest.mark.chaos
def test_the_exchange_of_near_duplicates_by_steps(tmp_path):
    """What tasks may hold decides which steps there are, and nothing of what is removed."""
    small = ("--rows", 2_000, 4_000, "--unit-rows", 500, "--cores", 0, "--folder", tmp_path)
    found = []
    for number, limits in enumerate([(), ("--task-bytes", 1 << 16)]):
        run("benchmarks/bench_exchange_near.py", *small, *limits, "--out", tmp_path / f"{number}.json")
        found.append(json.loads((tmp_path / f"{number}.json").read_text())["results"])
    at_once, cut = found
    assert [set(result["steps"]) for result in at_once] == [{"decide", "gather"}] * 2
    assert all({"spread", "buckets", "verify", "meet", "contract", "resolve", "gather"} <= set(result["steps"]) for result in cut)
    for name in ("rows", "removed", "digest"):
        assert [result[name] for result in cut] == [result[name] for result in at_once]
    assert 0 < cut[0]["removed"] < cut[1]["removed"]


def test_the_overhead_of_units(tmp_path):
    """A run that is killed at half of its units goes on from there to the files of an undisturbed one; time, memory and files are told."""
    small = ("--units", 150, "--cluster", "inline", "--folder", tmp_path, "--out", tmp_path / "out.json")
    table = run("benchmarks/bench_overhead.py", *small)
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["same"]
    assert 75 <= result["interrupted"]["units_before"] < 150
    assert 0 < result["interrupted"]["restart_seconds"] <= result["interrupted"]["wall_seconds"]
    for found in (result["undisturbed"], result["interrupted"]):
        assert found["driver_peak_bytes"] > 50 << 20
    assert set(result["bounds"]) <= {*result["undisturbed"], *result["interrupted"]}
    assert "150 units" in table


@pytest.mark.skipif(not (SHARED / "data" / "truth" / "junk_kinds.parquet").exists(), reason="the planted junk is absent")
def test_the_table_of_junk_is_the_one_in_the_docs():
    """docs/filters.md shows what the filters do today."""
    assert run("benchmarks/junk.py").strip() in (ROOT / "docs" / "filters.md").read_text()


@pytest.mark.chaos
def test_tokenization_against_others(tmp_path):
    """Ours, the library and tiktoken have rates and equal ids; the recipe with and without, and a process's peak, are measured."""
    paragraphs = [json.loads(line)["text"] for line in (ROOT / "pipelines" / "demo_paragraphs.jsonl").read_text().splitlines()]
    texts = [*(text for text in TEXTS if text), *("\n".join(paragraphs[start : start + 3]) for start in range(0, 30, 3))]
    write_parquet(tmp_path / "in.parquet", [{"id": f"d{row}", "text": text} for row, text in enumerate(texts)])
    small = ("--input", tmp_path / "in.parquet", "--vocabulary", 300, "--rounds", 1, "--tokenizer", tmp_path / "none.json")
    memory = ("--memory-megabytes", 0.2, "--word-bytes", 20_000)
    out = tmp_path / "out.json"
    table = run("benchmarks/bench_tokenize.py", *small, *memory, "--out", out)
    compared, recipe, memory_used = json.loads(out.read_text())["results"]
    assert compared["equal"]["encode_batch"] == compared["documents"] == len(texts)
    peers = {"encode_batch", "encode_batch_fast", "tiktoken"} if find_spec("tiktoken") else {"encode_batch", "encode_batch_fast"}
    assert set(compared["ratios"]) == peers
    assert {*peers, "cold", "warm"} == set(compared["mb_per_second"])
    assert compared["equal"].get("tiktoken", len(texts)) == len(texts)
    assert ("tiktoken" in compared["absent"]) is ("tiktoken" not in peers)
    assert recipe["tokens"] is not None
    assert 0 < recipe["tokenized"] <= recipe["documents"]
    assert memory_used["tokens"] > 0
    assert memory_used["peak_rss_bytes"] >= memory_used["before_bytes"] > 1 << 20
    assert all(result["case"] in table for result in (compared, recipe, memory_used))
