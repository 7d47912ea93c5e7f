"""Any tokenizer by the `tokenizers` library: columns of texts to ids. Owns the loading of the file and what is switched off in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.encoding import Ends, Ids, Mask, as_ids
from operators.kernels.buffers import stretches

# Encodings hold about 40 bytes a token until they are copied: a slice bounds that, and is enough to keep the library busy.
SLICE_BYTES = 1 << 20


class NoTokenizer(Exception):
    """The file is no tokenizer that the library can read; the message is its own."""


def load_tokenizer(path: str, *, special_is_text: bool) -> Any:
    """The library's tokenizer, on one thread, without the truncation, padding and dropout that its file asks for.

    Dropout would give a document other ids each time.

    Args:
        path: A `tokenizer.json`.
        special_is_text: Whether text that looks like a special token stays text.

    Raises:
        NoTokenizer: The file cannot be read as one.
    """
    # Each worker has one core; the library's own threads would only fight, and warn after a fork.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Tokenizer

    try:
        with panics_told():
            tokenizer = Tokenizer.from_file(path)
    except Exception as error:  # the library raises bare Exceptions
        raise NoTokenizer(" ".join(str(error).split())[:200]) from error
    tokenizer.encode_special_tokens = special_is_text
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if getattr(tokenizer.model, "dropout", None) is not None:
        tokenizer.model.dropout = None
    return tokenizer


@contextmanager
def panics_told() -> Iterator[None]:
    """A panic of the library becomes a RuntimeError, which a row can be quarantined for: what it raises itself is no Exception."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise RuntimeError(f"tokenizers: {error}") from error
        raise


class LibraryEncoder:
    """Encodes columns of texts.

    Args:
        tokenizer: From `load_tokenizer`.
        add_special_tokens: Whether the tokens that it puts around a text are added.
        end: Ids behind each text.
    """

    def __init__(self, tokenizer: Any, *, add_special_tokens: bool, end: list[int]) -> None:
        self._tokenizer = tokenizer
        self._add_special_tokens = add_special_tokens
        self._end = as_ids(end)

    def one(self, text: str) -> list[int]:
        """Ids of one text."""
        with panics_told():
            encoding = self._tokenizer.encode(text, add_special_tokens=self._add_special_tokens)
        return [*encoding.ids, *self._end.view(np.uint32).tolist()]

    def __call__(self, text: pa.LargeStringArray, taken: Mask) -> tuple[Ids, Ends]:
        """Ids of the texts that are taken, which are well-formed UTF-8, one after the other, and where those of each text end."""
        text = text if taken.all() else pc.if_else(pa.array(taken), text, pa.scalar("", text.type))
        parts: list[Ids] = [np.zeros(0, np.int32)]
        sizes = np.zeros(len(text), np.int64)
        row = 0
        for start, stop in stretches(text, SLICE_BYTES):
            documents = text.slice(start, stop - start).to_pylist()
            with panics_told():
                encodings = self._tokenizer.encode_batch_fast(documents, add_special_tokens=self._add_special_tokens)
            for encoding in encodings:
                if taken[row]:
                    ids = np.concatenate([as_ids(encoding.ids), self._end])
                    sizes[row] = len(ids)
                    parts.append(ids)
                row += 1
        return np.concatenate(parts), np.cumsum(sizes)
