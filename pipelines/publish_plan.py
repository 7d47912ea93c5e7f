"""What is left to do for a repo to hold a version: compared file by file with what it holds, refused where it holds something else.

Pure: a repo's state and a version go in, the files to add and to delete and the commits that it takes come out. So a second try finds
what a first one left, and publishing the same again finds nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pipelines.errors import ConfigError, InputError, PublishedOtherwise, shown
from pipelines.legible import counted, seconds, size
from pipelines.publish_files import Edition, File
from pipelines.publish_hub import Entry, Revision
from pipelines.published import OWN, PUBLISHED
from pipelines.version import CARD, MANIFEST

FILES_PER_COMMIT: Final = 100
"""The Hub recommends 50 to 100 files a commit (LESSONS.md, its last section): a commit must be done within 60 s."""
BYTES_PER_COMMIT: Final = 50 * 10**9
"""So that a try that dies has not sent much in vain: what a commit of a pull request holds is not even looked at again."""
COMMITS_PER_HOUR: Final = 128
MAX_REPO_FILES: Final = 100_000
LINEAGE: Final = re.compile(r"versions/v[1-9][0-9]*/manifest\.json")
HARMLESS: Final = frozenset({".gitattributes", ".gitignore"})
MAX_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class State:
    """What `main` of a repo holds.

    Attributes:
        raw: The manifest of the version that is there; None: no version was ever published here.
    """

    revision: Revision
    raw: bytes | None

    @property
    def digest(self) -> str | None:
        """SHA-256 of the manifest."""
        return None if self.raw is None else hashlib.sha256(self.raw).hexdigest()

    @property
    def manifest(self) -> Mapping[str, Any] | None:
        """The manifest; None if there is none, or it is damaged."""
        try:
            found = orjson.loads(self.raw or b"null")
        except orjson.JSONDecodeError:
            return None
        return found if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True)
class Todo:
    """What is left to do.

    Attributes:
        add: Files that are missing or others, the small ones that make a version what it is last.
        delete: Paths that the version does not have.
        files_per_commit: So many at most.
    """

    add: tuple[File, ...]
    delete: tuple[str, ...]
    files_per_commit: int = FILES_PER_COMMIT

    def __bool__(self) -> bool:
        return bool(self.add or self.delete)

    @property
    def bytes(self) -> int:
        """To be sent, at most: what the Hub has already is not sent again."""
        return sum(file.num_bytes for file in self.add)

    @property
    def num_commits(self) -> int:
        """Commits that it takes."""
        return len(self.commits())

    def commits(self) -> list[Todo]:
        """The same, cut into commits."""
        steps: list[File | str] = [*self.delete, *self.add]
        cuts: list[list[File | str]] = []
        room = 0
        for step in steps:
            step_bytes = step.num_bytes if isinstance(step, File) else 0
            if not cuts or len(cuts[-1]) >= self.files_per_commit or step_bytes > room:
                cuts.append([])
                room = BYTES_PER_COMMIT
            cuts[-1].append(step)
            room -= step_bytes
        return [Todo(tuple(s for s in cut if isinstance(s, File)), tuple(s for s in cut if isinstance(s, str))) for cut in cuts]


def check_publishable(edition: Edition, state: State) -> None:
    """Refuse a repo that holds something else, or a version that this one does not come from.

    Raises:
        ConfigError: The repo holds files that are no version of a dataset of ours.
        PublishedOtherwise: It holds a newer version, or another one of this number, or one of another output.
    """
    if state.raw is None:
        check_unused(edition.settings.repo_id, state)
        return
    if state.digest == edition.digest:
        return
    there = state.manifest
    name = str(there.get("version")) if there is not None else ""
    repo = edition.settings.repo_id
    if re.fullmatch(r"v[1-9][0-9]*", name) is None:
        raise ConfigError(f"{repo}: its {MANIFEST} is none of shardmill's, so the repo holds something else; publish to another repo_id")
    mine, theirs = int(edition.version[1:]), int(name[1:])
    what = f"{repo}: it holds {name} of {shown(there.get('name') if there else '')!r} (manifest sha256 {str(state.digest)[:12]}…)"
    if theirs > mine:
        raise PublishedOtherwise(
            f"{what}, which is newer than {edition.version} of {edition.store.uri}; publish from the output that has it"
        )
    if theirs == mine:
        raise PublishedOtherwise(f"{what}, which is another {name} than that of {edition.store.uri}; publish to another repo_id")
    if not _descends(edition, str(state.digest), name):
        raise PublishedOtherwise(
            f"{what}, and {edition.version} of {edition.store.uri} does not come from it; publish to another repo_id, or from that output"
        )


def check_unused(repo_id: str, state: State) -> None:
    """Refuse a repo that has files but no version of ours.

    Raises:
        ConfigError: It has.
    """
    found = [] if state.raw is not None else sorted(path for path in state.revision.files if path not in HARMLESS)
    if found:
        more = f" and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
        names = ", ".join(shown(path) for path in found[:MAX_SHOWN]) + more
        raise ConfigError(
            f"{repo_id}: it holds something else ({names}) and no {MANIFEST}, so nothing is published over it; "
            "give another repo_id, or delete these files there first"
        )


def _descends(edition: Edition, digest: str, version: str) -> bool:
    """Whether the version comes from the published one: it is among the output's own older versions, or named as a parent."""
    return edition.lineage.get(version) == digest or digest in edition.manifest["parents"]


def todo_of(edition: Edition, held: Mapping[str, Entry], files_per_commit: int | None = None) -> Todo:
    """What a branch that holds some files needs, to hold the version; a card that people changed since it came there stays as it is.

    Args:
        edition: The version. A small file of the output that the Hub keeps outside LFS is read, to compare it.
        held: Files of the branch.
        files_per_commit: Fewer than `FILES_PER_COMMIT`, for a Hub that takes fewer.
    """
    wanted = edition.files
    is_same = all(is_held(edition, wanted[path], held.get(path)) for path in (MANIFEST, PUBLISHED))
    kept = {CARD} if is_same and CARD in held else set()
    add = [file for path, file in wanted.items() if path not in kept and not is_held(edition, file, held.get(path))]
    delete = [path for path in held if path not in wanted and OWN.fullmatch(path) and not LINEAGE.fullmatch(path)]
    return Todo(tuple(sorted(add, key=_order)), tuple(sorted(delete)), files_per_commit or FILES_PER_COMMIT)


def is_held(edition: Edition, file: File, entry: Entry | None) -> bool:
    """Whether a file of a branch is the one that is wanted."""
    if entry is None or entry.size != file.num_bytes:
        return False
    if file.sha256 is None:  # its name says what is in it
        return True
    if entry.sha256 is not None:
        return entry.sha256 == file.sha256
    return entry.blob == git_blob(edition.store.read(file.path) if file.content is None else file.content)


def git_blob(content: bytes) -> str:
    """Git's id of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _order(file: File) -> tuple[bool, bool, str]:
    """Data first, what names it after it, and last what makes it the current version."""
    return ("/" not in file.path, file.content is not None, file.path)


def is_untagged(edition: Edition, state: State, tags: Collection[str]) -> str | None:
    """The version that `main` holds, if it is an older one of this output that never got its tag; None if nothing is amiss."""
    held = None if state.manifest is None else str(state.manifest.get("version"))
    return held if held is not None and held not in tags and edition.lineage.get(held) == state.digest else None


def check_limits(edition: Edition, todo: Todo, state: State) -> list[str]:
    """What a person should know of the Hub's limits before anything is sent."""
    files = len({*state.revision.files, *edition.files} - set(todo.delete))
    notes = []
    if files > MAX_REPO_FILES:
        notes.append(f"{edition.settings.repo_id} will have {files:,} files; the Hub recommends fewer than {MAX_REPO_FILES:,} a repo")
    return notes


def announcement(edition: Edition, todo: Todo) -> str:
    """What will be done, and how long the Hub's limits make it take."""
    is_proposed = edition.settings.create_pr
    commits = todo.num_commits
    hours = (commits - 1) // COMMITS_PER_HOUR
    wait = f"; at {COMMITS_PER_HOUR} commits an hour it takes at least {seconds(3600.0 * hours)}" if hours else ""
    staged = "" if commits == 1 else ", staged in a pull request that is merged when it is whole"
    staged = " of a pull request for a person to merge" if is_proposed else staged
    return (
        f"{edition.settings.repo_id}: {edition.version}: {counted(len(todo.add), 'file')} to add ({size(todo.bytes)}), "
        f"{counted(len(todo.delete), 'file')} to delete, in {counted(commits, 'commit')}{staged}{wait}"
    )


def check_tag(edition: Edition, tagged: bytes | None) -> None:
    """Refuse a tag of this version's name on something else. `tagged`: the manifest that the tag has; None: it has none.

    Raises:
        PublishedOtherwise: The tag names something else.
    """
    if tagged != edition.raw:
        raise PublishedOtherwise(
            f"{edition.settings.repo_id}: the tag {edition.version} is there and names something else; "
            "delete it there, or give another repo_id"
        )


def check_sent(file: File, sha256: str) -> None:
    """Prove that what was sent is what the version's tables name.

    Raises:
        InputError: It was changed in the output.
    """
    if file.sha256 is not None and sha256 != file.sha256:
        raise InputError(
            f"{file.path}: its sha256 is {sha256}, the version's tables say {file.sha256}: it was changed; restore it from a copy"
        )
