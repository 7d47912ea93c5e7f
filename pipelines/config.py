"""From a pipeline file to a checked configuration: `load()` reports everything that is wrong at once, each with its line.

Owns the meaning of the file's keys: which section and which operator a key belongs to. The reading of YAML is in config_yaml.py, the
sections in settings.py, the wording of problems in config_validate.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from operators.base import Operator
from pipelines.config_operators import operator_class
from pipelines.config_overrides import apply_override, operator_names
from pipelines.config_schema import json_schema
from pipelines.config_validate import Model, Problems, build, check_keys, found_text, missing_key, near, nearest, wrong_kind
from pipelines.config_yaml import Items, Place, Scalar, Table, Tree, find, parse
from pipelines.errors import ConfigError, shown
from pipelines.settings import (
    ExecutionConfig,
    InputConfig,
    OutputConfig,
    PipelineConfig,
    PipelineName,
    history_problems,
    learning_problems,
    name_problems,
    section_problems,
)
from pipelines.settings_cluster import CLUSTERS, ClusterConfig, InlineCluster, LocalCluster, RayCluster, resource_problems
from pipelines.settings_ingest import IngestConfig
from pipelines.settings_publish import PublishConfig, publish_problems
from pipelines.settings_schedule import ScheduleConfig
from pipelines.settings_section import Problem, Section, path_text
from pipelines.settings_submit import SubmitConfig

__all__ = [
    "ClusterConfig",
    "ExecutionConfig",
    "IngestConfig",
    "InlineCluster",
    "InputConfig",
    "LocalCluster",
    "OutputConfig",
    "PipelineConfig",
    "PublishConfig",
    "RayCluster",
    "ScheduleConfig",
    "SubmitConfig",
    "json_schema",
    "load",
]

KEYS = tuple(name for name, info in PipelineConfig.model_fields.items() if not info.exclude)


class _Named(Section):
    """The keys of the root that are plain values."""

    name: PipelineName


class _Shared(Section):
    """The history, a plain value of the root."""

    history: str | None


def load(path: Path, overrides: Sequence[str] = (), env: Mapping[str, str] = os.environ) -> PipelineConfig:
    """The configuration that a pipeline file describes, checked.

    Args:
        path: The YAML file; custom operators are looked up in its folder.
        overrides: `path=value` each, applied in this order.
        env: Where `${NAME}` is looked up.

    Raises:
        ConfigError: The file cannot be read, or something in it is wrong: every problem on a line of its own, `file:line: …`.
    """
    problems = Problems()
    root = parse(_text_of(path), str(path), env, problems.add)
    if root is None and not problems.found:
        problems.add(Place(str(path), 1), "the file is empty; expected a pipeline (`shardmill init NAME` writes one to begin with)")
    elif root is not None and not isinstance(root, Table):
        problems.add(root.place, f"found {found_text(root)}, expected a mapping with the keys {', '.join(KEYS)}")
    if not isinstance(root, Table):
        raise problems.error()
    for override in overrides:
        apply_override(root, override, env, problems)
    return _Reader(root, path.resolve().parent, problems).config()


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; give the path of a pipeline file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: found a folder, expected a pipeline file, such as {path / 'pipeline.yaml'}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: the text is not UTF-8; save the file as UTF-8") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{shown(path)}: cannot be read ({shown(error)}); expected a pipeline file that you may read") from error


class _Reader:
    """Reads the sections of one file, noting problems as it goes."""

    def __init__(self, root: Table, folder: Path, problems: Problems) -> None:
        self.root = root
        self.folder = folder
        self.problems = problems
        self.meant = {nearest(key, KEYS) for key in root.entries if key not in KEYS}

    def config(self) -> PipelineConfig:
        """The whole configuration, or every problem.

        Raises:
            ConfigError: There are problems.
        """
        check_keys(self.root, KEYS, "", self.problems)
        name = self._name()
        source, target = self._section("input", InputConfig), self._section("output", OutputConfig)
        execution = self._section("execution", ExecutionConfig, default=ExecutionConfig())
        cluster = self._cluster()
        operators = self._operators()
        history = self._history()
        publish = None if self._is_absent("publish") else self._section("publish", PublishConfig)
        ingest = self._section("ingest", IngestConfig, default=IngestConfig())
        schedule = None if self._is_absent("schedule") else self._section("schedule", ScheduleConfig)
        submit = self._section("submit", SubmitConfig, default=SubmitConfig())
        problems = [
            *section_problems(source, target, cluster),
            *resource_problems(cluster, self._operator_names()),
            *history_problems(history, operators, cluster),
            *learning_problems(operators),
            *publish_problems(publish, None if target is None else target.uri),
        ]
        for problem in problems:
            self._note(problem)
        self.problems.raise_if_any()
        assert name is not None
        assert source is not None
        assert target is not None
        assert execution is not None
        assert cluster is not None
        assert ingest is not None
        assert submit is not None
        return PipelineConfig(
            name=name,
            input=source,
            operators=operators,
            output=target,
            history=history,
            execution=execution,
            cluster=cluster,
            publish=publish,
            ingest=ingest,
            schedule=schedule,
            submit=submit,
            folder=self.folder,
        )

    def _note(self, problem: Problem) -> None:
        _, place, path = find(self.root, problem.path)
        self.problems.add(place, f"{path_text(path)}: {problem.message}")

    def _note_missing(self, key: str) -> None:
        if key not in self.meant:  # a misspelt key is one problem, not two
            self.problems.add(self.root.place, missing_key(key, PipelineConfig.model_fields[key], ""))

    def _is_absent(self, key: str) -> bool:
        entry = self.root.entries.get(key)
        return entry is None or (isinstance(entry, Scalar) and entry.value is None)

    def _name(self) -> str | None:
        if "name" not in self.root.entries:
            self._note_missing("name")
            return None
        alone = Table(self.root.place, {"name": self.root.entries["name"]}, {"name": self.root.key_places["name"]})
        named = build(_Named, alone, "", self.problems)
        return named.name if named is not None else None

    def _history(self) -> str | None:
        if self._is_absent("history"):
            return None
        entry, place = self.root.entries["history"], self.root.key_places["history"]
        shared = build(_Shared, Table(self.root.place, {"history": entry}, {"history": place}), "", self.problems)
        return shared.history if shared is not None else None

    def _section(self, key: str, model: type[Model], *, default: Model | None = None) -> Model | None:
        """A section of the file; null and absent are the default where there is one."""
        if self._is_absent(key) and (default is not None or key not in self.root.entries):
            if default is None:
                self._note_missing(key)
            return default
        table = self._table(key)
        return build(model, table, key, self.problems) if table is not None else None

    def _table(self, key: str) -> Table | None:
        entry = self.root.entries[key]
        if isinstance(entry, Table):
            return entry
        self.problems.add(self.root.key_places[key], wrong_kind(entry, "a mapping of keys to values", key))
        return None

    def _cluster(self) -> LocalCluster | RayCluster | InlineCluster | None:
        if self._is_absent("cluster"):
            return LocalCluster()
        table = self._table("cluster")
        if table is None:
            return None
        kind = table.entries.get("type")
        model: type[LocalCluster | RayCluster | InlineCluster] | None
        model = LocalCluster if kind is None else CLUSTERS.get(kind.text) if isinstance(kind, Scalar) else None
        if model is None:
            assert kind is not None
            word = kind.text if isinstance(kind, Scalar) else found_text(kind)
            self.problems.add(
                table.key_places["type"], f"cluster.type: no cluster is of type {shown(word)!r}; {near(word, CLUSTERS, 'types')}"
            )
            return None
        return build(model, table, "cluster", self.problems)

    def _operators(self) -> tuple[Operator, ...]:
        if self._is_absent("operators"):
            return ()
        items = self.root.entries["operators"]
        if not isinstance(items, Items):
            self.problems.add(self.root.key_places["operators"], wrong_kind(items, "a list, each `- type: …`", "operators"))
            return ()
        self._check_names(items)
        built = [self._operator(item, position) for position, item in enumerate(items.items)]
        return tuple(operator for operator in built if operator is not None)

    def _operator_names(self) -> list[str]:
        items = self.root.entries.get("operators")
        return operator_names(items) if isinstance(items, Items) else []

    def _operator(self, item: Tree, position: int) -> Operator | None:
        label = f"operators[{position}]"
        if not isinstance(item, Table):
            remedy = f"; write `- type: {shown(item.text)}`" if isinstance(item, Scalar) and item.value is not None else ""
            self.problems.add(item.place, wrong_kind(item, "a mapping with the key `type`", label) + remedy)
            return None
        kind = item.entries.get("type")
        if not isinstance(kind, Scalar) or kind.value is None:
            found = "" if kind is None else f": found {found_text(kind)}"
            place = item.key_places.get("type", item.place)
            self.problems.add(place, f"{label}: the key 'type' is missing{found}; it names the operator (`shardmill operators` lists them)")
            return None
        try:
            model = operator_class(kind.text, self.folder)
        except ValueError as error:
            self.problems.add(item.key_places["type"], f"{label}: {error}")
            return None
        return build(model, item, f"{label}.{kind.text}", self.problems)

    def _check_names(self, items: Items) -> None:
        for problem in name_problems(operator_names(items)):
            _, place, _ = find(self.root, problem.path)
            self.problems.add(place, f"operators[{problem.path[1]}]: {problem.message}")
