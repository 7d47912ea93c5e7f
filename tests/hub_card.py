"""What the loopback Hub checks in a card's front matter before a commit, as the Hub's validate-yaml does."""

from __future__ import annotations

import re
from typing import Any

import yaml

FRONT_MATTER = re.compile(r"\A\s*---\r?\n(.*?)\r?\n---", re.DOTALL)
SIZES = frozenset(
    {"n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B", "10B<n<100B", "100B<n<1T", "n>1T"}
)
TEXTS = ("license", "language", "task_categories", "tags", "size_categories", "source_datasets")


def card_of(readme: bytes) -> dict[str, Any] | None:
    """The front matter; None when there is none, or none that can be read."""
    found = FRONT_MATTER.match(readme.decode("utf-8", "replace"))
    try:
        card = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return None
    return card if isinstance(card, dict) else None


def checked_card(content: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Errors and warnings about a README.md; a card without metadata is only warned about."""
    found = FRONT_MATTER.match(content)
    if found is None or not found[1].strip():
        return [], [{"message": "empty or missing yaml metadata in repo card"}]
    try:
        card = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return [{"message": f"YAML is invalid: {error}"}], []
    if not isinstance(card, dict):
        return [{"message": "the metadata must be a mapping"}], []
    return [{"message": message} for message in _problems(card)], []


def _problems(card: dict[str, Any]) -> list[str]:
    problems = [f'"{name}" must be a string or a list of strings' for name in TEXTS if name in card and not _is_texts(card[name])]
    sizes = card.get("size_categories", [])
    problems += [
        f'"size_categories": unknown value {size!r}' for size in ([sizes] if isinstance(sizes, str) else sizes) if size not in SIZES
    ]
    configs = card.get("configs", [])
    if not isinstance(configs, list):
        return [*problems, '"configs" must be a list']
    problems += [
        f'"configs[{number}].config_name" is required'
        for number, one in enumerate(configs)
        if not isinstance(one, dict) or "config_name" not in one
    ]
    if sum(bool(isinstance(one, dict) and one.get("default")) for one in configs) > 1:
        problems.append('"configs": only one config can be the default')
    return problems


def _is_texts(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(text, str) for text in value))
