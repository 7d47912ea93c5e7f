"""The documents that `inspect` shows: those that a version kept, and those that it lost, as plain values, one after the other.

Owns what is told of a document, and where it is taken from. Knows nothing of terminals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from operators.expression import ExpressionError, parse
from pipelines.dataset import shard_table
from pipelines.difference_passes import own_files
from pipelines.difference_versions import Opened
from pipelines.dropped_texts import NO_ROW, DroppedTexts, InputText
from pipelines.errors import ConfigError, Purged
from pipelines.identity import hexadecimal, plain_ids
from pipelines.inspect_reasons import Reasons
from pipelines.inspect_rows import Condition, Files, Picked, Wanted, check, picked, schema_of
from pipelines.inspect_values import text_of, value_of
from pipelines.rows import CARRIED_PREFIX
from pipelines.study import Mark
from pipelines.unit import MADE_ID
from pipelines.verify_manifest import Finished
from pipelines.withheld_texts import WITHHELD, Withheld

Lost = Literal["dropped", "quarantine"]
REASON: Final[Mapping[str, str]] = {"dropped": "reason", "quarantine": "error"}
DETAIL: Final[Mapping[str, str]] = {"dropped": "detail", "quarantine": "message"}
OWN: Final[Mapping[str, frozenset[str]]] = {
    "dropped": frozenset({"doc_key", "id", "uri", "row", "operator", "reason", "detail"}),
    "quarantine": frozenset({"doc_key", "id", "uri", "row", "row_group", "operator", "error", "message"}),
}
"""Columns of the side tables that are told by name."""
LOST_ROWS: Final = 4096
"""Rows of a side table without texts that are looked at together: neighbours in the input are read in one pass."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document that is shown.

    Attributes:
        state: What became of it.
        path: Where it stands: a shard of the version, or an input file.
        row: Row there.
        reason: That it was dropped for; of a quarantined one the error.
        detail: What exactly; of a quarantined one the message.
        why: In a sentence what was measured and what was wanted, with the detail.
        text: All of it; None where it cannot be read, or there is no such column.
        problem: Why it cannot be read.
        note: How the text is another one than was judged; None if it is not.
        columns: Other columns, in order.
        marks: Places in the text.
        similarity: To the one that was kept instead.
        kept: That one.
    """

    state: Literal["kept", "dropped", "quarantined"]
    id: str | None
    doc_key: str | None
    path: str | None
    row: int | None
    operator: str | None = None
    reason: str | None = None
    detail: str | None = None
    why: str | None = None
    text: str | None = None
    problem: str | None = None
    note: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    similarity: float | None = None
    kept: Document | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Which documents, and what of them.

    Attributes:
        where: A condition in the language of `filter_where`.
        id: Only the documents with this id, or doc_key.
        columns: Only these.
        sample: So many, spread over the version.
    """

    where: str | None = None
    id: str | None = None
    columns: tuple[str, ...] | None = None
    sample: int | None = None
    seed: int = 0

    def tests(self) -> tuple[Condition, ...]:
        """What every document must pass.

        Raises:
            ConfigError: The condition is not of the language.
        """
        if self.where is None:
            return ()
        try:
            condition = parse(self.where)
        except ExpressionError as error:
            raise ConfigError(f"--where: {error}") from None
        return (Condition(condition.columns, condition),)


def equals(column: str, value: str) -> Condition:
    """The test that a column, as a string, is this value."""
    return Condition((column,), lambda batch: pc.equal(_strings(batch.column(column)), value))


def _strings(column: pa.Array) -> pa.Array:
    if pa.types.is_fixed_size_binary(column.type) and column.type.byte_width == 16:  # a doc_key
        return hexadecimal(column)
    return pa.nulls(len(column), pa.string()) if pa.types.is_nested(column.type) else plain_ids(column)


def check_not_purged(opened: Opened) -> None:
    """Check that a version still has its files.

    Raises:
        Purged: It was purged.
    """
    store, version = opened.finished.store, opened.finished.version
    if store.exists(f"versions/{version}/purged.json"):
        raise Purged(f"{store.uri}: {version} was purged when documents were taken out; only its manifest is left")


# --- kept


def text_column(manifest: Mapping[str, Any]) -> str:
    """The column with the documents' text."""
    return str((manifest["config"].get("input") or {}).get("text_column", "text"))


def id_column(manifest: Mapping[str, Any]) -> str | None:
    """The column with the documents' ids; None if the version has none."""
    names = [column["name"] for column in manifest["schema"]]
    wanted = (manifest["config"].get("input") or {}).get("id_column")
    return next((name for name in (wanted, MADE_ID) if name in names), None)


def kept_files(finished: Finished) -> Files:
    """The shards of a version.

    Raises:
        NotFound: It is not here.
        InputError: Its table names no shard, or something that is no path.
    """
    table = shard_table(finished.store, finished.version)
    paths, rows = table.column("path").to_pylist(), table.column("rows").to_pylist()
    return Files(finished.store, tuple(paths), tuple(rows), frozenset({text_column(finished.manifest)}))


def kept_documents(finished: Finished, request: Request) -> Iterator[Document]:
    """The documents of a version, in order; checked at the call, read as they are asked for.

    Raises:
        ConfigError: The condition does not fit the columns, or there is no such column.
    """
    files, text, name = kept_files(finished), text_column(finished.manifest), id_column(finished.manifest)
    schema, tests = schema_of(files), request.tests()
    check(tests, schema)
    _check_columns(request.columns, schema.names)
    if request.id is not None:
        if name is None:
            raise ConfigError("--id: the version has no column with ids; say which document with --where")
        tests = (*tests, equals(name, request.id))
    columns = None if request.columns is None else tuple(dict.fromkeys([*request.columns, *([] if name is None else [name])]))
    found = picked(files, Wanted(tests, columns, request.sample, request.seed))
    return (document for some in found for document in _kept(some, text, name, request.columns))


def _kept(some: Picked, text: str, name: str | None, wanted: Sequence[str] | None) -> Iterator[Document]:
    shown = [column for column in some.batch.schema.names if column not in (text, name) and (wanted is None or column in wanted)]
    ids = None if name is None or name not in some.batch.schema.names else _strings(some.batch.column(name))
    for position, row in enumerate(some.rows.tolist()):
        has_text = text in some.batch.schema.names and _is_text(some.batch.schema.field(text).type)
        yield Document(
            state="kept",
            id=None if ids is None else ids[position].as_py(),
            doc_key=None,
            path=some.path,
            row=row,
            text=text_of(some.batch.column(text)[position]) if has_text else None,
            columns={column: value_of(some.batch.column(column)[position]) for column in shown},
        )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _check_columns(wanted: Sequence[str] | None, names: Sequence[str]) -> None:
    import difflib  # noqa: PLC0415  only where something is wrong

    for name in wanted or ():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the columns are: {', '.join(names)}"
            raise ConfigError(f"--columns: there is no column {name!r}; {hint}")


# --- lost


def lost_files(part: Finished, table: str, heavy: Sequence[str] = ()) -> Files:
    """The files of a side table of one version.

    Raises:
        InputError: The manifest names another file.
    """
    paths = own_files(part, table)
    rows = [int(file["rows"]) for file in part.manifest["tables"][table]["files"]]
    return Files(part.store, tuple(paths), tuple(rows), frozenset(heavy))


def lost_documents(finished: Finished, table: Lost, request: Request, which: Sequence[Condition] = ()) -> Iterator[Document]:
    """The documents that a version dropped, or quarantined, in the order of its side table; checked at the call.

    Raises:
        ConfigError: The condition does not fit the columns.
    """
    tests = request.tests()
    parts = [(part, texts, lost_files(part, table, [texts.text_column])) for part, texts in DroppedTexts.of_all(finished)]
    schemas = [schema_of(files) for _, _, files in parts]
    for schema in schemas[-1:]:
        check(tests, schema)
    tests = (*tests, *which)
    if request.id is not None:
        tests = (*tests, _named(request.id))
    samples = shared([sum(files.rows) for _, _, files in parts], request.sample)
    withheld = Withheld.of(finished.store)
    streams = []
    for (part, texts, files), schema, sample in zip(parts, schemas, samples, strict=True):
        carried = carried_text(schema, table, texts.text_column)
        wanted = Wanted(tests, None, sample, request.seed, **({} if carried else {"batch_rows": LOST_ROWS}))
        reasons = Reasons(part.manifest, texts.text_column, is_seen=carried is not None)
        streams.append(_lost_of(table, picked(files, wanted), texts, carried, request.columns, reasons, withheld))
    return (document for stream in streams for document in stream)


def _named(name: str) -> Condition:
    by_id, by_key = equals("id", name), equals("doc_key", name)
    return Condition(
        ("id", "doc_key"), lambda batch: pc.or_(pc.fill_null(by_id.holds(batch), False), pc.fill_null(by_key.holds(batch), False))
    )


def shared(rows: Sequence[int], sample: int | None) -> list[int | None]:
    """A sample over several tables, each with its share of the rows."""
    if sample is None:
        return [None] * len(rows)
    total, before, found = max(sum(rows), 1), 0, []
    for number in rows:
        found.append((before + number) * sample // total - before * sample // total)
        before += number
    return list(found)


def carried_text(schema: pa.Schema, table: str, text: str) -> str | None:
    """The column of a side table that has the text of the input; None where it has none."""
    names = [text] if text not in OWN[table] else [f"{CARRIED_PREFIX}{text}"]
    return next((name for name in names if name in schema.names and _is_text(schema.field(name).type)), None)


def _lost_of(
    table: Lost,
    found: Iterator[Picked],
    texts: DroppedTexts,
    carried: str | None,
    wanted: Sequence[str] | None,
    reasons: Reasons,
    withheld: Withheld,
) -> Iterator[Document]:
    for some in found:
        batch = some.batch
        columns = {name: batch.column(name) for name in batch.schema.names}
        places = list(zip(columns["uri"].to_pylist(), pc.fill_null(columns["row"], NO_ROW).to_pylist(), strict=True))
        read = _carried(columns[carried]) if carried is not None else texts.texts(places)
        others = [name for name in columns if name not in OWN[table] and name != carried and (wanted is None or name in wanted)]
        keys = _strings(columns["doc_key"])
        for position, there in enumerate(islice(read, batch.num_rows)):
            at = {name: value_of(columns[name][position]) for name in others}
            told = {name: _word(columns, name, position) for name in ("id", "operator", REASON[table], DETAIL[table])}
            text = WITHHELD if withheld.has(columns["doc_key"][position].as_py(), told["operator"]) else there
            why = (told["operator"], told[REASON[table]], told[DETAIL[table]], text.text)
            yield Document(
                state="dropped" if table == "dropped" else "quarantined",
                id=told["id"],
                doc_key=keys[position].as_py(),
                path=places[position][0],
                row=None if places[position][1] == NO_ROW else places[position][1],
                operator=told["operator"],
                reason=told[REASON[table]],
                detail=told[DETAIL[table]],
                why=reasons.sentence(*why) if table == "dropped" else told[DETAIL[table]],
                text=text.text,
                problem=text.problem,
                note=reasons.note(told["operator"]) if table == "dropped" and text.text is not None else None,
                columns=at,
                marks=reasons.marks(*why, at.get("language")) if table == "dropped" else (),
            )


def _carried(column: pa.Array) -> Iterator[InputText]:
    for scalar in column:
        text = text_of(scalar)
        yield InputText(text, None if text is not None else "the table of dropped documents has no text of it")


def _word(columns: Mapping[str, pa.Array], name: str, position: int) -> str | None:
    return text_of(columns[name][position]) if name in columns else None
