"""Names as Kubernetes takes them, and quantities.

Owns what may name an object, a label or an amount. A name that does not fit is shortened by a digest, so that two never become one.
"""

from __future__ import annotations

import hashlib
import re

MAX_RAYJOB_NAME: int = 47
"""KubeRay's bound: it appends six characters for the cluster, whose services' names have at most 63."""
MAX_SCHEDULE_NAME: int = 36
"""A RayCronJob's jobs are named by it and 11 characters of their tick."""

_LABEL = re.compile(r"[a-z](?:[-a-z0-9]*[a-z0-9])?", re.ASCII)
_NOT_IN_LABEL = re.compile(r"[^a-z0-9]+", re.ASCII)
_NOT_IN_VALUE = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
_DIGEST_CHARS = 8


def object_name(text: str, max_chars: int = MAX_RAYJOB_NAME) -> str:
    """A name by the rules of RFC 1035 (a letter, then letters, digits and `-`): the text itself if it is one, else one of its own."""
    if _LABEL.fullmatch(text) and len(text) <= max_chars:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
    readable = _NOT_IN_LABEL.sub("-", text.lower()).strip("-")
    if not readable[:1].isalpha():
        readable = f"shardmill-{readable}"
    return f"{readable[: max_chars - _DIGEST_CHARS - 1].rstrip('-')}-{digest}"


def label_value(text: str) -> str:
    """The value of a label: at most 63 letters, digits, `-`, `_` and `.`, and none of the latter three at its ends."""
    return _NOT_IN_VALUE.sub("-", text)[:63].strip("-_.")


def quantity(num_bytes: int) -> str:
    """An amount of memory, exact: in the largest unit that divides it, such as `8Gi`."""
    units = ["", "Ki", "Mi", "Gi", "Ti", "Pi"]
    while len(units) > 1 and num_bytes and num_bytes % 1024 == 0:
        num_bytes //= 1024
        units.pop(0)
    return f"{num_bytes}{units[0]}"


def cores(cpu: float) -> str:
    """A number of cores: `4`, `500m`."""
    thousandths = round(cpu * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def literal(text: str) -> str:
    """A text that stays what it is where Kubernetes replaces `$(NAME)` by a variable: in commands, arguments and values of variables."""
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text
