"""The card of an output as `load_dataset` reads it: the data files that its front matter names are exactly the current version's shards.

Owns the patterns of data files. Knows nothing of how a card is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.checks import Checks, Problem
from pipelines.config_yaml import data_of, parse
from pipelines.errors import NotFound, shown
from pipelines.storage import Store
from pipelines.verify_manifest import Finished
from pipelines.verify_tables import listed

CARD: Final = "README.md"
HIDDEN: Final = r"(^|/)(\.|__)"
"""Names that datasets skips unless a pattern spells them out."""
_GLOB_PARTS: Final = re.compile(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])")


def check_card(finished: Finished, shards: pa.Table, checks: Checks) -> None:
    """The card names the current version's shards, all of them and no other file."""
    if not finished.is_current:
        checks.skip("card", f"not checkable: the card is of the current version, not of {finished.version}")
        return
    proven = f"load_dataset reads the {shards.num_rows} shards of {finished.version}: {CARD} names them alone"
    checks.judge("card", _problems(finished, shards), proven)


def _problems(finished: Finished, shards: pa.Table) -> Iterator[Problem]:
    text = read_card(finished.store, "it is missing; without it load_dataset would read every version and table; restore it from a copy")
    if isinstance(text, Problem):
        yield text
        return
    patterns = data_patterns(text)
    if isinstance(patterns, str):
        yield Problem(CARD, patterns)
        return
    outside = [pattern for pattern in patterns if not pattern.startswith("data/") or ".." in pattern.split("/")]
    if outside:
        yield Problem(CARD, f"its data_files {shown(outside[0])!r} are not in data/, where the shards are")
        return
    yield from _compared(finished, shards, patterns)


def read_card(store: Store, if_missing: str) -> str | Problem:
    """The card's text, or why there is none."""
    try:
        return store.read(CARD).decode()
    except NotFound:
        return Problem(CARD, if_missing)
    except UnicodeDecodeError as error:
        return Problem(CARD, f"it is no text: {shown(error)}")


def data_patterns(card: str) -> list[str] | str:
    """The patterns of the data files that are read by default, or what is wrong with the card's front matter."""
    configs = card_configs(card)
    if isinstance(configs, str):
        return configs
    chosen = [config for config in configs if config.get("config_name") == "default" or config.get("default") is True] or configs[:1]
    patterns = paths_of(chosen[0].get("data_files"))
    return patterns or "its front matter has no `data_files` in the default config, so that load_dataset would read every version and table"


def card_configs(card: str) -> list[dict[str, Any]] | str:
    """The configs of a card's front matter, at least one, or what is wrong with it."""
    front = re.match(r"---\n(.*?)\n---(\n|\Z)", card, re.DOTALL)
    if front is None:
        return "it has no front matter between two lines of ---, so that load_dataset would read every version and table"
    tree = parse(front[1], CARD, {}, lambda _place, _message: None)
    data = None if tree is None else data_of(tree)
    configs = data.get("configs") if isinstance(data, dict) else None
    if not isinstance(configs, list) or not all(isinstance(config, dict) for config in configs) or not configs:
        return "its front matter has no `configs`, so that load_dataset would read every version and table"
    return configs


def paths_of(data_files: Any) -> list[str]:
    """The patterns in `data_files`, which is one, or a list of them or of splits with one or several."""
    match data_files:
        case str():
            return [data_files]
        case list():
            return [path for entry in data_files for path in paths_of(entry)]
        case {"path": path}:
            return paths_of(path)
    return []


def _compared(finished: Finished, shards: pa.Table, patterns: list[str]) -> Iterator[Problem]:
    one_of = "|".join(f"(?:{_expression(pattern)})" for pattern in patterns)
    matching = rf"^(?:{one_of})$"
    subject = f"its data_files ({shown(', '.join(patterns))})"
    named = shards.column("path").combine_chunks()
    is_read = pc.and_not(pc.match_substring_regex(named, matching), pc.match_substring_regex(named, HIDDEN))
    for path in named.filter(pc.invert(is_read)):
        yield Problem(CARD, f"{subject} leave out {path}, a shard of {finished.version}; write the card again")
    for chunk in listed(finished.store, "data"):
        paths = chunk.field("path")
        is_other = pc.and_not(pc.match_substring_regex(paths, matching), pc.is_in(paths, value_set=named))
        for path in paths.filter(is_other):
            yield Problem(CARD, f"{subject} also name {path}, no shard of {finished.version}; write the card again")


def _expression(pattern: str) -> str:
    """A glob as a regular expression: `**/` is any folders or none, `*` and `?` stay within a name."""
    return "".join(_expression_part(part) for part in _GLOB_PARTS.split(pattern))


def _expression_part(part: str) -> str:
    match part:
        case "**/":
            return "(?:.*/)?"
        case "**":
            return ".*"
        case "*":
            return "[^/]*"
        case "?":
            return "[^/]"
    if len(part) > 2 and part.startswith("[") and part.endswith("]"):
        inside = part[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
    return re.sub(r"([^\w/ =-])", r"\\\1", part, flags=re.ASCII)
