"""What of this machine a submitted pipeline needs: which files go along, and which paths must be said anew where the command runs there.

On the cluster the command runs in the pipeline's folder, or in a copy of it. Relative paths of input, output and history become absolute:
every node must see them. Relative paths of assets that lie in the folder stay relative, and the assets go along.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cluster.shippable import MAX_BYTES, ShippingError, modules_below, named_files
from operators.custom import is_custom
from pipelines.config import PipelineConfig
from pipelines.config_places import local_path, scheme_of
from pipelines.config_sizes import show_size
from pipelines.errors import ConfigError
from pipelines.plan import learning

MAX_FILES: Final = 2_000
LOCAL: Final = ("", "file", "local")


@dataclass(frozen=True, slots=True)
class Shipment:
    """What goes along.

    Attributes:
        files: Relative to the pipeline's folder, sorted; the pipeline's file among them.
        overrides: `path=value` each, for what is said anew.
        places: Local paths that every node must see, by the key that names them.
    """

    files: tuple[str, ...]
    overrides: tuple[str, ...]
    places: Mapping[str, str]


def shipment(config: PipelineConfig, file: Path) -> Shipment:
    """What of this machine the pipeline of a file needs.

    Raises:
        ConfigError: It is more than may go along.
    """
    folder = config.folder.resolve()
    files = {file.resolve(), *_own_files(config, folder)}
    overrides, places = _data_places(config)
    for key, written, path in _named_files(config):
        if path.is_relative_to(folder):
            files |= set(_below(path))
            here = str(path.relative_to(folder))
            overrides |= {} if here == os.path.normpath(written) else {key: here}
        else:
            places[key] = str(path)
            overrides |= {} if written == str(path) else {key: str(path)}
    _check_size(folder, files)
    names = tuple(sorted(str(path.relative_to(folder)) for path in files))
    return Shipment(names, tuple(f"{key}={_yaml(value)}" for key, value in overrides.items()), places)


def absolute(uri: str) -> str:
    """A local path from the root; any other URI as it is."""
    if scheme_of(uri) not in LOCAL or "::" in uri:
        return uri
    path = local_path(uri)
    ending = "/" if path.endswith("/") else ""
    return os.path.normpath(Path.cwd() / path).rstrip("/") + ending


def _data_places(config: PipelineConfig) -> tuple[dict[str, str], dict[str, str]]:
    """Overrides that make relative paths absolute, and every local path, by key."""
    one = len(config.input.uri) == 1
    named = {("input.uri" if one else f"input.uri[{number}]"): uri for number, uri in enumerate(config.input.uri)}
    named["output.uri"] = config.output.uri
    if config.history is not None:
        named["history"] = config.history
    local = {key: uri for key, uri in named.items() if scheme_of(uri) in LOCAL and "::" not in uri}
    relative = {key: uri for key, uri in local.items() if not local_path(uri).startswith("/")}
    return {key: absolute(uri) for key, uri in relative.items()}, {key: absolute(uri) for key, uri in local.items()}


def _named_files(config: PipelineConfig) -> Iterator[tuple[str, str, Path]]:
    """Settings of operators that name an asset on this machine: the key, what it says, and the path."""
    learners = learning(config.operators)
    for number, operator in enumerate(config.operators):
        assets = [uri for uri in operator.asset_uris_beside(learners) if scheme_of(uri) == ""]
        for key, text in _texts(operator.model_dump(mode="json"), f"operators[{number}]"):
            # A setting may name the folder of the asset, as `tokenizer` does.
            if any(uri == text or uri.startswith(f"{text.rstrip('/')}/") for uri in assets) and text and Path(text).exists():
                yield key, text, Path(text).resolve()


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _texts(entry, f"{key}.{name}")
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from _texts(entry, f"{key}[{number}]")


def _folder_of(uri: str) -> Path | None:
    """The output, if it is a local folder."""
    return Path(absolute(uri)) if scheme_of(uri) in LOCAL else None


def _own_files(config: PipelineConfig, folder: Path) -> set[Path]:
    """Modules of the pipeline's own operators, and what `cluster.ship` names."""
    try:
        own = any(is_custom(operator.type) for operator in config.operators)
        modules = modules_below(folder, _folder_of(config.output.uri)) if own else []
        return {*modules, *named_files(folder, config.cluster.ship if config.cluster.type == "ray" else ())}
    except ShippingError as error:
        raise ConfigError(str(error)) from error


def _below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (found for found in path.rglob("*") if found.is_file() and not found.name.startswith("."))


def _check_size(folder: Path, files: set[Path]) -> None:
    if len(files) > MAX_FILES:
        raise ConfigError(
            f"{folder}: {len(files):,} files would go to the cluster, expected {MAX_FILES:,} at most; put the pipeline and its operators "
            "into a folder of their own"
        )
    sizes = sorted(((path.stat().st_size, path) for path in files), reverse=True)
    total = sum(size for size, _ in sizes)
    if total > MAX_BYTES:
        largest = ", ".join(f"{path.relative_to(folder)} ({show_size(size)})" for size, path in sizes[:3])
        raise ConfigError(
            f"{folder}: {total / 2**20:,.0f} MiB would go to the cluster, expected {show_size(MAX_BYTES)} at most; the largest: {largest}; "
            "put large files on the object store, and name them by URL"
        )


def _yaml(value: str) -> str:
    """A text as a value for `--set`: JSON is YAML, but for references to the environment and characters that YAML wants escaped."""
    quoted = json.dumps(value, ensure_ascii=False).replace("${", "$${")
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in quoted)
