"""Whether `tokenize` gives the ids of the `tokenizers` library on all real documents, for each published tokenizer; exit status 1 if not.

python benchmarks/conformance_tokens.py                             # all documents, all tokenizers: minutes of the library's time
python benchmarks/conformance_tokens.py --files edge-00000 --tokenizers dolma2 gpt2
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from operator_samples import ASSETS  # noqa: E402
from tokenizer_gallery import from_gpt2, from_tiktoken, written  # noqa: E402

from operators.base import Result  # noqa: E402
from operators.tokenize import Tokenize  # noqa: E402

SHARED = Path(os.environ.get("SHARDMILL_SHARED", ROOT.parent / "shared"))
ROWS = 256
SHOWN = 3

OLMO = {
    "dolma2": "allenai_dolma2",
    "neox-olmo": "allenai_gpt-neox-olmo-dolma-v1_5",
    "neox-pii": "allenai_eleuther-ai-gpt-neox-20b-pii-special",
}
CONVERTED = ("gpt2", "whisper-multilingual", "whisper-gpt2")


@dataclass
class Agreement:
    """What was compared under one tokenizer, and the seconds of this process that each side took."""

    documents: int = 0
    ids: int = 0
    differences: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"ours": 0.0, "library": 0.0})
    examples: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, source: str, texts: Sequence[str], ours: Sequence[Any], theirs: Sequence[Any]) -> None:
        """Count some documents, and remember the first that differ."""
        self.documents += len(texts)
        self.ids += sum(map(len, theirs))
        for row, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            if not np.array_equal(mine, other):
                self.differences += 1
                if len(self.examples) < SHOWN:
                    self.examples.append(f"{source}, {_told(texts[row], mine, other)}")


def _told(text: str, ours: Any, theirs: Any) -> str:
    """From where on the ids differ, with some of them."""
    shorter = min(len(ours), len(theirs))
    differing = np.flatnonzero(np.asarray(ours[:shorter]) != np.asarray(theirs[:shorter]))
    at = int(differing[0]) if len(differing) else shorter
    return f"{text[:60]!r}: from token {at} {list(ours[at : at + 5])}, expected {list(theirs[at : at + 5])}"


def tokenizers_of(folder: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """The tokenizers by name; those that come in other formats are written to `folder` as tokenizer.json."""
    assets = SHARED / "data" / "assets" / "tokenizers"
    makers: dict[str, Callable[[], Path]] = {
        "gpt2": lambda: written(from_gpt2(assets / "gpt2"), folder / "gpt2.json"),
        "whisper-multilingual": lambda: written(from_tiktoken(assets / "whisper" / "multilingual.tiktoken"), folder / "multilingual.json"),
        "whisper-gpt2": lambda: written(from_tiktoken(assets / "whisper" / "gpt2.tiktoken"), folder / "whisper-gpt2.json"),
    }
    found = {name: assets / "olmo" / f"{file}.json" for name, file in OLMO.items() if name in wanted}
    return found | {name: make() for name, make in makers.items() if name in wanted}


def batches_of(path: Path) -> Iterator[pa.RecordBatch]:
    """The texts of a file, in batches."""
    for batch in pq.ParquetFile(path).iter_batches(ROWS, columns=["text"]):
        yield pa.record_batch({"text": batch.column("text").cast(pa.large_string()).drop_null()})


def compare(tokenizer: Path, files: Sequence[Path]) -> Agreement:
    """Tokenize all documents of the files with the operator and, one by one, with the library."""
    from tokenizers import Tokenizer

    reference = Tokenizer.from_file(str(tokenizer))
    reference.encode_special_tokens = True
    reference.no_truncation()
    reference.no_padding()
    agreement = Agreement()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokenize = Tokenize(tokenizer=str(tokenizer)).open(ASSETS)
    agreement.warnings = [str(each.message) for each in caught]
    for file in files:
        for batch in batches_of(file):
            texts = batch.column("text").to_pylist()
            ours = _timed(agreement, "ours", lambda batch=batch: _lists(tokenize(batch)))
            theirs = _timed(
                agreement, "library", lambda texts=texts: [reference.encode(text, add_special_tokens=False).ids for text in texts]
            )
            agreement.add(file.stem, texts, ours, theirs)
    return agreement


def _timed(agreement: Agreement, side: str, work: Callable[[], Any]) -> Any:
    begin = time.process_time()
    found = work()
    agreement.seconds[side] += time.process_time() - begin
    return found


def _lists(result: Result) -> list[Any]:
    """The ids of each document; a document that has an error counts as one of no ids."""
    column = result.batch.column("input_ids")
    values = column.values.to_numpy(zero_copy_only=False)
    bounds = column.offsets.to_numpy()
    return [values[start:stop] for start, stop in pairwise(bounds)]


def main() -> int:
    """Print a line a tokenizer; 1 if any document differs."""
    folder = SHARED / "data" / "docs"
    names = [*OLMO, *CONVERTED]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", nargs="*", default=None, help="names of files in shared/data/docs; default: all")
    parser.add_argument("--tokenizers", nargs="*", choices=names, default=names)
    options = parser.parse_args()
    files = sorted(folder.glob("*.parquet")) if options.files is None else [folder / f"{name}.parquet" for name in options.files]
    if not files or not all(file.is_file() for file in files):
        print(f"real documents are absent: {folder}; set SHARDMILL_SHARED", file=sys.stderr)
        return 2
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    print(f"{'tokenizer':<22} {'documents':>10} {'ids':>12} {'differences':>12} {'library s':>10} {'ours s':>8}")
    failed = False
    with tempfile.TemporaryDirectory() as made:
        for name, path in tokenizers_of(Path(made), options.tokenizers).items():
            found = compare(path, files)
            seconds = found.seconds
            counts = f"{found.documents:>10,} {found.ids:>12,} {found.differences:>12,}"
            print(f"{name:<22} {counts} {seconds['library']:>10.1f} {seconds['ours']:>8.1f}", flush=True)
            for line in [*found.warnings, *found.examples]:
                print(f"  {line}", flush=True)
            failed |= found.differences > 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
