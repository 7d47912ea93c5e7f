"""What is done to a batch of documents. `AnyOperator` is the literal, alphabetical union of every operator that a pipeline may name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from operators.bad_words import BadWords
from operators.base import (
    Assets,
    BatchFn,
    BatchOperator,
    GroupOperator,
    KeysFn,
    Learned,
    LearningOperator,
    LessonsFn,
    Operator,
    OperatorError,
    Result,
    RowError,
    Verdicts,
)
from operators.c4 import C4Paragraph, C4Quality
from operators.classifier import Classifier
from operators.datatrove import Datatrove
from operators.decontaminate import Decontaminate
from operators.exact_dedup import ExactDedup
from operators.extract_html import ExtractHtml
from operators.fineweb import FineWebQuality
from operators.gopher import GopherQuality, GopherRepetition
from operators.language import LanguageFilter
from operators.length import LengthFilter
from operators.line_dedup import LineDedup
from operators.minhash import MinhashDedup
from operators.normalize import NormalizeText
from operators.paragraph_dedup import ParagraphDedup
from operators.pii import PiiRedact
from operators.sample import Sample
from operators.tokenize import Tokenize
from operators.train_tokenizer import TrainTokenizer
from operators.url import UrlFilter
from operators.url_dedup import UrlDedup
from operators.where import FilterWhere

AnyOperator = Annotated[
    BadWords
    | C4Paragraph
    | C4Quality
    | Classifier
    | Datatrove
    | Decontaminate
    | ExactDedup
    | ExtractHtml
    | FilterWhere
    | FineWebQuality
    | GopherQuality
    | GopherRepetition
    | LanguageFilter
    | LengthFilter
    | LineDedup
    | MinhashDedup
    | NormalizeText
    | ParagraphDedup
    | PiiRedact
    | Sample
    | Tokenize
    | TrainTokenizer
    | UrlDedup
    | UrlFilter,
    Field(discriminator="type"),
]

__all__ = [
    "BY_TYPE",
    "AnyOperator",
    "Assets",
    "BadWords",
    "BatchFn",
    "BatchOperator",
    "C4Paragraph",
    "C4Quality",
    "Classifier",
    "Datatrove",
    "Decontaminate",
    "ExactDedup",
    "ExtractHtml",
    "FilterWhere",
    "FineWebQuality",
    "GopherQuality",
    "GopherRepetition",
    "GroupOperator",
    "KeysFn",
    "LanguageFilter",
    "Learned",
    "LearningOperator",
    "LengthFilter",
    "LessonsFn",
    "LineDedup",
    "MinhashDedup",
    "NormalizeText",
    "Operator",
    "OperatorError",
    "ParagraphDedup",
    "PiiRedact",
    "Result",
    "RowError",
    "Sample",
    "Tokenize",
    "TrainTokenizer",
    "UrlDedup",
    "UrlFilter",
    "Verdicts",
]

BY_TYPE: dict[str, type[Operator]] = {
    "bad_words": BadWords,
    "c4_paragraph": C4Paragraph,
    "c4_quality": C4Quality,
    "classifier": Classifier,
    "datatrove": Datatrove,
    "decontaminate": Decontaminate,
    "exact_dedup": ExactDedup,
    "extract_html": ExtractHtml,
    "filter_where": FilterWhere,
    "fineweb_quality": FineWebQuality,
    "gopher_quality": GopherQuality,
    "gopher_repetition": GopherRepetition,
    "language_filter": LanguageFilter,
    "length_filter": LengthFilter,
    "line_dedup": LineDedup,
    "minhash_dedup": MinhashDedup,
    "normalize_text": NormalizeText,
    "paragraph_dedup": ParagraphDedup,
    "pii_redact": PiiRedact,
    "sample": Sample,
    "tokenize": Tokenize,
    "train_tokenizer": TrainTokenizer,
    "url_dedup": UrlDedup,
    "url_filter": UrlFilter,
}
"""Every operator by its `type`."""
