"""How many documents operators that remove duplicates will keep, told from a sample, which holds few of the pairs.

A sample of a fraction f of the documents holds both members of a pair with a probability of f squared: of 10 % duplicates a sample of 1 %
shows a hundredth. So the rate seen is no estimate. What is seen tells nevertheless: how many sets showed one member, two, three. Sets are
thinned twice: a row group is drawn or not, with all that it holds, and of what is read a part is looked at. Duplicates within a row group
(copies stand together in crawls) are seen with f, those in different ones with f squared. So it is told in two steps, how many different
documents a row group holds for each of its documents, and then over how many row groups each of these is spread
(pipelines/thinned_sets.py does both).

Pure arithmetic over arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipelines.intervals import clopper_pearson, product
from pipelines.sample import Sample
from pipelines.study import Estimate
from pipelines.thinned_sets import Z, sets_per_member

Ints = npt.NDArray[np.integer[Any]]
Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

INFLATION: Final = 2.0
"""Of the variance against independent sets: those of one row group come, or stay away, together."""
CENSUS_NOTE: Final = "every document of the input was compared"
NONE_NOTE: Final = "no document of the sample reached it"
PASSAGES_NOTE: Final = (
    "lines and paragraphs that the sample has once may be repeated in the rest of the input: more text than this is cut, and documents of "
    "which too little is left after that are not foreseen"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What an operator that removes duplicates keeps of the documents that reach it.

    Attributes:
        is_corrected: False if the sample holds all of the input, so that nothing was estimated.
        seen: The part of the documents looked at that it kept.
        note: How it was told.
    """

    keep_rate: Estimate
    is_corrected: bool
    seen: float
    note: str


def sets_of(num_documents: int, removed: Ints, kept: Ints) -> Int64s:
    """The set of each document, from removals: `removed[i]` went because of `kept[i]`; both are positions. Chains are joined."""
    parent = np.arange(num_documents, dtype=np.int64)
    for one, other in zip(removed.tolist(), kept.tolist(), strict=True):
        a, b = _root(parent, one), _root(parent, other)
        parent[max(a, b)] = min(a, b)
    while not (parent[parent] == parent).all():
        parent = parent[parent]
    return parent


def _root(parent: Int64s, at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = int(parent[at])
    return at


def duplicates_kept(sample: Sample, cluster: Ints, sets: Ints, before: Ints | None = None) -> Kept:
    """The keep rate over the whole input of an operator that leaves one document of each set of duplicates.

    Where another such operator came before, copies that it would remove from the whole input come to this one in a sample: their originals
    are not there. So the documents are looked at as they came to the first: the rate is that of both together, divided by the first one's.

    Args:
        sample: Whose wide documents were looked at.
        cluster: Of each wide document that reached the operator, or was removed before as a duplicate of one that did: its place among the
            design's clusters.
        sets: Of each of them: a number, the same for documents of one set, by all these operators together.
        before: The same by those before alone; None: there were none.
    """
    if not len(sets):
        return Kept(Estimate(1.0, 0.0, 1.0), not sample.wide_is_census, 1.0, NONE_NOTE)
    first = len(sets) if before is None else len(np.unique(before))
    seen = len(np.unique(sets)) / first
    if sample.wide_is_census:
        return Kept(Estimate(seen, seen, seen), is_corrected=False, seen=seen, note=CENSUS_NOTE)
    drawn = min(sample.design.rows_read / max(sample.design.rows, 1), 1.0)
    told = _of_all(sample, cluster, sets, drawn)
    if before is not None:
        told = _divided(told, _of_all(sample, cluster, before, drawn))
    bounded = Estimate(min(told.value, 1.0), max(told.low, 0.0), min(told.high, 1.0))
    return Kept(bounded, is_corrected=True, seen=seen, note=_note(len(sets), drawn * sample.wide_rate, seen))


def _of_all(sample: Sample, cluster: Ints, sets: Ints, drawn: float) -> Estimate:
    """Sets for each document of the input."""
    if drawn < 1.0:
        return _in_two_steps(cluster, sets, drawn, sample.wide_rate)
    told = sets_per_member(_sizes(sets), sample.wide_rate, INFLATION)
    return Estimate(told.value, told.low, told.high)


def _divided(whole: Estimate, part: Estimate) -> Estimate:
    """A ratio, as if the two erred by themselves: as they are told from the same documents, they err alike, and less."""
    if part.low <= 0:
        return Estimate(whole.value / max(part.value, 1e-9), 0.0, 1.0)
    return product([whole, Estimate(1 / part.value, 1 / part.high, 1 / part.low)])


def passages_kept(sample: Sample, cluster: Ints, passed: Mask) -> Kept:
    """The keep rate of an operator that cuts repeated passages out of documents and drops those of which too little is left.

    The rate seen is about the most that stays: what is repeated elsewhere in the input is cut too.

    Args:
        sample: Whose wide documents were looked at.
        cluster: Of each wide document that reached the operator.
        passed: Which of them it kept.
    """
    seen = float(passed.mean()) if len(passed) else 1.0
    if sample.wide_is_census or not len(passed):
        low, high = (seen, seen) if len(passed) else (0.0, 1.0)
        return Kept(Estimate(seen, low, high), is_corrected=False, seen=seen, note=CENSUS_NOTE if len(passed) else NONE_NOTE)
    rate = min(sample.design.rows_read / max(sample.design.rows, 1), 1.0) * sample.wide_rate
    spread = Z * _spread(cluster, cluster[passed]) * seen if passed.any() else 0.0
    high = max(min(seen + spread, 1.0), clopper_pearson(seen, len(passed))[1])
    # Each document dropped here shares its passages with others that were seen; of as many more as are not seen, as many may go.
    low = max(1.0 - min((1.0 - seen) / max(rate, 1e-9), 1.0), 0.0) if seen < 1 else clopper_pearson(seen, len(passed) * rate)[0]
    return Kept(Estimate(seen, min(low, seen), high), is_corrected=False, seen=seen, note=PASSAGES_NOTE)


def _in_two_steps(cluster: Ints, sets: Ints, drawn: float, looked_at: float) -> Estimate:
    """First within row groups, then over them. A set of a row group that is read is seen there as often as the first step tells."""
    pairs, counts = np.unique(np.stack([sets, cluster]), axis=1, return_counts=True)
    within = sets_per_member(counts.astype(np.int64), looked_at, INFLATION)
    spread = Z * _spread(cluster, pairs[1]) * within.value
    low = within.value - math.hypot(within.value - within.low, spread)
    high = within.value + math.hypot(within.high - within.value, spread)
    visible = min(len(counts) * looked_at / (within.value * len(sets)), 1.0)
    across = sets_per_member(_sizes(pairs[0]), drawn * visible, INFLATION)
    return product([Estimate(within.value, max(low, 0.0), high), Estimate(across.value, across.low, across.high)])


def _spread(cluster: Ints, of_sets: Ints) -> float:
    """Relative standard error of the sets that row groups hold for each of their documents: row groups differ in that."""
    documents = np.bincount(cluster)
    sets = np.bincount(of_sets, minlength=len(documents))[documents > 0]
    documents = documents[documents > 0]
    if len(documents) < 2:
        return 0.0
    rate = float(sets.sum() / documents.sum())
    squares = float(((sets - rate * documents) ** 2).sum()) * len(documents) / (len(documents) - 1)
    return math.sqrt(squares) / float(sets.sum())


def _sizes(sets: Ints) -> Int64s:
    """How often each set occurs."""
    return np.unique(sets, return_counts=True)[1].astype(np.int64)


def _note(num_documents: int, rate: float, seen: float) -> str:
    return (
        f"estimated from {num_documents} documents, {rate:.2%} of the input, of which it removed {1 - seen:.2%}: a sample of that size "
        f"holds both documents of a pair in {rate**2:.2g} of the cases if they stand in different row groups, so that the sizes of the "
        "sets that it shows were scaled up; the interval says how far that goes"
    )
