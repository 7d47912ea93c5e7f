"""Run a filter or formatter of datatrove as an operator. Owns the way from a batch to datatrove's documents and back."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from operators.base import Assets, BatchFn, BatchOperator, OperatorError, Result, RowError, column_of, text_of, with_column
from operators.rows import LazyColumns, RowMetadata

DOWNLOADS = {
    "C4BadWordsFilter": "the LDNOOBW word lists from raw.githubusercontent.com",
    "FastTextClassifierFilter": "the model that `model_url` names",
    "LanguageFilter": "lid.176.bin from dl.fbaipublicfiles.com or GlotLID from the Hub",
    "UnigramLogProbFilter": "word frequencies from ai2-s2-research-public.s3-us-west-2.amazonaws.com",
}
REMEDIES = {
    "FastTextClassifierFilter": "give `model_url` the path of a file that every worker has",
    "LanguageFilter": "use `type: language_filter`, whose model is bundled or named by path",
}
PROBE = "The quick brown fox jumps over the lazy dog."
EXPECTED_ALIASES = ("bool", "int32", "int64", "float32", "float64", "string", "large_string")


class Datatrove(BatchOperator):
    """Judge or edit documents with a block of datatrove: any filter or formatter of its version 0.10, by the name of its class.

    A filter's drop reasons are datatrove's own; `filtered` where it gives none, and `empty` for documents without text, which datatrove's
    readers leave out before any filter sees them. Edits of the text are kept for documents that stay. A document on which the block raises
    is quarantined alone, under the name of the exception.

    Slow, as it makes a Python object for each document, but complete. Where a block's result depends on the documents before it, here it
    does not: PIIFormatter begins its cycle of replacements anew in each document, and SamplerFilter draws from its seed and the text, so
    that equal texts are sampled alike. The public suffix list of URLFilter is the one installed, never a downloaded one.
    """

    type: Literal["datatrove"] = "datatrove"
    block: str = Field(min_length=1, description="Class name, such as `GopherQualityFilter` or `FTFYFormatter`.")
    args: dict[str, Any] = Field(default={}, description="Arguments of the block, by name.")
    metadata: list[str] | None = Field(
        default=None,
        description="Columns that the block sees as the document's metadata; null: all but the text, read as they are asked for.",
    )
    adds: dict[str, str] = Field(
        default={},
        description="Columns taken from the document's metadata after the block, with their Arrow type: `language_score: float32`.",
    )

    may_edit_text: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("datatrove", "spacy", "nltk", "ftfy", "tldextract", "regex")
    sources: ClassVar[str] = "datatrove 0.10"

    @field_validator("adds")
    @classmethod
    def _types_are_known(cls, value: dict[str, str]) -> dict[str, str]:
        for column, alias in value.items():
            try:
                pa.type_for_alias(alias)
            except ValueError:
                near = difflib.get_close_matches(alias, EXPECTED_ALIASES, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"use one such as {', '.join(EXPECTED_ALIASES)}"
                raise ValueError(f"adds: {column} has the type {alias!r}, which Arrow does not know; {hint}") from None
        return value

    @field_validator("args")
    @classmethod
    def _no_writer(cls, value: dict[str, Any]) -> dict[str, Any]:
        if "exclusion_writer" in value:
            raise ValueError("args: exclusion_writer would write beside the run; set `output.dropped: true` to keep dropped documents")
        return value

    def open(self, assets: Assets) -> BatchFn:
        """Make the block and try it on a sentence, so that what it loads lazily is loaded, or missed, now.

        Raises:
            OperatorError: There is no such block, its arguments don't fit, or what it needs cannot be loaded.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            block = self._make()
            run = self._runner(block)
            self._probe(run)
        adds = {column: pa.type_for_alias(alias) for column, alias in self.adds.items()}

        def process(batch: pa.RecordBatch) -> Result:
            text = text_of(batch, assets.text_column)
            names = self.metadata if self.metadata is not None else [name for name in batch.schema.names if name != assets.text_column]
            columns = LazyColumns({name: column_of(batch, name) for name in names})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outcome = run(text.to_pylist(), columns)
            for column, kind in adds.items():
                values, errors = _array([metadata.get(column) for metadata in outcome.metadata], kind)
                outcome.errors.update({row: RowError("bad_metadata", f"{column}: {message}") for row, message in errors.items()})
                batch = with_column(batch, column, values)
            if outcome.edited:
                values, errors = _array(outcome.texts, pa.large_string())
                outcome.errors.update({row: RowError("bad_text", message) for row, message in errors.items()})
                batch = with_column(batch, assets.text_column, values)
            return Result(batch, pa.array(outcome.reasons, pa.string()), outcome.errors)

        return process

    def _make(self) -> Any:
        found = _blocks()
        cls = found.get(self.block)
        if cls is None:
            near = difflib.get_close_matches(self.block, found, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(sorted(found))}"
            raise OperatorError(f"{self.type}: datatrove has no filter or formatter {self.block!r}; {hint}")
        if self.block == "LambdaFilter":
            raise OperatorError(
                f"{self.type}: LambdaFilter takes a Python function, which a pipeline file cannot hold; use `type: filter_where`"
            )
        draws = self.block == "SamplerFilter" or (self.block == "C4BadWordsFilter" and self.args.get("keep_fraction"))
        if draws and self.args.get("seed") is None:
            raise OperatorError(f"{self.type}: {self.block} without a seed would keep other documents at every try; set args: {{seed: 0}}")
        try:
            block = cls(**self.args)
        except ImportError as error:
            raise OperatorError(f"{self.type}: {self.block} needs a library that is missing: {_short(error)}") from error
        except TypeError as error:
            known = ", ".join(name for name in inspect.signature(cls).parameters if name != "exclusion_writer")
            raise OperatorError(f"{self.type}: {self.block} does not take these args ({_short(error)}); it takes: {known}") from error
        except Exception as error:
            raise self._unusable(error) from error
        block.stat_update = _count_nothing  # its statistics would grow with the run, and take time
        return block

    def _runner(self, block: Any) -> Run:
        from datatrove.data import Document
        from datatrove.pipeline.formatters.base import BaseFormatter

        restart = _restart(block, self.args)
        if isinstance(block, BaseFormatter):
            return _Formatting(block, restart).run
        return _Filtering(block, Document, restart).run

    def _probe(self, run: Run) -> None:
        columns = LazyColumns({"url": pa.array(["https://example.com/page"])})
        try:
            outcome = run([PROBE], columns)
        except OperatorError as error:
            raise self._unusable(error) from error
        if outcome.errors:
            raise self._unusable(outcome.errors[0].message)

    def _unusable(self, error: object) -> OperatorError:
        loads = DOWNLOADS.get(self.block)
        if loads is None:
            return OperatorError(f"{self.type}: {self.block} cannot be used: {_short(error)}; check its args")
        remedy = REMEDIES.get(
            self.block, "run it once on a machine with a network and share its Hugging Face cache (HF_HOME) with the workers"
        )
        return OperatorError(f"{self.type}: {self.block} downloads at run time ({loads}), and that failed: {_short(error)}; {remedy}")


class Outcome:
    """What a block did to the documents of a batch, one entry each."""

    def __init__(self, texts: list[str | None]) -> None:
        self.texts: list[str | None] = list(texts)
        self.reasons: list[str | None] = [None] * len(texts)
        self.metadata: list[Mapping[str, Any]] = [{}] * len(texts)
        self.errors: dict[int, RowError] = {}
        self.edited = False

    def fail(self, row: int, error: Exception) -> None:
        """Quarantine one document; what no document is to blame for is raised again."""
        if isinstance(error, ImportError):
            raise OperatorError(f"a library is missing: {_short(error)}") from error
        if isinstance(error, MemoryError):
            raise error
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(error).__name__).lower()
        self.errors[row] = RowError(name, _short(error))


Run = Callable[[list[str | None], LazyColumns], Outcome]
Restart = Callable[[str], None]


class _Formatting:
    """A formatter over a batch."""

    def __init__(self, block: Any, restart: Restart | None) -> None:
        self.block, self.restart = block, restart

    def run(self, texts: list[str | None], columns: LazyColumns) -> Outcome:
        del columns  # a formatter sees the text alone
        outcome = Outcome(texts)
        for row, text in enumerate(texts):
            if text is None:
                outcome.errors[row] = RowError("null_text", "the text is null; expected a string")
                continue
            try:
                if self.restart is not None:
                    self.restart(text)
                edited = self.block.format(text)
            except Exception as error:  # noqa: BLE001 -- the edge to foreign code: fail() decides
                outcome.fail(row, error)
                continue
            if edited != text:
                outcome.texts[row], outcome.edited = edited, True
        return outcome


class _Filtering:
    """A filter over a batch, in its own batches where it has any."""

    def __init__(self, block: Any, document: Callable[..., Any], restart: Restart | None) -> None:
        self.block, self.document, self.restart = block, document, restart

    def run(self, texts: list[str | None], columns: LazyColumns) -> Outcome:
        outcome = Outcome(texts)
        rows = []
        for row, text in enumerate(texts):
            if text:
                rows.append(row)
            elif text is None:
                outcome.errors[row] = RowError("null_text", "the text is null; expected a string")
            else:
                outcome.reasons[row] = "empty"
        size = max(1, self.block.batch_size)
        for start in range(0, len(rows), size):
            for row, document, verdict in self._judged(rows[start : start + size], texts, columns, outcome):
                self._record(outcome, row, document, verdict)
        return outcome

    def _judged(
        self, rows: list[int], texts: list[str | None], columns: LazyColumns, outcome: Outcome
    ) -> Iterator[tuple[int, Any, bool | tuple[bool, str]]]:
        if len(rows) > 1:
            documents = [self._document(row, texts, columns) for row in rows]
            verdicts = self._all(documents)
            if verdicts is not None:
                yield from zip(rows, documents, verdicts, strict=True)
                return
        # One by one shows which document it was.
        for row in rows:
            document = self._document(row, texts, columns)
            try:
                if self.restart is not None:
                    self.restart(document.text)
                [verdict] = self.block.filter_batch([document])
            except Exception as error:  # noqa: BLE001 -- the edge to foreign code: fail() decides
                outcome.fail(row, error)
                continue
            yield row, document, verdict

    def _all(self, documents: list[Any]) -> list[bool | tuple[bool, str]] | None:
        """The verdicts on a batch of the block's own, or None if it raised."""
        try:
            verdicts = list(self.block.filter_batch(documents))
        except Exception:  # noqa: BLE001 -- the documents are tried again one by one
            return None
        return verdicts if len(verdicts) == len(documents) else None

    def _document(self, row: int, texts: list[str | None], columns: LazyColumns) -> Any:
        return self.document(text=texts[row], id="", metadata=RowMetadata(columns, row))

    @staticmethod
    def _record(outcome: Outcome, row: int, document: Any, verdict: bool | tuple[bool, str]) -> None:
        keeps, reason = verdict if isinstance(verdict, tuple) else (verdict, None)
        outcome.metadata[row] = document.metadata
        if not keeps:
            outcome.reasons[row] = reason or "filtered"
        elif document.text != outcome.texts[row]:
            outcome.texts[row], outcome.edited = document.text, True


def _blocks() -> dict[str, Any]:
    """Every filter and formatter of datatrove by name."""
    from datatrove.pipeline import filters, formatters
    from datatrove.pipeline.filters.base_filter import BaseFilter
    from datatrove.pipeline.formatters.base import BaseFormatter
    from loguru import logger

    logger.disable("datatrove")  # what it says about each task belongs to its own executor
    found = {**vars(filters), **vars(formatters)}
    return {name: value for name, value in found.items() if inspect.isclass(value) and issubclass(value, BaseFilter | BaseFormatter)}


def _restart(block: Any, args: dict[str, Any]) -> Restart | None:
    """What undoes the marks that earlier documents left in the block, where it keeps any."""
    match type(block).__name__:
        case "PIIFormatter":

            def restart(_text: str) -> None:
                block.emails_replacer._replace_i = 0  # noqa: SLF001 -- there is no other way to begin its cycle again
                block.ip_replacer._replace_i = 0  # noqa: SLF001

            return restart
        case "SamplerFilter" | "C4BadWordsFilter" if args.get("seed") is not None:

            def reseed(text: str) -> None:
                content = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
                block.uniform = np.random.default_rng([int(args["seed"]), content]).uniform

            return reseed
        case "URLFilter":
            from tldextract import TLDExtract

            block.tldextractor = TLDExtract(suffix_list_urls=())
    return None


def _count_nothing(*_labels: str, **_values: Any) -> None:
    """Stand in for a block's statistics."""


def _short(error: object) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split()) if isinstance(error, Exception) else str(error)
    return text if len(text) <= 300 else text[:299] + "…"


def _array(values: list[Any], kind: pa.DataType) -> tuple[pa.Array, dict[int, str]]:
    """An Arrow array of the values, and the rows whose value does not fit (null there)."""
    try:
        return pa.array(values, kind), {}
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        fitting, errors = list(values), {}
        for row, value in enumerate(values):
            try:
                pa.array([value], kind)
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                fitting[row], errors[row] = None, _short(error)
        return pa.array(fitting, kind), errors
