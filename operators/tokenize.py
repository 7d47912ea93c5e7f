"""Turn text into token ids. Owns the settings, the choice between kernels and library, and the two columns that are added."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from operators.base import (
    Assets,
    BatchFn,
    BatchOperator,
    Learned,
    OperatorError,
    OperatorWarning,
    Result,
    RowError,
    null_text_errors,
    text_of,
    utf8_errors,
    with_column,
)
from operators.encoding import Encoder, Ends, Ids, Mask, OtherWay, UnknownRule
from operators.library_encoder import LibraryEncoder, NoTokenizer, load_tokenizer
from operators.token_check import compare
from operators.tokenizer_file import REMEDY, remedy_for
from operators.train_tokenizer import TrainTokenizer

IdType = Literal["auto", "uint16", "uint32", "int32"]

MAX_TEXT_BYTES: Final = (1 << 31) - (1 << 16)
"""Of one document: its tokens, with those around it, are counted by an int32."""
LONG_MESSAGE: Final = "the text has more than 2 GiB, more tokens than can be counted; split it into several documents"


class Tokenize(BatchOperator):
    """Add the token ids of each document's text, `input_ids`, and their number, `num_tokens`.

    The ids are those that the `tokenizers` library gives. Byte-level BPE (GPT-2, Llama 3, Qwen, o200k and their like) is done by kernels,
    ten times as fast, after they have been compared with the library on a sample; a tokenizer that has any other rule goes through
    the library, and a warning names the rule.

    `input_ids` is a large_list of the narrowest unsigned type that holds every id of the vocabulary (uint16 or uint32); `num_tokens` is
    int32. Text that looks like a special token (`<|endoftext|>`) is text, so that no document can put one in; truncation, padding and
    dropout that the tokenizer's file asks for are off. No document is dropped.
    """

    type: Literal["tokenize"] = "tokenize"
    tokenizer: str = Field(
        min_length=1,
        description="A `tokenizer.json`: its path or URL, a folder that holds one (the URL of a folder ends in `/`), the id of "
        "a model on the Hub, or the name of a `train_tokenizer` before it.",
    )
    add_special_tokens: bool = Field(default=False, description="Add the tokens that the tokenizer puts around a text (begin, end).")
    append: str | None = Field(
        default=None, min_length=1, description="A token of the vocabulary that is put behind each document, such as `<|endoftext|>`."
    )
    special_tokens: Literal["text", "control"] = Field(
        default="text",
        description="What a special token's text in a document is: `text`, or `control`, the token itself, as in a text that has markup.",
    )
    id_type: IdType = Field(default="auto", description="Type of the ids; `auto`: uint16 if every id of the vocabulary fits, else uint32.")
    cache_bytes: int = Field(
        default=64 << 20,
        ge=1 << 12,
        le=1 << 32,
        description="Memory for pieces of text that were seen before, in bytes a worker, taken as they come; rounded down to a "
        "power of two. It changes the time alone.",
    )
    engine: Literal["auto", "tokenizers"] = Field(
        default="auto", description="`auto`: kernels where they know every rule of the tokenizer; `tokenizers`: the library in any case."
    )

    libraries: ClassVar[tuple[str, ...]] = ("tokenizers",)
    for_speed: ClassVar[tuple[str, ...]] = ("cache_bytes",)
    sources: ClassVar[str] = "Hugging Face tokenizers"

    def asset_uris(self) -> tuple[str, ...]:
        """The one file: a path or URL as given, else `hf://<id>/tokenizer.json`."""
        name = self.tokenizer
        if "://" in name and name.endswith("/"):
            return (f"{name}tokenizer.json",)
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
            OperatorError: The file is missing or no tokenizer, it has no such end token, or an id is too large for the type asked for.
        """
        learned = assets.learned(self.tokenizer)
        if learned is None:
            path = assets.path(self.asset_uris()[0])
            tokenizer = self._load(path)
            # The post-processor's ids are its own: they need not be in the vocabulary.
            around = tokenizer.encode("", add_special_tokens=self.add_special_tokens).ids
            dtype = self._dtype(max([*tokenizer.get_vocab(with_added_tokens=True).values(), *around], default=0))
            encode = self._encoder(path, tokenizer)
        else:
            # The column's type follows from the settings: it is promised before anything is learned, when only an empty batch comes.
            trained = self._trained(learned)
            dtype = self._dtype(trained.vocab_size - 1)
            encode = self._unlearned(trained) if learned.path is None else self._encoder(learned.path, self._load(learned.path))

        def tokenize(batch: pa.RecordBatch) -> Result:
            text = text_of(batch, assets.text_column)
            errors = null_text_errors(text) | _too_long(text) | utf8_errors(text)
            taken = np.ones(len(text), bool)
            taken[list(errors)] = False
            ids, ends = encode(text, taken)
            offsets = np.concatenate([np.zeros(1, np.int64), ends])
            absent = None if taken.all() else pa.array(~taken)
            lists = pa.LargeListArray.from_arrays(offsets, pa.array(_narrowed(ids, dtype)), mask=absent)
            counts = pa.array(np.diff(offsets).astype(np.int32), mask=None if absent is None else ~taken)
            return Result(with_column(with_column(batch, "input_ids", lists), "num_tokens", counts), errors=errors)

        return tokenize

    def _trained(self, learned: Learned) -> TrainTokenizer:
        """The operator that learns the tokenizer.

        Raises:
            OperatorError: What is learned is no tokenizer, or need not have the end token.
        """
        operator = learned.operator
        if not isinstance(operator, TrainTokenizer):
            raise OperatorError(
                f"{self.type}: tokenizer: the operator {operator.name!r} learns no tokenizer; name a `train_tokenizer` before this one"
            )
        if self.append is not None and self.append not in operator.special_tokens:
            raise OperatorError(
                f"{self.type}: append {self.append!r} is none of the special_tokens of {operator.name!r}, which are "
                f"{', '.join(map(repr, operator.special_tokens)) or 'none'}; add it there, so that the vocabulary has it for sure"
            )
        return operator

    def _unlearned(self, trained: TrainTokenizer) -> Encoder:
        """What encodes nothing, before there is a tokenizer; what will be told of that one is told now."""
        if self.engine == "auto":
            from operators.kernels.bpe import MAX_IDS
            from operators.splitting import UnknownPattern, compile_pattern

            try:
                compile_pattern(trained.expression)
            except UnknownPattern as error:
                self._warn(UnknownRule(f"the pattern of {self.tokenizer!r}, which has {error}"))
            if trained.vocab_size > MAX_IDS:
                self._warn(UnknownRule(f"ids of {MAX_IDS:,} and above"))
        return _nothing

    def _load(self, path: str) -> Any:
        if not Path(path).is_file():
            raise OperatorError(f"{self.type}: tokenizer {self.tokenizer!r}: there is no file {path}; {REMEDY}")
        try:
            return load_tokenizer(path, special_is_text=self.special_tokens == "text")
        except NoTokenizer as error:
            raise OperatorError(f"{self.type}: tokenizer {self.tokenizer!r} cannot be read ({error}); {remedy_for(path)}") from error

    def _dtype(self, largest: int) -> np.dtype[Any]:
        if self.id_type == "auto":
            return np.dtype(np.uint16 if largest <= np.iinfo(np.uint16).max else np.uint32)
        dtype = np.dtype(self.id_type)
        if largest > np.iinfo(dtype).max:
            raise OperatorError(
                f"{self.type}: tokenizer {self.tokenizer!r} has ids up to {largest}, and id_type {self.id_type} holds none above "
                f"{np.iinfo(dtype).max}; set id_type to uint32, or to auto"
            )
        return dtype

    def _encoder(self, path: str, tokenizer: Any) -> Encoder:
        end = [] if self.append is None else [self._end_id(tokenizer, self.append)]
        library = LibraryEncoder(tokenizer, add_special_tokens=self.add_special_tokens, end=end)
        if self.engine == "tokenizers":
            return library
        try:
            return self._kernels(path, tokenizer, library, end)
        except OtherWay as why:
            self._warn(why)
            return library

    def _warn(self, why: OtherWay) -> None:
        told = f"tokenizer {self.tokenizer!r} goes through the tokenizers library, about ten times slower than byte-level BPE here: {why}"
        warnings.warn(OperatorWarning(told), stacklevel=2)

    def _end_id(self, tokenizer: Any, token: str) -> int:
        found = tokenizer.token_to_id(token)
        if found is None:
            added = [each.content for _, each in sorted(tokenizer.get_added_tokens_decoder().items())][:10]
            raise OperatorError(
                f"{self.type}: append {token!r} is not in the vocabulary of {self.tokenizer!r}; name a token that is, such as one "
                f"of those that were added to it: {', '.join(map(repr, added)) or 'there are none'}"
            )
        return int(found)

    def _kernels(self, path: str, tokenizer: Any, library: LibraryEncoder, end: list[int]) -> Encoder:
        """The kernels, ready.

        Raises:
            OtherWay: They do not know a rule of the tokenizer, or give other ids than the library.
        """
        from operators.byte_level import around, byte_level_bpe
        from operators.kernel_encoder import KernelEncoder

        added = tokenizer.get_added_tokens_decoder()
        bpe = byte_level_bpe(orjson.loads(Path(path).read_bytes()), added, special_is_text=self.special_tokens == "text")
        before, behind = around(tokenizer) if self.add_special_tokens else ([], [])
        kernels = KernelEncoder(bpe, before, [*behind, *end], self.cache_bytes, library.one)
        compare(kernels, library, tokenizer)
        return kernels


def _nothing(text: pa.LargeStringArray, taken: Mask) -> tuple[Ids, Ends]:
    """The ids of no text."""
    assert not taken.any()
    return np.zeros(0, np.int32), np.zeros(len(text), np.int64)


def _too_long(text: pa.LargeStringArray) -> dict[int, RowError]:
    """An error for each document of more tokens than can be counted."""
    sizes = pc.fill_null(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
    return {int(row): RowError("text_too_long", LONG_MESSAGE) for row in np.flatnonzero(sizes > MAX_TEXT_BYTES)}


def _narrowed(ids: Ids, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return ids.view(dtype) if dtype.itemsize == ids.dtype.itemsize else ids.astype(dtype)
