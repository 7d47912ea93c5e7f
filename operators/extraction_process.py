"""Pages go to a process of their own and texts come back; a page that kills the process is told apart from its neighbours.

Owns the life of that process: started when it is needed, killed and reaped when it is not, replaced when it died. Knows bytes and failures,
not Arrow.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from operators import extraction_worker
from operators.base import OperatorError, RowError
from operators.extraction_worker import ANSWER, FAILURE, LENGTH, NULL, OUT_OF_MEMORY

START_SECONDS: Final = 120.0
STALLED_SECONDS: Final = 60.0
"""Beside ten times the limit: the limit counts the time that the process computes, this one the time that it is waited for."""
PAGES_PER_PROCESS: Final = 10_000
"""Then a new one: what parsers leak stays small beside what a page may need."""
READ_BYTES: Final = 1 << 20
PIPE_BYTES: Final = 1 << 20
"""Several pages, so that neither side wakes the other for each."""

Answer = list[bytes | None] | RowError
"""The fields of a page, each UTF-8 or null, or why it has none."""


@dataclass(frozen=True, slots=True)
class _Death:
    """How a process ended: an error and a message for the page that it was busy with."""

    error: str
    message: str
    is_certain: bool = False
    """Whether that page alone is to blame, whatever came before it."""


class ExtractionProcess:
    """Extracts pages in another process, one after the other. May be used by several threads, one at a time."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Take the settings as extraction_worker.py wants them; nothing is started yet."""
        self._settings = settings
        self._lock = threading.Lock()
        self._children: list[_Child] = []
        weakref.finalize(self, _stop_all, self._children)

    def run(self, pages: Sequence[bytes]) -> list[Answer]:
        """An answer for each page, in order.

        A page is blamed for the death of its process if it took its time, or if it was the first in a process of its own.

        Raises:
            OperatorError: The process does not start.
        """
        answers: list[Answer] = []
        with self._lock:
            while len(answers) < len(pages):
                child = self._child()
                first = child.num_answers == 0
                before = len(answers)
                death = child.exchange(pages[before : before + PAGES_PER_PROCESS], answers)
                if death is None:
                    continue
                self._retire()
                if death.is_certain or (first and len(answers) == before):
                    answers.append(RowError(death.error, death.message))
        return answers

    def _child(self) -> _Child:
        if self._children and self._children[0].num_answers >= PAGES_PER_PROCESS:
            self._retire()
        if not self._children:
            self._children.append(_Child(self._settings))
        return self._children[0]

    def _retire(self) -> None:
        _stop_all(self._children)


def _stop_all(children: list[_Child]) -> None:
    while children:
        children.pop().stop()


class _Child:
    """One process, and the bytes on their way to and from it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.num_answers = 0
        self._settings = settings
        self._received = bytearray()
        # Sets are iterated in the order of hashes: with random ones the same page could give another text in another process.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-P", extraction_worker.__file__, json.dumps(settings)]
        self._process = subprocess.Popen(  # noqa: S603  our own file, by our own interpreter
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, bufsize=0
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):  # a user may be allowed no more than the default
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        try:
            self._await_start()
        except BaseException:
            self.stop()
            raise

    def _await_start(self) -> None:
        answers: list[Answer] = []
        death = self._converse(memoryview(b""), 1, answers, START_SECONDS)
        self.num_answers = 0
        name = self._settings["extractor"]
        if death is not None:
            limit = self._settings["max_memory_bytes"]
            raise OperatorError(
                f"the process that runs {name} did not start: {death.message}; is max_memory_bytes ({limit}) enough, and {name} installed?"
            )
        if isinstance(answers[0], RowError):
            raise OperatorError(f"{name} cannot be loaded: {answers[0].message}; reinstall it")

    def exchange(self, pages: Sequence[bytes], answers: list[Answer]) -> _Death | None:
        """Add the answers to pages, as many as come; None if all did, else how the process ended."""
        frames = b"".join(part for page in pages for part in (LENGTH.pack(len(page)), page))
        return self._converse(memoryview(frames), len(pages), answers, 10 * self._settings["timeout_seconds"] + STALLED_SECONDS)

    def _converse(self, unsent: memoryview, expected: int, answers: list[Answer], patience_seconds: float) -> _Death | None:
        """Send and receive as either is possible: neither side ever waits for the other with a full pipe."""
        target = len(answers) + expected
        poller = select.poll()
        poller.register(self._from, select.POLLIN)
        if unsent:
            poller.register(self._to, select.POLLOUT)
        while len(answers) < target:
            ready = dict(poller.poll(patience_seconds * 1000))
            if not ready:
                return _Death("extraction_timeout", f"the process did not answer for {patience_seconds:g} seconds", is_certain=True)
            if self._from in ready:
                data = os.read(self._from, READ_BYTES)
                if not data:
                    return self._death()
                self._received += data
                answers.extend(self._answers())
            if self._to in ready:
                try:
                    unsent = unsent[os.write(self._to, unsent) :]
                except BrokenPipeError:
                    unsent = unsent[:0]  # it has died: what it had answered is still to be read
                if not unsent:
                    poller.unregister(self._to)
        return None

    def _answers(self) -> Iterator[Answer]:
        """The answers that have arrived whole."""
        while (found := self._parsed()) is not None:
            num_bytes, answer = found
            del self._received[:num_bytes]
            self.num_answers += 1
            yield answer

    def _parsed(self) -> tuple[int, Answer] | None:
        data = self._received
        if len(data) < ANSWER.size:
            return None
        kind, num_fields = ANSWER.unpack_from(data)
        at = ANSWER.size
        fields: list[bytes | None] = []
        for _ in range(num_fields):
            if len(data) < at + LENGTH.size:
                return None
            (length,) = LENGTH.unpack_from(data, at)
            at += LENGTH.size
            if length == NULL:
                fields.append(None)
                continue
            if len(data) < at + length:
                return None
            fields.append(bytes(data[at : at + length]))
            at += length
        if kind == FAILURE:
            return at, RowError("extraction_failed", (fields[0] or b"").decode())
        return at, fields

    def _death(self) -> _Death:
        status = self._process.wait()
        limit = self._settings["timeout_seconds"]
        if status == -signal.SIGPROF:
            return _Death("extraction_timeout", f"the page took more than {limit:g} seconds of computing", is_certain=True)
        if status == OUT_OF_MEMORY:
            return _Death("extraction_failed", f"the page needs more than {self._settings['max_memory_bytes']} bytes of memory")
        how = f"was killed by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"
        return _Death("extraction_crashed", f"the process {how}")

    def stop(self) -> None:
        """Kill the process, wait for it and close the pipes."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
