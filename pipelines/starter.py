"""The pipeline that `shardmill init` writes: small and commented, or one of the recipes in configs/; valid as it is.

Owns the starter's text and how a recipe becomes somebody's own pipeline: its name, its places, and what an editor needs beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from operators.base import NAME
from pipelines.config_schema import EDITOR_LINE, custom_operators, schema_text
from pipelines.config_validate import nearest
from pipelines.config_yaml import spans
from pipelines.errors import ConfigError, InputError, shown

RECIPES = (Path(__file__).resolve().parent / "recipes", Path(__file__).resolve().parent.parent / "configs")
"""Pipelines ready to use: beside this file where it is installed, in configs/ of a checkout."""
SCHEMA = Path(".shardmill") / "pipeline.schema.json"
"""Where the schema lies beside a pipeline. Only editors read it."""
EDITOR_LINES = 5
"""Among so many first lines of a file the one is looked for that names its schema."""
DEFAULT_INPUT = {"warc": "data/**/*.warc.gz", "jsonl": "data/**/*.jsonl"}

TEMPLATE = """\
# A shardmill pipeline. Check it with `shardmill validate {file}`, see what it would do with
# `shardmill dry-run {file}` and `shardmill plan {file}`, run it with `shardmill run {file}`.
# A run that was stopped goes on where it was.
name: {name}

input:
  uri: data/**/*.parquet            # any path or fsspec URL (s3://…, hf://datasets/…), or a list of them
  # format: jsonl                   # parquet | jsonl | warc; default: from each file's extension
  text_column: text
  # id_column: id                   # without ids in the input, documents get one
  # path_columns: [dump]            # columns from folder names like dump=2026-01/
  # storage_options: {{endpoint_url: "https://…"}}   # secrets come from the environment, never from here

operators:                          # in this order; `shardmill operators` lists them all
  - type: language_filter
    languages: [en]
    min_score: 0.65

  - type: length_filter
    min_chars: 200

  - type: gopher_quality            # words that make prose; `shardmill operators gopher_quality` tells every threshold
    # preset: gopher@paper          # thresholds under a versioned name; each can be set alone too

  - type: minhash_dedup             # copies and near-duplicates; `exact_dedup` finds copies alone, at less cost
    # within: [dump]                # compare only documents with equal values here

  # - type: tokenize                # adds input_ids and num_tokens
  #   tokenizer: openai-community/gpt2  # a tokenizer.json, or the id of a model on the Hub

output:
  uri: {output:<28} # a path, or s3://bucket/folder
  # target_shard_bytes: 512MiB      # size of a shard, uncompressed
  # columns: [id, text, language]   # default: all
  # partition_by: [language]        # folders data/v1/language=en/…
  # token_shards: {{formats: [megatron]}}     # .bin and .idx for trainers beside the Parquet files; also: datatrove
  # licence: odc-by

# execution: {{max_quarantined_fraction: 0.001, keep_intermediates: latest}}
# cluster: {{type: local, num_cpus: 2}}    # local: Ray on this machine | ray: a cluster's address | inline: no Ray
# publish: {{repo_id: org/{name}}}     # a dataset repo on the Hub, private; include_data: true uploads the shards too
"""


def write_starter(name: str, folder: Path, *, recipe: str | None = None, source: str | None = None, target: str | None = None) -> Path:
    """Write NAME.yaml into a folder, with the schema that its first line names, and return its path; a file that is there stays as it is.

    Args:
        name: Of the pipeline and of its file.
        folder: Where to; made if absent.
        recipe: A pipeline of configs/ by its name, or the path of any other; None: the small starter.
        source: `input.uri`; None: a place to be filled in.
        target: `output.uri`; None: `out/NAME`.

    Raises:
        ConfigError: The name cannot be one, there is no such recipe, or a file cannot be made.
    """
    name = name.removesuffix(".yaml").removesuffix(".yml")
    if NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{shown(name)!r} cannot name a pipeline; expected 1 to 64 letters, digits, '_', '.' or '-' (use --path for a folder)"
        )
    path = folder / f"{name}.yaml"
    text = TEMPLATE.format(name=name, file=path, output=f"out/{name}") if recipe is None else _from_recipe(recipe, path)
    own = _own_places(text, name, source, target, asked=recipe is None)
    _write_new(path, f"{EDITOR_LINE}{SCHEMA.as_posix()}\n{own}")
    write_schema(folder / SCHEMA)
    return path


def recipes() -> dict[str, Path]:
    """The pipelines of configs/ by their names."""
    folder = next((folder for folder in RECIPES if folder.is_dir()), RECIPES[-1])
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def write_schema(path: Path, text: str | None = None) -> None:
    """Write the schema of this build; one that is there is replaced.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(schema_text() if text is None else text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: the schema for editors cannot be written ({shown(error.strerror)}); choose another folder") from error


def stale_schema(file: Path) -> Path | None:
    """The schema that a pipeline file's first lines name, if it is not the one of this build; None: it is, or they name no file."""
    lines = file.read_text(encoding="utf-8").splitlines()[:EDITOR_LINES]
    named = next((line.removeprefix(EDITOR_LINE).strip() for line in lines if line.startswith(EDITOR_LINE)), "")
    if not named or "://" in named:
        return None
    path = file.parent / named
    try:
        found = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return path
    return None if found == schema_text() or found == schema_text(custom_operators(file)) else path


def _from_recipe(recipe: str, path: Path) -> str:
    """A recipe's text, whose comments name the new file."""
    found = _recipe_path(recipe)
    try:
        text = found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{found} cannot be read ({shown(error)}); give --from a pipeline file") from error
    lines = [line for line in text.splitlines() if not line.startswith(EDITOR_LINE)]
    named = re.compile(rf"(shardmill [a-z-]+ )configs/{re.escape(found.name)}")
    return named.sub(lambda match: f"{match[1]}{path}", "\n".join([*lines, ""]))


def _recipe_path(recipe: str) -> Path:
    known = recipes()
    if recipe in known:
        return known[recipe]
    if recipe.endswith((".yaml", ".yml")):
        return Path(recipe)
    listed = f"there are {', '.join(known)}" if known else f"no recipes are in {RECIPES[-1]}"
    match = nearest(recipe, known)
    hint = f"did you mean {match!r}? " if match else ""
    raise ConfigError(
        f"--from: no recipe is called {shown(recipe)!r}; {hint}({listed}; the path of a pipeline file, ending in .yaml, is taken too)"
    )


def _own_places(text: str, name: str, source: str | None, target: str | None, *, asked: bool) -> str:
    """The text with its name and its places, comments and all else as they are; a starter's own places stay where none is given.

    Raises:
        ConfigError: The text is no pipeline.
    """
    form = ("input", "format")
    paths = (("name",), ("input", "uri"), ("output", "uri"), form)
    try:
        found = spans(text, paths)
    except InputError as error:
        raise ConfigError(f"--from: {error.message}; expected a pipeline file") from error
    missing = [".".join(path) for path in paths[:3] if path not in found]
    if missing:
        raise ConfigError(f"--from: there is no {' and no '.join(missing)}; expected a pipeline file")
    begin = text[slice(*found[form])] if form in found else ""
    values: dict[tuple[str, ...], str | None] = {("name",): name, ("input", "uri"): source, ("output", "uri"): target}
    if not asked:
        values[("input", "uri")] = source or DEFAULT_INPUT.get(begin, "data/**/*.parquet")
        values[("output", "uri")] = target or f"out/{name}"
    replaced = _replaced(text, {found[path]: _scalar(value) for path, value in values.items() if value is not None})
    old, new = text[slice(*found["output", "uri"])], values["output", "uri"]
    # Comments that name the output's folder, as in `shardmill verify demo/output`.
    return replaced if new is None or "/" not in old or "$" in old else replaced.replace(old, new)


def _scalar(value: str) -> str:
    """A text as a YAML value; in quotes where it would be read as anything else."""
    try:
        plain = spans(f"v: {value}\n", [("v",)]) == {("v",): (3, 3 + len(value))} and value[0] not in "[{&!|>'\"%@`*"
    except (InputError, IndexError):
        plain = False
    return value if plain else "'" + value.replace("'", "''") + "'"


def _replaced(text: str, values: Mapping[tuple[int, int], str]) -> str:
    """The text with other words at some places; a comment behind one stays in its column as far as it can."""
    for (start, stop), value in sorted(values.items(), reverse=True):
        rest, line, more = text[stop:].partition("\n")
        if "\n" not in text[start:stop] and rest.lstrip().startswith("#"):
            column = max(2, stop - start + len(rest) - len(rest.lstrip()) - len(value))
            rest = " " * column + rest.lstrip()
        text = f"{text[:start]}{value}{rest}{line}{more}"
    return text


def _write_new(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} exists already, and is left as it is; choose another name, or remove it") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({shown(error.strerror)}); choose another folder with --path") from error
