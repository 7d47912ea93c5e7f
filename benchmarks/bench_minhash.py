"""MinHash signatures against datatrove's and Daft's on the same documents, one core.

    python -m venv /tmp/daft && /tmp/daft/bin/python -m pip install 'daft==0.7.26' numpy
    python benchmarks/bench_minhash.py --daft-python /tmp/daft/bin/python     # a table and benchmarks/results/minhash.json

Daft has an interpreter of its own, as it needs a pyarrow below 26; without `--daft-python` it is left out. All have 112 hashes of shingles
of five words, and nobody writes anything. Ours gives signatures with the keys of 14 bands from Arrow arrays; datatrove's `get_shingles` and
`get_signature` are called for each document, as its `MinhashDedupSignature` does; Daft's is `Series.minhash`, which runs in the calling
thread, on the same arrays (a query, `df.select(col("text").minhash(…))`, takes longer). All are bound to the same core and timed, in
turns, by their process's CPU; the best round of each counts. datatrove sees a part of the documents (`--megabytes`), the others all.

English prose of 3,000 to 5,500 bytes is what the floors are about; other documents are there to show what they cost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bench_filters import SHARED, documents, markdown, text_bytes, thinned, timed  # noqa: E402
from operators.kernels.minhash import signatures  # noqa: E402
from operators.kernels.shingles import shingle_sets  # noqa: E402

NUM_HASHES, BANDS, ROWS, WORDS, CHARS = 112, 14, 8, 5, 5
ENGLISH = ("en-open-00000", "en-open-00001")
OTHERS = {"web pages": ("web-thirdparty-00000",), "many languages": ("multi-00000", "multi-00001"), "sentences": ("multi-lid-00000",)}
IN_DAFT = """
import sys, time
import pyarrow as pa
from daft import Series

texts = Series.from_arrow(pa.ipc.open_file(sys.argv[1]).read_all()["text"].combine_chunks())
start = time.process_time()
texts.minhash(num_hashes=int(sys.argv[2]), ngram_size=int(sys.argv[3]))
print(time.process_time() - start)
"""
"""Affinity comes from the parent."""

Seconds = Callable[[], float]
"""Runs once and says how long it took."""


@dataclass(frozen=True)
class Case:
    """One set of documents and what is done to it.

    Attributes:
        ours: What of ours is timed.
        others: Whether datatrove and Daft are, too.
    """

    name: str
    files: Sequence[Path]
    wanted: str
    ours: Callable[[pa.LargeStringArray], Any]
    others: bool = False


def sign(kind: Any, size: int, texts: pa.LargeStringArray) -> Any:
    return signatures(texts, kind, size, "datatrove", NUM_HASHES, BANDS, ROWS)


def cases(english: Sequence[Path]) -> list[Case]:
    folder = SHARED / "docs"
    found = [Case("signatures, English of 4 kB", english, "4 kB", partial(sign, "word", WORDS), others=True)]
    for name, files in OTHERS.items():
        paths = [path for file in files if (path := folder / f"{file}.parquet").exists()]
        found += [Case(f"signatures, {name}", paths, "all", partial(sign, "word", WORDS))] if paths else []
    found.append(Case("signatures of characters, English of 4 kB", english, "4 kB", partial(sign, "char", CHARS)))
    sets = partial(shingle_sets, kind="word", size=WORDS, normalization="datatrove")
    return [*found, Case("exact sets, English of 4 kB", english, "4 kB", sets)]


def datatrove_signatures(texts: Sequence[str], folder: Path) -> Seconds:
    """What `MinhashDedupSignature.run` does with each document, without its files."""
    from datatrove.pipeline.dedup import MinhashDedupSignature

    block = MinhashDedupSignature(str(folder))

    def process() -> None:
        for text in texts:
            shingles = block.get_shingles(text)
            if shingles.size:
                block.get_signature(shingles)

    block.get_signature(block.get_shingles(texts[0]))
    return partial(timed, process)


def daft_signatures(texts: pa.LargeStringArray, folder: Path, interpreter: Path) -> Seconds:
    """Daft's, in a process of its own, without its start and without reading."""
    file = folder / "texts.arrow"
    with pa.ipc.new_file(file, pa.schema([("text", pa.large_string())])) as writer:
        writer.write_table(pa.table({"text": texts}))

    def process() -> float:
        command = [str(interpreter), "-c", IN_DAFT, str(file), str(NUM_HASHES), str(WORDS)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout)

    return process


def measure(case: Case, megabytes: float, rounds: int, daft_python: Path | None) -> dict[str, Any]:
    """Rates, MB of text a second, in turns; best round of each."""
    table = documents(case.files, case.wanted)
    texts, few = table["text"].combine_chunks(), thinned(table, megabytes)
    sizes = {"ours": text_bytes(table["text"]), "datatrove": few.num_bytes(), "daft": text_bytes(table["text"])}
    case.ours(texts[:10])
    with tempfile.TemporaryDirectory() as folder:
        timers: dict[str, Seconds] = {"ours": partial(timed, case.ours, texts)}
        if case.others:
            timers["datatrove"] = datatrove_signatures(few.texts, Path(folder))
        if case.others and daft_python is not None:
            timers["daft"] = daft_signatures(texts, Path(folder), daft_python)
        seconds: dict[str, list[float]] = {name: [] for name in timers}
        for _ in range(rounds):
            for name, timer in timers.items():
                seconds[name] += [timer() for _ in range(5 if name == "ours" else 1)]
    rate = {name: sizes[name] / 1e6 / min(each) for name, each in seconds.items()}
    floors: Mapping[str, float] = {"datatrove": 150, "daft": 3}
    return {
        "case": case.name,
        "documents": table.num_rows,
        "mb_per_second": {name: round(value, 3) for name, value in rate.items()},
        "ratios": {name: round(rate["ours"] / rate[name], 1) for name in timers if name != "ours"},
        "floors": {name: floors[name] for name in timers if name != "ours"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", type=Path, default=[SHARED / "docs" / f"{name}.parquet" for name in ENGLISH])
    parser.add_argument("--megabytes", type=float, default=0.5, help="of text that datatrove gets")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=None, help="cases by the beginning of their names")
    parser.add_argument("--daft-python", type=Path, default=None, help="interpreter of an environment that has Daft")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "minhash.json")
    options = parser.parse_args()
    with contextlib.suppress(ImportError):
        from loguru import logger

        logger.remove()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    results = []
    for case in cases(options.input):
        if options.only is None or case.name.startswith(tuple(options.only)):
            results.append(measure(case, options.megabytes, options.rounds, options.daft_python))
            print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"cores": 1, "results": results}, indent=1) + "\n")
    print("\n".join(markdown(results)))


if __name__ == "__main__":
    main()
