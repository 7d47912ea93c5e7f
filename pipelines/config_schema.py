"""The JSON schema of the pipeline file, for editors.

Owns what an editor completes and underlines; `config.load()` stays the judge. Built from the same models.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from operators.base import Operator
from pipelines.config_operators import CUSTOM_TYPE, built_in
from pipelines.settings import ExecutionConfig, InputConfig, OutputConfig, PipelineConfig
from pipelines.settings_cluster import InlineCluster, LocalCluster, RayCluster
from pipelines.settings_ingest import IngestConfig
from pipelines.settings_publish import PublishConfig
from pipelines.settings_schedule import ScheduleConfig
from pipelines.settings_submit import SubmitConfig

# `${NAME}` may stand for any scalar; an editor that underlined it would be wrong.
_REFERENCE = {"type": "string", "pattern": r"\$\{[A-Za-z_]"}
_SCALARS = ("integer", "number", "boolean")


def json_schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of a pipeline file: every key and operator with its description, and nothing else allowed."""
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
    properties: dict[str, Any] = {key: declared[key] for key in ("name", "history")}
    properties |= {key: _model_schema(model) | {"description": fields[key].description} for key, model in sections.items()}
    properties["input"]["properties"]["uri"] = _one_or_many(properties["input"]["properties"]["uri"])
    for key in optional:
        properties[key] = _or_null(properties[key])
    properties["operators"] = _operators_schema(fields["operators"].description)
    properties["cluster"] = _cluster_schema(fields["cluster"].description)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "shardmill pipeline",
        "type": "object",
        "properties": {key: properties[key] for key in fields if key in properties},
        "required": ["name", "input", "output"],
        "additionalProperties": False,
    }


def operator_schema(model: type[Operator]) -> dict[str, Any]:
    """The JSON schema of one operator's settings, its `type` included."""
    schema = _model_schema(model)
    schema["required"] = ["type", *(key for key in schema.get("required", []) if key != "type")]
    return schema


def _operators_schema(description: str | None) -> dict[str, Any]:
    known = built_in()
    custom = {
        "title": "custom operator",
        "description": "An operator from the pipeline's own folder: `module:Class`.",
        "type": "object",
        "properties": {"type": {"type": "string", "pattern": f"^{CUSTOM_TYPE.pattern}$"}},
        "required": ["type"],
    }
    choices = [operator_schema(known[kind]) for kind in sorted(known)]
    return {"description": description, "type": ["array", "null"], "items": {"anyOf": [*choices, custom]}, "default": []}


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
    return about | {"anyOf": [{"type": "string", "minLength": 1}, array]}


def _model_schema(model: type[Any]) -> dict[str, Any]:
    """The schema of a model without references to definitions, and with `${NAME}` allowed for scalars."""
    schema = model.model_json_schema(mode="validation")
    plain = _tidy(_inline(schema, schema.pop("$defs", {})))
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
    """Descriptions only of one line each, no titles that repeat the key, and `${NAME}` beside numbers and truth values."""
    if isinstance(value, list):
        return [_tidy(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    tidy = {key: _tidy_entry(key, entry) for key, entry in value.items() if not (key == "title" and isinstance(entry, str))}
    if tidy.get("type") in _SCALARS:
        bounds = {key: tidy.pop(key) for key in list(tidy) if key not in {"description", "default", "examples"}}
        return {**tidy, "anyOf": [bounds, _REFERENCE]}
    return tidy


def _tidy_entry(key: str, entry: Any) -> Any:
    if key in {"default", "examples", "enum", "const", "required"}:
        return entry
    if key == "description" and isinstance(entry, str):
        return entry.split("\n\n")[0].replace("\n", " ").strip()
    if key == "properties" and isinstance(entry, dict):
        return {name: _tidy(schema) for name, schema in entry.items()}
    return _tidy(entry)
