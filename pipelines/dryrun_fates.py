"""What became of each document of a sample: where it left the pipeline and why, told from the tables that the engine's run of it left.

Owns the arithmetic of a sample's funnel: how many documents came to an operator and passed it, of all of them or by any grouping of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import identity
from pipelines.dryrun_run import SampleRun
from pipelines.errors import LedgerImbalance

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Fates:
    """Where the documents of a sample went, one entry a document in the sample's order.

    Attributes:
        names: Operators in the pipeline's order.
        left: Position of the operator that a document left at; as many as there are operators: it stayed.
        why: The reason or the error for which it left; None where it stayed.
        detail: What exactly it was dropped for, where the operator tells.
        is_quarantined: Documents that an operator could not process.
        place: The row of the table of dropped documents, or of the output, that holds the document as it was last; -1 for quarantined ones.
    """

    names: tuple[str, ...]
    left: Ints
    why: npt.NDArray[np.object_]
    detail: npt.NDArray[np.object_]
    is_quarantined: Mask
    place: Ints

    @classmethod
    def of(cls, names: Sequence[str], ran: SampleRun, rows: int) -> Fates:
        """Read them from a run of `rows` documents.

        Raises:
            LedgerImbalance: A document is in two tables, or in none.
        """
        left = np.full(rows, len(names), np.int64)
        why, detail = np.full(rows, None, object), np.full(rows, None, object)
        place = np.full(rows, -1, np.int64)
        times = np.zeros(rows, np.int64)
        is_quarantined = np.zeros(rows, np.bool_)
        for table, reason in ((ran.dropped, "reason"), (ran.quarantine, "error")):
            row = table["row"].to_numpy()
            np.add.at(times, row, 1)
            left[row] = positions(names, table["operator"])
            why[row] = table[reason].to_pylist()
            if table is ran.quarantine:
                is_quarantined[row] = True
                continue
            place[row] = np.arange(len(row))
            if "detail" in table.column_names:
                detail[row] = table["detail"].to_pylist()
        stayed = np.flatnonzero(times == 0)
        if times.max(initial=0) > 1 or len(stayed) != ran.output.num_rows:
            raise LedgerImbalance(
                f"the sample: of {rows} documents {int((times > 0).sum())} left and {ran.output.num_rows} are in the output"
            )
        place[stayed] = np.arange(len(stayed))
        return cls(tuple(names), left, why, detail, is_quarantined, place)

    @property
    def stayed(self) -> Mask:
        """Documents that went through everything."""
        return self.came(len(self.names))

    def came(self, position: int) -> Mask:
        """Documents that came to an operator."""
        return np.asarray(self.left >= position, np.bool_)

    def passed(self, position: int) -> Mask:
        """Documents that went on from it."""
        return np.asarray(self.left > position, np.bool_)

    def reasons(self, position: int) -> dict[str, int]:
        """How many an operator dropped, by reason, the most first."""
        return _counted(self.why[(self.left == position) & ~self.is_quarantined])

    def errors(self, position: int) -> dict[str, int]:
        """How many it could not process, by error, the most first."""
        return _counted(self.why[(self.left == position) & self.is_quarantined])


def _counted(words: npt.NDArray[np.object_]) -> dict[str, int]:
    return dict(sorted(Counter(map(str, words)).items(), key=lambda item: (-item[1], item[0])))


def positions(names: Sequence[str], column: pa.ChunkedArray) -> Ints:
    """Positions in the pipeline of operators that are given by name."""
    numbers = {name: position for position, name in enumerate(names)}
    return np.array([numbers[name] for name in column.to_pylist()], np.int64)


@dataclass(frozen=True)
class Removals:
    """Duplicates that one operator removed of a sample, in the sample's order.

    Attributes:
        removed: Rows of the sample.
        kept: The row that each was removed for; -1 if that is a document of an earlier run.
    """

    operator: str
    removed: Ints
    kept: Ints
    similarity: npt.NDArray[np.float32]


def removals(ran: SampleRun, rows: int, operator: str) -> Removals:
    """What a group operator removed."""
    keys = identity.doc_keys([identity.uri_prefix(ran.uri)], np.zeros(rows, np.int64), np.arange(rows))
    numbers = {key: row for row, key in enumerate(keys.to_pylist())}
    table = ran.duplicates.filter(pc.equal(ran.duplicates["operator"], operator))
    found = [np.array([numbers.get(key, -1) for key in table[name].to_pylist()], np.int64) for name in ("doc_key", "kept_doc_key")]
    order = np.argsort(found[0], kind="stable")
    similarity = table["similarity"].to_numpy().astype(np.float32)
    return Removals(operator, found[0][order], found[1][order], similarity[order])
