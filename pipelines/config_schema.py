"""The JSON schema of the pipeline file, for editors.

Owns what an editor completes, shows and underlines; `config.load()` stays the judge. Built from the same models. An operator's settings
hang on its `type` by `if` and `then`, so that what an editor underlines is the word that is wrong, never a guess at another operator.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from operators.base import Operator
from pipelines.config_operators import CUSTOM_TYPE, built_in
from pipelines.config_sizes import PATTERN, show_size
from pipelines.settings import ExecutionConfig, InputConfig, OutputConfig, PipelineConfig
from pipelines.settings_cluster import InlineCluster, LocalCluster, RayCluster
from pipelines.settings_ingest import IngestConfig
from pipelines.settings_publish import PublishConfig
from pipelines.settings_schedule import ScheduleConfig
from pipelines.settings_submit import SubmitConfig

EDITOR_LINE = "# yaml-language-server: $schema="
"""Begins the line that tells yaml-language-server (VS Code's YAML extension, Neovim, Emacs …) the schema's path, counted from the file."""

# `${NAME}` may stand for any scalar; an editor that underlined it would be wrong.
_REFERENCE = {"type": "string", "pattern": r"\$\{[A-Za-z_]"}
_SCALARS = ("integer", "number", "boolean")
TEXT = ["string", "number"]
"""A number where text is asked for is that text to `config.load()`, as in `env: {OMP_NUM_THREADS: 4}`."""
_ABOUT = frozenset({"description", "default", "examples"})


def json_schema(custom: Iterable[type[Operator]] = ()) -> dict[str, Any]:
    """The JSON schema (2020-12) of a pipeline file: every key and operator with its description, and nothing else allowed.

    Args:
        custom: Operators from a pipeline's folder whose settings are in it, too; of others any setting is allowed.
    """
    fields = PipelineConfig.model_fields
    optional = {
        "execution": ExecutionConfig,
        "publish": PublishConfig,
        "ingest": IngestConfig,
        "schedule": ScheduleConfig,
        "submit": SubmitConfig,
    }
    sections = {"input": InputConfig, "output": OutputConfig, **optional}
    declared = PipelineConfig.model_json_schema()["properties"]
    properties: dict[str, Any] = {key: _shown(_tidy(declared[key])) for key in ("name", "history")}
    properties |= {key: _model_schema(model) | {"description": fields[key].description} for key, model in sections.items()}
    properties["input"]["properties"]["uri"] = _one_or_many(properties["input"]["properties"]["uri"])
    for key in optional:
        properties[key] = _or_null(properties[key])
    properties["operators"] = _operators_schema(fields["operators"].description, custom)
    properties["cluster"] = _cluster_schema(fields["cluster"].description)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "shardmill pipeline",
        "type": "object",
        "properties": {key: properties[key] for key in fields if key in properties},
        "required": ["name", "input", "output"],
        "additionalProperties": False,
    }


def schema_text(custom: Iterable[type[Operator]] = ()) -> str:
    """The schema as the file that editors read."""
    return json.dumps(json_schema(custom), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def operator_schema(model: type[Operator]) -> dict[str, Any]:
    """The JSON schema of one operator's settings, its `type` included."""
    schema = _model_schema(model)
    schema["title"] = schema["properties"]["type"]["const"]
    # Only operators of one's own may lack a docstring.
    schema["properties"]["type"] |= {"description": schema.setdefault("description", "An operator from the pipeline's own folder.")}
    schema["required"] = ["type", *(key for key in schema.get("required", []) if key != "type")]
    return schema


def custom_operators(file: Path) -> list[type[Operator]]:
    """The operators from the pipeline's own folder that a pipeline file names, whatever else is wrong with it.

    Raises:
        InputError: It is no YAML.
        OSError: It cannot be read.
        ValueError: One of them cannot be loaded.
    """
    from pipelines.config_operators import operator_class  # noqa: PLC0415
    from pipelines.config_yaml import read_data  # noqa: PLC0415

    data = read_data(file.read_text(encoding="utf-8"), str(file))
    steps = data.get("operators") if isinstance(data, dict) else None
    kinds = [step.get("type") for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
    named = dict.fromkeys(kind for kind in kinds if isinstance(kind, str) and CUSTOM_TYPE.fullmatch(kind))
    return [operator_class(kind, file.parent) for kind in named]


def _operators_schema(description: str | None, custom: Iterable[type[Operator]]) -> dict[str, Any]:
    known = built_in()
    choices = [operator_schema(model) for model in (*(known[kind] for kind in sorted(known)), *custom)]
    kinds = [choice["title"] for choice in choices]
    named = {"enum": kinds, "markdownEnumDescriptions": [choice["description"] for choice in choices]}
    own = {"type": "string", "pattern": f"^{CUSTOM_TYPE.pattern}$", "description": "An operator from the pipeline's own folder."}
    about = "Which operator: one of those that are built in, or `module:Class` from the pipeline's own folder."
    item = {
        "title": "operator",
        "type": "object",
        "properties": {"type": {"description": about, "anyOf": [named, own]}},
        "required": ["type"],
        "allOf": [{"if": _is_kind(choice["title"]), "then": choice} for choice in choices],
    }
    return {"description": description, "type": ["array", "null"], "items": item, "default": []}


def _is_kind(kind: str) -> dict[str, Any]:
    return {"properties": {"type": {"const": kind}}, "required": ["type"]}


def _cluster_schema(description: str | None) -> dict[str, Any]:
    choices = [_model_schema(model) for model in (LocalCluster, RayCluster, InlineCluster)]
    for choice in choices[1:]:
        choice["required"] = ["type"]
    return {"description": description, "anyOf": [*choices, {"type": "null"}]}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": schema.pop("description"), "anyOf": [schema, {"type": "null"}]}


def _one_or_many(many: Mapping[str, Any]) -> dict[str, Any]:
    about = {key: many[key] for key in ("description", "examples", "title") if key in many}
    array = {key: value for key, value in many.items() if key not in about}
    return about | {"anyOf": [{"type": TEXT, "minLength": 1}, array]}


def _model_schema(model: type[Any]) -> dict[str, Any]:
    """The schema of a model without references to definitions, and with `${NAME}` allowed for scalars."""
    schema = model.model_json_schema(mode="validation")
    plain = _shown(_tidy(_inline(schema, schema.pop("$defs", {}))))
    assert isinstance(plain, dict)
    return plain


def _inline(value: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_inline(entry, definitions) for entry in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        target = _inline(copy.deepcopy(definitions[reference.rsplit("/", 1)[-1]]), definitions)
        return {**target, **{key: entry for key, entry in value.items() if key != "$ref"}}
    return {key: _inline(entry, definitions) for key, entry in value.items()}


def _tidy(value: Any) -> Any:
    """Descriptions only of one line each, no titles that repeat the key, and `${NAME}` beside whatever a scalar may be."""
    if isinstance(value, list):
        return [_tidy(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    tidy = {key: _tidy_entry(key, entry) for key, entry in value.items() if not (key == "title" and isinstance(entry, str))}
    if _is_text(tidy):
        tidy["type"] = TEXT
    if tidy.get("type") in _SCALARS or "enum" in tidy or "pattern" in tidy:
        bounds = {key: tidy.pop(key) for key in list(tidy) if key not in _ABOUT}
        return {**tidy, "anyOf": [bounds, _REFERENCE]}
    return tidy


def _is_text(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is of any text, or of one that may be a number."""
    pattern = schema.get("pattern", "")
    is_free = "const" not in schema and "enum" not in schema and pattern != PATTERN
    return schema.get("type") == "string" and is_free and re.search(pattern, "1") is not None


def _tidy_entry(key: str, entry: Any) -> Any:
    if key in {"default", "examples", "enum", "const", "required"}:
        return entry
    if key == "description" and isinstance(entry, str):
        return entry.split("\n\n")[0].replace("\n", " ").strip()
    if key == "properties" and isinstance(entry, dict):
        return {name: _tidy(schema) for name, schema in entry.items()}
    return _tidy(entry)


def _shown(value: Any) -> Any:
    """Each key with what an editor shows when the pointer rests on it: its description as Markdown, and its default as people write it."""
    if isinstance(value, list):
        return [_shown(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    shown = {key: entry if key in {"default", "examples", "enum", "const"} else _shown(entry) for key, entry in value.items()}
    if isinstance(shown.get("default"), int) and PATTERN in _patterns(shown):
        shown["default"] = show_size(shown["default"])
    if isinstance(shown.get("description"), str):
        default = f"\n\nDefault: `{json.dumps(shown['default'], ensure_ascii=False)}`" if "default" in shown else ""
        shown["markdownDescription"] = shown["description"] + default.replace('`"', "`").replace('"`', "`")
    return shown


def _patterns(schema: Mapping[str, Any]) -> list[Any]:
    """The patterns of a value's alternatives."""
    inner = [pattern for each in schema.get("anyOf", ()) for pattern in _patterns(each)]
    return [schema["pattern"], *inner] if "pattern" in schema else inner
