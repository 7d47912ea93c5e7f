"""What the tests of `tokenize` share: the operator and the library side by side, and the documents that both get."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from operator_samples import ASSETS, SHARED

from operators.base import OperatorWarning, Result
from operators.tokenize import Tokenize

Ids = list[list[int] | None]

FILES = ("edge-00000", "code-00000", "dups-00000", "en-open-00003", "multi-00003", "multi-lid-00000", "neardup-00003", "synthetic-00000")
FILES += ("web-thirdparty-00003",)


def opened(path: Path, *, by_kernels: bool = False, **settings: Any) -> Callable[[pa.RecordBatch], Result]:
    """The operator's function; if it must be `by_kernels` it may not warn that the library does it, which would hide what they do wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("error" if by_kernels else "ignore", OperatorWarning)
        return Tokenize(tokenizer=str(path), **settings).open(ASSETS)


def batch_of(texts: Sequence[str | None], kind: pa.DataType | None = None) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, kind or pa.large_string())})


def found(function: Callable[[pa.RecordBatch], Result], batch: pa.RecordBatch) -> Ids:
    """The ids of each document, where the columns hold what they promise and no document has an error but for a null text."""
    result = function(batch)
    ids, counts = result.batch.column("input_ids"), result.batch.column("num_tokens")
    result.batch.validate(full=True)
    assert counts.type == pa.int32()
    lists = ids.to_pylist()
    assert counts.to_pylist() == [None if each is None else len(each) for each in lists]
    assert {row for row, each in enumerate(lists) if each is None} == set(result.errors)
    return lists


def library(path: Path, *, control: bool = False) -> Any:
    """The library's tokenizer, without truncation and padding; special tokens in a text are text unless they are to control."""
    from tokenizers import Tokenizer

    reference = Tokenizer.from_file(str(path))
    reference.encode_special_tokens = not control
    reference.no_truncation()
    reference.no_padding()
    return reference


def expected(path: Path, texts: Sequence[str | None], *, framed: bool = False, control: bool = False) -> Ids:
    """The ids that the library gives to each document by itself."""
    reference = library(path, control=control)
    return [None if text is None else reference.encode(text, add_special_tokens=framed).ids for text in texts]


def check(path: Path, texts: Sequence[str | None], *, framed: bool = False, control: bool = False, **settings: Any) -> None:
    """The operator's ids are the library's; otherwise the shortest document that shows it is told."""
    if framed:
        settings["add_special_tokens"] = True
    if control:
        settings["special_tokens"] = "control"
    agree(found(opened(path, **settings), batch_of(texts)), expected(path, texts, framed=framed, control=control), texts)


def agree(ours: Ids, theirs: Ids, texts: Sequence[str | None]) -> None:
    """Both gave the same ids to each document."""
    if ours != theirs:
        differing = [each for each in zip(texts, ours, theirs, strict=True) if each[1] != each[2]]
        text, mine, other = min(differing, key=lambda each: len(each[0] or ""))
        at = next(place for place in range(len(mine or []) + 1) if (mine or [])[: place + 1] != (other or [])[: place + 1])
        shown = (mine or [])[max(0, at - 5) : at + 20], (other or [])[max(0, at - 5) : at + 20]
        pytest.fail(
            f"{len(differing)} documents differ; the shortest {(text or '')[:300]!r}, from token {at}: {shown[0]}, expected {shown[1]}"
        )


def real_texts(name: str, every: int = 1, most_chars: int = 1 << 30) -> list[str]:
    """Each n-th document of a file in shared/data/docs that is not too long; skips the test where the file is absent."""
    path = SHARED / "data" / "docs" / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"real documents are absent: {path}")
    texts = pq.read_table(path, columns=["text"]).column("text").to_pylist()[::every]
    return [text for text in texts if len(text) <= most_chars]
