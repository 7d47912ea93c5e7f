"""Which source files decide what an operator does: its module and, as far as imports lead, its neighbours.

Reads code as text (`ast`), imports nothing. Libraries count by their version, elsewhere.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SourceTree:
    """A folder of modules that import each other.

    Attributes:
        folder: Where the modules lie.
        package: The name that they import each other by (`operators`); None: by their bare names, as neighbours in one folder do.
    """

    folder: Path
    package: str | None = None

    def file(self, name: str) -> Path | None:
        """The file of a module by its dotted name inside the tree, if it is one; of a package that is its `__init__.py`."""
        base = self.folder.joinpath(*name.split(".")) if name else self.folder
        for path in (base.with_suffix(".py"), base / "__init__.py") if name else (base / "__init__.py",):
            if path.is_file():
                return path
        return None

    def inside(self, name: str) -> str | None:
        """The name inside the tree of what `import name` imports, or None where that is somebody else's module."""
        if self.package is not None:
            top, _, rest = name.partition(".")
            return rest if top == self.package else None
        return name if self.is_neighbour(name.partition(".")[0]) else None

    def is_neighbour(self, top: str) -> bool:
        """Whether a bare module name means a file of this folder: it is there, and nothing installed has that name."""
        if not (self.folder / f"{top}.py").is_file() and not (self.folder / top).is_dir():
            return False
        if top in sys.stdlib_module_names or top in sys.builtin_module_names:
            return False
        elsewhere = [entry for entry in sys.path if Path(entry).resolve() != self.folder]
        spec = PathFinder.find_spec(top, elsewhere)
        # A folder without `__init__.py` somewhere on the path is no module that anyone meant.
        return spec is None or spec.origin is None

    def closure(self, start: Path) -> set[Path]:
        """The files of the tree that a file imports, directly or through others, and itself if it is one of them."""
        found: set[Path] = set()
        todo = [start] if start.is_relative_to(self.folder) else list(self._imported(start))
        while todo:
            path = todo.pop()
            if path not in found:
                found.add(path)
                todo.extend(self._imported(path))
        return found

    def _imported(self, path: Path) -> Iterable[Path]:
        """The files that a file imports. Of our own package they are found once for each content: a plan asks dozens of times."""
        return self._reading(path) if self.package is None else _kept_imported(self, path, path.read_bytes())

    def _reading(self, path: Path) -> Iterator[Path]:
        # Of `a/b.py` and of `a/__init__.py` alike, relative imports start at `a`; those of a stranger lead elsewhere.
        package = path.relative_to(self.folder).parts[:-1] if path.is_relative_to(self.folder) else None
        for node in _imports(path.read_bytes()):
            match node:
                case ast.Import(names=names):
                    for alias in names:
                        yield from self._files(self.inside(alias.name), [])
                case ast.ImportFrom(module=module, names=names, level=0):
                    yield from self._files(self.inside(module or ""), [alias.name for alias in names])
                case ast.ImportFrom(module=module, names=names, level=level) if package is not None:
                    base = [*package[: len(package) - level + 1], *((module or "").split(".") if module else [])]
                    yield from self._files(".".join(base), [alias.name for alias in names])

    def _files(self, name: str | None, taken: list[str]) -> Iterator[Path]:
        """Files that `from name import taken` reads: submodules by themselves, the module's own file if a name comes from it."""
        if name is None:
            return
        submodules = {each: self.file(f"{name}.{each}" if name else each) for each in taken}
        yield from (path for path in submodules.values() if path is not None)
        own = self.file(name)
        if own is not None and (not taken or None in submodules.values()):
            yield own


@lru_cache(maxsize=512)
def _kept_imported(tree: SourceTree, path: Path, source: bytes) -> tuple[Path, ...]:
    del source  # what the result depends on, as the tree's files don't come and go
    return tuple(tree._reading(path))  # noqa: SLF001  a part of the tree that is cached


@lru_cache(maxsize=512)
def _imports(source: bytes) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The import statements of a source, wherever they stand; parsed once, because every operator leads to the same few files."""
    return tuple(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom))
