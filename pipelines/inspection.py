"""`shardmill inspect`: from what was asked for to the documents that are shown, in order, as they are read.

Owns which documents of a version are meant by words of a person: operators and reasons are checked against what the version tells.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final, Literal

from pipelines.difference_lineage import whole
from pipelines.difference_versions import Opened
from pipelines.errors import ConfigError, shown
from pipelines.inspect_documents import REASON, Document, Lost, Request, check_not_purged, equals, kept_documents, lost_documents
from pipelines.inspect_pairs import duplicate_documents
from pipelines.inspect_rows import Condition
from pipelines.legible import counted, legible

Which = Literal["kept", "dropped", "duplicates", "quarantine"]
ALL: Final = ""
"""Of operators: every one."""
MAX_HEADING_CHARS: Final = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for.

    Attributes:
        which: Documents of this fate; with an id and `kept`, all documents of that id, whatever became of them.
        by: An operator, or `operator:reason`; `ALL`.
        limit: So many at most; None: all.
    """

    which: Which
    request: Request
    by: str = ALL
    limit: int | None = None


def inspected(opened: Opened, asked: Asked) -> Iterator[Document]:
    """The documents; what was asked is checked at the call.

    Raises:
        ConfigError: There is no such operator, reason or column, or the condition is none.
        Purged: The version has no documents any more.
    """
    check_not_purged(opened)
    found = _found(opened, asked)
    return found if asked.limit is None else islice(found, asked.limit)


def _found(opened: Opened, asked: Asked) -> Iterator[Document]:
    finished, request = opened.finished, asked.request
    match asked.which:
        case "kept":
            kept = kept_documents(finished, request)
            # Who asks for one document wants to know what became of it. A condition is one over the columns of the kept.
            is_anywhere = request.id is not None and request.where is None
            return chain(kept, _lost_too(opened, request)) if is_anywhere else kept
        case "duplicates":
            return duplicate_documents(finished, request, _tests(opened, asked.by, None))
        case "dropped" | "quarantine":
            return lost_documents(finished, asked.which, request, _tests(opened, asked.by, asked.which))


def _lost_too(opened: Opened, request: Request) -> Iterator[Document]:
    tables: tuple[Lost, ...] = ("dropped", "quarantine")
    for table in tables:
        yield from lost_documents(opened.finished, table, Request(id=request.id))


def _tests(opened: Opened, by: str, table: Lost | None) -> tuple[Condition, ...]:
    """The tests that rows of a side table are of an operator, and of a reason."""
    if by == ALL:
        return ()
    manifest = whole(opened.finished.store, opened.manifest)
    names = _operators(manifest)
    operator, reason = by, ""
    if table is not None and by not in names:  # names of custom operators have colons of their own
        operator, _, reason = next(((name, ":", by[len(name) + 1 :]) for name in names if by.startswith(f"{name}:")), by.partition(":"))
    option = f"--{table or 'duplicates'}"
    _check(option, "operator", operator, names)
    tests = [equals("operator", operator)]
    if reason and table is not None:
        _check(option, REASON[table], reason, _reasons(manifest, operator, table))
        tests.append(equals(REASON[table], reason))
    return tuple(tests)


def _operators(manifest: Mapping[str, Any]) -> list[str]:
    """Names under which documents may be lost; `read` is what could not be read."""
    return list(dict.fromkeys([*(str(entry["name"]) for entry in manifest["operators"]), *manifest["ledger"]["dropped"], "read"]))


def _reasons(manifest: Mapping[str, Any], operator: str, table: Lost) -> list[str]:
    ledger = manifest["ledger"]
    return list(ledger["dropped"].get(operator, {}) if table == "dropped" else ledger["quarantined"])


def _check(option: str, what: str, name: str, known: Collection[str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1)
    listed = f"there are: {shown(', '.join(known))}" if known else "it has none"
    hint = f"did you mean {near[0]!r}?" if near else listed
    raise ConfigError(f"{option}: this version has no {what} {shown(name)!r}; {hint}")


def heading(opened: Opened, asked: Asked) -> str:
    """One line that says what follows."""
    manifest, finished, request = opened.manifest, opened.finished, asked.request
    nouns = {"kept": "document", "dropped": "dropped document", "duplicates": "removed duplicate", "quarantine": "quarantined row"}
    rows = manifest["output"]["rows"] if asked.which == "kept" else whole(finished.store, manifest)["tables"][asked.which]["rows"]
    only = {
        "by": None if asked.by == ALL else asked.by,
        "where": request.where,
        "id": request.id,
        "a sample of": None if request.sample is None else f"{request.sample:,} (seed {request.seed})",
    }
    told = [f"{name} {value}" for name, value in only.items() if value is not None]
    return legible("; ".join([f"{finished.store.uri} {finished.version}: {counted(rows, nouns[asked.which])}", *told]), MAX_HEADING_CHARS)
