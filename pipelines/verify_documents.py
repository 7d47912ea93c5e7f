"""The documents that a version lost: each once, and duplicates beside a document that their operator kept.

Owns what is proven by comparing keys with each other. Memory is bounded whatever the number of rows: keys are compared in passes over the
tables, each with the keys of one part of all hash values. That costs reading the key columns again for each four million rows, and no disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.checks import MAX_PROBLEMS, Checks, Problem
from pipelines.errors import shown
from pipelines.identity import DOC_KEY
from pipelines.verify_history import EarlierFiles
from pipelines.verify_inventory import Ints, Keys, Mask, SavedInventory, as_keys, hexadecimal
from pipelines.verify_ledger import READER, Counts, side_batches
from pipelines.verify_manifest import Finished

PASS_ROWS: Final = 1 << 22
KEPT_TYPES: Final = (DOC_KEY, pa.string(), pa.int64(), pa.int64())
MIX: Final = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))


# --- duplicates, row by row


def check_duplicates(
    finished: Finished, counts: Counts, inventory: SavedInventory | None, earlier: EarlierFiles | None, checks: Checks
) -> None:
    """What each row of the duplicates says is possible, and each operator that removes duplicates has as many of them as it dropped.

    `inventory` and `earlier`, the files of earlier runs: None if they could not be read.
    """
    problems = chain(_uncounted(finished, counts), _impossible(finished, inventory, earlier))
    proven = f"{counts.duplicates.total()} duplicates, each with another document that was kept, and a similarity"
    checks.judge("duplicates", problems, proven)


def removes_duplicates(counts: Counts, operator: str) -> bool:
    """Whether an operator compares documents: it has duplicates, or drops with the reason that it has some."""
    reasons = [str(reason) for name, reason in counts.dropped if name == operator]
    return counts.of(counts.duplicates, operator) > 0 or any(reason == "duplicate" or reason.endswith("_duplicate") for reason in reasons)


def _uncounted(finished: Finished, counts: Counts) -> Iterator[Problem]:
    for name in sorted({str(name) for name, _ in (*counts.dropped, *counts.duplicates)}):
        dropped, told = counts.of(counts.dropped, name), counts.of(counts.duplicates, name)
        if removes_duplicates(counts, name) and dropped != told:
            message = f"it has {told} rows of operator {shown(name)!r}, which dropped {dropped} documents; expected one for each"
            yield Problem(f"{finished.folder}/duplicates", message)


def _impossible(finished: Finished, inventory: SavedInventory | None, earlier: EarlierFiles | None) -> Iterator[Problem]:
    columns = ["doc_key", "kept_doc_key", "operator", "similarity", "num_duplicates"]
    for path, batch in side_batches(finished, "duplicates", columns):
        null = [name for name in columns if batch.column(name).null_count]
        if null:
            yield Problem(path, f"{', '.join(null)} of a duplicate is null")
            continue
        keys, kept = as_keys(batch.column("doc_key")), as_keys(batch.column("kept_doc_key"))
        similarity = batch.column("similarity").to_numpy()
        reasons = [
            (keys == kept, "names itself as the kept document"),
            (~((similarity >= 0) & (similarity <= 1)), "has a similarity that is not between 0 and 1"),
            (batch.column("num_duplicates").to_numpy() < 1, "says that fewer than 1 document was removed for its kept one"),
        ]
        if inventory is not None and earlier is not None:
            also = ", nor in what earlier runs have read" if len(earlier.prefixes) else ""
            reasons.append((~(inventory.has(kept) | earlier.has(kept)), f"names a kept document that is not in the inventory{also}"))
        for mask, what in reasons:
            for position in np.flatnonzero(mask)[: MAX_PROBLEMS + 1].tolist():
                yield Problem(path, f"the duplicate {hexadecimal(keys[position])} {what} ({hexadecimal(kept[position])})")


# --- keys, all of them against each other


def check_keys(finished: Finished, counts: Counts, checks: Checks) -> None:
    """No document is lost twice; every duplicate was dropped by its operator; its kept one had reached that operator and was kept by it."""
    lost: list[Problem] = []
    told: list[Problem] = []
    total = counts.dropped.total() + counts.quarantined.total() + 2 * counts.duplicates.total()
    num_passes = max(1, -(-total // PASS_ROWS))
    for number in range(num_passes):
        part = _Part(finished, number, num_passes)
        lost += part.repeated()[: MAX_PROBLEMS + 1]
        told += part.told_problems()[: MAX_PROBLEMS + 1]
        if min(len(lost), len(told)) > MAX_PROBLEMS:
            break
    checks.judge("doc_keys", lost, f"{counts.dropped.total() + counts.quarantined.total()} lost documents, each once")
    proven = f"{counts.duplicates.total()} duplicates were dropped by their operator, which kept the documents that they name"
    checks.judge("kept documents", told, proven)


class _Part:
    """The keys whose hash falls into one part of all values: lost documents, duplicates, and kept documents."""

    def __init__(self, finished: Finished, number: int, num_passes: int) -> None:
        self.finished = finished
        self.names = [operator["name"] for operator in finished.manifest["operators"]]
        self._later = later_operators(self.names, finished.pipelines)
        self._number = number
        self._num_passes = num_passes
        dropped, quarantined = self._keys("dropped"), self._keys("quarantine")
        lost, operators = (np.concatenate(pair) for pair in zip(dropped, quarantined, strict=True))
        is_dropped = np.arange(len(lost)) < len(dropped[0])
        order = np.argsort(lost, kind="stable")
        self.lost: Keys = lost[order]
        self.operators: Ints = operators[order]
        self.is_dropped: Mask = is_dropped[order]

    def _batches(self, table: str, column: str, *more: str) -> Iterator[pa.RecordBatch]:
        """Rows of a table whose key belongs to this part: the key, the operator, and more columns."""
        for _, batch in side_batches(self.finished, table, [column, "operator", *more]):
            chosen = batch.filter(pc.is_valid(batch.column(column)))
            yield chosen.filter(pa.array(parts_of(as_keys(chosen.column(column)), self._num_passes) == self._number))

    def _keys(self, table: str) -> tuple[Keys, Ints]:
        """The documents of a table that belong to this part, and the positions of their operators."""
        keys, operators = [np.empty(0, "S16")], [np.empty(0, np.int64)]
        for batch in self._batches(table, "doc_key"):
            keys.append(as_keys(batch.column("doc_key")))
            operators.append(self._positions(batch.column("operator")))
        return np.concatenate(keys), np.concatenate(operators)

    def _kept(self) -> tuple[Keys, Ints, Ints, Ints]:
        """Kept documents that belong to this part, with operator and num_duplicates, and how many rows say so.

        Counted batch by batch: a million copies of one page name the same kept document.
        """
        names = ["kept_doc_key", "operator", "num_duplicates"]
        found = pa.table({name: pa.array([], kind) for name, kind in zip([*names, "rows"], KEPT_TYPES, strict=True)})
        pieces = [found]
        for batch in self._batches("duplicates", "kept_doc_key", "num_duplicates"):
            counted = pa.Table.from_batches([batch]).group_by(names, use_threads=False).aggregate([([], "count_all")])
            pieces.append(counted.select([*names, "count_all"]).rename_columns(found.column_names))
            if sum(piece.num_rows for piece in pieces) > PASS_ROWS:
                pieces = [_summed(pieces)]
        found = _summed(pieces).combine_chunks()
        columns = [found.column(name).combine_chunks() for name in found.column_names]
        said, rows = (pc.fill_null(column, 0).to_numpy() for column in columns[2:])
        return as_keys(columns[0]), self._positions(columns[1]), said, rows

    def _positions(self, operators: pa.Array) -> Ints:
        """Places of operators in the pipeline: -1 is reading, -2 one that the manifest does not have."""
        place = pc.index_in(operators, value_set=pa.array(self.names, pa.string()))
        other = pc.if_else(pc.fill_null(pc.equal(operators, READER), False), -1, -2)
        positions: Ints = pc.coalesce(place, pc.cast(other, pa.int32())).to_numpy(zero_copy_only=False).astype(np.int64)
        return positions

    def _name(self, position: int) -> str:
        return shown(self.names[position]) if position >= 0 else ("reading" if position == -1 else "an unknown operator")

    def repeated(self) -> list[Problem]:
        """Documents that are lost more than once."""
        again = np.flatnonzero(self.lost[1:] == self.lost[:-1])[: MAX_PROBLEMS + 1].tolist()
        return [Problem(self._table(at), self._twice(at)) for at in again]

    def _table(self, position: int) -> str:
        return f"{self.finished.folder}/{'dropped' if self.is_dropped[position] else 'quarantine'}"

    def _lost_in(self, position: int) -> str:
        return f"{self._table(position)} (by {self._name(int(self.operators[position]))})"

    def _twice(self, at: int) -> str:
        return f"the document {hexadecimal(self.lost[at])} is lost more than once: in {self._lost_in(at)} and {self._lost_in(at + 1)}"

    def told_problems(self) -> list[Problem]:
        """Duplicates that were not dropped so, kept documents that were not kept, and numbers that are wrong."""
        told = [*self._not_dropped(*self._keys("duplicates"))]
        kept, operators, said, rows = self._kept()
        return [*told, *self._not_kept(kept, operators), *self._miscounted(kept, operators, said, rows)]

    def _find(self, keys: Keys) -> tuple[Ints, Mask]:
        """Positions of keys among the lost ones, and whether they are there."""
        if not len(self.lost):
            return np.zeros(len(keys), np.int64), np.zeros(len(keys), bool)
        position = np.minimum(np.searchsorted(self.lost, keys), len(self.lost) - 1)
        return position, np.asarray(self.lost[position] == keys, bool)

    def _not_dropped(self, keys: Keys, operators: Ints) -> Iterator[Problem]:
        folder = f"{self.finished.folder}/duplicates"
        position, is_lost = self._find(keys)
        right = is_lost.copy()
        right[is_lost] = self.is_dropped[position[is_lost]] & (self.operators[position[is_lost]] == operators[is_lost])
        for at in np.flatnonzero(~right)[:MAX_PROBLEMS].tolist():
            where = f"{self._lost_in(position[at])} has it" if is_lost[at] else "no table has it"
            name = self._name(int(operators[at]))
            yield Problem(folder, f"the duplicate {hexadecimal(keys[at])} is not among the documents that {name} dropped; {where}")
        ordered = np.sort(keys)
        for at in np.flatnonzero(ordered[1:] == ordered[:-1])[:MAX_PROBLEMS].tolist():
            yield Problem(folder, f"the duplicate {hexadecimal(ordered[at])} is there more than once")

    def _not_kept(self, kept: Keys, operators: Ints) -> Iterator[Problem]:
        position, is_lost = self._find(kept)
        # A kept document may go later, by an operator after the one that kept it.
        is_wrong = ~self._later[operators[is_lost], self.operators[position[is_lost]]]
        for at in np.flatnonzero(is_lost)[is_wrong][: MAX_PROBLEMS + 1].tolist():
            keeper = self._name(int(operators[at]))
            message = f"a duplicate of {keeper} names {hexadecimal(kept[at])} as kept, but {self._lost_in(position[at])} has it"
            yield Problem(f"{self.finished.folder}/duplicates", message)

    def _miscounted(self, kept: Keys, operators: Ints, said: Ints, rows: Ints) -> Iterator[Problem]:
        if not len(kept):
            return
        order = np.lexsort((said, operators, kept))
        kept, operators, said, rows = kept[order], operators[order], said[order], rows[order]
        differs = (kept[1:] != kept[:-1]) | (operators[1:] != operators[:-1])
        runs = self.finished.runs
        if runs > 1:  # each counted its own; those that counted alike cannot be told apart
            differs |= said[1:] != said[:-1]
        starts = np.flatnonzero(np.r_[True, differs])
        totals = np.repeat(np.add.reduceat(rows, starts), np.diff(np.r_[starts, len(kept)]))
        wrong = said != totals if runs == 1 else (totals % np.maximum(said, 1) != 0) | (totals > said * runs)
        for at in np.flatnonzero(wrong)[: MAX_PROBLEMS + 1].tolist():
            named = f"{totals[at]} duplicates of {self._name(int(operators[at]))} name it"
            message = f"num_duplicates of {hexadecimal(kept[at])} is {said[at]}, but {named}"
            yield Problem(f"{self.finished.folder}/duplicates", message)


def later_operators(names: Sequence[str], pipelines: Sequence[Mapping[str, Any]]) -> Mask:
    """Which operators (columns) may get documents that others (rows) gave; the last two of each are unknown ones, and reading."""
    places = np.r_[np.arange(len(names)), -2, -1]
    later: Mask = places[None, :] > places[:, None]
    known = {name: place for place, name in enumerate(names)}
    chains = [(set(one["versions"]), [known[entry["name"]] for entry in one["operators"] if entry["name"] in known]) for one in pipelines]
    inside = sorted({place for _, one in chains for place in one})
    later[np.ix_(inside, inside)] = False
    for number, (versions, mine) in enumerate(chains):
        for at, place in enumerate(mine):
            later[place, mine[at + 1 :]] = True
        for others, before in chains[:number]:
            if others <= versions:
                later[np.ix_(before, mine)] = True
    return later


def _summed(pieces: Sequence[pa.Table]) -> pa.Table:
    """Tables of kept documents as one, each combination once, with the sum of its rows."""
    joined = pa.concat_tables(pieces)
    names = joined.column_names
    return joined.group_by(names[:3], use_threads=False).aggregate([("rows", "sum")]).select([*names[:3], "rows_sum"]).rename_columns(names)


def parts_of(keys: Keys, num_parts: int) -> Ints:
    """Which part each key belongs to, by a hash of it (MurmurHash3's finalizer): keys of one file differ in few bits."""
    words = np.ascontiguousarray(keys).view("<u8").reshape(-1, 2)
    mixed = words[:, 0] ^ (words[:, 1] * MIX[0])
    for factor in MIX:
        mixed ^= mixed >> np.uint64(33)
        mixed *= factor
    parts: Ints = ((mixed >> np.uint64(33)) % np.uint64(num_parts)).astype(np.int64)
    return parts
