"""The commands for writing a pipeline: `init`, `validate`, `schema`, `operators`.

Owns what they print. What a pipeline file means is in config.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli_output import write_json, write_table, write_text
from pipelines.errors import ConfigError, shown

if TYPE_CHECKING:
    from operators.base import Operator
    from operators.catalogue import Buckets, Description, Setting
    from operators.quality import Preset
    from pipelines.config import PipelineConfig

Command = Callable[..., int | None]


def pipeline_options(command: Command) -> Command:
    """The argument FILE and the option `--set` of every command that reads a pipeline."""
    override = click.option(
        "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override a key: output.uri=…, operators.NAME.min_score=0.7."
    )
    return click.argument("file", type=click.Path(path_type=Path))(override(command))


def json_option(command: Command) -> Command:
    """The option `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(command)


@click.command()
@click.argument("name")
@click.option("--from", "recipe", metavar="RECIPE", help="Begin with a recipe of configs/ (fineweb, c4 …), or with any pipeline file.")
@click.option("--input", "source", metavar="URI", help="Where the documents are; else a place for you to fill in.")
@click.option("--output", "target", metavar="URI", help="Where the dataset goes; default: out/NAME.")
@click.option("--path", "folder", type=click.Path(path_type=Path), default=Path(), metavar="DIR", help="Folder of the file; default: here.")
def init(name: str, recipe: str | None, source: str | None, target: str | None, folder: Path) -> None:
    """Write a commented starter pipeline, NAME.yaml, and beside it the schema from which editors complete and check it."""
    from pipelines.starter import write_starter  # noqa: PLC0415

    path = write_starter(name, folder, recipe=recipe, source=source, target=target)
    open_keys = [key for key, given in (("input.uri", source), ("output.uri", target)) if given is None]
    remedy = f"Set {' and '.join(open_keys)} in it, then" if open_keys else "Check it"
    click.echo(f"Wrote {path}. {remedy}: shardmill validate {path}")


@click.command()
@pipeline_options
@json_option
def validate(file: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check a pipeline file; every problem is reported with its line."""
    from pipelines.config import load  # noqa: PLC0415

    try:
        config = load(file, overrides)
    except ConfigError as error:
        if as_json:
            write_json({"file": str(file), "valid": False, "problems": error.problems})
        raise
    if as_json:
        write_json({"file": str(file), "valid": True, "problems": [], "config": config.redacted()})
    else:
        _write_summary(file, config)
        _tell_stale_schema(file)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--output", type=click.Path(path_type=Path), metavar="PATH", help="Write it there; default: print it.")
def schema(file: Path | None, output: Path | None) -> None:
    """Print the JSON schema of the pipeline file, for editors; with FILE, also of the operators in its own folder."""
    from pipelines.config_schema import EDITOR_LINE, schema_text  # noqa: PLC0415
    from pipelines.starter import write_schema  # noqa: PLC0415

    text = schema_text(() if file is None else _custom_operators(file))
    if output is None:
        click.echo(text, nl=False)
        return
    write_schema(output, text)
    named = output if file is None else Path(os.path.relpath(output, file.parent))
    click.echo(f"Wrote {output}. The first line by which an editor finds it, its path counted from the pipeline file:")
    click.echo(f"{EDITOR_LINE}{named.as_posix()}")


@click.command()
@click.argument("name", required=False)
@json_option
def operators(name: str | None, as_json: bool) -> None:
    """List the operators, or show one with its settings and sources: one of those, or `module:Class` of this folder."""
    from operators.catalogue import describe_all  # noqa: PLC0415

    if name is None:
        listed = describe_all()
        if as_json:
            write_json({"operators": [asdict(about) for about in listed]})
        else:
            write_table(("operator", "what it does"), [(about.type, about.promise) for about in listed])
        return
    about = _described(name)
    if as_json:
        write_json(asdict(about))
    else:
        _write_operator(about)


def _described(name: str) -> Description:
    from operators.catalogue import describe_class  # noqa: PLC0415
    from pipelines.config_operators import operator_class  # noqa: PLC0415

    try:
        return describe_class(name, operator_class(name, Path.cwd()))
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _custom_operators(file: Path) -> list[type[Operator]]:
    from pipelines.config_schema import custom_operators  # noqa: PLC0415

    try:
        return custom_operators(file)
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: there is no such file; give the path of a pipeline file") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: its operators cannot be read ({shown(error)}); `shardmill validate {file}` tells more") from error


COMMANDS: list[click.Command] = [init, validate, schema, operators]


def _write_summary(file: Path, config: PipelineConfig) -> None:
    from pipelines.redaction import redact_settings  # noqa: PLC0415

    click.echo(f"{file} is valid.")
    rows = [("name", config.name), *(("input", uri) for uri in config.redacted()["input"]["uri"])]
    given = [(operator.model_dump(mode="json", exclude_defaults=True), operator.by_kind) for operator in config.operators]
    rows += [("operator", _operator_line(redact_settings(settings, by_kind))) for settings, by_kind in given]
    rows += [("output", config.redacted()["output"]["uri"]), ("cluster", config.cluster.type)]
    write_table(("", ""), rows)


def _tell_stale_schema(file: Path) -> None:
    """Say so if an editor would check the file by the schema of another build."""
    from pipelines.starter import stale_schema  # noqa: PLC0415

    path = stale_schema(file)
    if path is not None:
        state = "is of another build" if path.exists() else "is not there"
        click.echo(f"note: {path}, by which editors check {file}, {state}; write it: shardmill schema {file} --output {path}", err=True)


def _operator_line(settings: dict[str, Any]) -> str:
    name, kind = settings.pop("name"), settings.pop("type", "")
    words = [f"{key}={shown(value)}" for key, value in settings.items()]
    return " ".join([name, *([f"({kind})"] if kind not in {"", name} else []), *words])


def _write_operator(about: Description) -> None:
    write_text(f"{about.type}: {about.doc}")
    click.echo()
    write_table(("setting", "value", "default", "meaning"), [_setting_row(setting) for setting in about.settings])
    if about.signals:
        click.echo()
        signals = [(signal.name, signal.unit, signal.doc, signal.source) for signal in about.signals]
        write_table(("signal", "unit", "meaning", "source"), signals)
    if about.presets:
        click.echo()
        _write_presets(about.presets)
    if about.curves:
        click.echo()
        _write_curves(about.curves)
    notes = {"Sources": about.sources, "Versions that decide its results": ", ".join(about.libraries)}
    for title, text in notes.items():
        if text:
            click.echo()
            write_text(f"{title}: {text}")


def _write_presets(presets: Mapping[str, Preset]) -> None:
    """A line a setting, a column a preset; the settings that are the same in all of them last."""
    names = dict.fromkeys(name for preset in presets.values() for name in preset.values)
    rows = [(name, *(json.dumps(preset.values.get(name), ensure_ascii=False) for preset in presets.values())) for name in names]
    write_table(("preset", *presets), sorted(rows, key=lambda row: len(set(row[1:])) == 1))
    click.echo()
    for name, preset in presets.items():
        write_text(f"{name}: {preset.source}")


def _write_curves(curves: Mapping[str, Buckets]) -> None:
    """A line a preset: how probable it is that two documents meet, by their similarity."""
    from operators.catalogue import curve_rows  # noqa: PLC0415

    heads, *rows = curve_rows(curves)
    write_table(heads, rows)
    click.echo()
    write_text("at 0.5 …: how probable it is that two documents of that similarity meet in a bucket, and so are compared.")
    for name, curve in curves.items():
        write_text(f"{name}: {curve.source}")


def _setting_row(setting: Setting) -> tuple[str, str, str, str]:
    default = "(required)" if setting.required else json.dumps(setting.default, ensure_ascii=False)
    return setting.name, ", ".join(filter(None, (setting.type, setting.range))), default, setting.doc
