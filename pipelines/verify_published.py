"""A published version in its repo: what the Hub holds of it is what published.json and the manifest say, and nothing else.

Owns the layout of a repo (one version at its root, its preview, and how it points to the output) as a reader expects it. That the version
itself keeps its promises is checked by everything else, on the same store.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from pipelines.checks import Checks, Problem
from pipelines.errors import LocationUnreadable, NotFound, StorageError, shown
from pipelines.published import OWN, PUBLISHED, PublishedStore
from pipelines.redaction import redact_uri, secret_paths
from pipelines.verify_card import CARD, card_configs, paths_of, read_card
from pipelines.verify_manifest import MANIFEST, TABLES, VERSION, Finished, is_shard
from pipelines.verify_tables import read_shards_table, side_files

SHARDS: Final = "shards.parquet"
BY_THE_HUB: Final = ".gitattributes"
ALWAYS: Final = (BY_THE_HUB, CARD, MANIFEST, PUBLISHED, SHARDS)
PREVIEW: Final = "preview"
MAX_SHOWN: Final = 5
MAX_UNFINISHED: Final = 20
"""Versions between a version and its parent that runs began and gave up, at most."""


def check_published(finished: Finished, store: PublishedStore, checks: Checks) -> None:
    """What only a repo has fits the version, the repo has no other files, and the output that it points to is there."""
    proven = f"{PUBLISHED} is of {finished.version}, and of the manifest that is here"
    checks.judge("published", _told_problems(finished, store), proven)
    checks.judge("root table", _root_problems(finished, store), f"{SHARDS} is {finished.folder}/{SHARDS}, byte for byte")
    checks.judge("repository", _repository_problems(finished, store), _proven(store))
    if not store.told.include_data:
        checks.judge("location", _unreachable(finished, store), f"{store.told.location} is where the files are that the repo has not")
    _check_lineage(finished, store, checks)


def _unreachable(finished: Finished, store: PublishedStore) -> Iterator[Problem]:
    """Why the output that the repo points to cannot be read from here, as far as its first shard tells."""
    table = read_shards_table(store, f"{finished.folder}/{SHARDS}")
    paths = [] if isinstance(table, Problem) else table[0].column("path").to_pylist()
    try:
        store.reach(next(filter(is_shard, paths), f"data/{finished.version}"))
    except LocationUnreadable as error:
        yield Problem(PUBLISHED, error.message)


def _told_problems(finished: Finished, store: PublishedStore) -> Iterator[Problem]:
    told, revision = store.told, store.hub.revision
    if told.version != finished.version:
        yield Problem(PUBLISHED, f"version: found {told.version}, expected {finished.version}, as {MANIFEST} says")
    digest = hashlib.sha256(store.hub.read(MANIFEST)).hexdigest()
    if told.manifest_sha256 != digest:
        yield Problem(PUBLISHED, f"manifest_sha256 is {told.manifest_sha256}, but the sha256 of {MANIFEST} is {digest}")
    if revision is not None and VERSION.fullmatch(revision) and revision != finished.version:
        yield Problem(MANIFEST, f"the tag {revision} holds {finished.version}; publish {revision} again, or read another tag")
    location = orjson.loads(store.hub.read(PUBLISHED))["location"] or {"uri": ""}
    if redact_uri(location["uri"]) != location["uri"]:
        yield Problem(PUBLISHED, "location.uri holds a password or a signature; withdraw it where it is valid, and publish again")
    for path in secret_paths(location.get("storage_options", {})):
        name = ".".join(("location", "storage_options", *path))
        yield Problem(PUBLISHED, f"{shown(name)} is a secret that everybody can read; withdraw it where it is valid, and publish again")


def _root_problems(finished: Finished, store: PublishedStore) -> Iterator[Problem]:
    root, own = (_digest(store, path) for path in (SHARDS, f"{finished.folder}/{SHARDS}"))
    if root is None:
        yield Problem(SHARDS, f"it is missing; expected a copy of {finished.folder}/{SHARDS}; publish the version again")
    elif own is not None and root != own:
        yield Problem(SHARDS, f"it is not {finished.folder}/{SHARDS} byte for byte: one of them was changed; publish the version again")


def _digest(store: PublishedStore, path: str) -> str | None:
    try:
        return hashlib.sha256(store.hub.read(path)).hexdigest()
    except NotFound:
        return None


# --- which files the repo has


def _proven(store: PublishedStore) -> str:
    proven = f"commit {store.hub.commit} holds what belongs to the version"
    others = [info.path for info in store.hub.list() if _is_of_others(info.path)]
    more = "" if len(others) <= MAX_SHOWN else f" and {len(others) - MAX_SHOWN} more"
    return f"{proven}; not of it are {', '.join(map(shown, others[:MAX_SHOWN]))}{more}" if others else proven


def _is_of_others(path: str) -> bool:
    """Whether a file is no part of what is published: publishing leaves it alone, and no split of the card names it."""
    return OWN.fullmatch(path) is None and path != BY_THE_HUB


def _repository_problems(finished: Finished, store: PublishedStore) -> Iterator[Problem]:
    found = {info.path: info.size for info in store.hub.list()}
    for path, size in found.items():
        why = _stray(finished, store, path)
        if why:
            yield Problem(path, f"{why} ({size} bytes); remove it from the repo")
    if store.told.include_data and not withholds_texts(finished):
        for path in side_files(finished, "dropped"):
            if path not in found:
                yield Problem(path, "it is missing from the repo, which is said to hold the data; publish the version again")


def withholds_texts(finished: Finished) -> bool:
    """Whether the documents that were dropped are in the side tables with all their columns: then these are not published."""
    output: Any = finished.manifest["config"].get("output")
    return isinstance(output, dict) and bool(output.get("dropped", False))


def _stray(finished: Finished, store: PublishedStore, path: str) -> str | None:
    """Why a file is not of the version; None where it is, or where another check judges it."""
    told = store.told
    first, _, rest = path.partition("/")
    if _is_of_others(path) or path in ALWAYS or (told.preview is not None and path == told.preview["path"]):
        return None
    if first == PREVIEW:
        return f"it is no preview of {finished.version}, as {PUBLISHED} tells it"
    if first in ("data", "tokens"):
        return None if told.include_data else f"the repo holds documents, but {PUBLISHED} says that it does not"
    if first == "versions":
        return _stray_of_version(finished, store, rest)
    if told.include_data and path == finished.manifest["input"].get("inventory"):
        return None
    return "it is not part of a published version"


def _stray_of_version(finished: Finished, store: PublishedStore, rest: str) -> str | None:
    version, _, name = rest.partition("/")
    if version != finished.version:
        is_older = VERSION.fullmatch(version) is not None and int(version[1:]) < finished.number
        return None if is_older and name == MANIFEST else f"it is not part of {finished.version}"
    table = name.partition("/")[0]
    if table in TABLES and not store.told.include_data:
        return f"the repo holds side tables, but {PUBLISHED} says that it does not"
    if table == "dropped" and withholds_texts(finished):
        return "it holds texts that filters removed"
    return None  # what else is in the version's own folder is judged there


# --- lineage


def _check_lineage(finished: Finished, store: PublishedStore, checks: Checks) -> None:
    """A parent that is not in the repo, while the output still has it, was lost."""
    here = {str(child).rpartition("/")[2] for child in store.hub.children("versions") if isinstance(child, str)} - {finished.version}
    parents = set(finished.manifest["parents"])
    if not parents or here:
        return  # judged by `parents`
    lost = next((path for path in _older(finished) if _digest_there(store, path) in parents), None)
    if lost is not None:
        checks.judge(
            "lineage", [Problem(lost, "it is missing from the repo; the output has it, and the manifest names it as a parent")], ""
        )


def _older(finished: Finished) -> Iterator[str]:
    """Manifests of the latest older versions: one of them is the parent, the others were never finished."""
    latest = range(finished.number - 1, max(finished.number - 1 - MAX_UNFINISHED, 0), -1)
    yield from (f"versions/v{number}/{MANIFEST}" for number in latest)


def _digest_there(store: PublishedStore, path: str) -> str | None:
    """The digest of a file of the output; None if it has none or cannot be read from here."""
    try:
        return hashlib.sha256(store.location.read(path)).hexdigest()
    except StorageError:
        return None


# --- the card


def check_preview_card(store: PublishedStore, checks: Checks) -> None:
    """The card names the preview, and, of a repo without the data, nothing else."""
    path = None if store.told.preview is None else str(store.told.preview["path"])
    proven = f"load_dataset reads {path or 'nothing'} as the preview: {CARD} names it" + ("" if store.told.include_data else " alone")
    checks.judge("preview card", _card_problems(store, path), proven)


def _card_problems(store: PublishedStore, path: str | None) -> Iterator[Problem]:
    text = read_card(store.hub, "it is missing; without it load_dataset would read every table; publish the version again")
    if isinstance(text, Problem):
        yield text
        return
    configs = card_configs(text)
    if isinstance(configs, str):
        if path is not None or store.told.include_data:
            yield Problem(CARD, configs)
        return
    named = {str(config.get("config_name")): paths_of(config.get("data_files")) for config in configs}
    expected = [] if path is None else [_literal(path)]
    if named.get(PREVIEW, []) != expected:
        yield Problem(CARD, f"the data_files of its config {PREVIEW!r} are {shown(named.get(PREVIEW, []))}, expected {shown(expected)}")
    others = sorted(set(named) - {PREVIEW, *(["default"] if store.told.include_data else [])})
    if others:
        yield Problem(CARD, f"its config {shown(others[0])!r} names files that are no part of the repo; publish the version again")


def _literal(path: str) -> str:
    """A path as a pattern; those of previews have nothing that a pattern reads otherwise."""
    return re.sub(r"([*?\[])", r"[\1]", path)
