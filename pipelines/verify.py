"""Proves what a finished version promises, from its files alone.

Nothing here uses the code that makes versions: the contract is written down again in the module of each part, and what a run counted is
counted again. The order is from the manifest outwards: a part is looked at once the one that describes it is known to be whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.checks import Check, Checks, Problem
from pipelines.errors import InputError
from pipelines.published import PUBLISHED, PublishedStore, open_finished
from pipelines.verify_attempts import Attempts
from pipelines.verify_card import check_card
from pipelines.verify_documents import check_duplicates, check_keys
from pipelines.verify_history import load_earlier
from pipelines.verify_ingest import check_ingest
from pipelines.verify_inventory import check_places, load_inventory
from pipelines.verify_learned import check_learned
from pipelines.verify_ledger import check_ledger, count_tables
from pipelines.verify_manifest import TABLES, Finished, check_parents, find_manifest
from pipelines.verify_preview import check_preview, check_preview_documents
from pipelines.verify_profile import NAME as PROFILE
from pipelines.verify_profile import Counted, check_profile
from pipelines.verify_published import check_preview_card, check_published
from pipelines.verify_tables import check_folder, check_shards, check_strays, check_table
from pipelines.verify_takedown import check_takedown, find_purge
from pipelines.verify_token_shards import check_token_shards
from pipelines.verify_tokens import check_tokens
from pipelines.verify_warnings import check_warnings

__all__ = ["Check", "Verification", "render", "verify"]

SHARD_CHECKS = ("shards table", "shards", "output")
ROW_CHECKS = ("dropped", "quarantined", "ledger", "operators", "warnings", "places", "duplicates", "doc_keys", "kept documents")


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found.

    Attributes:
        version: Its name; empty if there is none.
        rows: Of the version's shards, as its table says; so are `files` and `bytes`.
    """

    uri: str
    version: str
    checks: tuple[Check, ...]
    rows: int = 0
    files: int = 0
    bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether every promise holds that could be checked."""
        return all(check.ok for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """As `shardmill verify --json` prints it."""
        return {
            "uri": self.uri,
            "version": self.version or None,
            "ok": self.ok,
            "rows": self.rows,
            "files": self.files,
            "bytes": self.bytes,
            "checks": [check.to_json() for check in self.checks],
        }


def verify(uri: str, storage_options: Mapping[str, Any] | None = None, *, version: str | None = None) -> Verification:
    """Check every promise of a finished version.

    Reads every byte of it once, and the side tables a few times. Memory is bounded, whatever the size. What does not hold is a failed
    check in the result, not an error.

    Args:
        uri: The output: a local path, an object store, a repo of the Hub (`hf://datasets/org/name[@revision]`), or anything else that can
            be read.
        storage_options: For the store, as in the pipeline file.
        version: As `v1`; None: the current one.

    Raises:
        StorageError: The store refused or failed; nothing is said of the version then. Where only the output fails that a repo of the Hub
            points to, that is a failed check, and those that need it are told as not made.
    """
    checks = Checks()
    try:
        store = open_finished(uri, storage_options, version=version)
    except InputError as error:  # a repo that does not say what it holds
        checks.judge("published", [Problem(PUBLISHED, error.message)], "")
        return Verification(uri, "", tuple(checks.made))
    finished = find_manifest(store, version, checks)
    if finished is None or find_purge(finished, checks):
        return Verification(store.uri, "", tuple(checks.made))
    check_parents(finished, checks)
    if isinstance(store, PublishedStore):
        check_published(finished, store, checks)
        check_preview(finished, store, checks)
        check_preview_card(store, checks)
    attempts = Attempts(store, checks)
    shards = attempts.make((*SHARD_CHECKS, PROFILE), lambda: _check_shards(finished, checks), None)
    attempts.make(("tokens",), lambda: check_tokens(finished, None if shards is None else shards[0], checks), None)
    are_whole = _check_tables(finished, attempts, checks)
    check_learned(finished, checks)
    attempts.make(("strays",), lambda: check_strays(finished, checks), None)
    rows = None if shards is None else shards[1]
    attempts.make(ROW_CHECKS, lambda: _check_rows(finished, rows, checks, why_not=None if are_whole else attempts.why_not), None)
    if shards is None:
        checks.skip("card", "not checkable: it is not known which files are shards")
        return Verification(store.uri, finished.version, tuple(checks.made))
    attempts.make(("ingest",), lambda: check_ingest(finished, shards[0], checks), None)
    attempts.make(("takedown",), lambda: check_takedown(finished, shards[0], checks), None)
    attempts.make(("token shards",), lambda: check_token_shards(finished, shards[0], checks), None)
    if isinstance(store, PublishedStore):
        attempts.make(("preview documents",), lambda: check_preview_documents(store, shards[0], checks), None)
    if not isinstance(store, PublishedStore) or store.told.include_data:
        check_card(finished, shards[0], checks)
    return _verification(finished, shards[0], checks)


def _check_tables(finished: Finished, attempts: Attempts, checks: Checks) -> bool:
    """Whether all side tables can be believed."""
    whole = [attempts.make((f"{name} table",), partial(check_table, finished, name, checks), otherwise=False) for name in TABLES]
    attempts.make(("version folder",), lambda: check_folder(finished, checks), None)
    return all(whole)


def _check_shards(finished: Finished, checks: Checks) -> tuple[pa.Table, int] | None:
    counted = Counted()
    shards = check_shards(finished, checks, counted)
    check_profile(finished, counted, checks)
    return shards


def _check_rows(finished: Finished, rows_out: int | None, checks: Checks, *, why_not: str | None) -> None:
    inventory = load_inventory(finished, checks)
    if why_not is not None:
        for name in ROW_CHECKS:
            checks.skip(name, why_not)
        return
    counts = count_tables(finished)
    check_ledger(finished, counts, rows_out, checks)
    check_warnings(finished, counts, checks)
    check_places(finished, inventory, checks)
    check_duplicates(finished, counts, inventory, load_earlier(finished, checks), checks)
    check_keys(finished, counts, checks)


def _verification(finished: Finished, shards: pa.Table, checks: Checks) -> Verification:
    return Verification(
        uri=finished.store.uri,
        version=finished.version,
        checks=tuple(checks.made),
        rows=pc.sum(shards.column("rows")).as_py() or 0,
        files=shards.num_rows,
        bytes=pc.sum(shards.column("bytes")).as_py() or 0,
    )


def render(verification: Verification) -> list[str]:
    """The checks for people, one a line, and what follows from them."""
    width = max((len(check.name) for check in verification.checks), default=0)
    lines = [f"{_mark(check)} {check.name.ljust(width)}  {_message(check)}" for check in verification.checks]
    return [*lines, _conclusion(verification)]


def _mark(check: Check) -> str:
    if not check.checked:
        return "–"  # noqa: RUF001  a dash that is as wide as the other marks
    return "✓" if check.ok else "✗"


def _message(check: Check) -> str:
    return f"{check.subject}: {check.message}" if check.subject else check.message


def _conclusion(verification: Verification) -> str:
    failed = sum(not check.ok for check in verification.checks)
    skipped = sum(not check.checked for check in verification.checks)
    what = f"{verification.uri}, {verification.version}" if verification.version else verification.uri
    if failed:
        return f"{what}: {failed} of {len(verification.checks)} checks failed"
    size = f"{verification.rows:,} documents in {verification.files:,} shards, {verification.bytes:,} bytes"
    return f"{what}: every promise holds ({size})" + (f"; {skipped} checks could not be made here" if skipped else "")
