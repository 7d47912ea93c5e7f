"""Which operators may have changed a text before another one saw it: what is shown of a document may not be what was judged.

From the words of a manifest alone. An operator that is not built in may do anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from operators.base import GroupOperator
from pipelines.config_operators import built_in
from pipelines.tombstones import TAKEDOWN

Entries = Sequence[Mapping[str, Any]]
"""`operators` of a manifest."""


def editors_before(operators: Entries, name: str) -> list[str]:
    """Names of those before an operator that may have changed the texts which it saw."""
    before = takewhile(lambda entry: entry["name"] != name, operators)
    return [str(entry["name"]) for entry in before if _may_edit(str(entry["type"]))]


def read_sentence(operators: Entries, name: str) -> str | None:
    """What is told beside a text of the input that an operator dropped; None where it saw the same."""
    editors = editors_before(operators, name)
    return f"as it was read: {', '.join(editors)} may have changed it before {name} saw it" if editors else None


def seen_sentence(operators: Entries, name: str, *, is_replayed: bool) -> str | None:
    """What is told above texts that an operator dropped; None where none before it changes texts.

    Args:
        operators: Of the manifest.
        name: Of the operator.
        is_replayed: Whether the texts went again through the batch operators before it; others did nothing then.
    """
    editors = editors_before(operators, name)
    kinds = {str(entry["name"]): built_in().get(str(entry["type"])) for entry in operators}
    unseen = [one for one in editors if not is_replayed or ((kind := kinds[one]) is not None and issubclass(kind, GroupOperator))]
    if unseen:
        return f"{name} may have seen other texts than these: {', '.join(unseen)} may change them before."
    return f"Texts as {name} saw them, behind {', '.join(editors)}." if editors else None


def _may_edit(kind: str) -> bool:
    found = built_in().get(kind)
    return kind != TAKEDOWN if found is None else found.may_edit_text
