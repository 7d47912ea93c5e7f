"""What is committed so far, counted by a reader that changes nothing: the records of a stage's log, and examples of what was quarantined.

A run loads a log too, and sets torn records aside as it does; a reader must not. Owns the counts of records and their bounds; does not know
what state a run is in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from pipelines.commit import CommitLog, Record, TornRecord, epoch_of
from pipelines.errors import LocationUnreadable, NotFound
from pipelines.frames import read_frames, refs
from pipelines.held_records import fold_keys, fold_records
from pipelines.legible import legible
from pipelines.objectfile import opened_parquet
from pipelines.storage import Store

MAX_SINGLE_RECORDS: Final = 5000
"""Records that are in no fold and still read: a run folds every 2,048, and when a phase ends."""
MAX_BAD_PARTS: Final = 20
MAX_EXAMPLES: Final = 5
TABLE_ROWS: Final = 10_000
MAX_MESSAGE_CHARS: Final = 300
EXAMPLE_COLUMNS: Final = ("id", "uri", "row_group", "row", "operator", "error", "message")


@dataclass(slots=True)
class Committed:
    """Counts over the records of one log.

    Attributes:
        epoch: Of the log.
        kinds: Records by kind (`unit`, `partition` …).
        unread: Records that are known by name alone.
        rows_in: Rows that came into the committed units.
        rows_out: Rows that they gave.
        dropped: Rows that they dropped.
        quarantined: Rows that they quarantined, by error.
        bad: Records whose parts have examples of these.
        seconds: CPU seconds of the attempts that counted; what was lost with others is not known.
        requests: Requests of these attempts to the store.
        retries: How many of the requests were made again.
        peak_rss_bytes: The largest memory of a worker.
    """

    epoch: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    unread: int = 0
    rows_in: int = 0
    rows_out: int = 0
    dropped: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    bad: list[Record] = field(default_factory=list)
    seconds: float = 0.0
    requests: int = 0
    retries: int = 0
    peak_rss_bytes: int = 0

    def add(self, record: Record) -> None:
        """Count a record."""
        self.kinds[record.kind] += 1
        self.seconds += record.usage.get("seconds", 0.0)
        self.requests += record.usage.get("requests", 0)
        self.retries += record.usage.get("retries", 0)
        self.peak_rss_bytes = max(self.peak_rss_bytes, record.usage.get("peak_rss_bytes", 0))
        if record.ledger is None:
            return
        self.rows_in += record.ledger.rows_in
        self.rows_out += record.ledger.rows_out
        self.dropped += record.ledger.num_dropped
        self.quarantined.update(record.ledger.quarantined())
        if "quarantine" in record.parts and len(self.bad) < MAX_BAD_PARTS:
            self.bad.append(record)


def committed(store: Store, stage: str) -> Committed:
    """What is committed of a stage: in its current epoch or, where `gc` has just ended one, in that."""
    current = epoch_of(store, stage)
    found = _scan(CommitLog(store, stage, current))
    if current > 0 and not found.kinds and not found.unread:
        return _scan(CommitLog(store, stage, current - 1))
    return found


def _scan(log: CommitLog) -> Committed:
    counts = Committed(epoch=log.epoch)
    seen: set[str] = set()
    for info in log.store.list(f"{log.folder}/folds"):
        for key, data in _fold(log.store.read(info.path)):
            if key not in seen:
                seen.add(key)
                _add(counts, data)
    for data in _single_records(log, seen, counts):
        _add(counts, data)
    return counts


def _fold(content: bytes) -> Iterator[tuple[str, bytes]]:
    return zip(fold_keys(content), fold_records(content), strict=True)


def _single_records(log: CommitLog, seen: set[str], counts: Committed) -> Iterator[bytes]:
    paths: list[str] = []
    for info in log.store.list(f"{log.folder}/records"):
        if info.path.endswith(".json") and info.path.rsplit("/", 1)[-1].removesuffix(".json") not in seen:
            if len(paths) < MAX_SINGLE_RECORDS:
                paths.append(info.path)
            else:
                counts.unread += 1
    with ThreadPoolExecutor(16, thread_name_prefix="records") as threads:
        yield from threads.map(_or_nothing(log.store.read), paths)


def _or_nothing(read: Callable[[str], bytes]) -> Callable[[str], bytes]:
    def attempt(path: str) -> bytes:
        try:
            return read(path)
        except NotFound:
            return b""  # set aside as torn by the run, since it was listed

    return attempt


def _add(counts: Committed, data: bytes) -> None:
    try:
        counts.add(Record.from_bytes(data))
    except TornRecord:
        return  # a run does that work again


# --- examples


def part_examples(store: Store, records: Iterable[Record]) -> list[dict[str, Any]]:
    """Quarantined rows from the parts of some records, a few of each error."""
    chosen = _Chosen()
    for record in records:
        try:
            # One frame a part: it is bounded, and more of the same unit tells little.
            for batch in read_frames(store, refs(record.parts["quarantine"])[:1]):
                chosen.add(batch)
        except NotFound:
            continue  # swept since its record was read
    return chosen.rows


def table_examples(store: Store, files: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Quarantined rows from the table of a finished version, a few of each error among its first rows."""
    chosen = _Chosen()
    if not files:
        return []
    try:
        with opened_parquet(store, files[0]["path"]) as reader:
            for batch in islice(reader.iter_batches(batch_size=TABLE_ROWS, columns=list(EXAMPLE_COLUMNS)), 1):
                chosen.add(batch)
    except (NotFound, LocationUnreadable, pa.ArrowException, OSError):
        return []  # `verify` is who says what is wrong with it
    return chosen.rows


class _Chosen:
    """Examples, at most `MAX_EXAMPLES` an error."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._by_error: Counter[str] = Counter()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take from a batch what there are too few of."""
        errors = batch.column("error").to_pylist()
        for position, error in enumerate(errors):
            if self._by_error[error] < MAX_EXAMPLES:
                self._by_error[error] += 1
                row = {name: batch.column(name)[position].as_py() for name in EXAMPLE_COLUMNS}
                self.rows.append({**row, "message": legible(row["message"], MAX_MESSAGE_CHARS)})
