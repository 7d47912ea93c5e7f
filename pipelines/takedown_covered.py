"""Which tombstones a version that a takedown makes is free of: all, but those of a takedown that died before it had made its version.

Such a one left its tombstones, and its documents are in the data still. A version that claimed to be free of them would count as finished
when the pipeline is run again; one that does not is made anew without them.
"""

from __future__ import annotations

import numpy as np

from pipelines.rows import Mask
from pipelines.takedown_matches import Matches
from pipelines.tombstones import ANY_ETAG, Tombstones, load_tombstones


def covered(matches: Matches) -> Tombstones:
    """The tombstones of all takedowns none of whose documents is left once those that were found are gone."""
    store = matches.base.store
    every = load_tombstones(store)
    if not _left(matches, every).any():
        return every
    pieces = {path: load_tombstones(store, [path]) for path in every.paths}
    return load_tombstones(store, [path for path, piece in pieces.items() if not _left(matches, piece).any()])


def _left(matches: Matches, struck: Tombstones) -> Mask:
    """Which places, of files as they were then, hold a document that the version before has and that was not found now."""
    places = matches.base.places
    numbers = places.numbers_of(struck.doc_keys)
    files, position = np.unique(places.files_of(numbers), return_inverse=True)
    etags = [matches.base.inventory.identity(file)[1] if file >= 0 else "" for file in files.tolist()]
    codes = np.array([struck.etags.index(etag) if etag in struck.etags else len(struck.etags) for etag in etags], np.int32)
    there = np.flatnonzero((numbers >= 0) & ((struck.etag_codes == ANY_ETAG) | (struck.etag_codes == codes[position])))
    _, is_lost = places.ranks_of(numbers[there])
    left = np.zeros(len(numbers), np.bool_)
    left[there] = ~is_lost & ~np.isin(numbers[there], matches.found.numbers)
    return left
