"""What exactly a document was dropped for, in the table of dropped documents."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from corpora import CUSTOM, config_of, finished, write_parquet

from pipelines.rows import DROPPED

BODY = """
goes = pc.match_substring(batch["text"], "7")
reasons = pa.array(["hit" if each else None for each in goes.to_pylist()], pa.string())
details = pa.array([f"entry {text}" for text in batch["text"].to_pylist()], pa.string())
errors = {row: RowError("nine", "a nine") for row, text in enumerate(batch["text"].to_pylist()) if "9" in text}
return Result(batch, reasons, errors, details)
"""

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def explaining(tmp_path) -> str:
    """An operator that tells what it drops for, in the pipeline's folder."""
    lines = "\n".join(f"            {line}" for line in BODY.strip().splitlines())
    source = CUSTOM.replace("{body}", lines).replace("    value: int = 1", "    explains = True\n    value: int = 1")
    source = source.replace("from typing import Literal", "from typing import ClassVar, Literal").replace(
        "explains = ", "explains: ClassVar[bool] = "
    )
    (tmp_path / "telling.py").write_text(source)
    return "telling:Mine"


@pytest.mark.parametrize("dropped", [False, True])
def test_details_stand_beside_the_reason(tmp_path, explaining, dropped):
    """Each document that the operator dropped has its detail, whatever was quarantined beside it; others have none."""
    rows = [{"id": f"d{number}", "text": str(number)} for number in range(200)]
    write_parquet(tmp_path / "in.parquet", rows)
    operators = [
        {"type": explaining},
        {"type": "length_filter", "min_chars": 2},
        {"type": "exact_dedup"},
        {"type": explaining, "name": "b"},
    ]
    output = finished(
        config_of(
            tmp_path / "p.yaml",
            tmp_path / "in.parquet",
            tmp_path / "out",
            operators,
            output={"dropped": dropped},
            execution={"max_quarantined_fraction": 1.0},
        )
    )
    table = output.table("dropped")
    told = {row["id"]: row["detail"] for row in table if row["reason"] == "hit"}
    assert told == {f"d{number}": f"entry {number}" for number in range(200) if "7" in str(number) and "9" not in str(number)}
    assert {row["detail"] for row in table if row["reason"] == "too_short"} == {None}
    names = pq.read_schema(next((output.folder / "dropped").glob("*.parquet"))).names
    assert names[: len(DROPPED)] == DROPPED.names
    assert names[len(DROPPED)] == "detail"


def test_without_an_operator_that_tells_there_is_no_such_column(tmp_path):
    """The table has the columns that it always had."""
    write_parquet(tmp_path / "in.parquet", [{"id": "a", "text": "x"}])
    config = config_of(tmp_path / "p.yaml", tmp_path / "in.parquet", tmp_path / "out", [{"type": "length_filter", "min_chars": 2}])
    assert list(finished(config).table("dropped")[0]) == DROPPED.names
