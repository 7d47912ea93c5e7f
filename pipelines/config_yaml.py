"""A pipeline file as a tree that remembers where each value stands and how it was written.

Owns the reading of YAML: scalars by the rules of YAML 1.2 (`no`, `on` and dates are text), duplicate keys, anchors, merge keys, and
`${NAME}` from the environment. Knows nothing of what the keys mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from pipelines.errors import InputError, shown
from pipelines.settings_section import path_text

MAX_NODES = 100_000
MAX_FILE_CHARS = 4 * 1024**2

_PLAIN = "!plain"
_CORE = "tag:yaml.org,2002:"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]{1,400}|0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOATS = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_REFERENCE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})?")
_SURROGATE = re.compile("[\ud800-\udfff]")

ScalarValue = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: a line of a file, or an option of the command."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(slots=True)
class Scalar:
    """A value: its text as written (after `${…}`), what it reads as, and whether the text may be read in another way.

    It may where it had no quotes, or came from the environment: between braces YAML wants `"${SEED}"` in quotes, whatever it holds.
    """

    place: Place
    text: str
    value: ScalarValue
    rereadable: bool


@dataclass(slots=True)
class Items:
    """A list."""

    place: Place
    items: list[Tree] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """A mapping; `key_places` says where each key stands."""

    place: Place
    entries: dict[str, Tree] = field(default_factory=dict)
    key_places: dict[str, Place] = field(default_factory=dict)


Tree = Scalar | Items | Table
Report = Callable[[Place, str], None]


class _Loader(yaml.SafeLoader):
    """Composes nodes without YAML 1.1's idea of what a plain scalar is."""

    yaml_implicit_resolvers = {None: [(_PLAIN, re.compile("", re.DOTALL))]}  # noqa: RUF012  (PyYAML's own way)


class _DataLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads data files; `no` and `on` are words (Norwegian has one of them among its stop words), as YAML 1.2 has it."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own way)
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[1] in ("null", "int", "float", "merge")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_DataLoader.add_implicit_resolver(f"{_CORE}bool", re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF"))


def read_data(text: str, source: str) -> Any:
    """The plain data of a YAML file that is no pipeline.

    Raises:
        InputError: It is no YAML.
    """
    try:
        return yaml.load(text, Loader=_DataLoader)  # noqa: S506  it is a safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{source}: it is no YAML: {shown(error)}") from error


def parse(text: str, source: str, env: Mapping[str, str], report: Report, *, place: Place | None = None) -> Tree | None:
    """The tree of a YAML text; None if it is no YAML or is empty. What is wrong is reported, with its place, and skipped.

    Args:
        text: The YAML.
        source: The file's name, as messages show it.
        env: Where `${NAME}` is looked up.
        report: Called with the place and the message of each problem.
        place: If given, everything is said to stand there (an option of the command).
    """
    if len(text) > MAX_FILE_CHARS:
        report(place or Place(source), f"the file has {len(text):,} characters; a pipeline file has at most {MAX_FILE_CHARS:,}")
        return None
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _Converter(source, env, report, place).tree(node, ())
    except yaml.YAMLError as error:
        line, message = _syntax_problem(error, text)
        report(place or Place(source, line), message)
    except RecursionError:
        report(place or Place(source, 1), "the file is nested too deeply; a pipeline file has a few levels")
    return None


def spans(text: str, paths: Collection[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[int, int]]:
    """Where the values at some paths stand in a YAML text, as first character and the one behind the last; what is not there is left out.

    Raises:
        InputError: It is no YAML.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"it is no YAML: {shown(error)}") from error
    found = {path: _node_at(root, path) for path in paths}
    return {path: (node.start_mark.index, _last_leaf(node).end_mark.index) for path, node in found.items() if node is not None}


def _node_at(node: yaml.Node | None, path: tuple[str, ...]) -> yaml.Node | None:
    for step in path:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for key, value in node.value if key.value == step), None)
    return node


def _last_leaf(node: yaml.Node) -> yaml.Node:
    """A block's own end is where the next key begins, comments between them included; that of its last value is not."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return node


@dataclass(slots=True)
class _Converter:
    """Turns composed nodes into a tree."""

    source: str
    env: Mapping[str, str]
    report: Report
    fixed_place: Place | None
    num_nodes: int = 0
    open_nodes: set[int] = field(default_factory=set)

    def tree(self, node: yaml.Node, path: tuple[str | int, ...]) -> Tree:
        """The tree of a node; an alias becomes a copy, so that no override changes two places."""
        place = self._place(node)
        self.num_nodes += 1
        if self.num_nodes > MAX_NODES or id(node) in self.open_nodes:
            looped = id(node) in self.open_nodes
            problem = "the anchor holds itself" if looped else f"aliases make more than {MAX_NODES:,} values of the file"
            raise yaml.MarkedYAMLError(problem=f"{problem}; write the values out", problem_mark=node.start_mark)
        self.open_nodes.add(id(node))
        try:
            return self._convert(node, place, path)
        finally:
            self.open_nodes.discard(id(node))

    def _convert(self, node: yaml.Node, place: Place, path: tuple[str | int, ...]) -> Tree:
        match node:
            case yaml.MappingNode():
                return self._table(node, place, path)
            case yaml.SequenceNode():
                self._check_tag(node, "seq", place, path)
                return Items(place, [self.tree(item, (*path, position)) for position, item in enumerate(node.value)])
            case _:
                return self._scalar(node, place, path)

    def _place(self, node: yaml.Node) -> Place:
        return self.fixed_place or Place(self.source, node.start_mark.line + 1)

    def _table(self, node: yaml.MappingNode, place: Place, path: tuple[str | int, ...]) -> Table:
        self._check_tag(node, "map", place, path)
        table = Table(place)
        merged: list[Table] = []
        for key_node, value_node in node.value:
            key_place = self._place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.report(key_place, f"{_at(path)}a key is a list or a mapping; expected a word, like `name: …`")
            elif key_node.value == "<<" and key_node.tag == _PLAIN:
                merged += self._merged(value_node, path)
            elif (key := key_node.value) in table.entries:
                self.report(
                    key_place,
                    f"{_at(path)}the key {shown(key)!r} is already there, in line {table.key_places[key].line}; remove one of them",
                )
            elif _SURROGATE.search(key):
                self.report(key_place, f"{_at(path)}a key holds half of a surrogate pair, which is no character")
            else:
                table.entries[key] = entry = self.tree(value_node, (*path, key))
                table.key_places[key] = key_place
                if not isinstance(entry, Scalar):
                    entry.place = key_place  # a section stands where its name does
        for base in merged:
            for key in base.entries.keys() - table.entries.keys():
                table.entries[key] = base.entries[key]
                table.key_places[key] = base.key_places[key]
        return table

    def _merged(self, node: yaml.Node, path: tuple[str | int, ...]) -> list[Table]:
        tree = self.tree(node, path)
        tables = tree.items if isinstance(tree, Items) else [tree]
        bases = [table for table in tables if isinstance(table, Table)]
        if len(bases) < len(tables):
            self.report(tree.place, f"{_at(path)}`<<` merges mappings; expected an alias of a mapping, like `<<: *defaults`")
        return bases

    def _scalar(self, node: yaml.Node, place: Place, path: tuple[str | int, ...]) -> Scalar:
        text = self._with_environment(str(node.value), place, path)
        if _SURROGATE.search(text):
            self.report(place, f"{_at(path)}the text holds half of a surrogate pair, which is no character")
            text = _SURROGATE.sub("\ufffd", text)
        if node.tag == _PLAIN:
            return Scalar(place, text, read_plain(text), rereadable=True)
        self._check_tag(node, "str|int|float|bool|null|timestamp", place, path)
        typed = node.tag.removeprefix(_CORE) in {"int", "float", "bool", "null"}
        return Scalar(place, text, read_plain(text) if typed else text, rereadable=typed or text != node.value)

    def _check_tag(self, node: yaml.Node, kinds: str, place: Place, path: tuple[str | int, ...]) -> None:
        if node.tag not in {f"{_CORE}{kind}" for kind in kinds.split("|")}:
            self.report(place, f"{_at(path)}the tag {shown(node.tag)} is not known here; remove it")

    def _with_environment(self, text: str, place: Place, path: tuple[str | int, ...]) -> str:
        def value_of(match: re.Match[str]) -> str:
            name, default = match["name"], match["default"]
            if match[0] == "$${":
                return "${"
            if name is None:
                self.report(
                    place,
                    f"{_at(path)}`${{` does not begin a `${{NAME}}` or `${{NAME:-default}}`; write `$${{` for the characters themselves",
                )
                return match[0]
            value = self.env.get(name)
            if value is None and default is None:
                self.report(
                    place,
                    f"{_at(path)}the environment has no variable {shown(name)}; set it, or give a default: `${{{shown(name)}:-default}}`",
                )
            # As in a shell, `:-` also stands in for an empty variable.
            return (value or default) if default is not None else (value or "")

        return _REFERENCE.sub(value_of, text)


def read_plain(text: str) -> ScalarValue:
    """What an unquoted scalar means in YAML 1.2: null, true or false, a number, or else the text itself."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    if _FLOAT.fullmatch(text) and len(text) <= 400:
        return float(text)
    if _SPECIAL_FLOATS.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def data_of(tree: Tree, reread: Mapping[int, ScalarValue] | None = None) -> Any:
    """The tree as plain data; scalars in `reread` (by the id of their node) have the value given there."""
    match tree:
        case Scalar():
            return reread[id(tree)] if reread is not None and id(tree) in reread else tree.value
        case Items():
            return [data_of(item, reread) for item in tree.items]
        case Table():
            return {key: data_of(entry, reread) for key, entry in tree.entries.items()}


def find(tree: Tree, path: tuple[str | int, ...]) -> tuple[Tree, Place, tuple[str | int, ...]]:
    """The node at a path, its place and the path as far as it exists; steps that name no key or position are passed over.

    (pydantic puts the members of a union into its paths, which are not in the file.)
    """
    place = tree.place
    walked: list[str | int] = []
    for step in path:
        match tree:
            case Table() if step in tree.entries:
                assert isinstance(step, str)
                place, tree = tree.key_places[step], tree.entries[step]
                walked.append(step)
            case Items() if isinstance(step, int) and 0 <= step < len(tree.items):
                tree = tree.items[step]
                place = tree.place
                walked.append(step)
    return tree, place, tuple(walked)


def scalars(tree: Tree) -> Iterator[Scalar]:
    """Every scalar of a tree, in its order."""
    match tree:
        case Scalar():
            yield tree
        case Items():
            for item in tree.items:
                yield from scalars(item)
        case Table():
            for entry in tree.entries.values():
                yield from scalars(entry)


def _at(path: tuple[str | int, ...]) -> str:
    return f"{path_text(path)}: " if path else ""


def _syntax_problem(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """Line and message of a YAML syntax error, with what to do about the usual ones."""
    if isinstance(error, yaml.reader.ReaderError):
        # `character` is declared as text, and is a number where the text was decoded before.
        code = int(error.character)
        return text.count("\n", 0, error.position) + 1, f"the character U+{code:04X} is not allowed in YAML; remove it"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else 1
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    problem = getattr(error, "problem", None) or str(error)
    if "'\\t'" in problem or "\t" in written[: len(written) - len(written.lstrip())]:
        return line, "a tab stands where YAML wants spaces; indent with spaces"
    if "single document" in str(error):
        return line, "a second document begins here (`---`); a pipeline file holds one"
    return line, f"not readable as YAML: {shown(problem)}{_syntax_remedy(problem, getattr(error, 'context', None) or '', written)}"


def _syntax_remedy(problem: str, context: str, written: str) -> str:
    if "undefined alias" in problem or "scanning an alias" in context:
        return "; quote text that begins with `*`, like '*.parquet'"
    if "${" in written and "but got '{'" in problem:
        return "; between braces and brackets quote a reference: '${NAME}'"
    if "mapping values are not allowed" in problem:
        return "; check the indentation, and quote text that holds ': '"
    if "expected <block end>" in problem or "could not find expected ':'" in problem:
        return "; check the indentation and the ':' after each key, here and in the line before"
    if "cannot start any token" in problem:
        return "; quote text that begins with a special character"
    return ""
