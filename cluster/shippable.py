"""Which files may go to a cluster: those of our own packages, and those of a pipeline's folder that are no leavings and no environments.

One answer for a driver that is handed over (staging.py) and for the workers of a session (shipping.py).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

PACKAGES: Final = ("operators", "cluster", "pipelines")
HERE: Final = Path(__file__).resolve().parent.parent
"""Where the packages lie: a checkout or an installation."""
MAX_BYTES: Final = 100 << 20
"""Of all that goes along: it lies in the memory of the cluster's head, and Ray refuses half a gigabyte."""
MAX_ENTRIES: Final = 20_000
"""Files and folders that are looked at in a pipeline's folder: one that holds the data too is not walked through for minutes."""
LEFT_OUT: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
ENVIRONMENT_MARK: Final = "pyvenv.cfg"
MADE_BY_PYTHON: Final = (".pyc", ".pyo")


class ShippingError(Exception):
    """What should be shipped cannot be; its only argument is the message."""


def modules_below(folder: Path, without: Path | None = None) -> list[Path]:
    """Python modules in a folder and below, sorted; none in the folder `without`.

    Raises:
        ShippingError: There are too many files to look for them.
    """
    return sorted(path for path in files_below(folder, without) if path.suffix == ".py")


def named_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """The files in a folder that the patterns of `cluster.ship` name, sorted.

    Raises:
        ShippingError: A pattern matches none.
    """
    named: set[Path] = set()
    for pattern in patterns:
        found = [path for path in folder.glob(pattern) if path.is_file()]
        if not found:
            raise ShippingError(f"cluster.ship: {pattern!r} matches no file in {folder}; patterns count from the pipeline's folder")
        named |= set(found)
    return sorted(named)


def files_below(folder: Path, without: Path | None = None) -> Iterator[Path]:
    """The files below a folder; hidden ones, caches and virtual environments left out, links to folders not followed."""
    seen = 0
    for place, folders, files in os.walk(folder):
        seen += len(folders) + len(files)
        if seen > MAX_ENTRIES:
            raise ShippingError(
                f"{folder}: it holds more than {MAX_ENTRIES:,} files, and the pipeline's modules are looked for in all of its folders; "
                "put the pipeline file and its modules into a folder of their own"
            )
        here = Path(place)
        folders[:] = sorted(name for name in folders if here / name != without and _is_shipped(here / name))
        yield from (here / name for name in sorted(files) if not name.startswith(".") and not name.endswith(MADE_BY_PYTHON))


def place_packages(target: Path) -> None:
    """Copy our own packages into a folder."""
    for name in PACKAGES:
        for path in files_below(HERE / name):
            place = target / path.relative_to(HERE)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _is_shipped(folder: Path) -> bool:
    return not folder.name.startswith(".") and folder.name not in LEFT_OUT and not (folder / ENVIRONMENT_MARK).exists()
