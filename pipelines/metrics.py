"""The Prometheus metrics of a run: their names, what they count, and their labels. docs/metrics.md is checked against this list.

Counters count what this driver has seen committed, each piece of work once, whichever attempt it was. What an earlier driver did is in
that driver's series: so rates have no leaps, and the sum over the drivers is what was done.
"""

from __future__ import annotations

from typing import Final, Literal

from cluster.metrics import Metric

RUN_LABELS: Final = ("pipeline", "run_id")
"""Labels of every metric. `run_id` is the manifest's: one plan against one inventory, however often it is started."""


def _metric(kind: Literal["counter", "gauge"], name: str, description: str, *labels: str) -> Metric:
    return Metric(f"shardmill_{name}", kind, description, (*RUN_LABELS, *labels))


ROWS_IN: Final = _metric("counter", "rows_in_total", "Rows that came into the first stage, those that could not be read included.")
ROWS_OUT: Final = _metric("counter", "rows_out_total", "Rows that the last stage gave.")
INPUT_BYTES: Final = _metric("counter", "input_bytes_total", "Bytes of the input that was read, uncompressed, as the plan estimates them.")
OUTPUT_BYTES: Final = _metric("counter", "output_bytes_total", "Bytes of the shards that were written.")
OUTPUT_SHARDS: Final = _metric("counter", "output_shards_total", "Shards that were written.")
OPERATOR_ROWS_IN: Final = _metric("counter", "operator_rows_in_total", "Rows that came to an operator; `read` is reading.", "operator")
OPERATOR_ROWS_OUT: Final = _metric("counter", "operator_rows_out_total", "Rows that an operator gave on.", "operator")
ROWS_DROPPED: Final = _metric("counter", "rows_dropped_total", "Rows that an operator dropped, by reason.", "operator", "reason")
ROWS_QUARANTINED: Final = _metric(
    "counter", "rows_quarantined_total", "Rows that went into quarantine, by the operator that failed and the error.", "operator", "error"
)
OPERATOR_SECONDS: Final = _metric(
    "counter", "operator_seconds_total", "CPU seconds of an operator within units; its exchange counts as work.", "operator"
)
WORK_DONE: Final = _metric(
    "counter", "work_done_total", "Pieces of work that were committed, by kind: `unit`, `partition`, `shard` ...", "kind"
)
WORK_SECONDS: Final = _metric("counter", "work_seconds_total", "CPU seconds of the work that was committed, by kind.", "kind")
STORAGE_REQUESTS: Final = _metric("counter", "storage_requests_total", "Requests to the output's store by the work that was committed.")
STORAGE_RETRIES: Final = _metric("counter", "storage_retries_total", "Requests to it that were repeated: throttled, cut off, timed out.")
RETRIES: Final = _metric(
    "counter", "retries_total", "Attempts that failed, by kind: `task`, `infrastructure`, `memory`, `systemic`, `worker`.", "kind"
)
TASKS_LOST: Final = _metric("counter", "tasks_lost_total", "Tasks that never answered: their worker or node went away.")
TASKS_DOUBLED: Final = _metric("counter", "tasks_doubled_total", "Tasks that were run a second time because they took very long.")
RUNNING: Final = _metric("gauge", "running", "1 while a driver is at work on the run, then 0.")
PHASE: Final = _metric("gauge", "phase", "1 for the phase that the run is in, 0 for others; `stage` 0: after all.", "stage", "kind")
WORK_PLANNED: Final = _metric("gauge", "work_planned", "Pieces of work of the phase, those that were committed before included.")
WORK_LEFT: Final = _metric("gauge", "work_left", "Pieces of work of the phase that are not committed yet.")
LAST_PROGRESS: Final = _metric(
    "gauge", "last_progress_timestamp_seconds", "Unix time when a phase last began, or a piece of work was last committed."
)

METRICS: Final = (
    ROWS_IN,
    ROWS_OUT,
    INPUT_BYTES,
    OUTPUT_BYTES,
    OUTPUT_SHARDS,
    OPERATOR_ROWS_IN,
    OPERATOR_ROWS_OUT,
    ROWS_DROPPED,
    ROWS_QUARANTINED,
    OPERATOR_SECONDS,
    WORK_DONE,
    WORK_SECONDS,
    STORAGE_REQUESTS,
    STORAGE_RETRIES,
    RETRIES,
    TASKS_LOST,
    TASKS_DOUBLED,
    RUNNING,
    PHASE,
    WORK_PLANNED,
    WORK_LEFT,
    LAST_PROGRESS,
)
