"""Rows of a version's Parquet files that somebody wants to read: those that pass tests, or a sample, in order, a few at a time.

Owns which columns of which row groups are read, and when. The columns that tests look at are read first, and of a row group in which
nothing passes nothing else. Memory holds those columns of one row group, and a few rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operators.base import OperatorError
from pipelines.difference_files import readable
from pipelines.errors import ConfigError
from pipelines.objectfile import opened_parquet
from pipelines.storage import Store

BATCH_ROWS: Final = 64
"""Documents that are decoded at once to be shown, if they are small."""
BATCH_BYTES: Final = 4 << 20
TEST_ROWS: Final = 1 << 16
BLOCK_BYTES: Final = 512 << 10
COLUMN_BYTES: Final = 1 << 20
MAX_STRATA: Final = 16
"""Stretches of the whole from which a sample is drawn, a row group of each: what is read for it at most."""

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Condition:
    """What a row must pass.

    Attributes:
        columns: That it looks at; a file without one has nulls there.
        holds: Of a batch with these columns: a boolean array, null counts as false.
    """

    columns: tuple[str, ...]
    holds: Callable[[pa.RecordBatch], pa.Array]


@dataclass(frozen=True, slots=True)
class Files:
    """Parquet files of a store, in order.

    Attributes:
        rows: Of each.
        heavy: Columns that are not read twice.
    """

    store: Store
    paths: tuple[str, ...]
    rows: tuple[int, ...]
    heavy: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows, and what of them.

    Attributes:
        columns: None: all.
        sample: So many rows, spread over all files; None: all rows from the beginning.
        seed: Of the sample.
        batch_rows: That are decoded at once to be shown; more, where rows are small.
    """

    tests: tuple[Condition, ...] = ()
    columns: tuple[str, ...] | None = None
    sample: int | None = None
    seed: int = 0
    batch_rows: int = BATCH_ROWS


@dataclass(frozen=True, slots=True)
class Picked:
    """Rows of a file, by their numbers in it."""

    path: str
    rows: Ints
    batch: pa.RecordBatch


def schema_of(files: Files) -> pa.Schema:
    """The columns of the files, as the first one has them; no columns where there is no file.

    Raises:
        InputError: It cannot be read.
    """
    for path in files.paths[:1]:
        with readable(files.store.locate(path)), opened_parquet(files.store, path, block_bytes=BLOCK_BYTES, num_ahead=0) as file:
            return file.schema_arrow.remove_metadata()
    return pa.schema([])


def check(tests: Sequence[Condition], schema: pa.Schema) -> None:
    """Check that tests can be made of these columns.

    Raises:
        ConfigError: They cannot.
    """
    empty = schema.empty_table().to_batches()
    batch = empty[0] if empty else pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
    for test in tests:
        try:
            test.holds(batch)
        except OperatorError as error:
            raise ConfigError(f"--where: {error}") from None


def picked(files: Files, wanted: Wanted) -> Iterator[Picked]:
    """The rows that are wanted, in order.

    Raises:
        InputError: A file cannot be read.
        StorageError: The store failed.
    """
    is_whole = wanted.sample is None or wanted.sample >= sum(files.rows)
    chosen = _all_groups(files) if is_whole else _sampled_groups(files, wanted)
    for path, numbers in chosen:
        with (
            readable(files.store.locate(path)),
            opened_parquet(files.store, path, block_bytes=BLOCK_BYTES, num_ahead=2, column_bytes=COLUMN_BYTES) as file,
        ):
            reader = _Reader(file, path, wanted, files.heavy)
            yield from reader.everything() if numbers is None else reader.some(numbers)


Numbers = dict[int, int]
"""How many rows are drawn, by a row near which: its row group gives them."""


def _all_groups(files: Files) -> Iterator[tuple[str, Numbers | None]]:
    yield from ((path, None) for path, rows in zip(files.paths, files.rows, strict=True) if rows)


def _sampled_groups(files: Files, wanted: Wanted) -> Iterator[tuple[str, Numbers | None]]:
    """Files with one row of each stretch of the whole: stretches are equally long."""
    ends = np.cumsum(np.array(files.rows, np.int64))
    total = int(ends[-1]) if len(ends) else 0
    strata = min(wanted.sample or 0, MAX_STRATA, total)
    draw = np.random.default_rng(wanted.seed)
    found: dict[int, Numbers] = {}
    for stratum in range(strata):
        first, last = stratum * total // strata, (stratum + 1) * total // strata
        position = int(draw.integers(first, last))
        file = int(np.searchsorted(ends, position, side="right"))
        row = position - int(ends[file]) + files.rows[file]
        found.setdefault(file, {})[row] = (stratum + 1) * (wanted.sample or 0) // strata - stratum * (wanted.sample or 0) // strata
    yield from ((files.paths[file], numbers) for file, numbers in sorted(found.items()))


@dataclass(frozen=True, slots=True)
class _Reader:
    """One open file."""

    file: pq.ParquetFile
    path: str
    wanted: Wanted
    heavy: frozenset[str]

    def everything(self) -> Iterator[Picked]:
        """All rows that pass."""
        for group, first in enumerate(self._first_rows()):
            yield from self._group(group, first)

    def some(self, numbers: Numbers) -> Iterator[Picked]:
        """Rows drawn of some row groups: those that hold given rows."""
        firsts = self._first_rows()
        quotas: dict[int, int] = {}
        for row, number in numbers.items():
            group = int(np.searchsorted(np.array(firsts), row, side="right")) - 1
            quotas[group] = quotas.get(group, 0) + number
        for group, number in sorted(quotas.items()):
            at = np.flatnonzero(self._mask(group))
            draw = np.random.default_rng([self.wanted.seed, group, *self.path.encode()])
            mask = np.zeros(self._rows(group), np.bool_)
            mask[draw.permutation(at)[:number]] = True
            yield from self._rows_of(group, firsts[group], mask)

    def _group(self, group: int, first: int) -> Iterator[Picked]:
        if not self.wanted.tests:
            yield from self._rows_of(group, first, np.ones(self._rows(group), np.bool_))
        elif self.heavy & set(self._test_columns()):
            yield from self._in_one_pass(group, first)
        else:
            yield from self._rows_of(group, first, self._mask(group))

    def _in_one_pass(self, group: int, first: int) -> Iterator[Picked]:
        """Rows that pass tests which look at what is shown anyway."""
        shown = self._shown_columns()
        for start, batch in self._batches(group, [*shown, *(name for name in self._test_columns() if name not in shown)], TEST_ROWS):
            mask = self._passing(batch)
            if mask.any():
                yield Picked(self.path, first + start + np.flatnonzero(mask), batch.select(shown).filter(pa.array(mask)))

    def _rows_of(self, group: int, first: int, mask: Mask) -> Iterator[Picked]:
        """The rows of a mask over a row group, up to the last of them."""
        left = int(mask.sum())
        for start, batch in self._batches(group, self._shown_columns(), self.wanted.batch_rows) if left else ():
            mine = mask[start : start + batch.num_rows]
            number = int(mine.sum())
            if number:
                yield Picked(self.path, first + start + np.flatnonzero(mine), batch.filter(pa.array(mine)))
            left -= number
            if left == 0:
                return

    # --- tests

    def _test_columns(self) -> list[str]:
        there = set(self.file.schema_arrow.names)
        return list(dict.fromkeys(name for test in self.wanted.tests for name in test.columns if name in there))

    def _mask(self, group: int) -> Mask:
        """Which rows of a row group pass."""
        names = self._test_columns()
        if not self.wanted.tests:
            return np.ones(self._rows(group), np.bool_)
        if not names:  # a condition without a column holds for all rows or for none
            empty = pa.RecordBatch.from_arrays([pa.nulls(self._rows(group))], names=[""])
            return self._passing(empty)
        masks = [self._passing(batch) for _, batch in self._batches(group, names, TEST_ROWS)]
        return np.concatenate([np.zeros(0, np.bool_), *masks])

    def _passing(self, batch: pa.RecordBatch) -> Mask:
        for name in dict.fromkeys(name for test in self.wanted.tests for name in test.columns if name not in batch.schema.names):
            batch = batch.append_column(name, pa.nulls(batch.num_rows))
        mask = np.ones(batch.num_rows, np.bool_)
        for test in self.wanted.tests:
            try:
                holds = test.holds(batch)
            except OperatorError as error:
                raise ConfigError(f"--where: {error}") from None
            mask &= pc.fill_null(holds, False).to_numpy(zero_copy_only=False)
        return mask

    # --- reading

    def _shown_columns(self) -> list[str]:
        names: list[str] = self.file.schema_arrow.names
        return names if self.wanted.columns is None else [name for name in self.wanted.columns if name in names]

    def _first_rows(self) -> list[int]:
        ends = np.cumsum([self._rows(group) for group in range(self.file.num_row_groups)], dtype=np.int64).tolist()
        return [0, *ends[:-1]]

    def _rows(self, group: int) -> int:
        return int(self.file.metadata.row_group(group).num_rows)

    def _batches(self, group: int, names: Sequence[str], most: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The rows of a row group with some columns, each batch with its first row in the group."""
        about = self.file.metadata.row_group(group)
        chunks = [about.column(position) for position in range(about.num_columns)]
        wanted = set(names)
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.partition(".")[0] in wanted)
        rows = max(1, min(most, about.num_rows * BATCH_BYTES // max(size, 1)))
        first = 0
        for batch in self.file.iter_batches(rows, [group], columns=list(names), use_threads=False):
            yield first, batch.select(list(names))
            first += batch.num_rows
