"""What a sample is drawn from: the inventory, or where that would take long, one of some files that stand for all.

Looking into every file is what an inventory is. It costs a request and 64 KiB for each Parquet file, and all of the bytes of files that
have no index (JSON lines, WARC). Where that is much, files are drawn first, by the sizes that the listing tells: all along its
order, with a probability in proportion to their bytes, the large ones for certain. Of large files without an index only the beginning is
looked at. What row groups and documents are then drawn from them is for pipelines/sampling.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipelines.documents import Listed, ReadOptions
from pipelines.errors import InputError, shown
from pipelines.formats import format_of
from pipelines.inventory import Inventory, MapFiles, take_inventory
from pipelines.sampling import BOUNDS, DOCUMENTS, TAIL_BYTES, Bounds, Design, Files, draw, falling, steps
from pipelines.storage import Sources
from pipelines.storage_sources import SourceObject

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MAX_FILES: Final = 1000
"""That are all looked into: some seconds from an object store."""
MIN_CLIPPED_BYTES: Final = 1 << 20
"""Of a file without an index that is not looked at in full."""


class ClippedSources(Sources):
    """Sources in which some files end early: each has the size that `sizes` says, and the bytes up to there."""

    def __init__(self, base: Sources, sizes: dict[str, int]) -> None:
        super().__init__(base.storage_options, base.elsewhere)
        self._base = base
        self._sizes = sizes

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._base, self._sizes)

    @property
    def stats(self) -> Any:
        """Those of the sources that it reads from."""
        return self._base.stats

    def find(self, patterns: Sequence[str]) -> list[SourceObject]:
        """The files as they are cut."""
        return [self._cut(found) for found in self._base.find(patterns)]

    def info(self, uri: str) -> SourceObject:
        """The file as it is cut."""
        return self._cut(self._base.info(uri))

    def read(self, uri: str, *, etag: str | None = None) -> bytes:
        """All of the file up to where it is cut."""
        size = self._sizes.get(uri)
        return self._base.read(uri, etag=etag) if size is None else self._base.read_range(uri, 0, size, etag=etag)

    def read_range(self, uri: str, start: int, stop: int, *, etag: str | None = None) -> bytes:
        """Bytes of the file."""
        return self._base.read_range(uri, start, stop, etag=etag)

    def _cut(self, found: SourceObject) -> SourceObject:
        return replace(found, size=min(found.size, self._sizes.get(found.uri, found.size)))


@dataclass(frozen=True, slots=True)
class Frame:
    """What a sample is drawn from.

    Attributes:
        inventory: Of the files that were looked into.
        sources: To read them from: in these, some may end early.
        files: Of the whole input, as `num_bytes`.
        rows: Of the whole input, as `groups`, its row groups; estimates unless `is_whole`.
        is_whole: True if all files were looked into, in full.
        sampled: What the files stand for, unless `is_whole`.
    """

    inventory: Inventory
    sources: Sources
    files: int
    num_bytes: int
    rows: int
    groups: int
    is_whole: bool
    sampled: Files | None = None
    notes: tuple[str, ...] = ()

    def draw(self, documents: int = DOCUMENTS, seed: int = 0, bounds: Bounds = BOUNDS) -> Design:
        """Draw a sample; `rows` of the design are those of the whole input."""
        design = draw(self.inventory, documents, seed, bounds, self.sampled)
        return replace(design, notes=(*self.notes, *design.notes))


def take_frame(
    sources: Sources,
    patterns: Sequence[str],
    options: ReadOptions,
    *,
    map_files: MapFiles = map,
    seed: int = 0,
    bounds: Bounds = BOUNDS,
) -> Frame:
    """List the input and look into its files, or into some that are drawn by `seed`.

    Raises:
        InputError: Nothing matches, no file can be read, or none has the text column as a string column.
        StorageError: A store failed.
    """
    listed = sources.find(patterns)
    if not listed:
        raise InputError(f"{shown(', '.join(patterns))}: no file matches; check input.uri")
    sizes = np.fromiter((file.size for file in listed), np.int64, len(listed))
    scanned = np.fromiter((format_of(file.uri, options.format) != "parquet" for file in listed), np.bool_, len(listed))
    if not sizes.any() or (len(listed) <= MAX_FILES and _looked(sizes, scanned) <= bounds.max_bytes):
        inventory = take_inventory(sources, patterns, options, map_files=map_files, only=listed)
        rows, groups = inventory.rows, len(inventory.group_rows)
        return Frame(inventory, sources, len(listed), inventory.num_bytes, rows, groups, is_whole=True)
    return _sampled_frame(sources, patterns, options, map_files, listed, _chosen(sizes, scanned, seed, bounds))


def _looked(sizes: Int64s, scanned: Mask) -> int:
    """Bytes that looking into files reads."""
    return int(np.where(scanned, sizes, np.minimum(sizes, TAIL_BYTES)).sum())


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Files to look into.

    Attributes:
        places: In the listing, ascending.
        is_certain: Those that would be there with any seed.
        stand_for: Bytes of the input that each stands for.
        stops: Bytes of each that count: all, or its beginning.
        looked_bytes: That looking into them reads.
    """

    places: Int64s
    is_certain: Mask
    stand_for: npt.NDArray[np.float64]
    stops: Int64s
    looked_bytes: int


def _sampled_frame(
    sources: Sources, patterns: Sequence[str], options: ReadOptions, map_files: MapFiles, listed: Sequence[SourceObject], chosen: _Chosen
) -> Frame:
    files = [listed[place] for place in chosen.places.tolist()]
    cut = {file.uri: stop for file, stop in zip(files, chosen.stops.tolist(), strict=True) if stop < file.size}
    reading = ClippedSources(sources, cut) if cut else sources
    only: list[Listed] = [replace(file, size=stop) for file, stop in zip(files, chosen.stops.tolist(), strict=True)]
    inventory = take_inventory(reading, patterns, options, map_files=map_files, only=only)
    rows_for = chosen.stand_for / chosen.stops
    whole_size = np.array([file.size for file in files], np.int64)
    num_bytes = sum(file.size for file in listed)
    sampled = Files(num_bytes, chosen.looked_bytes, rows_for, chosen.is_certain, chosen.stops < whole_size)
    rows = round(float((inventory.group_rows * rows_for[inventory.group_file]).sum()))
    groups = round(float((np.diff(inventory.file_first_group) * chosen.stand_for / whole_size).sum()))
    notes = tuple(_notes(len(listed), len(files), len(cut)))
    return Frame(inventory, reading, len(listed), num_bytes, rows, groups, is_whole=False, sampled=sampled, notes=notes)


def _chosen(sizes: Int64s, scanned: Mask, seed: int, bounds: Bounds) -> _Chosen:
    """As many files as may be looked into. Half of what may be read is for that, the other half for the documents."""
    with_bytes = np.flatnonzero(sizes > 0)
    most, least = min(len(with_bytes), bounds.max_clusters), min(len(with_bytes), bounds.min_clusters)
    fraction = min(bounds.max_bytes, int(bounds.max_fraction * sizes.sum())) // 2
    for allowed, first in ((fraction, most), (bounds.max_bytes // 2, least)):
        room = max(allowed // least, MIN_CLIPPED_BYTES)
        stops = np.where(scanned, np.minimum(sizes, room), sizes)[with_bytes]
        for count in falling(first, least):
            certain, stepped, drawn_for = steps(sizes[with_bytes], count, seed)
            places = np.concatenate([certain, stepped])
            looked = _looked(stops[places], scanned[with_bytes[places]])
            if looked <= allowed:
                break
        else:
            continue
        break
    order = np.argsort(places, kind="stable")
    stand_for = np.concatenate([sizes[with_bytes[certain]].astype(np.float64), drawn_for])
    is_certain = np.arange(len(places)) < len(certain)
    return _Chosen(with_bytes[places[order]], is_certain[order], stand_for[order], stops[places[order]], looked)


def _notes(num_files: int, num_chosen: int, num_cut: int) -> Iterator[str]:
    if num_chosen < num_files:
        yield (
            f"{num_chosen} of {num_files} files were looked into, drawn by their size: numbers of rows and row groups are estimates, and "
            "not all files that cannot be read are known"
        )
    if num_cut:
        yield f"of {num_cut} of these files, which have no index, only the beginning was read: what differs further on is not seen"
