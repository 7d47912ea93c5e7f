"""Ctrl-C while a kernel compiles: what a signal's handler raises where LLVM calls back into Python would be dropped there."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)
CALLED_BACK = ("_raw_object_cache_notify", "_raw_object_cache_getbuffer")
"""llvmlite's functions that LLVM calls. A signal during LLVM's work is handled at the next step of Python, so mostly in one of these."""


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Have the handler of a signal that arrives where its exception would be lost run at the end; elsewhere it runs at once, as ever.

    Handlers that are no Python functions stay as they are. Only the main thread has to do with signals; in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: handler for number in NUMBERS if callable(handler := signal.getsignal(number))}
    late: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if _is_called_back(frame):
            late.append(number)
        else:
            before[signal.Signals(number)](number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for arrived in late[:1]:
            before[signal.Signals(arrived)](arrived, None)


def _is_called_back(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name in CALLED_BACK:
            return True
        frame = frame.f_back
    return False
