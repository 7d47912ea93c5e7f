"""What each filter and preset drops of 22 kinds of planted junk, as a Markdown table for docs/filters.md.

    python benchmarks/junk.py

Reads truth/junk_kinds.parquet and docs/synthetic-*.parquet of the shared data. Each cell: documents dropped of those of the kind, and the
reason that most of them were dropped for. `clean-control` are ordinary documents.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.worker import Worker  # noqa: E402
from operators import AnyOperator, BatchOperator  # noqa: E402

SHARED = Path(os.environ.get("SHARDMILL_SHARED", ROOT.parent / "shared")) / "data"
COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "language `en`": {"type": "language_filter", "languages": ["en"]},
    "gopher_repetition": {"type": "gopher_repetition"},
    "gopher_quality": {"type": "gopher_quality"},
    "c4 `fineweb@v1`": {"type": "c4_quality", "preset": "fineweb@v1"},
    "c4 `c4@paper`": {"type": "c4_quality", "preset": "c4@paper"},
    "fineweb `datatrove@0.10`": {"type": "fineweb_quality"},
    "fineweb `fineweb@v1-code`": {"type": "fineweb_quality", "preset": "fineweb@v1-code"},
    "fineweb `fineweb@paper`": {"type": "fineweb_quality", "preset": "fineweb@paper"},
}
RECIPE = ("language `en`", "gopher_repetition", "gopher_quality", "c4 `fineweb@v1`", "fineweb `fineweb@v1-code`")


def documents() -> pa.RecordBatch:
    """The planted documents with their kind."""
    kinds = pq.read_table(SHARED / "truth" / "junk_kinds.parquet")
    texts = pa.concat_tables(
        [pq.read_table(path, columns=["id", "text"]) for path in sorted((SHARED / "docs").glob("synthetic-*.parquet"))]
    )
    table = texts.join(kinds, "id", join_type="inner").sort_by([("kind", "ascending"), ("id", "ascending")]).combine_chunks()
    return table.set_column(1, "text", pc.cast(table["text"], pa.large_string())).to_batches()[0]


def reasons(settings: Mapping[str, Any], batch: pa.RecordBatch) -> list[str | None]:
    """Why each document goes."""
    operator = TypeAdapter(AnyOperator).validate_python(dict(settings))
    assert isinstance(operator, BatchOperator)
    found: list[str | None] = operator.open(Worker())(batch).reasons.to_pylist()  # type: ignore[union-attr, arg-type]
    return found


def lines() -> Iterator[str]:
    """The table."""
    batch = documents()
    kinds = batch["kind"].to_pylist()
    columns = {name: reasons(settings, batch) for name, settings in COLUMNS.items()}
    recipe = [next((columns[name][row] for name in RECIPE if columns[name][row]), None) for row in range(batch.num_rows)]
    yield "| kind | " + " | ".join(columns) + " | any of FineWeb's |"
    yield "|---|" + "---:|" * (len(columns) + 1)
    for kind in sorted(set(kinds)):
        rows = [row for row, each in enumerate(kinds) if each == kind]
        cells = [_cell([found[row] for row in rows]) for found in (*columns.values(), recipe)]
        yield f"| {kind} ({len(rows)}) | " + " | ".join(cells) + " |"


def _cell(found: list[str | None]) -> str:
    told = Counter(reason for reason in found if reason is not None)
    return f"{told.total()} {told.most_common(1)[0][0]}" if told else "·"


if __name__ == "__main__":
    print("\n".join(lines()))
