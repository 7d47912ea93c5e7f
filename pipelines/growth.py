"""What an ingestion adds to: the version before, whose shards come first in the new one, and what the manifest tells of both together.

The ledger, the operators and the tables of dropped documents of a version that was ingested are those of its own run; shards, output,
tokens and lengths are of all documents. `ingest.lineage` has the sum of the ledgers of all versions that it is made of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from pipelines.arrivals import Arrivals, some_of
from pipelines.card import data_glob, data_globs
from pipelines.document_profile import Profile
from pipelines.errors import InputError, LedgerImbalance, VersionConflict, shown
from pipelines.inventory import Inventory
from pipelines.ledger import Ledger
from pipelines.lineage import INGEST, Lineage
from pipelines.results import Packed, described_table
from pipelines.storage import Store
from pipelines.token_counts import merged_tokens
from pipelines.token_shards import TokenShards
from pipelines.version import current_version

ANEW: Final = "make the next version anew, of all files: `shardmill ingest FILE --backfill`"


@dataclass(frozen=True)
class Growth:
    """What a version adds to, and what was found in the input.

    Attributes:
        lineage: The version before; None: there is none, or the new version is made anew, of all files.
        parent: SHA-256 of the current manifest, whether the version adds to it or not; None if nothing is finished.
        found: What the listing had that was new.
        policies: What was done about changed and about vanished files.
        tick: Of the schedule, if one began it.
    """

    lineage: Lineage | None
    parent: str | None
    found: Arrivals
    policies: Mapping[str, str]
    tick: str | None = None

    @property
    def base(self) -> Mapping[str, Any] | None:
        """The manifest of the version before."""
        return None if self.lineage is None else self.lineage.newest

    def check_current(self, store: Store) -> None:
        """Check, once nobody else can make a version, that nobody has since this was planned.

        Raises:
            VersionConflict: Another run did: what is new is another question now.
        """
        found = current_version(store)
        if self.parent != (None if found is None else found[1]):
            raise VersionConflict(f"{store.uri}: another run made a version while this ingestion was planned; start it again")

    def check_schema(self, schema: pa.Schema) -> None:
        """Check that the new documents have the columns of those before.

        Raises:
            InputError: They have others.
        """
        if self.base is None:
            return
        before = {column["name"]: column["type"] for column in self.base["schema"]}
        now = {field.name: str(field.type) for field in schema}
        if list(before.items()) != list(now.items()):
            names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
            differing = [f"{name}: {before.get(name, 'not there')} before, {now.get(name, 'not there')} now" for name in names]
            raise InputError(
                f"the new documents have other columns than {self.base['version']}, to which they are to be added "
                f"({shown('; '.join(differing) or 'in another order')}); name those of before in output.columns, or {ANEW}"
            )

    # --- what the version has besides its own

    def shards(self) -> list[Packed]:
        """The shards of the version before."""
        table = self._table("shards")
        return [] if table is None else [Packed.of_row(row) for row in table.to_pylist()]

    def token_shards(self, own: TokenShards | None) -> TokenShards | None:
        """Token shards of all documents.

        Raises:
            InputError: The version before has them in other formats or another order, or has none.
        """
        if self.base is None:
            return own
        before = self.base["output"].get("token_shards")
        forms = [None if one is None else (one["formats"], one["seed"]) for one in (before, None if own is None else own.summary)]
        if forms[0] != forms[1]:
            raise InputError(
                f"output.token_shards: {self.base['version']} has token shards of {shown(forms[0])} (formats, seed), the new documents of "
                f"{shown(forms[1])}; write them alike, or {ANEW}"
            )
        table = self._table("token_shards")
        return own if own is None or table is None else own.after(table, before)

    def _table(self, name: str) -> pa.Table | None:
        if self.lineage is None or self.base is None or name not in self.base["tables"]:
            return None
        return described_table(self.lineage.store, self.base, name)

    def profile(self, own: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Lengths and languages of all documents; None where those of either are not told."""
        if self.base is None:
            return None if own is None else dict(own)
        before = self.base.get("documents")
        return None if own is None or before is None else (Profile.from_json(before) + Profile.from_json(own)).to_json()

    def tokens(self, own: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Tokens by source and language of all documents; None where those of either are not told."""
        if self.base is None:
            return None if own is None else dict(own)
        before = self.base.get("tokens")
        return None if own is None or before is None else merged_tokens(before, own)

    # --- what the manifest says of it

    def manifest_entry(self, version: str, run_id: str, inventory: Inventory, ledger: Ledger, shards: Sequence[Packed]) -> dict[str, Any]:
        """The entry `ingest` of the manifest.

        Raises:
            LedgerImbalance: All shards together hold other documents than all ledgers say.
        """
        base = self.base
        own: dict[str, Any] = {
            "versions": [version],
            "files": inventory.num_files,
            "rows": inventory.rows,
            "bytes": inventory.num_bytes,
            "unreadable_files": len(inventory.unreadable),
            "ledger": {
                "rows_in": ledger.rows_in,
                "rows_out": ledger.rows_out,
                "dropped": {name: reasons for name, reasons in ledger.dropped().items() if reasons},
                "quarantined": ledger.quarantined(),
            },
        }
        lineage = own if base is None else added(lineage_of(base), own)
        rows = sum(shard.part.rows for shard in shards)
        if rows != lineage["ledger"]["rows_out"]:
            told = f"their ledgers count {lineage['ledger']['rows_out']} rows out, the shards hold {rows}"
            raise LedgerImbalance(f"the versions together: {told}")
        return {
            "base": None if base is None else base["version"],
            "tick": self.tick,
            "new_files": len(self.found.new),
            "known_files": self.found.known,
            "changed": {"policy": self.policies["changed"], **some_of(self.found.changed)},
            "vanished": {"policy": self.policies["vanished"], **some_of(self.found.vanished)},
            "data_files": [*([] if base is None else data_globs(base)), data_glob(version, run_id)],
            "lineage": lineage,
        }


def lineage_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What went into a version and became of it, over all versions that it is made of."""
    if INGEST in manifest and "takedown" not in manifest:
        lineage: dict[str, Any] = manifest[INGEST]["lineage"]
        return lineage
    source = manifest["input"]
    counted = {key: source[key] for key in ("files", "rows", "bytes", "unreadable_files")}
    return {"versions": [manifest["version"]], **counted, "ledger": manifest["ledger"]}


def added(before: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Two such accounts together."""
    counted = {key: before[key] + own[key] for key in ("versions", "files", "rows", "bytes", "unreadable_files")}
    one, other = before["ledger"], own["ledger"]
    names = list(dict.fromkeys([*one["dropped"], *other["dropped"]]))
    dropped = {name: _sum(one["dropped"].get(name, {}), other["dropped"].get(name, {})) for name in names}
    rows = {key: one[key] + other[key] for key in ("rows_in", "rows_out")}
    return {**counted, "ledger": {**rows, "dropped": dropped, "quarantined": _sum(one["quarantined"], other["quarantined"])}}


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted((Counter(one) + Counter(other)).items()))
