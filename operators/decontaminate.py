"""Drop documents that hold items of evaluation sets. Owns what an item is and when it is found; words and runs are kernels/overlap.py."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.base import Assets, BatchFn, BatchOperator, OperatorError, Result, null_text_errors, text_of, with_column
from operators.decision import Measured, Measures, Signal, Test, fixed_limits

if TYPE_CHECKING:
    from operators.kernels.overlap import Hits, Index

I64 = npt.NDArray[np.int64]

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
REASON = "contaminated"
COLUMN = "contamination"
MAX_NAMED = 3
"""Items named in the details of a drop; the others are counted."""
OVERLAP = Signal("overlap", "fraction", "Largest share of an item's runs that is in the document; 1 for a whole short text.", "GPT-3")
MATCHES = pa.list_(
    pa.struct([("eval", pa.string()), ("item", pa.string()), ("ngrams_found", pa.int32()), ("ngrams", pa.int32())]),
)


class Decontaminate(BatchOperator):
    """Drop documents that share runs of `n` words with items of evaluation sets.

    An item's text is its `fields` joined in their order, so that runs across question and answer count. Items, or first fields (questions),
    of fewer than `n` words are looked for as a whole if they have at least `min_words`. An item is found if a document holds one of its
    runs, with `min_overlap` that fraction of its different runs, or its whole short text. Every hit is compared in 128 bits.

    Words are runs of letters, digits and spacing marks after compatibility decomposition (NFKD) and case folding, without combining marks;
    apostrophes are left out, all else separates. In Chinese, Japanese, Thai, Lao, Burmese and Khmer each character is a word. So neither
    case, punctuation, line breaks, diacritics nor Unicode form matter.

    With `annotate` nothing is dropped and the column `contamination` is added: a list of `eval`, `item`, `ngrams_found` and `ngrams` (the
    item's number of runs), in the order of the sets. Else the table of drops names up to three items, as `gsm8k-test/123`.

    Drop reason: `contaminated`.
    """

    type: Literal["decontaminate"] = "decontaminate"
    evals: dict[str, str] | list[str] = Field(
        min_length=1,
        description="Files of the evaluation sets: JSON Lines (also gzipped) or Parquet, paths or URLs. A set is called by the key it has "
        "here, in a list by its file's name.",
    )
    fields: list[str] = Field(
        default=["question", "answer"],
        min_length=1,
        description="Fields of a record that make an item's text, in their order; `a.b` is nested.",
    )
    item_field: str = Field(default="item", description="Field with an item's id; records without it are numbered from 0.")
    n: int = Field(default=13, ge=2, le=64, description="Words in a run (GPT-3, arXiv:2005.14165: 13; datatrove 0.10: 12).")
    min_words: int = Field(
        default=8, ge=1, description="Fewest words of a short item or question that is looked for as a whole (GPT-3: 8)."
    )
    min_overlap: float = Field(
        default=0.0, ge=0, le=1, description="Fraction of an item's runs that a document must hold; 0: one is enough."
    )
    max_items: int = Field(
        default=10, ge=1, description="Runs that more items than this have are phrases of a set and left out (GPT-3: of over 10 documents)."
    )
    annotate: bool = Field(default=False, description="Add the column `contamination` instead of dropping.")

    explains: ClassVar[bool] = True
    sources: ClassVar[str] = "13-grams, at least 8 words: GPT-3 (arXiv:2005.14165, appendix C); compare datatrove 0.10 NGramsDecontFilter"

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len(self.sets()) < len(self.evals):
            raise ValueError("two files of evals have one name; give a mapping of names to files instead of a list")
        return self

    def sets(self) -> dict[str, str]:
        """URI of each set by its name."""
        if isinstance(self.evals, dict):
            return self.evals
        return {PurePosixPath(uri.partition("?")[0].rstrip("/")).name.split(".")[0]: uri for uri in self.evals}

    def asset_uris(self) -> tuple[str, ...]:
        """The sets' files."""
        return tuple(dict.fromkeys(self.sets().values()))

    def declared_tests(self) -> tuple[Test, ...]:
        """How much of an item is in the document; a document that has nothing of any has no such share."""
        test = Test(REASON, OVERLAP.name, "min_overlap", "above", self.min_overlap, is_inclusive=True, high=1)
        return () if self.annotate else (test,)

    def open_measures(self, assets: Assets) -> Measures:
        """Read the sets and index their runs of words.

        Raises:
            OperatorError: As `open` does.
        """
        tests, sought = self.declared_tests(), self._sought(self.items(assets))
        find = self._finder(sought)

        def measure(batch: pa.RecordBatch) -> Measured:
            hits = find(text_of(batch, assets.text_column))
            some, whole = (sought.found(hits.rows, hits.entries, least) for least in (0.0, 1.0))
            values = np.zeros(batch.num_rows)
            np.maximum.at(values, some.rows, some.counts / sought.totals[some.items])
            values[whole.rows] = 1  # a short item is there by one run
            return Measured(np.where(values == 0, np.nan, values)[:, None], fixed_limits(tests, batch.num_rows))

        return Measures((OVERLAP,), tests, measure)

    def _finder(self, sought: Sought) -> Callable[[pa.LargeStringArray], Hits]:
        """The function that finds runs in texts."""
        from operators.kernels.buffers import text_buffers
        from operators.kernels.overlap import find_runs, folding

        shortest, folds = min(self.min_words, self.n), folding()

        def find(text: pa.LargeStringArray) -> Hits:
            return find_runs(*text_buffers(pc.fill_null(text, "") if text.null_count else text), self.n, shortest, folds, sought.runs)

        return find

    def open(self, assets: Assets) -> BatchFn:
        """Read the sets and index their runs of words.

        Raises:
            OperatorError: A set cannot be read, or nothing in it can be looked for.
        """
        items = self.items(assets)
        sought = self._sought(items)
        find = self._finder(sought)

        def judge(batch: pa.RecordBatch) -> Result:
            text = text_of(batch, assets.text_column)
            errors = null_text_errors(text)
            hits = find(text)
            found = sought.found(hits.rows, hits.entries, self.min_overlap)
            if self.annotate:
                return Result(with_column(batch, COLUMN, _matches(found, sought, items, batch.num_rows)), None, errors)
            goes = np.zeros(batch.num_rows, np.bool_)
            goes[found.rows] = True
            reasons = pc.if_else(pa.array(goes), pa.scalar(REASON), pa.scalar(None, pa.string()))
            return Result(batch, reasons, errors, _details(found, items, batch.num_rows) if goes.any() else None)

        return judge

    def items(self, assets: Assets) -> Items:
        """The items of all sets.

        Raises:
            OperatorError: A set cannot be read, or holds no text.
        """
        names: list[str] = []
        ids: list[str] = []
        wholes: list[str] = []
        firsts: list[str] = []
        for name, uri in self.sets().items():
            count = len(ids)
            for place, record in enumerate(_records(uri, assets.path(uri))):
                parts = [part for field in self.fields if (part := _text_at(record, field))]
                if not parts:
                    raise OperatorError(
                        f"{self.type}: record {place} of {uri!r} has no text in {', '.join(self.fields)}; it has: "
                        f"{', '.join(list(record)[:10])}; name the fields of its items in `fields`"
                    )
                names.append(name)
                ids.append(str(place if record.get(self.item_field) is None else record[self.item_field]))
                wholes.append("\n".join(parts))
                firsts.append(parts[0])
            if len(ids) == count:
                raise OperatorError(f"{self.type}: {uri!r} holds no item; expected a record a line; remove it, or name another")
        return Items(names, ids, wholes, firsts)

    def _sought(self, items: Items) -> Sought:
        """The index of the items' runs, and which items have each."""
        from operators.kernels.buffers import text_buffers
        from operators.kernels.overlap import folding, index_of, runs_of

        texts = pa.array([*items.wholes, *items.firsts], pa.large_string())
        runs = runs_of(*text_buffers(texts), self.n, min(self.min_words, self.n), folding())
        if len(runs.rows) == 0:
            raise OperatorError(f"{self.type}: no item has {self.min_words} words; nothing could be found: lower `min_words`")
        names = np.stack([runs.first, runs.second, runs.entries.astype(np.uint64)], axis=1)
        _, chosen, numbers = np.unique(names, axis=0, return_index=True, return_inverse=True)
        pairs = np.unique(np.stack([numbers.ravel(), runs.rows % len(items.ids)], axis=1), axis=0)  # each run of an item once
        common = np.bincount(pairs[:, 0], minlength=len(chosen)) > self.max_items
        pairs = pairs[~common[pairs[:, 0]]]
        bounds = np.searchsorted(pairs[:, 0], np.arange(len(chosen) + 1))
        totals = np.bincount(pairs[:, 1], minlength=len(items.ids))
        lengths = runs.entries[chosen]
        index = index_of(runs.keys[chosen], lengths, runs.first[chosen], runs.second[chosen], self.n)
        return Sought(index, bounds, pairs[:, 1].copy(), totals, lengths < self.n)


class Items(NamedTuple):
    """The items of all sets: name of the set, id, whole text and first field of each."""

    names: list[str]
    ids: list[str]
    wholes: list[str]
    firsts: list[str]

    def label(self, item: int) -> str:
        """How an item is named in details."""
        return f"{self.names[item]}/{self.ids[item]}"[:60]


class Found(NamedTuple):
    """Items found in texts, sorted by text and item: each with its number of different runs."""

    rows: I64
    items: I64
    counts: I64


class Sought(NamedTuple):
    """What is looked for.

    Attributes:
        runs: The index of the runs.
        bounds: By run: where its items begin in `items`; a run that too many have has none.
        items: Numbers of items.
        totals: By item: how many runs it has.
        is_whole: By run: whether it is a whole short text.
    """

    runs: Index
    bounds: I64
    items: I64
    totals: I64
    is_whole: npt.NDArray[np.bool_]

    def found(self, rows: I64, runs: I64, min_overlap: float) -> Found:
        """The items of some hits that are found by enough of their runs."""
        pairs = np.unique(np.stack([rows, runs], axis=1), axis=0)
        sizes = self.bounds[pairs[:, 1] + 1] - self.bounds[pairs[:, 1]]
        begins = np.repeat(self.bounds[pairs[:, 1]] - np.cumsum(sizes) + sizes, sizes)
        hit_items = self.items[begins + np.arange(len(begins))]
        hit = np.stack([np.repeat(pairs[:, 0], sizes), hit_items], axis=1)
        keys, groups, counts = np.unique(hit, axis=0, return_inverse=True, return_counts=True)
        whole = np.zeros(len(keys), np.bool_)
        whole[groups.ravel()[np.repeat(self.is_whole[pairs[:, 1]], sizes)]] = True
        enough = whole | (counts >= min_overlap * self.totals[keys[:, 1]])
        return Found(keys[enough, 0], keys[enough, 1], counts[enough])


def _records(uri: str, path: str) -> Iterator[dict[str, Any]]:
    """The records of a set's file.

    Raises:
        OperatorError: It cannot be read; names the line.
    """
    number = 0
    try:
        data = Path(path).read_bytes()
        if data.startswith(PARQUET):
            import pyarrow.parquet as pq

            yield from pq.read_table(pa.BufferReader(data)).to_pylist()
            return
        lines = (gzip.decompress(data) if data.startswith(GZIP) else data).decode("utf-8-sig").split("\n")
        for number, line in enumerate(lines, 1):  # noqa: B007  the error names it
            if line.strip():
                yield dict(json.loads(line))
    except (OSError, EOFError, ValueError, TypeError, pa.ArrowInvalid) as error:
        place = f", line {number}" if number else ""
        raise OperatorError(
            f"decontaminate: {uri!r}{place} cannot be read ({error}); expected JSON Lines, plain or gzip, or Parquet"
        ) from error


def _text_at(record: dict[str, Any], field: str) -> str:
    """The text of a field: a string, a number, or a list of them; empty if there is none."""
    value: Any = record
    for name in [field] if field in record else field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    values = value if isinstance(value, list) else [value]
    return "\n".join(str(each) for each in values if isinstance(each, str | int | float) and not isinstance(each, bool)).strip()


def _details(found: Found, items: Items, num_rows: int) -> pa.Array:
    """The items of each text in words."""
    bounds = np.searchsorted(found.rows, np.arange(num_rows + 1))
    details: list[str | None] = [None] * num_rows
    for row in np.unique(found.rows).tolist():
        of_row = found.items[bounds[row] : bounds[row + 1]].tolist()
        more = f" and {len(of_row) - MAX_NAMED} more" if len(of_row) > MAX_NAMED else ""
        details[row] = ", ".join(items.label(item) for item in of_row[:MAX_NAMED]) + more
    return pa.array(details, pa.string())


def _matches(found: Found, sought: Sought, items: Items, num_rows: int) -> pa.Array:
    """The column `contamination`."""
    bounds = np.searchsorted(found.rows, np.arange(num_rows + 1)).astype(np.int32)
    places = pa.array(found.items)
    columns = [
        pa.array(items.names, pa.string()).take(places),
        pa.array(items.ids, pa.string()).take(places),
        pa.array(found.counts.astype(np.int32)),
        pa.array(sought.totals[found.items].astype(np.int32)),
    ]
    matches = pa.StructArray.from_arrays(columns, fields=list(MATCHES.value_type))
    return pa.ListArray.from_arrays(pa.array(bounds), matches, type=MATCHES)
