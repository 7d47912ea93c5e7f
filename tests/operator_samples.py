"""What the tests of operators share: a worker's assets, sample settings of every operator, and documents, made up and real."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.base import BatchOperator, GroupOperator, Learned, LearningOperator, Operator, Result

SHARED = Path(os.environ.get("SHARDMILL_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@dataclass(frozen=True)
class FakeAssets:
    """A worker on which every asset is a local path already."""

    text_column: str = "text"
    seed: int = 0
    moved: dict[str, str] = field(default_factory=dict)
    knows: dict[str, Learned] = field(default_factory=dict)

    def path(self, uri: str) -> str:
        return self.moved.get(uri, uri)

    def learned(self, name: str) -> Learned | None:
        return self.knows.get(name)


ASSETS = FakeAssets()
PROSE = "The people of the town have been to the market, and that is what they came back with. It was a good day for all of them. "
TEXTS = [
    PROSE * 4,
    "Short.",
    "",
    "Die Menschen in der Stadt waren auf dem Markt, und das ist es, was sie mitgebracht haben. Es war ein guter Tag für alle.",
    "write to ann@example.net or bob@example.net, at 8.8.8.8 and 9.9.9.9",
    "NUL \0 inside, and <|endoftext|> too",
    "e\u0301t\u00e9 \u2028 na\u00efve \U0001f600 \u4f60\u597d\u4e16\u754c",
    PROSE * 4,
    "# " * 30,
    "  short. ",
    "lorem ipsum dolor sit amet " * 20,
    "x" * 3000,
    "SHORT!",
]


def documents(text_type: pa.DataType | None = None) -> pa.RecordBatch:
    """A batch with every kind of column beside the text, nulls in all of them."""
    rows = range(len(TEXTS))
    return pa.RecordBatch.from_arrays(
        [
            pa.array([f"d{row}" if row % 5 else None for row in rows]),
            pa.array(TEXTS, text_type or pa.large_string()),
            pa.array([f"https://site{row % 3}.example/p" for row in rows]),
            pa.array([row / 4 if row % 4 else None for row in rows], pa.float32()),
            pa.array([row if row % 3 else None for row in rows], pa.int64()),
            pa.array([{"lang": "en", "tags": ["a", None]} if row % 2 else None for row in rows]),
            pa.array([datetime(2024, 1, 1 + row, tzinfo=UTC) if row % 2 else None for row in rows], pa.timestamp("us", "UTC")),
            pa.array([date(2024, 1, 1)] * len(TEXTS)).dictionary_encode(),
            pa.nulls(len(TEXTS)),
        ],
        names=["id", "text", "url", "score", "number", "meta", "time", "day", "nothing"],
    )


@pytest.fixture(scope="session")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE of 400 entries with a special token, truncation and padding, which an operator must not let through."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="session")
def small_fasttext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fastText classifier that knows a little English and German by whole words.

    Written by hand, in the library's format 12: training so small a model now and then ends in "Encountered NaN".
    """
    vocabulary = dict.fromkeys(PROSE.lower().split(), (3.0, 0.0)) | dict.fromkeys(TEXTS[3].lower().split(), (0.0, 3.0))
    labels = {"__label__en": (1.0, 0.0), "__label__de": (0.0, 1.0)}
    entries = [(word, 0) for word in vocabulary] + [(label, 1) for label in labels]
    softmax, supervised = 3, 3
    parts = [
        struct.pack("<2i", 793712314, 12),
        struct.pack("<12id", 2, 5, 5, 1, 5, 1, softmax, supervised, 0, 0, 0, 100, 1e-4),
        struct.pack("<3i2q", len(entries), len(vocabulary), len(labels), 100, -1),
        *(word.encode() + b"\0" + struct.pack("<qb", 1, kind) for word, kind in entries),
    ]
    matrices = (np.array(list(rows.values()), "<f4") for rows in (vocabulary, labels))
    parts.extend(struct.pack("<?2q", False, *matrix.shape) + matrix.tobytes() for matrix in matrices)
    path = tmp_path_factory.mktemp("fasttext") / "model.bin"
    path.write_bytes(b"".join(parts))
    return path


def sample_settings(tokenizer: Path, fasttext: Path) -> dict[str, dict[str, Any]]:
    """Settings under which each operator has something to do, by a name for the test's report; every type at least once."""
    words = Path(__file__).with_name("bad_words_en.txt")
    items = Path(__file__).with_name("eval_items.jsonl")
    return {
        "bad_words": {"type": "bad_words", "lists": {"en": str(words)}, "language": "en"},
        "bad_words-some": {"type": "bad_words", "lists": {"en": str(words)}, "language": "en", "keep_fraction": 0.5, "seed": 1},
        "c4_paragraph": {"type": "c4_paragraph"},
        "c4_quality": {"type": "c4_quality", "min_num_sentences": 2},
        "c4_quality-annotate": {"type": "c4_quality", "annotate": True},
        "classifier": {"type": "classifier", "model": str(fasttext), "label": "en", "min_score": 0.5},
        "classifier-likeliest": {"type": "classifier", "model": str(fasttext), "keep_labels": ["en"], "max_chars": 300, "lowercase": True},
        "datatrove-filter": {"type": "datatrove", "block": "GopherQualityFilter", "args": {"min_doc_words": 10}},
        "datatrove-edit": {"type": "datatrove", "block": "C4QualityFilter", "args": {"filter_no_terminal_punct": False}},
        "datatrove-pii": {"type": "datatrove", "block": "PIIFormatter"},
        "datatrove-sampler": {"type": "datatrove", "block": "SamplerFilter", "args": {"seed": 3}},
        "decontaminate": {"type": "decontaminate", "evals": [str(items)]},
        "decontaminate-annotate": {"type": "decontaminate", "evals": {"small": str(items)}, "min_overlap": 0.5, "annotate": True},
        "exact_dedup": {"type": "exact_dedup"},
        "exact_dedup-words": {"type": "exact_dedup", "normalize": "words", "keep": "longest", "within": ["day"]},
        "exact_dedup-by": {"type": "exact_dedup", "columns": ["url", "number"], "keep": "highest", "by": "time"},
        "extract_html": {"type": "extract_html", "extractor": "resiliparse"},
        "filter_where": {"type": "filter_where", "where": "score > 0.5 and meta.lang == 'en' or length(text) > 100"},
        "fineweb_quality": {"type": "fineweb_quality", "keep_signals": True},
        "gopher_quality": {"type": "gopher_quality", "min_doc_words": 10},
        "gopher_quality-annotate": {"type": "gopher_quality", "annotate": True, "words": "unicode"},
        "gopher_repetition": {"type": "gopher_repetition"},
        "language_filter": {"type": "language_filter", "languages": ["en"]},
        "language_filter-fasttext": {"type": "language_filter", "languages": ["en"], "model": str(fasttext)},
        "length_filter": {"type": "length_filter", "min_chars": 10, "max_chars": 1000},
        "line_dedup": {"type": "line_dedup", "min_chars": 5},
        "line_dedup-domain": {"type": "line_dedup", "per_domain": True, "keep": "none", "normalize": "words", "min_chars": 3},
        "minhash_dedup": {"type": "minhash_dedup"},
        "minhash_dedup-exact": {"type": "minhash_dedup", "keep": "longest", "verify": "exact", "within": ["day"], "shingle": "char"},
        "normalize_text": {"type": "normalize_text", "collapse_spaces": True, "keep_signals": True},
        "paragraph_dedup": {"type": "paragraph_dedup", "within": ["day"]},
        "pii_redact": {"type": "pii_redact", "keep_signals": True},
        "pii_redact-annotate": {"type": "pii_redact", "annotate": True},
        "sample": {"type": "sample", "rate": 0.5},
        "tokenize": {"type": "tokenize", "tokenizer": str(tokenizer)},
        "train_tokenizer": {"type": "train_tokenizer", "vocab_size": 300},
        "url_dedup": {"type": "url_dedup"},
        "url_dedup-priority": {"type": "url_dedup", "within": ["day"], "keep": "priority", "by": "number", "priority": ["4", "2"]},
        "url_filter": {"type": "url_filter", "domains": ["site1.example"], "words": ["bad"]},
    }


def opened(operator: Operator, assets: FakeAssets = ASSETS) -> Callable[[pa.RecordBatch], Any]:
    """The operator's function."""
    assert isinstance(operator, BatchOperator | GroupOperator | LearningOperator)
    return operator.open(assets)


def outcome(result: Result | pa.RecordBatch | pa.Array) -> tuple[list[Any], list[str | None], dict[int, Any]]:
    """What a function gave, as plain values that compare."""
    if isinstance(result, pa.Array):
        return result.to_pylist(), [], {}
    if isinstance(result, pa.RecordBatch):
        return result.to_pylist(), [], {}
    reasons = [None] * result.batch.num_rows if result.reasons is None else result.reasons.to_pylist()
    return result.batch.to_pylist(), reasons, dict(result.errors)


def by_document(keys: pa.RecordBatch, num_documents: int) -> list[list[dict[str, Any]]]:
    """The rows that a group operator gave for each document: one, or where they have an `index` as many as it has passages."""
    rows = keys.to_pylist()
    told: list[list[dict[str, Any]]] = [[] for _ in range(num_documents)]
    for position, row in enumerate(rows):
        told[row.pop("index", position)].append(row)
    return told


def real_documents(*names: str, limit: int = 200) -> pa.RecordBatch:
    """Some documents of files in shared/data/docs, evenly from the whole file; skips the test where they are absent."""
    tables = []
    for name in names:
        path = SHARED / "data" / "docs" / f"{name}.parquet"
        if not path.is_file():
            pytest.skip(f"real documents are absent: {path}")
        table = pq.read_table(path)
        tables.append(table.take(list(range(0, table.num_rows, max(1, table.num_rows // limit)))[:limit]))
    return pa.concat_tables(tables).combine_chunks().to_batches()[0]


def asset(path: str) -> str:
    """A file of shared/data/assets; skips the test where it is absent."""
    found = SHARED / "data" / "assets" / path
    if not found.is_file():
        pytest.skip(f"asset is absent: {found}")
    return str(found)
