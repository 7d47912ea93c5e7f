"""Documents of a report with their texts: gathered from the tables that carry them or read again from the input, and made into excerpts.

Owns what is held of each: a bounded part of its text as the operator saw it that dropped it, and what that operator measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pyarrow as pa

from operators.base import BatchOperator
from operators.decision import Measures
from operators.places import explanation, open_places
from pipelines.columns import is_text
from pipelines.excerpts import excerpt, to_marks
from pipelines.redaction import redact_uri
from pipelines.replay import CannotReplay, Replay
from pipelines.rows import CARRIED_PREFIX, DROPPED
from pipelines.shown_kept import Kept, as_text
from pipelines.shown_rows import Row, side_file
from pipelines.shown_texts import MAX_BYTES, Budget, Found, InputTexts
from pipelines.storage import Store
from pipelines.study import Example, Excerpt
from pipelines.threshold_study import signals_by_row

HELD_CHARS: Final = 200_000
"""Of a text, in which offending places and differences are looked for."""
EXCERPT_CHARS: Final = 900
MAX_DETAIL_CHARS: Final = 300
LANGUAGE: Final = "language"
"""The column that language_filter adds."""

Find = Callable[..., Any]
Groups = Mapping[tuple[str, ...], Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Text:
    """A document as it is held.

    Attributes:
        uri: As the inventory has it; None where only the output is known.
        text: Its first `HELD_CHARS` characters.
        num_chars: Of the whole text.
        language: As an operator before found it, if one did.
    """

    uri: str | None
    row: int | None
    text: str
    num_chars: int
    signals: Mapping[str, float | None] = field(default_factory=dict)
    language: str | None = None


@dataclass
class Shown:
    """The documents that a report shows.

    Attributes:
        texts: By the operator that dropped them, or another for them, and their doc_key.
        as_read: Operators whose documents are shown as they were read, not as they came to them.
    """

    store: Store
    inputs: InputTexts
    replay: Replay | None
    text_column: str
    budget: Budget
    texts: dict[tuple[str, bytes], Text] = field(default_factory=dict)
    as_read: set[str] = field(default_factory=set)
    _notes: dict[str, None] = field(default_factory=dict)
    _measures: dict[str, Measures | None] = field(default_factory=dict)
    _finds: dict[str, Find | None] = field(default_factory=dict)

    def is_too_much(self, doc_keys: Sequence[bytes]) -> bool:
        """Whether reading these documents again would cost more than a report may."""
        return self.inputs.cost(doc_keys) > MAX_BYTES

    def gather(self, dropped: Groups, twins: Groups, carried: Sequence[Row]) -> None:
        """Find the texts of documents.

        Args:
            dropped: By operator and reason.
            twins: Removed duplicates by operator, which name their kept ones.
            carried: Rows of the table of dropped documents, where it has the input's columns.
        """
        wanted: dict[bytes, dict[str, None]] = {}
        for operator, doc_key in _in_turns(dropped, twins):
            wanted.setdefault(doc_key, {})[operator] = None
        here = [row for row in carried if row.values["operator"] in wanted.get(row.doc_key, ())]
        for row, batch in self._carried(here):
            self._hold(row.values["operator"], Found((row.doc_key,), row.values["uri"], (row.values["row"],), batch))
        self.inputs.read(
            [key for key, operators in wanted.items() if any((operator, key) not in self.texts for operator in operators)],
            self.budget,
            lambda found: self.take(found, wanted),
        )

    def take(self, found: Found, wanted: Mapping[bytes, Collection[str]]) -> None:
        """Keep documents that were read for the operators that they are wanted for."""
        for operator in dict.fromkeys(operator for key in found.doc_keys for operator in wanted[key]):
            keys = enumerate(found.doc_keys)
            self.hold(operator, found.take([at for at, key in keys if operator in wanted[key] and (operator, key) not in self.texts]))

    def before(self, operator: str, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A document as it came to an operator; as it was read where that cannot be told."""
        if self.replay is None:
            self.as_read.add(operator)
            return batch
        try:
            return self.replay.before(operator, batch)
        except CannotReplay as error:
            self.as_read.add(operator)
            self.tell(f"documents that {operator} dropped are shown as they were read: {error}")
            return batch

    def hold(self, operator: str, found: Found) -> None:
        """Keep documents that were read, as they came to an operator."""
        if found.rows:
            self._hold(operator, replace(found, batch=self.before(operator, found.batch)))

    def _hold(self, operator: str, found: Found) -> None:
        batch = found.batch
        if batch.schema.get_field_index(self.text_column) < 0:
            self.tell(f"texts of documents that {operator} dropped are not shown: the input has no column {self.text_column!r}")
            return
        texts, signals = batch.column(self.text_column), self._signals(operator, batch)
        languages = batch.column(LANGUAGE) if batch.schema.get_field_index(LANGUAGE) >= 0 else None
        told = [None] * len(texts) if languages is None or not is_text(languages.type) else languages.to_pylist()
        for at, (key, row) in enumerate(zip(found.doc_keys, found.rows, strict=True)):
            text = as_text(texts.slice(at, 1))
            self.texts[operator, key] = Text(found.uri, row, text[:HELD_CHARS], len(text), signals[at], told[at])

    def _carried(self, rows: Sequence[Row]) -> Iterator[tuple[Row, pa.RecordBatch]]:
        """The input's columns of rows of the table of dropped documents, as far as there is room to read them."""
        paths = sorted({row.path for row in rows})
        for path in paths:
            mine = {row.place: row for row in rows if row.path == path}
            with side_file(self.store, {"path": path, "bytes": MAX_BYTES}) as reader:
                names = carried_names(reader.schema_arrow.names)
                first = 0
                for group in range(reader.num_row_groups):
                    facts = reader.metadata.row_group(group)
                    here = [place for place in mine if first <= place < first + facts.num_rows]
                    if here and names and self.budget.takes(facts.total_byte_size):
                        table = reader.read_row_group(group, columns=list(names), use_threads=False).select(list(names))
                        table = table.rename_columns(list(names.values()))
                        for place in here:
                            yield mine[place], _row(table, place - first)
                    first += facts.num_rows

    # --- what operators say

    def _signals(self, operator: str, batch: pa.RecordBatch) -> list[Mapping[str, float | None]]:
        try:
            measures = self._opened(self._measures, operator, lambda one, assets: one.open_measures(assets))
            if measures is not None:
                measured = measures.measure(batch)
                return [signals_by_row(measures, measured, operator, row) for row in range(batch.num_rows)]
        except Exception as error:  # noqa: BLE001  a document is shown without measurements
            self.tell(f"measurements of {operator} are not shown: {type(error).__name__}")
        return [{}] * batch.num_rows

    def _opened(self, known: dict[str, Any], name: str, opening: Callable[[BatchOperator, Any], Any]) -> Any:
        operator = None if self.replay is None else self.replay.operator(name)
        if name not in known:
            known[name] = None
            known[name] = None if operator is None or self.replay is None else opening(operator, self.replay.assets)
        return known[name]

    def excerpt(self, document_id: str | None, held: Text, marks: Sequence[Any] = ()) -> Excerpt:
        """A part of a document, around the first of some places."""
        first, shown, marked = excerpt(held.text, marks, EXCERPT_CHARS)
        uri = None if held.uri is None else redact_uri(held.uri)
        return Excerpt(document_id, uri, held.row, shown, held.num_chars, first, tuple(marked), dict(held.signals))

    def example(self, operator: str, reason: str, row: Row) -> Example | None:
        """A dropped document with the places that it was dropped for; None if its text is not known."""
        held = self.texts.get((operator, row.doc_key))
        if held is None:
            return None
        detail = row.values.get("detail")
        try:
            find = self._opened(self._finds, operator, open_places)
            places = () if find is None else to_marks(find(reason, detail, held.text, held.language))
            known = None if self.replay is None else self.replay.operator(operator)
            told = detail if known is None else explanation(known, reason, _plain(held.signals), detail)
        except Exception as error:  # noqa: BLE001  a document is shown without its places
            self.tell(f"places in documents that {operator} dropped are not shown: {type(error).__name__}")
            places, told = (), detail
        shown = self.excerpt(row.values.get("id"), held, places)
        return Example(operator, reason, None if told is None else str(told)[:MAX_DETAIL_CHARS], shown)

    def tell(self, note: str) -> None:
        """Remember a note."""
        self._notes[note] = None

    def notes(self) -> list[str]:
        """What could not be shown of them."""
        return list(self._notes)


def dropped_examples(shown: Shown, dropped: Groups) -> tuple[Example, ...]:
    """Dropped documents to read, by operator and reason."""
    made = (shown.example(operator, reason, row) for (operator, reason), rows in dropped.items() for row in rows)
    return tuple(example for example in made if example is not None)


def kept_example(kept: Kept) -> Example:
    """A kept document to read: its beginning."""
    return Example(None, None, None, Excerpt(kept.id, None, None, kept.text[:EXCERPT_CHARS], len(kept.text), 0, (), dict(kept.signals)))


def carried_names(columns: Sequence[str]) -> dict[str, str]:
    """The columns of a table of dropped documents that are the input's, with their names there."""
    own = [*DROPPED.names, *(["detail"] if list(columns[len(DROPPED.names) : len(DROPPED.names) + 1]) == ["detail"] else [])]
    named = {}
    for name in columns[len(own) :]:
        plain = name
        while plain.startswith(CARRIED_PREFIX) and plain.removeprefix(CARRIED_PREFIX) in own:
            plain = plain.removeprefix(CARRIED_PREFIX)
        named[name] = plain
    return named


def _plain(signals: Mapping[str, float | None]) -> dict[str, float | None]:
    """Signals by their own names."""
    return {name.rpartition(".")[2]: value for name, value in signals.items()}


def _row(table: pa.Table, row: int) -> pa.RecordBatch:
    one = table.slice(row, 1).combine_chunks()
    return pa.RecordBatch.from_arrays([column.chunk(0) for column in one.columns], schema=one.schema)


def _in_turns(dropped: Groups, twins: Groups) -> Iterator[tuple[str, bytes]]:
    """Documents with the operators that they are shown for: the first of every group, then the second ones, so that each has some."""
    every = [*dropped.items(), *twins.items()]
    for rank in range(max((len(rows) for _, rows in every), default=0)):
        for (operator, *_), rows in every:
            if rank < len(rows):
                yield operator, rows[rank].doc_key
                if "kept_doc_key" in rows[rank].values:
                    yield operator, rows[rank].values["kept_doc_key"]
