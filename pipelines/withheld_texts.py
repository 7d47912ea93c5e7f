"""Which documents' texts `inspect` does not show though an input may still have them: those that were taken out of the output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.dropped_texts import InputText
from pipelines.published import PublishedStore
from pipelines.storage import Store
from pipelines.storage_hub import HubStore
from pipelines.takedown_ids import Keys
from pipelines.tombstones import TAKEDOWN, load_tombstones

TAKEN_BY: Final = re.compile(rf"{TAKEDOWN}(-[0-9]+)?")
WITHHELD: Final = InputText(None, "it was taken out; the text that its input may still have is not shown")


@dataclass(frozen=True, slots=True)
class Withheld:
    """Documents that were taken out, by their doc_keys, ascending."""

    doc_keys: Keys

    @classmethod
    def of(cls, store: Store) -> Withheld:
        """Those of an output. What is published has no list of them: of that, rows that a takedown took out are known by its name.

        Raises:
            InputError: The list is damaged.
        """
        if isinstance(store, HubStore | PublishedStore):
            return cls(np.empty(0, "S16"))
        return cls(load_tombstones(store).doc_keys)

    def has(self, doc_key: bytes | None, operator: str | None = None) -> bool:
        """Whether a document was taken out, or dropped by `operator` for being one that was."""
        if operator is not None and TAKEN_BY.fullmatch(operator):
            return True
        if doc_key is None or not len(self.doc_keys):
            return False
        at = int(np.searchsorted(self.doc_keys, np.bytes_(doc_key)))
        return at < len(self.doc_keys) and bool(self.doc_keys[at] == np.bytes_(doc_key))
