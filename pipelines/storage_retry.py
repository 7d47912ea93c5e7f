"""Which storage errors may pass, how long to wait for them, and what they are called in our tree.

The one place that reads error codes of clients: botocore's, aiohttp's, s3fs's and the operating system's. Knows no store.
"""

from __future__ import annotations

import errno
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from botocore import exceptions as boto

from pipelines import waits
from pipelines.errors import (
    AccessDenied,
    ConfigError,
    HubBusy,
    NotFound,
    ShardmillError,
    StorageError,
    StorageFull,
    Throttled,
    Unavailable,
    UnsafeStore,
    shown,
)
from pipelines.redaction import REDACTED

T = TypeVar("T")

THROTTLING_CODES = frozenset(
    {
        "SlowDown",
        "503 SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequests",
        "TooManyRequestsException",
        "BandwidthLimitExceeded",
        "ProvisionedThroughputExceededException",
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "OperationAborted",
    }
)
PASSING_CODES = THROTTLING_CODES | {
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "ServiceUnavailable",
    "RequestTimeout",
    "RequestTimeoutException",
    "RequestTimeTooSkewed",  # a stopped or drifting machine; the next request is signed anew
    "ConditionalRequestConflict",  # S3: another conditional write of the same key is in flight; ours did not happen
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "RequestExpired",
}
THROTTLING_STATUS = frozenset({429, 503})
PASSING_STATUS = THROTTLING_STATUS | {408, 425, 500, 502, 504, 509, 520, 521, 522, 523, 524}
PASSING_ERRNO = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,  # what s3fs makes of SlowDown
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.EPIPE,
        errno.EREMOTEIO,  # what s3fs makes of InternalError
        errno.ESTALE,  # NFS: the handle is of before; a new open finds the file
        errno.ETIMEDOUT,
    }
)
PASSING_CLIENT_ERRORS = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
)
MISSING_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
)
# Errors that tell for certain that the store did not do what it was asked.
REFUSING_CODES = THROTTLING_CODES | {"ConditionalRequestConflict", "RequestTimeTooSkewed", "RequestExpired", "ServiceUnavailable"}
DENIED_CODES = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "ExpiredTokenException",
        "Forbidden",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "Unauthorized",
    }
)
CREDENTIALS_REMEDY = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN for temporary ones) or AWS_PROFILE on every machine of the "
    "run, or `anon: true` in storage_options for a public bucket"
)
CLIENT_MODULES = ("aiohttp", "urllib3", "httpx", "httpcore", "huggingface_hub")  # told by name: most are not installed everywhere
# Errors of huggingface_hub that are the same at every try; told by name, as it is not imported here.
BAD_HUB_NAMES = frozenset({"HfUriError", "HFValidationError"})
HUB_IS_OFF = frozenset({"OfflineModeIsEnabled"})
MAX_RETRY_AFTER_SECONDS = 120.0


@dataclass
class StoreStats:
    """What a store did in this process. Counting is under a lock; reading is not, so a reader may see a moment in between."""

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, *, requests: int = 0, retries: int = 0, throttled: int = 0, bytes_read: int = 0, bytes_written: int = 0) -> None:
        """Add to the counters."""
        with self._lock:
            self.requests += requests
            self.retries += retries
            self.throttled += throttled
            self.bytes_read += bytes_read
            self.bytes_written += bytes_written


def error_code(error: BaseException) -> str:
    """The service's own code of a client error (`SlowDown`), or an empty string."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def http_status(error: BaseException) -> int:
    """The HTTP status that an error carries, or 0."""
    response = getattr(error, "response", None)
    status: Any = None
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status is None and error_code(error).isdigit():  # HEAD has no body: the status stands in for the code
            status = error_code(error)
    elif response is not None:
        status = getattr(response, "status_code", None)
    if status is None:
        status = getattr(error, "status", None)
    return int(status) if isinstance(status, int | str) and str(status).isdigit() else 0


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it: s3fs wraps the error that knows the status."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def throttling(error: BaseException) -> bool:
    """Whether the store asked for fewer requests."""
    return any(isinstance(e, Throttled) or error_code(e) in THROTTLING_CODES or http_status(e) in THROTTLING_STATUS for e in _chain(error))


def retryable(error: BaseException) -> bool:
    """Whether a storage error may pass by itself: the one predicate, by service code, HTTP status and errno.

    `CommitUnknown` is not among them: whether to look again or to begin another attempt is for who asked for the commit.
    """
    return not _kinds(error) & (BAD_HUB_NAMES | HUB_IS_OFF) and any(_passing(e) for e in _chain(error))


def _kinds(error: BaseException) -> set[str]:
    """Names of the classes of the error and of what caused it."""
    return {type(e).__name__ for e in _chain(error)}


def _passing(error: BaseException) -> bool:
    if isinstance(error, Throttled | Unavailable):
        return True
    if isinstance(error, boto.ClientError):
        return error_code(error) in PASSING_CODES or http_status(error) in PASSING_STATUS
    if isinstance(error, boto.SSLError):  # a wrong certificate stays wrong
        return "certificate" not in str(error).lower()
    if isinstance(error, (*PASSING_CLIENT_ERRORS, TimeoutError)) or _garbled(error):
        return True
    if http_status(error):
        return http_status(error) in PASSING_STATUS
    if isinstance(error, OSError):
        return error.errno in PASSING_ERRNO or type(error).__module__.startswith(CLIENT_MODULES)
    return type(error).__module__.startswith(CLIENT_MODULES) and "Certificate" not in type(error).__name__


def refused(error: BaseException) -> bool:
    """Whether an error proves that the request had no effect: the store said so, or it was never reached."""
    if isinstance(error, boto.ClientError):
        status = http_status(error)
        return error_code(error) in REFUSING_CODES or status in THROTTLING_STATUS or 400 <= status < 408
    return isinstance(error, (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError, *MISSING_CREDENTIALS))


def retry_after_seconds(error: BaseException) -> float:
    """How long the store asked to wait (`Retry-After`, in seconds or as a date), at most two minutes; 0 if it did not."""
    for e in _chain(error):
        headers = _headers(e)
        value = str(headers.get("retry-after", "")).strip()
        if value.isdigit():
            return min(float(value), MAX_RETRY_AFTER_SECONDS)
        if value and headers.get("date"):
            try:
                wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])
            except (TypeError, ValueError):
                return 0.0
            return min(max(wait.total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)
    return 0.0


def _headers(error: BaseException) -> Mapping[str, str]:
    """Headers of the answer that an error carries, by their names in small letters."""
    response = getattr(error, "response", None)
    found = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}) if isinstance(response, dict) else getattr(response, "headers", {})
    return {str(name).lower(): str(value) for name, value in found.items()} if isinstance(found, Mapping) else {}


@dataclass
class Backoff:
    """The one loop of retries: full jitter, doubling from `base_seconds` up to `cap_seconds`, at most `tries` requests.

    Attributes:
        max_seconds: No further try begins after so long, unless the store answered that it is too busy.
        sleep: Waits; tests put something faster here.
        jitter: A number from 0 to 1; random, since it decides when and never what.
    """

    stats: StoreStats
    tries: int = 8
    base_seconds: float = 0.1
    cap_seconds: float = 20.0
    max_seconds: float = math.inf
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random

    def run(self, uri: str, request: Callable[[], T]) -> T:
        """The request's answer; what it raised last is translated into our tree, with `uri` as its subject."""
        started = self.clock()
        for attempt in range(self.tries):
            self.stats.add(requests=1)
            try:
                return request()
            except ShardmillError:
                raise
            except Exception as error:
                if self.again(uri, error, attempt, self.clock() - started):
                    continue
                if (named := translated(error, uri)) is error:  # not about storage: a mistake of ours
                    raise
                raise named from error
        raise AssertionError("unreachable: the last try returns or raises")

    def again(self, uri: str, error: BaseException, attempt: int, spent_seconds: float = 0.0) -> bool:
        """Wait if the error may pass and this (from 0) was not the last try; whether to try again."""
        is_busy = throttling(error)
        if is_busy:
            self.stats.add(throttled=1)
        if attempt + 1 >= self.tries or not retryable(error) or (spent_seconds >= self.max_seconds and not is_busy):
            return False
        self.stats.add(retries=1)
        ceiling = min(self.cap_seconds, self.base_seconds * 2.0**attempt)
        seconds = max(self.jitter() * ceiling, retry_after_seconds(error))
        waits.begin(uri, _without_user(_summary(error), uri), f"try {attempt + 2} of {self.tries}", seconds, spent_seconds)
        self.sleep(seconds)
        return True


def translated(error: Exception, uri: str) -> Exception:
    """The error in our tree: what was asked for, what was found, and what to do. One that is ours, or not about storage, stays."""
    if isinstance(error, ShardmillError) or not _about_storage(error):
        return error
    found = _without_user(_summary(error), uri)
    if throttling(error):
        if uri.startswith("hf://"):
            return HubBusy(f"{uri}: the Hub asked to slow down until the retries ended ({found}); run again later, with HF_TOKEN set")
        return Throttled(f"{uri}: the store asked to slow down until the retries ended ({found}); run again later or with fewer workers")
    if retryable(error):
        found = _without_user(_summary(next(e for e in _chain(error) if _passing(e))), uri)  # what wraps it may say less
        return Unavailable(f"{uri}: no usable answer until the retries ended ({found}); check the endpoint and the network, then run again")
    for e in _chain(error):
        if isinstance(e, MISSING_CREDENTIALS):
            return AccessDenied(f"{uri}: no usable credentials ({found}); {CREDENTIALS_REMEDY}")
    return _translated_refusal(error, uri, found)


def _about_storage(error: BaseException) -> bool:
    known = isinstance(error, (boto.BotoCoreError, boto.ClientError, OSError)) or _garbled(error)
    return known or type(error).__module__.startswith(CLIENT_MODULES)


def _garbled(error: BaseException) -> bool:
    """Whether an answer was no XML, as a proxy's error page is. By name: the module that has the class takes long to import."""
    return type(error).__name__ == "ResponseParserError"


def _translated_refusal(error: BaseException, uri: str, found: str) -> Exception:
    """What an error that will not pass is called."""
    if _kinds(error) & BAD_HUB_NAMES:
        return ConfigError(f"{uri}: it names nothing on the Hub ({found}); write hf://OWNER/NAME/FILE, or hf://datasets/OWNER/NAME/FILE")
    if _kinds(error) & HUB_IS_OFF:
        return StorageError(f"{uri}: nothing is read from the Hub while it is off; unset HF_HUB_OFFLINE, or give a file on this machine")
    codes = {error_code(e) for e in _chain(error)}
    statuses = {http_status(e) for e in _chain(error)}
    if "NoSuchBucket" in codes:
        return NotFound(f"{uri}: there is no such bucket; create it, or correct the URI or the endpoint_url")
    if (
        codes & {"NoSuchKey", "404", "NotFound"}
        or 404 in statuses
        or isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError)
    ):
        return NotFound(f"{uri}: there is no such object")
    if codes & DENIED_CODES or statuses & {401, 403}:
        return AccessDenied(f"{uri}: access denied ({found}); check the bucket's policy, or {CREDENTIALS_REMEDY}")
    if isinstance(error, PermissionError):
        return AccessDenied(f"{uri}: permission denied ({found}); check the owner and mode of the file and of its folders")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"{uri}: no space is left ({found}); free some or raise the quota, then run again")
    if "NotImplemented" in codes or 501 in statuses:
        return UnsafeStore(f"{uri}: the store does not know this request ({found}); use a store with conditional writes as output.uri")
    return StorageError(f"{uri}: the store failed ({found})")


def _without_user(found: str, uri: str) -> str:
    """What a client says, without the user and password of the URI: a client tells a name that it cannot use by its own words."""
    user = urlsplit(uri).netloc.rpartition("@")[0] if "@" in uri else ""
    return found.replace(user, REDACTED) if user else found


def _summary(error: BaseException) -> str:
    """The error in a few words, bounded."""
    code = error_code(error)
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return shown(f"{code or type(error).__name__}: {text}")
