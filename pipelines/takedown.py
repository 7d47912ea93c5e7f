"""Taking documents out of an output: a new version without them; no later run brings them back, and, if asked, no older version has them.

Owns the order of the steps. Only the shards that hold the documents are written anew; the others are those of the version before. It is as
safe from crashes as a run: tombstones come before the version, the version is claimed, and the swap is last. The same takedown goes on
where it was when it is started again; of a finished one it finds nothing left to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson

from pipelines import faults
from pipelines.card import card
from pipelines.commit import Part, digest
from pipelines.errors import InputError, NotFound
from pipelines.gc import collect, needed
from pipelines.history import generations_of
from pipelines.history import tombstones_of as struck_in
from pipelines.history_adding import strike
from pipelines.lease import Lease
from pipelines.legible import legible
from pipelines.lineage import OWN_HISTORY
from pipelines.purge import Purged, check_struck, holding_versions, purge
from pipelines.recall import key_bytes, struck_keys
from pipelines.redaction import redact_uri
from pipelines.report_data import report_data
from pipelines.results import to_bytes
from pipelines.run_report import page_of
from pipelines.storage import Store, open_store
from pipelines.takedown_base import Base, read_manifest
from pipelines.takedown_covered import covered
from pipelines.takedown_ids import Wanted
from pipelines.takedown_kin import Kin, kept_instead, orphans
from pipelines.takedown_matches import Matches, find
from pipelines.takedown_version import Making
from pipelines.tombstones import load_tombstones, plan_digest
from pipelines.version import MANIFEST, claim, claims, current_manifest, finish, swap, write_once

MAX_TOLD: Final = 1000
"""Documents, and names, that are told one by one."""
MAX_CHARS: Final = 200


@dataclass(frozen=True)
class Takedown:
    """How a takedown ended, or what it would do.

    Attributes:
        matches: What was named; None where only older versions were to be purged.
        orphans: Copies that were removed for a document that goes.
        instead: Named documents that had been removed for one that stays.
        base: The version that it started from.
        version: The version that is current now; None on a dry run.
        is_new: Whether this takedown made it.
        unread: Documents that went whose input could not be read again.
        holding: Other versions that still hold documents.
        purged: What was purged.
    """

    uri: str
    base: str
    matches: Matches | None = None
    orphans: Kin | None = None
    instead: Kin | None = None
    version: str | None = None
    is_new: bool = False
    unread: int = 0
    holding: Sequence[str] = field(default_factory=tuple)
    purged: Purged | None = None
    is_dry: bool = False


def takedown(
    uri: str,
    wanted: Wanted | None,
    *,
    reason: str | None = None,
    purge_versions: bool = False,
    dry_run: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Takedown:
    """Take documents out of the current version of an output.

    Args:
        uri: The output.
        wanted: Which documents; None: none, only older versions are purged.
        reason: Why; stands in the manifest, the card and the report.
        purge_versions: Remove older versions and intermediates, which still hold them.
        dry_run: Say what would be done, and write nothing.
        storage_options: For the store, as in the pipeline file.

    Raises:
        InputError: Nothing that is named is in the output, or a document cannot be told from others.
        NotFound: Nothing is finished there.
        LeaseHeld: A run, or another takedown, is writing the output.
        ShardmillError: Anything else that stopped it; the same takedown again goes on.
    """
    store = open_store(uri, storage_options)
    read_manifest(store)
    if dry_run:
        return _foreseen(store, wanted)
    store.check()
    with Lease(store, lambda: "takedown") as lease:
        _finish_swap(store, lease)
        done = _nothing(store) if wanted is None else _take_out(store, wanted, reason, lease)
        removed = purge(store, lease.confirm) if purge_versions else None
        if removed is None:  # a takedown that died may have left files of a version that was given up now
            collect(store, keep=needed(store), confirm=lease.confirm)
        holding = holding_versions(store, str(done.version))
    return Takedown(**{**vars(done), "purged": removed, "holding": tuple(holding)})


def _nothing(store: Store) -> Takedown:
    name = str(orjson.loads(read_manifest(store))["version"])
    return Takedown(store.uri, name, version=name)


def _foreseen(store: Store, wanted: Wanted | None) -> Takedown:
    if wanted is None:
        check_struck(store)
        done = _nothing(store)
        return Takedown(store.uri, done.base, holding=tuple(holding_versions(store, done.base)), is_dry=True)
    matches, of_taken, instead = _found(store, wanted)
    base = str(matches.base.manifest["version"])
    return Takedown(store.uri, base, matches, of_taken, instead, holding=tuple(holding_versions(store, "")), is_dry=True)


def _found(store: Store, wanted: Wanted) -> tuple[Matches, Kin, Kin]:
    base = Base.current(store)
    matches = find(base, wanted)
    if not len(matches.found) and not matches.lost.num_rows:
        names = legible(", ".join(wanted.names.to_pylist()[:3]), MAX_CHARS)
        raise InputError(
            f"{store.uri}: none of {len(wanted)} ids names a document of {base.manifest['version']}, neither in its shards nor among those "
            f"it dropped or quarantined (the first: {names}); nothing was changed: is it the right output, and the right column of ids?"
        )
    taken = key_bytes(matches.keys)
    return matches, orphans(base, taken), kept_instead(base, key_bytes(matches.lost["doc_key"].combine_chunks()), taken)


def _take_out(store: Store, wanted: Wanted, reason: str | None, lease: Lease) -> Takedown:
    matches, of_taken, instead = _found(store, wanted)
    base, reason = matches.base, None if reason is None else redact_uri(reason)
    name = str(base.manifest["version"])
    told = Takedown(store.uri, name, matches, of_taken, instead, version=name)
    for history in _histories(base):
        _strike(history, matches)
    if not _is_needed(store, matches):
        return told
    lease.confirm()
    plan = digest("takedown", base.sha256, wanted.sha256, "" if reason is None else f"for {reason}")
    claimed = claim(store, plan, plan)
    faults.point("version.claimed")
    made = Making(matches, claimed, instead, reason).make()
    final = write_once(store, f"{claimed.folder}/{MANIFEST}", to_bytes(made.manifest))
    write_once(store, f"{claimed.folder}/report.html", _page(store, final, made.shards))
    faults.point("version.manifest-written")
    lease.confirm()
    finish(store, claimed)
    _swap(store, claimed.number, final)
    return Takedown(**{**vars(told), "version": claimed.name, "is_new": True, "unread": made.unread})


def _page(store: Store, final: bytes, shards: Sequence[Part]) -> bytes:
    """The report of the new version. It shows documents that stay, none that was lost: one may have been taken out of those."""
    manifest = orjson.loads(final)
    samples = manifest["config"]["output"].get("report_samples", 0)
    return page_of(manifest, lambda: report_data(store, manifest, shards, samples=samples))


def _is_needed(store: Store, matches: Matches) -> bool:
    """Whether there is anything to take out, to blank, or to keep from coming back."""
    if len(matches.found) or matches.blanks:
        return True
    lost = key_bytes(matches.lost["doc_key"].combine_chunks())
    if not np.isin(lost, load_tombstones(store).doc_keys).all():
        return True
    return plan_digest(matches.base.manifest, covered(matches).digest) is None


def _swap(store: Store, number: int, final: bytes) -> None:
    swap(store, number, final, card(orjson.loads(final)).encode())
    faults.point("version.swapped")


def _finish_swap(store: Store, lease: Lease) -> None:
    """Make a version current that is whole, but whose maker died before the swap; its manifest names the current one as its parent."""
    last = next(reversed(claims(store)), None)
    current = current_manifest(store)
    if last is None or last.state != "finished" or current is None or current[0]["version"] == last.name:
        return
    try:
        final = store.read(f"{last.folder}/{MANIFEST}")
    except NotFound:
        return
    if orjson.loads(final)["parents"] == [Base.current(store).sha256]:
        lease.confirm()
        _swap(store, last.number, final)


def _histories(base: Base) -> Iterator[Store]:
    """Histories that have keys of the version's documents: those that its runs left theirs in, and the one that ingestions keep."""
    store = base.store
    for uri in dict.fromkeys([*base.histories, f"{store.uri.rstrip('/')}/{OWN_HISTORY}"]):
        history = open_store(uri, store.options)
        if generations_of(history):
            yield history


def _strike(history: Store, matches: Matches) -> None:
    """Strike the documents from a history: no later run removes anything for them."""
    if not len(matches.found):
        return
    keys = key_bytes(matches.keys)
    if not np.isin(keys, struck_keys(history, struck_in(history))).all():
        strike(history, [key.ljust(16, b"\0") for key in keys.tolist()])
