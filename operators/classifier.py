"""Judge documents by a fastText classifier: quality, domain, education. Owns the operator and how a text is made ready for a model."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.base import (
    Assets,
    BatchFn,
    BatchOperator,
    OperatorError,
    Result,
    RowError,
    null_text_errors,
    text_of,
    utf8_errors,
    with_column,
)
from operators.decision import Measured, Measures, Signal, Test, fixed_limits

if TYPE_CHECKING:
    from operators.fasttext_model import FastTextModel

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Judge = Callable[[pa.RecordBatch, pa.LargeStringArray], tuple[pa.RecordBatch, pa.Array | None]]


def prepared(text: pa.LargeStringArray, *, lowercase: bool, max_chars: int | None) -> pa.LargeStringArray:
    """Texts as a model reads them, when it is trained and when it judges. Line feeds are spaces to it, whatever is done here.

    Raises:
        ArrowInvalid: A text is not UTF-8, and its characters are to be told.
    """
    if max_chars is not None or lowercase:
        text.validate(full=True)  # of a character that is cut off, Arrow's functions would look for the rest beyond the text
    if max_chars is not None:
        text = pc.utf8_slice_codeunits(text, 0, max_chars)
    return pc.utf8_lower(text) if lowercase else text


def ready(text: pa.LargeStringArray, *, lowercase: bool, max_chars: int | None) -> tuple[pa.LargeStringArray, dict[int, RowError]]:
    """Prepared texts, null in place of those that cannot be, and an error for each of these and for each null."""
    errors = null_text_errors(text)
    try:
        return prepared(text, lowercase=lowercase, max_chars=max_chars), errors
    except pa.ArrowInvalid:
        illegible = utf8_errors(text)
    legible = np.ones(len(text), bool)
    legible[list(illegible)] = False
    text = pc.if_else(pa.array(legible), text, pa.scalar(None, text.type))
    return prepared(text, lowercase=lowercase, max_chars=max_chars), errors | illegible


class Classifier(BatchOperator):
    """Judge documents by a fastText classifier (`.bin` or `.ftz`), such as DCLM's, or one made by `shardmill train-classifier`.

    With `label` (or `labels`) the column holds that label's probability (their sum), float32. Without, it holds the likeliest label, and
    `<column>_score` its probability. With `expected` labels are numbers, such as 0 to 5 of an education score: the column holds their
    mean by probability, and `<column>_int` that rounded to a whole number within the labels' range. A document that has nothing
    in it that the model knows scores 0 and has no likeliest label.

    Bounds are inclusive, as datatrove's are. A text must be made ready as the model's training texts were (`lowercase`, `max_chars`);
    line feeds are always spaces.

    Drop reasons: `low_score` (below `min_score`), `high_score` (above `max_score`), `label` (the likeliest is not in `keep_labels`).
    """

    type: Literal["classifier"] = "classifier"
    model: str = Field(min_length=1, description="FastText classifier (.bin or .ftz), a path or URL.")
    label: str | None = Field(default=None, min_length=1, description="Label whose probability is the score, with or without `__label__`.")
    labels: list[str] | None = Field(default=None, min_length=1, description="Labels whose probabilities together are the score.")
    expected: bool = Field(default=False, description="Labels are numbers; the score is their mean, weighted by probability.")
    column: str | None = Field(default=None, min_length=1, description="Column for the result; null: the operator's name.")
    min_score: float | None = Field(
        default=None, description="Least score of documents to keep (probability 0 to 1; with `expected` in the labels' unit); null: none."
    )
    max_score: float | None = Field(default=None, description="Greatest score of documents to keep, in the same unit; null: none.")
    keep_labels: list[str] | None = Field(
        default=None, min_length=1, description="Keep documents whose likeliest label is one of these; null: any. Not with `label`."
    )
    lowercase: bool = Field(default=False, description="Turn the text into lower case first; set it as the model was trained.")
    max_chars: int | None = Field(
        default=None,
        ge=1,
        description="Read only this many characters (code points) of a text; null: all. Set it as the model was trained.",
    )
    annotate: bool = Field(default=False, description="Only add the columns; drop nothing.")

    libraries: ClassVar[tuple[str, ...]] = ("pyarrow",)
    sources: ClassVar[str] = (
        "fastText (arXiv:1607.01759) as DCLM (arXiv:2406.11794) selects by it; expected score: FineWeb-Edu (arXiv:2406.17557)"
    )

    @model_validator(mode="after")
    def _one_kind_of_score(self) -> Self:
        given = [name for name in ("label", "labels", "expected") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are different scores; give one of them")
        if given and self.keep_labels is not None:
            raise ValueError(f"keep_labels asks for the likeliest label, {given[0]} for another score; give one of them")
        for name in ("min_score", "max_score"):
            self._check_bound(name, getattr(self, name))
        if self.min_score is not None and self.max_score is not None and self.max_score < self.min_score:
            raise ValueError(f"max_score ({self.max_score}) is below min_score ({self.min_score}); no document could pass")
        return self

    def _check_bound(self, name: str, bound: float | None) -> None:
        """Refuse what no score reaches. A mean of numbers may be any number; several labels sum above 1 where a model's are independent."""
        if bound is None:
            return
        if not math.isfinite(bound):
            raise ValueError(f"{name} is {bound}; expected a number, or null for no bound")
        if not self.expected and bound < 0:
            raise ValueError(f"{name} is {bound}; a probability is never below 0")
        if not self.expected and bound > 1 and len(self.labels or ()) < 2:
            raise ValueError(f"{name} is {bound}; a probability is never above 1; for labels that are numbers set `expected: true`")

    def asset_uris(self) -> tuple[str, ...]:
        """The model."""
        return (self.model,)

    def declared_tests(self) -> tuple[Test, ...]:
        """Whether the likeliest label is one to keep, then the score."""
        if self.annotate:
            return ()
        tests = [] if self.keep_labels is None else [Test("label", None, "keep_labels")]
        least, most = (-math.inf, math.inf) if self.expected else (0.0, math.inf if len(self.labels or ()) > 1 else 1.0)
        low, high = self.min_score, self.max_score
        if low is not None:
            tests.append(Test("low_score", "score", "min_score", "below", low, low=least, high=most if high is None else high))
        if high is not None:
            tests.append(Test("high_score", "score", "max_score", "above", high, low=least if low is None else low, high=most))
        return tuple(tests)

    def open_measures(self, assets: Assets) -> Measures:
        """Load the model.

        Raises:
            OperatorError: As `open` does.
        """
        unit, doc = ("mean", "Expected value of the label.") if self.expected else ("fraction", "Probability of what the score is of.")
        tests, annotate = self.declared_tests(), self.model_copy(update={"annotate": True}).open(assets)
        is_likeliest = not (self.expected or self.label or self.labels)
        column = f"{self._column()}_score" if is_likeliest else self._column()

        def measure(batch: pa.RecordBatch) -> Measured:
            found = annotate(batch).batch
            scores = pc.cast(found.column(column), pa.float64()).to_numpy(zero_copy_only=False)
            flags = {place: self._goes_by_label(found, scores) for place, test in enumerate(tests) if test.signal is None}
            return Measured(scores[:, None], fixed_limits(tests, batch.num_rows), flags)

        return Measures((Signal("score", unit, doc, "the model"),), tests, measure)

    def _goes_by_label(self, found: pa.RecordBatch, scores: npt.NDArray[np.float64]) -> Bools:
        from operators.fasttext_model import PREFIX

        kept = pa.array([label.removeprefix(PREFIX) for label in self.keep_labels or ()], pa.string())
        is_kept = pc.is_in(found.column(self._column()), kept).to_numpy(zero_copy_only=False)
        return np.asarray(~is_kept & ~np.isnan(scores), np.bool_)

    def open(self, assets: Assets) -> BatchFn:
        """Load the model.

        Raises:
            OperatorError: The model cannot be read, or has no such label.
        """
        from operators.fasttext_model import load_fasttext

        try:
            model = load_fasttext(assets.path(self.model), self.model)
        except OperatorError as error:
            raise OperatorError(f"{self.type}: {error}") from error
        judge = self._judge(model)

        def classify(batch: pa.RecordBatch) -> Result:
            text, errors = ready(text_of(batch, assets.text_column), lowercase=self.lowercase, max_chars=self.max_chars)
            found, reasons = judge(batch, text)
            return Result(found, None if self.annotate else reasons, errors)

        return classify

    def _judge(self, model: FastTextModel) -> Judge:
        if self.expected:
            return self._judge_expected(model)
        asked = [self.label] if self.label is not None else self.labels
        return self._judge_likeliest(model) if asked is None else self._judge_chosen(model, self._places(model, asked))

    def _judge_chosen(self, model: FastTextModel, wanted: list[int]) -> Judge:
        """The probability of some labels."""

        def judge(batch: pa.RecordBatch, text: pa.LargeStringArray) -> tuple[pa.RecordBatch, pa.Array | None]:
            chosen = model.score(text, wanted=wanted).chosen
            # One after the other: a sum whose order the library chooses could depend on the batch's size.
            scores = chosen[:, 0].copy()
            for place in range(1, len(wanted)):
                scores += chosen[:, place]
            return self._with_scores(batch, self._column(), scores, text), self._reasons(scores, text)

        return judge

    def _judge_expected(self, model: FastTextModel) -> Judge:
        """The mean of labels that are numbers."""
        try:
            values = np.array([float(label) for label in model.labels])
        except ValueError as error:
            raise OperatorError(
                f"{self.type}: `expected` needs labels that are numbers; model {self.model!r} has {_listed(model.labels)}; set `label`"
            ) from error

        def judge(batch: pa.RecordBatch, text: pa.LargeStringArray) -> tuple[pa.RecordBatch, pa.Array | None]:
            chosen = model.score(text, wanted=range(len(values))).chosen.astype(np.float64)
            weighted, total = np.zeros(len(text)), np.zeros(len(text))
            for place, value in enumerate(values):
                weighted += chosen[:, place] * value
                total += chosen[:, place]
            scores = np.where(total > 0, weighted / np.where(total > 0, total, 1), 0).astype(np.float32)
            whole = np.rint(np.clip(scores, values.min(), values.max())).astype(np.int32)
            batch = self._with_scores(batch, self._column(), scores, text)
            batch = with_column(batch, f"{self._column()}_int", pa.array(whole, pa.int32(), mask=_absent(text)))
            return batch, self._reasons(scores, text)

        return judge

    def _judge_likeliest(self, model: FastTextModel) -> Judge:
        """The likeliest label."""
        names = pa.array(model.labels, pa.string())
        kept = np.ones(len(model.labels), np.bool_)
        if self.keep_labels is not None:
            kept[:] = False
            kept[self._places(model, self.keep_labels)] = True

        def judge(batch: pa.RecordBatch, text: pa.LargeStringArray) -> tuple[pa.RecordBatch, pa.Array | None]:
            found = model.score(text)
            batch = with_column(batch, self._column(), names.take(pa.array(found.best, mask=found.best < 0)))
            batch = self._with_scores(batch, f"{self._column()}_score", found.scores, text)
            is_kept = kept[np.maximum(found.best, 0)] & ((found.best >= 0) | (self.keep_labels is None))
            return batch, self._reasons(found.scores, text, is_kept)

        return judge

    def _column(self) -> str:
        return self.column or self.name or self.type

    def _places(self, model: FastTextModel, labels: list[str]) -> list[int]:
        """The numbers of labels.

        Raises:
            OperatorError: The model does not have one.
        """
        from operators.fasttext_model import PREFIX

        places = []
        for label in labels:
            plain = label.removeprefix(PREFIX)
            if plain not in model.labels:
                near = difflib.get_close_matches(plain, model.labels, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {_listed(model.labels)}"
                raise OperatorError(f"{self.type}: model {self.model!r} has no label {plain!r}; {hint}")
            places.append(model.labels.index(plain))
        return sorted(set(places))

    def _with_scores(self, batch: pa.RecordBatch, column: str, scores: Floats, text: pa.LargeStringArray) -> pa.RecordBatch:
        return with_column(batch, column, pa.array(scores, pa.float32(), mask=_absent(text)))

    def _reasons(self, scores: Floats, text: pa.LargeStringArray, is_kept: Bools | None = None) -> pa.Array | None:
        """Why documents go; a null text is an error already."""
        if self.min_score is None and self.max_score is None and self.keep_labels is None:
            return None
        reasons = np.full(len(text), None, object)
        if self.max_score is not None:
            reasons[scores.astype(np.float64) > self.max_score] = "high_score"
        if self.min_score is not None:
            reasons[scores.astype(np.float64) < self.min_score] = "low_score"
        if is_kept is not None:
            reasons[~is_kept] = "label"
        reasons[_absent(text)] = None
        return pa.array(reasons, pa.string())


def _absent(text: pa.LargeStringArray) -> Bools:
    found: Bools = text.is_null().to_numpy(zero_copy_only=False)
    return found


def _listed(labels: list[str]) -> str:
    return f"{len(labels)} labels, such as {', '.join(map(repr, labels[:6]))}"
