"""The contract of an operator: settings that say what is done to a batch, and `open()`, which makes the function that does it.

Owns the three kinds of operators, what they return and what they may ask of the worker. Knows Arrow, never storage, Ray or YAML.
"""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from operators.decision import Measures, Test
from operators.kernels.buffers import check_offsets

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
OPERATOR_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
"""An operator's name; by default its type, which for a custom one is `module:Class`."""


class Assets(Protocol):
    """What an operator may ask of the worker that opens it."""

    @property
    def text_column(self) -> str:
        """Name of the column that holds the documents' text."""

    @property
    def seed(self) -> int:
        """`execution.seed`; an operator that uses it says so with `seeded = True`."""

    def path(self, uri: str) -> str:
        """Local path of an asset that the operator declared in `asset_uris()`; its content is the one that was fingerprinted."""

    def tables(self, uri: str) -> Mapping[str, Mapping[str, Any]]:
        """The parsed YAML files of an asset, a folder or a tar archive, by their names without extension, in alphabetical order."""

    def learned(self, name: str) -> Learned | None:
        """What the operator of this name, which comes before, has learned from the documents; None if none of that name learns."""


@dataclass(frozen=True, slots=True)
class RowError:
    """Why one document could not be processed: a short snake_case class and a message for a person."""

    error: str
    message: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a batch operator returns for a batch: as many rows as came in, in the same order.

    Attributes:
        batch: The documents, with columns added or edited.
        reasons: String array as long as the batch: null where a document stays, the drop reason where it goes. None: all stay.
        errors: Documents that could not be processed, by their position in the batch; they are quarantined.
        details: String array as long as the batch: what exactly a dropped document was dropped for, such as the list's entry that it
            hit; bounded. Only of operators that declare `explains`.
    """

    batch: pa.RecordBatch
    reasons: pa.Array | None = None
    errors: Mapping[int, RowError] = field(default_factory=dict)
    details: pa.Array | None = None


BatchFn = Callable[[pa.RecordBatch], Result]
KeysFn = Callable[[pa.RecordBatch], pa.RecordBatch]
LessonsFn = Callable[[pa.RecordBatch], pa.LargeStringArray]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Which documents of some groups go, and for which kept one.

    Attributes:
        removed: int64 positions of the removed documents in the rows given to `decide`, each at most once.
        kept: int64 positions, one a removed document: the kept document that it was compared with.
        similarity: float32 in [0, 1], one a removed document.
        num_duplicates: int64, one a removed document: how many documents were removed for its kept one.
    """

    removed: npt.NDArray[np.int64]
    kept: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float32]
    num_duplicates: npt.NDArray[np.int64]


class Operator(BaseModel, ABC):
    """Settings of one step of a pipeline; the frozen model is the operator.

    Class attributes:
        seeded: True if the result depends on `execution.seed`.
        libraries: Distribution names whose version decides the result (part of the stage's fingerprint).
        sources: Where the defaults come from (paper, specification, code), for `shardmill operators NAME`.
        explains: True if results have `details`: the tables of dropped documents then have a column `detail`.
        may_edit_text: True if documents may leave it with another text than they came with.
        for_speed: Settings that change the time that the operator takes and nothing else: no fingerprint has them.
        by_kind: Settings that are mappings whose keys name kinds of data: `secret` is such a kind, and what stands beside it no secret,
            so plans and manifests keep it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    seeded: ClassVar[bool] = False
    libraries: ClassVar[tuple[str, ...]] = ()
    sources: ClassVar[str] = ""
    explains: ClassVar[bool] = False
    may_edit_text: ClassVar[bool] = False
    for_speed: ClassVar[tuple[str, ...]] = ()
    by_kind: ClassVar[tuple[str, ...]] = ()

    type: str
    name: str | None = Field(
        default=None,
        description="Name under which the operator is counted; default: its type, the second of a type is `type-2`.",
        json_schema_extra={"anyOf": [{"type": "string", "pattern": f"^{OPERATOR_NAME.pattern}$"}, {"type": "null"}]},
    )

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, value: str | None) -> str | None:
        if value is not None and OPERATOR_NAME.fullmatch(value) is None:
            raise ValueError("a name is at most 128 letters, digits, '_', '.', ':' or '-'")
        return value

    def named(self, name: str) -> Self:
        """The same operator under another name."""
        return self.model_copy(update={"name": name})

    def asset_uris(self) -> tuple[str, ...]:
        """URIs of the files that the operator needs on the worker (models, lists, tokenizers); their content is fingerprinted."""
        return ()

    def learnable(self) -> Mapping[str, str]:
        """Assets in whose place it can use what an operator before it has learned: the URI by the setting that may be that one's name."""
        return {}

    def learned_names(self, learning: Collection[str]) -> tuple[str, ...]:
        """Those of some operators that learn, by name, whose file it uses."""
        return tuple(name for name in (str(getattr(self, setting)) for setting in self.learnable()) if name in learning)

    def asset_uris_beside(self, learning: Collection[str]) -> tuple[str, ...]:
        """`asset_uris()` without those in whose place it uses what an operator before it, one of these names, has learned."""
        used = {uri for setting, uri in self.learnable().items() if getattr(self, setting) in learning}
        return tuple(uri for uri in self.asset_uris() if uri not in used)


class BatchOperator(Operator):
    """An operator that judges or edits each document by itself, a batch at a time."""

    @abstractmethod
    def open(self, assets: Assets) -> BatchFn:
        """Load what the operator needs and return the function that processes batches.

        Runs on the worker. The function is pure: the result of a row never depends on the rows beside it. It accepts an empty batch and
        then returns one with the columns it would add.

        What a user should know before the run goes out as `warnings.warn(OperatorWarning(…))`: the driver, which opens every operator
        before it starts, tells it and writes it into the manifest. It must be the same on every machine, and nothing of one document.

        Raises:
            OperatorError: A needed column, file or library is missing.
        """

    def declared_tests(self) -> tuple[Test, ...]:
        """What it tests of a document, in its order, from the settings alone; a threshold that is not set is no test.

        An operator that declares tests opens measures of the same ones. Both serve to tell what thresholds do; nothing is decided by them.
        """
        return ()

    def open_measures(self, assets: Assets) -> Measures | None:  # noqa: ARG002  one that measures nothing
        """Load what measures the signals of these tests; None if it makes none.

        What is measured is the document as it reaches the operator, before any edit of its own.

        Raises:
            OperatorError: As `open` does.
        """
        return None


class GroupOperator(Operator):
    """An operator that compares documents with each other: it gives each one a key, and decides among those that share it.

    It ends a stage. Rows with a null key are in no group.
    """

    KEY: ClassVar[str] = "key_hi"
    """Column of the keys that is null for a document that takes no part."""
    reason: ClassVar[str] = "duplicate"
    one_kept_per_key: ClassVar[bool] = False
    """True if each key keeps exactly one document: then a key that no task can hold is decided in bounded rounds."""

    @abstractmethod
    def open(self, assets: Assets) -> KeysFn:
        """Return the function from a batch to its keys.

        It gives one row a document: `key_hi` and `key_lo` (uint64, both null or none), then payload. The function is pure, accepts
        an empty batch and then returns the schema of its rows.
        """

    @abstractmethod
    def decide(self, rows: pa.RecordBatch) -> Verdicts:
        """Decide complete groups.

        Args:
            rows: What `open()`'s function gave, with `file` and `row` (int64), the document's place in the inventory's order, in
                front; sorted by key, then file, then row. Every document of a key is there.
        """


class LearningOperator(Operator):
    """An operator that learns one file from a sample of the documents that reach it, for operators after it. It drops and changes none.

    It ends a stage. The sample depends on the documents alone: their lots, hashes of `execution.seed` and of their identity, order them,
    and the first ones are taken until they have `sample_bytes` together. Of no document more than its first `max_document_bytes` count,
    and one that has less than 64 bytes counts as 64. A document without text takes no part.

    Class attributes:
        FILE: Name of the file that is learned.
        SAMPLING: Settings that decide what a document gives to the sample. All others decide only what is learned from it, so that a
            change of them finds the sample made.
    """

    FILE: ClassVar[str] = "learned"
    SAMPLING: ClassVar[tuple[str, ...]] = ("max_document_bytes",)
    seeded: ClassVar[bool] = True

    sample_bytes: int = Field(
        default=64 << 20,
        ge=1,
        le=1 << 32,
        description="Bytes of text (UTF-8) in the sample (default 64 MiB); the one task that learns takes some ten times that in memory.",
    )
    max_document_bytes: int = Field(
        default=100 << 10,
        ge=64,
        description="Bytes of one document that are in the sample at most, its first ones, so that no document outweighs all others.",
    )

    @model_validator(mode="after")
    def _a_document_fits(self) -> Self:
        if self.max_document_bytes > self.sample_bytes:
            raise ValueError(
                f"max_document_bytes ({self.max_document_bytes}) is above sample_bytes ({self.sample_bytes}); "
                "no long document could be in the sample: lower the one or raise the other"
            )
        return self

    @abstractmethod
    def open(self, assets: Assets) -> LessonsFn:
        """Return the function from a batch to what is learned from each document, null where nothing is.

        Runs on the worker. The function is pure, a document's lesson never depends on those beside it, and it accepts an empty batch.

        Raises:
            OperatorError: A needed column, file or library is missing.
        """

    @abstractmethod
    def learn(self, lessons: Iterator[pa.LargeStringArray]) -> bytes:
        """Learn from the sample: the same lessons give the same bytes, in every process.

        Args:
            lessons: The sample in the order of the lots, some at a time, none of them null or empty; never none at all.

        Returns:
            The content of the file.

        Raises:
            OperatorError: Nothing can be learned from these.
        """


@dataclass(frozen=True, slots=True)
class Learned:
    """What an operator has learned.

    Attributes:
        operator: The operator, with its settings.
        path: Local path of the file. None while a run is planned: nothing is learned yet, and only an empty batch will come.
    """

    operator: LearningOperator
    path: str | None


class OperatorWarning(UserWarning):
    """What a user should know of an operator before the run; `open()` gives it by `warnings.warn`."""


class OperatorError(Exception):
    """An operator cannot be opened or used as it is set; the message says subject, found, expected and remedy."""


def text_of(batch: pa.RecordBatch, column: str) -> pa.LargeStringArray:
    """The text of a batch as large_string, without a copy where it is one already.

    Raises:
        OperatorError: There is no such column, or it holds no strings.
    """
    values = column_of(batch, column)
    if pa.types.is_large_string(values.type):
        return values
    if pa.types.is_string(values.type) or pa.types.is_string_view(values.type):
        return pc.cast(values, pa.large_string())
    raise OperatorError(f"column {column!r} is {values.type}; text must be a string column")


def column_of(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column by name; a string column can be looked into.

    Raises:
        OperatorError: There is no such column.
        InvalidOffsetsError: It holds strings that lie outside of its data.
    """
    index = batch.schema.get_field_index(name)
    if index < 0:
        near = difflib.get_close_matches(name, batch.schema.names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the columns are: {', '.join(batch.schema.names)}"
        raise OperatorError(f"there is no column {name!r}; {hint}")
    values = batch.column(index)
    check_offsets(values, name)
    return values


def strings_of(batch: pa.RecordBatch, name: str, expected: str) -> pa.LargeStringArray:
    """A column by name, as strings.

    Raises:
        OperatorError: There is no such column, or it cannot be read as strings; the message ends with what was `expected`.
    """
    values = column_of(batch, name)
    try:
        return pc.cast(values, pa.large_string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise OperatorError(f"column {name!r} is {values.type}; {expected}") from error


def null_text_errors(text: pa.LargeStringArray) -> dict[int, RowError]:
    """An error for each document whose text is null: there is nothing that an operator could judge."""
    if text.null_count == 0:
        return {}
    rows = np.flatnonzero(pc.is_null(text).to_numpy(zero_copy_only=False))
    return {int(row): RowError("null_text", "the text is null; expected a string") for row in rows}


def utf8_errors(text: pa.LargeStringArray) -> dict[int, RowError]:
    """An error for each document whose text is not UTF-8: Arrow's functions would look for the rest of a character beyond it."""
    if _is_utf8(text):
        return {}
    message = "the text holds bytes that are not UTF-8, so that its characters cannot be told; write the file again as UTF-8"
    return {row: RowError("invalid_utf8", message) for row in range(len(text)) if not _is_utf8(text.slice(row, 1))}


def _is_utf8(text: pa.LargeStringArray) -> bool:
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def with_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """The batch with a column set in its place, or added at the end. An edited string column keeps its declared type."""
    index = batch.schema.get_field_index(name)
    if index < 0:
        return batch.append_column(name, values)
    declared = batch.schema.field(index)
    is_text = pa.types.is_string(declared.type) or pa.types.is_string_view(declared.type)
    if is_text and pa.types.is_large_string(values.type):
        values = pc.cast(values, declared.type)
    return batch.set_column(index, declared.with_type(values.type), values)
