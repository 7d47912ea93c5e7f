"""Train a byte-level BPE on the pipeline's own documents. Owns what the tokenizer is; the sample comes from the engine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, ClassVar, Final, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from operators.base import Assets, LearningOperator, LessonsFn, OperatorError, text_of
from operators.library_encoder import panics_told
from operators.split_pattern import GPT2

NUM_BYTES: Final = 256
END_OF_TEXT: Final = "<|endoftext|>"
PATTERNS: Final = {
    "gpt2": GPT2,
    "llama3": (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
"""How a text is cut before bytes are merged, as the `tokenizer.json` of each family has it."""


class TrainTokenizer(LearningOperator):
    """Train a byte-level BPE on a sample of the documents, for a `tokenize` after it: `tokenizer: train_tokenizer`, its name.

    The `tokenizer.json` is kept with the version, in `versions/v1/learned/<name>/`, with its digest in the manifest; give that folder as
    `tokenizer` to use it in another pipeline. Every byte is in the vocabulary, so that any text can be encoded and comes back.

    The sample is made of whole documents (of long ones the beginning), drawn by a hash of `execution.seed` and of each document's place
    in the input: neither workers nor units matter, and the same input gives the same file, byte by byte. The documents that reach the
    operator are read once more, as far as they are in the sample. Training takes one core, half a second to a second for a MiB of the
    sample, and about ten times the sample in memory. No document is dropped or changed.
    A run in which no document with text reaches the operator ends with an error: there is nothing to learn from.
    """

    type: Literal["train_tokenizer"] = "train_tokenizer"
    vocab_size: int = Field(
        default=32_000,
        ge=NUM_BYTES,
        le=1 << 22,
        description="Entries of the vocabulary at most: special tokens, the 256 bytes, and merges (32,000 as Llama 1 and 2 have).",
    )
    special_tokens: tuple[str, ...] = Field(
        default=(END_OF_TEXT,),
        description="Control tokens, which get the first ids. In a document they are text, unless `tokenize` is told otherwise.",
    )
    min_frequency: int = Field(
        default=2,
        ge=1,
        description="How often two neighbouring tokens must occur in the sample to be merged (2: what occurs once is noise).",
    )
    pattern: str = Field(
        default="llama3",
        min_length=1,
        description=f"How texts are cut before tokens are merged: {', '.join(PATTERNS)}, or a regular expression that matches each piece.",
    )
    max_token_length: int | None = Field(
        default=None, ge=2, description="Bytes of a token at most; null: no bound but that of the pieces that the pattern cuts."
    )

    FILE: ClassVar[str] = "tokenizer.json"
    libraries: ClassVar[tuple[str, ...]] = ("tokenizers",)
    sources: ClassVar[str] = (
        "Sennrich and others 2016 (byte pair encoding), GPT-2 (bytes); patterns from the tokenizer.json of GPT-2, Llama 3, Qwen2 and GPT-4o"
    )

    @model_validator(mode="after")
    def _tokens_fit(self) -> Self:
        repeated = [token for position, token in enumerate(self.special_tokens) if token in self.special_tokens[:position]]
        if repeated:
            raise ValueError(f"special_tokens has {repeated[0]!r} twice; name each token once")
        short = [token for token in self.special_tokens if len(token) < 2]
        if short:
            raise ValueError(f"special_tokens has {short[0]!r}, which any text may hold; a special token has 2 characters or more")
        least = NUM_BYTES + len(self.special_tokens)
        if self.vocab_size < least:
            raise ValueError(f"vocab_size is {self.vocab_size}; the 256 bytes and the special tokens need {least}")
        return self

    @property
    def expression(self) -> str:
        """The regular expression of the pattern."""
        return PATTERNS.get(self.pattern, self.pattern)

    def open(self, assets: Assets) -> LessonsFn:
        """Return the function that gives each document's text.

        Raises:
            OperatorError: The pattern is no regular expression that the library takes.
        """
        self._untrained()

        def lessons(batch: pa.RecordBatch) -> pa.LargeStringArray:
            return text_of(batch, assets.text_column)

        return lessons

    def learn(self, lessons: Iterator[pa.LargeStringArray]) -> bytes:
        """Train, and return the `tokenizer.json`.

        Raises:
            OperatorError: A special token is so frequent in the sample that it would be a token of the text too.
        """
        # One core, as every task has. The result does not depend on it.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        from tokenizers import pre_tokenizers, trainers

        tokenizer = self._untrained()
        # The library's bound is the first length that is too long.
        bounded: dict[str, Any] = {} if self.max_token_length is None else {"max_token_length": self.max_token_length + 1}
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
            special_tokens=list(self.special_tokens),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
            **bounded,
        )
        try:
            with panics_told():
                tokenizer.train_from_iterator(map(_texts, lessons), trainer)
        except RuntimeError as error:
            raise OperatorError(
                f"{self.type}: pattern {self.pattern[:80]!r} cannot cut a document of the sample ({error}); "
                f"give one of {', '.join(PATTERNS)}, or an expression without nested repetition"
            ) from error
        content: str = tokenizer.to_str()
        self._check_special_tokens(content)
        return content.encode()

    def _untrained(self) -> Any:
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

        tokenizer = Tokenizer(models.BPE())
        if self.pattern == "gpt2":  # the library's own form of it, as the file of GPT-2 has it
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        else:
            try:
                pieces = Regex(self.expression)
            except Exception as error:  # the library raises bare Exceptions
                found = " ".join(str(error).split())[:200]
                raise OperatorError(
                    f"{self.type}: pattern {self.pattern[:80]!r} is no regular expression ({found}); "
                    f"give one of {', '.join(PATTERNS)}, or an expression as Oniguruma reads it"
                ) from error
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.Split(pieces, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
            )
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer

    def _check_special_tokens(self, content: str) -> None:
        """Merges that spell a special token would give its id to text."""
        spelled = {"".join(pair) for pair in json.loads(content)["model"]["merges"]} & set(self.special_tokens)
        if spelled:
            raise OperatorError(
                f"{self.type}: special_tokens: {min(spelled)!r} is so frequent in the documents that it would be learned as a token of "
                "the text; name another special token, or choose a `pattern` that cuts it"
            )


def _texts(lessons: pa.LargeStringArray) -> list[str]:
    """Lessons as strings. An operator may have left ill-formed UTF-8 in a text: one of these must not end the training."""
    try:
        texts: list[str] = lessons.to_pylist()
    except UnicodeDecodeError:
        texts = [data.decode(errors="replace") for data in lessons.cast(pa.large_binary()).to_pylist()]
    return texts
