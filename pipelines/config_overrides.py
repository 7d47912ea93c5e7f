"""`--set output.uri=…`: an override names a key by its path, and its value replaces or adds what the file says.

Owns the syntax of paths: `a.b.c`, `operators[0].min_score`, `operators.NAME.min_score`. Knows nothing of what the keys mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipelines.config_validate import Problems, found_text, near
from pipelines.config_yaml import Items, Place, Scalar, Table, Tree, parse
from pipelines.errors import shown
from pipelines.settings import resolved_names
from pipelines.settings_section import path_text

_STEP = re.compile(r"\.?([^.\[\]=]+)|\[([0-9]{1,6})\]")


class _OverrideError(ValueError):
    """An override that cannot be applied."""


def apply_override(root: Table, override: str, env: Mapping[str, str], problems: Problems) -> None:
    """Put one `path=value` into the tree; what is wrong with it is noted under the name of the option."""
    path_string, equals, text = override.partition("=")
    place = Place(f"--set {shown(path_string)}")
    problems.options.append(place.source)
    if not equals:
        problems.add(place, "there is no value; expected `--set path.to.key=value`")
        return
    num_before = len(problems.found)
    value = parse(text, str(place), env, problems.add, place=place)
    if len(problems.found) > num_before:
        return
    try:
        _put(root, _steps(path_string), value or Scalar(place, "", None, rereadable=True), place)
    except _OverrideError as error:
        problems.add(place, str(error))


def _steps(text: str) -> list[str | int]:
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (match[1] is not None and (text[position] == ".") != bool(steps)):
            raise _OverrideError("not a path of keys; expected one like output.uri, input.uri[0] or operators.NAME.min_score")
        steps.append(match[1].strip() if match[1] is not None else int(match[2]))
        position = match.end()
    if not steps or isinstance(steps[0], int):
        raise _OverrideError("no key is named; expected one like output.uri, input.uri[0] or operators.NAME.min_score")
    return steps


def _put(root: Table, steps: list[str | int], value: Tree, place: Place) -> None:
    current: Tree = root
    walked: tuple[str | int, ...] = ()
    while steps:
        if isinstance(current, Items) and isinstance(steps[0], str):
            position, num_used = _by_name(current, steps, walked)
            steps = [position, *steps[num_used:]]
        step, steps = steps[0], steps[1:]
        current = _into(current, step, None if steps else value, walked, place)
        walked = (*walked, step)


def _into(current: Tree, step: str | int, value: Tree | None, walked: tuple[str | int, ...], place: Place) -> Tree:
    """The entry at a step; set to the value if there is one, made a mapping if it is missing or null."""
    match current:
        case Items() if isinstance(step, int):
            if step >= len(current.items):
                raise _OverrideError(f"{path_text(walked)} has {len(current.items)} entries, counted from 0")
            if value is not None or _is_null(current.items[step]):
                current.items[step] = value if value is not None else Table(place)
            return current.items[step]
        case Table() if isinstance(step, str):
            if value is not None or step not in current.entries or _is_null(current.entries[step]):
                current.entries[step] = value if value is not None else Table(place)
                current.key_places[step] = place
            return current.entries[step]
        case _:
            raise _OverrideError(f"{path_text(walked)} is {found_text(current)} in the file; it has no entry {path_text((step,))}")


def _by_name(items: Items, steps: list[str | int], walked: tuple[str | int, ...]) -> tuple[int, int]:
    """Position of the operator that the next steps name, and how many steps its name took (names may hold dots)."""
    names = operator_names(items) if walked == ("operators",) else []
    for num_used in range(len(steps), 0, -1):
        used = steps[:num_used]
        if all(isinstance(step, str) for step in used) and (name := ".".join(map(str, used))) in names:
            return names.index(name), num_used
    if not names:
        raise _OverrideError(f"{path_text(walked)} is a list; expected a position, like {path_text(walked)}[0]")
    raise _OverrideError(f"no operator is named {str(steps[0])!r}; {near(str(steps[0]), names, 'names')}")


def operator_names(items: Items) -> list[str]:
    """Names of the operators as the file gives them, before anything is checked."""

    def text(item: Tree, key: str) -> str | None:
        entry = item.entries.get(key) if isinstance(item, Table) else None
        return entry.text if isinstance(entry, Scalar) and entry.value is not None else None

    return resolved_names([(text(item, "type") or "", text(item, "name")) for item in items.items])


def _is_null(tree: Tree) -> bool:
    return isinstance(tree, Scalar) and tree.value is None
