"""What is told of documents beyond counts: examples with the offending places, histograms of signals, thresholds and what moving them does.

Plain values that the dry run and the report exchange with whoever makes and shows them. Nothing here reads or computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Side = Literal["below", "above"]
"""On which side of a limit documents are dropped."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in an excerpt: characters `start` to `stop` (exclusive) of its text, and why it is shown."""

    start: int
    stop: int
    why: str


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A document as far as it is shown.

    Attributes:
        uri: The input file that it came from; None where only the output is known.
        row: Row in that file.
        text: Some characters of the text, bounded; as they are: whoever shows them makes them harmless.
        num_chars: Of the whole text.
        first_char: Place of the excerpt's first character in the whole text.
        signals: Measurements, `operator.signal` to value.
    """

    id: str | None
    uri: str | None
    row: int | None
    text: str
    num_chars: int
    first_char: int = 0
    marks: tuple[Mark, ...] = ()
    signals: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """A document that was kept (`operator` is None) or dropped, and for what."""

    operator: str | None
    reason: str | None
    detail: str | None
    document: Excerpt


@dataclass(frozen=True, slots=True)
class Pair:
    """A removed duplicate beside the document that was kept for it; marks show where they differ."""

    operator: str
    reason: str
    similarity: float | None
    removed: Excerpt
    kept: Excerpt


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold on a signal: documents on `side` of `value` are dropped for `reason`; `setting` is its name in the pipeline file.

    Attributes:
        low: Where it depends on the document's language, the least of the values, `high` the greatest and `value` their median; else None.
    """

    setting: str
    reason: str
    side: Side
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Histogram:
    """How a signal is distributed over the documents that reach an operator.

    Attributes:
        edges: Ascending, one more than counts. The first and last bucket hold what lies beyond, too.
        counts: Documents in each bucket.
        dropped: Those of them that the operator drops, for whatever reason.
        absent: Documents without this signal.
        is_log: True if buckets grow by a factor.
    """

    operator: str
    signal: str
    unit: str
    doc: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    dropped: tuple[int, ...]
    absent: int
    limits: tuple[Limit, ...]
    is_log: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """A threshold at another value: how many documents it alone would drop, and how many the whole operator would."""

    value: float
    alone: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """One test of an operator, from signals alone.

    Attributes:
        rows_in: Documents of the sample that reached the operator.
        now: At the value that is set.
        looser: Moved by 10 % so that fewer documents go.
        tighter: Moved by 10 % so that more go.
    """

    operator: str
    limit: Limit
    signal: str
    rows_in: int
    now: Moved
    looser: Moved
    tighter: Moved


def of_one_setting(thresholds: Iterable[Threshold]) -> frozenset[tuple[str, str]]:
    """Operator and setting of the thresholds that only their reasons tell apart: one setting, on one side, decides several tests."""
    number = Counter((one.operator, one.limit.setting, one.limit.side) for one in thresholds)
    return frozenset((operator, setting) for (operator, setting, _), times in number.items() if times > 1)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number of the whole input told from a sample, with the bounds between which it lies with a probability of 95 %."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """As it stands in JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class OperatorEstimate:
    """What an operator is expected to do.

    Attributes:
        rows_in: Documents of the sample that reached it; `rows_out`, those that passed; `reasons`, those that did not, by reason.
        keep_rate: Over the whole input. That of an operator that removes duplicates is corrected: a sample holds few of their pairs.
        is_corrected: True if `keep_rate` is not just rows_out / rows_in.
        cpu_seconds: On the sample.
        quarantined: Documents of the sample that it could not process, by error.
    """

    name: str
    type: str
    rows_in: int
    rows_out: int
    reasons: Mapping[str, int]
    keep_rate: Estimate
    is_corrected: bool = False
    note: str = ""
    cpu_seconds: float = 0.0
    quarantined: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As the contract has it."""
        interval = [self.keep_rate.low, self.keep_rate.high]
        return {
            "name": self.name,
            "type": self.type,
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "keep_rate": self.keep_rate.value,
            "keep_rate_interval": interval,
            "reasons": dict(self.reasons),
            "is_corrected": self.is_corrected,
            "note": self.note,
            "cpu_seconds": round(self.cpu_seconds, 4),
            "quarantined": dict(self.quarantined),
        }


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a pipeline will do, told from a sample.

    Attributes:
        input: files, rows, bytes, and of the sample: documents, row_groups, read_bytes, seed.
        operators: In the pipeline's order.
        kept: Of all rows, over the whole pipeline.
        projection: Of the real run: see projection.py.
        notes: What the reader should know: what could not be told, and why.
    """

    name: str
    input: Mapping[str, Any]
    operators: tuple[OperatorEstimate, ...]
    kept: Estimate
    thresholds: tuple[Threshold, ...]
    histograms: tuple[Histogram, ...]
    examples: tuple[Example, ...]
    pairs: tuple[Pair, ...]
    projection: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkCost:
    """What one piece of work took.

    Attributes:
        stage: From 1; 0: behind all stages.
        kind: `unit`, or a step of the exchange, packing …
        number: Its place among those of its stage and kind.
        seconds: CPU seconds by operator; what is the engine's own under "read", "write" and so on, as records have it.
        peak_bytes: Resident memory of its worker; None if it is not known.
        attempts: How often it was tried, as far as its records tell.
    """

    stage: int
    kind: str
    number: int
    rows: int
    seconds: Mapping[str, float]
    peak_bytes: int | None
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """A row that could not be processed."""

    id: str | None
    uri: str
    row: int | None
    operator: str
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class ReportData:
    """What a report shows beside the manifest; everything bounded, everything may be empty.

    Attributes:
        component_sizes: Sets of duplicates by how many documents each has: (documents, sets), ascending, by operator.
        works: The largest pieces of work, and `work_totals`: (kind, pieces, CPU seconds, largest peak, attempts beyond the first) of all.
        studied: Documents of the sample that histograms and thresholds are of; 0: there are none.
        edits: By operator, how the texts of what it dropped are shown, where operators before it change texts.
        notes: What could not be shown, and why.
    """

    examples: tuple[Example, ...] = ()
    pairs: tuple[Pair, ...] = ()
    edits: Mapping[str, str] = field(default_factory=dict)
    histograms: tuple[Histogram, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    studied: int = 0
    component_sizes: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    works: tuple[WorkCost, ...] = ()
    work_totals: tuple[tuple[str, int, float, int | None, int], ...] = ()
    quarantined: tuple[QuarantinedRow, ...] = ()
    notes: tuple[str, ...] = ()
