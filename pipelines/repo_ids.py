"""What can name a dataset repo on the Hub: `org/name`, by the Hub's own rules.

Owns these rules, so that a wrong id is told before a run, without a network and without the Hub's client.
"""

from __future__ import annotations

import re
from typing import Final

from pipelines.errors import shown

MAX_CHARS: Final = 96
"""Of an owner, and of a name (huggingface_hub 2.4.0, `validate_repo_id`)."""
_PART: Final = re.compile(r"[A-Za-z0-9_.-]+")
_ADDRESS: Final = re.compile(r"(?:https?://[^/]+/|hf://)?datasets/(?P<id>[^/]+/[^/@?#]+).*|https?://[^/]+/(?P<page>[^/]+/[^/@?#]+)/?")


def repo_id_problem(text: str) -> str | None:
    """What keeps a text from being the id of a dataset repo, with the remedy, as the end of a message; None: it is one."""
    meant = _ADDRESS.fullmatch(text)
    if meant is not None:
        return f"expected only OWNER/NAME; write {shown(meant['id'] or meant['page'])!r}"
    owner, slash, name = text.partition("/")
    if not slash:
        return f"expected OWNER/NAME; put your user name or your organization before it: {shown('OWNER/' + text)!r}"
    if not owner or not name or "/" in name:
        return "expected OWNER/NAME: an owner and a name with one '/' between them"
    return _part_problem("owner", owner) or _part_problem("name", name) or _ending_problem(name)


def _part_problem(noun: str, part: str) -> str | None:
    """Why the Hub would not take this part of an id."""
    if len(part) > MAX_CHARS:
        return f"its {noun} has {len(part)} characters; expected at most {MAX_CHARS}"
    if _PART.fullmatch(part) is None:
        return f"its {noun} may hold only letters of ASCII, digits, '-', '_' and '.'; take out everything else"
    if part[0] in "-." or part[-1] in "-.":
        return f"its {noun} may not begin or end with '-' or '.'; take them away there"
    for pair in ("--", ".."):
        if pair in part:
            return f"its {noun} may not hold {pair!r}; write one {pair[0]!r}"
    return None


def _ending_problem(name: str) -> str | None:
    return f"its name may not end with '.git'; write {name.removesuffix('.git')!r}" if name.endswith(".git") else None
