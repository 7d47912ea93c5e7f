"""What the guards of a run warned of, against the settings and the tables: no warning without cause, and none that the tables show missing.

Owns the guards as a reader of the manifest knows them. How a run counts for them, it does not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import pyarrow as pa

from pipelines.checks import Checks, Problem
from pipelines.errors import shown
from pipelines.verify_ledger import Counts, side_batches
from pipelines.verify_manifest import MANIFEST, Finished

GUARDS: Final = ("max_source_share", "max_removed_for", "max_key_share")

Warned = Mapping[str, Any]


def check_warnings(finished: Finished, counts: Counts, checks: Checks) -> None:
    """Every warning is of a guard that was passed, by as much as the tables say; a document that too many were removed for has one."""
    warnings: Sequence[Warned] = finished.manifest.get("warnings", ())
    operators = {operator["name"]: operator for operator in finished.manifest["operators"]}
    known = [warned for warned in warnings if warned["operator"] in operators and warned["guard"] in GUARDS]
    problems = chain(
        (_unknown(warned) for warned in warnings if warned["operator"] not in operators or warned["guard"] not in GUARDS),
        chain.from_iterable(_unfounded(warned, operators[warned["operator"]]) for warned in known),
        chain.from_iterable(_of_kept(operator, known, counts) for operator in operators.values()),
        _of_sources(finished, operators, known),
    )
    checks.judge("warnings", problems, f"{len(warnings)} warnings of guards, none without cause" if warnings else "no guard was passed")


def _unknown(warned: Warned) -> Problem:
    what = f"{shown(warned['guard'])} of operator {shown(warned['operator'])}"
    return Problem(MANIFEST, f"warnings: there is no guard {what}; expected {', '.join(GUARDS)} of an operator of the pipeline")


def _unfounded(warned: Warned, operator: Mapping[str, Any]) -> Iterator[Problem]:
    """A warning that its own numbers, or the operator's settings, contradict."""
    subject = f"warnings: {warned['guard']} of operator {shown(operator['name'])}"
    limit = _limit(operator, warned["guard"])
    if warned["limit"] not in (limit, *_limits_before(operator, warned["guard"])):
        yield Problem(MANIFEST, f"{subject}: limit is {warned['limit']}, but the operator's settings say {limit}")
    if not warned["found"] > warned["limit"]:
        yield Problem(MANIFEST, f"{subject}: found is {warned['found']}, which is not beyond the limit {warned['limit']}")
    if warned["documents"] > operator["rows_in"]:
        yield Problem(MANIFEST, f"{subject}: it is about {warned['documents']} documents, but {operator['rows_in']} came to the operator")


def _limit(operator: Mapping[str, Any], guard: str) -> Any:
    guards = operator["settings"].get("guards")
    return guards.get(guard) if isinstance(guards, dict) else None


def _limits_before(operator: Mapping[str, Any], guard: str) -> list[Any]:
    """What older versions allowed, where one accounts for several."""
    return [_limit(one, guard) for one in operator.get("settings_before", ())]


def _is_told(operator: Mapping[str, Any]) -> bool:
    """Whether what an operator found is in the tables, and not only marked in the documents."""
    return not operator["settings"].get("annotate", False)


def _of_kept(operator: Mapping[str, Any], known: Sequence[Warned], counts: Counts) -> Iterator[Problem]:
    """The document that most were removed for is warned of if they are too many."""
    limit = _limit(operator, "max_removed_for")
    if limit is None or not _is_told(operator) or any(before != limit for before in _limits_before(operator, "max_removed_for")):
        return
    name, guard = operator["name"], "max_removed_for"
    told = max((warned["documents"] for warned in known if warned["operator"] == name and warned["guard"] == guard), default=0)
    most = counts.most_removed.get(name, 0)
    if told != (most if most > limit else 0):
        said = f"tells of {told} documents at most" if told else "is missing"
        found = f"the table of duplicates has {most} that were removed for one"
        yield Problem(MANIFEST, f"warnings: {guard} of operator {shown(name)} {said}, but {found}, where {limit} are allowed")


def _of_sources(finished: Finished, operators: Mapping[str, Mapping[str, Any]], known: Sequence[Warned]) -> Iterator[Problem]:
    """A folder of input files that is said to have lost documents has lost so many; other sources stand in no table."""
    said = {
        (warned["operator"], warned["subject"]): warned["documents"]
        for warned in known
        if warned["guard"] == "max_source_share" and _is_told(operators[warned["operator"]])
        if _limit(operators[warned["operator"]], "source_column") is None
    }
    if not said:
        return
    lost: Counter[tuple[str, str]] = Counter()
    for _, batch in side_batches(finished, "dropped", ["operator", "uri"]):
        counted = pa.Table.from_batches([batch]).group_by(["operator", "uri"], use_threads=False).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            lost[str(row["operator"]), str(row["uri"]).rpartition("/")[0]] += row["count_all"]
    for (name, source), documents in said.items():
        # Of several runs some may have lost too few to be warned of.
        if lost[name, source] != documents and (finished.runs == 1 or lost[name, source] < documents):
            found = f"the table of dropped documents has {lost[name, source]} of operator {shown(name)} from there"
            yield Problem(MANIFEST, f"warnings: {shown(source)} is said to have lost {documents} documents, but {found}")
