"""What a publication sends, made ready: files in groups whose copies fit a disk, each as content or as a path on this machine.

Owns where bytes are between an output and the Hub's client. Knows neither repos nor commits.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipelines.errors import InputChanged, StorageFull
from pipelines.legible import size
from pipelines.publish_files import File
from pipelines.publish_hub import Addition
from pipelines.publish_plan import check_sent
from pipelines.storage import Store

GROUP_BYTES: Final = 2 << 30
GROUP_FILES: Final = 25
IN_MEMORY_BYTES: Final = 10 << 20
"""The Hub keeps files above this in LFS or Xet whatever they are; smaller ones may go with the commit itself."""
COPY_BYTES: Final = 16 << 20


def each_once(files: Sequence[File], additions: Sequence[Addition]) -> Iterator[list[Addition]]:
    """Additions in two steps: those of equal content after the first of them, so that their bytes are not sent again."""
    first: dict[str | None, int] = {}
    for number, file in enumerate(files):
        first.setdefault(file.sha256 or file.path, number)
    chosen = set(first.values())
    yield [one for number, one in enumerate(additions) if number in chosen]
    again = [one for number, one in enumerate(additions) if number not in chosen]
    if again:
        yield again


def groups(files: Sequence[File]) -> Iterator[list[File]]:
    """Files that are sent together: what they need of disk space is bounded."""
    group: list[File] = []
    for file in files:
        if group and (len(group) >= GROUP_FILES or sum(other.num_bytes for other in group) + file.num_bytes > GROUP_BYTES):
            yield group
            group = []
        group.append(file)
    if group:
        yield group


@contextmanager
def sources(store: Store, files: Sequence[File]) -> Iterator[list[bytes | str]]:
    """What the client sends: content, or paths on this machine; large objects of other stores are copied to a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="shardmill-publish-"))
    try:
        yield [_source(store, file, folder / str(number)) for number, file in enumerate(files)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _source(store: Store, file: File, target: Path) -> bytes | str:
    if file.content is not None:
        return file.content
    if file.num_bytes <= IN_MEMORY_BYTES:
        return _checked(store, file, store.read(file.path))
    if store.kind == "local":
        return store.locate(file.path)
    etag = store.info(file.path).etag
    try:
        with target.open("wb") as copy:
            for start in range(0, file.num_bytes, COPY_BYTES):
                copy.write(store.read_range(file.path, start, min(start + COPY_BYTES, file.num_bytes), etag=etag))
    except OSError as error:
        raise StorageFull(
            f"{target.parent}: no room for a copy of {file.path} ({size(file.num_bytes)}), which is sent from there ({error.strerror}); "
            f"set TMPDIR to a folder that has {size(max(GROUP_BYTES, file.num_bytes))} free"
        ) from error
    return str(target)


def _checked(store: Store, file: File, content: bytes) -> bytes:
    if len(content) != file.num_bytes:
        raise InputChanged(f"{store.locate(file.path)}: it has {len(content)} bytes, expected {file.num_bytes}: it was changed meanwhile")
    check_sent(file, hashlib.sha256(content).hexdigest())
    return content
