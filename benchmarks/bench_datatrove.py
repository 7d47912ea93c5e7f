"""datatrove's blocks through our adapter against datatrove's own local executor: same documents, one core, Parquet to Parquet.

    python benchmarks/bench_datatrove.py --input docs/*.parquet --megabytes 2 --repeat 3

Both sides read one Parquet file, run one block and write what stays; the best of the repetitions counts, taken in turns. What is loaded
once a process (spaCy) is loaded before. Prints JSON: for each block seconds and MB/s of either side, and `ratio`, how many times faster
ours is.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from operators.datatrove import Datatrove  # noqa: E402

SHARED = Path(os.environ.get("SHARDMILL_SHARED", ROOT.parent / "shared")) / "data" / "docs"
BLOCKS: dict[str, dict[str, Any]] = {
    "GopherRepetitionFilter": {},
    "GopherQualityFilter": {},
    "C4QualityFilter": {"filter_no_terminal_punct": False},
    "FineWebQualityFilter": {},
    "FTFYFormatter": {},
    "PIIFormatter": {},
    "SymbolLinesFormatter": {},
}
INPUTS = ("en-open-00002", "en-open-00003", "web-thirdparty-00002")
BATCH_ROWS = 1000  # datatrove's reader's own


@dataclass(frozen=True)
class Worker:
    """The assets of a worker that has none."""

    text_column: str = "text"
    seed: int = 0

    def path(self, uri: str) -> str:
        """The path itself."""
        return uri


def sample(inputs: list[Path], megabytes: float, to: Path) -> tuple[int, int]:
    """Write documents from all the files, evenly, until there is enough text; returns their number and bytes."""
    tables = [pq.read_table(path, columns=["id", "text"]) for path in inputs]
    table = pa.concat_tables(tables)
    table = table.filter(pc.greater(pc.binary_length(table["text"]), 0))
    wanted = megabytes * 1e6
    step = max(1, int(table["text"].nbytes / wanted))
    table = table.take(list(range(0, table.num_rows, step)))
    table = table.set_column(1, "text", table["text"].cast(pa.string()))
    pq.write_table(table, to)
    return table.num_rows, pc.sum(pc.binary_length(table["text"])).as_py()


def ours(block: str, args: dict[str, Any], source: Path, folder: Path) -> int:
    """Run the block as an operator; returns the number of documents that stay."""
    function = Datatrove(block=block, args=args).open(Worker())
    kept = 0
    with pq.ParquetFile(source) as file, pq.ParquetWriter(folder / "ours.parquet", file.schema_arrow) as writer:
        for batch in file.iter_batches(BATCH_ROWS):
            result = function(batch)
            stays = result.batch if result.reasons is None else result.batch.filter(pc.is_null(result.reasons))
            writer.write_batch(stays)
            kept += stays.num_rows - len(result.errors)
    return kept


def theirs(block: str, args: dict[str, Any], source: Path, folder: Path) -> int:
    """Run the block in datatrove's local executor; returns the number of documents that stay."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline import filters, formatters
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter

    made = (getattr(filters, block, None) or getattr(formatters, block))(**args)
    writer = ParquetWriter(str(folder / "theirs"), output_filename="${rank}.parquet")
    pipeline = [ParquetReader(str(source.parent), glob_pattern=source.name, batch_size=BATCH_ROWS), made, writer]
    LocalPipelineExecutor(pipeline, tasks=1, workers=1, skip_completed=False, logging_dir=str(folder / "logs")).run()
    return sum(pq.read_metadata(path).num_rows for path in (folder / "theirs").glob("*.parquet"))


def measure(block: str, args: dict[str, Any], source: Path, repeat: int) -> dict[str, Any]:
    """Best seconds of either side, in turns, after one round that does not count."""
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    kept: dict[str, int] = {}
    for turn in range(repeat + 1):
        for name, run in (("theirs", theirs), ("ours", ours)):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                with contextlib.redirect_stderr(io.StringIO()):  # datatrove reports there
                    kept[name] = run(block, args, source, Path(folder))
                if turn:
                    seconds[name].append(time.perf_counter() - start)
    if kept["ours"] != kept["theirs"]:
        raise SystemExit(f"{block}: {kept} documents stay; expected the same on both sides")
    best = {name: min(each) for name, each in seconds.items()}
    return {"block": block, "kept": kept["ours"], "seconds": best, "ratio": best["theirs"] / best["ours"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", type=Path, default=[SHARED / f"{name}.parquet" for name in INPUTS])
    parser.add_argument("--megabytes", type=float, default=1.0, help="of text")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--blocks", nargs="+", choices=BLOCKS, default=list(BLOCKS))
    options = parser.parse_args()
    from loguru import logger

    logger.remove()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in").mkdir()
        source = Path(folder) / "in" / "documents.parquet"
        documents, text_bytes = sample(options.input, options.megabytes, source)
        results = [measure(block, BLOCKS[block], source, options.repeat) for block in options.blocks]
    for each in results:
        each["mb_per_second"] = {name: text_bytes / 1e6 / value for name, value in each["seconds"].items()}
    summary = {
        "documents": documents,
        "text_bytes": text_bytes,
        "cores": 1,
        "blocks": results,
        "lowest_ratio": min(each["ratio"] for each in results),
    }
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
