"""Tokenization against the tokenizers library and tiktoken; the FineWeb recipe with and without it; memory on pathological documents.

    python benchmarks/bench_tokenize.py                            # all, as a table and benchmarks/results/tokenize.json
    python benchmarks/bench_tokenize.py --only ids --rounds 5      # also: recipe, memory
    python benchmarks/bench_tokenize.py --tokenizer mine/tokenizer.json --json

One core, one process, all in turns; times are of the process's CPU and the best round of each counts. Ids are compared in the same run.

`ids`: ours is the operator, from record batches to record batches with their columns, with an empty cache (cold: the first pass after it
was opened) and a full one (warm). The library's `encode_batch` and `encode_batch_fast` get lists of Python strings that were made before,
1 MiB at a time, without threads, and nobody reads their ids. tiktoken has the same vocabulary and pattern; `encode_ordinary` is called for
each document. Documents are evenly thinned to `--megabytes`: all groups of the test corpus (mixed), or English prose. Tokenizers: a
byte-level BPE trained in this run, and where they are there dolma2 (cl100k's pattern) and GPT-NeoX's (NFC, runs of spaces as tokens).

`recipe`: language, four filters and PII, from Parquet to Parquet through the whole engine, then with `tokenize` behind them.

`memory`: a process of its own tokenizes words of 50 MB and random text, 1 GB together, in batches as the engine makes them; its peak is
VmHWM of /proc/self/status.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bench_filters import INPUTS, SHARED, recipe_operators, text_bytes, timed  # noqa: E402
from benchmarks.tiktoken_encoding import NotComparableError, encoding_of  # noqa: E402
from benchmarks.worker import Worker  # noqa: E402
from operators.tokenize import Tokenize  # noqa: E402
from pipelines.config import load  # noqa: E402
from pipelines.operator_warnings import heard  # noqa: E402
from pipelines.run import run  # noqa: E402

OLMO = SHARED / "assets" / "tokenizers" / "olmo"
KNOWN = {"dolma2": OLMO / "allenai_dolma2.json", "neox": OLMO / "allenai_gpt-neox-olmo-dolma-v1_5.json"}
UNREAL = ("edge", "synthetic")
BATCH_BYTES = 16 << 20
SLICE_BYTES = 1 << 20
FLOORS = {"encode_batch": 8.0, "tiktoken": 2.0}
RECIPE_FLOOR = 0.5
MEMORY_BOUND = 3 << 29
WORD_BYTES = 50_000_000
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


# --- documents and tokenizers


def texts_of(files: Sequence[Path], megabytes: float) -> pa.Table:
    """Texts of all files, evenly thinned to about so many bytes."""
    tables = [pq.read_table(path, columns=["text"]) for path in files]
    table = pa.concat_tables([table.cast(pa.schema([("text", pa.large_string())])) for table in tables])
    table = table.filter(pc.is_valid(table["text"])).combine_chunks()
    step = text_bytes(table["text"]) / (megabytes * 1e6)
    rows = [int(number * step) for number in range(int(table.num_rows / step))] if step > 1 else list(range(table.num_rows))
    return table.take(rows).combine_chunks()


def batches_of(table: pa.Table, most: int = BATCH_BYTES) -> list[pa.RecordBatch]:
    """Batches of at most so many bytes, or one document, as the engine makes them."""
    sizes = pc.binary_length(table["text"]).to_pylist()
    found, start, size = [], 0, 0
    for row, length in enumerate(sizes):
        if row > start and size + length > most:
            found.append(table.slice(start, row - start).combine_chunks().to_batches()[0])
            start, size = row, 0
        size += length
    return found + table.slice(start).combine_chunks().to_batches()


def trained(table: pa.Table, entries: int, path: Path) -> Path:
    """A byte-level BPE as GPT-2's, of so many entries."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=entries, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(table["text"].to_pylist(), trainer)
    tokenizer.save(str(path))
    return path


# --- ids


def ours(encode: Callable[..., Any], batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """What the operator gives."""
    return [encode(batch).batch for batch in batches]


def ids_of(given: Sequence[pa.RecordBatch]) -> list[list[int]]:
    """The ids of each document."""
    return [ids for batch in given for ids in batch.column("input_ids").to_pylist()]


def library(path: Path) -> Any:
    """The tokenizers library's, for which special tokens in a text are text, as for ours and tiktoken."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_file(str(path))
    made.encode_special_tokens = True
    made.no_truncation()
    made.no_padding()
    return made


def sliced(texts: Sequence[str]) -> list[list[str]]:
    """Lists of about 1 MiB: more at once is slower for the library, whose results fall out of the processor's cache."""
    found: list[list[str]] = [[]]
    size = 0
    for text in texts:
        if size > SLICE_BYTES:
            found.append([])
            size = 0
        found[-1].append(text)
        size += len(text)
    return found


def each(function: Callable[[Any], Any], items: Sequence[Any]) -> None:
    """Call for every item, and forget what comes."""
    for item in items:
        function(item)


def same(ids: Sequence[Sequence[int]], others: Iterator[Sequence[int]]) -> int:
    """Documents whose ids are equal."""
    return sum(list(one) == list(other) for one, other in zip(ids, others, strict=True))


def measure(name: str, path: Path, documents: str, table: pa.Table, rounds: int) -> dict[str, Any]:
    """Rates of all, MB of text a second, and how many documents have equal ids."""
    batches, texts = batches_of(table), table["text"].to_pylist()
    operator = Tokenize(tokenizer=str(path))
    peer = library(path)
    peers: dict[str, Callable[[], None]] = {
        "encode_batch": partial(each, partial(peer.encode_batch, add_special_tokens=False), sliced(texts)),
        "encode_batch_fast": partial(each, partial(peer.encode_batch_fast, add_special_tokens=False), sliced(texts)),
    }
    with heard() as warned:
        ids = ids_of(ours(operator.open(Worker()), batches))  # compiles, too
    equal = {"encode_batch": same(ids, (peer.encode(text, add_special_tokens=False).ids for text in texts))}
    absent = None
    try:
        encoding = encoding_of(path)
    except (NotComparableError, ImportError) as error:
        absent = str(error)
    else:
        peers["tiktoken"] = partial(each, encoding.encode_ordinary, texts)
        equal["tiktoken"] = same(ids, (encoding.encode_ordinary(text) for text in texts))
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        with heard():
            encode = operator.open(Worker())
        for ours_name in ("cold", "warm"):
            seconds.setdefault(ours_name, []).append(timed(ours, encode, batches))
        for peer_name, function in peers.items():
            seconds.setdefault(peer_name, []).append(timed(function))
    size = text_bytes(table["text"])
    rate = {each_name: size / 1e6 / min(times) for each_name, times in seconds.items()}
    return {
        "case": f"{name}, {documents}",
        "documents": len(texts),
        "text_bytes": size,
        "tokens": sum(map(len, ids)),
        "mb_per_second": {key: round(value, 3) for key, value in rate.items()},
        "ratios": {key: {"cold": round(rate["cold"] / rate[key], 2), "warm": round(rate["warm"] / rate[key], 2)} for key in peers},
        "equal": equal,
        "floors": {key: floor for key, floor in FLOORS.items() if key in peers},
        "absent": {} if absent is None else {"tiktoken": absent},
        "warnings": list(warned),
    }


# --- the recipe


def through(files: Sequence[Path], folder: Path, operators: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A pipeline through the engine, to a finished version; returns its manifest."""
    pipeline = {
        "name": "recipe",
        "input": {"uri": [str(path) for path in files]},
        "operators": list(operators),
        "output": {"uri": str(folder / f"out-{len(operators)}")},
        "execution": {"max_quarantined_fraction": 1.0},
        "cluster": {"type": "inline"},
    }
    file = folder / "recipe.json"
    file.write_text(json.dumps(pipeline))
    return dict(run(load(file)).manifest)


def measure_recipe(name: str, path: Path, files: Sequence[Path], rounds: int) -> dict[str, Any]:
    """Rates of the recipe as it is and with tokenization, from Parquet to Parquet."""
    recipe = recipe_operators(None)
    cases = {"without": recipe, "with": [*recipe, {"type": "tokenize", "tokenizer": str(path)}]}
    seconds: dict[str, list[float]] = {}
    manifest: dict[str, Any] = {}
    for _ in range(rounds + 1):  # the first warms up
        for case, operators in cases.items():
            with tempfile.TemporaryDirectory() as folder:
                started = time.process_time()
                manifest = through(files, Path(folder), operators)
                seconds.setdefault(case, []).append(time.process_time() - started)
    size = sum(text_bytes(pq.read_table(path, columns=["text"])["text"]) for path in files)
    rate = {case: size / 1e6 / min(times[1:]) for case, times in seconds.items()}
    return {
        "case": f"FineWeb recipe, {name}",
        "text_bytes": size,
        "documents": manifest["ledger"]["rows_in"],
        "tokenized": manifest["ledger"]["rows_out"],
        "tokens": manifest["output"]["tokens"],
        "mb_per_second": {case: round(value, 3) for case, value in rate.items()},
        "ratio": round(rate["with"] / rate["without"], 3),
        "floor": RECIPE_FLOOR,
    }


# --- memory


def pathological(megabytes: float, word_bytes: int) -> Iterator[str]:
    """Words without an end, then random characters of one byte and of any size, until there are so many megabytes."""
    rng = random.Random(0)
    left = megabytes * 1e6
    units = ("a", " ", "\n", "0", "\U0001f600", "".join(rng.choices(LETTERS, k=9973)), "x\u0301", "é", ".-")
    for unit in units:
        text = unit * (word_bytes // len(unit.encode()))
        left -= len(text.encode())
        yield text
        if left <= 0:
            return
    while left > 0:
        codes = (code for code in (rng.randrange(0x110000) for _ in range(100_000)) if not 0xD800 <= code < 0xE000)
        for text in (rng.randbytes(1_000_000).decode("latin-1"), "".join(map(chr, codes))):
            left -= len(text.encode())
            yield text


def peak_bytes() -> int:
    """The most memory that this process has had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM; expected Linux")


def tokenize_alone(path: str, megabytes: float, word_bytes: int) -> dict[str, Any]:
    """Tokenize pathological documents in this process; what it took."""
    with heard():
        encode = Tokenize(tokenizer=path).open(Worker())
    encode(pa.record_batch({"text": pa.array(["to be compiled"], pa.large_string())}))
    before, size, tokens, seconds = peak_bytes(), 0, 0, 0.0
    for text in pathological(megabytes, word_bytes):
        batch = pa.record_batch({"text": pa.array([text], pa.large_string())})
        size += batch.column(0).nbytes
        del text
        started = time.process_time()
        tokens += int(pc.sum(encode(batch).batch.column("num_tokens")).as_py())
        seconds += time.process_time() - started
    return {"text_bytes": size, "tokens": tokens, "seconds": round(seconds, 2), "before_bytes": before, "peak_rss_bytes": peak_bytes()}


def measure_memory(name: str, path: Path, megabytes: float, word_bytes: int) -> dict[str, Any]:
    """Peak of a process that tokenizes pathological documents."""
    command = [sys.executable, __file__, "--alone", str(path), "--memory-megabytes", str(megabytes), "--word-bytes", str(word_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"case": f"memory, {name}", **json.loads(done.stdout), "bound_bytes": MEMORY_BOUND}


# --- what is told


def table_lines(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Tables for the docs."""
    compared = [result for result in results if "ratios" in result]
    if compared:
        yield "| case | cold, MB/s | warm, MB/s | compared with | MB/s | cold, ratio | warm, ratio | floor | equal documents |"
        yield "|---|---:|---:|---|---:|---:|---:|---:|---:|"
    for result in compared:
        rates = result["mb_per_second"]
        for peer, ratio in result["ratios"].items():
            floor, equal = result["floors"].get(peer, ""), result["equal"].get(peer)
            told = "" if equal is None else f"{equal:,} of {result['documents']:,}"
            cells = [result["case"], f"{rates['cold']:.1f}", f"{rates['warm']:.1f}", peer, f"{rates[peer]:.2f}"]
            cells += [f"{ratio['cold']:.1f}", f"{ratio['warm']:.1f}", str(floor), told]
            yield f"| {' | '.join(cells)} |"
        for peer, why in result["absent"].items():
            yield f"| {result['case']} | | | {peer} | absent: {why} | | | | |"
    yield from (f"\n{result['case']}: {warning}" for result in compared for warning in result["warnings"])
    others = [result for result in results if "ratios" not in result]
    if others:
        yield from ("", "| what | measured | bound |", "|---|---|---|")
    for result in others:
        if "ratio" in result:
            rates = result["mb_per_second"]
            words = f"{result['ratio']:.2f} ({rates['with']:.1f} MB/s with tokenization, {rates['without']:.1f} without)"
            yield f"| {result['case']} | {words} | {result['floor']} |"
        else:
            words = f"{result['peak_rss_bytes'] / 2**30:.2f} GiB over {result['text_bytes'] / 1e6:,.0f} MB in {result['seconds']:.0f} s"
            yield f"| {result['case']} | {words}, {result['before_bytes'] / 2**30:.2f} before | {result['bound_bytes'] / 2**30:.1f} GiB |"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", type=Path, default=None, help="Parquet files instead of the test corpus's, as one case")
    parser.add_argument("--recipe-input", nargs="+", type=Path, default=None, help="those of the recipe; default: English and web pages")
    parser.add_argument("--tokenizer", nargs="+", type=Path, default=None, help="files instead of dolma2's and GPT-NeoX's")
    parser.add_argument("--vocabulary", type=int, default=32_000, help="entries of the tokenizer that is trained here")
    parser.add_argument("--megabytes", type=float, default=20.0, help="of text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=("ids", "recipe", "memory"), default=("ids", "recipe", "memory"))
    parser.add_argument("--memory-megabytes", type=float, default=1000.0)
    parser.add_argument("--word-bytes", type=int, default=WORD_BYTES)
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead of tables")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "tokenize.json")
    parser.add_argument("--alone", default=None, help=argparse.SUPPRESS)
    return parser.parse_args()


def corpora(options: argparse.Namespace) -> dict[str, list[Path]]:
    """Files by what their documents are."""
    if options.input is not None:
        return {"given": options.input}
    files = sorted((SHARED / "docs").glob("*.parquet"))
    mixed = [path for path in files if not path.name.startswith(UNREAL)]
    return {"mixed": mixed, "English": [path for path in files if path.name.startswith("en-open")]}


def results_of(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Everything that was asked for, one after the other."""
    documents = {name: texts_of(files, options.megabytes) for name, files in corpora(options).items()}
    first = next(iter(documents.values()))
    name = f"BPE of {options.vocabulary:,}"
    own = trained(first, options.vocabulary, folder / "trained.json")
    found = {path.stem: path for path in options.tokenizer} if options.tokenizer else KNOWN
    tokenizers = {name: own} | {known: path for known, path in found.items() if path.exists()}
    if "ids" in options.only:
        yield from (
            measure(known, path, kind, table, options.rounds) for known, path in tokenizers.items() for kind, table in documents.items()
        )
    if "recipe" in options.only:
        files = options.recipe_input or options.input or [SHARED / "docs" / f"{name}.parquet" for name in INPUTS]
        yield measure_recipe(name, own, files, options.rounds)
    if "memory" in options.only:
        yield measure_memory(name, own, options.memory_megabytes, options.word_bytes)


def main() -> None:
    options = arguments()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    if options.alone is not None:
        print(json.dumps(tokenize_alone(options.alone, options.memory_megabytes, options.word_bytes)))
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for result in results_of(options, Path(folder)):
            results.append(result)
            print(json.dumps(result), file=sys.stderr, flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    told = json.dumps({"cores": 1, "results": results}, indent=1)
    options.out.write_text(told + "\n")
    print(told if options.json else "\n".join(table_lines(results)))


if __name__ == "__main__":
    main()
