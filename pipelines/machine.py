"""Which errors are the machine's: a full disk, no memory, no file handles left. They say nothing about the row that met them."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
EXHAUSTED: Final = (*FULL, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EROFS)


def is_errno(error: BaseException, *numbers: int) -> bool:
    """Whether an error is one of the operating system's with such a number."""
    return isinstance(error, OSError) and error.errno in numbers


def is_of_machine(error: BaseException) -> bool:
    """Whether an error tells of the machine, so that no row may be blamed for it: on another one, or later, the same row passes."""
    return isinstance(error, MemoryError) or is_errno(error, *EXHAUSTED)


def full_folder(folders: Iterable[str], num_bytes: int) -> tuple[str, int] | None:
    """The first of these folders in which fewer bytes are free, and how many; None where there is space."""
    for folder in folders:
        if Path(folder).is_dir():
            free = shutil.disk_usage(folder).free
            if free < num_bytes:
                return folder, free
    return None
