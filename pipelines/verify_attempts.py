"""Checks that need files which are not where the version is: made where these can be read, told as not made where not.

Owns what becomes of a verification of a repo whose documents are elsewhere. Knows none of the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from pipelines.checks import Checks, Problem
from pipelines.errors import LocationUnreadable
from pipelines.published import PUBLISHED, PublishedStore
from pipelines.storage import Store

T = TypeVar("T")

LOCATION: Final = "location"
AS_DESCRIBED: Final = "not checkable: the side tables are not as the manifest describes"


class Attempts:
    """Makes checks on a store. Of an output, a store that fails is an error; of a repo, what it points to may be out of reach.

    Attributes:
        why_not: Why checks that build on others cannot be made, should these have failed.
    """

    def __init__(self, store: Store, checks: Checks) -> None:
        self._store = store
        self._checks = checks
        self.why_not = AS_DESCRIBED

    def make(self, names: Sequence[str], step: Callable[[], T], otherwise: T) -> T:
        """The step's answer; `otherwise` if the location cannot be read, with the checks of these names told as not made."""
        before = len(self._checks.made)
        try:
            return step()
        except LocationUnreadable as error:
            self._tell(error)
            made = {check.name for check in self._checks.made[before:]}
            for name in names:
                if name not in made:
                    self._checks.skip(name, self.why_not)
            return otherwise

    def _tell(self, error: LocationUnreadable) -> None:
        """A repo that has the data lacks the texts that filters removed, by intent; one that has none must be readable where it points."""
        if isinstance(self._store, PublishedStore) and self._store.told.include_data:
            self.why_not = f"not checkable: texts that filters removed are not published ({error.message})"
            return
        self.why_not = "not checkable: where the repo points to cannot be read from here"
        if not any(check.name == LOCATION and not check.ok for check in self._checks.made):
            self._checks.judge(LOCATION, [Problem(PUBLISHED, error.message)], "")
