"""Tokens by source and by language: counted where documents are written, added up by the driver, proven against the shards.

Owns which columns name them, and the bounds: names are told if there are few enough of them in the whole run, so that what is told depends
on the documents alone, never on how they were cut into units.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.commit import Part
from pipelines.errors import InputError, LedgerImbalance
from pipelines.frames import PartWriter, read_frames, refs
from pipelines.guards import UNNAMED, can_name_sources
from pipelines.redaction import redact_uri
from pipelines.rows import Ints, Rows, UnitFiles
from pipelines.storage import Store

Kind = Literal["source", "language"]
KINDS: Final[tuple[Kind, ...]] = ("source", "language")
TOKENS: Final = "num_tokens"
NAMES_PART: Final = "tokens"
"""Role of the part with a unit's names, where they are too many for its record."""
OTHER: Final = "(other)"
MAX_TOLD: Final = 10_000
"""Names that the manifest tells one by one; the rest is summed up."""
MAX_COUNTED: Final = 100_000
"""Names that are counted; a column with more of them names nothing, and all of it is summed up. Bounds the driver to some 20 MB."""
MAX_INLINE: Final = 32
"""Names in a unit's record, which the driver holds: 1 KiB of it, of 200,000 units."""
FEW: Final = 8192
MAX_NAME_CHARS: Final = 200
DIGEST_CHARS: Final = 16
NAMES: Final = pa.schema([("name", pa.string()), ("documents", pa.int64()), ("tokens", pa.int64())])


@dataclass(frozen=True, slots=True)
class TokenColumns:
    """The columns whose values name a document's source and language.

    Attributes:
        source: None: the source is the folder of the input file.
        language: None: nothing names languages, and they are not counted.
    """

    source: str | None
    language: str | None

    @classmethod
    def of(cls, source: str | None, language: str | None, schema: pa.Schema, output: Sequence[str]) -> Self | None:
        """The columns that the output's settings name, or the usual ones; None where the output has no token counts.

        Args:
            source: `output.source_column`.
            language: `output.language_column`.
            schema: Columns of the documents after the last operator.
            output: Those of them that are written.

        Raises:
            InputError: A column that is named is not there, or its values cannot be names.
        """
        for key, name in (("source_column", source), ("language_column", language)):
            _check(key, name, schema)
        if TOKENS not in output or not pa.types.is_integer(schema.field(TOKENS).type):
            return None
        return cls(
            usual_column(schema, "source") if source is None else source,
            usual_column(schema, "language", "lang") if language is None else language,
        )


def _check(key: str, name: str | None, schema: pa.Schema) -> None:
    if name is None:
        return
    if name not in schema.names:
        raise InputError(f"output.{key}: the documents have no column {name!r}; they have: {', '.join(schema.names)}")
    kind = schema.field(name).type
    if not can_name_sources(kind):
        raise InputError(f"output.{key}: the column {name!r} is {kind}; name a column of strings, numbers or dates")


def usual_column(schema: pa.Schema, *names: str) -> str | None:
    """The first of these columns that there is, if its values can name something."""
    return next((name for name in names if name in schema.names and can_name_sources(schema.field(name).type)), None)


# --- names with their counts


class Names:
    """Documents and tokens by name, of at most `MAX_COUNTED` names: none at all, once there are more."""

    def __init__(self) -> None:
        self.are_too_many = False
        self._held: list[pa.Table] = []
        self._rows = 0
        self._joined = 0

    def add(self, counted: pa.Table) -> None:
        """Add names with their counts; one may be there several times."""
        if self.are_too_many:
            return
        self._held.append(counted)
        self._rows += counted.num_rows
        if self._rows > FEW + 2 * self._joined:
            self._join()

    def give_up(self) -> None:
        """There are too many names."""
        self.are_too_many = True
        self._held, self._rows = [], 0

    def table(self) -> pa.Table:
        """Each name once, sorted."""
        self._join()
        return pa.concat_tables([NAMES.empty_table(), *self._held]).sort_by("name")

    def _join(self) -> None:
        if not self._held:
            return
        grouped = pa.concat_tables(self._held).group_by("name", use_threads=False).aggregate([("documents", "sum"), ("tokens", "sum")])
        self._held = [grouped.rename_columns(NAMES.names).cast(NAMES)]
        self._rows = self._joined = grouped.num_rows
        if self._rows > MAX_COUNTED:
            self.give_up()


def _names_table(rows: Iterable[Sequence[Any]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, NAMES.types, strict=True)], schema=NAMES)


def named(values: pa.Array) -> pa.Array:
    """Values as names: null is `(null)`; one of more than 200 characters keeps its beginning and gets a digest of the whole."""
    texts = pc.fill_null(pc.cast(values, pa.string()), UNNAMED)
    if (pc.max(pc.utf8_length(texts)).as_py() or 0) <= MAX_NAME_CHARS:
        return texts
    return pa.array([_shortened(text) for text in texts.to_pylist()], pa.string())


def _shortened(text: str) -> str:
    if len(text) <= MAX_NAME_CHARS:
        return text
    return f"{text[: MAX_NAME_CHARS - DIGEST_CHARS - 1]}…{hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARS]}"


# --- in a unit


class TokenCounts:
    """Documents and tokens of one unit."""

    def __init__(self, columns: TokenColumns, files: UnitFiles) -> None:
        self._columns = columns
        self._folders = pa.array([redact_uri(uri.rpartition("/")[0]) for uri in files.uris], pa.string())
        self._names: dict[Kind, Names] = {"source": Names()}
        if columns.language is not None:
            self._names["language"] = Names()
        self._documents = 0
        self._tokens = 0

    def add(self, rows: Rows) -> None:
        """Count some documents."""
        if len(rows) == 0:
            return
        tokens = rows.batch.column(TOKENS)
        self._documents += len(rows)
        self._tokens += pc.sum(tokens).as_py() or 0
        for kind, names in self._names.items():
            if not names.are_too_many:
                names.add(_counted(*self._codes(kind, rows), tokens))

    def _codes(self, kind: Kind, rows: Rows) -> tuple[Ints, pa.Array]:
        column = self._columns.source if kind == "source" else self._columns.language
        if column is None:
            return rows.file, self._folders
        encoded = pc.cast(rows.batch.column(column), pa.string()).dictionary_encode(null_encoding="encode")
        return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary

    def told(self, writer: PartWriter) -> dict[str, Any]:
        """What the unit's record says of them; names go to a part where they are many."""
        tables = {kind: names.table() for kind, names in self._names.items()}
        found: dict[str, Any] = {"documents": self._documents, TOKENS: self._tokens}
        found["too_many"] = [kind for kind, names in self._names.items() if names.are_too_many]
        if sum(table.num_rows for table in tables.values()) <= MAX_INLINE:
            return {**found, **{kind: [list(row.values()) for row in table.to_pylist()] for kind, table in tables.items()}}
        for kind, table in tables.items():
            for batch in table.combine_chunks().to_batches():
                writer.write(batch, group=kind)
        return found


def _counted(codes: Ints, names: pa.Array, tokens: pa.Array) -> pa.Table:
    """Names with their documents and tokens, of codes that are places in `names`."""
    table = pa.table({"code": codes, "tokens": pc.cast(tokens, pa.int64())}).group_by("code", use_threads=False)
    grouped = table.aggregate([([], "count_all"), ("tokens", "sum")])
    places = grouped.column("code").combine_chunks()
    columns = [named(names.take(places)), grouped.column("count_all"), pc.fill_null(grouped.column("tokens_sum"), 0)]
    return pa.table(columns, names=NAMES.names).cast(NAMES)


# --- of a run


@dataclass(slots=True)
class TokenTotals:
    """Documents and tokens of all units."""

    documents: int = 0
    tokens: int = 0
    names: dict[Kind, Names] = field(default_factory=lambda: {kind: Names() for kind in KINDS})

    def add(self, told: Mapping[str, Any]) -> None:
        """Add what a unit's record says."""
        self.documents += told["documents"]
        self.tokens += told[TOKENS]
        for kind, names in self.names.items():
            if kind in told["too_many"]:
                names.give_up()
            elif told.get(kind):
                names.add(_names_table(told[kind]))

    def add_parts(self, store: Store, parts: Sequence[Part]) -> None:
        """Add the names that units wrote into parts."""
        frames = [(ref, part.groups[frame[4]]) for part in parts for ref, frame in zip(refs(part), part.frames, strict=True)]
        wanted = [(ref, kind) for ref, kind in frames for one in KINDS if one == kind and not self.names[one].are_too_many]
        for (_, kind), batch in zip(wanted, read_frames(store, [ref for ref, _ in wanted]), strict=True):
            self.names["source" if kind == "source" else "language"].add(pa.Table.from_batches([batch]))

    def to_json(self, columns: TokenColumns) -> dict[str, Any]:
        """As it stands in the manifest under `tokens`."""
        return {
            "total": self.tokens,
            "source_column": columns.source,
            "language_column": columns.language,
            "by_source": self._by("source"),
            "by_language": None if columns.language is None else self._by("language"),
        }

    def _by(self, kind: Kind) -> dict[str, dict[str, int]]:
        """The names with most tokens, sorted by name, and one entry for all others."""
        if self.names[kind].are_too_many:
            return {OTHER: {"documents": self.documents, "tokens": self.tokens}}
        table = self.names[kind].table()
        if self.names[kind].are_too_many:
            return self._by(kind)
        order = table.sort_by([("tokens", "descending"), ("name", "ascending")])
        found = {
            name: (documents, tokens) for name, documents, tokens in zip(*map(pa.ChunkedArray.to_pylist, order[:MAX_TOLD]), strict=True)
        }
        rest = order[MAX_TOLD:]
        if rest.num_rows:
            documents, tokens = found.get(OTHER, (0, 0))
            found[OTHER] = (documents + pc.sum(rest["documents"]).as_py(), tokens + pc.sum(rest["tokens"]).as_py())
        return {name: {"documents": found[name][0], "tokens": found[name][1]} for name in sorted(found)}


def prove_tokens(told: Mapping[str, Any], *, documents: int, tokens: int) -> None:
    """Check what is told of tokens against the shards as they were written.

    Raises:
        LedgerImbalance: The units counted others than the shards hold, or names do not add up to the total.
    """
    if told["total"] != tokens:
        raise LedgerImbalance(f"the run: its units counted {told['total']} tokens, the shards hold {tokens}")
    for kind in KINDS:
        counts = told[f"by_{kind}"]
        if counts is None:
            continue
        for what, expected in (("documents", documents), ("tokens", tokens)):
            found = sum(entry[what] for entry in counts.values())
            if found != expected:
                raise LedgerImbalance(f"the run: {what} by {kind} add up to {found}, the shards hold {expected}")


def merged_tokens(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What two versions tell of tokens together, as each stands in its manifest.

    What only one of them counts by language is not told; where the sources are named by different columns, they are summed up.
    """
    total = one["total"] + other["total"]
    found: dict[str, Any] = {**other, "total": total}
    for kind in KINDS:
        counts = [told[f"by_{kind}"] for told in (one, other)]
        is_same = one[f"{kind}_column"] == other[f"{kind}_column"]
        if None not in counts and is_same:
            found[f"by_{kind}"] = _merged(*counts)
        elif kind == "source":
            documents = sum(entry["documents"] for some in counts for entry in some.values())
            found |= {"by_source": {OTHER: {"documents": documents, "tokens": total}} if documents else {}}
        else:
            found |= {"by_language": None, "language_column": None}
    return found


def _merged(one: Mapping[str, Mapping[str, int]], other: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Two tables of names, bounded as one is: a name that either has summed up among the others is summed up there, too."""
    closed = [told for told in (one, other) if OTHER in told]
    found: dict[str, dict[str, int]] = {}
    for name, entry in (*one.items(), *other.items()):
        place = name if all(name in told for told in closed) else OTHER
        sums = found.setdefault(place, {"documents": 0, "tokens": 0})
        for key, number in entry.items():
            sums[key] += number
    names = sorted((name for name in found if name != OTHER), key=lambda name: (-found[name]["tokens"], name))
    for name in names[MAX_TOLD:]:
        rest = found.setdefault(OTHER, {"documents": 0, "tokens": 0})
        for key, number in found.pop(name).items():
            rest[key] += number
    return {name: found[name] for name in sorted(found)}
