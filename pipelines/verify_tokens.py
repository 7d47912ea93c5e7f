"""The token counts of a version, counted again from its shards: by source and language, and each document's against its ids.

Owns the rules of names as a reader of the manifest knows them. Knows nothing of how a run counts. Memory holds the names that the manifest
tells, and one row group of the columns that are read a thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.checks import MAX_PROBLEMS, Checks, Problem
from pipelines.errors import shown
from pipelines.objectfile import opened_parquet
from pipelines.verify_file import NUM_THREADS
from pipelines.verify_manifest import MANIFEST, Finished
from pipelines.verify_names import OTHER, name_of

NAME: Final = "tokens"
BATCH_ROWS: Final = 1 << 16
TOKENS: Final = "num_tokens"
IDS: Final = "input_ids"
TOKENIZE: Final = "tokenize"
CHECKED_BEFORE: Final = ("shards table", "shards", "output")
KINDS: Final = ("source", "language")


def check_tokens(finished: Finished, shards: pa.Table | None, checks: Checks) -> None:
    """Tokens by source and language add up to those of the shards, name by name where the column is in them; `num_tokens` tells the ids."""
    told: Mapping[str, Any] | None = finished.manifest.get("tokens")
    if shards is None or any(not check.ok for check in checks.made if check.name in CHECKED_BEFORE):
        checks.skip(NAME, "not checkable: the shards are not as the manifest and their table say")
        return
    if told is None:
        _check_absent(finished, checks)
        return
    columns = _columns(finished, told)
    found = _Found()
    problems = chain(
        _sums(finished, told),
        _in_shards(finished, shards, told, columns, found),
        (problem for kind in columns for problem in _differing(told[f"by_{kind}"], found.counts[kind], kind)),
    )
    counted = " and ".join(columns) or "neither source nor language, whose columns are not in the shards"
    also = "; each num_tokens is the number of its input_ids" if _has_ids(finished) else ""
    checks.judge(NAME, problems, f"{told['total']} tokens, counted again by {counted}{also}")


def _check_absent(finished: Finished, checks: Checks) -> None:
    if finished.manifest["output"]["tokens"] is None:
        checks.judge(NAME, [], "the documents have no token counts")
    elif "tokens" in finished.manifest:
        said = f"tokens is null, but output.tokens is {finished.manifest['output']['tokens']}; restore the manifest from a copy"
        checks.judge(NAME, [Problem(MANIFEST, said)], "")
    else:
        checks.skip(NAME, "not checkable: the run that made this version did not count tokens by source and language")


def _columns(finished: Finished, told: Mapping[str, Any]) -> dict[str, str]:
    """The column of each kind of name that is in the shards."""
    there = {column["name"] for column in finished.manifest["schema"]}
    wanted = {kind: told[f"{kind}_column"] for kind in KINDS if told[f"by_{kind}"] is not None}
    return {kind: column for kind, column in wanted.items() if column in there}


def _has_ids(finished: Finished) -> bool:
    """Whether the documents have both columns of an operator that tokenizes."""
    there = {column["name"] for column in finished.manifest["schema"]}
    return {TOKENS, IDS} <= there and any(operator["type"] == TOKENIZE for operator in finished.manifest["operators"])


def _sums(finished: Finished, told: Mapping[str, Any]) -> Iterator[Problem]:
    output = finished.manifest["output"]
    if told["total"] != (output["tokens"] or 0):
        yield Problem(MANIFEST, f"tokens.total is {told['total']}, but output.tokens is {output['tokens']}")
    for kind in KINDS:
        counts = told[f"by_{kind}"]
        for what, expected in (("documents", output["rows"]), ("tokens", told["total"])) if counts is not None else ():
            found = sum(entry[what] for entry in counts.values())
            if found != expected:
                yield Problem(MANIFEST, f"tokens.by_{kind}: the {what} add up to {found}, expected {expected}")


# --- the shards, counted again


@dataclass(slots=True)
class _Found:
    """Documents and tokens by kind and name."""

    counts: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: {kind: {"documents": Counter(), "tokens": Counter()} for kind in KINDS}
    )

    def add(self, other: _Found) -> None:
        for kind, counted in other.counts.items():
            for what, counts in counted.items():
                self.counts[kind][what].update(counts)


def _in_shards(
    finished: Finished, shards: pa.Table, told: Mapping[str, Any], columns: Mapping[str, str], found: _Found
) -> Iterator[Problem]:
    """What the shards themselves tell; the counts are added to `found`."""
    if not columns and not _has_ids(finished):
        return
    paths = shards.column("path").to_pylist()
    one = partial(_counted, finished, told=told, columns=columns, with_ids=_has_ids(finished))
    with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="verify") as pool:
        for counted, problems in pool.map(one, paths):
            found.add(counted)
            yield from problems


def _counted(
    finished: Finished, path: str, *, told: Mapping[str, Any], columns: Mapping[str, str], with_ids: bool
) -> tuple[_Found, list[Problem]]:
    """One shard: its documents and tokens by name, and documents whose `num_tokens` is not the number of their ids."""
    found = _Found()
    problems: list[Problem] = []
    row = 0
    names = list(dict.fromkeys([TOKENS, *columns.values(), *([IDS] if with_ids else [])]))
    with opened_parquet(finished.store, path) as file:
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(BATCH_ROWS, [group], columns=names, use_threads=False):
                problems += _miscounted(path, batch, row) if with_ids and len(problems) <= MAX_PROBLEMS else []
                for kind, column in columns.items():
                    _count_names(batch, column, told[f"by_{kind}"], found.counts[kind])
                row += batch.num_rows
    return found, problems


def _miscounted(path: str, batch: pa.RecordBatch, first: int) -> list[Problem]:
    said = pc.fill_null(batch.column(TOKENS), 0).to_numpy(zero_copy_only=False)
    sizes = pc.fill_null(pc.list_value_length(batch.column(IDS)), 0).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(said != sizes)[: MAX_PROBLEMS + 1].tolist()
    return [Problem(path, f"row {first + at}: num_tokens is {said[at]}, but it has {sizes[at]} input_ids") for at in wrong]


def _count_names(batch: pa.RecordBatch, column: str, told: Mapping[str, Any], counts: Mapping[str, Counter[str]]) -> None:
    table = pa.table({"name": pc.cast(batch.column(column), pa.string()), "tokens": batch.column(TOKENS)})
    grouped = table.group_by("name", use_threads=False).aggregate([([], "count_all"), ("tokens", "sum")])
    for row in grouped.to_pylist():
        name = name_of(row["name"])
        name = name if name in told else OTHER
        counts["documents"][name] += row["count_all"]
        counts["tokens"][name] += row["tokens_sum"] or 0


def _differing(told: Mapping[str, Any], found: Mapping[str, Counter[str]], kind: str) -> Iterator[Problem]:
    for name in sorted({*told, *found["documents"]}):
        said = told.get(name, {"documents": 0, "tokens": 0})
        counted = {what: found[what][name] for what in ("documents", "tokens")}
        if dict(said) != counted:
            message = f"{said['documents']} documents with {said['tokens']} tokens, but the shards have {counted['documents']} with "
            yield Problem(MANIFEST, f"tokens.by_{kind}.{shown(name)} is {message}{counted['tokens']}")
