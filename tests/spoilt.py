"""What tests of rubbish share: an input folder, a lenient pipeline over it, and the one error that a run ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from corpora import config_of, documents, write_parquet

from pipelines.errors import ShardmillError
from pipelines.run import run

LENIENT = {"max_quarantined_fraction": 1.0}
STEPS = [{"type": "length_filter", "min_chars": 2}, {"type": "exact_dedup"}, {"type": "filter_where", "where": "length(text) < 90"}]


def made(tmp_path: Path, operators: Any = STEPS, **sections: Any) -> Any:
    """The configuration of a run of `tmp_path/in`; everything may be quarantined unless the test says otherwise."""
    sections.setdefault("execution", LENIENT)
    return config_of(tmp_path / "p.yaml", f"{tmp_path}/in/", tmp_path / "out", operators, **sections)


def good(tmp_path: Path, name: str = "good.parquet", number: int = 40) -> Path:
    """A file of sound documents."""
    return write_parquet(tmp_path / "in" / name, documents(number, prefix="good"))


def message_of(config: Any, kind: type[ShardmillError]) -> str:
    """The message of the one error that a run ends with; nothing is published."""
    with pytest.raises(kind) as caught:
        run(config)
    assert not (Path(config.output.uri) / "manifest.json").exists()
    return caught.value.message
