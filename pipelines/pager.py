"""Long text on a terminal: through the user's pager, written as it comes, so that a page is there before the rest is read.

Owns which pager that is, and quiet ends: of a reader that leaves early, and of a pipe that is closed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

PAGERS: Final = ("less", "more")
LESS: Final = "FRX"
"""What `less` is told where LESS does not say: colours as they are, what fits a screen is just printed, and what was read stays there."""
PLAIN: Final = ("", "cat")
"""What PAGER says where none is wanted."""


def pager_command() -> list[str] | None:
    """The user's pager with its arguments; None if there is none, or nobody would see it."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        return None
    words = os.environ.get("PAGER")
    if words is not None:
        command = shlex.split(words)
        return None if not command or command[0] in PLAIN else command
    return next(([found] for name in PAGERS if (found := shutil.which(name)) is not None), None)


def shows_colour(command: list[str] | None) -> bool:
    """Whether escape codes of colours arrive at a person who wants them."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return False
    if command is None:
        return True
    return Path(command[0]).name == "less" and "r" in f"{os.environ.get('LESS', LESS)}{''.join(command[1:])}".lower()


def write_pages(pieces: Iterable[str], command: list[str] | None) -> None:
    """Write text as it comes, through a pager if one is given. Ends quietly when nobody reads any more."""
    try:
        process = (
            None
            if command is None
            else subprocess.Popen(  # noqa: S603  the user's own pager
                command, stdin=subprocess.PIPE, env={"LESS": LESS, **os.environ}
            )
        )
    except OSError:
        process = None  # it is not there, or no program: then without
    if process is None:
        _print(pieces)
    else:
        _page(pieces, process)


def _print(pieces: Iterable[str]) -> None:
    try:
        for piece in pieces:
            # Documents hold characters that the terminal's encoding may not have.
            encoding = sys.stdout.encoding or "utf-8"
            sys.stdout.write(piece.encode(encoding, "backslashreplace").decode(encoding))
            sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter would complain, as it exits, about a reader that is gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _page(pieces: Iterable[str], process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    try:
        for piece in pieces:
            process.stdin.write(piece.encode("utf-8", "backslashreplace"))
            process.stdin.flush()
    except BrokenPipeError:
        pass  # quit before the end
    finally:
        # Whatever happened: what was shown is read to its end before anything else comes to the terminal.
        with suppress(BrokenPipeError):
            process.stdin.close()
        _wait(process)


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Wait until the reader quits; Ctrl-C is the pager's then."""
    while process.returncode is None:
        try:
            process.wait()
        except KeyboardInterrupt:
            continue
