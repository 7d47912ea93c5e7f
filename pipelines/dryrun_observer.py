"""What a dry run sees of operators while the engine applies them: signals, the texts that they drop, and the time that they take.

Owns what is remembered of a batch once it is gone, all of it bounded: numbers of each document, and a few texts a reason.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.base import Result, RowError
from pipelines.chain import OpenedOperator
from pipelines.dryrun_signals import Signals
from pipelines.rows import Rows

WARM_ROWS: Final = 4
MAX_TEXT_CHARS: Final = 200_000
"""Of a text that is remembered: as much as is looked at for the offending place."""
MAX_REASONS: Final = 50
"""Reasons of one operator whose texts are remembered: those of a careless operator may be as many as documents."""
TICKS: Final = os.sysconf("SC_CLK_TCK")

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DroppedText:
    """A document as an operator was given it that dropped it.

    Attributes:
        row: Of the sample.
        text: Its first characters; `num_chars` is how many there are.
        columns: Its other columns that an example needs.
    """

    row: int
    reason: str
    detail: str | None
    text: str
    num_chars: int
    language: str | None


@dataclass(slots=True)
class OperatorSeen:
    """What is remembered of one operator.

    Attributes:
        cpu_seconds: Of the operator and of processes that it has beside this one, without its first documents.
        dropped: Texts by reason, by their rank.
    """

    rows: int = 0
    cpu_seconds: float = 0.0
    dropped: dict[str, list[tuple[int, DroppedText]]] = field(default_factory=dict)


class Seen:
    """An observer of chains (pipelines.chain.Observer).

    Args:
        text_column: Name of the text column.
        ranks: One number a document of the sample: of those that are dropped for the same reason the texts of the smallest are kept.
        most: How many of them.
        language_column: Column that names a document's language, if there is one.
        signals: Told each batch before an operator and the operator's result.
    """

    def __init__(
        self, text_column: str, ranks: Ints, most: int, *, language_column: str | None = None, signals: Signals | None = None
    ) -> None:
        self._text_column = text_column
        self._language_column = language_column
        self._ranks = ranks
        self._most = most
        self._signals = signals
        self.operators: dict[str, OperatorSeen] = {}
        self.extra_seconds = 0.0

    # --- pipelines.chain.Observer

    def before(self, operator: OpenedOperator, rows: Rows) -> None:
        """Let the operator do a few documents first: what it loads and compiles then is not done for each."""
        started = time.process_time()
        seen = self.operators.get(operator.name)
        if seen is None and len(rows):
            seen = self.operators[operator.name] = OperatorSeen()
            with suppress(Exception):  # what fails is seen when it counts
                operator.apply(rows.batch.slice(0, WARM_ROWS))
        self.extra_seconds += time.process_time() - started
        if seen is not None:
            seen.cpu_seconds -= _family_seconds()

    def applied(self, operator: OpenedOperator, rows: Rows, result: Result, errors: Mapping[int, RowError]) -> None:
        """Remember what the operator said of the documents."""
        seen = self.operators.get(operator.name)
        if seen is None:
            return
        seen.cpu_seconds += _family_seconds()
        started = time.process_time()
        seen.rows += len(rows)
        healthy = rows if not errors else rows.filter(_without(len(rows), errors))
        if result.reasons is not None and result.reasons.null_count < len(healthy):
            self._remember(seen, healthy, result)
        if self._signals is not None:
            self._signals.add(operator.name, rows, result, errors)
        self.extra_seconds += time.process_time() - started

    def _remember(self, seen: OperatorSeen, rows: Rows, result: Result) -> None:
        reasons = pc.cast(result.reasons, pa.string()).to_numpy(zero_copy_only=False)
        ranks = self._ranks[rows.row]
        for reason in sorted({reason for reason in reasons if reason is not None}):
            if reason not in seen.dropped and len(seen.dropped) >= MAX_REASONS:
                continue
            held = seen.dropped.setdefault(reason, [])
            found = np.flatnonzero(reasons == reason)
            bar = held[-1][0] if len(held) >= self._most else None
            chosen = [place for place in found[np.argsort(ranks[found])][: self._most].tolist() if bar is None or ranks[place] < bar]
            held += [(int(ranks[place]), self._dropped(rows, result, place, reason)) for place in chosen]
            held.sort(key=lambda item: item[0])
            del held[self._most :]

    def _dropped(self, rows: Rows, result: Result, place: int, reason: str) -> DroppedText:
        text = _cell(rows.batch, self._text_column, place)
        detail = None if result.details is None else result.details[place].as_py()
        language = None if self._language_column is None else _cell(rows.batch, self._language_column, place)
        cut, num_chars = "" if text is None else text[:MAX_TEXT_CHARS], 0 if text is None else len(text)
        return DroppedText(int(rows.row[place]), reason, detail, cut, num_chars, language)


def _cell(batch: pa.RecordBatch, column: str, place: int) -> str | None:
    """A string of a batch; ill-formed ones with a mark where they are."""
    at = batch.schema.get_field_index(column)
    if at < 0 or not _is_string(batch.schema.field(at).type):
        return None
    value = batch.column(at)[place]
    return None if not value.is_valid else value.as_buffer().to_pybytes().decode("utf-8", "replace")


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _without(rows: int, errors: Mapping[int, RowError]) -> npt.NDArray[np.bool_]:
    mask = np.ones(rows, np.bool_)
    mask[list(errors)] = False
    return mask


def _family_seconds() -> float:
    """CPU seconds of this process and of its living children: some operators let others work."""
    return time.process_time() + sum(map(_seconds_of, _children()))


def _children() -> list[int]:
    found: list[int] = []
    with suppress(OSError, ValueError):
        for thread in Path("/proc/self/task").iterdir():
            found += map(int, (thread / "children").read_text("ascii").split())
    return found


def _seconds_of(process: int) -> float:
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0
