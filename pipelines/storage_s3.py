"""Objects in S3 and what speaks its protocol (Ceph, MinIO, R2 …), with conditional writes that survive lost answers.

Every conditional write carries a number of its own in the object's metadata. When an answer was lost, the object's metadata tells whether
the write that was asked for is the one that happened.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from pipelines.errors import CommitUnknown, Conflict, InputChanged, NotFound, ShardmillError, StorageError, shown
from pipelines.storage_contract import ObjectInfo, Store, StoreKind, Upload, checked_path, checked_range, ends_early, folder_prefix
from pipelines.storage_retry import error_code, http_status, refused, retryable, translated
from pipelines.storage_s3_client import S3Client, s3_client
from pipelines.storage_s3_upload import WRITE_ID, S3Upload

DELETE_BATCH = 1000
NO_BATCH_DELETE = frozenset({"InvalidRequest", "MissingContentMD5", "InvalidDigest", "NotImplemented", "MethodNotAllowed", "501"})


class ConditionFailedError(StorageError):
    """Inside this module only: the store answered 412."""


class RangeOutsideError(StorageError):
    """Inside this module only: the store answered 416."""


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket (or access point) and key of an `s3://` URI; the key keeps a `/` at its end."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    if bucket.startswith("arn:") and "/" in key:  # arn:…:accesspoint/NAME/key
        name, _, key = key.partition("/")
        bucket = f"{bucket}/{name}"
    return bucket, key


class S3Store(Store):
    """Objects of one bucket under a prefix."""

    kind: ClassVar[StoreKind] = "s3"

    def __init__(self, uri: str, options: Mapping[str, Any] | None = None) -> None:
        self.bucket, key = split_s3_uri(uri)
        prefix = key.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._bare_etags = False
        super().__init__(f"s3://{self.bucket}/{prefix}".rstrip("/"), options)

    # Requests

    def _client(self) -> S3Client:
        return s3_client(self.options)

    def _once(self, method: str, path: str, **parameters: Any) -> Any:
        """One request about one object."""
        try:
            return self._client().call(method, Bucket=self.bucket, Key=self._prefix + path, **parameters)
        except ClientError as error:
            match http_status(error):
                case 412:
                    raise ConditionFailedError(f"{self.locate(path)}: the condition did not hold") from error
                case 416:
                    raise RangeOutsideError(f"{self.locate(path)}: the range is outside of the object") from error
                case _:
                    raise

    def _call(self, method: str, path: str, **parameters: Any) -> Any:
        return self.backoff.run(self.locate(path), lambda: self._once(method, path, **parameters))

    def _bucket_call(self, method: str, **parameters: Any) -> Any:
        return self.backoff.run(self.uri, lambda: self._client().call(method, Bucket=self.bucket, **parameters))

    # Reading

    def info(self, path: str) -> ObjectInfo:
        """See Store."""
        return self._described(path)[0]

    def _described(self, path: str) -> tuple[ObjectInfo, str | None]:
        """The object, and the number of the write that made it, if one of ours did."""
        head = self._call("head_object", path)
        found = ObjectInfo(path, int(head["ContentLength"]), _bare(head["ETag"]), head["LastModified"].timestamp())
        return found, head.get("Metadata", {}).get(WRITE_ID)

    def exists(self, path: str) -> bool:
        """See Store."""
        try:
            self._call("head_object", path)
        except NotFound:
            return False
        return True

    def read(self, path: str, *, etag: str | None = None) -> bytes:
        """See Store."""
        return self._get(path, etag)[0]

    def read_range(self, path: str, start: int, stop: int, *, etag: str | None = None) -> bytes:
        """See Store."""
        uri = self.locate(path)
        size = checked_range(uri, start, stop)
        if size == 0:
            return b""
        try:
            content, _ = self._get(path, etag, Range=f"bytes={start}-{stop - 1}")
        except RangeOutsideError as error:
            raise ends_early(uri, start, stop, 0) from error
        if len(content) != size:
            raise ends_early(uri, start, stop, len(content))
        return content

    def read_versioned(self, path: str) -> tuple[bytes, str]:
        """See Store."""
        return self._get(path, None)

    def _get(self, path: str, etag: str | None, **parameters: Any) -> tuple[bytes, str]:
        """Content and etag, of one answer."""
        conditions = {} if etag is None else {"IfMatch": self._quoted(etag)}

        def request() -> tuple[bytes, str]:
            answer = self._once("get_object", path, **conditions, **parameters)
            with contextlib.closing(answer["Body"]) as body:
                if "Range" in parameters and "ContentRange" not in answer:
                    raise StorageError(f"{self.locate(path)}: the server ignores ranges; use one that supports them")
                return body.read(), _bare(answer["ETag"])

        try:
            content, found = self.backoff.run(self.locate(path), request)
        except ConditionFailedError as error:
            found = self.info(path).etag
            if found == etag and self._learn_bare_etags():
                return self._get(path, etag, **parameters)
            raise InputChanged(f"{self.locate(path)}: found etag {shown(found)}, expected {shown(etag)}") from error
        self.stats.add(bytes_read=len(content))
        if etag is not None and found != etag:  # a server that ignores If-Match
            raise InputChanged(f"{self.locate(path)}: found etag {shown(found)}, expected {shown(etag)}")
        return content, found

    def _quoted(self, etag: str) -> str:
        return etag if self._bare_etags else f'"{etag}"'

    def _learn_bare_etags(self) -> bool:
        """Leave the quotes away from now on, as Ceph 16 wants it; False if they were left away already."""
        learnt = not self._bare_etags
        self._bare_etags = True
        return learnt

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See Store; the pages are asked for one by one."""
        for page in self._pages(self._prefix + folder_prefix(prefix)):
            yield from self._objects(page)

    def children(self, folder: str, starting: str = "") -> Iterator[ObjectInfo | str]:
        """See Store."""
        for page in self._pages(self._prefix + folder_prefix(folder) + starting, Delimiter="/"):
            yield from self._objects(page)
            for common in page.get("CommonPrefixes", ()):
                yield common["Prefix"].removeprefix(self._prefix).rstrip("/")

    def _pages(self, prefix: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        token: dict[str, str] = {}
        while True:
            page = self._bucket_call("list_objects_v2", Prefix=prefix, **parameters, **token)
            yield page
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _objects(self, page: Mapping[str, Any]) -> Iterator[ObjectInfo]:
        """The objects of a page, without the empty ones by which some programs mark folders."""
        for item in page.get("Contents", ()):
            if not item["Key"].endswith("/"):
                path = item["Key"].removeprefix(self._prefix)
                yield ObjectInfo(path, int(item["Size"]), _bare(item["ETag"]), item["LastModified"].timestamp())

    # Writing

    def create(self, path: str, data: bytes) -> bool:
        """See Store."""
        return self._put(path, data, {"IfNoneMatch": "*"}) is not None

    def replace(self, path: str, data: bytes, *, etag: str | None) -> str:
        """See Store."""
        if etag is None:
            written = self._put(path, data, {"IfNoneMatch": "*"})
            if written is None:
                raise Conflict(f"{self.locate(path)}: expected no object, found one; read it and decide again")
            return written
        try:
            written = self._put(path, data, {"IfMatch": self._quoted(etag)})
        except NotFound as error:
            raise Conflict(f"{self.locate(path)}: expected etag {shown(etag)}, found no object; read it and decide again") from error
        if written is not None:
            return written
        found = self.info(path).etag if self.exists(path) else "none"
        if found == etag and self._learn_bare_etags():
            return self.replace(path, data, etag=etag)
        raise Conflict(f"{self.locate(path)}: found etag {shown(found)}, expected {shown(etag)}; read it and decide again")

    def _put(self, path: str, data: bytes | bytearray, condition: Mapping[str, str]) -> str | None:
        """Write an object in one request if the condition holds; its etag, or None if it did not hold."""
        write_id = secrets.token_hex(16)
        key = checked_path(path)

        def request() -> str:
            answer = self._once("put_object", key, Body=data, Metadata={WRITE_ID: write_id}, **condition)
            return _bare(answer["ETag"])

        written = self._conditionally(path, write_id, request, new="IfNoneMatch" in condition)
        if written is not None:
            self.stats.add(bytes_written=len(data))
        return written

    def _conditionally(self, path: str, write_id: str, request: Callable[[], str], *, new: bool) -> str | None:
        """The loop of retries for a write with a condition: `Backoff.run`, with a memory of tries whose answer was lost.

        After such a try, 'refused' may be the echo of our own success, and so may be 'no such upload'.

        Returns:
            The etag of the object that this write made; None: the condition did not hold.

        Raises:
            CommitUnknown: Answers were lost, and looking at the object did not tell.
        """
        uncertain = False
        started = self.backoff.clock()
        for attempt in itertools.count():
            self.stats.add(requests=1)
            try:
                return request()
            except ConditionFailedError as error:
                return self._settled(path, write_id, error, new=new) if uncertain else None
            except ShardmillError:
                raise
            except Exception as error:
                uncertain = uncertain or not refused(error)
                if self.backoff.again(self.locate(path), error, attempt, self.backoff.clock() - started):
                    continue
                if uncertain and (retryable(error) or attempt):
                    return self._settled(path, write_id, error, new=new)
                if (named := translated(error, self.locate(path))) is error:
                    raise
                raise named from error
        raise AssertionError("unreachable: the last try returns or raises")

    def _settled(self, path: str, write_id: str, error: Exception, *, new: bool) -> str | None:
        """What became of a write whose answer was lost, by the object that is there: the etag if it is ours, None if another's is.

        No object settles nothing: the request may still be on its way. Another's settles a write of a `new` object, which can no longer
        happen, but not a replacement, which may have happened and been replaced in turn, or may still find the etag that it waits for.
        """
        unknown = CommitUnknown(
            f"{self.locate(path)}: the store did not answer a conditional write ({shown(error)}), so it may or may not have happened; "
            "nothing was deleted. Run again: what is committed by then is found"
        )
        try:
            found, made_by = self._described(path)
        except StorageError as cause:
            raise unknown from cause
        if made_by == write_id:
            return found.etag
        if new or isinstance(error, ConditionFailedError):
            return None
        raise unknown from error

    def _upload(self, path: str, *, conditional: bool) -> Upload:
        return S3Upload(self, checked_path(path), conditional=conditional)

    def delete(self, paths: Iterable[str]) -> int:
        """See Store; up to 1,000 objects a request."""
        gone = 0
        remaining = iter(paths)
        while batch := list(itertools.islice(remaining, DELETE_BATCH)):
            self.backoff.run(self.uri, lambda batch=batch: self._delete_batch(batch))  # type: ignore[misc]
            gone += len(batch)
        return gone

    def _delete_batch(self, paths: Sequence[str]) -> None:
        """Delete some objects, in one request where the store knows how; raises one of the errors if there are any."""
        objects = [{"Key": self._prefix + path} for path in paths]
        try:
            answer = self._client().call("delete_objects", Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True})
        except ClientError as error:
            if error_code(error) not in NO_BATCH_DELETE:
                raise
            for path in paths:
                self._call("delete_object", path)
            return
        errors = [found for found in answer.get("Errors", ()) if found.get("Code") not in ("NoSuchKey", "NotFound")]
        if errors:
            raise ClientError(
                {"Error": errors[0], "ResponseMetadata": answer.get("ResponseMetadata", {}) | {"HTTPStatusCode": 0}}, "Delete"
            )

    def discard_unfinished(self, older_than_seconds: float) -> int:
        """See Store: multipart uploads that nobody completed, which are paid for and never listed."""
        limit = self.now() - older_than_seconds
        aborted = 0
        marker: dict[str, str] = {}
        while True:
            page = self._bucket_call("list_multipart_uploads", Prefix=self._prefix, **marker)
            for upload in page.get("Uploads", ()):
                if upload["Initiated"].timestamp() < limit:
                    with contextlib.suppress(NotFound):  # completed or aborted meanwhile
                        self._call("abort_multipart_upload", upload["Key"].removeprefix(self._prefix), UploadId=upload["UploadId"])
                        aborted += 1
            if not page.get("IsTruncated"):
                return aborted
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def now(self) -> float:
        """See Store: the `Date` of an answer, with a resolution of a second."""

        def request() -> float:
            try:
                answer = self._client().call("head_object", Bucket=self.bucket, Key=f"{self._prefix}_shardmill/clock")
            except ClientError as error:
                if retryable(error):
                    raise
                answer = error.response  # there is no such object, or it may not be seen: the answer has a date all the same
            return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()

        return self.backoff.run(self.uri, request)


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')
