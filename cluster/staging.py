"""A folder as it goes to a cluster: the pipeline's own files, and beside them the three packages of this checkout or installation.

What is in it depends on contents alone, so that Ray knows it again and nothing is sent twice.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cluster.shippable import place_packages
from cluster.target import TargetError


@contextmanager
def staged(folder: Path, files: Sequence[str]) -> Iterator[Path]:
    """A temporary folder with some files of a folder, under their paths in it, and the packages.

    Raises:
        TargetError: A file cannot be read, or would stand in the place of another one in a package.
    """
    with tempfile.TemporaryDirectory(prefix="shardmill-") as made:
        root = Path(made)
        place_packages(root)
        for path in files:
            _place(folder / path, root / path, path)
        yield root


def _place(source: Path, target: Path, path: str) -> None:
    if target.exists() and target.read_bytes() != source.read_bytes():
        raise TargetError(
            f"{source}: on the cluster {path} is a file of shardmill's own, which this one would replace; rename the folder "
            f"{path.partition('/')[0]!r} beside the pipeline file"
        )
    _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        raise TargetError(f"{source}: cannot be sent to the cluster: {error.strerror}; it must be a file that you may read") from error
