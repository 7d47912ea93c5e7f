"""Operators that a pipeline brings along: `type: my_module:MyOperator`, a class imported from the folder of the pipeline file.

Owns how such a class is found, checked and made to survive pickling, and says which source files decide what an operator does.
"""

from __future__ import annotations

import builtins
import difflib
import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

from pydantic import create_model

from operators.base import Operator, OperatorError
from operators.sources import SourceTree

SPEC = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<cls>[A-Za-z_]\w*)")
PREFIX = "_shardmill_custom_"
_LOADED: dict[tuple[str, str], type[Operator]] = {}
OWN = SourceTree(Path(__file__).resolve().parent, "operators")


class CustomOperator(Operator):
    """What every loaded custom operator also is: it remembers where it came from, so that it survives pickling.

    Class attributes:
        custom_spec: `module:Class` as the pipeline names it.
        custom_folder: The folder that the module was imported from.
    """

    custom_spec: ClassVar[str] = ""
    custom_folder: ClassVar[Path] = Path()

    def __reduce__(self) -> tuple[Callable[..., Operator], tuple[str, str, dict[str, Any]]]:
        return _rebuild, (self.custom_spec, str(self.custom_folder), self.model_dump())


def is_custom(operator_type: str) -> bool:
    """Whether a `type` names a class of the pipeline's own folder, `module:Class`."""
    return ":" in operator_type


def load_custom(spec: str, folder: Path) -> type[Operator]:
    """Import the operator `module:Class` from the pipeline's folder; its `type` is the spec itself.

    The module's name in `sys.modules` is made from the folder and from the content of the files that it imports there, so that two
    pipelines may each have a `my_module`, and an edited one is read again. It may import its neighbours as `from . import x` or as
    `import x`; installed modules come first. Loading the same spec again, in any process, gives a class with the same settings.

    Raises:
        OperatorError: The spec is malformed, the module or class is missing or fails to import, or is not an operator.
    """
    match = SPEC.fullmatch(spec)
    if match is None:
        raise OperatorError(f"{spec!r} does not name an operator; write `module:Class`, as in `my_module:MyOperator`")
    folder = folder.resolve()
    module = _import(spec, match["module"], folder)
    known = _LOADED.get((spec, module.__name__))
    if known is None:
        known = _LOADED[spec, module.__name__] = _loaded(spec, folder, _class_of(spec, module, match["cls"]))
    return known


def _loaded(spec: str, folder: Path, written: type[Operator]) -> type[CustomOperator]:
    make: Any = create_model  # the types of its arguments are only known when it runs
    made: type[CustomOperator] = make(
        written.__name__,
        __base__=(CustomOperator, written),
        __module__=written.__module__,
        __doc__=written.__doc__,
        type=(Literal[spec], spec),
    )
    made.custom_spec, made.custom_folder = spec, folder
    return made


def source_files(operator_cls: type[Operator]) -> list[Path]:
    """Every source file whose content decides what the operator does, sorted: modules of `operators` and of a custom operator's folder."""
    found: set[Path] = set()
    for cls in operator_cls.__mro__:
        module = sys.modules.get(cls.__module__)
        file = getattr(module, "__file__", None)
        if file is None or cls is CustomOperator:
            continue
        path = Path(file).resolve()
        if (
            issubclass(operator_cls, CustomOperator)
            and path.is_relative_to(operator_cls.custom_folder)
            and not path.is_relative_to(OWN.folder)
        ):
            found |= SourceTree(operator_cls.custom_folder).closure(path)
        elif path.is_relative_to(OWN.folder):
            found.add(path)
    # The user's modules may build on kernels or operators of ours, and ours on each other.
    return sorted(found.union(*(OWN.closure(path) for path in found)))


def _rebuild(spec: str, folder: str, settings: dict[str, Any]) -> Operator:
    return load_custom(spec, Path(folder)).model_validate(settings)


def _import(spec: str, name: str, folder: Path) -> ModuleType:
    tree = SourceTree(folder)
    path = tree.file(name)
    if path is None:
        near = difflib.get_close_matches(name, sorted(each.stem for each in folder.glob("*.py")), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "put the module beside the pipeline file"
        raise OperatorError(f"{spec}: there is no module {name!r} in {folder}; {hint}")
    try:
        content = b"\0".join(str(each).encode() + b"\0" + each.read_bytes() for each in sorted(tree.closure(path)))
        package = PREFIX + hashlib.sha256(str(folder).encode() + b"\0" + content).hexdigest()[:16]
        if package not in sys.modules:
            sys.modules[package] = _package(package, folder)
        return importlib.import_module(f"{package}.{name}")
    except Exception as error:
        found = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise OperatorError(f"{spec}: {path} cannot be imported: {found}; make it import by itself first") from error


def _package(package: str, folder: Path) -> ModuleType:
    """A package without a file of its own whose modules are the folder's."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    module = ModuleType(package, f"Modules of {folder}.")
    module.__path__ = [str(folder)]
    return module


class _Finder(PathFinder):
    """Finds the modules of custom folders, and gives them a loader that lets them import their neighbours."""

    @classmethod
    def find_spec(cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not fullname.startswith(PREFIX):
            return None
        spec = super().find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Executes a module whose `import x` finds the neighbour `x`, without any entry in `sys.path` that others would see."""

    def exec_module(self, module: ModuleType) -> None:
        package = module.__name__.partition(".")[0]
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import_beside(package)}
        super().exec_module(module)

    def get_code(self, fullname: str) -> Any:  # noqa: ARG002 -- the loader's protocol
        # Never from a bytecode file: those are told stale by a time in whole seconds.
        return self.source_to_code(self.get_data(self.path), self.path)


def _import_beside(package: str) -> Callable[..., ModuleType]:
    tree = SourceTree(Path(sys.modules[package].__path__[0]))

    def import_(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 -- the signature of __import__
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or not tree.is_neighbour(top):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        leaf = importlib.import_module(f"{package}.{name}")
        if not fromlist:
            return sys.modules[f"{package}.{top}"]
        for each in fromlist:
            if not hasattr(leaf, each) and tree.file(f"{name}.{each}") is not None:
                importlib.import_module(f"{package}.{name}.{each}")
        return leaf

    return import_


def _class_of(spec: str, module: ModuleType, name: str) -> type[Operator]:
    classes = {key: value for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, Operator)}
    found = getattr(module, name, None)
    if found is None:
        own = [key for key, value in classes.items() if value.__module__ == module.__name__]
        near = difflib.get_close_matches(name, own, n=1) or own[:1]
        hint = f"did you mean {near[0]!r}?" if near else "it defines no operator"
        raise OperatorError(f"{spec}: {module.__file__} has no class {name!r}; {hint}")
    if name not in classes:
        raise OperatorError(
            f"{spec}: {name} in {module.__file__} is not an operator; derive it from BatchOperator, GroupOperator or LearningOperator "
            "of operators.base"
        )
    if missing := sorted(classes[name].__abstractmethods__):
        raise OperatorError(f"{spec}: {name} in {module.__file__} does not define {', '.join(missing)}(), which an operator needs")
    return classes[name]
