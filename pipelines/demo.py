"""The demo's input, made on the spot without a download: `python -m pipelines.demo build DIR`.

Owns the shards that configs/quickstart.yaml reads. Uses none of the engine, so that what is run on it is tested by it.
The same Python with the same packages gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import platform
import random
import shutil
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.demo_documents import Document, collect
from pipelines.demo_planted import junk, mirrored, paragraphs

Row = dict[str, str | None]

DEFAULT_BYTES = 20_000_000
REAL_SHARE = 0.92  # of the bytes; copies and junk fill the rest, and the little that is too much is cut
SUMMARY = "demo.json"
UNFINISHED = "demo.unfinished"
"""The summary until the shards are there; it also says that a half of them was made by this command."""
SEED = 2

# Skewed on purpose: with even shards nothing shows that work is split by size and not by file.
SHARDS = {
    "crawl-000.parquet": 0.40,
    "crawl-001.parquet": 0.25,
    "crawl-002.jsonl": 0.12,
    "crawl-003.parquet": 0.10,
    "crawl-004.jsonl.zst": 0.06,
    "crawl-005.jsonl.gz": 0.04,
    "crawl-006.parquet": 0.03,
}
ROWS_PER_GROUP = 1000
FIRST_DAY, NUM_DAYS = date(2026, 1, 1), 300
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "text", "url", "date", "lang", "source", "licence")])


def build(folder: Path, *, max_bytes: int = DEFAULT_BYTES, names: Collection[str] | None = None) -> dict[str, Any]:
    """Write `folder`/input and return what is in it (also written to `folder`/demo.json).

    demo.json comes last and in one step: if it is there, the demo is whole.

    Args:
        folder: Where to; made if absent. An earlier demo in it is replaced.
        max_bytes: Most bytes of text, as UTF-8.
        names: Packages to read (see `collect`); None: all.

    Raises:
        FileExistsError: `folder` has an `input` that no earlier build has made; nothing was touched.
    """
    shards, summary_file, unfinished = folder / "input", folder / SUMMARY, folder / UNFINISHED
    if shards.exists() and not summary_file.exists() and not unfinished.exists():
        raise FileExistsError(f"{shards} exists and was not made by this command; move it away or choose another folder")
    rows = [_row(number, document) for number, document in enumerate(compose(collect(names), max_bytes))]
    folder.mkdir(parents=True, exist_ok=True)
    summary = _summary(rows)
    unfinished.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    summary_file.unlink(missing_ok=True)
    if shards.exists():
        shutil.rmtree(shards)
    shards.mkdir()
    for name, part in cut(rows).items():
        _write_shard(shards / name, part)
    unfinished.replace(summary_file)
    return summary


def compose(real: Iterable[Document], max_bytes: int) -> list[Document]:
    """All documents of the demo in their final order, at most `max_bytes` of text: real ones, paragraphs, copies and junk.

    The order is that of a hash: every shard holds a bit of everything, and what is left out when there is too much does not depend on which
    package comes first in the alphabet.
    """
    rng = random.Random(SEED)  # noqa: S311 no secret, only the same junk each time
    written = paragraphs()
    base = [*written, *_within(_shuffled(real), round(max_bytes * REAL_SHARE) - sum(_num_bytes(document.text) for document in written))]
    return [*_within(_shuffled([*base, *mirrored(base, rng), *junk(base, rng)]), max_bytes)]


def _shuffled(documents: Iterable[Document]) -> list[Document]:
    return sorted(documents, key=_digest)


def _digest(document: Document) -> bytes:
    return hashlib.sha256(f"{document.url}\n{document.text}".encode()).digest()


def _within(documents: Iterable[Document], max_bytes: int) -> Iterator[Document]:
    """Yield the documents that fit, in order; one that is too large for what is left is passed over."""
    for document in documents:
        size = _num_bytes(document.text)
        if size <= max_bytes:
            max_bytes -= size
            yield document


def _num_bytes(text: str | None) -> int:
    return len((text or "").encode())


def _row(number: int, document: Document) -> Row:
    """The document as a row; the date is made up from its hash, since packages don't say when a docstring was written."""
    day = FIRST_DAY + timedelta(days=int.from_bytes(_digest(document)[:4], "big") % NUM_DAYS)
    return {
        "id": f"demo-{number:06}",
        "text": document.text,
        "url": document.url,
        "date": day.isoformat(),
        "lang": document.lang,
        "source": document.source,
        "licence": document.licence,
    }


def _summary(rows: Sequence[Row]) -> dict[str, Any]:
    sources = Counter(str(row["source"]) for row in rows)
    return {
        "python": platform.python_version(),
        "documents": len(rows),
        "text_bytes": sum(_num_bytes(row["text"]) for row in rows),
        "sources": dict(sorted(sources.items())),
    }


def cut(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each shard, in order, by its share of the bytes of text."""
    total = sum(_num_bytes(row["text"]) for row in rows)
    names, ends = list(SHARDS), [total * end for end in accumulate(SHARDS.values())]
    parts: dict[str, list[Row]] = {name: [] for name in names}
    seen, shard = 0, 0
    for row in rows:
        seen += _num_bytes(row["text"])
        while shard < len(names) - 1 and seen > ends[shard]:
            shard += 1
        parts[names[shard]].append(row)
    return parts


def _write_shard(path: Path, rows: Sequence[Row]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), path, row_group_size=ROWS_PER_GROUP, compression="zstd")
        return
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    match path.suffix:
        case ".gz":
            lines = gzip.compress(lines, mtime=0)  # the time would change the bytes
        case ".zst":
            lines = pa.Codec("zstd").compress(lines, asbytes=True)
    path.write_bytes(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo", description="Make the demo's input from what is installed here.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="write DIR/input and DIR/demo.json")
    command.add_argument("folder", metavar="DIR", type=Path)
    command.add_argument("--max-bytes", type=int, default=DEFAULT_BYTES, help="most bytes of text (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        summary = build(chosen.folder, max_bytes=chosen.max_bytes)
    except OSError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    sys.stdout.write(
        f"{chosen.folder}: {summary['documents']:,} documents, {summary['text_bytes'] / 1e6:.1f} MB of text from"
        f" {len(summary['sources'])} sources in {len(SHARDS)} shards\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
