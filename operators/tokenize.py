"""Turn text into token ids with a Hugging Face tokenizer. Owns the two columns that it adds; the file comes through the assets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from operators.base import Assets, BatchFn, BatchOperator, Learned, OperatorError, Result, null_text_errors, text_of, with_column
from operators.train_tokenizer import TrainTokenizer

# Encodings hold about 40 bytes a token until they are copied: a slice bounds that, and is enough to keep the library busy.
SLICE_BYTES = 1 << 20


class Tokenize(BatchOperator):
    """Add the token ids of each document's text, `input_ids`, and their number, `num_tokens`.

    `input_ids` is a large_list of the narrowest unsigned type that holds every id of the vocabulary (uint16 or uint32); `num_tokens` is
    int32. Text that looks like a special token (`<|endoftext|>`) is text, so that no document can put one in; truncation and padding that
    the tokenizer's file asks for are off. No document is dropped.
    """

    type: Literal["tokenize"] = "tokenize"
    tokenizer: str = Field(
        min_length=1,
        description="A `tokenizer.json`: its path or URL, a folder that holds one, the id of a model on the Hub, or the name of a "
        "`train_tokenizer` before it.",
    )
    add_special_tokens: bool = Field(default=False, description="Add the tokens that the tokenizer puts around a text (begin, end).")

    libraries: ClassVar[tuple[str, ...]] = ("tokenizers",)
    sources: ClassVar[str] = "Hugging Face tokenizers"

    def asset_uris(self) -> tuple[str, ...]:
        """The one file: a path or URL as given, else `hf://<id>/tokenizer.json`."""
        name = self.tokenizer
        if Path(name).is_dir():
            return (str(Path(name) / "tokenizer.json"),)
        if "://" in name or name.endswith(".json") or Path(name).exists():
            return (name,)
        return (f"hf://{name}/tokenizer.json",)

    def learnable(self) -> Mapping[str, str]:
        """`tokenizer` may be the name of a `train_tokenizer` before it."""
        return {"tokenizer": self.asset_uris()[0]}

    def open(self, assets: Assets) -> BatchFn:
        """Load the tokenizer.

        Raises:
            OperatorError: The file is missing or no tokenizer.
        """
        learned = assets.learned(self.tokenizer)
        if learned is None:
            tokenizer = self._load(assets.path(self.asset_uris()[0]))
            largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
        else:
            # The column's type follows from the settings: it is promised before anything is learned, when only an empty batch comes.
            tokenizer = None if learned.path is None else self._load(learned.path)
            largest = learned_size(learned) - 1
        dtype = np.dtype(np.uint16 if largest < 1 << 16 else np.uint32)

        def tokenize(batch: pa.RecordBatch) -> Result:
            text = text_of(batch, assets.text_column)
            ids, sizes = self._encode(tokenizer, text, dtype)
            absent = pc.is_null(text) if text.null_count else None
            offsets = np.zeros(len(sizes) + 1, np.int64)
            np.cumsum(sizes, out=offsets[1:])
            lists = pa.LargeListArray.from_arrays(offsets, pa.array(ids), mask=absent)
            counts = pa.array(sizes, mask=None if absent is None else absent.to_numpy(zero_copy_only=False))
            batch = with_column(with_column(batch, "input_ids", lists), "num_tokens", counts)
            return Result(batch, errors=null_text_errors(text))

        return tokenize

    def _load(self, path: str) -> Any:
        # Each worker has one core; the library's own threads would only fight, and warn after a fork.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        from tokenizers import Tokenizer

        remedy = "give the path, URL or Hub id of a `tokenizer.json` as the tokenizers library writes it"
        if not Path(path).is_file():
            raise OperatorError(f"{self.type}: tokenizer {self.tokenizer!r}: there is no file {path}; {remedy}")
        try:
            tokenizer = Tokenizer.from_file(path)
        except Exception as error:  # the library raises bare Exceptions
            found = " ".join(str(error).split())[:200]
            raise OperatorError(f"{self.type}: tokenizer {self.tokenizer!r} cannot be read ({found}); {remedy}") from error
        tokenizer.encode_special_tokens = True  # special tokens in a document are encoded as the text that they are
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def _encode(self, tokenizer: Any, text: pa.LargeStringArray, dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
        """All ids one after the other, and how many each document has (a null has none)."""
        parts: list[npt.NDArray[Any]] = [np.zeros(0, dtype)]
        sizes = np.zeros(len(text), np.int32)
        row = 0
        for documents in _slices(text):
            for encoding in tokenizer.encode_batch_fast(documents, add_special_tokens=self.add_special_tokens):
                ids = np.array(encoding.ids, dtype)
                sizes[row] = len(ids)
                parts.append(ids)
                row += 1
        if text.null_count:
            sizes[pc.is_null(text).to_numpy(zero_copy_only=False)] = 0
        return np.concatenate(parts), sizes


def learned_size(learned: Learned) -> int:
    """Entries of a learned vocabulary at most.

    Raises:
        OperatorError: What was learned is no tokenizer.
    """
    if not isinstance(learned.operator, TrainTokenizer):
        raise OperatorError(
            f"tokenize: tokenizer: the operator {learned.operator.name!r} learns no tokenizer; name a `train_tokenizer` before this one"
        )
    return learned.operator.vocab_size


def _slices(text: pa.LargeStringArray) -> Iterator[list[str]]:
    """The documents in lists of about SLICE_BYTES, a longer document by itself; a null is an empty document."""
    ends = np.cumsum(pc.fill_null(pc.binary_length(text), 0).to_numpy(zero_copy_only=False))
    start = 0
    while start < len(text):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + SLICE_BYTES, side="right")))
        yield pc.fill_null(text.slice(start, stop - start), "").to_pylist()
        start = stop
