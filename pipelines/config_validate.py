"""A part of the file against its model: pydantic checks, and its errors become ours, with place, found, expected and remedy.

Owns the wording of every problem that a wrong value causes. Scalars are read by what the model wants: `2024` is text where text is
wanted, `yes` is true where a truth value is.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pipelines.config_yaml import Items, Place, Scalar, ScalarValue, Table, Tree, data_of, find, read_plain
from pipelines.errors import ConfigError, shown
from pipelines.redaction import is_secret_name, redact_uri
from pipelines.settings_section import Section, path_text

Model = TypeVar("Model", bound=BaseModel)
Path = tuple[str | int, ...]

_TRUTH = {"yes": True, "on": True, "y": True, "no": False, "off": False, "n": False}
_EXPECTED = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a mapping of keys to values",
    "model": "a mapping of keys to values",
    "model_attributes": "a mapping of keys to values",
    "date": "a date, like 2026-01-31",
    "datetime": "a date and time, like 2026-01-31T12:00:00Z",
    "path": "a path",
}
_BOUNDS = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "finite_number": "a finite number",
    "none_required": "null",
}


@dataclass(slots=True)
class Problems:
    """Everything found wrong so far.

    Attributes:
        found: Places and messages, in the order in which they were found.
        options: The options of the command that say something about the pipeline, in their order.
    """

    found: list[tuple[Place, str]] = field(default_factory=list)
    options: list[str] = field(default_factory=list)

    def add(self, place: Place, message: str) -> None:
        """Note a problem; the same one is noted once."""
        if (place, message) not in self.found:
            self.found.append((place, message))

    def raise_if_any(self) -> None:
        """Raise all of them.

        Raises:
            ConfigError: There are problems.
        """
        if self.found:
            raise self.error()

    def error(self) -> ConfigError:
        """All of them as one error: those of the file by line, then those of the options in their order."""
        ordered = sorted(self.found, key=lambda problem: self._order(problem[0]))
        return ConfigError("\n".join(f"{place}: {_one_line(redact_uri(_without_path(place, message)))}" for place, message in ordered))

    def _order(self, place: Place) -> tuple[int, int]:
        if place.line is not None:
            return 0, place.line
        return 1, self.options.index(place.source) if place.source in self.options else -1


def build(model: type[Model], table: Table, label: str, problems: Problems) -> Model | None:
    """The model of a mapping of the file; None if something in it is wrong, which is then noted.

    Args:
        model: What the mapping must be.
        table: The mapping.
        label: How messages name it.
        problems: Where problems are noted.
    """
    reread: dict[int, ScalarValue] = {}
    while True:
        try:
            # JSON's strict mode takes a list for a tuple and text for a path, but no `true` for 1 and no "1" for 1.
            return model.model_validate_json(json.dumps(data_of(table, reread)), strict=True)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        again = dict(_readings(table, errors, reread))
        if not again:
            break
        reread |= again
    _note(model, table, label, [*errors, *_rules_broken_too(model, table, errors, reread)], problems)
    return None


def _rules_broken_too(
    model: type[BaseModel], table: Table, errors: list[ErrorDetails], reread: Mapping[int, ScalarValue]
) -> list[ErrorDetails]:
    """The rules between the keys of a section that are broken besides: pydantic asks for them only when each key is right.

    Keys that are wrong get their default for that, or the example of their field.
    """
    wrong = {error["loc"][0] for error in errors if error["loc"]}
    if not wrong or not issubclass(model, Section):
        return []
    data = {key: value for key, value in data_of(table, reread).items() if key not in wrong}
    stand_ins = {key: (info.examples or [None])[0] for key, info in model.model_fields.items() if key in wrong and info.is_required()}
    try:
        model.model_validate_json(json.dumps(data | stand_ins), strict=True)
    except ValidationError as error:
        return [found for found in error.errors(include_url=False) if found["type"] == "rules"]
    return []


def near(word: str, known: Iterable[str], noun: str) -> str:
    """A remedy for an unknown word: the nearest known one, or all of them."""
    names = list(known)
    match = nearest(word, names)
    if match is not None:
        return f"did you mean {match!r}?"
    return f"the {noun} are: {', '.join(names)}" if names else f"there are no {noun}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that looks most like this one; None if none does."""
    by_lower = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower()[:100], by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def check_keys(table: Table, known: Iterable[str], label: str, problems: Problems) -> None:
    """Note the keys of a mapping that are not known."""
    names = list(known)
    for key in table.entries:
        if key not in names:
            problems.add(table.key_places[key], unknown_key(key, names, label))


def unknown_key(key: str, known: Iterable[str], label: str) -> str:
    """The message about a key that a mapping cannot have."""
    return f"{label}{': ' if label else ''}there is no key {shown(key)!r}; {near(key, known, 'keys')}"


def missing_key(key: str, info: FieldInfo | None, label: str) -> str:
    """The message about a key that a mapping lacks, with what it is for."""
    meaning = f" ({info.description.rstrip('.')})" if info is not None and info.description else ""
    example = f"; write, for example, `{key}: {_shown_value(info.examples[0])}`" if info is not None and info.examples else ""
    return f"{label}{': ' if label else ''}the key {key!r} is missing{meaning}{example}"


def found_text(tree: Tree, key: str = "") -> str:
    """What stands in the file, as a message shows it; never a secret."""
    match tree:
        case Items():
            return "a list"
        case Table():
            return "a mapping"
        case Scalar(value=None):
            return "nothing"
        case Scalar() if is_secret_name(key) or key == "storage_options":
            return "a value"
        case Scalar(value=str()):
            return repr(shown(redact_uri(tree.text)))
        case Scalar():
            return shown(tree.text)


def wrong_kind(tree: Tree, expected: str, label: str) -> str:
    """The message about something that is no list, or no mapping."""
    return f"{label}: found {found_text(tree)}, expected {expected}"


def _readings(table: Table, errors: list[ErrorDetails], done: dict[int, ScalarValue]) -> Iterator[tuple[int, ScalarValue]]:
    """Other readings of the unquoted scalars that the model refused, each tried once."""
    for error in errors:
        node, _, _ = find(table, error["loc"])
        if not isinstance(node, Scalar) or not node.rereadable or id(node) in done:
            continue
        kind, value = error["type"], read_plain(node.text)
        if kind.startswith("bool") and (node.text.lower() in _TRUTH or isinstance(value, bool)):
            yield id(node), _TRUTH.get(node.text.lower(), value)
        elif kind.startswith("int") and isinstance(value, float) and value.is_integer():
            yield id(node), int(value)
        elif kind.startswith(("int", "float")) and isinstance(value, int | float) and not isinstance(value, bool) and value != node.value:
            yield id(node), value
        elif (
            (kind.startswith("string") or kind in {"literal_error", "enum"}) and not isinstance(node.value, str) and node.value is not None
        ):
            yield id(node), node.text


def _note(model: type[BaseModel], table: Table, label: str, errors: list[ErrorDetails], problems: Problems) -> None:
    expected_at: dict[tuple[Place, str, str], list[str]] = {}
    # A misspelt key is one problem, not two.
    meant = {nearest(key, _keys_of(model)) for key in table.entries if key not in _keys_of(model)}
    for error in errors:
        node, place, path = find(table, tuple(error["loc"]))
        at = _label(label, path)
        match error["type"]:
            case "missing" if error["loc"][-1] in meant:
                continue
            case "missing":
                key = str(error["loc"][-1])
                owner = _model_at(model, error["loc"][:-1])
                problems.add(place, missing_key(key, owner.model_fields.get(key) if owner else None, at))
            case "extra_forbidden":
                key, owner = str(path[-1]), _model_at(model, path[:-1])
                problems.add(place, unknown_key(key, _keys_of(owner), _label(label, path[:-1])))
            case "rules":
                for problem in error.get("ctx", {})["problems"]:
                    _, place, path = find(table, (*error["loc"], *problem.path))
                    problems.add(place, f"{_label(label, path)}: {problem.message}")
            case "union_tag_invalid" | "union_tag_not_found":
                context = error.get("ctx", {})
                discriminator = str(context.get("discriminator", "type")).strip("'")
                found = f"found {context['tag']!r}, " if "tag" in context else ""
                problems.add(place, f"{at}.{discriminator}: {found}expected {context.get('expected_tags', 'a known type')}")
            case _:
                found = found_text(node, str(path[-1]) if path else "")
                expected = _expected(error)
                if expected is None:
                    problems.add(place, f"{at}: {_own_words(error, found)}")
                else:
                    expected_at.setdefault((place, at, found), []).append(expected)
    for (place, at, found), expected_words in expected_at.items():
        hint = _hint(found, expected_words)
        problems.add(place, f"{at}: found {found}, expected {' or '.join(dict.fromkeys(expected_words))}{hint}")


def _label(label: str, path: Path) -> str:
    text = path_text(path)
    return f"{label}{'' if text.startswith('[') or not label or not text else '.'}{text}"


def _expected(error: ErrorDetails) -> str | None:
    """What was expected, in our words; None where the error speaks for itself."""
    kind = error["type"]
    if kind in _BOUNDS:
        context = error.get("ctx", {})
        text = _BOUNDS[kind].format(**{key: f"{value:g}" if isinstance(value, float) else value for key, value in context.items()})
        return text[:-7] + "entry" if text == "at least 1 entries" else text
    for suffix in ("_type", "_parsing", "_from_float", "_parsing_size", "_unicode", "_from_date_parsing"):
        if kind.endswith(suffix) and (name := kind.removesuffix(suffix)) in _EXPECTED:
            return _EXPECTED[name]
    return None


def _own_words(error: ErrorDetails, found: str) -> str:
    """A message that a validator wrote; one that begins with `expected` gets what was found put before it."""
    cause = error.get("ctx", {}).get("error")
    message = str(cause) if error["type"] in {"value_error", "assertion_error"} and cause is not None else error["msg"]
    return f"found {found}, {message}" if message.startswith("expected ") else message


def _hint(found: str, expected: list[str]) -> str:
    """`did you mean` where one of a few words was expected and a similar one found."""
    choices = [choice.strip("' ") for text in expected for choice in text.replace(" or ", ",").split(",")]
    matches = difflib.get_close_matches(found.strip("'").lower(), choices, n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches and found.startswith("'") and any("'" in text for text in expected) else ""


def _model_at(model: type[BaseModel], path: Iterable[str | int]) -> type[BaseModel] | None:
    """The model at a path of fields, positions and union members."""
    current: type[BaseModel] | None = model
    for step in path:
        if isinstance(step, str) and current is not None and step in current.model_fields:
            models = list(_models_in(current.model_fields[step].annotation))
            current = models[0] if len(models) == 1 else None
    return current


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in {Union, UnionType, Annotated, list, tuple, dict, set}:
        for argument in get_args(annotation):
            yield from _models_in(argument)


def _keys_of(model: type[BaseModel] | None) -> list[str]:
    return [] if model is None else [info.alias or name for name, info in model.model_fields.items()]


def _shown_value(value: Any) -> str:
    return shown(value if isinstance(value, str) else json.dumps(value))


def _without_path(place: Place, message: str) -> str:
    """The message; where the place is `--set a.b`, without saying `a.b` again."""
    return message.removeprefix(f"{place.source.removeprefix('--set ')}: ") if place.line is None else message


def _one_line(message: str) -> str:
    """A message without line breaks, which would look like another problem."""
    return " ".join(message.split())
