"""What the report of a version shows beside its manifest: documents to read, duplicates beside what was kept, signals, work, quarantine.

Owns the bounds, and that nothing of it fails a run: what cannot be shown is a note on the page. The choice of documents depends on the
version's files alone. No text of a document is read where `samples` is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

from pipelines.chain import bounded
from pipelines.commit import Part
from pipelines.redaction import redact_uri
from pipelines.replay import Replay
from pipelines.shown_documents import Groups, Shown, dropped_examples, kept_example
from pipelines.shown_kept import Shards
from pipelines.shown_pairs import pairs_of
from pipelines.shown_rows import Chosen, Row, choose, some_batches
from pipelines.shown_signals import Signals, declares_tests, study_signals
from pipelines.shown_texts import Budget, InputTexts, told_of
from pipelines.storage import Sources, Store
from pipelines.study import Example, Pair, QuarantinedRow, ReportData
from pipelines.text_edits import seen_sentence
from pipelines.tombstones import TAKEDOWN
from pipelines.work_tally import WorkTally

T = TypeVar("T")
MAX_GROUPS: Final = 40
"""Reasons, and errors, that examples are shown of: those with most documents."""
SETS: Final = 8
"""Times as many removed duplicates are looked at as are shown, so that they are not all of one large set."""
MAX_SIZES: Final = 200
MAX_SIZE_ROWS: Final = 10_000_000
MAX_SIZE_FILES: Final = 32
MAX_MESSAGE_CHARS: Final = 500


@dataclass(frozen=True)
class Origin:
    """Where the documents of a version came from, and through what.

    Attributes:
        sources: Where the input is read.
        texts: The input.
        replay: The operators, for showing documents as these saw them; None: as they came in.
        earlier: The inputs of the versions that this one adds to, for documents of them that duplicates were removed for.
        seed: `execution.seed`.
    """

    sources: Sources
    texts: InputTexts
    replay: Replay | None = None
    earlier: Callable[[], Iterator[InputTexts]] = lambda: iter(())
    seed: int = 0


def report_data(
    store: Store,
    manifest: Mapping[str, Any],
    shards: Sequence[Part],
    origin: Origin | None = None,
    *,
    samples: int,
    works: WorkTally | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> ReportData:
    """Collect what a report shows; never raises an error, but says in `notes` what is missing.

    Args:
        store: The output.
        manifest: Of the version.
        shards: Of the version, whose documents may be shown.
        origin: None: only kept documents are shown, and sizes of sets of duplicates.
        samples: Documents shown for each reason; 0: no text of any document is read.
        works: What the work of the run took.
        tell: Told what went wrong.
    """
    return _Collection(store, manifest, shards, origin, samples, tell).collect(works)


@dataclass
class _Collection:
    """The collecting for one report."""

    store: Store
    manifest: Mapping[str, Any]
    shards: Sequence[Part]
    origin: Origin | None
    samples: int
    tell: Callable[[str], None]
    notes: list[str] = field(default_factory=list)

    def collect(self, works: WorkTally | None) -> ReportData:
        examples, pairs, as_read = self._guarded("documents", self._documents) or ((), (), set())
        signals = self._guarded("signals", self._signals) or Signals()
        sizes = self._guarded("sizes of sets of duplicates", self._sizes) or {}
        quarantined = self._guarded("quarantined rows", self._quarantined) or ()
        if works is not None and works.earlier:
            self.notes.append(
                f"{works.earlier} pieces of work were committed by an earlier start of the run, or by another run: how often they were "
                "tried is not known"
            )
        return ReportData(
            examples=examples,
            pairs=pairs,
            edits=self._edits({*(one.operator for one in examples), *(one.operator for one in pairs)}, as_read),
            histograms=signals.histograms,
            thresholds=signals.thresholds,
            studied=signals.studied,
            component_sizes=sizes,
            works=() if works is None else works.works(),
            work_totals=() if works is None else works.work_totals(),
            quarantined=quarantined,
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def _guarded(self, what: str, collect: Callable[[], T]) -> T | None:
        """What is collected, or None and a note. A run that has come so far must not fail for its report."""
        try:
            return collect()
        except Exception as error:  # noqa: BLE001  whatever it is: the version is made, and a person reads the note
            self.notes.append(f"{what} are not shown: {told_of(error)}")
            self.tell(f"the report: {what} are not shown: {type(error).__name__}: {bounded(error)}")
            return None

    # --- documents

    @property
    def _config(self) -> Mapping[str, Any]:
        config: Mapping[str, Any] = self.manifest["config"]
        return config

    def _files(self, table: str) -> list[Mapping[str, Any]]:
        return list(self.manifest["tables"][table]["files"]) if self.manifest["tables"][table]["rows"] else []

    def _edits(self, names: Collection[str | None], as_read: Collection[str]) -> dict[str, str]:
        """How texts are shown, for the operators whose documents are."""
        operators = self.manifest["operators"]
        told = {
            str(entry["name"]): seen_sentence(operators, entry["name"], is_replayed=entry["name"] not in as_read)
            for entry in operators
            if entry["name"] in names
        }
        return {name: sentence for name, sentence in told.items() if sentence is not None}

    def _documents(self) -> tuple[tuple[Example, ...], tuple[Pair, ...], set[str]]:
        """Documents, pairs, and the operators whose documents are as they were read."""
        if self.samples == 0:
            return (), (), set()
        shards = self._shards()
        kept = self._guarded("kept documents", lambda: tuple(map(kept_example, shards.sample(self.samples)))) or ()
        if self.origin is None:
            return kept, (), set()
        shown = Shown(self.store, self.origin.texts, self.origin.replay, self._config["input"]["text_column"], Budget())
        files = self._files("duplicates")
        columns = ["id", "kept_doc_key", "kept_id", "similarity"]
        removed = of_many_sets(choose(self.store, files, ["operator"], columns, SETS * self.samples), self.samples)
        duplicating = {name for (name,) in removed.spread}
        dropped = self._dropped(duplicating)
        carried = [row for rows in dropped.spread.values() for row in rows] if self._config["output"].get("dropped") else []
        wide, twins = self._worth_showing(dropped, dropped.spread, duplicating), removed.spread
        here = {row.doc_key for row in carried}
        if shown.is_too_much([key for key in (*_keys(wide), *_keys(twins)) if key not in here]):
            wide, twins = self._worth_showing(dropped, dropped.near, duplicating), removed.near
            self.notes.append(
                "the documents shown are the first ones of a few files: chosen from all over the input they would take too long to read"
            )
        shown.gather(wide, twins, carried)
        examples = dropped_examples(shown, wide)
        pairs = pairs_of(shown, twins, self._reasons(), shards, self.origin.earlier)
        self.notes += [*shown.notes(), *shown.budget.notes()]
        return (*kept, *examples), pairs, shown.as_read

    def _shards(self) -> Shards:
        config = self._config["input"]
        ids = config["id_column"]
        if self.origin is not None and self.origin.texts.has_made_ids:
            ids = None
        return Shards(self.store, self.shards, config["text_column"], ids, [entry["name"] for entry in self.manifest["operators"]])

    def _dropped(self, duplicating: Collection[str]) -> Chosen:
        """Rows of dropped documents by operator and reason, never of those that were taken out."""
        found = choose(
            self.store, self._files("dropped"), ["operator", "reason"], ["id", "uri", "row", "detail"], self.samples, skip={TAKEDOWN}
        )
        if found.seen < found.rows:
            self.notes.append(f"the dropped documents shown are chosen from {found.seen} of {found.rows}")
        unseen = [
            f"{name}: {reason}"
            for name, reasons in self.manifest["ledger"]["dropped"].items()
            for reason in reasons
            if name not in {*duplicating, TAKEDOWN} and (name, reason) not in found.spread
        ]
        if unseen:
            self.notes.append(f"among those looked at was none for {', '.join(unseen[:5])}{' …' if unseen[5:] else ''}")
        return found

    def _worth_showing(self, dropped: Chosen, rows: Groups, duplicating: Collection[str]) -> Groups:
        """The groups with most documents; of removed duplicates pairs are shown instead."""
        counts = self.manifest["ledger"]["dropped"]
        groups = [group for group in rows if group[0] not in duplicating]
        ranked = sorted(groups, key=lambda group: (-counts.get(group[0], {}).get(group[1], 0), group))
        if len(ranked) > MAX_GROUPS and rows is dropped.spread:
            self.notes.append(f"documents are shown of the {MAX_GROUPS} reasons with most documents, of {len(ranked)}")
        return {group: rows[group] for group in ranked[:MAX_GROUPS]}

    def _reasons(self) -> dict[str, str]:
        """The reason under which each operator dropped documents: those that remove duplicates have one."""
        return {name: next(iter(reasons)) for name, reasons in self.manifest["ledger"]["dropped"].items() if reasons}

    # --- the rest

    def _signals(self) -> Signals:
        if self.origin is None or self.origin.replay is None or not declares_tests(self.origin.replay):
            return Signals()
        if "worker_died" in self.manifest["ledger"]["quarantined"]:
            self.notes.append("signals are not shown: a row killed its workers, and a sample might have it")
            return Signals()
        origin = self.origin
        return study_signals(origin.texts, origin.sources, self.origin.replay, origin.seed, self.notes.append)

    def _sizes(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """Documents of a set, the kept one counted, and how many sets of so many there are."""
        files = self._files("duplicates")
        rows: dict[str, dict[int, int]] = {}
        seen = 0
        for _, _, batch in some_batches(self.store, files, ["operator", "num_duplicates"], MAX_SIZE_ROWS, MAX_SIZE_FILES):
            seen += batch.num_rows
            coded = batch.column("operator").dictionary_encode()
            codes, numbers = coded.indices.to_numpy(), batch.column("num_duplicates").to_numpy()
            for code, name in enumerate(coded.dictionary.to_pylist()):
                for number, count in zip(*(one.tolist() for one in np.unique(numbers[codes == code], return_counts=True)), strict=True):
                    of_name = rows.setdefault(name, {})
                    of_name[number] = of_name.get(number, 0) + count
        total = self.manifest["tables"]["duplicates"]["rows"]
        if seen < total:
            self.notes.append(f"sizes of sets of duplicates are estimated from {seen} of {total} removed documents")
        return {name: sizes(of_name, total / seen) for name, of_name in sorted(rows.items())}

    def _quarantined(self) -> tuple[QuarantinedRow, ...]:
        files = self._files("quarantine") if self.origin is not None else []
        if not files:
            return ()
        found = choose(self.store, files, ["operator", "error"], ["id", "uri", "row", "message"], max(self.samples, 1))
        if found.seen < found.rows:
            self.notes.append(f"the quarantined rows shown are of {found.seen} of {found.rows} that were looked at")
        return tuple(
            QuarantinedRow(
                id=row.values["id"],
                uri=redact_uri(row.values["uri"]),
                row=row.values["row"],
                operator=operator,
                error=error,
                message=str(row.values["message"])[:MAX_MESSAGE_CHARS] if self.samples else "",
            )
            for (operator, error), rows in list(found.spread.items())[:MAX_GROUPS]
            for row in rows
        )


def of_many_sets(chosen: Chosen, most: int) -> Chosen:
    """The first removed documents of each operator, one of each set of duplicates before a second one of any."""

    def some(rows: Sequence[Row]) -> list[Row]:
        first = list({row.values["kept_doc_key"]: row for row in reversed(rows)}.values())[::-1]
        ranked = [*(row for row in rows if row in first), *(row for row in rows if row not in first)]
        return ranked[:most]

    spread, near = ({group: some(rows) for group, rows in found.items()} for found in (chosen.spread, chosen.near))
    return Chosen(spread, near, chosen.seen, chosen.rows)


def sizes(removed: Mapping[int, int], scale: float = 1.0) -> tuple[tuple[int, int], ...]:
    """Sets of duplicates by how many documents each has, from the removed documents by how many were removed for the same one.

    Beyond `MAX_SIZES` different sizes, those that begin with the same two digits are one.
    """
    found: dict[int, float] = {}
    for number, count in removed.items():
        documents = number + 1
        if len(removed) > MAX_SIZES:
            unit = 10 ** max(len(str(documents)) - 2, 0)
            documents = documents // unit * unit
        found[documents] = found.get(documents, 0.0) + count * scale / max(number, 1)
    return tuple((documents, max(1, round(sets))) for documents, sets in sorted(found.items()))


def _keys(chosen: Mapping[tuple[str, ...], Sequence[Any]]) -> Iterator[bytes]:
    for rows in chosen.values():
        for row in rows:
            yield row.doc_key
            if "kept_doc_key" in row.values:
                yield row.values["kept_doc_key"]
