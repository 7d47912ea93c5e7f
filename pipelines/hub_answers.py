"""What a failed request to the Hub means: its status, whether it may pass, whether it was sent at all, and how long to wait.

Reads errors of huggingface_hub and of the client below it by their attributes and names; imports neither.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

PASSING: Final = frozenset({408, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524})


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what caused it: the client wraps failed uploads."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__
    return found


def status_of(error: BaseException) -> int:
    """The HTTP status of an error or of what caused it; 0 if none has one."""
    for one in _causes(error):
        status = getattr(getattr(one, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return 0


def wait_seconds(error: BaseException) -> float | None:
    """How long the Hub asks to wait: `Retry-After` in seconds or as a date, or its own `ratelimit`; None if it says nothing."""
    for one in _causes(error):
        headers = getattr(getattr(one, "response", None), "headers", None)
        if headers is None:
            continue
        after = str(headers.get("retry-after", "")).strip()
        if after.isdecimal():
            return float(after)
        if after and headers.get("date"):
            try:
                return max(0.0, (parsedate_to_datetime(after) - parsedate_to_datetime(headers["date"])).total_seconds())
            except (TypeError, ValueError):
                return None
        window = str(headers.get("ratelimit", "")).rpartition("t=")[2]
        if window.isdecimal():
            return float(window) + 1
    return None


def may_pass(error: BaseException) -> bool:
    """Whether an error may pass by itself."""
    status = status_of(error)
    if status or type(error).__name__ == "OfflineModeIsEnabled":
        return status in PASSING
    return any(_is_of_network(one) for one in _causes(error))


def _is_of_network(error: BaseException) -> bool:
    return isinstance(error, (ConnectionError, TimeoutError)) or any(
        base.__module__.startswith(("httpx", "httpcore")) and base.__name__ == "TransportError" for base in type(error).__mro__
    )


def never_reached(error: BaseException) -> bool:
    """Whether the request was never sent, so that it cannot have had an effect."""
    kinds = {base.__name__ for one in _causes(error) for base in type(one).__mro__}
    return bool(kinds & {"ConnectError", "ConnectTimeout", "PoolTimeout"})
