"""An output that grew by some ingestions, for whatever happens to it afterwards: copies of it, and takedowns."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from growing import Growing, batches

from pipelines.takedown import Takedown, takedown
from pipelines.takedown_ids import wanted_of
from pipelines.verify import Verification, verify

FILES = 3
"""Ingestions of one file each that `grown` has behind it; one more file is there to come."""


def grow(root: Path, operators: Any, files: int = FILES, seed: int = 0, **sections: Any) -> Growing:
    """An output of so many ingestions."""
    made = Growing(root, operators, sections)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _descriptor: None)
        for number, rows in enumerate(batches(files, seed=seed)):
            made.arrives(f"f{number}", rows)
            assert made.ingest().is_new
    return made


@contextmanager
def lent(made: Growing) -> Iterator[Growing]:
    """The output for one test: afterwards it, its input and its pipeline are as they were. Its address stays, which its history tells."""
    kept = Path(tempfile.mkdtemp(dir=made.root))
    shutil.copytree(made.target, kept / "out")
    names = {path.name for path in made.input.iterdir()}
    try:
        yield replace(made)
    finally:
        shutil.rmtree(made.target)
        (kept / "out").rename(made.target)
        for path in made.input.iterdir():
            if path.name not in names:
                path.unlink()


def take(made: Growing, names: Iterable[str] | None, **options: Any) -> Takedown:
    """Take documents out of it."""
    return takedown(str(made.target), None if names is None else wanted_of(names), **options)


def ids(made: Growing, version: str | None = None) -> list[str]:
    """Ids of the documents, in order; also of an older version."""
    if version is None:
        return [row[0] for row in made.rows(None, "id")]
    output = made.output()
    return [row["id"] for row in replace(output, manifest=made.manifest(version)).rows("id")]


def shards_of(made: Growing) -> dict[str, str]:
    """The first id of each version's own shards, by the version that wrote them."""
    found: dict[str, str] = {}
    for row, path in _placed(made):
        found.setdefault(path.split("/")[1], row)
    return found


def _placed(made: Growing) -> Iterable[tuple[str, str]]:
    output = made.output()
    for path in output.shards():
        yield from ((row, path) for row in pq.ParquetFile(output.root / path).read(["id"])["id"].to_pylist())


def failures(found: Verification) -> list[tuple[str, str]]:
    """Name and message of every check that fails."""
    return [(check.name, f"{check.subject}: {check.message}") for check in found.checks if not check.ok]


def verified(made: Growing, version: str | None = None) -> list[tuple[str, str]]:
    return failures(verify(str(made.target), version=version))
