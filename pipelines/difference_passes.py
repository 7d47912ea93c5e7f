"""In which order lost documents are compared: ranges of input files, so that each row group of a side table is read about once.

Side tables are written in the inventory's order, and a row group's statistics say which addresses are in it. Ranges are a matter of speed
alone: whatever is missed because statistics lie is missing in the sum that is proven in the end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.difference_files import readable
from pipelines.difference_lineage import versions_of
from pipelines.errors import InputError, shown
from pipelines.objectfile import opened_parquet
from pipelines.verify_ledger import BATCH_ROWS
from pipelines.verify_manifest import Finished
from pipelines.verify_tables import side_files


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group of a side table.

    Attributes:
        low: The lowest address of an input file in it; None where that is not known. So is `high`, the highest.
    """

    path: str
    number: int
    rows: int
    low: str | None
    high: str | None

    def meets(self, ranges: Sequence[str], number: int) -> bool:
        """Whether it may have rows of a range."""
        if self.low is None or self.high is None:
            return True
        return bisect_left(ranges, self.low) <= number <= bisect_left(ranges, self.high)


def row_groups(finished: Finished, table: str) -> list[RowGroup]:
    """The row groups of a side table, in order; first those of the versions that it was added to.

    Raises:
        InputError: It cannot be read, or the manifest names a file that is not the version's.
        NotFound: It is not in this copy.
    """
    found = []
    for path in (path for part in versions_of(finished) for path in own_files(part, table)):
        with readable(finished.store.locate(path)), opened_parquet(finished.store, path, num_ahead=0) as file:
            place = file.schema_arrow.names.index("uri")
            found += [_row_group(path, number, file.metadata.row_group(number), place) for number in range(file.num_row_groups)]
    return found


def _row_group(path: str, number: int, about: pq.RowGroupMetaData, place: int) -> RowGroup:
    """All columns of a side table before its addresses are flat: the place in the schema is the one among the column chunks."""
    told = about.column(place).statistics
    is_known = told is not None and told.has_min_max and isinstance(told.min, str) and isinstance(told.max, str)
    return RowGroup(path, number, about.num_rows, told.min if is_known else None, told.max if is_known else None)


def own_files(finished: Finished, table: str) -> list[str]:
    """Paths of the files of a side table, all of them in its folder.

    Raises:
        InputError: The manifest names another.
    """
    inside = f"{finished.folder}/{table}/"
    paths = side_files(finished, table)
    for path in paths:
        if not path.startswith(inside) or ".." in path:
            raise InputError(f"{finished.version}: tables.{table}.files of its manifest names {shown(path)}, expected a file in {inside}")
    return paths


def ranges_of(groups: Sequence[RowGroup], rows: int) -> list[str]:
    """The last address of each range but the last, so that about so many rows are in each; none where one range is enough."""
    ends: list[str] = []
    inside = 0
    for group in sorted((one for one in groups if one.high is not None), key=lambda one: str(one.high)):
        inside += group.rows
        if inside >= rows and group.high is not None and group.high not in ends[-1:]:
            ends.append(group.high)
            inside = 0
    return ends if inside else ends[:-1]


def batches_of_groups(finished: Finished, groups: Sequence[RowGroup], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of some row groups, which are in order.

    Raises:
        InputError: They cannot be read.
    """
    for path in dict.fromkeys(group.path for group in groups):
        numbers = [group.number for group in groups if group.path == path]
        with readable(finished.store.locate(path)), opened_parquet(finished.store, path) as file:
            for number in numbers:
                for batch in file.iter_batches(BATCH_ROWS, [number], columns=list(columns), use_threads=False):
                    yield batch.select(list(columns))
