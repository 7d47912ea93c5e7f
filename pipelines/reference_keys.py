"""The reference of everything but the operators' own settings as one Markdown page, made from the models and the commands themselves.

`python -m pipelines.reference_keys > docs/reference.md` writes it; docs/operators.md is made by reference.py.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from operators.catalogue import Description, describe_all
from pipelines import errors
from pipelines.cli import cli
from pipelines.config_schema import TEXT, json_schema
from pipelines.config_sizes import PATTERN
from pipelines.errors import ShardmillError
from pipelines.reference import table

HEAD = """# Reference

Made by `make docs` from the settings, the operators and the commands themselves. The settings of each operator are in
[operators.md](operators.md).

- [Keys of the pipeline file](#keys-of-the-pipeline-file)
- [Operators](#operators)
- [Drop reasons](#drop-reasons)
- [Signals](#signals)
- [Commands](#commands)
- [Exit status](#exit-status)
"""
KEYS = """## Keys of the pipeline file

A size is a number of bytes or has a unit: `512MiB` (1024-based), `100MB` (1000-based). `${NAME}` and `${NAME:-default}` read the
environment, `--set KEY=VALUE` overrides a key for one run: `--set output.uri=out`, `--set operators.NAME.min_score=0.7`. An unknown key
is an error. Editors complete and check the keys by the schema that `shardmill init` writes beside a pipeline (`shardmill schema`).
"""
KINDS = {
    "batch": "judges or edits each document by itself",
    "group": "compares documents; ends a stage",
    "learn": "learns a file from a sample; ends a stage",
}
ENGINE_REASONS = {
    "takedown": "the engine: a document that `shardmill takedown` took out of the output, in each later run",
}
BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
}
SCALARS = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}


def page() -> str:
    """The page."""
    listed = describe_all()
    parts = [HEAD, KEYS, *_keys(), "", *_operators(listed), "", *_reasons(listed), "", *_signals(listed), "", *_commands(), *_exits()]
    return "\n".join(parts) + "\n"


# Keys


def _keys() -> Iterator[str]:
    schema = json_schema()
    plain = [key for key, about in schema["properties"].items() if not _inner(about) and key != "operators"]
    rows = [row for key in plain for row in _rows(key, schema["properties"][key], key in schema["required"])]
    operators = schema["properties"]["operators"]
    rows.append(("`operators`", "list of operators", "`[]`", operators["description"]))
    yield from table(("key", "value", "default", "meaning"), rows)
    for key, about in schema["properties"].items():
        if key in plain or key == "operators":
            continue
        yield from ("", f"### {key}", "", about["description"], "")
        for model in _inner(about):
            kind = model["properties"].get("type", {}).get("const")
            if kind is not None:
                yield from ("", f"`{key}: {{type: {kind}}}`: {model['description']}", "")
            yield from table(("key", "value", "default", "meaning"), _section(key, model))


def _section(prefix: str, model: Mapping[str, Any]) -> list[tuple[str, ...]]:
    required = model.get("required", ())
    return [row for key, about in model["properties"].items() for row in _rows(f"{prefix}.{key}", about, key in required)]


def _rows(path: str, about: Mapping[str, Any], required: bool) -> Iterator[tuple[str, ...]]:
    default = "required" if required else _code(about["default"]) if "default" in about else ""
    yield f"`{path}`", _kind(about), default, about.get("description", "")
    for model in _inner(about):
        yield from _section(path, model)
    for each in _alternatives(about):
        items, named = each.get("items"), each.get("additionalProperties")
        for model in _inner(items) if isinstance(items, dict) else ():
            yield from _section(f"{path}[]", model)
        for model in _inner(named) if isinstance(named, dict) else ():
            yield from _section(f"{path}.NAME", model)


def _inner(about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The sections that a key may hold."""
    return [each for each in _alternatives(about) if "properties" in each]


def _alternatives(about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a value may be, one schema each; `${NAME}`, which any scalar may be, is left out."""
    if "anyOf" not in about:
        return [about]
    return [each for entry in about["anyOf"] for each in _alternatives(entry) if not str(each.get("pattern", "")).startswith(r"\$\{")]


def _kind(about: Mapping[str, Any]) -> str:
    """A type as a reader of YAML knows it, with its range."""
    found = _alternatives(about)
    size = any(each.get("pattern") == PATTERN for each in found)
    names = ["size" if size and each.get("type") in ("integer", "string") else _name(each) for each in found]
    return " or ".join(dict.fromkeys(names))


def _name(each: Mapping[str, Any]) -> str:
    if "const" in each:
        return _code(each["const"])
    if "enum" in each:
        return ", ".join(_code(value) for value in each["enum"])
    if each.get("type") == "array":
        return f"list of {_kind(each['items'])}" if isinstance(each.get("items"), dict) else "list"
    if each.get("type") == "object":
        values = each.get("additionalProperties")
        return f"mapping of names to {_kind(values)}" if isinstance(values, dict) else "mapping"
    ranges = [text.format(each[bound]) for bound, text in BOUNDS.items() if bound in each]
    kind = "string" if each.get("type") == TEXT else str(each.get("type"))
    return ", ".join([SCALARS.get(kind, "any value"), *ranges])


# Operators, reasons, signals


def _operators(listed: Sequence[Description]) -> Iterator[str]:
    yield from ("## Operators", "")
    rows = ((f"[`{about.type}`](operators.md#{about.type})", about.promise, KINDS[about.kind]) for about in listed)
    yield from table(("operator", "what it does", "how"), rows)


def _reasons(listed: Sequence[Description]) -> Iterator[str]:
    yield from ("## Drop reasons", "", "What the tables of dropped documents, the funnel and the manifest have beside the operator.", "")
    found: dict[str, list[str]] = {}
    for about in listed:
        for reason in about.reasons:
            found.setdefault(reason, []).append(f"[`{about.type}`](operators.md#{about.type})")
    named = {reason: ", ".join(operators) for reason, operators in found.items()} | ENGINE_REASONS
    yield from table(("reason", "of"), ((f"`{reason}`", named[reason]) for reason in sorted(named)))
    yield from ("", "`datatrove` drops for the reasons of the block that it runs, an operator of your own for its own.")


def _signals(listed: Sequence[Description]) -> Iterator[str]:
    yield from ("## Signals", "", "What quality filters measure; with `annotate` or `keep_signals` they are in a struct column.", "")
    rows = [(f"`{signal.name}`", f"`{about.type}`", signal.unit, signal.doc) for about in listed for signal in about.signals]
    yield from table(("signal", "of", "unit", "meaning"), rows)


# Commands


def _commands() -> Iterator[str]:
    yield from ("## Commands", "", "Each takes `--help` and `--debug` (the traceback of an error), too.", "")
    for name, command in cli.commands.items():
        yield from (f"### shardmill {name}", "", f"`{_usage(name, command)}`", "", _one_line(command.help), "")
        options = [option for option in command.params if isinstance(option, click.Option) and "--debug" not in option.opts]
        if options:
            rows = [(_spelling(option), _option_default(option), _option_meaning(option)) for option in options if not option.hidden]
            yield from table(("option", "default", "meaning"), rows)
            yield ""


def _usage(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"shardmill {name}")
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def _spelling(option: click.Option) -> str:
    context = click.Context(click.Command("none"))
    spelt = " / ".join([", ".join(option.opts), *option.secondary_opts])
    return f"`{spelt}`" if option.is_flag else f"`{spelt} {option.make_metavar(context).removesuffix(' RANGE')}`"


def _option_default(option: click.Option) -> str:
    if option.required:
        return "required"
    default = option.to_info_dict()["default"]
    if option.is_flag and default is True:
        return f"`{option.opts[0]}`"
    is_shown = isinstance(default, int | float | str) and default is not False and default != ""
    return f"`{default}`" if is_shown else ""


def _option_meaning(option: click.Option) -> str:
    """What an option is for, with the range of its numbers."""
    kind = option.type
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return _one_line(option.help)
    lowest = [] if kind.min is None else [f"{'>' if kind.min_open else '≥'} {kind.min:,}"]
    highest = [] if kind.max is None or kind.max >= 2**62 else [f"{'<' if kind.max_open else '≤'} {kind.max:,}"]
    return f"{_one_line(option.help)} ({', '.join(lowest + highest)})"


def _exits() -> Iterator[str]:
    yield from ("## Exit status", "")
    meanings = re.findall(r"(\d+) ([^,]+(?:\(\w+\))?)", (cli.epilog or "").rstrip("."))
    yield from table(("status", "meaning"), [(f"`{status}`", meaning.strip()) for status, meaning in meanings])
    yield from ("", "Errors by their status; messages name the entry of the [runbook](operations.md) that says what to do.", "")
    found = [error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, ShardmillError)]
    rows = [(f"`{error.exit_status}`", f"`{error.__name__}`", _one_line(error.__doc__)) for error in found if error is not ShardmillError]
    yield from table(("status", "error", "what it says"), sorted(rows, key=lambda row: row[0]))


# Markdown


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _code(value: object) -> str:
    return f"`{value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)}`"


if __name__ == "__main__":
    sys.stdout.write(page())
