"""One object on its way into S3: in one request if it is small, in parts of 16 MiB sent by a few threads if it is not."""

from __future__ import annotations

import contextlib
import secrets
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pipelines.errors import NotFound, StorageError, Unavailable

if TYPE_CHECKING:
    from pipelines.storage_s3 import S3Store

PART_BYTES = 16 << 20
MAX_PARTS_IN_FLIGHT = 4  # with the one that fills, 80 MiB of memory a writer
MAX_PARTS = 10_000  # of S3: 156 GiB
WRITE_ID = "shardmill-write"


class S3Upload:
    """Collects parts; nothing is visible before `finish`, and a multipart upload that is discarded is aborted."""

    def __init__(self, store: S3Store, path: str, *, conditional: bool) -> None:
        self._store = store
        self._path = path
        self._condition = {"IfNoneMatch": "*"} if conditional else {}
        self._write_id = secrets.token_hex(16)
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._in_flight: deque[Future[dict[str, Any]]] = deque()
        self._parts: list[dict[str, Any]] = []

    def write(self, data: memoryview) -> None:
        """Take bytes; waits for the oldest part when four are in flight, and raises what that part raised."""
        while data:
            taken = min(len(data), PART_BYTES - len(self._buffer))
            self._buffer += data[:taken]
            data = data[taken:]
            if len(self._buffer) == PART_BYTES:
                self._send()

    def _send(self) -> None:
        """Hand the buffer to a thread."""
        number = len(self._parts) + len(self._in_flight) + 1
        if number > MAX_PARTS:
            raise StorageError(
                f"{self._store.locate(self._path)}: more than {MAX_PARTS * PART_BYTES >> 30} GiB in one object; write smaller ones"
            )
        if self._pool is None:
            self._begin()
        if len(self._in_flight) == MAX_PARTS_IN_FLIGHT:
            self._parts.append(self._in_flight.popleft().result())
        assert self._pool is not None
        body, self._buffer = self._buffer, bytearray()
        self._in_flight.append(self._pool.submit(self._send_part, number, body))

    def _begin(self) -> None:
        begun = self._store._call("create_multipart_upload", self._path, Metadata={WRITE_ID: self._write_id})  # noqa: SLF001
        self._upload_id = begun["UploadId"]
        self._pool = ThreadPoolExecutor(MAX_PARTS_IN_FLIGHT, thread_name_prefix="upload")

    def _send_part(self, number: int, body: bytearray) -> dict[str, Any]:
        answer = self._store._call("upload_part", self._path, UploadId=self._upload_id, PartNumber=number, Body=body)  # noqa: SLF001
        self._store.stats.add(bytes_written=len(body))
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def finish(self) -> bool:
        """Make the object visible; False: it had to be new and was not."""
        if self._upload_id is None:
            return self._finish_small()
        if self._buffer:
            self._send()
        while self._in_flight:
            self._parts.append(self._in_flight.popleft().result())
        created = self._complete()
        if not created:
            self._abort()
        self._close()
        return created

    def _finish_small(self) -> bool:
        if self._condition:
            return self._store._put(self._path, self._buffer, self._condition) is not None  # noqa: SLF001
        self._store._call("put_object", self._path, Body=self._buffer)  # noqa: SLF001
        self._store.stats.add(bytes_written=len(self._buffer))
        return True

    def _complete(self) -> bool:
        store = self._store
        # Looked at first because Ceph 16 ignores the condition of a completion: there, only two completions at once can still replace
        # each other, and names that are written so have one possible content.
        if self._condition and store.exists(self._path):
            return False

        def request() -> str:
            answer = store._once(  # noqa: SLF001
                "complete_multipart_upload",
                self._path,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
                **self._condition,
            )
            return str(answer["ETag"])

        try:
            return store._conditionally(self._path, self._write_id, request, new=bool(self._condition)) is not None  # noqa: SLF001
        except NotFound as error:  # S3 gives an upload up when a conflicting write wins; the parts have to be sent again
            raise Unavailable(f"{store.locate(self._path)}: the store gave the upload up; begin it again") from error

    def discard(self) -> None:
        """Stop sending and abort; what cannot be aborted now is found by `Store.discard_unfinished`."""
        for part in self._in_flight:
            part.cancel()
        self._close()
        if self._upload_id is not None:
            self._abort()
        self._buffer = bytearray()

    def _abort(self) -> None:
        with contextlib.suppress(StorageError):
            self._store._call("abort_multipart_upload", self._path, UploadId=self._upload_id)  # noqa: SLF001

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
