"""What personal data and which contaminated documents are found, against the truth files, as two Markdown tables for docs/filters.md.

    python benchmarks/truths.py

Reads truth/pii_spans.parquet, truth/contamination.parquet, docs/*.parquet and evals/*.jsonl of the shared data. A span is found if it is
found just where it is; a span of a kind that begins with `neg:` looks like personal data and must not be touched. A document is found
contaminated if the item that was planted in it is named. Exit status 1 where less is found than is promised, or something else is.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.worker import Worker  # noqa: E402
from operators import BatchOperator, Decontaminate, PiiRedact  # noqa: E402

SHARED = Path(os.environ.get("SHARDMILL_SHARED", ROOT.parent / "shared")) / "data"
RECALL = 0.98
"""Fraction of the planted spans of each kind that must be found."""
DECOY = "neg:"
UNTOUCHED = "none-same-topic"
BORDERLINE = ("half", "one-word-changed")
"""Modes of contamination of which nothing is promised."""


class Count(NamedTuple):
    """How many of a kind there are, were found just so, and were met at all."""

    planted: int
    found: int
    met: int

    @property
    def share(self) -> float:
        """Found of planted."""
        return self.found / self.planted


def documents(path: Path) -> pa.RecordBatch:
    """The ids and texts of a file."""
    table = pq.read_table(path, columns=["id", "text"]).combine_chunks()
    return table.set_column(1, "text", pc.cast(table["text"], pa.large_string())).to_batches()[0]


def annotated(operator: BatchOperator, batch: pa.RecordBatch, column: str) -> dict[str, Any]:
    """What the operator writes into its column, by document."""
    result = operator.open(Worker())(batch).batch
    return dict(zip(result["id"].to_pylist(), result[column].to_pylist(), strict=True))


def personal_data(files: Sequence[Path]) -> dict[str, Count]:
    """Spans by kind: planted, found just where they are, overlapped by anything that was found."""
    spans = pq.read_table(SHARED / "truth" / "pii_spans.parquet").to_pylist()
    found: dict[str, Any] = {}
    for path in files:
        found |= annotated(PiiRedact(annotate=True), documents(path), "pii_spans")
    planted, exact, met = Counter[str](), Counter[str](), Counter[str]()
    for span in spans:
        begin, end, kind = span["start"], span["end"], span["kind"]
        planted[kind] += 1
        exact[kind] += any(each["start"] == begin and each["end"] == end for each in found[span["id"]])
        met[kind] += any(each["start"] < end and each["end"] > begin for each in found[span["id"]])
    return {kind: Count(planted[kind], exact[kind], met[kind]) for kind in sorted(planted, key=lambda kind: (DECOY in kind, kind))}


def contamination(planted_in: Sequence[Path], others: Sequence[Path]) -> tuple[dict[str, Count], Count]:
    """Documents by mode: planted, with the planted item named, with any item; and those in which nothing was planted."""
    operator = Decontaminate(evals=sorted(str(path) for path in (SHARED / "evals").glob("*.jsonl")), annotate=True)
    truth = pq.read_table(SHARED / "truth" / "contamination.parquet").to_pylist()
    items = {row["id"]: (row["eval"], str(row["item"])) for row in truth}
    modes = {row["id"]: row["mode"] for row in truth}
    planted, named, met = Counter[str](), Counter[str](), Counter[str]()
    for path in dict.fromkeys([*planted_in, *others]):
        for identity, matches in annotated(operator, documents(path), "contamination").items():
            mode = modes.get(identity, "")
            planted[mode] += 1
            named[mode] += mode != "" and items[identity] in {(match["eval"], match["item"]) for match in matches}
            met[mode] += len(matches) > 0
    counts = {mode: Count(planted[mode], named[mode], met[mode]) for mode in sorted(planted) if mode}
    return counts, Count(planted[""], 0, met[""])


def personal_table(counts: dict[str, Count]) -> Iterator[str]:
    """The table of spans; decoys have no recall, only how many were touched."""
    yield "| kind | spans | found just so | recall | touched |"
    yield "|---|---:|---:|---:|---:|"
    for kind, count in counts.items():
        told = ("", "") if kind.startswith(DECOY) else (f"{count.found}", f"{count.share:.3f}")
        yield f"| {kind} | {count.planted} | {told[0]} | {told[1]} | {count.met} |"
    real = [count for kind, count in counts.items() if not kind.startswith(DECOY)]
    planted, found = sum(count.planted for count in real), sum(count.found for count in real)
    yield f"| all but `{DECOY}*` | {planted} | {found} | {found / planted:.3f} | {sum(count.met for count in real)} |"


def contamination_table(counts: dict[str, Count], rest: Count) -> Iterator[str]:
    """The table of documents."""
    yield "| what was planted | documents | item named | dropped |"
    yield "|---|---:|---:|---:|"
    for mode, count in counts.items():
        yield f"| {mode} | {count.planted} | {count.found} | {count.met} |"
    yield f"| nothing | {rest.planted:,} |  | {rest.met} |"


def holds(spans: dict[str, Count], modes: dict[str, Count]) -> bool:
    """Whether as much is found as is promised, and nothing that must not be."""
    personal = all(count.met == 0 if kind.startswith(DECOY) else count.share >= RECALL for kind, count in spans.items())
    exact = [count for mode, count in modes.items() if mode != UNTOUCHED and mode not in BORDERLINE]
    return personal and all(count.share == 1 for count in exact) and modes[UNTOUCHED].met == 0


def main() -> int:
    """Print both tables; 1 if a promise is broken."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    files = sorted((SHARED / "docs").glob("*.parquet"))
    if not files:
        sys.exit(f"no documents in {SHARED / 'docs'}; set SHARDMILL_SHARED to the folder of shared data")
    synthetic = [path for path in files if path.name.startswith("synthetic-")]
    spans = personal_data(synthetic)
    modes, rest = contamination(synthetic, files)
    print("\n".join([*personal_table(spans), "", *contamination_table(modes, rest)]))
    return 0 if holds(spans, modes) else 1


if __name__ == "__main__":
    sys.exit(main())
