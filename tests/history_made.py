"""Batches of small documents that share much, and runs over them that share a history."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from corpora import Output, config_of, output_of, prove

from pipelines.commit import unsealed
from pipelines.config import PipelineConfig
from pipelines.exchange import Limits
from pipelines.history import describe
from pipelines.identity import doc_keys, uri_prefix
from pipelines.recall import read_table
from pipelines.run import RunResult, run
from pipelines.storage import Store, open_store

TINY = Limits(task_bytes=2 << 10, range_bytes=1 << 9, task_units=2)
"""Bounds under which some dozens of documents take several passes, bounded rounds and slices."""
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("url", pa.string()), ("lang", pa.string())])
WORDS = ("stone", "river", "cloud", "bread", "Wörter", "文", "7", "tree", "song", "light", "glass", "road")
BASES = tuple(" ".join(WORDS[(base * 5 + at * (base + 1) + at * at // 3) % len(WORDS)] for at in range(24)) for base in range(4))
LINES = tuple(f"This is line number {number} of the boilerplate that many documents have." for number in range(6))
NEAR = {"type": "minhash_dedup", "bands": 20, "rows": 2, "shingle_size": 2, "threshold": 0.5}
"""Finds much that is alike in few words."""
EXACT = {"type": "exact_dedup", "normalize": "words"}
KINDS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "exact": [EXACT],
    "url": [{"type": "url_dedup"}],
    "near": [NEAR],
    "near-1": [{**NEAR, "max_candidates": 1}],
    "within": [{**NEAR, "within": ["lang"]}],
    "lines": [{"type": "line_dedup"}],
    "boilerplate": [{"type": "line_dedup", "keep": "none", "min_documents": 3}],
    "all": [{"type": "url_dedup"}, EXACT, NEAR, {"type": "length_filter", "min_chars": 60}],
    "twice": [{"type": "exact_dedup"}, {"type": "normalize_text", "collapse_spaces": True}, {"type": "exact_dedup"}],
}
OF_DOCUMENTS = [name for name in KINDS if name not in ("lines", "boilerplate")]


def corpus(size: int, seed: int, prefix: str = "d") -> list[dict[str, Any]]:
    """Documents of few bases, with some words changed, and lines and URLs that others have too."""
    draw = random.Random(seed)
    made = []
    for number in range(size):
        words = draw.choice(BASES).split()
        for _ in range(draw.choice((0, 0, 1, 2, 4, 9))):
            words[draw.randrange(24)] = draw.choice(WORDS)
        lines = [" ".join(words[: draw.choice((24, 24, 20, 12))]), *draw.sample(LINES, draw.choice((0, 0, 0, 1, 2)))]
        text = draw.choice(["\n", "\n", " \n  "]).join(lines)
        made.append(
            {
                "id": f"{prefix}{number}",
                "text": draw.choice([text, text, text.upper(), "", "文"]) if draw.random() < 0.2 else text,
                "url": f"https://site{draw.randrange(size)}.example/" if draw.random() < 0.8 else None,
                "lang": draw.choice(["de", "en", None]),
            }
        )
    return made


def write_batch(folder: Path, rows: Sequence[Mapping[str, Any]], files: int = 2, schema: pa.Schema = SCHEMA) -> Path:
    """Documents as some files, in small row groups."""
    folder.mkdir(parents=True, exist_ok=True)
    share = -(-len(rows) // files) or 1
    for number in range(files):
        table = pa.Table.from_pylist(list(rows[number * share : (number + 1) * share]), schema=schema)
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=9)
    return folder


@dataclass
class Project:
    """Runs below one folder that share a history."""

    root: Path
    operators: Sequence[Mapping[str, Any]]
    limits: Limits | None = None
    sections: Mapping[str, Any] = field(default_factory=lambda: {"execution": {"unit_bytes": "4KiB", "batch_bytes": "2KiB"}})
    history: str | None = None

    def __post_init__(self) -> None:
        self.history = self.history or str(self.root / "history")

    @property
    def store(self) -> Store:
        assert self.history is not None
        return open_store(self.history)

    def config(self, name: str, sources: Sequence[str], *, alone: bool = False, **changes: Any) -> PipelineConfig:
        """A pipeline named so over some batches, into an output of its own."""
        folders = [f"{self.root}/{source}/" if "/" not in source else source for source in sources]
        operators = changes.pop("operators", self.operators)
        config = config_of(self.root / f"{name}.yaml", folders, self.root / f"out-{name}", operators, **{**self.sections, **changes})
        return config if alone else config.model_copy(update={"history": changes.get("history", self.history)})

    def run(self, name: str, sources: Sequence[str], **changes: Any) -> RunResult:
        return run(self.config(name, sources, **changes), limits=self.limits)

    def output(self, name: str) -> Output:
        return output_of(self.root / f"out-{name}")

    def kept(self, name: str, prefix: str = "") -> list[tuple[Any, ...]]:
        """The documents of an output whose ids begin so."""
        return sorted((row["id"], row["text"]) for row in self.output(name).rows() if row["id"].startswith(prefix))

    def prove(self, name: str) -> None:
        prove(self.output(name))

    def numbers(self) -> list[int]:
        return [one["number"] for one in describe(self.store)]

    def forget(self, *names: str) -> None:
        """Remove inputs and outputs: the history is all that is left of them."""
        for name in names:
            shutil.rmtree(self.root / name)


def key_of(path: Path, row: int) -> bytes:
    """The doc_key of a document."""
    key: bytes = doc_keys([uri_prefix(str(path))], np.zeros(1, np.int64), np.array([row]))[0].as_py()
    return key


def unnamed_files(store: Store) -> list[str]:
    """What is in a history that no generation names."""
    named = set()
    for path in [info.path for info in store.list("generations")]:
        body = unsealed(store.read(path))
        parts = read_table(store, path, body["parts"])
        named |= {path, body["files"], body["parts"], *parts["path"].to_pylist()}
    return [info.path for info in store.list() if info.path not in named and not info.path.startswith("tombstones/")]
