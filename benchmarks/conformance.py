"""How far the native quality filters agree with datatrove's, document by document, over all real documents.

    python benchmarks/conformance.py                                 # a table for docs/conformance.md on standard output
    python benchmarks/conformance.py --reference /tmp/reference      # keeps datatrove's verdicts there, as it takes minutes to make them
    python benchmarks/conformance.py --every 20                      # each 20th document

Each document is judged by both sides with the same settings: do both keep it, for which reason do they drop it, and is the text that C4
leaves the same? Every class of disagreement is listed, with its number of documents and the ids of a few. Exit status 1 where an
agreement is below what is promised.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.worker import Worker  # noqa: E402
from operators.base import BatchOperator  # noqa: E402
from operators.c4 import C4Paragraph, C4Quality  # noqa: E402
from operators.fineweb import V1_STOP_CHARS, FineWebQuality  # noqa: E402
from operators.gopher import GopherQuality, GopherRepetition  # noqa: E402

SHARED = Path(os.environ.get("SHARDMILL_SHARED", ROOT.parent / "shared"))
SAME_VERDICTS, SAME_REASONS, SAME_TEXTS = 0.995, 0.99, 0.995
"""What issue 3 promises: of all documents, of those dropped, of those kept whose text C4 edits."""

ERROR = "ERROR:"
REASONS = {"< 3 paragraphs": "too_few_paragraphs"}
"""Reasons of datatrove's that hold a setting and have another name here."""

SHOWN = 3


@dataclass(frozen=True)
class Case:
    """One filter under the same settings on both sides; `edits` if it changes the text."""

    name: str
    ours: BatchOperator
    theirs: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    edits: bool = False


CASES = (
    Case("gopher_repetition", GopherRepetition(), "GopherRepetitionFilter"),
    Case("gopher_quality", GopherQuality(), "GopherQualityFilter"),
    Case("c4", C4Quality(), "C4QualityFilter", edits=True),
    Case("c4_fineweb", C4Quality(preset="fineweb@v1"), "C4QualityFilter", {"filter_no_terminal_punct": False}, edits=True),
    Case("c4_paragraph", C4Paragraph(), "C4ParagraphFilter"),
    Case("fineweb", FineWebQuality(), "FineWebQualityFilter"),
    Case("fineweb_v1", FineWebQuality(preset="fineweb@v1-code"), "FineWebQualityFilter", {"stop_chars": V1_STOP_CHARS}),
)


@dataclass(frozen=True)
class Verdict:
    """What one side says of a document; `text` only of a kept one that an editing filter judged."""

    keeps: bool
    reason: str | None
    text: str | None = None


@dataclass
class Agreement:
    """What both sides said of some documents, counted."""

    documents: int = 0
    same_verdict: int = 0
    dropped: int = 0
    same_reason: int = 0
    kept: int = 0
    same_text: int = 0
    classes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, group: str, identity: str, theirs: Verdict, ours: Verdict) -> None:
        """Count one document."""
        same = theirs.keeps == ours.keeps
        self.documents += 1
        self.same_verdict += same
        self.dropped += not theirs.keeps
        self.same_reason += not theirs.keeps and theirs.reason == ours.reason
        self.kept += theirs.keeps and ours.keeps
        self.same_text += theirs.keeps and ours.keeps and theirs.text == ours.text
        if theirs != ours:
            kept = "kept, another text" if same else "kept"
            key = (group, theirs.reason or kept, ours.reason or kept)
            self.classes[key] += 1
            if len(self.examples[key]) < SHOWN:
                self.examples[key].append(identity)

    @property
    def holds(self) -> bool:
        """Whether the agreement is as promised."""
        return (
            self.same_verdict >= SAME_VERDICTS * self.documents
            and self.same_reason >= SAME_REASONS * self.dropped
            and self.same_text >= SAME_TEXTS * self.kept
        )


def theirs(case: Case, texts: Sequence[str]) -> list[Verdict]:
    """The verdicts of datatrove; where it divides by zero, the reason is `ERROR:` and the exception."""
    from datatrove.data import Document
    from datatrove.pipeline import filters
    from datatrove.pipeline.filters import c4_filters

    block = getattr(filters, case.theirs, None) or getattr(c4_filters, case.theirs)
    judge = block(**case.arguments)
    return [_their_verdict(case, judge.filter, Document(text=text, id="", metadata={})) for text in texts]


def _their_verdict(case: Case, judge: Callable[[Any], Any], document: Any) -> Verdict:
    try:
        answer = judge(document)
    except ZeroDivisionError as error:
        return Verdict(False, ERROR + type(error).__name__)
    keeps, reason = answer if isinstance(answer, tuple) else (answer, None)
    return Verdict(keeps, None if keeps else REASONS.get(reason, reason), document.text if keeps and case.edits else None)


def ours(case: Case, texts: Sequence[str]) -> list[Verdict]:
    """The native filter's verdicts."""
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    result = case.ours.open(Worker())(batch)
    assert result.reasons is not None
    edited = result.batch.column("text").to_pylist() if case.edits else [None] * len(texts)
    reasons = result.reasons.to_pylist()
    return [Verdict(reason is None, reason, None if reason else text) for reason, text in zip(reasons, edited, strict=True)]


def kept_reference(path: Path, folder: Path, texts: Sequence[str]) -> dict[str, list[Verdict]]:
    """The verdicts of datatrove on a whole file, from the folder of references, or made and put there."""
    stored = folder / path.name
    if not stored.is_file():
        made = {case.name: theirs(case, texts) for case in CASES}
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(_as_table(made), stored)
        return made
    table = pq.read_table(stored)
    found = {}
    for case in CASES:
        keeps, reasons = table[f"{case.name}_keep"].to_pylist(), table[f"{case.name}_reason"].to_pylist()
        left = table[f"{case.name}_text"].to_pylist() if case.edits else [None] * len(keeps)
        rows = zip(keeps, reasons, left, strict=True)
        found[case.name] = [Verdict(keep, REASONS.get(reason, reason), text) for keep, reason, text in rows]
    return found


def _as_table(verdicts: Mapping[str, Sequence[Verdict]]) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for name, each in verdicts.items():
        columns[f"{name}_keep"] = pa.array([verdict.keeps for verdict in each])
        columns[f"{name}_reason"] = pa.array([verdict.reason for verdict in each], pa.string())
        columns[f"{name}_text"] = pa.array([verdict.text for verdict in each], pa.large_string())
    return pa.table(columns)


def compare(paths: Sequence[Path], every: int = 1, reference: Path | None = None) -> dict[str, Agreement]:
    """Judge each `every`-th document of some files by both sides; null texts count as empty."""
    found = {case.name: Agreement() for case in CASES}
    for path in paths:
        table = pq.read_table(path, columns=["id", "text"])
        texts = [text or "" for text in table["text"].to_pylist()]
        rows = range(0, len(texts), every)
        chosen = [texts[row] for row in rows]
        stored = None if reference is None else kept_reference(path, reference, texts)
        identities = table["id"].to_pylist()
        for case in CASES:
            expected = theirs(case, chosen) if stored is None else [stored[case.name][row] for row in rows]
            for row, their, our in zip(rows, expected, ours(case, chosen), strict=True):
                found[case.name].add(path.name.rpartition("-")[0], identities[row], their, our)
    return found


def markdown(found: Mapping[str, Agreement]) -> str:
    """The agreements and every class of disagreement, as two tables."""
    lines = [
        "| filter | documents | same verdict | dropped by datatrove | same reason | kept by both | same text |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for case in CASES:
        each = found[case.name]
        texts = _share(each.same_text, each.kept) if case.edits else ""
        verdicts, reasons = _share(each.same_verdict, each.documents), _share(each.same_reason, each.dropped)
        lines.append(f"| {case.name} | {each.documents:,} | {verdicts} | {each.dropped:,} | {reasons} | {each.kept:,} | {texts} |")
    lines += ["", "| filter | group | datatrove | here | documents | such as |", "|---|---|---|---|---:|---|"]
    for case in CASES:
        each = found[case.name]
        for key, count in sorted(each.classes.items(), key=lambda item: (-item[1], item[0])):
            lines.append(f"| {case.name} | {' | '.join(key)} | {count} | {', '.join(map(str, each.examples[key]))} |")
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / whole:.3f} %)" if whole else "0"


def main() -> int:
    """Compare and print; 1 if less agrees than is promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="*", type=Path, default=sorted((SHARED / "data" / "docs").glob("*.parquet")))
    parser.add_argument("--every", type=int, default=1, help="judge each n-th document of a file")
    parser.add_argument("--reference", type=Path, help="folder where datatrove's verdicts are kept, one Parquet file a file")
    options = parser.parse_args()
    if not options.input:
        parser.error(f"no documents in {SHARED / 'data' / 'docs'}; name Parquet files with columns id and text by --input")
    found = compare(options.input, options.every, options.reference)
    print(markdown(found))
    return 0 if all(each.holds for each in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
