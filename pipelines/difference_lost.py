"""Documents that one version dropped or quarantined and the other did not, found from the side tables and the inventories alone.

Of a version that ingestions grew, the tables and inventories of all that it was added to are read. Keys are compared in passes, each with
those of a range of files, or one part of these by their hash, so that memory does not grow with the number of documents. Files that only
one version has, or that changed, are counted: rows that were read less those that were lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.difference_files import CHANGED, ONLY, SAME, Beside, beside, read_files, readable
from pipelines.difference_lineage import looked_up, versions_of
from pipelines.difference_passes import RowGroup, batches_of_groups, own_files, ranges_of, row_groups
from pipelines.errors import InputError
from pipelines.verify_documents import MIX, parts_of
from pipelines.verify_inventory import Ints, Keys, Mask, as_keys
from pipelines.verify_ledger import side_batches
from pipelines.verify_manifest import Finished

PASS_ROWS: Final = 1 << 21
"""Keys of a pass are fewer than twice as many, of both versions together."""
TABLES: Final = (("dropped", "reason"), ("quarantine", "error"))
What = Literal["dropped", "quarantined", "only_file", "not_read"]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a document is in one version and not in the other.

    Attributes:
        what: The version without it `dropped` or `quarantined` it, has not its file (`only_file`), or read fewer rows (`not_read`).
        operator: That dropped or quarantined it; else empty.
        reason: Or error; else empty.
    """

    what: What
    operator: str = ""
    reason: str = ""


@dataclass(slots=True)
class Side:
    """One version: its files beside the other's, and what is known of its lost documents so far.

    Attributes:
        lost: By file.
        lost_past: Of rows that the other version did not read, in files that are the same.
        causes: By which documents are lost, in order of appearance.
        gone_by: Documents that this version lost and the other one kept, by place in `causes`.
        samples: Of these: mixed positions, files, rows and places in `causes`.
    """

    finished: Finished
    beside: Beside
    lost: Ints
    lost_past: int = 0
    causes: dict[Cause, int] = field(default_factory=dict)
    gone_by: Counter[int] = field(default_factory=Counter)
    samples: tuple[npt.NDArray[np.uint64], Ints, Ints, Ints] = field(
        default_factory=lambda: (np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
    )

    @classmethod
    def of(cls, finished: Finished, files: Beside) -> Side:
        """Before any table was read."""
        return cls(finished, files, np.zeros(len(files.files), np.int64))

    def kept(self, state: np.int8) -> int:
        """Documents that were kept of files in this state."""
        chosen = self.beside.state == state
        return int((self.beside.files.rows - self.lost)[chosen].sum())

    @property
    def kept_past(self) -> int:
        """Documents that were kept of rows that the other version did not read, in files that are the same."""
        same = self.beside.state == SAME
        return int((self.beside.files.rows - self.beside.common)[same].sum()) - self.lost_past

    @property
    def by_cause(self) -> dict[Cause, int]:
        """Documents that this version lost and the other one kept, with what took them."""
        names = list(self.causes)
        return {names[place]: number for place, number in self.gone_by.items()}


def compare_lost(old: Finished, new: Finished, examples: int, pass_rows: int = PASS_ROWS) -> tuple[Side, Side]:
    """Compare what two versions lost.

    Raises:
        InputError: A table or an inventory cannot be read, or they contradict each other.
        NotFound: One is not in this copy.
    """
    old, new = looked_up(old), looked_up(new)
    groups = [{table: row_groups(one, table) for table, _ in TABLES} for one in (old, new)]
    ends = ranges_of([group for tables in groups for some in tables.values() for group in some], pass_rows)
    files = read_files(old, ends), read_files(new, ends)
    sides = Side.of(old, beside(*files)), Side.of(new, beside(files[1], files[0]))
    # Rows that both have are known by one number: their place among those of the old version.
    first = np.concatenate([[0], np.cumsum(sides[0].beside.common)])[:-1].astype(np.int64)
    starts = first, first[np.maximum(sides[1].beside.other, 0)] if len(first) else np.zeros(len(files[1]), np.int64)
    for number in range(len(ends) + 1):
        met = [{table: [group for group in some if group.meets(ends, number)] for table, some in tables.items()} for tables in groups]
        num_parts = max(1, sum(group.rows for tables in met for some in tables.values() for group in some) // pass_rows)
        for part in range(num_parts):
            _compare_part(sides, starts, met, _Pass(number, part, num_parts), examples)
    for side in sides:
        _prove(side)
    return sides


@dataclass(frozen=True, slots=True)
class _Pass:
    """Keys that are compared at once: of one range of files, one part of all keys by their hash."""

    number: int
    part: int
    num_parts: int


Groups = Mapping[str, Sequence[RowGroup]]
"""Row groups by the side table that they belong to."""


def _compare_part(sides: tuple[Side, Side], starts: tuple[Ints, Ints], groups: Sequence[Groups], which: _Pass, examples: int) -> None:
    found = [_lost(side, start, some, which) for side, start, some in zip(sides, starts, groups, strict=True)]
    for side, mine, other in ((sides[0], found[0], found[1]), (sides[1], found[1], found[0])):
        is_gone = ~np.isin(mine.positions, other.positions, assume_unique=True)
        side.gone_by.update(dict(enumerate(np.bincount(mine.causes[is_gone]).tolist())))
        _sample(side, mine, is_gone, examples)


@dataclass(frozen=True, slots=True)
class _Lost:
    """Lost documents that both versions have read: the positions of their rows, and where and why."""

    positions: Ints
    files: Ints
    rows: Ints
    causes: Ints


def _lost(side: Side, start: Ints, groups: Groups, which: _Pass) -> _Lost:
    """The lost documents of one pass that both versions have read; the others are counted."""
    columns = [_located(side, which, *one) for one in _part(side, groups, which)]
    files, rows, causes = (np.concatenate([np.empty(0, np.int64), *some]) for some in zip(*columns, strict=True)) if columns else _NONE
    _refuse_twice(side, files, rows)
    side.lost += np.bincount(files, minlength=len(side.lost))
    is_common = rows < side.beside.common[files]
    side.lost_past += int(((side.beside.state[files] == SAME) & ~is_common).sum())
    files, rows, causes = files[is_common], rows[is_common], causes[is_common]
    return _Lost(start[files] + rows, files, rows, causes)


_NONE: Final = (np.empty(0, np.int64),) * 3


def _located(side: Side, which: _Pass, keys: Keys, causes: Ints) -> tuple[Ints, Ints, Ints]:
    files, rows = side.beside.files.find(keys)
    if (files < 0).any():
        key = keys[np.flatnonzero(files < 0)[0]].ljust(16, b"\0").hex()
        raise InputError(f"{_folder(side)}: a lost document, {key}, is of no row that its inventory has; `shardmill verify` says more")
    mine: Mask = side.beside.files.ranges[files] == which.number
    return files[mine], rows[mine], causes[mine]


def _refuse_twice(side: Side, files: Ints, rows: Ints) -> None:
    ordered = np.sort(side.beside.files.first[files] + rows)
    if (ordered[1:] == ordered[:-1]).any():
        raise InputError(f"{_folder(side)}: a document is lost more than once; `shardmill verify` says which")


def _folder(side: Side) -> str:
    return side.finished.store.locate(side.finished.folder)


def _part(side: Side, groups: Groups, which: _Pass) -> Iterator[tuple[Keys, Ints]]:
    """Keys of lost documents that belong to one part, and the places of their causes."""
    for table, reason in TABLES:
        for batch in batches_of_groups(side.finished, groups[table], ["doc_key", "operator", reason]):
            if any(column.null_count for column in batch.columns):
                raise InputError(f"{_folder(side)}/{table}: a lost document has no key, operator or {reason}; `shardmill verify` says more")
            keys = as_keys(batch.column("doc_key"))
            mine: Mask = parts_of(keys, which.num_parts) == which.part
            causes = _causes(side, "dropped" if table == "dropped" else "quarantined", batch.column("operator"), batch.column(reason))
            yield keys[mine], causes[mine]


def lost_batches(finished: Finished, table: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows of a side table, some columns only; of all versions that it was added to as well.

    Raises:
        InputError: It cannot be read, or the manifest names a file that is not the version's.
        NotFound: It is not in this copy.
    """
    for part in versions_of(finished):
        own_files(part, table)
        with readable(finished.store.locate(f"{part.folder}/{table}")):
            yield from (batch for _, batch in side_batches(part, table, columns))


def _causes(side: Side, what: What, operators: pa.Array, reasons: pa.Array) -> Ints:
    """Places of causes; each distinct pair is looked at once."""
    first, second = operators.dictionary_encode(), reasons.dictionary_encode()
    num = max(len(second.dictionary), 1)
    pairs = first.indices.to_numpy().astype(np.int64) * num + second.indices.to_numpy()
    distinct, inverse = np.unique(pairs, return_inverse=True)
    places = []
    for pair in distinct.tolist():
        cause = Cause(what, first.dictionary[pair // num].as_py(), second.dictionary[pair % num].as_py())
        places.append(side.causes.setdefault(cause, len(side.causes)))
    return np.array(places, np.int64)[inverse]


def _sample(side: Side, mine: _Lost, is_gone: Mask, examples: int) -> None:
    """Keep the few documents whose mixed positions are smallest: spread over all, and the same however the passes are cut."""
    at = np.flatnonzero(is_gone)
    mixed = _mixed(mine.positions[at])
    order = np.argsort(mixed, kind="stable")[:examples]
    chosen = (mixed[order], *(column[at[order]] for column in (mine.files, mine.rows, mine.causes)))
    joined = [np.concatenate(pair) for pair in zip(side.samples, chosen, strict=True)]
    best = np.argsort(joined[0], kind="stable")[:examples]
    side.samples = (joined[0][best], joined[1][best], joined[2][best], joined[3][best])


def _mixed(positions: Ints) -> npt.NDArray[np.uint64]:
    mixed = positions.astype(np.uint64)
    for factor in MIX:
        mixed = (mixed ^ (mixed >> np.uint64(33))) * factor
    return mixed


def _prove(side: Side) -> None:
    """What was read less what was lost is what the manifest says was kept: else these tables are not all of the version."""
    kept = int(side.beside.files.rows.sum() - side.lost.sum())
    said = side.finished.manifest["output"]["rows"]
    if kept != said:
        raise InputError(
            f"{_folder(side)}: {kept:,} documents were read and not lost, but {side.finished.version} has {said:,}: "
            "documents of other runs are among them, or a table is damaged"
        )


def changed_files(sides: tuple[Side, Side]) -> tuple[int, int, int]:
    """Files whose content changed, and the documents kept of them before and after."""
    return int((sides[0].beside.state == CHANGED).sum()), sides[0].kept(CHANGED), sides[1].kept(CHANGED)


def causes_of_absence(without: Side, having: Side) -> list[tuple[Cause, int]]:
    """Documents that one version has and the other is without, by cause, the most first."""
    counts = {
        **without.by_cause,
        Cause("only_file"): having.kept(ONLY),
        Cause("not_read"): having.kept_past,
    }
    found = [(cause, number) for cause, number in counts.items() if number]
    return sorted(found, key=lambda item: (-item[1], item[0].what, item[0].operator, item[0].reason))
