"""Keep documents in some languages. Owns language identification with the two libraries' own models; knows no storage."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from operators.base import Assets, BatchFn, BatchOperator, OperatorError, Result, null_text_errors, text_of, with_column

LABEL_PREFIX = "__label__"
HALF = 0.5

Verdict = tuple[str | None, float, bool]
"""Best language (None if the model has no opinion), its score, whether a requested language scores above the threshold."""


class LanguageFilter(BatchOperator):
    """Keep documents in one of `languages` with a score above `min_score`.

    Adds `language` (string, the most likely language as the model labels it) and `language_score` (its probability, float32 as both
    libraries compute it). The comparison is strict, as datatrove's is. Without `languages` only the best score counts.

    Without `model`, py3langid's bundled model judges (139 languages, ISO 639-1 codes, nothing to download). With the path or URL of a
    fastText model (lid.176.bin, lid.176.ftz, GlotLID …) that one does; line feeds become spaces first, and a document is kept if *any*
    requested language scores above `min_score`, which below 0.5 need not be the best one.

    Drop reasons: `language` (the best language is not a requested one), `language_score` (it is, but not by enough).
    """

    type: Literal["language_filter"] = "language_filter"
    languages: list[str] | None = Field(
        default=None, min_length=1, description="Languages to keep, as the model labels them (`en`; GlotLID: `eng_Latn`); null: any."
    )
    min_score: float = Field(default=0.65, ge=0, le=1, description="Documents need a score above this one.")
    model: str | None = Field(default=None, min_length=1, description="fastText model, a path or URL; null: py3langid's bundled model.")

    libraries: ClassVar[tuple[str, ...]] = ("py3langid", "fasttext-numpy2-wheel")
    sources: ClassVar[str] = (
        "threshold 0.65: FineWeb (arXiv:2406.17557), datatrove 0.10 LanguageFilter; models: py3langid, fastText lid.176"
    )

    def asset_uris(self) -> tuple[str, ...]:
        """The fastText model, if one is named."""
        return () if self.model is None else (self.model,)

    def open(self, assets: Assets) -> BatchFn:
        """Load the model.

        Raises:
            OperatorError: The model cannot be read, or does not know a requested language.
        """
        judge = self._py3langid() if self.model is None else self._fasttext(assets.path(self.model))

        def identify(batch: pa.RecordBatch) -> Result:
            text = text_of(batch, assets.text_column)
            errors = null_text_errors(text)
            verdicts = [(None, 0.0, True) if document is None else judge(document) for document in text.to_pylist()]
            absent = pc.is_null(text)
            languages = pa.array([verdict[0] for verdict in verdicts], pa.string())
            scores = pa.array(np.fromiter((verdict[1] for verdict in verdicts), np.float32, len(verdicts)))
            passed = pa.array([verdict[2] for verdict in verdicts], pa.bool_())
            batch = with_column(batch, "language", languages)
            batch = with_column(batch, "language_score", pc.if_else(absent, pa.scalar(None, pa.float32()), scores))
            return Result(batch, self._reasons(passed, languages), errors)

        return identify

    def _reasons(self, passed: pa.Array, languages: pa.Array) -> pa.Array:
        why: pa.Scalar | pa.Array = pa.scalar("language_score")
        if self.languages is not None:
            why = pc.if_else(pc.is_in(languages, pa.array(self.languages)), "language_score", "language")
        return pc.if_else(passed, pa.scalar(None, pa.string()), why)

    def _py3langid(self) -> Callable[[str], Verdict]:
        identifier = _bundled_model()
        self._check_known(identifier.labels, "py3langid's model")
        wanted, min_score, classify = self.languages, self.min_score, identifier.classify

        def judge(text: str) -> Verdict:
            language, score = classify(text)
            return language, score, score > min_score and (wanted is None or language in wanted)

        return judge

    def _fasttext(self, path: str) -> Callable[[str], Verdict]:
        from fasttext.FastText import _FastText as FastText

        try:
            model = FastText(path)
        except (ValueError, MemoryError, RuntimeError) as error:
            raise OperatorError(
                f"{self.type}: model {self.model!r} is not a fastText model ({error}); give the .bin or .ftz file of a trained classifier"
            ) from error
        self._check_known([label.removeprefix(LABEL_PREFIX) for label in model.labels], f"model {self.model!r}")
        wanted = None if self.languages is None else {LABEL_PREFIX + language for language in self.languages}
        min_score, predict = self.min_score, model.f.predict
        # Probabilities sum to one unless each label has its own (one-vs-all): above one half there is only the best, which is found faster.
        every = wanted is not None and (min_score < HALF or model.f.getArgs().loss.name == "ova")
        k = len(model.labels) if every else 1

        def judge(text: str) -> Verdict:
            # The line feed is the end of a sentence, that the library's own `predict` adds too.
            found: list[tuple[float, str]] = predict(text.replace("\n", " ") + "\n", k, 0.0, "strict")
            if not found:
                return None, 0.0, False  # no word of the text is in the model's vocabulary
            score, best = found[0]
            passed = any(each > min_score and (wanted is None or label in wanted) for each, label in found)
            return best.removeprefix(LABEL_PREFIX), score, passed

        return judge

    def _check_known(self, labels: list[str], model: str) -> None:
        for language in self.languages or []:
            if language not in labels:
                near = difflib.get_close_matches(language, labels, n=1) or [each for each in labels if each[:2] == language[:2]][:1]
                hint = f"did you mean {near[0]!r}?" if near else f"it knows {len(labels)}, such as {', '.join(labels[:8])}"
                raise OperatorError(f"{self.type}: {model} knows no language {language!r}; {hint}")


@cache
def _bundled_model() -> Any:
    """py3langid's identifier with probabilities; read only, half a second to load, so once a process."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
