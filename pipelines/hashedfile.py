"""An object that is hashed while it is read as a file: whoever reads it from front to back fetches each of its bytes once.

Owns the digest of one pass. Knows no format.
"""

from __future__ import annotations

import hashlib
from types import TracebackType

from pipelines.objectfile import BLOCK_BYTES, NUM_AHEAD, ObjectFile
from pipelines.storage import ObjectInfo, Store


class HashedFile(ObjectFile):
    """A read-only, seekable file whose blocks are hashed in their order as they come by; reading elsewhere changes nothing of that.

    It is open as long as its `with` block: pyarrow closes what it has read as a file, but the pass goes on to the end of the object.
    """

    def __init__(self, store: Store, info: ObjectInfo, *, block_bytes: int = BLOCK_BYTES, num_ahead: int = NUM_AHEAD) -> None:
        super().__init__(store, info, block_bytes=block_bytes, num_ahead=num_ahead)
        self._state = hashlib.sha256()
        self._hashed = 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().close()

    def close(self) -> None:
        """Nothing: it is closed at the end of its block."""

    def pass_to(self, offset: int) -> None:
        """Hash what lies before the block with this offset and was not read yet, so that the pass goes on without a gap."""
        for index in range(self._hashed, min(offset // self._block_bytes, self._num_blocks)):
            self._block(index)

    def sha256(self) -> str:
        """Digest of the whole object, whatever of it was read."""
        self.pass_to(self._num_blocks * self._block_bytes)
        return self._state.hexdigest()

    def _block(self, index: int) -> bytes:
        block = super()._block(index)
        if index == self._hashed:
            self._state.update(block)
            self._hashed += 1
        return block
