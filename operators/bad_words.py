"""Drop documents with words of a list, as C4 does. Owns the lists' settings; how words are found is kernels/phrases.py."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.base import Assets, BatchFn, BatchOperator, OperatorError, Result, null_text_errors, strings_of, text_of
from operators.sample import ALL_LOTS, drawn

GZIP = b"\x1f\x8b"
REASON = "document_removed_with_badwords"
LANGUAGES = (
    *("ar", "cs", "da", "de", "en", "eo", "es", "fa", "fi", "fil", "fr", "fr-CA-u-sd-caqc", "hi", "hu", "it"),
    *("ja", "kab", "ko", "nl", "no", "pl", "pt", "ru", "sv", "th", "tlh", "tr", "zh"),
)
"""The languages of LDNOOBW, as its files and datatrove's filter are named."""


class BadWords(BatchOperator):
    """Keep documents without words of their language's list.

    A word is found in the text's lower case where no letter, digit or underscore stands before or behind it; in the languages of
    `unbounded`, which put no spaces between words, anywhere. A word may be a phrase of several. Documents in a language without a list
    stay.

    The lists' words are put into lower case too. datatrove leaves them as they are, so that those with capitals (61 of the 68 Spanish ones)
    match nothing; `preset: datatrove` does that. Of documents with such a word a fraction `keep_fraction` stays, by a hash of the text and
    the seed, where datatrove draws from a generator.

    Drop reason: `document_removed_with_badwords`.
    """

    type: Literal["bad_words"] = "bad_words"
    preset: Literal["default", "datatrove"] = Field(
        default="default", description="`datatrove`: words with capitals in a list match nothing, as in datatrove 0.10; `default`: they do."
    )
    lists: dict[str, str] | str = Field(
        description="The lists, UTF-8 with a word or phrase a line, plain or gzip: a path or URL for each language, or that of a folder "
        "(such as LDNOOBW's) with one file for each language, named by its code."
    )
    languages: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Files to read from the folder; null: `language`, and with `language_column` all of LDNOOBW's.",
    )
    language: str = Field(default="en", min_length=1, description="Language of documents that `language_column` does not tell it of.")
    language_column: str | None = Field(default=None, min_length=1, description="Column with each document's language, as lists are named.")
    keep_fraction: float = Field(default=0.0, ge=0, le=1, description="Fraction of the documents with such words that stays (C4: 0).")
    seed: int | None = Field(default=None, ge=0, lt=1 << 63, description="Seed of that choice; null: `execution.seed`.")
    unbounded: list[str] = Field(default=["ja", "th", "zh"], description="Languages in which words are found anywhere (C4).")
    allow: list[str] = Field(
        default=["sm", "グロ", "女の子", "性"],
        description="Words taken out of every list (C4: each would drop over a tenth of its language).",
    )

    seeded: ClassVar[bool] = True
    explains: ClassVar[bool] = True
    sources: ClassVar[str] = "C4 (arXiv:1910.10683), mC4; datatrove 0.10 C4BadWordsFilter; lists: LDNOOBW (CC-BY-4.0)"

    @model_validator(mode="after")
    def _lists_fit(self) -> Self:
        if isinstance(self.lists, str) or self.languages is None:
            missing = [] if self.lists else ["any language"]
        else:
            missing = [code for code in self.languages if code not in self.lists]
        if missing:
            raise ValueError(f"lists names no file for {', '.join(missing)}; add it, or give a folder")
        return self

    def files(self) -> Mapping[str, str]:
        """URI of each language's list."""
        if not isinstance(self.lists, str):
            return {code: uri for code, uri in self.lists.items() if self.languages is None or code in self.languages}
        default = (self.language,) if self.language_column is None else LANGUAGES
        return {code: f"{self.lists.rstrip('/')}/{code}" for code in self.languages or default}

    def asset_uris(self) -> tuple[str, ...]:
        """The list files."""
        return tuple(dict.fromkeys(self.files().values()))

    def open(self, assets: Assets) -> BatchFn:
        """Load the lists.

        Raises:
            OperatorError: A list cannot be read or holds no word, or documents are said to be in a language that has none.
        """
        from operators.kernels.buffers import text_buffers
        from operators.kernels.phrases import first_phrases, phrases_of
        from operators.kernels.unicode import tables

        files = self.files()
        if self.language_column is None and self.language not in files:
            raise OperatorError(f"{self.type}: there is no list for language {self.language!r}; there are: {', '.join(files)}")
        lists = {code: self._words(uri, assets) for code, uri in files.items()}
        try:
            phrases = phrases_of([(words, code not in self.unbounded) for code, words in lists.items()])
        except ValueError as error:
            raise OperatorError(f"{self.type}: {error}") from error
        words = pa.array([word for each in lists.values() for word in each], pa.string())
        seed = assets.seed if self.seed is None else self.seed

        def judge(batch: pa.RecordBatch) -> Result:
            text = text_of(batch, assets.text_column)
            groups = self._groups(batch, list(lists))
            found = first_phrases(*text_buffers(text), groups, phrases, tables())
            goes = (found >= 0) & text.is_valid().to_numpy(zero_copy_only=False)
            self._spare(goes, text, seed)
            details = words.take(pa.array(found, mask=~goes)) if goes.any() else None
            reasons = pc.if_else(pa.array(goes), pa.scalar(REASON), pa.scalar(None, pa.string()))
            return Result(batch, reasons, null_text_errors(text), details)

        return judge

    def _groups(self, batch: pa.RecordBatch, codes: list[str]) -> npt.NDArray[np.int32]:
        """Number of each document's list, -1 where its language has none."""
        default = codes.index(self.language) if self.language in codes else -1
        if self.language_column is None:
            return np.full(batch.num_rows, default, np.int32)
        languages = strings_of(batch, self.language_column, "languages must be strings")
        places = pc.fill_null(pc.index_in(languages, pa.array(codes, pa.large_string())), -1)
        places = pc.if_else(pc.is_null(languages), pa.scalar(default, pa.int32()), places)
        groups: npt.NDArray[np.int32] = np.array(places.to_numpy(zero_copy_only=False), np.int32)
        return groups

    def _spare(self, goes: npt.NDArray[np.bool_], text: pa.LargeStringArray, seed: int) -> None:
        """Take out of those that go the ones that their lot lets stay."""
        limit = int(self.keep_fraction * ALL_LOTS)
        if limit == 0 or not goes.any():
            return
        from operators.kernels.hashing import hash_bytes

        rows = np.flatnonzero(goes)
        goes[rows] = drawn(hash_bytes(text.take(pa.array(rows)))[0], seed) > np.uint64(limit - 1)

    def _words(self, uri: str, assets: Assets) -> list[str]:
        """The words of a list in its order, each once."""
        try:
            data = Path(assets.path(uri)).read_bytes()
            lines = (gzip.decompress(data) if data.startswith(GZIP) else data).decode("utf-8-sig").split("\n")
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise OperatorError(f"{self.type}: list {uri!r} cannot be read ({error}); expected UTF-8 text of one word a line") from error
        words = dict.fromkeys(word for line in lines if (word := line.strip()) and word not in self.allow)
        if not words:
            raise OperatorError(f"{self.type}: list {uri!r} holds no word; expected one a line; remove it, or name another")
        return list(words) if self.preset == "datatrove" else list(dict.fromkeys(word.lower() for word in words))
