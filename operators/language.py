"""Keep documents in some languages. Owns the language filter; models are in langid_model.py and fasttext_model.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from operators.base import Assets, BatchFn, BatchOperator, OperatorError, Result, null_text_errors, text_of, with_column
from operators.decision import Floats, Measured, Measures, Signal, Test
from operators.language_scores import Labels, least_scores, score_table

Ints = npt.NDArray[np.int32]
Verdicts = tuple[Ints, npt.NDArray[np.float32], npt.NDArray[np.bool_]]
"""By document: the likeliest label, -1 for none; its score; whether a wanted label's score is high enough."""
Judge = Callable[[pa.LargeStringArray, Ints], Verdicts]


SCORE = Signal(
    "language_score",
    "fraction",
    "Probability of the likeliest language; with a fastText model and `languages`, of the one of these that is closest to its threshold.",
    "the model",
)

Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class LanguageFilter(BatchOperator):
    """Keep documents in one of `languages` with a score above `min_score`, or above their own language's in `min_scores` or `thresholds`.

    Adds `language` (string, the most likely language) and `language_score` (its probability, float32). Comparisons are strict, as
    datatrove's are. Without `languages` only the score of the best one counts.

    Without `model`, py3langid's bundled model judges (140 languages, nothing to download). With the path or URL of a fastText model
    (lid.176.bin, lid.176.ftz, GlotLID …) that one does; line feeds become spaces first, and a document is kept if *any* requested language
    scores above its threshold, which below 0.5 need not be the best one. Labels and scores are the libraries' own, scores within 1e-4.

    `labels: glotlid` writes ISO 639-3 codes and the script that most of the document's letters are in (`eng_Latn`, `cmn_Hani`), so that
    any model's labels fit tables such as FineWeb-2's; a model whose labels are of that style keeps them. Languages may be given in any
    style (`en`, `eng`, `eng_Latn`); without a script one stands for the language in all its scripts.

    Drop reasons: `language` (the best language is not a requested one), `language_score` (it is, but not by enough).
    """

    type: Literal["language_filter"] = "language_filter"
    languages: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Languages to keep, as the model labels them or in ISO 639 codes (`en`, `eng_Latn`); null: any.",
    )
    min_score: float = Field(default=0.65, ge=0, le=1, description="Documents need a score above this one (0 to 1); default: FineWeb's.")
    min_scores: dict[str, Score] = Field(
        default_factory=dict, description="Scores that documents in single languages need instead, by language; they win over `thresholds`."
    )
    thresholds: str | None = Field(
        default=None,
        min_length=1,
        description="Table of the scores that documents in single languages need instead, path or URL: JSON {label: score}, CSV "
        "label,score, or a folder or tar archive of FineWeb-2's YAML files (`language_score`). Languages that it lacks need `min_score`.",
    )
    model: str | None = Field(default=None, min_length=1, description="FastText model, a path or URL; null: py3langid's bundled model.")
    labels: Literal["model", "glotlid"] = Field(
        default="model", description="How languages are written: as the model labels them, or ISO 639-3 code and script (`eng_Latn`)."
    )
    annotate: bool = Field(default=False, description="Only add the columns; drop nothing.")

    libraries: ClassVar[tuple[str, ...]] = ("py3langid",)
    sources: ClassVar[str] = (
        "threshold 0.65: FineWeb (arXiv:2406.17557), datatrove 0.10 LanguageFilter; by language: FineWeb-2 (arXiv:2506.20920); "
        "models: py3langid 0.4, fastText lid.176, GlotLID"
    )

    def asset_uris(self) -> tuple[str, ...]:
        """The fastText model and the table, if they are named."""
        return tuple(uri for uri in (self.model, self.thresholds) if uri is not None)

    def declared_tests(self) -> tuple[Test, ...]:
        """Whether the language is a requested one, then its score. With a fastText model any requested one may pass: both are scores."""
        if self.annotate:
            return ()
        value = None if self.min_scores or self.thresholds is not None else self.min_score
        score = Test("language_score", SCORE.name, "min_score", "below", value, is_inclusive=True, high=1)
        if self.languages is None:
            return (score,)
        return (Test("language", None, "languages") if self.model is None else replace(score, reason="language"), score)

    def open_measures(self, assets: Assets) -> Measures:
        """Load the model.

        Raises:
            OperatorError: As `open` does.
        """
        known, judge = self._open_model(assets)
        requested, least = self._requested(known), self._least(known, assets)
        find_kinds = _script_finder() if known.by_script else _one_kind
        closest = None if self.model is None or self.languages is None else self._closest(assets, self.model, least)
        tests = self.declared_tests()

        def measure(batch: pa.RecordBatch) -> Measured:
            text = text_of(batch, assets.text_column)
            kinds, absent = find_kinds(text), text.is_null().to_numpy(zero_copy_only=False)
            best, scores, _ = judge(text, kinds)
            is_requested = requested[kinds, np.maximum(best, 0)] & (best >= 0)
            found, limits = scores.astype(np.float64), least[kinds, np.maximum(best, 0)]
            if closest is not None:
                found, limits = closest(text, kinds)
            # Of a language that is not requested no score is asked, except where another one of the same text may pass.
            made = {"language_score": is_requested | (self.languages is None), "language": ~is_requested}
            columns = [np.where(made[test.reason] & (test.signal is not None), limits, np.nan) for test in tests]
            flags = {place: ~is_requested & ~absent for place, test in enumerate(tests) if test.signal is None}
            of_rows = np.column_stack(columns) if columns else np.zeros((len(text), 0))
            return Measured(np.where(absent, np.nan, found)[:, None], of_rows, flags)

        return Measures((SCORE,), tests, measure)

    def _closest(self, assets: Assets, model: str, least: Floats) -> Callable[[pa.LargeStringArray, Ints], tuple[Floats, Floats]]:
        """What gives of each text the score of the requested language that has most of its threshold, and that threshold."""
        from operators.fasttext_model import load_fasttext

        classifier = load_fasttext(assets.path(model), model)
        wanted = np.flatnonzero(np.isfinite(least).any(axis=0))

        def measure(text: pa.LargeStringArray, kinds: Ints) -> tuple[Floats, Floats]:
            scores = classifier.score(text, wanted=wanted.tolist()).chosen.astype(np.float64)
            limits = least[kinds][:, wanted]
            with np.errstate(divide="ignore", invalid="ignore"):
                shares = np.where(scores > 0, scores / limits, 0.0)
            rows, places = np.arange(len(text)), shares.argmax(axis=1)
            return scores[rows, places], limits[rows, places]

        return measure

    def open(self, assets: Assets) -> BatchFn:
        """Load the model.

        Raises:
            OperatorError: The model or the table cannot be read, the model does not know a requested language, or `min_scores` has one
                that is not requested.
        """
        known, judge = self._open_model(assets)
        requested = self._requested(known)
        names = pa.array(known.names(), pa.string())
        find_kinds = _script_finder() if known.by_script else _one_kind

        def identify(batch: pa.RecordBatch) -> Result:
            text = text_of(batch, assets.text_column)
            kinds = find_kinds(text)
            best, scores, passed = judge(text, kinds)
            places = pa.array(best + kinds * len(known.labels), mask=best < 0)
            batch = with_column(batch, "language", names.take(places))
            absent = text.is_null().to_numpy(zero_copy_only=False)
            batch = with_column(batch, "language_score", pa.array(scores, pa.float32(), mask=absent))
            is_requested = requested[kinds, np.maximum(best, 0)] & (best >= 0)
            reasons = None if self.annotate else self._reasons(passed | absent, is_requested)
            return Result(batch, reasons, null_text_errors(text))

        return identify

    def _reasons(self, passed: npt.NDArray[np.bool_], is_requested: npt.NDArray[np.bool_]) -> pa.Array:
        why: pa.Scalar | pa.Array = pa.scalar("language_score")
        if self.languages is not None:
            why = pc.if_else(pa.array(is_requested), "language_score", "language")
        return pc.if_else(pa.array(passed), pa.scalar(None, pa.string()), why)

    def _open_model(self, assets: Assets) -> tuple[Labels, Judge]:
        by_script = self.labels == "glotlid"
        if self.model is None:
            from operators.langid_model import bundled_model

            model = bundled_model()
            known = Labels(model.labels, by_script=by_script)
            return known, _judge_best(model.identify, self._least(known, assets))
        from operators.fasttext_model import load_fasttext

        try:
            classifier = load_fasttext(assets.path(self.model), self.model)
        except OperatorError as error:
            raise OperatorError(f"{self.type}: {error}") from error
        known = Labels(classifier.labels, by_script=by_script)
        least = self._least(known, assets)
        if self.languages is None:

            def identify(text: pa.LargeStringArray) -> tuple[Ints, npt.NDArray[np.float32]]:
                found = classifier.score(text)
                return found.best, found.scores

            return known, _judge_best(identify, least)

        def judge(text: pa.LargeStringArray, kinds: Ints) -> Verdicts:
            found = classifier.score(text, least, kinds)
            return found.best, found.scores, found.passed

        return known, judge

    def _who(self) -> str:
        return "py3langid's model" if self.model is None else f"model {self.model!r}"

    def _requested(self, known: Labels) -> npt.NDArray[np.bool_]:
        """By kind and label, whether it is requested.

        Raises:
            OperatorError: The model does not know a language.
        """
        if self.languages is None:
            return np.ones((known.num_kinds, len(known.labels)), np.bool_)
        found = np.zeros((known.num_kinds, len(known.labels)), np.bool_)
        for language in self.languages:
            found |= self._matching(known, language)
        return found

    def _matching(self, known: Labels, language: str) -> npt.NDArray[np.bool_]:
        found = known.matching(language)
        if not found.any():
            raise OperatorError(f"{self.type}: {self._who()} knows no language {language!r}; {known.nearest(language)}")
        return found

    def _least(self, known: Labels, assets: Assets) -> npt.NDArray[np.float64]:
        """By kind and label, the score to be above; inf for what is not requested."""
        requested = self._requested(known)
        for language in self.min_scores:
            if not (requested & self._matching(known, language)).any():
                raise OperatorError(
                    f"{self.type}: min_scores has {language!r}, which `languages` does not request ({', '.join(self.languages or ())}); "
                    "add it there, or leave it out here"
                )
        tables = [] if self.thresholds is None else [score_table(assets, self.thresholds, self.type)]
        return np.where(requested, least_scores(known, self.min_score, [*tables, self.min_scores]), np.inf)


def _judge_best(identify: Callable[[pa.LargeStringArray], tuple[Ints, npt.NDArray[np.float32]]], least: npt.NDArray[np.float64]) -> Judge:
    """Judge by the likeliest label alone."""

    def judge(text: pa.LargeStringArray, kinds: Ints) -> Verdicts:
        best, scores = identify(text)
        passed = (scores.astype(np.float64) > least[kinds, np.maximum(best, 0)]) & (best >= 0)
        return best, scores, passed

    return judge


def _one_kind(text: pa.LargeStringArray) -> Ints:
    return np.zeros(len(text), np.int32)


def _script_finder() -> Callable[[pa.LargeStringArray], Ints]:
    """The function that finds the script of each text."""
    from operators.kernels.buffers import text_buffers
    from operators.kernels.script_names import SCRIPTS
    from operators.kernels.scripts import main_scripts, scripts

    known = scripts()

    def find(text: pa.LargeStringArray) -> Ints:
        offsets, data = text_buffers(text)
        found = np.zeros(len(text), np.int32)
        main_scripts(offsets, data, known, np.zeros(len(SCRIPTS), np.int64), found)
        return found

    return find
