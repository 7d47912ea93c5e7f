"""What a listing of the input has that earlier versions have not taken in: by uri, size and etag, never by date.

Owns the comparison. A file that could not be read then counts as taken in while it is the same, and is new when it is another; none of its
documents is missed once it is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.documents import Listed
from pipelines.rows import Mask

MAX_EXAMPLES: Final = 20
"""Of changed and vanished files, named in a manifest and in messages; all are counted."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A listing, compared with what was taken in.

    Attributes:
        new: Files to be taken in, in the listing's order.
        changed: Addresses of files that were taken in with another size or etag, sorted.
        vanished: Addresses of files that were read and are not listed any more, sorted.
        known: How many files are as they were taken in.
        unreadable: How many of these could not be read.
    """

    new: tuple[Listed, ...]
    changed: tuple[str, ...]
    vanished: tuple[str, ...]
    known: int
    unreadable: int

    def to_json(self) -> dict[str, Any]:
        """As `ingest` tells it."""
        return {
            "new": len(self.new),
            "known": self.known,
            "unreadable": self.unreadable,
            "changed": some_of(self.changed),
            "vanished": some_of(self.vanished),
        }


def some_of(uris: Sequence[str]) -> dict[str, Any]:
    """Addresses as a manifest has them: how many, and some by name."""
    return {"files": len(uris), "examples": list(uris[:MAX_EXAMPLES])}


def arrivals(listed: Sequence[Listed], taken: pa.Table) -> Arrivals:
    """Compare a listing with the files that were taken in (`lineage.FILES`; the newest first, where a file is there twice)."""
    uris = pa.array([file.uri for file in listed], pa.large_string())
    place = pc.index_in(uris, value_set=_chunk(taken["uri"]))
    is_known = pc.is_valid(place).to_numpy(zero_copy_only=False)
    at = pc.fill_null(place, 0).to_numpy()
    sizes = np.fromiter((file.size for file in listed), np.int64, len(listed))
    etags = pa.array([file.etag for file in listed], pa.large_string())
    if taken.num_rows:
        before = taken.take(pa.array(at))
        is_same = is_known & (before["size"].to_numpy() == sizes) & _equal(before["etag"], etags)
        is_read = before["is_read"].to_numpy()
    else:
        is_same = is_read = np.zeros(len(listed), np.bool_)
    is_changed = is_known & ~is_same & is_read
    is_new = ~is_same & ~is_changed
    gone = pc.and_(taken["is_read"], pc.invert(pc.is_in(taken["uri"], value_set=uris)))
    return Arrivals(
        new=tuple(listed[number] for number in np.flatnonzero(is_new).tolist()),
        changed=tuple(sorted(uris.filter(pa.array(is_changed)).to_pylist())),
        vanished=tuple(sorted(set(taken.filter(gone)["uri"].to_pylist()))),
        known=int(is_same.sum()),
        unreadable=int((is_same & ~is_read).sum()),
    )


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _equal(one: pa.ChunkedArray, other: pa.Array) -> Mask:
    found: Mask = pc.fill_null(pc.equal(one, other), False).to_numpy()
    return found
