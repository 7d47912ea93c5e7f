"""The row accounting of a version, counted again from its side tables and footers: nothing of the run's own report is believed.

Owns the equation as a reader of the files sees it. Knows nothing of how a run counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from pipelines.checks import Checks, Problem
from pipelines.errors import shown
from pipelines.objectfile import opened_parquet
from pipelines.verify_manifest import MANIFEST, Finished
from pipelines.verify_tables import side_files

READER: Final = "read"
"""Under this name rows are quarantined that could not be read."""
BATCH_ROWS: Final = 1 << 16

Groups = Counter[tuple[str | None, str | None]]


@dataclass(slots=True)
class Counts:
    """Rows of the side tables: `dropped` by operator and reason, `quarantined` by operator and error, `duplicates` by operator.

    Attributes:
        most_removed: By operator, the largest number of documents that a row of the duplicates says were removed for one.
    """

    dropped: Groups = field(default_factory=Counter)
    quarantined: Groups = field(default_factory=Counter)
    duplicates: Groups = field(default_factory=Counter)
    most_removed: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def of(groups: Groups, operator: str) -> int:
        """Rows of one operator."""
        return sum(number for (name, _), number in groups.items() if name == operator)


def side_batches(finished: Finished, name: str, columns: Sequence[str]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows of a side table, some columns only, each batch with the path of its file."""
    for path in side_files(finished, name):
        with opened_parquet(finished.store, path) as file:
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(BATCH_ROWS, [group], columns=list(columns), use_threads=False):
                    yield path, batch.select(list(columns))


def count_tables(finished: Finished) -> Counts:
    """Count the rows of the side tables."""
    found = Counts(_grouped(finished, "dropped", ["operator", "reason"]), _grouped(finished, "quarantine", ["operator", "error"]))
    for _, batch in side_batches(finished, "duplicates", ["operator", "num_duplicates"]):
        told = [([], "count_all"), ("num_duplicates", "max")]
        for row in pa.Table.from_batches([batch]).group_by(["operator"], use_threads=False).aggregate(told).to_pylist():
            found.duplicates[row["operator"], ""] += row["count_all"]
            most = found.most_removed.get(str(row["operator"]), 0)
            found.most_removed[str(row["operator"])] = max(most, row["num_duplicates_max"] or 0)
    return found


def _grouped(finished: Finished, name: str, columns: Sequence[str]) -> Groups:
    found: Groups = Counter()
    for _, batch in side_batches(finished, name, columns):
        counted = pa.Table.from_batches([batch]).group_by(list(columns), use_threads=False).aggregate([([], "count_all")]).to_pylist()
        for row in counted:
            found[row[columns[0]], row[columns[1]]] += row["count_all"]
    return found


def check_ledger(finished: Finished, counts: Counts, rows_out: int | None, checks: Checks) -> None:
    """Check the ledger and the operators against the rows of the tables, and `rows_out`, those of the version's own shards, if known."""
    quarantined: Counter[str | None] = Counter()
    for (_, error), number in counts.quarantined.items():
        quarantined[error] += number
    dropped, odd = counts.dropped.total(), quarantined.total()
    checks.judge(
        "dropped", _dropped_problems(finished, counts.dropped), f"{dropped} dropped rows, by operator and reason, are in the table"
    )
    checks.judge("quarantined", _quarantined_problems(finished, quarantined), f"{odd} quarantined rows, by error, are in the table")
    if rows_out is None:
        checks.skip("ledger", "not checkable: the table of shards does not say which files are shards")
    else:
        proven = f"{finished.manifest['ledger']['rows_in']} rows in = {rows_out} out + {dropped} dropped + {odd} quarantined"
        checks.judge("ledger", _equation_problems(finished, rows_out, dropped, odd), proven)
    proven = "each operator's rows in are its rows out and its lost ones, and what it gives goes to the next"
    checks.judge("operators", _operator_problems(finished, counts), proven)


def _dropped_problems(finished: Finished, found: Groups) -> Iterator[Problem]:
    by_operator = finished.manifest["ledger"]["dropped"]
    said = {(name, reason): number for name, reasons in by_operator.items() for reason, number in reasons.items()}
    for key in sorted({*said, *found}, key=str):
        if said.get(key, 0) != found[key]:
            name, reason = key
            counted = f"{finished.folder}/dropped has {found[key]} such rows"
            yield Problem(MANIFEST, f"ledger.dropped.{shown(name)}.{shown(reason)} is {said.get(key, 0)}, but {counted}")


def _quarantined_problems(finished: Finished, found: Mapping[str | None, int]) -> Iterator[Problem]:
    said = finished.manifest["ledger"]["quarantined"]
    for error in sorted({*said, *found}, key=str):
        if said.get(error, 0) != found.get(error, 0):
            counted = f"{finished.folder}/quarantine has {found.get(error, 0)} such rows"
            yield Problem(MANIFEST, f"ledger.quarantined.{shown(error)} is {said.get(error, 0)}, but {counted}")


def _equation_problems(finished: Finished, rows_out: int, dropped: int, quarantined: int) -> Iterator[Problem]:
    ledger, source = finished.manifest["ledger"], finished.manifest["input"]
    if ledger["rows_in"] != rows_out + dropped + quarantined:
        lost = ledger["rows_in"] - rows_out - dropped - quarantined
        equation = f"{rows_out} in the shards of {finished.version} + {dropped} dropped + {quarantined} quarantined"
        said = f"{abs(lost)} rows are {'missing' if lost > 0 else 'too many'}"
        yield Problem(MANIFEST, f"ledger.rows_in is {ledger['rows_in']}, but the files hold {equation}: {said}")
    if ledger["rows_out"] != rows_out:
        yield Problem(MANIFEST, f"ledger.rows_out is {ledger['rows_out']}, but the shards of {finished.version} hold {rows_out} rows")
    if ledger["rows_in"] != source["rows"]:
        yield Problem(MANIFEST, f"ledger.rows_in is {ledger['rows_in']}, but input.rows is {source['rows']}")


def _operator_problems(finished: Finished, counts: Counts) -> Iterator[Problem]:
    operators: list[dict[str, Any]] = finished.manifest["operators"]
    names = [operator["name"] for operator in operators]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(MANIFEST, f"operators: {shown(name)} is there more than once; rows are counted by name")
    for table, groups, known in (("dropped", counts.dropped, {*names}), ("quarantine", counts.quarantined, {*names, READER})):
        for name in sorted({str(operator) for operator, _ in groups if operator not in known}):
            yield Problem(f"{finished.folder}/{table}", f"it has rows of an operator {shown(name)!r}, which the manifest does not have")
    ledger = finished.manifest["ledger"]
    before, arriving = "reading the input", ledger["rows_in"] - counts.of(counts.quarantined, READER)
    chains = Chains.of(finished.pipelines)
    yield from chains.problems(operators, arriving)
    if finished.pipelines:
        before, arriving = "takedown.pipelines", chains.rows_out
    for operator in operators:
        name = operator["name"]
        if operator["rows_in"] != arriving and name not in chains.rows:
            yield Problem(MANIFEST, f"operator {shown(name)}: rows_in is {operator['rows_in']}, but {before} gave {arriving}")
        lost = counts.of(counts.dropped, name) + counts.of(counts.quarantined, name)
        if operator["rows_in"] - operator["rows_out"] != lost:
            said = f"rows_in {operator['rows_in']} - rows_out {operator['rows_out']}"
            yield Problem(MANIFEST, f"operator {shown(name)}: {said} is not {lost}, its rows in the tables of dropped and quarantined rows")
        yield from _cut_problems(operator, counts.of(counts.dropped, name))
        if name not in chains.rows:
            before, arriving = f"operator {shown(name)}", operator["rows_out"]
    if ledger["rows_out"] != arriving:
        yield Problem(MANIFEST, f"ledger.rows_out is {ledger['rows_out']}, but {before} gave {arriving}")


@dataclass(slots=True)
class Chains:
    """Rows of versions that had other operators than others, or in another order (`takedown.pipelines`).

    A chain begins with rows that were read, or with what the chains before it gave that are of its versions.

    Attributes:
        rows: In and out of each operator, over all chains.
        read: Rows that chains begin with that were read.
        rows_out: What all chains gave.
        breaks: What does not follow on what.
    """

    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    read: int = 0
    rows_out: int = 0
    breaks: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, pipelines: Sequence[Mapping[str, Any]]) -> Chains:
        """Add up the chains of a manifest."""
        found, ends = cls(), list[tuple[frozenset[str], int]]()
        for chain in pipelines:
            versions = frozenset(chain["versions"])
            given = [rows for of, rows in ends if of <= versions]
            ends = [(of, rows) for of, rows in ends if not of <= versions]
            found._add(chain, sum(given) if given else None)
            ends.append((versions, chain["rows_out"]))
        found.rows_out = sum(rows for _, rows in ends)
        return found

    def _add(self, chain: Mapping[str, Any], given: int | None) -> None:
        self.read += chain["rows_in"] if given is None else 0
        before, arriving = "the chains before", chain["rows_in"] if given is None else given
        for place, rows_in, rows_out in (
            ("the chain", chain["rows_in"], chain["rows_in"]),
            *((f"operator {shown(entry['name'])}", entry["rows_in"], entry["rows_out"]) for entry in chain["operators"]),
            ("the end", chain["rows_out"], chain["rows_out"]),
        ):
            if rows_in != arriving:
                self.breaks.append(f"{', '.join(chain['versions'])}: {rows_in} rows came to {place}, but {before} gave {arriving}")
            before, arriving = place, rows_out
        for entry in chain["operators"]:
            known = self.rows.get(entry["name"], (0, 0))
            self.rows[entry["name"]] = (known[0] + entry["rows_in"], known[1] + entry["rows_out"])

    def problems(self, operators: Sequence[Mapping[str, Any]], arriving: int) -> Iterator[Problem]:
        """What does not fit; nothing where there are no chains."""
        yield from (Problem(MANIFEST, f"takedown.pipelines: {text}") for text in self.breaks)
        if self.rows and self.read != arriving:
            yield Problem(MANIFEST, f"takedown.pipelines: {self.read} rows went in, but reading the input gave {arriving}")
        told = {operator["name"]: (operator["rows_in"], operator["rows_out"]) for operator in operators}
        for name, rows in self.rows.items():
            if told.get(name) != rows:
                said = f"its rows in and out are {rows} together, but the operator's are {told.get(name)}"
                yield Problem(MANIFEST, f"takedown.pipelines: {shown(name)}: {said}")


def _cut_problems(operator: Mapping[str, Any], num_dropped: int) -> Iterator[Problem]:
    """What an operator says that it cut out of texts must be possible: it drops only documents that it cut, of one character or more."""
    cut = operator.get("removed")
    if cut is None:
        return
    ascending = (num_dropped, cut["documents"], cut["passages"], cut["chars"])
    if list(ascending) != sorted(ascending) or cut["documents"] > operator["rows_in"]:
        said = f"{cut['passages']} passages of {cut['chars']} characters out of {cut['documents']} documents"
        known = f"{operator['rows_in']} rows came in and {num_dropped} were dropped"
        yield Problem(MANIFEST, f"operator {shown(operator['name'])}: removed says {said}, which cannot be, as {known}")
