"""Faults and limits of the loopback Hub: which request is cut, refused, delayed or answered wrongly, and which comes too soon."""

from __future__ import annotations

import random
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from hub_repos import Refused
from hub_state import Clock, Request

Action = Literal["cut", "lose_answer", "status", "status_after", "half_body", "pass"]
HOUR_SECONDS = 3600
WINDOW_SECONDS = 300


@dataclass
class Rule:
    """What happens to requests that match.

    Attributes:
        action: `cut` (the connection is reset, nothing was done), `lose_answer` (it is done, then the connection is reset), `status`
            (answered with `status`, nothing was done), `status_after` (it is done, but answered with `status`: a 504 of the gateway),
            `half_body` (the answer breaks off in the middle of its body), `pass` (done as usual: for `delay_seconds` and `hook`).
        method: Only this method.
        matching: Only targets (path and query, quoted as they come) in which this regular expression is found.
        server: Only `hub` or only `lfs`.
        nth: The first request that is hit, among those that match, counted from 1.
        times: So many requests from there on; None: for ever.
        probability: Of each match; drawn from `seed`.
        status: For `status` and `status_after`.
        retry_after: Seconds in Retry-After; None: no such header.
        http_date: Retry-After as a date instead of seconds.
        delay_seconds: Real time before the first byte of the answer.
        hook: Called before anything else; may block.
        hits: How many requests it was done to.
        seen: How many matched.
    """

    action: Action
    method: str | None = None
    matching: str = ""
    server: Literal["hub", "lfs"] | None = None
    nth: int = 1
    times: int | None = 1
    probability: float = 1.0
    seed: int = 0
    status: int = 503
    retry_after: int | None = None
    http_date: bool = False
    delay_seconds: float = 0.0
    hook: Callable[[Request], None] | None = None
    hits: int = 0
    seen: int = 0

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)

    def applies(self, request: Request) -> bool:
        """Whether this request is hit; counts it."""
        if self.method not in (None, request.method) or self.server not in (None, request.server):
            return False
        if not re.search(self.matching, request.target):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times is not None and self.hits >= self.times) or self._draw.random() >= self.probability:
            return False
        self.hits += 1
        return True

    def headers(self, clock: Clock) -> dict[str, str]:
        """What the wrong answer carries."""
        if self.retry_after is None:
            return {}
        return {"Retry-After": clock.http_date(self.retry_after) if self.http_date else str(self.retry_after)}


class Faults:
    """The rules; the first that applies counts."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(self, rule: Rule) -> None:
        """Add a rule behind the others."""
        with self._lock:
            self._rules.append(rule)

    def remove(self, rule: Rule) -> None:
        """Forget a rule."""
        with self._lock:
            self._rules = [known for known in self._rules if known is not rule]

    def rule_for(self, request: Request) -> Rule | None:
        """The rule for a request that arrives now."""
        with self._lock:
            return next((rule for rule in self._rules if rule.applies(request)), None)


@dataclass
class Limits:
    """What the Hub refuses as too much; None: no limit. Counted with the Hub's clock.

    Attributes:
        commits_per_hour: Commits and merges in a repo (the Hub: 128).
        requests_per_window: API requests of an account within 5 minutes (the Hub: 1,000).
        files_per_commit: Lines of a commit.
        regular_bytes_per_commit: Bytes of the files in git of a commit.
    """

    commits_per_hour: int | None = None
    requests_per_window: int | None = None
    files_per_commit: int | None = None
    regular_bytes_per_commit: int | None = None
    _commits: dict[str, deque[float]] = field(default_factory=dict)
    _requests: dict[str, deque[float]] = field(default_factory=dict)

    def check_commit(self, repo_id: str, clock: Clock) -> None:
        """Raises Refused 429 when this commit would be one too many within an hour."""
        if self.commits_per_hour is None:
            return
        wait = _wait(self._commits.setdefault(repo_id, deque()), self.commits_per_hour, HOUR_SECONDS, clock)
        if wait:
            reason = f"You have exceeded the rate limit for repository commits ({self.commits_per_hour} per hour). Retry in {wait} seconds."
            raise Refused(429, reason, headers={"Retry-After": str(wait)})

    def count_commit(self, repo_id: str, clock: Clock) -> None:
        """A commit took effect."""
        self._commits.setdefault(repo_id, deque()).append(clock.now)

    def count_request(self, account: str, clock: Clock) -> dict[str, str]:
        """Count an API request; returns the headers that tell how many are left.

        Raises:
            Refused: 429 too many within the window.
        """
        if self.requests_per_window is None:
            return {}
        made = self._requests.setdefault(account, deque())
        wait = _wait(made, self.requests_per_window, WINDOW_SECONDS, clock)
        left = max(0, self.requests_per_window - len(made) - 1)
        headers = {
            "RateLimit": f'"api";r={left};t={wait or WINDOW_SECONDS}',
            "RateLimit-Policy": f'"fixed window";"api";q={self.requests_per_window};w={WINDOW_SECONDS}',
        }
        if wait:
            raise Refused(429, "Too many requests", headers={**headers, "Retry-After": str(wait)})
        made.append(clock.now)
        return headers

    def check_size(self, num_files: int, regular_bytes: int) -> None:
        """Raises Refused 413 when a commit is larger than the Hub takes."""
        if self.files_per_commit is not None and num_files > self.files_per_commit:
            raise Refused(413, f"Too many files in one commit: {num_files}, at most {self.files_per_commit}")
        if self.regular_bytes_per_commit is not None and regular_bytes > self.regular_bytes_per_commit:
            raise Refused(413, f"The commit is too large: {regular_bytes} bytes, at most {self.regular_bytes_per_commit}")


def _wait(moments: deque[float], limit: int, window_seconds: int, clock: Clock) -> int:
    """Seconds until one more is allowed; 0: now."""
    while moments and moments[0] <= clock.now - window_seconds:
        moments.popleft()
    return 0 if len(moments) < limit else max(1, int(moments[-limit] + window_seconds - clock.now))
