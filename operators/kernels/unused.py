"""What nothing has used for long goes from this node's cache: each change of the sources leaves the old code and tables behind."""

from __future__ import annotations

import contextlib
import time
from functools import cache
from pathlib import Path
from typing import Final

UNUSED_DAYS: Final = 30
_DIGEST: Final = "-" + "[0-9a-f]" * 20
OURS: Final = (
    *(f"*{_DIGEST}.npz", f"*{_DIGEST}.lock", f"*{_DIGEST}.*.tmp"),
    *(f"kernels/*{_DIGEST}/*.nb[ci]", f"kernels/*{_DIGEST}/*.nb[ci].tmp.*", f"kernels/*{_DIGEST}/*.lock"),
)
"""Tables and code as kept.py and jit.py name them: the folder may be one that the user keeps other things in."""


@cache
def remove_unused(folder: Path) -> None:
    """Remove the cache's files that were neither read nor written for `UNUSED_DAYS`, once a process.

    Whoever needs one of them makes it again, and whoever has it open keeps it. Folders stay: another process may be about to write
    into one. Where the file system does not note when files are read, they go by when they were written.
    """
    oldest = time.time() - UNUSED_DAYS * 86_400
    with contextlib.suppress(OSError):
        for path in [path for pattern in OURS for path in folder.glob(pattern)]:
            with contextlib.suppress(OSError):
                about = path.lstat()
                if max(about.st_atime, about.st_mtime) < oldest:
                    path.unlink()
