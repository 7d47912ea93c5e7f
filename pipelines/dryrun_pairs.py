"""Duplicates of a sample beside the documents that were kept for them, with what differs. Which ones is drawn by the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from operators.base import GroupOperator, Operator
from pipelines.dryrun_fates import Ints, removals
from pipelines.dryrun_texts import Origins, Texts
from pipelines.study import Excerpt, Pair
from pipelines.text_differences import Differing, differences


def pairs(operators: Sequence[Operator], texts: Texts, origins: Origins, order: Ints, most: int) -> Iterator[Pair]:
    """At most so many pairs of each operator that compares documents, those whose removed one comes first in an order."""
    for operator in operators:
        if not isinstance(operator, GroupOperator):
            continue
        name = str(operator.name)
        found = removals(texts.ran, texts.documents.num_rows, name)
        known = np.flatnonzero(found.kept >= 0)
        for at in known[np.argsort(order[found.removed[known]], kind="stable")][:most].tolist():
            removed, kept = int(found.removed[at]), int(found.kept[at])
            shown = differences(texts.last(removed), texts.last(kept))
            similarity = float(found.similarity[at])
            documents = (_excerpt(origins, row, side) for row, side in zip((removed, kept), shown, strict=True))
            yield Pair(name, operator.reason, None if np.isnan(similarity) else similarity, *documents)


def _excerpt(origins: Origins, row: int, side: Differing) -> Excerpt:
    return Excerpt(
        id=origins.ids[row],
        uri=origins.uri(row),
        row=int(origins.row[row]),
        text=side.text,
        num_chars=side.num_chars,
        first_char=side.first_char,
        marks=side.marks,
    )
