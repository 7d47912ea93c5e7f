"""Which version is meant: an address with or without `@v1`, its manifest, and the version that it came from.

Owns the words for a version on the command line. What is read here may be a stranger's, and is held to the contract before it is used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from pipelines.errors import InputError, NotFound, shown
from pipelines.published import open_finished
from pipelines.storage import Store
from pipelines.verify_manifest import MANIFEST, VERSION, Finished, shape_problems

NAMED: Final = re.compile(r"(?P<uri>.+)@(?P<version>v[1-9][0-9]*)")
HUB: Final = "hf://"
MAX_PROBLEMS: Final = 3


@dataclass(frozen=True, slots=True)
class Opened:
    """A version that can be read.

    Attributes:
        digest: SHA-256 of the manifest's bytes: what a child of it names as its parent.
    """

    finished: Finished
    digest: str

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Its manifest."""
        return self.finished.manifest


def open_version(words: str, version: str | None = None) -> Opened:
    """The version that an address names: the current one, or with `@v1` behind it that one; or the address as it is, and a version.

    A path that is there, and an output whose address ends so, are meant as they are. On the Hub the store knows what stands behind `@`.

    Raises:
        NotFound: Nothing, or not this version, is finished there.
        InputError: What is there is no manifest.
    """
    if version is not None:
        return _opened(open_finished(words, version=version), version)
    found = NAMED.fullmatch(words)
    if found is None or words.startswith(HUB) or _is_there(words):
        return _opened(open_finished(words), None)
    return _opened(open_finished(found["uri"]), found["version"])


def _is_there(uri: str) -> bool:
    store = open_finished(uri)
    return Path(store.uri).exists() if store.kind == "local" else store.exists(MANIFEST)


def _opened(store: Store, version: str | None) -> Opened:
    path = MANIFEST if version is None else f"versions/{version}/{MANIFEST}"
    try:
        data = store.read(path)
    except NotFound:
        if version is None:
            message = f"{store.uri}: no {MANIFEST}: nothing is finished here; run the pipeline, or check the address"
        else:
            names = ", ".join(f"v{number}" for number in _numbers(store)[-10:])
            message = f"{store.uri}: version {version} is not finished here; finished: {names or 'none'}"
        raise NotFound(message) from None
    return _accepted(store, path, data, version)


def _accepted(store: Store, path: str, data: bytes, version: str | None) -> Opened:
    problems = list(islice(shape_problems(path, data, version), MAX_PROBLEMS))
    if problems:
        told = "; ".join(f"{problem.message}" for problem in problems)
        raise InputError(f"{store.locate(path)}: not a manifest that can be compared: {shown(told)}; `shardmill verify` says more")
    manifest: dict[str, Any] = orjson.loads(data)
    return Opened(Finished(store, manifest, manifest["version"], is_current=path == MANIFEST), hashlib.sha256(data).hexdigest())


def _numbers(store: Store) -> list[int]:
    """Numbers of the versions that have a folder here."""
    names = [str(child).rstrip("/").rpartition("/")[2] for child in store.children("versions") if isinstance(child, str)]
    return sorted(int(name[1:]) for name in names if VERSION.fullmatch(name))


def _older(opened: Opened) -> Iterator[bytes]:
    """Manifests of the versions before this one that are still here, the newest first."""
    store = opened.finished.store
    for number in reversed([number for number in _numbers(store) if number < opened.finished.number]):
        try:
            yield store.read(f"versions/v{number}/{MANIFEST}")
        except NotFound:
            continue


def parent_of(opened: Opened) -> Opened | None:
    """The version that a version followed; None if it is the first.

    Raises:
        NotFound: It names a parent that is not here.
    """
    parents = opened.manifest["parents"]
    if not parents:
        return None
    store = opened.finished.store
    for data in _older(opened):
        if hashlib.sha256(data).hexdigest() in parents:
            return _accepted(store, f"an older version's {MANIFEST}", data, None)
    raise NotFound(f"{store.uri}: the version before {opened.finished.version} is not here; name the version to compare it with")


def ancestors_of(opened: Opened, wanted: str) -> set[str]:
    """Digests of the versions that a version descends from, as far back as the one that is wanted, where their manifests are here."""
    known = set(opened.manifest["parents"])
    for data in _older(opened) if wanted not in known else ():
        if hashlib.sha256(data).hexdigest() in known:
            known |= _parents(data)
        if wanted in known:
            break
    return known


def _parents(data: bytes) -> set[str]:
    try:
        found = orjson.loads(data)["parents"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return set()
    return {str(parent) for parent in found} if isinstance(found, list) else set()
