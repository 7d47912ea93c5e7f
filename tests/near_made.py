"""The exchange of near-duplicates in this process: corpora, jobs done as they are asked for, and the rule in plain Python.

`Exchange` stands for driver and workers: what a run does between the keys of the units and the verdicts on them, without files of input,
stages or output, so that a corpus of some dozens of documents takes milliseconds.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from operator_samples import ASSETS

from operators.keep import WORDS
from operators.minhash import MinhashDedup
from operators.near import NearOperator
from pipelines.commit import CommitLog, Record
from pipelines.exchange import Limits, Source, UnitPlace
from pipelines.frames import read_frames, refs
from pipelines.gathering import UnitVerdict
from pipelines.identity import doc_keys, uri_prefix
from pipelines.inventory import prefixes_path
from pipelines.layers import FILE, ROW, Layers
from pipelines.near_grouping import UnitKeys, group_near
from pipelines.operatorspec import OperatorSpec
from pipelines.partitioning import ROW_BITS
from pipelines.steps import Steps, held_bytes
from pipelines.storage import MemoryStore, Store
from pipelines.work import Work
from pipelines.worker import Attempt, Job

Place = tuple[int, int]
"""A document: the ordinal of its file, its row there."""
Verdict = tuple[bytes | None, str | None, float, int]
"""kept_doc_key, kept_id, similarity, num_duplicates."""
DEFAULT = Limits()
TINY = Limits(task_bytes=2 << 10, range_bytes=1 << 9, task_units=2)
"""Bounds under which some dozens of documents take every path there is."""

_NUMBERS = itertools.count()


@dataclass
class Exchange:
    """Driver and worker of one operator's exchange.

    Attributes:
        kinds: How many jobs of each kind were done.
        watch: Called before each job, with the bounds.
    """

    operator: NearOperator
    limits: Limits = DEFAULT
    num_files: int = 64
    store: Store = field(default_factory=lambda: MemoryStore(f"memory://near-{next(_NUMBERS)}"))
    watch: Callable[[Job, Limits], None] = lambda _job, _limits: None
    kinds: Counter[str] = field(default_factory=Counter)
    stage: str = "stage"

    text_column = "text"
    seed = 0

    def __post_init__(self) -> None:
        self.log = CommitLog(self.store, self.stage, 0)
        self.place = SimpleNamespace(inventory_path=f"inventory-{self.stage}-{next(_NUMBERS)}")
        self.store.create(prefixes_path(self.place.inventory_path), b"".join(map(uri_prefix, map(str, range(self.num_files)))))
        self.steps = Steps(self.log, self.complete, OperatorSpec.of(self.operator, Path()), self.limits)
        self._jobs: dict[str, Job] = {}

    def complete(self, works: Sequence[Work]) -> None:
        """Do what is not committed yet. Work of one key is the same work."""
        for work in works:
            job = work.job()
            assert self._jobs.setdefault(work.key, job) == job
            if work.key not in self.log:
                self.kinds[job.kind] += 1
                self.watch(job, self.limits)
                outcome = job.run(self, Attempt(self.log, work.key))  # type: ignore[arg-type]
                parts = {role: part for role, part in outcome.parts.items() if part is not None}
                self.log.note(self.log.commit(Record(work.key, f"{len(self.log):016x}", job.kind, parts, detail=outcome.detail)))

    def source(self, role: str, batches: Sequence[pa.RecordBatch], ordinals: tuple[int, ...] = ()) -> Source:
        """A part with these frames."""
        with Attempt(self.log, f"{next(_NUMBERS):032x}").writer(role) as writer:
            for batch in batches:
                writer.write(batch)
            part = writer.finish()
        assert part is not None
        return Source(tuple(refs(part)), ordinals, bytes=held_bytes(part))

    def rows(self, sources: Sequence[Source]) -> pa.Table:
        """All rows of some sources."""
        return pa.Table.from_batches([batch for source in sources for batch in read_frames(self.store, source.frames)])

    # --- units

    def unit(self, files: Sequence[pa.RecordBatch], some: Sequence[Place], frame_rows: int) -> UnitKeys | None:
        """What a unit of some documents leaves, as `pipelines/unit.py` has it; None if none of them takes part."""
        ordinals = tuple(sorted({file for file, _ in some}))
        keys, features, documents = [], [], []
        for start in range(0, len(some), frame_rows):
            held = some[start : start + frame_rows]
            batch = pa.Table.from_batches([files[file].slice(row, 1) for file, row in held]).combine_chunks().to_batches()[0]
            position = pa.array([ordinals.index(file) for file, _ in held], pa.int64())
            row = pa.array([row for _, row in held], pa.int64())
            found = self.operator.open(ASSETS)(batch).add_column(0, "row", row).add_column(0, "file", position)
            if "id" in batch.schema.names:
                found = found.append_column("id", batch.column("id"))
            found = found.filter(pc.is_valid(found.column(self.operator.KEY)))
            apart = [name for name in found.schema.names if name in (*self.operator.FEATURES, "id")]
            words = [name for name in WORDS if name in found.schema.names]
            keys.append(found.drop_columns(apart))
            features.append(found.select(["file", "row", *words, *apart]))
            documents.append(pa.RecordBatch.from_arrays([position, row, *batch.columns], names=[FILE, ROW, *batch.schema.names]))
        num_rows = sum(batch.num_rows for batch in keys)
        if num_rows == 0:
            return None
        with Attempt(self.log, f"{next(_NUMBERS):032x}").writer("documents") as writer:
            for batch in documents:
                writer.write(batch)
            part = writer.finish()
        assert part is not None
        place = UnitPlace(_place(some[0]), _place(some[-1]) + 1, ordinals)
        sources = [self.source(role, batches, ordinals) for role, batches in (("keys", keys), ("features", features))]
        return UnitKeys(place, *sources, Layers((part,)), part.bytes, num_rows)

    def verdicts(self, files: Sequence[pa.RecordBatch], unit_rows: int = 7, frame_rows: int = 3) -> dict[Place, Verdict]:
        """What a run says of each document of which it says something."""
        every = [(file, row) for file, batch in enumerate(files) for row in range(batch.num_rows)]
        cut = [every[start : start + unit_rows] for start in range(0, len(every), unit_rows)]
        units = [unit for some in cut if (unit := self.unit(files, some, frame_rows)) is not None]
        places = [UnitPlace(_place(some[0]), _place(some[-1]) + 1, tuple(sorted({file for file, _ in some}))) for some in cut]
        if not units:
            return {}
        return self.told(group_near(self.steps, units, places), places)

    def told(self, verdicts: Sequence[UnitVerdict], places: Sequence[UnitPlace]) -> dict[Place, Verdict]:
        """Verdicts of units by document."""
        found: dict[Place, Verdict] = {}
        for verdict, unit in zip(verdicts, places, strict=True):
            for row in self.rows([Source((verdict.frame,))]).to_pylist() if verdict.frame is not None else ():
                place = (unit.ordinals[row["file"]], row["row"])
                assert place not in found
                assert unit.start <= _place(place) < unit.stop
                found[place] = (row["kept_doc_key"], row["kept_id"], row["similarity"], row["num_duplicates"])
        return found


def _place(document: Place) -> int:
    return (document[0] << ROW_BITS) | document[1]


# --- the rule


@dataclass(frozen=True)
class Rule:
    """The rule of `operators/near.py` in plain Python, from the keys that the operator makes of each document.

    Attributes:
        verified: Pairs (later, earlier) that met and are near-duplicates, with their similarity.
        removed: The document that each removed one names.
    """

    verified: Mapping[tuple[Place, Place], float]
    removed: Mapping[Place, Place]

    @classmethod
    def of(cls, operator: MinhashDedup, files: Sequence[pa.RecordBatch], uris: Sequence[str] = ()) -> Rule:
        """Bucket, keep order, first predecessors, verified, greedy."""
        key: dict[Place, Any] = {}
        buckets: dict[int, list[Place]] = {}
        feature: dict[Place, Any] = {}
        for file, batch in enumerate(files):
            rows = operator.open(ASSETS)(batch)
            sets = operator.shingles(ASSETS)(batch).to_pylist()
            for row, found in enumerate(rows.to_pylist()):
                if found["bands"] is None:
                    continue
                words = [found[name] for name in WORDS if name in found]
                key[file, row] = (*words, doc_key((file, row), *uris[file : file + 1])) if words else (file, row)
                feature[file, row] = frozenset(np.frombuffer(sets[row], np.uint64).tolist()) if operator.verify == "exact" else found
                for band in np.frombuffer(found["bands"], np.uint64).tolist():
                    buckets.setdefault(band, []).append((file, row))
        verified = {}
        for members in buckets.values():
            members.sort(key=key.__getitem__)
            for position, later in enumerate(members):
                for earlier in members[: min(position, operator.max_candidates)]:
                    similarity = _similarity(operator, feature[later], feature[earlier])
                    if similarity >= np.float32(operator.threshold):
                        verified[later, earlier] = float(similarity)
        removed: dict[Place, Place] = {}
        for document in sorted(key, key=key.__getitem__):
            kept = [earlier for later, earlier in verified if later == document and earlier not in removed]
            if kept:
                removed[document] = min(kept, key=key.__getitem__)
        return cls(verified, removed)

    def verdicts(self, operator: MinhashDedup, files: Sequence[pa.RecordBatch]) -> dict[Place, Verdict]:
        """What must be said of each document of which something must be."""
        number = Counter(self.removed.values())
        found: dict[Place, Verdict] = {}
        for document, kept in self.removed.items():
            name = doc_key(kept).hex()
            if "id" in files[0].schema.names:
                name = files[kept[0]].column("id")[kept[1]].as_py()
            found[document] = (doc_key(kept), name, self.verified[document, kept], number[kept])
        if operator.num_duplicates is not None:
            found |= {kept: (None, None, 0.0, count) for kept, count in number.items()}
        return found


def _similarity(operator: MinhashDedup, one: Any, other: Any) -> np.float32:
    if operator.verify == "exact":
        return np.float32(len(one & other) / len(one | other)) if one | other else np.float32(0)
    first, second = (np.frombuffer(found["signature"], np.uint16) for found in (one, other))
    return np.float32(float((first == second).sum()) / len(first))


def doc_key(document: Place, uri: str | None = None) -> bytes:
    """The doc_key of a document; of a file without a uri the one that `Exchange` gives it."""
    key: bytes = doc_keys([uri_prefix(str(document[0]) if uri is None else uri)], np.zeros(1, np.int64), np.array([document[1]]))[0].as_py()
    return key
