"""A version that an ingestion made, against those that it was added to: their shards come first, and no file was taken in twice.

Owns what an ingestion promises, as a reader of manifests, tables and inventories knows it. Written from the contract: nothing here uses the
code that ingests. Memory holds two tables of shards, and 11 bytes for each file of each version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.checks import Checks, Problem
from pipelines.errors import InputError, NotFound, shown
from pipelines.identity import uri_prefix
from pipelines.objectfile import opened_parquet
from pipelines.published import PublishedStore
from pipelines.verify_file import PARQUET_ERRORS
from pipelines.verify_flattened import grown_from, lineage_of
from pipelines.verify_inventory import Keys, Mask
from pipelines.verify_ledger import BATCH_ROWS
from pipelines.verify_manifest import MANIFEST, Finished
from pipelines.verify_tables import read_shards_table

NAME: Final = "ingest"
TAKEDOWN: Final = "takedown"
MAX_SHOWN: Final = 5
COUNTED: Final = ("files", "rows", "bytes", "unreadable_files")
POLICIES: Final = ("keep", "fail", "rebuild")
Manifest = Mapping[str, Any]


def check_ingest(finished: Finished, shards: pa.Table, checks: Checks) -> None:
    """Check a version that an ingestion made; of another one, nothing."""
    told = finished.manifest.get("ingest")
    if told is None:
        return
    base = grown_from(finished.manifest)
    manifests: Sequence[Manifest] = [finished.manifest]
    if base is not None:
        found = _lineage(finished, base)
        if found is None:
            checks.skip(NAME, f"not checkable: the manifest of {base}, or of one before it, is not in this copy")
            return
        if isinstance(found, Problem):
            checks.judge(NAME, [found], "")
            return
        manifests = found
    files = Files.of(finished, manifests)
    problems = chain(
        _shard_problems(finished, shards, manifests),
        _account_problems(finished, manifests),
        _taken_out_problems(finished, manifests),
        _policy_problems(told),
        files.problems(finished),
    )
    checks.judge(NAME, problems, f"{_proven(finished, base)}; {files.proven}")


def _proven(finished: Finished, base: str | None) -> str:
    lineage = finished.manifest["ingest"]["lineage"]
    if base is None:
        return f"all its shards are its own, of {lineage['files']} files"
    versions = f"{len(lineage['versions'])} versions together tell of {lineage['ledger']['rows_in']} rows in"
    return f"the shards of {base} come first, as they were; {versions}"


def _lineage(finished: Finished, base: str) -> Sequence[Manifest] | Problem | None:
    """The manifests of the versions, newest first; None where a copy has them not."""
    try:
        return lineage_of(finished.store, finished.manifest)
    except NotFound as error:
        if isinstance(finished.store, PublishedStore):
            return None
        path = f"versions/{base}/{MANIFEST}"
        return Problem(path, f"it, or that of a version before it, is missing ({error.message}); restore it from a copy")


# --- shards


def _shard_problems(finished: Finished, shards: pa.Table, manifests: Sequence[Manifest]) -> Iterator[Problem]:
    """The shards of the version before come first; the others lie in the version's own folder, and hold what its ledger says."""
    path, own = f"{finished.folder}/shards.parquet", f"data/{finished.version}/"
    number = 0
    if len(manifests) > 1:
        base = manifests[1]
        number = base["output"]["shards"]
        yield from _base_problems(finished, shards.slice(0, number), base)
    rest = shards.slice(number)
    is_own = pc.starts_with(rest.column("path"), own)
    for strange in rest.filter(pc.invert(is_own)).column("path").to_pylist():
        yield Problem(path, f"{shown(strange)} is neither a shard of the version before, in its place, nor in {own}")
    rows = pc.sum(rest.column("rows")).as_py() or 0
    if rows != finished.manifest["ledger"]["rows_out"]:
        said = f"ledger.rows_out is {finished.manifest['ledger']['rows_out']}"
        yield Problem(MANIFEST, f"{said}, but the shards behind those of the version before hold {rows} rows")


def _base_problems(finished: Finished, shards: pa.Table, base: Manifest) -> Iterator[Problem]:
    """The first shards are those of the version before, row for row; where its table is not here, as many, with as much in them."""
    name = base["version"]
    path = f"versions/{name}/shards.parquet"
    if finished.store.exists(path):
        read = read_shards_table(finished.store, path)
        if isinstance(read, Problem):
            yield read
            return
        if read[1] != base["tables"]["shards"]["sha256"]:
            yield Problem(path, f"it is not the table that the manifest of {name} describes; restore it from a copy")
        elif not shards.equals(read[0]):
            yield Problem(
                f"{finished.folder}/shards.parquet", f"its first {shards.num_rows} shards are not those of {path}, as they are told there"
            )
        return
    if not isinstance(finished.store, PublishedStore):
        yield Problem(path, "it is missing; it says which shards the version had that this one was added to; restore it from a copy")
    sums = {key: pc.sum(shards.column(key)).as_py() or 0 for key in ("rows", "bytes")}
    for key, found in {"shards": shards.num_rows, **sums}.items():
        if found != base["output"][key]:
            said = f"output.{key} of {name} is {base['output'][key]}"
            yield Problem(f"{finished.folder}/shards.parquet", f"{said}, but its first {shards.num_rows} shards have {found}")


# --- the account


def _account(manifest: Manifest) -> Manifest:
    """What a version tells of all that it is made of."""
    if "ingest" in manifest:
        lineage: Manifest = manifest["ingest"]["lineage"]
        return lineage
    return {"versions": [manifest["version"]], **_own(manifest)}


def _own(manifest: Manifest) -> dict[str, Any]:
    return {**{key: manifest["input"][key] for key in COUNTED}, "ledger": manifest["ledger"]}


def _account_problems(finished: Finished, manifests: Sequence[Manifest]) -> Iterator[Problem]:
    """`ingest.lineage` is what the version before tells, and the version's own numbers; it balances, and is of all documents."""
    said, own = finished.manifest["ingest"]["lineage"], _own(finished.manifest)
    nothing: Manifest = {"versions": [], **dict.fromkeys(COUNTED, 0), "ledger": {}}
    before = _account(manifests[1]) if len(manifests) > 1 else nothing
    expected: dict[str, Any] = {"versions": [*before["versions"], finished.version], **{key: before[key] + own[key] for key in COUNTED}}
    for key, value in expected.items():
        if said[key] != value:
            yield Problem(MANIFEST, f"ingest.lineage.{key} is {shown(said[key])}, but the versions together have {shown(value)}")
    ledgers = [_flat(one["ledger"]) for one in (before, own)]
    summed, told = ledgers[0] + ledgers[1], _flat(said["ledger"])
    for entry in sorted(summed.keys() | told.keys()):
        if told[entry] != summed[entry]:
            name = ".".join(entry)
            yield Problem(MANIFEST, f"ingest.lineage.ledger.{shown(name)} is {told[entry]}, but the versions together have {summed[entry]}")
    lost = sum(number for entry, number in told.items() if len(entry) > 1)
    rows_in, rows_out = said["ledger"]["rows_in"], said["ledger"]["rows_out"]
    if rows_in != rows_out + lost:
        yield Problem(MANIFEST, f"ingest.lineage.ledger: {rows_in} rows in are not {rows_out} out and {lost} dropped or quarantined")
    if rows_out != finished.manifest["output"]["rows"]:
        yield Problem(MANIFEST, f"ingest.lineage.ledger.rows_out is {rows_out}, but output.rows is {finished.manifest['output']['rows']}")


def _flat(ledger: Manifest) -> Counter[tuple[str, ...]]:
    """The numbers of a ledger, one beside the other."""
    found: Counter[tuple[str, ...]] = Counter({(key,): ledger.get(key, 0) for key in ("rows_in", "rows_out")})
    found.update(
        {("dropped", name, reason): rows for name, reasons in ledger.get("dropped", {}).items() for reason, rows in reasons.items()}
    )
    found.update({("quarantined", error): rows for error, rows in ledger.get("quarantined", {}).items()})
    return found


def _taken_out_problems(finished: Finished, manifests: Sequence[Manifest]) -> Iterator[Problem]:
    """Once documents were taken out of what it was added to, a version is made with their tombstones."""
    took = [one["version"] for one in manifests[1:] if TAKEDOWN in one]
    first = finished.manifest["operators"][:1]
    honours = bool(first) and first[0]["type"] == TAKEDOWN and first[0]["settings"].get("num_tombstones", 0) > 0
    if took and not honours:
        yield Problem(MANIFEST, f"documents were taken out of {took[0]}, but no first operator leaves them out of the new ones")


def _policy_problems(told: Manifest) -> Iterator[Problem]:
    for what in ("changed", "vanished"):
        policy, number = told[what]["policy"], told[what]["files"]
        if policy not in POLICIES:
            yield Problem(MANIFEST, f"ingest.{what}.policy is {shown(policy)}, expected one of {', '.join(POLICIES)}")
        if number and told["base"] is not None and policy != "keep":
            yield Problem(
                MANIFEST, f"ingest.{what} has {number} files, but with the policy {shown(policy)} nothing is added to {told['base']}"
            )
        if len(told[what]["examples"]) > number:
            yield Problem(MANIFEST, f"ingest.{what}.examples names {len(told[what]['examples'])} files, but there are {number}")


# --- files


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a version and of those before it, by the first bytes of their documents' keys, and whether they could be read.

    Attributes:
        missing: Versions whose inventories are not here, or cannot be read.
    """

    own: tuple[Keys, Mask]
    before: tuple[Keys, Mask]
    missing: tuple[str, ...]

    @classmethod
    def of(cls, finished: Finished, manifests: Sequence[Manifest]) -> Files:
        """Read the inventories of the versions, newest first."""
        found = [_read(finished, one) for one in manifests]
        missing = [str(one["version"]) for one, files in zip(manifests, found, strict=True) if files is None]
        return cls(found[0] or _NONE, _joined([files for files in found[1:] if files is not None]), tuple(missing))

    @property
    def proven(self) -> str:
        """What was proven of them."""
        if not self.missing:
            return "no file was taken in twice"
        some = ", ".join(self.missing[:MAX_SHOWN]) + (", …" if len(self.missing) > MAX_SHOWN else "")
        return f"that no file was taken in twice is not proven, since inventories are not in this copy (of {some})"

    def problems(self, finished: Finished) -> Iterator[Problem]:
        """Files that were taken in before and could be read, and counts that are not those of the inventories."""
        told = finished.manifest["ingest"]
        if not isinstance(finished.store, PublishedStore):
            for version in self.missing:
                yield Problem(f"versions/{version}/{MANIFEST}", "the inventory that it names cannot be read; restore it from a copy")
        if told["base"] is None or self.missing:
            return
        inventory = finished.manifest["input"]["inventory"]
        again = np.intersect1d(self.own[0], self.before[0][self.before[1]])
        if len(again):
            yield Problem(inventory, f"a version before took in {len(again)} of its files, and could read them")
        if told["new_files"] != len(self.own[0]):
            yield Problem(MANIFEST, f"ingest.new_files is {told['new_files']}, but {inventory} has {len(self.own[0])} files")
        here = len(np.setdiff1d(self.before[0], self.own[0]))
        said = told["known_files"] + told["changed"]["files"] + told["vanished"]["files"]
        if said != here:
            what = f"known_files, changed and vanished are {said} files together"
            yield Problem(MANIFEST, f"ingest: {what}, but {here} were taken in before and not again")


_NONE: Final = (np.empty(0, "S10"), np.empty(0, bool))


def _joined(found: Sequence[tuple[Keys, Mask]]) -> tuple[Keys, Mask]:
    return np.concatenate([_NONE[0], *(one[0] for one in found)]), np.concatenate([_NONE[1], *(one[1] for one in found)])


def _read(finished: Finished, manifest: Manifest) -> tuple[Keys, Mask] | None:
    """Files of the inventory of a version, by the first bytes of their documents' keys, and whether they could be read."""
    path = manifest["input"].get("inventory")
    if not isinstance(path, str) or not path.startswith("_shardmill/") or ".." in path:
        return None
    found = [_NONE]
    try:
        with opened_parquet(finished.store, path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=["uri", "error"], use_threads=False):
                prefixes = np.array([uri_prefix(uri) for uri in batch.column("uri").to_pylist()], "S10")
                found.append((prefixes, pc.is_null(batch.column("error")).to_numpy(zero_copy_only=False)))
    except (NotFound, InputError, *PARQUET_ERRORS):
        return None  # of the version's own the check `inventory` says why; of others, that they are not here
    return _joined(found)
