"""What quality filters share: signals that are measured, thresholds that come from presets, and decisions made from both.

Owns the contract of a quality operator. Its kernel measures signals of each document as far as the decision needs them and tells the first
test that fails; asked for the signals, it measures all of them and decides the same.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, ValidationInfo, model_validator
from pydantic_core import CoreSchema

from operators.base import Assets, BatchFn, BatchOperator, Result, RowError, null_text_errors, text_of, with_column
from operators.decision import Bools, Floats, Measured, Measures, Side, Signal, Test
from operators.thresholds import FROM_TABLE, NO_PROFILE, Profiles

T = TypeVar("T")

Codes = npt.NDArray[np.int8]


def no_truth_value(value: Any) -> Any:
    """A limit as it was given. True and false would count as 1 and 0: they raise ValueError."""
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no threshold; expected a number of at least 0, or null for none")  # noqa: TRY004
    return value


def not_negative(value: T) -> T:
    """A limit that something can be compared with; what is below 0 or no number raises ValueError."""
    if isinstance(value, int | float) and not 0 <= value < math.inf:
        raise ValueError(f"{value} is no threshold; expected a number of at least 0, or null for none")
    return value


def at_most_one(value: T, info: ValidationInfo) -> T:
    """A limit of a fraction; what is above 1 raises ValueError, unless a table says it."""
    if isinstance(value, int | float) and value > 1 and info.context != FROM_TABLE:
        raise ValueError(f"{value} is no share; expected a fraction of at least 0 and at most 1, or null for none")
    return value


@dataclass(frozen=True, slots=True)
class Range:
    """Tells editors, by the JSON schema, the range to which validators hold the numbers of a limit."""

    bounds: dict[str, int]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema of the limit, its numbers with their bounds."""
        schema = handler(core)
        for each in schema.get("anyOf", [schema]):
            if each.get("type") in ("integer", "number"):
                each.update(self.bounds)
        return schema


Limit = Annotated[T, BeforeValidator(no_truth_value), AfterValidator(not_negative), Range({"minimum": 0})]
"""A number, or null: the test is not made."""
Fraction = Annotated[
    T, BeforeValidator(no_truth_value), AfterValidator(not_negative), AfterValidator(at_most_one), Range({"minimum": 0, "maximum": 1})
]
"""A limit of a signal that is a fraction."""
ByLanguage = Literal["by_language"]
Threshold = Limit[int | float | ByLanguage | None]
"""A limit, or what the table says for the document's language."""
Share = Fraction[int | float | ByLanguage | None]
"""A threshold of a signal that is a fraction."""

KEEP = 0
NO_THRESHOLDS = "no_thresholds"
MOST_BYTES = (1 << 30) - 1
"""Of a text: kernels keep places in it as 32-bit numbers."""
NOT_THRESHOLDS = frozenset({"type", "name", "preset", "words", "language_column", "thresholds"})


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings under a versioned name, and where they come from. What it does not name is the field's own default."""

    values: Mapping[str, Any]
    source: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What a kernel says of a batch.

    Attributes:
        codes: int8, `KEEP` or 1 + the position in `REASONS` of the first test that fails.
        signals: float64 (rows, signals) in the order of `SIGNALS`, nan where there is none; None if they were not asked for.
        text: The edited text; None if nothing was edited.
    """

    codes: Codes
    signals: Floats | None = None
    text: pa.LargeStringArray | None = None


class Judge(Protocol):
    """An opened quality operator. `profile` has for each row the line of `Profiles.table` that judges it."""

    def __call__(self, text: pa.LargeStringArray, profile: npt.NDArray[np.int32], *, all_signals: bool) -> Judged:
        """Judge the documents of a batch; `all_signals`: measure all, not just what the decision needs."""


class QualityOperator(BatchOperator):
    """A filter that decides from signals of the text.

    Class attributes:
        SIGNALS: What it measures.
        REASONS: Its drop reasons in the order of its tests.
        PRESETS: Settings under versioned names; `preset` names one, settings given beside it win.
    """

    SIGNALS: ClassVar[tuple[Signal, ...]] = ()
    REASONS: ClassVar[tuple[str, ...]] = ()
    PRESETS: ClassVar[Mapping[str, Preset]] = {}

    preset: str
    annotate: bool = Field(
        default=False, description="Drop and edit nothing; only add the signals, a struct column under the operator's name."
    )
    keep_signals: bool = Field(default=False, description="Also add the signals of the documents that stay, as `annotate` does.")
    words: Literal["english", "unicode", "by_language"] = Field(
        default="english",
        description="How text is split into words: as spaCy splits English (datatrove's default), by Unicode's word boundaries, or each "
        "document by its language.",
    )
    language_column: str = Field(default="language", description="Column with each document's language, where something is by_language.")
    thresholds: str | None = Field(
        default=None,
        min_length=1,
        description="Folder or tar archive of FineWeb-2's YAML files, one a language (deu_Latn.yml), for what is by_language.",
    )

    @model_validator(mode="before")
    @classmethod
    def _filled_from_preset(cls, settings: Any) -> Any:
        """Settings that are not given are the preset's: so the model, the plan and the manifest name every number."""
        if not isinstance(settings, Mapping):
            return settings
        chosen = settings.get("preset", cls.model_fields["preset"].default)
        preset = cls.PRESETS.get(chosen) if isinstance(chosen, str) else None
        return settings if preset is None else {**preset.values, **settings}

    @model_validator(mode="after")
    def _table_is_given(self) -> QualityOperator:
        used = self.by_language()
        if used and self.thresholds is None:
            raise ValueError(f"{', '.join(used)}: by_language needs `thresholds`, the folder or tar archive of the languages' YAML files")
        return self

    def by_language(self) -> tuple[str, ...]:
        """Settings whose value depends on the document's language."""
        names = (name for name in type(self).model_fields if name not in NOT_THRESHOLDS)
        return tuple(name for name in names if isinstance(getattr(self, name), str) and getattr(self, name) == "by_language")

    def asset_uris(self) -> tuple[str, ...]:
        """The table of thresholds, if one is used."""
        return () if self.thresholds is None or not self.by_language() else (self.thresholds,)

    @abstractmethod
    def judge(self, profiles: Profiles) -> Judge:
        """Load what the kernel needs and return the function that judges batches."""

    @abstractmethod
    def profile_values(self, values: Mapping[str, Any]) -> tuple[float, ...]:
        """Thresholds in the kernel's order, nan for a test that is not made, of settings without any that is by_language."""

    @abstractmethod
    def tests_of(self, values: Mapping[str, Any]) -> tuple[Test, ...]:
        """Its tests in their order, by some settings; with the value nan those that these don't ask for, None where it is by_language."""

    def declared_tests(self) -> tuple[Test, ...]:
        """What it tests, in its order; first whether there are thresholds for the document's language, where they depend on it."""
        if self.annotate:
            return ()
        tests = self.tests_of({name: getattr(self, name) for name in type(self).model_fields})
        language = [Test(NO_THRESHOLDS, None)] if self.by_language() else []
        return (*language, *(test for test in tests if is_made(test)))

    def flagged(self, reason: str, text: pa.LargeStringArray) -> Bools:
        """Texts that go for a reason that no signal tells."""
        raise NotImplementedError(f"{self.type} has no flag {reason}; one that declares one tells which texts have it")  # pragma: no cover

    def open_measures(self, assets: Assets) -> Measures:
        """Load thresholds and kernels; all signals are measured, as `annotate` has them.

        Raises:
            OperatorError: The table of thresholds has no such language or key.
        """
        name, tests, profiles = self.name or self.type, self.declared_tests(), Profiles.of(self, assets)
        annotate = self.model_copy(update={"annotate": True}).open(assets)
        limits = self._limits(tests, profiles)
        tests = self._bounded(tests, profiles)

        def measure(batch: pa.RecordBatch) -> Measured:
            found = annotate(batch).batch.column(name)
            columns = [pc.cast(found.field(place), pa.float64()).to_numpy(zero_copy_only=False) for place in range(len(self.SIGNALS))]
            profile = profiles.of_rows(batch)
            of_rows = np.where((profile == NO_PROFILE)[:, None], np.nan, limits[np.maximum(profile, 0)])
            return Measured(np.column_stack(columns), of_rows, dict(self._flags(tests, text_of(batch, assets.text_column), profile)))

        return Measures(self.SIGNALS, tests, measure)

    def _limits(self, tests: tuple[Test, ...], profiles: Profiles) -> Floats:
        """Limits by line of the thresholds and test; nan for flags and tests that are not made."""
        found = np.full((len(profiles.settings), len(tests)), np.nan)
        for line, settings in enumerate(profiles.settings):
            values = {(test.reason, test.setting): test.value for test in self.tests_of(settings)}
            for place, test in enumerate(tests):
                value = values.get((test.reason, test.setting))
                found[line, place] = np.nan if value is None else value
        return found

    def _bounded(self, tests: tuple[Test, ...], profiles: Profiles) -> tuple[Test, ...]:
        """The tests, their limits bound by what every language's line allows: no other value would be taken for the setting."""
        found = []
        lines = [{(test.reason, test.setting): test for test in self.tests_of(settings)} for settings in profiles.settings]
        for test in tests:
            same = [line[test.reason, test.setting] for line in lines if (test.reason, test.setting) in line]
            low, high = max((each.low for each in same), default=test.low), min((each.high for each in same), default=test.high)
            found.append(replace(test, low=low, high=high))
        return tuple(found)

    def _flags(self, tests: tuple[Test, ...], text: pa.LargeStringArray, profile: npt.NDArray[np.int32]) -> Iterator[tuple[int, Bools]]:
        for place, test in enumerate(tests):
            if test.signal is None:
                found = profile == NO_PROFILE if test.reason == NO_THRESHOLDS else self.flagged(test.reason, text)
                yield place, found & text.is_valid().to_numpy(zero_copy_only=False)

    def open(self, assets: Assets) -> BatchFn:
        """Load thresholds and kernels.

        Raises:
            OperatorError: The table of thresholds has no such language or key.
        """
        profiles = Profiles.of(self, assets)
        judge = self.judge(profiles)
        reasons = pa.array([*self.REASONS, NO_THRESHOLDS])
        name = self.name or self.type

        def apply(batch: pa.RecordBatch) -> Result:
            text, errors = judgeable(text_of(batch, assets.text_column))
            profile = profiles.of_rows(batch)
            judged = judge(text, np.where(profile == NO_PROFILE, 0, profile).astype(np.int32), all_signals=self._wants_signals)
            absent = pc.is_null(text).to_numpy(zero_copy_only=False)
            if judged.signals is not None:
                signals = np.where(absent[:, None], np.nan, judged.signals)
                batch = with_column(batch, name, signals_array(self.SIGNALS, signals))
            if self.annotate:
                return Result(batch, None, errors)
            if judged.text is not None:
                batch = with_column(batch, assets.text_column, judged.text)
            codes = np.where(profile == NO_PROFILE, len(self.REASONS), judged.codes.astype(np.int32) - 1)
            told = pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=absent | (codes < 0)), reasons)
            return Result(batch, told.dictionary_decode(), errors)

        return apply

    @property
    def _wants_signals(self) -> bool:
        return self.annotate or self.keep_signals


def judgeable(text: pa.LargeStringArray) -> tuple[pa.LargeStringArray, dict[int, RowError]]:
    """The texts that can be judged, null in place of the others, and an error for each of those: null texts, and such of a GiB and more."""
    errors = null_text_errors(text)
    num_bytes = pc.binary_length(text)
    if pc.max(num_bytes).as_py() is None or pc.max(num_bytes).as_py() <= MOST_BYTES:
        return text, errors
    too_long = pc.greater(num_bytes, MOST_BYTES)
    rows = np.flatnonzero(pc.fill_null(too_long, False).to_numpy(zero_copy_only=False))
    sizes = num_bytes.take(pa.array(rows)).to_pylist()
    message = "the text has {} bytes; a filter takes at most {}; split the document or drop it by its length before"
    errors |= {int(row): RowError("text_too_long", message.format(size, MOST_BYTES)) for row, size in zip(rows, sizes, strict=True)}
    return pc.if_else(too_long, pa.scalar(None, pa.large_string()), text), errors


def signals_array(signals: tuple[Signal, ...], values: Floats) -> pa.StructArray:
    """The signals of a batch as a struct column; null where a signal does not exist."""
    columns = []
    for position, signal in enumerate(signals):
        column = np.ascontiguousarray(values[:, position])
        absent = np.isnan(column)
        if pa.types.is_integer(signal.type):
            column = np.where(absent, 0, column).astype(np.int64)
        columns.append(pa.array(column, signal.type, mask=absent))
    return pa.StructArray.from_arrays(columns, names=[signal.name for signal in signals])


def threshold(value: Any) -> float:
    """A threshold as kernels take it: nan where the test is not made."""
    return float("nan") if value is None else float(value)


def declared(reason: str, signal: str, setting: str, side: Side, value: Any, **more: Any) -> Test:
    """A test by a setting's value: null makes none, and by_language leaves it to the document."""
    return Test(reason, signal, setting, side, None if value == "by_language" else threshold(value), **more)


def is_made(test: Test) -> bool:
    """Whether some document can fail it: nothing that is counted or measured here is below 0."""
    if test.value is None:
        return True
    return not math.isnan(test.value) and not (test.side == "below" and test.value <= 0)


def bound(value: Any, otherwise: float) -> float:
    """How far a limit may be moved beside another one; `otherwise` if that one is not set."""
    return float(value) if isinstance(value, int | float) and value > 0 else otherwise
