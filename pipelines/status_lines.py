"""The status of a run as a person reads it: a few lines, the most important first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipelines.ledger import READER
from pipelines.legible import count, counted, legible, seconds, share, size
from pipelines.runbook import DRIVER_DIES, QUARANTINE, pointer

SHOWN_ERRORS: Final = 10
SHOWN_EXAMPLES: Final = 5
KINDS: Final = {
    **dict.fromkeys(("partition", "spread"), "partition"),
    "buckets": "bucket task",
    **dict.fromkeys(("verify", "meet"), "comparison"),
    **dict.fromkeys(("contract", "links", "star", "label"), "component task"),
    **dict.fromkeys(("decide", "resolve", "cut", "slice", "count"), "decision"),
    "gather": "gathering",
    "sample": "sampling task",
    "learn": "learned file",
}
"""What a person reads of each kind of an exchange's tasks."""


def render_status(found: Mapping[str, Any]) -> list[str]:
    """What `status` found, as lines of text."""
    return [
        f"{legible(found['uri'], 300)}: {_headline(found)}",
        f"waits for: {found['waits_for']}",
        *_runbook(found),
        *_version(found),
        *_plan(found),
        *_quarantine(found["quarantine"]),
        *_usage(found["usage"]),
    ]


def _runbook(found: Mapping[str, Any]) -> Iterator[str]:
    """Where the runbook tells more: of a run that ended by itself no message is left but this."""
    entry = {"dead": DRIVER_DIES, "silent": DRIVER_DIES, "unswapped": DRIVER_DIES, "stopped": DRIVER_DIES}.get(found["state"])
    quarantine = found["quarantine"]
    if found["state"] == "stopped" and quarantine["of_rows"] and quarantine["allowed_fraction"] is not None:
        entry = QUARANTINE if quarantine["rows"] > quarantine["allowed_fraction"] * quarantine["of_rows"] else entry
    if entry is not None:
        yield pointer(entry)


def _headline(found: Mapping[str, Any]) -> str:
    state = {"nothing": "empty", "dead": "stopped", "silent": "no sign of life", "unswapped": "almost finished"}
    return state.get(found["state"], str(found["state"]))


def _version(found: Mapping[str, Any]) -> Iterator[str]:
    version = found["version"]
    if version is None:
        if found["state"] != "nothing":
            yield "version: none is finished yet"
        return
    tokens = "" if version["tokens"] is None else f", {counted(version['tokens'], 'token')}"
    yield (
        f"version: {version['version']} of {legible(version['name'], 60)}, {legible(version['created_at'], 40)}: "
        f"{counted(version['rows'], 'row')}{tokens}, {counted(version['shards'], 'shard')}, {size(version['bytes'])}"
    )
    given_up = [claim["version"] for claim in found["versions"] if claim["state"] == "abandoned"]
    if given_up:
        yield f"  given up before they were finished: {', '.join(given_up[-SHOWN_ERRORS:])}"


def _plan(found: Mapping[str, Any]) -> Iterator[str]:
    plan = found["plan"]
    if plan is None:
        return
    yield (
        f"latest plan: {legible(plan['name'], 60)}, run {legible(plan['run_id'], 40)}: {counted(plan['rows'], 'row')} in "
        f"{counted(plan['files'], 'file')}"
    )
    for number, stage in enumerate(found["stages"], 1):
        yield f"  stage {number} of {len(found['stages'])} ({_operators(stage)}): {_units(stage)}"
        if stage["exchange_committed"]:
            yield f"    exchange: {_tasks(stage['exchange_committed'])} committed"
    files = found["packing"]["files_committed"]
    if files:
        yield f"  packing: {counted(files, 'file')} committed"


def _tasks(committed: Mapping[str, int]) -> str:
    tasks: Counter[str] = Counter()
    for kind, number in committed.items():
        tasks[KINDS[kind]] += number
    return ", ".join(counted(number, noun) for noun, number in tasks.items())


def _operators(stage: Mapping[str, Any]) -> str:
    # A group operator ends a stage with its keys, and begins the next one with its verdicts.
    names = [legible(name, 40) for name in stage["operators"]]
    names += [f"sample of {legible(name, 40)}" for name in stage.get("learners", ())]
    names += [f"keys of {legible(name, 40)}" for name in stage["groups"]]
    shown = names if len(names) <= 8 else [*names[:7], f"+{len(names) - 7} more"]
    return ", ".join(shown) or "no operators"


def _units(stage: Mapping[str, Any]) -> str:
    done, planned = stage["units_committed"], stage["units_planned"]
    # Units of an earlier input have records under the same stage.
    text = counted(done, "unit") if planned is None else f"{count(min(done, planned))} of {counted(planned, 'unit')}"
    if planned is not None and done > planned:
        text += f" (and {count(done - planned)} of earlier inputs)"
    if stage["records_unread"]:
        text += f" (and {counted(stage['records_unread'], 'record')} not looked at)"
    if not done:
        return f"{text} committed"
    return f"{text} committed; {count(stage['rows_in'])} rows in, {count(stage['rows_out'])} out, {count(stage['rows_dropped'])} dropped"


def _quarantine(found: Mapping[str, Any]) -> Iterator[str]:
    rows = found["rows"]
    if not rows:
        return
    of = "" if not found["of_rows"] else f" of {count(found['of_rows'])} ({share(rows, found['of_rows'])})"
    allowed = "" if found["allowed_fraction"] is None else f"; {100 * found['allowed_fraction']:g}% are allowed"
    yield f"quarantined: {counted(rows, 'row')}{of}{allowed}"
    errors = list(found["by_error"].items())
    shown: Counter[str] = Counter()
    # Of one error five examples, of many one each: a screen is short.
    most = max(1, SHOWN_EXAMPLES // len(errors))
    for error, number in errors[:SHOWN_ERRORS]:
        yield f"  {legible(error, 60)}: {count(number)}"
        for example in found["examples"]:
            if example["error"] == error and shown[error] < most:
                shown[error] += 1
                yield f"    {_example(example)}"
    if len(errors) > SHOWN_ERRORS:
        yield f"  +{len(errors) - SHOWN_ERRORS} more errors"


def _example(example: Mapping[str, Any]) -> str:
    by = "" if example["operator"] in (None, "", READER) else f", in {legible(example['operator'], 40)}"
    return f"{legible(example['uri'], 200)} row {example['row']}{by}: {legible(example['message'], 200)}"


def _usage(found: Mapping[str, Any]) -> Iterator[str]:
    if not found["cpu_seconds"] and not found["peak_rss_bytes"]:
        return
    retries = f" ({count(found['retries'])} of them again)" if found["retries"] else ""
    yield (
        f"used: {seconds(found['cpu_seconds'])} of CPU, at most {size(found['peak_rss_bytes'])} of memory in a worker, "
        f"{counted(found['requests'], 'request')} to the store{retries}"
    )
