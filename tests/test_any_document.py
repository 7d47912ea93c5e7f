"""Whatever a document holds, and however large it is, it goes through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import operator_samples
import pyarrow as pa
import pytest
from guarded import TRIGGERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operator_samples import PROSE, by_document, documents, sample_settings, small_fasttext, small_tokenizer  # noqa: F401 -- fixtures
from pydantic import TypeAdapter

from operators import AnyOperator
from operators.base import GroupOperator, LearningOperator, Operator, Result
from operators.kernels.buffers import InvalidOffsetsError, text_buffers

ADAPTER: TypeAdapter[Operator] = TypeAdapter(AnyOperator)
# These hand each document to a library, as a Python string: what it takes and how long is the library's affair.
LIBRARIES = ("datatrove", "extract_html")
SAMPLES = [name for name, sample in sample_settings(Path("t"), Path("m")).items() if sample["type"] not in LIBRARIES]
# These ask Arrow's own functions about the text, which refuse ill-formed UTF-8 (readers quarantine it), or read other columns.
ARROWS = (
    *("exact_dedup-by", "exact_dedup-words", "filter_where", "length_filter", "line_dedup", "line_dedup-domain"),
    *("minhash_dedup-exact", "paragraph_dedup", "url_dedup", "url_dedup-priority"),
)
KERNELS = [name for name in SAMPLES if name not in ARROWS]

LARGE = 6_000_000
LARGEST = 50_000_000
MOST_MEMORY = 40
"""Bytes an operator may take at most for a byte of a document."""
FIXED_MEMORY = 100_000_000
PLAIN_TEXT = PROSE.encode() * 3


@pytest.fixture(scope="session")
def made(small_tokenizer, small_fasttext) -> dict[str, Operator]:  # noqa: F811
    """Every operator with its sample settings."""
    return {name: ADAPTER.validate_python(sample) for name, sample in sample_settings(small_tokenizer, small_fasttext).items()}


@pytest.fixture(params=SAMPLES)
def operator(request, made) -> Operator:
    return made[request.param]


def opened(operator: Operator) -> Callable[[pa.RecordBatch], Any]:
    """The operator's function; what one learns from is its column."""
    function = operator_samples.opened(operator)
    if isinstance(operator, LearningOperator):
        return lambda batch: Result(pa.record_batch({"lesson": function(batch)}))
    return function


def given_text(texts: pa.Array) -> pa.RecordBatch:
    """A batch with all columns that a sample may want, and these texts."""
    row = documents().slice(2, 1)
    rows = pa.concat_batches([row] * len(texts)) if len(texts) else row.slice(0, 0)
    return rows.set_column(1, "text", texts)


def outcome(found: Result | pa.RecordBatch, num_documents: int) -> tuple[list[str], list[str | None]]:
    """What each document became: its columns, ill-formed text too, or its keys; and its reason."""
    if isinstance(found, pa.RecordBatch):
        return [repr(rows) for rows in by_document(found, num_documents)], [None] * num_documents
    batch = found.batch
    columns = [column.view(pa.large_binary()) if pa.types.is_large_string(column.type) else column for column in batch.columns]
    rows = [repr(row) for row in zip(*(column.to_pylist() for column in columns), strict=True)]
    return rows, [None] * len(rows) if found.reasons is None else found.reasons.to_pylist()


def as_texts(values: list[bytes | None]) -> pa.LargeStringArray:
    """Texts of any bytes: nobody checks that they are UTF-8."""
    return pa.array(values, pa.large_binary()).view(pa.large_string())


def peak_memory() -> int:
    """Most memory that this process had since `forget_peak`, in bytes."""
    return next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))


def forget_peak() -> int:
    """Begin to measure the peak anew; returns the memory that the process has."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"this system does not forget a process's peak of memory: {error}")
    return peak_memory()


LONG: dict[str, bytes] = {"one-word": b"x", "line-feeds": b"\n", "marks": b"? ", "han": "\u8fd9\u662f\u3002".encode()}


@pytest.mark.parametrize("num_bytes", [LARGE, pytest.param(LARGEST, marks=pytest.mark.chaos)])
@pytest.mark.parametrize("kind", LONG)
def test_a_document_may_be_large(operator, kind, num_bytes):
    """One of many megabytes goes through in bounded memory, within the time that a test has; small ones beside it are judged as ever."""
    large = LONG[kind] * (num_bytes // len(LONG[kind]))
    function = opened(operator)
    small: list[bytes | None] = [b"", b"x", None, PLAIN_TEXT]
    expected_rows, expected_reasons = outcome(function(given_text(as_texts(small))), 4)
    batch = given_text(as_texts([*small[:2], large, *small[2:]]))
    before = forget_peak()
    found = function(batch)
    assert peak_memory() - before < MOST_MEMORY * num_bytes + FIXED_MEMORY
    assert isinstance(found, pa.RecordBatch) or found.batch.num_rows == 5
    rows, reasons = outcome(found, 5) if isinstance(found, pa.RecordBatch) else _without(found, 2)
    assert [row for row in rows if row] == [*expected_rows[:2], *([rows[2]] if len(rows) == 5 else []), *expected_rows[2:]]
    assert [*reasons[:2], *reasons[-2:]] == expected_reasons


def _without(found: Result, row: int) -> tuple[list[str], list[str | None]]:
    """The outcome but for a row, which is too large to be shown."""
    others = pa.array([each for each in range(found.batch.num_rows) if each != row])
    reasons = None if found.reasons is None else found.reasons.take(others)
    return outcome(Result(found.batch.take(others), reasons), 4)


OPENED: dict[str, Any] = {}
"""The function of each sample, opened once for all examples of a test."""
ANY_BYTES = st.binary(max_size=40) | st.lists(st.binary(max_size=3) | st.sampled_from(TRIGGERS).map(str.encode), max_size=12).map(b"".join)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.none() | ANY_BYTES, max_size=4))
@pytest.mark.parametrize("name", KERNELS)
def test_any_bytes_are_judged_by_themselves(made, name, values):
    """Ill-formed UTF-8, cut off anywhere, gives a row the same result alone as beside others."""
    if name not in OPENED:
        OPENED[name] = opened(made[name])
    function = OPENED[name]
    together = outcome(function(given_text(as_texts(values))), len(values))
    alone = [outcome(function(given_text(as_texts([value]))), 1) for value in values]
    assert together == ([row for rows, _ in alone for row in rows], [reason for _, reasons in alone for reason in reasons])


def test_nothing_looks_beyond_its_data(made, tmp_path):
    """Rubbish that ends where memory ends, or begins where it begins, kills no process."""
    path = tmp_path / "samples.json"
    path.write_text(json.dumps({name: made[name].model_dump() for name in KERNELS}))
    command = [sys.executable, str(Path(__file__).with_name("guarded.py")), "1", "250", str(path)]
    places = os.pathsep.join(str(folder) for folder in (Path(__file__).parents[1], Path(__file__).parent))
    ran = subprocess.run(command, env=os.environ | {"PYTHONPATH": places}, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.split()) == (0, KERNELS), ran.stderr[-2000:]


@pytest.mark.parametrize("offsets", [[0, 20, 10, 30], [0, 10, 20, 5]], ids=["within", "at-the-end"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
@pytest.mark.parametrize("name", [name for name in (*SAMPLES, "extract_html") if name != "url_filter"])
def test_offsets_that_go_back_are_refused(made, name, kind, offsets):
    """A column that nobody can have made is an error before any kernel, or any function of Arrow's, sees it."""
    function = opened(made[name])
    bounds = pa.py_buffer(np.array(offsets, np.int32 if kind == pa.string() else np.int64))
    texts = pa.Array.from_buffers(kind, 3, [None, bounds, pa.py_buffer(PLAIN_TEXT)])
    batch = given_text(pa.array(["a"] * 3, kind))
    with pytest.raises(InvalidOffsetsError, match="column 'text': the offsets of its 3 rows do not grow"):
        function(batch.set_column(1, "text", texts))


@pytest.mark.parametrize("offsets", [[0, 10, 1000], [-5, 2, 3], [0, 1 << 60, 3]], ids=["beyond", "negative", "far"])
def test_the_door_refuses_what_lies_outside(offsets):
    """Extents outside of the bytes are refused, even if they came about after Arrow looked at them."""
    bounds = np.zeros(len(offsets), np.int64)
    texts = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(bounds), pa.py_buffer(b"x" * 100))
    bounds[:] = offsets
    with pytest.raises(InvalidOffsetsError, match="do not grow"):
        text_buffers(texts)


def test_null_rows_may_have_an_extent(operator):
    """What lies under a null is not looked at, wherever the column begins in its buffers."""
    function = opened(operator)
    whole = given_text(as_texts([PLAIN_TEXT, b"ann@example.net 8.8.8.8 people", PLAIN_TEXT, b"", PLAIN_TEXT]))
    _, offsets, data = whole.column("text").buffers()
    valid = pa.py_buffer(bytes([0b10101]))
    hidden = whole.set_column(1, "text", pa.LargeStringArray.from_buffers(5, offsets, data, valid))
    plain = given_text(as_texts([PLAIN_TEXT, None, PLAIN_TEXT, None, PLAIN_TEXT]))
    for start in range(4):
        found, expected = function(hidden.slice(start)), function(plain.slice(start))
        assert outcome(found, 5 - start) == outcome(expected, 5 - start)
        assert isinstance(found, pa.RecordBatch) or found.errors == expected.errors


def test_group_keys_of_large_documents_differ(made):
    """Two large documents that differ in their last byte have two keys."""
    operator = made["exact_dedup"]
    assert isinstance(operator, GroupOperator)
    keys = opened(operator)(given_text(as_texts([b"x" * LARGE, b"x" * (LARGE - 1) + b"y"])))
    assert len(set(keys.column("key_lo").to_pylist())) == 2


@pytest.mark.parametrize("normalize", ["whitespace", "words"])
def test_a_letter_may_have_half_a_million_marks(normalize):
    """Marks of alternating classes, which Arrow takes hours to put in order, have the key of those in order."""
    operator = ADAPTER.validate_python({"type": "exact_dedup", "normalize": normalize})
    count = 250_000
    texts = ["a" + "\u0301\u0316" * count, "a" + "\u0316" * count + "\u0301" * count, "\u00e1" + "\u0316" * count + "\u0301" * (count - 1)]
    keys = opened(operator)(given_text(pa.array(texts, pa.large_string())))
    assert len(set(keys.column("key_lo").to_pylist())) == 1
