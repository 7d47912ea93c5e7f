"""The files that operators learned from the documents: are they there, with the bytes that the manifest says.

What was learned is not learned again: its digest says that it is the file that the run used.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipelines.checks import Checks, Problem
from pipelines.errors import NotFound, shown
from pipelines.verify_manifest import MANIFEST, Finished

LEARNERS: Final = ("train_tokenizer",)


def check_learned(finished: Finished, checks: Checks) -> None:
    """Check every learned file; of a version without any, nothing."""
    entries = finished.manifest.get("learned", [])
    if entries or _learners(finished):
        proven = f"{len(entries)} learned files with the bytes that the manifest says" if len(entries) != 1 else _proven(entries[0])
        checks.judge("learned files", _problems(finished, entries), proven)


def _learners(finished: Finished) -> list[str]:
    """Operators of the project that learn; what those of a pipeline's own folder do, nobody knows here."""
    return [operator["name"] for operator in finished.manifest["operators"] if operator["type"] in LEARNERS]


def _proven(entry: Mapping[str, Any]) -> str:
    return f"{entry['path']} has the bytes that the manifest says; it was learned from {entry['documents']} documents"


def _problems(finished: Finished, entries: list[Mapping[str, Any]]) -> Iterator[Problem]:
    operators = {operator["name"]: operator for operator in finished.manifest["operators"]}
    for name, number in Counter(entry["operator"] for entry in entries).items():
        if number > 1 or name not in operators:
            yield Problem(
                MANIFEST, f"learned: {number} entries name the operator {shown(name)!r}; expected one, of an operator of the list"
            )
    for name in _learners(finished):
        if not any(entry["operator"] == name for entry in entries):
            yield Problem(MANIFEST, f"learned has no entry of the operator {shown(name)!r}, which learns a file")
    for entry in entries:
        yield from _entry_problems(finished, entry)
        reached = operators.get(entry["operator"], {}).get("rows_in")
        if reached is not None and not 0 < entry["documents"] <= reached:
            message = f"learned from {entry['documents']} documents, but {reached} reached the operator {shown(entry['operator'])!r}"
            yield Problem(entry["path"], message)


def _entry_problems(finished: Finished, entry: Mapping[str, Any]) -> Iterator[Problem]:
    path = entry["path"]
    inside = f"{finished.folder}/learned/{entry['operator']}/"
    if re.fullmatch(re.escape(inside) + r"[^/\0]+", path) is None or path.rpartition("/")[2] in (".", ".."):
        yield Problem(MANIFEST, f"learned names {shown(path)}, expected a file in {inside}")
        return
    try:
        data = finished.store.read(path)
    except NotFound:
        yield Problem(path, f"it is missing; expected {entry['bytes']} bytes; restore it from a copy")
        return
    found = hashlib.sha256(data).hexdigest()
    if len(data) != entry["bytes"] or found != entry["sha256"]:
        expected = f"expected {entry['bytes']} with {entry['sha256']}"
        yield Problem(path, f"it has {len(data)} bytes with the sha256 {found}, {expected}: it was changed; restore it from a copy")
