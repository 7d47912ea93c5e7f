"""What each extractor keeps and drops of real pages, how fast, and what the process beside the worker costs.

    python benchmarks/bench_extraction.py --repeat 2

Truth are strings that people marked in pages as belonging to the article or to what surrounds it (`truth/web_segments`), with the pages'
sources (`raw-html`), matched by address. Prints a table for docs/web.md and writes JSON with `--json FILE`. `kept`: share of the strings to
keep that are in the text, `removed`: share of those to remove that are not, `cost`: computing time of `extract_html` against calls of the
library in this process, both without the start of the library; the median of the repetitions.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from operators.extract_html import ExtractHtml  # noqa: E402
from operators.extraction_worker import EXTRACTORS, WARM_UP  # noqa: E402

SHARED = Path(os.environ.get("SHARDMILL_SHARED", ROOT.parent / "shared")) / "data"
VARIANTS: tuple[dict[str, Any], ...] = (
    {"extractor": "trafilatura", "favor": "precision"},
    {"extractor": "trafilatura", "favor": "precision", "include_tables": False},
    {"extractor": "trafilatura", "favor": "balanced"},
    {"extractor": "trafilatura", "favor": "recall"},
    {"extractor": "trafilatura", "favor": "recall", "include_comments": True},
    {"extractor": "trafilatura", "favor": "precision", "output": "markdown"},
    {"extractor": "resiliparse", "favor": "precision"},
    {"extractor": "resiliparse", "favor": "precision", "include_comments": True},
    {"extractor": "resiliparse", "favor": "recall"},
)
COPIES = 20  # a fast extractor needs more pages for its time to be measured


@dataclass(frozen=True)
class Worker:
    """The assets of a worker that has none."""

    text_column: str = "text"
    seed: int = 0

    def path(self, uri: str) -> str:
        """The path itself."""
        return uri


@dataclass(frozen=True)
class Page:
    """A page with the strings that its text must and must not have."""

    html: str
    keep: tuple[str, ...]
    remove: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    settings: dict[str, Any]
    kept: float
    removed: float
    chars: int
    empty: int
    errors: int
    pages_per_second: float
    cost: float


def labelled_pages() -> list[Page]:
    truth = {row["id"]: row for row in pq.read_table(SHARED / "truth" / "web_segments.parquet").to_pylist()}
    files = sorted((SHARED / "docs").glob("web-thirdparty-*.parquet"))
    rows = [row for path in files for row in pq.read_table(path, columns=["id", "url", "source", "text"]).to_pylist()]
    by_url = {row["url"]: truth[row["id"]] for row in rows if row["id"] in truth}
    return [
        Page(row["text"], tuple(found["must_have"]), tuple(found["must_not_have"]))
        for row in rows
        if row["source"] == "raw-html" and (found := by_url.get(row["url"])) is not None
    ]


def share(pages: list[Page], texts: list[str], strings: Callable[[Page], tuple[str, ...]]) -> float:
    """Share of the strings that are in the texts, whatever the blanks between their words."""
    found = [" ".join(each.split()) in plain for page, plain in zip(pages, texts, strict=True) for each in strings(page)]
    return sum(found) / len(found)


def spent(work: Callable[[], Any]) -> tuple[float, Any]:
    """Computing time of this process and of children that ended meanwhile, and what came out."""
    before = time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    result = work()
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before, result


def measured(settings: dict[str, Any], pages: list[Page], repeat: int) -> Row:
    operator = ExtractHtml(**settings, timeout_seconds=30)
    sources = [page.html for page in pages] * (COPIES if operator.extractor == "resiliparse" else 1)
    batch = pa.record_batch({"text": pa.array(sources, pa.large_string())})
    nothing = pa.record_batch({"text": pa.array([WARM_UP], pa.large_string())})
    library = EXTRACTORS[operator.extractor](operator.model_dump(mode="json"))
    library(WARM_UP)
    ratios, rates, result = [], [], None
    for _ in range(repeat):
        # The function, and its process with it, ends inside of what is measured.
        start, _ = spent(lambda: operator.open(Worker())(nothing) and None)
        ours, result = spent(lambda: operator.open(Worker())(batch))
        theirs, _ = spent(lambda: [library(source) for source in sources])
        ratios.append((ours - start) / theirs)
        rates.append(len(sources) / (ours - start))
    assert result is not None
    result_of_each = result.batch.slice(0, len(pages))
    texts = [" ".join((text or "").split()) for text in result_of_each.column("text").to_pylist()]
    return Row(
        settings=settings,
        kept=share(pages, texts, lambda page: page.keep),
        removed=1 - share(pages, texts, lambda page: page.remove),
        chars=sum(map(len, texts)),
        empty=sum(reason is not None for reason in result.reasons.to_pylist()[: len(pages)]),
        errors=len(result.errors),
        pages_per_second=statistics.median(rates),
        cost=statistics.median(ratios),
    )


def table(rows: list[Row]) -> str:
    lines = [
        "| extractor | settings | kept | removed | characters | empty | pages/s | cost |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        others = ", ".join(f"{name}: {value}" for name, value in row.settings.items() if name != "extractor")
        lines.append(
            f"| {row.settings['extractor']} | {others} | {row.kept:.3f} | {row.removed:.3f} | {row.chars:,} | {row.empty} "
            f"| {row.pages_per_second:,.0f} | {row.cost:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not (SHARED / "truth" / "web_segments.parquet").is_file():
        print(f"{SHARED} is absent: nothing to measure")
        return
    pages = labelled_pages()
    rows = [measured(settings, pages, args.repeat) for settings in VARIANTS]
    total = sum(len(page.html.encode()) for page in pages)
    keep, remove = sum(len(page.keep) for page in pages), sum(len(page.remove) for page in pages)
    print(f"{len(pages)} pages, {total / 1e6:.1f} MB, {keep} strings to keep, {remove} to remove")
    print(table(rows))
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
