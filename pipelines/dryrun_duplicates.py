"""How many documents operators that compare them will keep: judged by the engine among as many documents as a dry run can hold.

Owns the run of these documents, which ends at the last such operator. What a sample hides of duplicates is told by duplicate_estimate.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from operators.base import GroupOperator, Operator
from operators.datatrove import Datatrove
from operators.extract_html import ExtractHtml
from operators.passages import PassageOperator
from pipelines.config import PipelineConfig
from pipelines.dryrun_estimates import Corrected
from pipelines.dryrun_examples import ranks
from pipelines.dryrun_fates import Fates, Ints, removals
from pipelines.dryrun_ground import Ground
from pipelines.dryrun_pairs import pairs
from pipelines.dryrun_run import run_sample
from pipelines.dryrun_texts import Texts
from pipelines.duplicate_estimate import duplicates_kept, passages_kept, sets_of
from pipelines.intervals import clopper_pearson, product
from pipelines.sampling import WIDE_BYTES, Bounds
from pipelines.study import Estimate, Pair

SLOW_BYTES: Final = 8 << 20
"""Documents that are looked at for duplicates where operators come first that take a hundred times as long as the others."""


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What was found out of operators that compare documents.

    Attributes:
        kept: Their keep rates, by name.
        pairs: Removed documents beside those kept for them.
    """

    kept: Mapping[str, Corrected] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()


def bounds_for(config: PipelineConfig) -> Bounds:
    """How much is read of an input and looked at for duplicates."""
    return Bounds(wide_bytes=SLOW_BYTES if any(map(_is_slow, _up_to_last(config))) else WIDE_BYTES)


def _is_slow(operator: Operator) -> bool:
    """Whether it may take seconds for a megabyte; of a user's own operator nobody knows."""
    return isinstance(operator, Datatrove | ExtractHtml) or ":" in operator.type


def _up_to_last(config: PipelineConfig) -> tuple[Operator, ...]:
    """The operators up to the last one that compares documents; none if there is no such one."""
    compares = [position for position, operator in enumerate(config.operators) if isinstance(operator, GroupOperator)]
    return config.operators[: compares[-1] + 1] if compares else ()


def find_duplicates(ground: Ground, seed: int, most: int) -> Duplicates:
    """Send what was read beside the sample through the pipeline, as far as documents are compared.

    Args:
        ground: Of the dry run.
        seed: Draws the pairs that are shown.
        most: How many of them for an operator.

    Raises:
        ShardmillError: What would stop the real run, too.
    """
    operators = _up_to_last(ground.config)
    if not operators or ground.sample.design.is_census:  # then the sample itself tells
        return Duplicates()
    output = ground.config.output.model_copy(update={"columns": None, "token_shards": None, "source_column": None, "language_column": None})
    config = ground.config.model_copy(update={"operators": operators, "output": output})
    wide = ground.sample.wide
    documents = ground.table(wide)
    with run_sample(config, ground.prepared, documents) as ran:
        fates = Fates.of([str(operator.name) for operator in operators], ran, len(wide))
        texts = Texts(documents, config.input.text_column, ran, fates)
        order = ranks(seed, ground.doc_keys(wide).to_pylist())
        kept = {
            str(operator.name): _kept(ground, operator, position, texts)
            for position, operator in enumerate(operators)
            if isinstance(operator, GroupOperator)
        }
        return Duplicates(kept, tuple(pairs(operators, texts, ground.origins(wide), order, most)))


def _kept(ground: Ground, operator: GroupOperator, position: int, texts: Texts) -> Corrected:
    fates, sample = texts.fates, ground.sample
    came = np.flatnonzero(fates.came(position))
    if sample.wide_is_census or isinstance(operator, PassageOperator):
        cut = passages_kept(sample, sample.wide.cluster[came], fates.passed(position)[came])
        return Corrected(cut.keep_rate, cut.note, is_estimate=not sample.wide_is_census)
    found = removals(texts.ran, len(sample.wide), str(operator.name))
    known = found.kept >= 0
    news = np.setdiff1d(came, found.removed[~known])
    earlier = _earlier(ground, position, texts, news)
    every = np.union1d(news, earlier[0])
    copies, originals = _among(every, earlier[0]), _among(every, earlier[1])
    removed, kept = _among(every, found.removed[known]), _among(every, found.kept[known])
    sets = sets_of(len(every), np.concatenate([copies, removed]), np.concatenate([originals, kept]))
    before = sets_of(len(every), copies, originals) if len(copies) else None
    told = duplicates_kept(sample, sample.wide.cluster[every], sets, before)
    keeps = told.keep_rate
    if len(news) < len(came):  # every document is compared with all of earlier runs: of these a sample hides none
        new = len(news) / len(came)
        keeps = product([Estimate(new, *clopper_pearson(new, len(came))), keeps])
    return Corrected(keeps, told.note, is_estimate=told.is_corrected)


def _earlier(ground: Ground, position: int, texts: Texts, news: Ints) -> tuple[Ints, Ints]:
    """Documents that operators before one removed as duplicates of what came to it, and of which: whatever removed them in between."""
    kept_for: dict[int, int] = {}
    for operator in ground.config.operators[:position]:
        if isinstance(operator, GroupOperator) and not isinstance(operator, PassageOperator):
            found = removals(texts.ran, len(ground.sample.wide), str(operator.name))
            pairs_found = zip(found.removed.tolist(), found.kept.tolist(), strict=True)
            kept_for |= {removed: kept for removed, kept in pairs_found if kept >= 0}
    came = set(news.tolist())
    ends = {}
    for removed in kept_for:
        end = removed
        while end in kept_for:
            end = kept_for[end]
        if end in came and removed not in came:
            ends[removed] = end
    return np.array(list(ends), np.int64), np.array(list(ends.values()), np.int64)


def _among(came: Ints, rows: Ints) -> Ints:
    """Places of documents among those that came to an operator."""
    return np.searchsorted(came, rows).astype(np.int64)
