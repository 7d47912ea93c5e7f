"""A store that can be read and never written: what its writing methods answer, in one place.

Owns the refusals. How such a store is read, its subclasses know.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.errors import NotFound, UnsafeStore
from pipelines.storage_contract import Store, Upload


class UnwritableStore(Store):
    """A store without conditional writes: everything that would change it is refused, so that no run takes it as its output."""

    def exists(self, path: str) -> bool:
        """See Store."""
        try:
            self.info(path)
        except NotFound:
            return False
        return True

    def create(self, path: str, data: bytes) -> bool:  # noqa: ARG002 - the contract's
        """Refused."""
        raise self._unsafe()

    def replace(self, path: str, data: bytes, *, etag: str | None) -> str:  # noqa: ARG002 - the contract's
        """Refused."""
        raise self._unsafe()

    def _upload(self, path: str, *, conditional: bool) -> Upload:  # noqa: ARG002 - the contract's
        raise self._unsafe()

    def delete(self, paths: Iterable[str]) -> int:  # noqa: ARG002 - the contract's
        """Refused."""
        raise self._unsafe()

    def discard_unfinished(self, older_than_seconds: float) -> int:  # noqa: ARG002 - the contract's
        """Refused."""
        raise self._unsafe()

    def now(self) -> float:
        """Refused: nobody may hold a lease here."""
        raise self._unsafe()

    def check(self) -> None:
        """Always refused: a check and then a write is no conditional write."""
        raise self._unsafe()

    def _unsafe(self) -> UnsafeStore:
        return UnsafeStore(
            f"{self.uri}: this kind of store can be read, but has no conditional writes here, so no run may write to it; use a local path "
            "or an s3:// URI as output.uri"
        )
