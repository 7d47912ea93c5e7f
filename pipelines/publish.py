"""A finished version as a dataset repo on the Hub: wholly there, or not at all.

Bytes are sent first, where nobody sees them; then one commit with the expected parent moves `main`, or, where a commit would be too large,
one merge of a pull request in which everything was staged. Each round looks at what is there and does what is left, so that a lost answer,
a second publisher, or a process that died an hour ago are the same case: another look. The last thing is the tag of the version.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from pipelines import faults
from pipelines.difference import compare
from pipelines.difference_lineage import whole
from pipelines.difference_markdown import difference_markdown
from pipelines.errors import AccessDenied, CommitUnknown, ConfigError, Conflict, StorageError, VersionConflict
from pipelines.legible import counted, seconds, size
from pipelines.publish_files import Edition, File, edition_of
from pipelines.publish_hub import MAIN, Addition, Hub, Pull, Revision, TooLarge, addition, deletion
from pipelines.publish_plan import (
    State,
    Todo,
    announcement,
    check_limits,
    check_publishable,
    check_sent,
    check_tag,
    check_unused,
    is_untagged,
    todo_of,
)
from pipelines.publish_sources import each_once, groups, sources
from pipelines.published import PUBLISHED, parse_published, published_problems
from pipelines.settings_publish import PublishConfig
from pipelines.storage import open_store
from pipelines.version import MANIFEST

MAX_ROUNDS: Final = 12
PROGRESS_BYTES: Final = 256 << 20
"""Sent so far, before how long the rest takes can be told from it."""

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing came to.

    Attributes:
        commit: What `main` is at, with the version; of a pull request, what it is at.
        changed: Whether anything was left to do.
        pull: The pull request that waits to be merged; None: the version is on `main`.
    """

    repo_id: str
    url: str
    version: str
    manifest_sha256: str
    commit: str
    changed: bool
    pull: Pull | None = None

    def to_json(self) -> dict[str, Any]:
        """As `shardmill publish --json` prints it."""
        return {
            "repo_id": self.repo_id,
            "url": self.url,
            "version": self.version,
            "manifest_sha256": self.manifest_sha256,
            "commit": self.commit,
            "changed": self.changed,
            "tag": None if self.pull is not None else self.version,
            "pull_request": None if self.pull is None else {"number": self.pull.number, "url": self.pull.url},
        }


def publish(uri: str, settings: PublishConfig, storage_options: dict[str, Any] | None = None, note: Note = lambda _: None) -> Published:
    """Publish the current version of an output; what an earlier try left is gone on with, and nothing is done twice.

    Args:
        uri: The output.
        settings: The repo, and what goes there.
        storage_options: For the output's store, as in the pipeline file.
        note: Told what a person should know meanwhile.

    Raises:
        NotFound: Nothing is finished there.
        ConfigError: The repo holds something else, or is public where it must be private.
        AccessDenied: There is no token, or it may not write there.
        VersionConflict: The repo holds a version that this one does not come from.
        InputError: The output is not as its manifest says.
    """
    hub = Hub(settings.repo_id, note)
    edition = edition_of(open_store(uri, storage_options), settings)
    return Publisher(edition, hub, note).publish()


def foretell(uri: str, settings: PublishConfig, storage_options: dict[str, Any] | None = None) -> str:
    """What `publish` would do, in a line; requests are made, nothing is written.

    Raises:
        ShardmillError: As `publish`, where it would send nothing.
    """
    hub = Hub(settings.repo_id)
    edition = edition_of(open_store(uri, storage_options), settings)
    state, tags = _writable_state(hub, settings), {}
    if state is not None:
        tags = hub.tags()
        check_publishable(edition, state)
        _check_tag(hub, edition, tags)
    todo = todo_of(edition, {} if state is None else state.revision.files)
    if todo:
        return announcement(edition, todo)
    if edition.version not in tags:
        return f"{settings.repo_id}: {edition.version} is published, but for its tag, which is to be set"
    return f"{settings.repo_id}: {edition.version} is published; there is nothing to do"


def check_repo(settings: PublishConfig) -> None:
    """Prove, before a run begins, that its result could be published.

    Raises:
        ConfigError: The repo holds something else, or is public where it must be private.
        AccessDenied: There is no token, or it may not write there.
    """
    state = _writable_state(Hub(settings.repo_id), settings)
    if state is not None:
        check_unused(settings.repo_id, state)


def _writable_state(hub: Hub, settings: PublishConfig) -> State | None:
    """What `main` of a repo holds that may be written; None: there is none yet, and it may be made."""
    names = hub.whoami()
    if _is_private(hub, settings) is not None:
        hub.check_write()
        return state_of(hub)
    if settings.repo_id.partition("/")[0] not in names:
        raise AccessDenied(
            f"{settings.repo_id}: there is no such repo, and its owner is none of yours ({', '.join(names)}), so it cannot be created; "
            "correct publish.repo_id, or use a token of that owner"
        )
    return None


def _is_private(hub: Hub, settings: PublishConfig) -> bool | None:
    """Whether the repo is private; None if there is none.

    A public one is refused where `private: true` is said, not where that is only the default for new ones.
    """
    is_private = hub.is_private()
    if is_private is False and settings.private and "private" in settings.model_fields_set:
        raise ConfigError(
            f"{settings.repo_id}: the repo is public, but publish.private is true; make it private on the Hub, or say `private: false`"
        )
    return is_private


def state_of(hub: Hub) -> State:
    """What `main` holds."""
    revision = hub.revision(MAIN)
    return State(revision, _manifest(hub, revision))


def _manifest(hub: Hub, revision: Revision) -> bytes | None:
    """The manifest of what a revision holds; where somebody deleted it, its copy in the folder of the version."""
    if MANIFEST in revision.files:
        return hub.read(MANIFEST, revision.commit)
    told = hub.read(PUBLISHED, revision.commit) if PUBLISHED in revision.files else None
    if told is None or published_problems(told):
        return None
    about = parse_published(told)
    path = f"versions/{about.version}/{MANIFEST}"
    found = hub.read(path, revision.commit) if path in revision.files else None
    return found if found is not None and hashlib.sha256(found).hexdigest() == about.manifest_sha256 else None


def _check_tag(hub: Hub, edition: Edition, tags: Mapping[str, str]) -> None:
    """A tag of this version's name must be on this version."""
    commit = tags.get(edition.version)
    if commit is not None:
        check_tag(edition, hub.read(MANIFEST, commit))


class Publisher:
    """The rounds of one publication."""

    def __init__(self, edition: Edition, hub: Hub, note: Note) -> None:
        self._edition = edition
        self._hub = hub
        self._note = note
        self._is_announced = False
        self._changed = False
        self._files_per_commit: int | None = None
        self._sent_bytes = 0
        self._started = time.monotonic()

    def publish(self) -> Published:
        """See the function of this name."""
        self._open_repo()
        for number in range(1, MAX_ROUNDS + 1):
            state, tags = state_of(self._hub), self._hub.tags()
            check_publishable(self._edition, state)
            _check_tag(self._hub, self._edition, tags)
            todo = self._todo(state.revision)
            if not todo:
                return self._finish(state, tags)
            self._announce(todo, state)
            self._tag_older(state, tags)
            try:
                if self._edition.settings.create_pr:
                    return self._propose(state)
                self._move(state, todo)
            except Conflict:
                self._note(f"{self._hub.repo_id}: main has moved meanwhile; looking again")
            except CommitUnknown as error:
                self._note(f"{error.message}; looking again")
                self._hub.pause(number)
            except TooLarge as error:
                self._cut_smaller(todo, error)
        raise VersionConflict(
            f"{self._hub.repo_id}: main moved, or no answer came, {MAX_ROUNDS} times in a row; nothing of {self._edition.version} is shown "
            "there that is not whole; publish again"
        )

    def _todo(self, held: Revision) -> Todo:
        return todo_of(self._edition, held.files, self._files_per_commit)

    def _cut_smaller(self, todo: Todo, error: TooLarge) -> None:
        """A Hub that takes less than others: commits of half as many files from here on."""
        most = min(todo.files_per_commit, len(todo.add) + len(todo.delete)) // 2
        if most == 0:
            raise StorageError(f"{error}; the Hub takes not even a commit of one file") from error
        self._files_per_commit = most
        self._note(f"{error}; trying commits of {counted(most, 'file')}")

    def _open_repo(self) -> None:
        settings = self._edition.settings
        self._hub.whoami()
        is_private = _is_private(self._hub, settings)
        if is_private is None:
            self._hub.create(private=settings.private)
        elif settings.private and not is_private:
            self._note(f"{self._hub.repo_id}: the repo is public, so everybody can read what is published there")
        self._hub.check_write()

    def _announce(self, todo: Todo, state: State) -> None:
        if not self._is_announced:
            self._note(announcement(self._edition, todo))
            for line in check_limits(self._edition, todo, state):
                self._note(line)
        self._is_announced = True

    def _tag_older(self, state: State, tags: Mapping[str, str]) -> None:
        """Tag the version that `main` leaves, if whoever moved `main` to it died, or a person merged it: later nobody would."""
        version = is_untagged(self._edition, state, tags)
        if version is not None:
            self._note(f"{self._hub.repo_id}: {version} has no tag yet; setting it")
            self._hub.tag(version, state.revision.commit)

    def _finish(self, state: State, tags: Mapping[str, str]) -> Published:
        """`main` holds the version: give it its tag; one without the data moves to the commit that has them."""
        version, tagged = self._edition.version, tags.get(self._edition.version)
        if tagged is not None and tagged != state.revision.commit and self._lacks_data(tagged):
            self._note(f"{self._hub.repo_id}: the tag {version} moves to the commit that holds the data")
            self._hub.untag(version)
            tagged = None
        if tagged is None:
            self._hub.tag(version, state.revision.commit)
            _check_tag(self._hub, self._edition, self._hub.tags())
            self._changed = True
        faults.point("publish.tagged")
        return self._published(state.revision.commit, None)

    def _lacks_data(self, commit: str) -> bool:
        """Whether a commit of this version was published without the data that are wanted now."""
        told = self._hub.read(PUBLISHED, commit) if self._edition.settings.include_data else None
        return told is not None and not published_problems(told) and not parse_published(told).include_data

    def _published(self, commit: str, pull: Pull | None) -> Published:
        edition = self._edition
        return Published(self._hub.repo_id, self._hub.url, edition.version, edition.digest, commit, self._changed, pull)

    # --- moving main

    def _move(self, state: State, todo: Todo) -> None:
        """Move `main` to the version at once.

        Raises:
            Conflict: Main is not where it was.
            CommitUnknown: Whether it moved is not known.
        """
        self._changed = True
        if todo.num_commits == 1:
            self._commit(MAIN, state.revision.commit, todo)
            faults.point("publish.moved")
            return
        pull = self._pull(state)
        with self._still_open(pull):
            self._stage(pull)
            self._open(pull)
            faults.point("publish.staged")
            if state_of(self._hub).digest != state.digest:
                self._give_up(pull)
            try:
                self._hub.merge(pull)
            except Conflict:
                self._give_up(pull)
        faults.point("publish.moved")

    def _give_up(self, pull: Pull) -> None:
        self._hub.set_status(pull, "closed", "main has changed meanwhile; what was sent is used again")
        raise Conflict(f"{self._hub.repo_id}: main has changed since pull request {pull.number} was begun")

    @contextmanager
    def _still_open(self, pull: Pull) -> Iterator[None]:
        """A pull request that another publisher, or a person, merges or closes meanwhile refuses everything: `main` is looked at again."""
        try:
            yield
        except (Conflict, CommitUnknown, TooLarge):
            raise
        except StorageError as error:
            if self._hub.pull(pull.number).status in ("open", "draft"):
                raise
            raise Conflict(f"{self._hub.repo_id}: pull request {pull.number} was merged or closed meanwhile") from error

    def _propose(self, state: State) -> Published:
        """A pull request with the version, for people to merge."""
        pull = self._pull(state)
        with self._still_open(pull):
            self._stage(pull)
            self._open(pull)
            commit = self._hub.revision(pull.ref).commit
        faults.point("publish.proposed")
        return self._published(commit, pull)

    def _open(self, pull: Pull) -> None:
        if pull.status == "draft":
            self._changed = True
            self._hub.set_status(pull, "open")

    # --- staging

    def _title(self, state: State) -> str:
        """By which a later try finds the pull request: the version, and what `main` has before it."""
        base = "nothing" if state.digest is None else state.digest[:8]
        name = " ".join(str(self._edition.manifest["name"]).split())[:80]
        settings = "with data" if self._edition.settings.include_data else "without data"
        return f"{name} {self._edition.version} {settings} (manifest {self._edition.digest[:12]}, after {base})"

    def _pull(self, state: State) -> Pull:
        """The pull request of this version: an earlier try's, or a new one."""
        title = self._title(state)
        found = self._hub.find_pull(title)
        if found is not None and not found.has_conflicts:
            return found
        if found is not None:
            self._hub.set_status(found, "closed", "main has changed the same files meanwhile; a new pull request follows")
            self._changed = True
        made = self._hub.open_pull(title, self._difference(state))
        faults.point("publish.pull-opened")
        first = self._hub.find_pull(title)
        if first is None or first.number >= made.number:
            return made
        self._hub.set_status(made, "closed", f"pull request {first.number} is the same, and was first")
        return first

    def _stage(self, pull: Pull) -> None:
        """Fill a pull request until it holds everything."""
        for number in range(1, MAX_ROUNDS + 1):
            held = self._hub.revision(pull.ref)
            todo = self._todo(held)
            if not todo:
                return
            self._changed = True
            try:
                self._fill(pull, held.commit, todo)
            except Conflict:
                self._note(f"{self._hub.repo_id}: somebody else fills pull request {pull.number}; looking again")
            except CommitUnknown as error:
                self._note(f"{error.message}; looking again")
                self._hub.pause(number)
        raise VersionConflict(f"{self._hub.repo_id}: pull request {pull.number} moved {MAX_ROUNDS} times in a row; publish again")

    def _fill(self, pull: Pull, parent: str, todo: Todo) -> None:
        steps = todo.commits()
        for number, step in enumerate(steps, 1):
            parent = self._commit(pull.ref, parent, step)
            faults.point("publish.step")
            self._note(f"{self._hub.repo_id}: {number} of {len(steps)} commits staged{self._rate(sum(s.bytes for s in steps[number:]))}")

    def _difference(self, state: State) -> str:
        """The difference to what the repo holds, for people who review it."""
        edition, there = self._edition, state.manifest
        found = compare(
            None if there is None else whole(edition.store, there),
            whole(edition.store, edition.manifest),
            old_digest=state.digest,
            new_digest=edition.digest,
            ancestors=tuple(edition.lineage.values()),
        )
        return difference_markdown(found)

    # --- sending

    def _commit(self, revision: str, parent: str, todo: Todo) -> str:
        operations: list[Any] = [deletion(path) for path in todo.delete]
        left = todo.bytes
        for group in groups(todo.add):
            operations += self._send(group, revision)
            left -= sum(file.num_bytes for file in group)
            if self._sent_bytes >= PROGRESS_BYTES:
                self._note(f"{self._hub.repo_id}: {size(left)} of this commit left to send{self._rate(left)}")
        faults.point("publish.uploaded")
        title = f"{self._edition.version} of {self._edition.manifest['name']}"
        rows = self._edition.manifest["output"]["rows"]
        text = f"{counted(rows, 'document')}, manifest sha256 {self._edition.digest}"
        return self._hub.commit(operations, revision=revision, parent=parent, title=title, text=text)

    def _send(self, files: Sequence[File], revision: str) -> list[Addition]:
        """Send some files; afterwards only their digests are needed, and the content of small ones."""
        with sources(self._edition.store, files) as found:
            additions = [addition(file.path, source) for file, source in zip(files, found, strict=True)]
            for some in each_once(files, additions):
                self._hub.upload(some, revision)
            self._sent_bytes += sum(file.num_bytes for file in files)
            for file, sent in zip(files, additions, strict=True):
                check_sent(file, sent.upload_info.sha256.hex())
        return additions

    def _rate(self, left_bytes: int) -> str:
        """How fast it went until now, and how long the rest takes like that."""
        spent = time.monotonic() - self._started
        if self._sent_bytes < PROGRESS_BYTES or spent <= 0:
            return ""
        rate = self._sent_bytes / spent
        return f", {size(self._sent_bytes)} sent at {size(int(rate))}/s, about {seconds(left_bytes / rate)} left"
