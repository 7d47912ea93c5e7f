"""Every text operator and the FineWeb recipe against datatrove's same blocks on the same documents, and against read-and-write alone.

    python benchmarks/bench_filters.py                         # all cases, a table and benchmarks/results/filters.json
    python benchmarks/bench_filters.py --only gopher_quality c4_quality
    python benchmarks/bench_filters.py --recipe-input '/tmp/bench/data/*.parquet'   # the recipe on a grown corpus (make_bench.py)

One core, one process, ours and theirs in turns; the best round of each counts. Single operators are timed on documents in memory: ours on
record batches, datatrove's on its `Document` objects, made before. datatrove sees a part of the documents (every n-th, `--megabytes`) and
ours all of them, as one takes minutes for what the other does in a second; rates are bytes of text a second. The recipe is timed from
Parquet to Parquet: ours through the whole engine (commits, ledger, side tables, packing), datatrove's with its local executor.

Times are of the process's CPU. Language identification against py3langid and fastText's binding: documents of 3,000 to 5,500 bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import gzip
import io
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.worker import Worker  # noqa: E402
from operators import AnyOperator, BatchOperator  # noqa: E402
from pipelines.config import load  # noqa: E402
from pipelines.run import run  # noqa: E402

SHARED = Path(os.environ.get("SHARDMILL_SHARED", ROOT.parent / "shared")) / "data"
INPUTS = ("en-open-00001", "en-open-00002", "web-thirdparty-00000", "web-thirdparty-00001")
BATCH_ROWS = 2048
LID_MODEL = SHARED / "assets" / "lid" / "lid.176.ftz"
ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyOperator)

DOMAINS = SHARED / "assets" / "blocklists" / "ut1" / "gambling.domains.gz"
BAD_WORDS = SHARED / "assets" / "blocklists" / "ldnoobw" / "en"
BANNED = ["porn", "casino", "xxx"]


class Few(NamedTuple):
    """The documents that the others get."""

    texts: list[str]
    urls: list[str]

    def num_bytes(self) -> int:
        """Bytes of text."""
        return sum(len(text.encode()) for text in self.texts)


Theirs = Callable[[], Callable[[Few], int]]
"""Makes what processes documents and returns how many stay."""


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        ours: Settings of our operators, applied one after the other to what stays.
        theirs: What is compared with, by name; the first is the one that `floor` is about.
        floors: Least ratio to each of `theirs`.
        documents: Which documents: all, or those of about 4 kB.
    """

    name: str
    ours: Sequence[Mapping[str, Any]]
    theirs: Mapping[str, Theirs] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    documents: str = "all"


# --- what others do


def blocks(*made: Callable[[], Any]) -> Theirs:
    """Datatrove's filters and formatters, one after the other, each document dropped by the first that refuses it."""

    def start() -> Callable[[Few], int]:
        from datatrove.data import Document

        steps = [make() for make in made]

        def process(few: Few) -> int:
            documents = [Document(text=text, id="", metadata={"url": url}) for text, url in zip(*few, strict=True)]
            return sum(all(_passes(step, document) for step in steps) for document in documents)

        return process

    return start


def _passes(step: Any, document: Any) -> bool:
    if hasattr(step, "format"):
        document.text = step.format(document.text)
        return True
    try:
        verdict = step.filter(document)
    except ZeroDivisionError:  # a text without words
        return False
    return verdict is True or (isinstance(verdict, tuple) and verdict[0])


def filters(name: str, **args: Any) -> Callable[[], Any]:
    """A block of datatrove by name."""

    def make() -> Any:
        from datatrove.pipeline import filters as theirs
        from datatrove.pipeline import formatters

        return (getattr(theirs, name, None) or getattr(formatters, name))(**args)

    return make


def language_block() -> Any:
    """Datatrove's language filter with the model from the disk instead of the network."""
    from datatrove.pipeline.filters import LanguageFilter
    from datatrove.utils.lid import FT176LID
    from fasttext.FastText import _FastText

    class OnDisk(FT176LID):  # type: ignore[misc]  datatrove has no types
        """Loaded when it is first asked, as the executor copies its blocks."""

        _loaded: Any = None

        @property
        def model(self) -> Any:
            """The library's model."""
            if self._loaded is None:
                self._loaded = _FastText(str(LID_MODEL))
            return self._loaded

    made = LanguageFilter("en", language_threshold=0.65)
    made.model = OnDisk(made.model.languages, made.model.k)
    return made


def py3langid() -> Callable[[Few], int]:
    """py3langid, as its users call it."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return lambda few: sum(identifier.classify(text)[1] > 0.65 for text in few.texts)


def fasttext_binding() -> Callable[[Few], int]:
    """FastText's Python binding, as its users call it."""
    from fasttext.FastText import _FastText

    model = _FastText(str(LID_MODEL))
    return lambda few: sum(float(model.predict(text.replace("\n", " "))[1][0]) > 0.65 for text in few.texts)


def url_block() -> Any:
    """Datatrove's URL filter with UT1's domains and without its own lists, which it would download."""
    from datatrove.pipeline.filters import URLFilter
    from tldextract import TLDExtract

    made = URLFilter(
        extra_domains=gzip.decompress(DOMAINS.read_bytes()).decode().splitlines(), banned_words=BANNED, use_integrated_lists=False
    )
    made.tldextractor = TLDExtract(suffix_list_urls=())
    return made


def bad_words_block() -> Any:
    """Datatrove's bad-word filter with its regular expression made from the list on the disk."""
    from datatrove.pipeline.filters import C4BadWordsFilter

    words = "|".join(re.escape(line.strip()) for line in BAD_WORDS.read_text().splitlines())
    made = C4BadWordsFilter(default_language="en")
    made._badwords_regex["en"] = re.compile(rf"(?:\W|^)({words})(?:\W|$)")  # noqa: SLF001  it knows no other way
    return made


def ftfy_alone() -> Callable[[Few], int]:
    """Ftfy on each text."""
    import ftfy

    return lambda few: sum(bool(ftfy.fix_text(text)) for text in few.texts)


FOUR_BLOCKS = (
    filters("GopherRepetitionFilter"),
    filters("GopherQualityFilter"),
    filters("C4QualityFilter", filter_no_terminal_punct=False),
    filters("FineWebQualityFilter"),
)
FOUR = (
    {"type": "gopher_repetition"},
    {"type": "gopher_quality"},
    {"type": "c4_quality", "filter_no_terminal_punct": False},
    {"type": "fineweb_quality"},
)


def cases() -> list[Case]:
    """All comparisons; those that need the language model only where it is."""
    found = [
        Case("gopher_repetition", FOUR[:1], {"datatrove": blocks(FOUR_BLOCKS[0])}),
        Case("gopher_quality", FOUR[1:2], {"datatrove": blocks(FOUR_BLOCKS[1])}),
        Case("c4_quality", FOUR[2:3], {"datatrove": blocks(FOUR_BLOCKS[2])}),
        Case("fineweb_quality", FOUR[3:], {"datatrove": blocks(FOUR_BLOCKS[3])}),
        Case("four quality filters", FOUR, {"datatrove": blocks(*FOUR_BLOCKS)}, {"datatrove": 150}),
        Case("c4_paragraph", [{"type": "c4_paragraph"}], {"datatrove": blocks(filters("C4ParagraphFilter"))}),
        Case("pii_redact, fineweb", [{"type": "pii_redact", "preset": "fineweb"}], {"datatrove": blocks(filters("PIIFormatter"))}),
        Case("pii_redact, all kinds", [{"type": "pii_redact"}]),
        Case("normalize_text", [{"type": "normalize_text"}], {"ftfy": ftfy_alone, "datatrove": blocks(filters("FTFYFormatter"))}),
        Case("sample", [{"type": "sample", "rate": 0.5}], {"datatrove": blocks(filters("SamplerFilter", rate=0.5, seed=1))}),
        Case("language_filter", [{"type": "language_filter"}], {"py3langid": lambda: py3langid()}, {"py3langid": 50}, "4 kB"),  # noqa: PLW0108
    ]
    if LID_MODEL.exists():
        model = {"type": "language_filter", "model": str(LID_MODEL)}
        others = {"fastText": fasttext_binding, "datatrove": blocks(language_block)}
        found.append(Case("language_filter, lid.176.ftz", [model], others, {"fastText": 3}, "4 kB"))
        classifier = {"type": "classifier", "model": str(LID_MODEL), "label": "en"}
        found.append(Case("classifier, lid.176.ftz", [classifier], {"fastText": fasttext_binding}, {}, "4 kB"))
    if DOMAINS.exists():
        listed = {"type": "url_filter", "domain_lists": [str(DOMAINS)], "words": BANNED}
        found.append(Case("url_filter", [listed], {"datatrove": blocks(url_block)}))
    if BAD_WORDS.exists():
        words = {"type": "bad_words", "lists": {"en": str(BAD_WORDS)}}
        found.append(Case("bad_words", [words], {"datatrove": blocks(bad_words_block)}))
    evals = SHARED / "evals" / "gsm8k-test.jsonl"
    if evals.exists():
        found.append(Case("decontaminate", [{"type": "decontaminate", "evals": [str(evals)]}]))
    return found


# --- documents


def documents(inputs: Sequence[Path], wanted: str) -> pa.Table:
    """The documents of a case, as large_string; without empty ones, which datatrove's readers drop."""
    table = pa.concat_tables([pq.read_table(path, columns=["id", "text", "url"]) for path in inputs], promote_options="default")
    size = pc.binary_length(table["text"])
    chosen = pc.and_(pc.greater(size, 2999), pc.less(size, 5501)) if wanted == "4 kB" else pc.greater(size, 0)
    table = table.filter(chosen).combine_chunks()
    return table.set_column(1, "text", pc.cast(table["text"], pa.large_string()))


def thinned(table: pa.Table, megabytes: float) -> Few:
    """Documents from the whole table, evenly, of about so many bytes together."""
    step = max(1, round(text_bytes(table["text"]) / (megabytes * 1e6)))
    chosen = table.take(list(range(0, table.num_rows, step)))
    urls = [url or "https://example.org/a" for url in chosen["url"].to_pylist()]
    return Few(chosen["text"].to_pylist(), urls)


def text_bytes(texts: pa.ChunkedArray) -> int:
    """Bytes of UTF-8."""
    return int(pc.sum(pc.binary_length(texts)).as_py())


# --- timing


def opened(settings: Sequence[Mapping[str, Any]]) -> Callable[[Sequence[pa.RecordBatch]], int]:
    """Our operators as the chain runs them: what one drops, the next does not see."""
    operators = [ADAPTER.validate_python(dict(each)) for each in settings]
    functions = [operator.open(Worker()) for operator in operators if isinstance(operator, BatchOperator)]

    def process(batches: Sequence[pa.RecordBatch]) -> int:
        kept = 0
        for batch in batches:
            for function in functions:
                result = function(batch)
                batch = result.batch if result.reasons is None else result.batch.filter(pc.is_null(result.reasons))  # noqa: PLW2901
            kept += batch.num_rows
        return kept

    return process


def timed(function: Callable[..., Any], *arguments: Any) -> float:
    """CPU seconds of one call: other work on the machine, and waiting for its disk, do not count."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def measure(case: Case, inputs: Sequence[Path], megabytes: float, rounds: int) -> dict[str, Any]:
    """Rates of both sides, MB of text a second, in turns; best round of each."""
    table = documents(inputs, case.documents)
    batches = table.to_batches(BATCH_ROWS)
    few = thinned(table, megabytes)
    size, few_size = text_bytes(table["text"]), few.num_bytes()
    ours = opened(case.ours)
    theirs = {name: start() for name, start in case.theirs.items()}
    ours(batches[:1])
    for function in theirs.values():
        function(Few(few.texts[:20], few.urls[:20]))
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", *theirs)}
    for _ in range(rounds):
        seconds["ours"] += [timed(ours, batches) for _ in range(3)]
        for name, function in theirs.items():
            seconds[name].append(timed(function, few))
    rate = {name: (size if name == "ours" else few_size) / 1e6 / min(each) for name, each in seconds.items()}
    return {
        "case": case.name,
        "documents": table.num_rows,
        "mb_per_second": {name: round(value, 3) for name, value in rate.items()},
        "ratios": {name: round(rate["ours"] / rate[name], 1) for name in theirs},
        "floors": dict(case.floors),
    }


# --- the recipe, from Parquet to Parquet


def recipe_operators(model: Path | None) -> list[dict[str, Any]]:
    """FineWeb's order of language, four filters and PII, with a fastText model or py3langid's."""
    language: dict[str, Any] = {"type": "language_filter", "languages": ["en"], "min_score": 0.65}
    if model is not None:
        language["model"] = str(model)
    return [language, *(dict(each) for each in FOUR), {"type": "pii_redact", "preset": "fineweb"}]


def alone(files: Sequence[str], folder: Path) -> int:
    """Read and write with pyarrow; returns bytes of text."""
    size = 0
    for number, file in enumerate(files):
        source = pq.ParquetFile(file)
        with pq.ParquetWriter(folder / f"{number}.parquet", source.schema_arrow, compression="zstd") as writer:
            for batch in source.iter_batches(batch_size=4096, use_threads=False):
                size += int(pc.sum(pc.binary_length(batch["text"])).as_py() or 0)
                writer.write_batch(batch)
    return size


def through(files: Sequence[str], folder: Path, model: Path | None) -> None:
    """The recipe through the engine, to a finished version."""
    file = folder / "recipe.json"
    pipeline = {
        "name": "recipe",
        "input": {"uri": list(files)},
        "operators": recipe_operators(model),
        "output": {"uri": str(folder / f"out-{model and model.stem}")},
        "execution": {"max_quarantined_fraction": 1.0},
        "cluster": {"type": "inline"},
    }
    file.write_text(json.dumps(pipeline))
    run(load(file))


def theirs(source: Path, folder: Path) -> None:
    """The recipe in datatrove's local executor."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter

    steps = [language_block(), *(make() for make in FOUR_BLOCKS), filters("PIIFormatter")()]
    writer = ParquetWriter(str(folder / "theirs"), output_filename="${rank}.parquet")
    pipeline = [ParquetReader(str(source.parent), glob_pattern=source.name), *steps, writer]
    LocalPipelineExecutor(pipeline, tasks=1, workers=1, skip_completed=False, logging_dir=str(folder / "logs")).run()


def measure_recipe(files: Sequence[str], megabytes: float, rounds: int) -> list[dict[str, Any]]:
    """Rates from Parquet to Parquet: ours with either model, datatrove's, and reading and writing alone."""
    ours = {"FineWeb recipe, py3langid's model": None} | ({"FineWeb recipe, lid.176.ftz": LID_MODEL} if LID_MODEL.exists() else {})
    seconds: dict[str, list[float]] = {}
    size = few_size = 0
    for _ in range(rounds + 1):  # the first warms up
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "few").mkdir()
            (folder / "alone").mkdir()
            few_size = _write_few(files, megabytes, folder / "few" / "few.parquet")
            size = alone(files, folder / "alone")
            runs: dict[str, Callable[[], Any]] = {"read and write": partial(alone, files, folder / "alone")}
            runs |= {name: partial(through, files, folder, model) for name, model in ours.items()}
            if LID_MODEL.exists():
                runs["datatrove"] = partial(theirs, folder / "few" / "few.parquet", folder)
            for case, function in runs.items():
                with contextlib.redirect_stderr(io.StringIO()):  # datatrove reports there
                    seconds.setdefault(case, []).append(timed(function))
    rate = {name: (few_size if name == "datatrove" else size) / 1e6 / min(each[1:]) for name, each in seconds.items()}
    floors = {"datatrove": 100, "read and write": 0.10}
    return [
        {
            "case": name,
            "text_bytes": size,
            "mb_per_second": {"ours": round(rate[name], 3)} | {other: round(rate[other], 3) for other in floors if other in rate},
            "ratios": {other: round(rate[name] / rate[other], 3) for other in floors if other in rate},
            "floors": floors,
        }
        for name in ours
    ]


def _write_few(files: Sequence[str], megabytes: float, to: Path) -> int:
    few = thinned(documents([Path(file) for file in files], "all"), megabytes)
    pq.write_table(pa.table({"id": [str(number) for number in range(len(few.texts))], "text": few.texts}), to)
    return few.num_bytes()


# --- what is told


def markdown(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A table for the docs."""
    yield "| case | ours, MB/s | compared with | MB/s | ratio | floor |"
    yield "|---|---:|---|---:|---:|---:|"
    for result in results:
        rates = result["mb_per_second"]
        for name in result["ratios"] or [""]:
            cells = [rates[name], result["ratios"][name], result["floors"].get(name, "")] if name else ["", "", ""]
            yield f"| {result['case']} | {rates['ours']:.1f} | {name} | " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", type=Path, default=[SHARED / "docs" / f"{name}.parquet" for name in INPUTS])
    parser.add_argument("--recipe-input", default=None, help="glob of the recipe's Parquet files; default: those of --input")
    parser.add_argument("--megabytes", type=float, default=1.0, help="of text that datatrove gets")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=None, help="cases by name; `recipe` is the recipe")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "filters.json")
    options = parser.parse_args()
    with contextlib.suppress(ImportError):
        from loguru import logger

        logger.remove()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    results = []
    for case in cases():
        if options.only is None or case.name in options.only:
            results.append(measure(case, options.input, options.megabytes, options.rounds))
            print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    if options.only is None or "recipe" in options.only:
        files = sorted(glob.glob(options.recipe_input)) if options.recipe_input else [str(path) for path in options.input]  # noqa: PTH207
        results += measure_recipe(files, options.megabytes, options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"cores": 1, "results": results}, indent=1) + "\n")
    print("\n".join(markdown(results)))


if __name__ == "__main__":
    main()
