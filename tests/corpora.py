"""What tests of whole runs share: small corpora, pipeline files, what an output holds, and the proof that its ledger balances."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import PipelineConfig, load
from pipelines.exchange import Limits
from pipelines.run import RunResult, run
from pipelines.verify import verify

Document = dict[str, Any]

SHARED_TEXT = "A text that a third of all documents share, word for word."
TINY = Limits(task_bytes=4 << 10, range_bytes=1 << 10, task_units=3)
"""Bounds under which a few hundred documents take several radix passes, bounded rounds and several gather ranges."""


def documents(number: int, seed: int = 0, prefix: str = "d") -> list[Document]:
    """Documents with shared texts, repeated ids and urls, nulls, and every kind of text."""
    draw = random.Random(seed)
    made = []
    for position in range(number):
        kind = draw.random()
        text = f"{draw.choice(['river', 'häuser', '河流'])} {draw.randrange(number)} " + "word " * draw.randrange(30)
        if kind < 0.3:
            text = SHARED_TEXT
        elif kind < 0.4:
            text = draw.choice(["", "short", "x"])
        made.append(
            {
                "id": f"{prefix}{position // 2 if position % 7 == 0 else position}",
                "text": text,
                "url": f"https://site{draw.randrange(number // 3 + 1)}.example/" if draw.random() < 0.9 else None,
                "score": draw.choice([None, float("nan"), draw.random(), round(draw.random(), 1)]),
                "lang": draw.choice(["en", "de", None, "zh/TW"]),
            }
        )
    return made


SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("url", pa.string()), ("score", pa.float64()), ("lang", pa.string())])


def write_parquet(path: Path, rows: Sequence[Document], group_rows: int = 25, schema: pa.Schema = SCHEMA) -> Path:
    """A Parquet file of documents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, row_group_size=group_rows)
    return path


def write_jsonl(path: Path, lines: Sequence[Document | bytes]) -> Path:
    """A JSONL file; lines that are bytes are written as they are; `.gz` is compressed, always to the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = [line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).replace("NaN", "null").encode() for line in lines]
    data = b"\n".join(encoded) + b"\n"
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def hive_corpus(folder: Path) -> Path:
    """Six files of both formats in `dump=…` folders, with rows that are no documents among them."""
    for number in range(4):
        write_parquet(folder / f"dump=2024-0{number // 2 + 1}" / f"f{number}.parquet", documents(90 + 7 * number, seed=number))
    broken: list[Document | bytes] = [*documents(40, seed=9)]
    broken[3] = {**documents(1)[0], "text": None}
    broken[17] = b'{"id": "lone", "text": "a lone \\ud800 surrogate"}'
    broken[18] = b'{"id": "cut", "text": "no end'
    write_jsonl(folder / "dump=2024-01" / "g.jsonl", broken)
    write_jsonl(folder / "dump=2024-02" / "h.jsonl.gz", documents(50, seed=10))
    return folder


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are not forced to the disk: these tests pull no plug, and syncing would take most of their time."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


# --- pipelines


def pipeline(
    file: Path, source: str | Path | Sequence[str | Path], target: str | Path, operators: Sequence[Mapping[str, Any]] = (), **sections: Any
) -> Path:
    """Write a pipeline file that runs in this process; sections are merged over the defaults."""
    uris = [str(one) for one in source] if isinstance(source, list | tuple) else str(source)
    config: dict[str, Any] = {
        "name": "made",
        "input": {"uri": uris, **sections.get("input", {})},
        "operators": list(operators),
        "output": {"uri": str(target), **sections.get("output", {})},
        "execution": sections.get("execution", {}),
        "cluster": sections.get("cluster", {"type": "inline"}),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config))  # JSON is YAML
    return file


def config_of(
    file: Path, source: str | Path | Sequence[str | Path], target: str | Path, operators: Sequence[Mapping[str, Any]] = (), **sections: Any
) -> PipelineConfig:
    """The configuration of `pipeline`."""
    return load(pipeline(file, source, target, operators, **sections))


CUSTOM = '''
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.base import BatchOperator, Result, RowError


class Mine(BatchOperator):
    """A test's own operator."""

    type: Literal["mine"] = "mine"
    value: int = 1

    def open(self, assets):
        def apply(batch):
{body}
        return apply
'''


def custom(folder: Path, body: str, name: str = "mine") -> Mapping[str, Any]:
    """Write an operator beside the pipeline file whose function has this body; returns its entry for the pipeline."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"            {line}" for line in body.strip().splitlines())
    (folder / f"{name}.py").write_text(CUSTOM.replace("{body}", lines))
    return {"type": f"{name}:Mine", "name": name}


# --- outputs


@dataclass(frozen=True)
class Output:
    """What a finished version holds, read from its files alone."""

    root: Path
    manifest: dict[str, Any]

    @property
    def folder(self) -> Path:
        return self.root / "versions" / self.manifest["version"]

    def shards(self) -> list[str]:
        """Paths of the shards, in order."""
        paths: list[str] = pq.read_table(self.folder / "shards.parquet")["path"].to_pylist()
        return paths

    def rows(self, *columns: str) -> list[dict[str, Any]]:
        """The documents, in the order of the shards."""
        return [row for path in self.shards() for row in pq.ParquetFile(self.root / path).read(list(columns) or None).to_pylist()]

    def texts(self) -> list[str]:
        return [row["text"] for row in self.rows("text")]

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of a side table."""
        return [row for path in sorted((self.folder / name).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]

    def quarantined(self) -> list[tuple[str, int, int, str, str]]:
        """Place and error of every quarantined row: (file name, row group, row, operator, error)."""
        return [
            (row["uri"].rsplit("/", 1)[-1], row["row_group"], row["row"], row["operator"], row["error"]) for row in self.table("quarantine")
        ]


def output_of(root: Path) -> Output:
    """The current version of an output."""
    return Output(root, json.loads((root / "manifest.json").read_bytes()))


def finished(config: PipelineConfig, limits: Limits | None = None) -> Output:
    """Run a pipeline, prove what it left, and return it."""
    result: RunResult = run(config, limits=limits)
    found = output_of(Path(config.output.uri))
    assert found.manifest == result.manifest
    prove(found)
    return found


def prove(found: Output) -> None:
    """The ledger balances by the files' own rows, every row of the input is somewhere once, and `verify` agrees."""
    ledger = found.manifest["ledger"]
    dropped, quarantine = found.table("dropped"), found.table("quarantine")
    assert ledger["rows_in"] == ledger["rows_out"] + len(dropped) + len(quarantine)
    grown = found.manifest.get("ingest", {}).get("base") is not None
    whole = found.manifest["ingest"]["lineage"]["ledger"] if grown else ledger
    assert whole["rows_out"] == len(found.rows()) == found.manifest["output"]["rows"]
    own = [path for path in found.shards() if path.startswith(f"data/{found.manifest['version']}/")]
    assert not grown or ledger["rows_out"] == sum(pq.read_metadata(found.root / path).num_rows for path in own)
    reasons = Counter((row["operator"], row["reason"]) for row in dropped)
    assert reasons == {(name, reason): count for name, told in ledger["dropped"].items() for reason, count in told.items()}
    assert Counter(row["error"] for row in quarantine) == ledger["quarantined"]
    gone = [row["doc_key"] for row in (*dropped, *quarantine)]
    assert len(set(gone)) == len(gone)
    verification = verify(str(found.root))
    assert verification.ok, [check for check in verification.checks if not check.ok]


def files_of(root: Path) -> dict[str, bytes]:
    """Every file outside `_shardmill/` by its path; of manifests, card and report what does not depend on times or the machine."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith("_shardmill/"):
            found[name] = _decided(path)
    return found


def _decided(path: Path) -> bytes:
    if path.name == "manifest.json":
        return json.dumps(lasting(json.loads(path.read_bytes())), sort_keys=True).encode()
    if path.name in ("README.md", "report.html"):
        return b""  # pure functions of the manifest, with its times in them; their own tests say so
    return path.read_bytes()


def lasting(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest without what may differ between runs of the same pipeline: times, and how the work was cut and where it ran."""
    kept = {key: value for key, value in manifest.items() if key not in ("created_at", "parents")}
    kept["operators"] = [{key: value for key, value in entry.items() if key != "seconds"} for entry in manifest["operators"]]
    config = {key: dict(value) if isinstance(value, dict) else value for key, value in manifest["config"].items()}
    config.pop("cluster")
    config["input"].pop("uri")
    config["output"].pop("uri")
    for name in ("unit_bytes", "batch_bytes", "keep_intermediates"):
        config["execution"].pop(name)
    source = {**manifest["input"], "uri": None}
    return {**kept, "config": config, "input": source}


def differences(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """Paths that only one of two outputs has, or that differ."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def records(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every commit record below an output: (stage fingerprint, its content)."""
    for path in sorted((root / "_shardmill" / "stages").glob("*/e*/records/*/*.json")):
        yield path.parts[-5], json.loads(path.read_bytes())["body"]
