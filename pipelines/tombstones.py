"""Documents that were taken out of an output: never again does a run put them there.

    _shardmill/tombstones/t00001.arrow    what one takedown struck; created once, numbered, never changed or removed

A document is known again by its place, its doc_key while the file is the one that it was taken out of (by its etag; null: whatever the
file is), and by its text wherever that is read: the hash of the text as it came in (`content_hash`) and as it stood in the shards
(`output_hash`). Owns these objects, what a manifest says of them, and when a version counts as free of them.

A takedown makes a version with the fingerprints of the version before, so that its plan stays the one that a run of the same input has.
The rule (`plan_digest`): a version is what the plan with the tombstones of *its run* made; a later run of that plan has nothing to do if
the last takedown of the version covered every tombstone there is now (the digest in its entry), else it is planned with all of them.
"""

from __future__ import annotations

import hashlib
import io
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.kernels.hashing import hash_bytes
from pipelines.commit import ROOT
from pipelines.errors import InputError, NotFound
from pipelines.recall import Keys, key_bytes
from pipelines.rows import Ints, Mask
from pipelines.storage import Store

TAKEDOWN: Final = "takedown"
"""Name, and type, under which documents that were taken out are counted; the second such entry of a manifest is `takedown-2`.

No operator of a pipeline may have such a name (settings.RESERVED_NAME).
"""
TAKEN_DOWN: Final = "taken_down"
"""Reason under which they are."""
FOLDER: Final = f"{ROOT}/tombstones"
NUMBERED: Final = re.compile(rf"{FOLDER}/t(\d+)\.arrow")
HASH: Final = pa.binary(16)
TOMBSTONES: Final = pa.schema(
    [
        pa.field("doc_key", HASH, nullable=False),
        pa.field("etag", pa.string()),
        pa.field("content_hash", HASH),
        pa.field("output_hash", HASH),
    ]
)
"""Columns of the objects: one row a document, or more if it is known by several etags or texts."""
CHECKSUM: Final = b"shardmill.sha256"
ANY_ETAG: Final = -1
ROW_BYTES: Final = 6
PAIR_BYTES: Final = 20
"""Of a doc_key and the code of an etag."""


@dataclass(frozen=True, slots=True)
class TakenOut:
    """The tombstones that a plan was made with: where they lie, how many documents they are of, and the digest of what they say."""

    paths: tuple[str, ...]
    documents: int
    digest: str

    @property
    def settings(self) -> dict[str, Any]:
        """As they stand in the manifest's entry of a run that left these documents out."""
        return {"tombstones": self.digest, "num_tombstones": self.documents}


@dataclass(frozen=True, eq=False)
class Tombstones:
    """All documents that were taken out of an output, each place and each hash once.

    Attributes:
        paths: The objects.
        doc_keys: Sorted; a document that is known by several etags stands there for each of them.
        etag_codes: int32, one a doc_key: position in `etags`, or -1 for whatever the file is.
        hashes: Of texts, as they came in or as they stood in shards; sorted, each once.
    """

    paths: tuple[str, ...]
    doc_keys: Keys
    etag_codes: npt.NDArray[np.int32]
    etags: tuple[str, ...]
    hashes: Keys

    def __len__(self) -> int:
        """How many documents."""
        return int(np.count_nonzero(_is_first(self.doc_keys)))

    def __bool__(self) -> bool:
        return len(self.doc_keys) > 0

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what they say, however it is spread over objects and rows."""
        state = hashlib.sha256(b"tombstones 1:%d:%d:%d" % (len(self.doc_keys), len(self.etags), len(self.hashes)))
        for etag in self.etags:
            state.update(b":%d:" % len(etag.encode()) + etag.encode())
        for values in (self.doc_keys, self.etag_codes.astype("<i4"), self.hashes):
            state.update(np.ascontiguousarray(values).data)
        return state.hexdigest()

    @property
    def reference(self) -> TakenOut | None:
        """What a plan says of them; None if nothing was taken out."""
        return TakenOut(self.paths, len(self), self.digest) if self else None

    def rows_of(self, prefix: bytes, etag: str) -> Ints:
        """The rows of a file, known by the beginning of its doc_keys, that were taken out of it as it is now; sorted, each once."""
        ends = np.frombuffer(prefix + b"\0" * ROW_BYTES + prefix + b"\xff" * ROW_BYTES, "S16")
        mine = slice(int(np.searchsorted(self.doc_keys, ends[0])), int(np.searchsorted(self.doc_keys, ends[1], side="right")))
        at = bisect_left(self.etags, etag)
        code = at if etag in self.etags[at : at + 1] else ANY_ETAG
        keys = self.doc_keys[mine][np.isin(self.etag_codes[mine], [ANY_ETAG, code])]
        low = keys.view(">u8").reshape(-1, 2)[:, 1].astype(np.int64) & ((1 << 8 * ROW_BYTES) - 1)
        return np.unique(low)

    def recognise(self, texts: pa.Array) -> Mask:
        """Which texts are those of documents that were taken out."""
        if len(self.hashes) == 0 or len(texts) == 0:
            return np.zeros(len(texts), np.bool_)
        hashes = content_hashes(texts)
        found = key_bytes(hashes)
        at = np.minimum(np.searchsorted(self.hashes, found), len(self.hashes) - 1)
        known: Mask = (self.hashes[at] == found) & pc.is_valid(hashes).to_numpy(zero_copy_only=False)
        return known


def content_hashes(texts: pa.Array) -> pa.FixedSizeBinaryArray:
    """128-bit hashes of texts, by their UTF-8 bytes; null where there is no text, or an empty one, by which nothing is known again."""
    texts = texts if pa.types.is_large_string(texts.type) else pc.cast(texts, pa.large_string())
    first, second = hash_bytes(texts)
    there = pc.fill_null(pc.greater(pc.binary_length(texts), 0), False)
    words = np.empty((len(first), 2), ">u8")
    words[:, 0], words[:, 1] = first, second
    plain = pa.FixedSizeBinaryArray.from_buffers(HASH, len(words), [None, pa.py_buffer(words)])
    return pc.if_else(there, plain, pa.scalar(None, HASH))


# --- the objects


def tombstones_of(store: Store) -> list[str]:
    """Paths of all objects, by number."""
    return sorted((info.path for info in store.list(FOLDER) if NUMBERED.fullmatch(info.path)), key=_number)


def _number(path: str) -> int:
    found = NUMBERED.fullmatch(path)
    assert found is not None
    return int(found[1])


def add_tombstones(store: Store, table: pa.Table) -> str:
    """Strike documents: an object with these rows, in the columns of `TOMBSTONES`. Returns its path; the same rows again make no other.

    Raises:
        InputError: There are no rows, or other columns.
    """
    data = _sealed(_canonical(table))
    number = 0
    for path in tombstones_of(store):
        number = _number(path)
        if store.read(path) == data:
            return path
    while True:
        number += 1
        path = f"{FOLDER}/t{number:05d}.arrow"
        if store.create(path, data) or store.read(path) == data:
            return path


def _canonical(table: pa.Table) -> pa.Table:
    """The rows in one order, each once, so that the same ones are the same bytes."""
    if set(table.schema.names) != set(TOMBSTONES.names) or table.num_rows == 0:
        found = f"{table.num_rows} rows with the columns {', '.join(table.schema.names) or 'none'}"
        raise InputError(f"tombstones: found {found}; expected at least one row with the columns {', '.join(TOMBSTONES.names)}")
    if table["doc_key"].null_count:
        raise InputError(f"tombstones: {table['doc_key'].null_count} rows have no doc_key; give each document's")
    given = table.select(TOMBSTONES.names).cast(TOMBSTONES)
    unique = given.group_by(TOMBSTONES.names, use_threads=False).aggregate([]).select(TOMBSTONES.names)
    return unique.sort_by([(name, "ascending") for name in TOMBSTONES.names]).combine_chunks().cast(TOMBSTONES)


def _sealed(table: pa.Table) -> bytes:
    """As an IPC file, with the checksum of what is in the rows, so that a damaged one is known as damaged."""
    sink = io.BytesIO()
    schema = TOMBSTONES.with_metadata({CHECKSUM: _checksum(table)})
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(table.cast(schema))
    return sink.getvalue()


def _checksum(table: pa.Table) -> str:
    state = hashlib.sha256(b"%d" % table.num_rows)
    for name in TOMBSTONES.names:
        values = table[name].combine_chunks()
        state.update(pc.is_valid(values).to_numpy(zero_copy_only=False).tobytes())
        if pa.types.is_string(values.type):
            values = values.drop_null().dictionary_encode()
            state.update(values.indices.to_numpy().astype("<i4").tobytes())
            state.update(b"".join(b"%d:" % len(text.encode()) + text.encode() for text in values.dictionary.to_pylist()))
        else:
            state.update(key_bytes(values.drop_null()).tobytes())
    return state.hexdigest()


def load_tombstones(store: Store, paths: Sequence[str] | None = None) -> Tombstones:
    """All tombstones of an output, or those in some objects.

    Raises:
        InputError: An object is damaged, or not there.
    """
    wanted = tombstones_of(store) if paths is None else list(paths)
    table = pa.concat_tables([TOMBSTONES.empty_table(), *(_read(store, path) for path in wanted)])
    etags = table["etag"].unique().drop_null().sort().to_pylist()
    code = pc.fill_null(pc.index_in(table["etag"], value_set=pa.array(etags, pa.string())), ANY_ETAG).to_numpy()
    keys, codes = _pairs(key_bytes(table["doc_key"].combine_chunks()), code.astype(np.int32))
    texts = np.concatenate([key_bytes(table[name].combine_chunks().drop_null()) for name in ("content_hash", "output_hash")])
    return Tombstones(tuple(wanted), keys, codes, tuple(etags), _each_once(texts))


def _pairs(keys: Keys, codes: npt.NDArray[np.int32]) -> tuple[Keys, npt.NDArray[np.int32]]:
    """Places with their etags in order, each pair once."""
    pairs = np.empty((len(keys), PAIR_BYTES), np.uint8)
    pairs[:, :16] = keys.view(np.uint8).reshape(-1, 16)
    pairs[:, 16:] = (codes - ANY_ETAG).astype(">u4").view(np.uint8).reshape(-1, 4)
    once = _each_once(pairs.view(f"S{PAIR_BYTES}").ravel()).view(np.uint8).reshape(-1, PAIR_BYTES)
    codes = np.ascontiguousarray(once[:, 16:]).view(">u4").ravel().astype(np.int32) + np.int32(ANY_ETAG)
    return np.ascontiguousarray(once[:, :16]).view("S16").ravel(), codes


def _each_once(values: Keys) -> Keys:
    """The values in order, each once; sorted in place. Of bytes that numpy takes for text it sorts 5 million a second, `lexsort` 0.5."""
    values.sort()
    return values[_is_first(values)]


def _is_first(values: npt.NDArray[Any]) -> Mask:
    """Where a value differs from the one before it."""
    found: Mask = np.r_[True, values[1:] != values[:-1]][: len(values)]
    return found


def _read(store: Store, path: str) -> pa.Table:
    try:
        with pa.ipc.open_file(io.BytesIO(store.read(path))) as reader:
            table = reader.read_all()
            table.validate(full=True)
    except (NotFound, pa.ArrowException, ValueError, OSError) as error:
        raise _damaged(store, path, str(error)) from error
    if table.schema != TOMBSTONES:
        raise _damaged(store, path, f"its columns are {', '.join(table.schema.names)}")
    if (table.schema.metadata or {}).get(CHECKSUM) != _checksum(table).encode():
        raise _damaged(store, path, "its rows are not those of its checksum")
    return table.replace_schema_metadata(None)


def _damaged(store: Store, path: str, why: str) -> InputError:
    return InputError(
        f"{store.uri}: {path} cannot be read ({why}): it says which documents were taken out and may not come back; restore it from a "
        "copy; if there is none, remove it, and know that later runs may bring the documents back that only it names"
    )


# --- what a manifest says of them


def takedown_settings(documents: int, ids_sha256: str, reason: str | None, tombstones: Tombstones) -> dict[str, Any]:
    """Settings of the entry, last of `operators`, with which a takedown says what it did.

    Args:
        documents: How many it took out of the version before.
        ids_sha256: Digest of what it was asked to take out.
        reason: Why, in the words of who asked for it.
        tombstones: Its own, and all others whose documents are out of the version (`takedown_covered`).
    """
    return {"documents": documents, "ids_sha256": ids_sha256, "reason": reason, "tombstones": tombstones.digest}


def takedown_name(operators: Sequence[Mapping[str, Any]]) -> str:
    """The name of a further takedown's entry behind those that a manifest has."""
    taken = sum(operator["type"] == TAKEDOWN for operator in operators)
    return f"{TAKEDOWN}-{taken + 1}" if taken else TAKEDOWN


def plan_digest(manifest: Mapping[str, Any], digest: str) -> str | None:
    """Digest of the tombstones of the plan whose fingerprints a version has, if that plan has nothing to do while `digest` is all there is.

    A version that a run made has them in its own entry (`num_tombstones`); after a takedown the last entry (`documents`) covers them all.
    "" stands for no tombstones. None: documents were taken out that the version may hold.
    """
    entries = [operator["settings"] for operator in manifest["operators"] if operator["type"] == TAKEDOWN]
    of_run = next((str(entry["tombstones"]) for entry in entries if "num_tombstones" in entry), "")
    last = str(entries[-1]["tombstones"]) if entries else ""
    return of_run if last == digest else None
