"""A small pipeline that is changed between runs, and what its output says of the work that was done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from corpora import Document, Output, config_of, finished, records, write_parquet

from pipelines.commit import PLAN, unsealed
from pipelines.config import PipelineConfig
from pipelines.survey import Survey, survey


def sayings(name: str, number: int = 30, **changed: str) -> list[Document]:
    """Documents that nobody else has; `changed`: other texts by number."""
    texts = {int(key.removeprefix("_")): text for key, text in changed.items()}
    return [
        {"id": f"{name}{n}", "text": texts.get(n, f"{name} says {n} " + "word " * (n % 9)), "pad": f"{name}-{n}" * 40}
        for n in range(number)
    ]


def save(folder: Path, name: str, rows: list[Document]) -> Path:
    """A file of row groups that are a unit each."""
    return write_parquet(folder / f"{name}.parquet", rows, 10, pa.schema([(column, pa.string()) for column in ("id", "text", "pad")]))


@dataclass
class Project:
    """A pipeline over five files, each of several units, and what its output says of the work that was done."""

    folder: Path
    operators: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"type": "length_filter", "min_chars": 10},
            {"type": "exact_dedup"},
            {"type": "filter_where", "where": "length(text) < 50"},
        ]
    )
    execution: dict[str, Any] = field(default_factory=lambda: {"unit_bytes": "1KiB", "batch_bytes": "1KiB", "keep_intermediates": "latest"})
    sections: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in "abcde":
            twins = {"b": {"_3": "a twin of two files"}, "d": {"_12": "a twin of two files"}, "e": {"_5": "e says 4 " + "word " * 4}}
            save(self.source, name, sayings(name, **twins.get(name, {})))

    @property
    def source(self) -> Path:
        return self.folder / "in"

    @property
    def root(self) -> Path:
        return self.folder / "out"

    @property
    def config(self) -> PipelineConfig:
        return config_of(self.folder / "p.yaml", f"{self.source}/", self.root, self.operators, execution=self.execution, **self.sections)

    def run(self) -> Output:
        return finished(self.config)

    def survey(self) -> Survey:
        """What `plan` says; it writes nothing."""
        before = everything(self.folder)
        found = survey(self.config)
        assert everything(self.folder) == before
        assert json.loads(json.dumps(found.to_json())) == found.to_json()
        return found

    def attempts(self, stage: int) -> dict[str, tuple[str, frozenset[str]]]:
        """Of the latest plan's stage: each unit's attempt and files, by the unit's key."""
        stages = [entry["fingerprint"] for entry in unsealed((self.root / PLAN).read_bytes())["stages"]]
        units = [(fingerprint, body) for fingerprint, body in records(self.root) if body["kind"] == "unit"]
        told = [body["detail"]["unit"] for fingerprint, body in units if fingerprint == stages[0]]
        files = {unit["key"]: frozenset(Path(file[0]).stem for file in unit["files"]) for unit in told}
        return {
            body["key"]: (body["attempt"], files[body["detail"]["unit"]["key"]])
            for fingerprint, body in units
            if fingerprint == stages[stage]
        }

    def fresh(self, stage: int, before: Mapping[str, Any]) -> list[str]:
        """The files of each unit that was done anew since then."""
        return sorted(
            "".join(sorted(files)) for key, (attempt, files) in self.attempts(stage).items() if before.get(key, ("",))[0] != attempt
        )


def everything(folder: Path) -> dict[str, int]:
    """Every file with the time of its last change, but for locks and the pipeline's own file."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".yaml")
    return {str(path): path.stat().st_mtime_ns for path in files if "_shardmill/locks" not in str(path)}


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)
