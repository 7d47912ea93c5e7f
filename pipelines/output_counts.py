"""What a unit of the last stage counts of the documents that it writes: their tokens and their profile.

Owns which parts hold it and where it stands in the unit's record. What is counted, say token_counts and document_profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.document_profile import ProfileColumns
from pipelines.frames import PartWriter
from pipelines.profile_counts import LANGUAGES_PART, UnitProfile
from pipelines.rows import Rows, UnitFiles
from pipelines.token_counts import NAMES_PART, TokenColumns, TokenCounts


class OutputCounts:
    """The counts of one unit; none in stages before the last, and of columns that are not written."""

    def __init__(self, tokens: TokenColumns | None, profile: ProfileColumns | None, files: UnitFiles) -> None:
        self._tokens = None if tokens is None else TokenCounts(tokens, files)
        self._profile = None if profile is None else UnitProfile(profile)

    @property
    def roles(self) -> list[str]:
        """Parts that it may write."""
        return [role for role, counts in ((NAMES_PART, self._tokens), (LANGUAGES_PART, self._profile)) if counts is not None]

    def add(self, rows: Rows) -> None:
        """Count some documents."""
        if self._tokens is not None:
            self._tokens.add(rows)
        if self._profile is not None:
            self._profile.add(rows.batch)

    def told(self, writers: Mapping[str, PartWriter]) -> dict[str, Any]:
        """What the unit's record says of them; what is too long for it goes to the parts."""
        tokens = {} if self._tokens is None else {"tokens": self._tokens.told(writers[NAMES_PART])}
        return tokens if self._profile is None else {**tokens, "profile": self._profile.told(writers[LANGUAGES_PART])}
