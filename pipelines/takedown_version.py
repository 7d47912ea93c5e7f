"""The version that a takedown makes: shards and tables written, tombstones left, the manifest described from the one before.

Owns the order of these steps and what the manifest says; finding the documents is done. The ledger of the new version is that of the old
one, its rows out less the documents that go, which one more operator, the last, dropped. Where ingestions made the old one, the new one
accounts for all versions that it was made of, and needs none of them.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import faults, identity
from pipelines.commit import Part, Record
from pipelines.errors import InputError
from pipelines.flattening import moved
from pipelines.objectfile import opened_parquet
from pipelines.pack import shard_form
from pipelines.recall import key_bytes
from pipelines.redaction import redact_uri
from pipelines.results import Packed, Tables, output_summary, shards_table
from pipelines.rows import DROPPED, Ints, Mask
from pipelines.shard_globs import data_patterns
from pipelines.storage import Store
from pipelines.takedown_counts import profile_left, tokens_left
from pipelines.takedown_covered import covered
from pipelines.takedown_ids import Keys
from pipelines.takedown_input import InputRows
from pipelines.takedown_kin import Kin
from pipelines.takedown_matches import Matches
from pipelines.takedown_rewrite import Columns, Removed, Rewritten, ShardWork, joined, new_paths, rewrite, schema_of
from pipelines.takedown_tables import copy, write_tables
from pipelines.token_counts import KINDS
from pipelines.token_shards import TokenForm, TokenShards, write_token_shard
from pipelines.tombstones import (
    TAKEDOWN,
    TAKEN_DOWN,
    TOMBSTONES,
    add_tombstones,
    content_hashes,
    takedown_name,
    takedown_settings,
)
from pipelines.version import Claim, write_once

TABLE: Final = "token_shards.parquet"


@dataclass(frozen=True, slots=True)
class Made:
    """A version that is written, but for its manifest.

    Attributes:
        manifest: What it will say.
        tombstones: Path of those that were left.
        unread: Documents whose input could not be read again, so that their text as it came in is not known.
        shards: Of the version.
    """

    manifest: dict[str, Any]
    tombstones: str
    unread: int
    shards: tuple[Part, ...]


class Making:
    """One takedown on its way to a version."""

    def __init__(self, matches: Matches, claimed: Claim, instead: Kin, reason: str | None) -> None:
        """Take what was found.

        Args:
            matches: What goes.
            claimed: The version that is made.
            instead: Documents that were lost as copies of ones that stay.
            reason: In the words of who asked for the takedown.
        """
        self._matches = matches
        self._base = matches.base
        self._store = matches.base.store
        self._claim = claimed
        self._instead = instead
        self._reason = reason
        self._short = claimed.plan[:8]
        self._started = time.process_time()

    def make(self) -> Made:
        """Write everything but the manifest.

        Raises:
            VersionConflict: A name of the new version holds other bytes than it should.
            LedgerImbalance: The version before told less than is taken out of it.
        """
        shards, removed = self._shards()
        token_shards = self._token_shards(shards)
        tombstones, unread = self._tombstones(removed)
        faults.point("takedown.tombstones-written")
        others = write_tables(self._base, self._claim.folder, self._short, self._matches.blanks, self._taken(removed))
        packed = [shard for shard in shards if shard is not None]
        table = write_once(self._store, f"{self._claim.folder}/shards.parquet", shards_table(packed))
        if token_shards is not None:
            write_once(self._store, f"{self._claim.folder}/{TABLE}", token_shards.table)
        for entry in self._base.manifest.get("learned", ()):
            copy(self._store, entry["path"], moved(entry["path"], self._claim.folder))
        self._save_inventory()
        faults.point("version.tables-written")
        tables = Tables(packed, hashlib.sha256(table).hexdigest(), others, token_shards)
        return Made(self._manifest(tables, removed), tombstones, unread, tuple(shard.part for shard in packed))

    def _save_inventory(self) -> None:
        """Save the inventory of all versions, where there were several; its name is its fingerprint."""
        path = self._base.manifest["input"]["inventory"]
        if not self._store.exists(path):
            self._base.inventory.save(self._store, path)

    # --- shards

    @cached_property
    def _going(self) -> dict[int, Ints]:
        return self._matches.by_shard()

    def works(self) -> list[ShardWork]:
        """What is done to the shards that hold documents that go, in order."""
        rows = self._base.shards.column("rows").to_numpy()
        whole = [at for at, going in self._going.items() if len(going) == rows[at]]
        if len(whole) == len(rows):
            whole = whole[1:]  # one stays, so that there are columns
        changed = [at for at in self._going if at not in set(whole)]
        paths = dict(zip(changed, new_paths([self._base.paths[at] for at in changed], self._claim.name, self._short), strict=True))
        return [ShardWork(self._base.paths[at], paths.get(at), going) for at, going in self._going.items()]

    def _shards(self) -> tuple[list[Packed | None], Removed | None]:
        """The shards in the places of the old ones (None: gone), and the documents that go, in the order of the shards."""
        shards: list[Packed | None] = [Packed.of_row(row) for row in self._base.shards.to_pylist()]
        pieces: list[Removed] = []
        if self._going:
            done: Iterable[Rewritten] = rewrite(self._store, self.works(), self._form(), self._columns())
            for at, one in zip(self._going, done, strict=True):
                shards[at] = None if one.part is None else Packed(one.part, one.tokens)
                pieces.append(one.removed)
        return shards, joined(pieces) if pieces else None

    def _form(self) -> Any:
        config = self._base.config
        schema = schema_of(self._store, self._base.paths[next(iter(self._going))])
        return shard_form(schema, config["input"]["text_column"], config["output"]["compression"])

    def _columns(self) -> Columns:
        kinds = {column["name"]: str(column["type"]) for column in self._base.manifest["schema"]}
        text = self._base.config["input"]["text_column"]
        tokens, profile = self._base.manifest.get("tokens"), self._base.manifest.get("documents")
        names = {str(kind): tokens[f"{kind}_column"] for kind in KINDS if tokens is not None and tokens[f"{kind}_column"] in kinds}
        language = None if profile is None or profile["language_column"] not in kinds else profile["language_column"]
        return Columns(
            text=text if kinds.get(text) in ("string", "large_string") else None,
            ids=self._base.id_column,
            names=names,
            profile=None if profile is None else (profile["text_column"], language),
            tokens=self._base.manifest["output"]["tokens"] is not None,
        )

    # --- token shards

    def _token_shards(self, shards: list[Packed | None]) -> TokenShards | None:
        summary = self._base.manifest["output"].get("token_shards")
        if summary is None:
            return None
        names = [entry["settings"].get("tokenizer") for entry in self._base.manifest["operators"]]
        known = [redact_uri(name) for name in names if isinstance(name, str)]
        form = TokenForm(tuple(summary["formats"]), summary["seed"], known[-1] if known else None)
        return TokenShards.of(form, self._token_records(shards, form))

    def _token_records(self, shards: list[Packed | None], form: TokenForm) -> Iterator[Record]:
        """Of each shard that has documents, the files of its token shard: the old ones, or new ones where it was rewritten."""
        old = _token_files(self._store, f"{self._base.folder}/{TABLE}")
        rows = self._base.shards.column("rows").to_numpy()
        for at, shard in enumerate(shards):
            found = next(old, ("", {}, 0)) if rows[at] else (self._base.paths[at], {}, 0)
            if found[0] != self._base.paths[at]:
                raise InputError(f"{self._base.folder}/{TABLE}: it does not name the files of {self._base.paths[at]} in order")
            if shard is None or not shard.part.rows:
                continue
            _, parts, tokens = (shard.part.path, *write_token_shard(self._store, shard.part.path, form)) if at in self._going else found
            yield Record(shard.part.path, "", "tokens", parts, None, {"shard": shard.part.path, "tokens": tokens})

    # --- who they were

    @cached_property
    def _order(self) -> Ints:
        """Places of the documents that go in the order of the shards."""
        found = self._matches.found
        return np.lexsort((found.rows, found.shards))

    @cached_property
    def _files(self) -> Ints:
        return self._base.places.files_of(self._matches.found.numbers)

    def _uris(self, files: Ints) -> pa.StringArray:
        codes, position = np.unique(files, return_inverse=True)
        uris = pa.array([self._base.inventory.identity(file)[0] for file in codes.tolist()], pa.string())
        return uris.take(pa.array(position))

    def _taken(self, removed: Removed | None) -> pa.Table:
        """The rows of the dropped table, in the inventory's order."""
        found = self._matches.found
        if removed is None:
            return DROPPED.empty_table()
        back = np.empty(len(found), np.int64)
        back[self._order] = np.arange(len(found))
        operator = pa.array([takedown_name(self._base.manifest["operators"])] * len(found), pa.string())
        rows = pa.array(self._base.places.rows_of(found.numbers))
        reason = pa.array([TAKEN_DOWN] * len(found), pa.string())
        ids = pc.coalesce(self._ids(removed.ids.take(pa.array(back))), identity.hexadecimal(self._matches.keys))
        return pa.table([self._matches.keys, ids, self._uris(self._files), rows, operator, reason], schema=DROPPED)

    def _ids(self, ids: pa.StringArray) -> pa.StringArray:
        """The users' ids, also where only the input has them."""
        if self._base.own_ids is None or self._base.id_column is not None:
            return ids
        found, places = InputRows(self._base).column(self._base.own_ids, self._matches.found.numbers, identity.plain_ids)
        known = pa.nulls(len(ids), pa.string())
        mask = np.zeros(len(ids), np.bool_)
        mask[places] = True
        return pc.replace_with_mask(known, pa.array(mask), found.take(pa.array(np.argsort(places))))

    # --- tombstones

    def _tombstones(self, removed: Removed | None) -> tuple[str, int]:
        """Leave tombstones; returns their path, and of how many documents the text as it came in is not known."""
        found, lost = self._matches.found, self._matches.lost
        lost_keys = lost["doc_key"].combine_chunks()
        numbers = np.concatenate([found.numbers, self._base.places.numbers_of(key_bytes(lost_keys))])
        outputs = pa.nulls(len(lost_keys), pa.binary(16))
        if removed is not None:
            back = np.empty(len(found), np.int64)
            back[self._order] = np.arange(len(found))
            outputs = pa.concat_arrays([removed.hashes.take(pa.array(back)), outputs])
        contents, unread = self._contents(numbers)
        columns = [self._base.places.keys_of(numbers), self._etags(numbers), contents, outputs]
        table = pa.table(columns, schema=TOMBSTONES)
        path = add_tombstones(self._store, table)
        return path, unread

    def _etags(self, numbers: Ints) -> pa.StringArray:
        codes, position = np.unique(self._base.places.files_of(numbers), return_inverse=True)
        return pa.array([self._base.inventory.identity(file)[1] for file in codes.tolist()], pa.string()).take(pa.array(position))

    def _contents(self, numbers: Ints) -> tuple[pa.FixedSizeBinaryArray, int]:
        """Hashes of texts as they came in, and of how many documents in the data there is none."""
        hashes, is_read = self._read(numbers)
        unread = int(np.count_nonzero(~is_read[: len(self._matches.found)]))
        keys = key_bytes(self._base.places.keys_of(numbers))
        return pc.if_else(pa.array(self._is_text_that_stays(keys, hashes)), pa.scalar(None, hashes.type), hashes), unread

    def _read(self, numbers: Ints) -> tuple[pa.FixedSizeBinaryArray, Mask]:
        """Hashes of texts as they came in, null where there is none, and which of the rows could be read."""
        rows = InputRows(self._base)
        distinct, position = np.unique(numbers, return_inverse=True)
        hashes, places = rows.column(rows.text_column, distinct, content_hashes)
        at = np.full(len(distinct), -1, np.int64)
        at[places] = np.arange(len(places))
        chosen = at[position]
        return hashes.take(pa.array(chosen, mask=chosen < 0)), chosen >= 0

    def _is_text_that_stays(self, keys: Keys, hashes: pa.FixedSizeBinaryArray) -> Mask:
        """Which documents were lost as copies of ones that stay, and have their text, so that their hash must not be struck.

        Where what stays cannot be read, its text may be the same.
        """
        instead = self._instead
        found: Mask = np.isin(keys, instead.keys)
        copies = np.flatnonzero(found)
        kept, _ = self._read(self._base.places.numbers_of(instead.kept[np.searchsorted(instead.keys, keys[copies])]))
        is_same = pc.fill_null(pc.equal(kept, hashes.take(pa.array(copies))), True)
        found[copies] = is_same.to_numpy(zero_copy_only=False)
        return found

    # --- the manifest

    def _manifest(self, tables: Tables, removed: Removed | None) -> dict[str, Any]:
        old, going = self._base.manifest, len(self._matches.found)
        name = takedown_name(old["operators"])
        left, pipelines = old["ledger"]["rows_out"] - going, self._base.flat.pipelines
        described = tables.to_json()
        dropped = {**old["ledger"]["dropped"], **({name: {TAKEN_DOWN: going}} if going else {})}
        tokens = old.get("tokens")
        if removed is not None:
            tokens = tokens_left(tokens, removed, self._folders(), documents=left)
        made = {
            **old,
            "version": self._claim.name,
            "created_at": _time(self._store.now()),
            "ledger": {**old["ledger"], "rows_out": left, "dropped": dropped},
            "operators": [*old["operators"], self._entry(name, left)],
            "output": output_summary(tables),
            "tables": described,
            "parents": [self._base.sha256],
            "takedown": {
                "of": old["version"],
                "covers": [*self._base.covers, self._claim.name],
                "runs": self._base.flat.runs,
                **({"pipelines": pipelines} if pipelines else {}),
                "data_files": data_patterns([shard.part.path for shard in tables.shards], self._other_shards()),
            },
        }
        if "tokens" in old:
            made["tokens"] = tokens
        if "documents" in old:
            made["documents"] = profile_left(old["documents"], removed)
        if "learned" in old:
            made["learned"] = [{**entry, "path": moved(entry["path"], self._claim.folder)} for entry in old["learned"]]
        return made

    def _folders(self) -> pa.StringArray | None:
        """Folders of the files that the documents came from, in the order of the shards; None where that cannot be told."""
        if self._matches.found.is_mixed:
            return None
        uris = self._uris(self._files[self._order]).to_pylist()
        return pa.array([redact_uri(uri.rpartition("/")[0]) for uri in uris], pa.string())

    def _entry(self, name: str, left: int) -> dict[str, Any]:
        going = len(self._matches.found)
        settings = takedown_settings(going, self._matches.wanted.sha256, self._reason, covered(self._matches))
        seconds = round(time.process_time() - self._started, 3)
        return {"name": name, "type": TAKEDOWN, "settings": settings, "rows_in": left + going, "rows_out": left, "seconds": seconds}

    def _other_shards(self) -> Iterator[str]:
        """Paths of the shards of all versions that are here."""
        for folder in self._store.children("versions"):
            path = f"{str(folder).rstrip('/')}/shards.parquet"
            if isinstance(folder, str) and self._store.exists(path):
                table = pq.read_table(io.BytesIO(self._store.read(path)), columns=["path"], use_threads=False)
                yield from table["path"].to_pylist()


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).isoformat().replace("+00:00", "Z")


def _token_files(store: Store, path: str) -> Iterator[tuple[str, dict[str, Part], int]]:
    """The Parquet shards of a version that have token shards, in order: path, files of the token shard by role, and tokens."""
    with opened_parquet(store, path) as reader:
        rows = (row for group in range(reader.num_row_groups) for row in reader.read_row_group(group, use_threads=False).to_pylist())
        for shard, files in groupby(rows, key=lambda row: row["shard"]):
            named = list(files)
            # A role is the format and what follows the first point of the name.
            parts = {
                f"{row['format']}.{row['path'].rpartition('/')[2].partition('.')[2]}": Part(
                    row["path"], row["documents"], row["bytes"], row["sha256"]
                )
                for row in named
            }
            yield shard, parts, named[0]["tokens"]
