"""What there is to know about each operator, for `shardmill operators`: all of it read from the classes themselves."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from operators import BY_TYPE
from operators.base import GroupOperator, LearningOperator, Operator, OperatorError
from operators.decision import Signal
from operators.minhash import Curve, MinhashDedup
from operators.quality import Preset, QualityOperator

SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""Where a curve is shown."""
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "max_length": "length ≤"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of an operator.

    Attributes:
        type: Its type as a reader of YAML knows it: `integer`, `list of string or null`, `none | whitespace`.
        default: Its default as JSON has it; None if it is required (or null: see `required`).
        range: The values it may take, such as `≥ 0`; empty if any.
    """

    name: str
    type: str
    required: bool
    default: Any
    range: str
    doc: str


@dataclass(frozen=True, slots=True)
class Buckets:
    """Bands and rows under a name: what finding near-duplicates with them costs, and what it finds.

    Attributes:
        hashes: Of a signature.
        midpoint: The similarity where the curve is steep.
        meets: How probable it is that two documents meet in a bucket, by their similarity.
    """

    bands: int
    rows: int
    hashes: int
    midpoint: float
    meets: Mapping[str, float]
    source: str

    @classmethod
    def of(cls, curve: Curve) -> Self:
        """What there is to say of a curve."""
        meets = {f"{similarity:g}": curve.probability(similarity) for similarity in SIMILARITIES}
        return cls(curve.bands, curve.rows, curve.bands * curve.rows, curve.midpoint, meets, curve.source)


@dataclass(frozen=True, slots=True)
class Description:
    """An operator as its users see it.

    Attributes:
        kind: `batch` (judges or edits each document by itself), `group` (compares documents; ends a stage) or `learn` (learns a file from a
            sample of the documents; ends a stage).
        promise: The first line of its documentation.
        doc: All of it.
        reasons: Reasons under which it drops documents, as far as they are fixed; a quality filter's in the order of its tests.
        signals: What a quality filter measures.
        presets: Its settings under versioned names, with what they set and where that comes from.
        curves: Its bands and rows under names, of an operator that finds near-duplicates.
    """

    type: str
    kind: Literal["batch", "group", "learn"]
    promise: str
    doc: str
    settings: tuple[Setting, ...]
    reasons: tuple[str, ...]
    sources: str
    libraries: tuple[str, ...]
    signals: tuple[Signal, ...] = ()
    presets: Mapping[str, Preset] = field(default_factory=dict)
    curves: Mapping[str, Buckets] = field(default_factory=dict)


def curve_rows(curves: Mapping[str, Buckets]) -> list[tuple[str, ...]]:
    """Curves as a table whose first line is its head: bands and rows, what they cost, and how probable it is that documents meet."""
    heads = ("preset", "bands", "rows", "hashes", "midpoint", *(f"at {similarity:g}" for similarity in SIMILARITIES))
    return [heads, *((name, *_numbers(curve)) for name, curve in curves.items())]


def _numbers(curve: Buckets) -> Iterator[str]:
    yield from (str(curve.bands), str(curve.rows), str(curve.hashes), f"{curve.midpoint:.2f}")
    for meets in curve.meets.values():
        yield "> 0.999" if meets > 0.999 else "< 0.001" if meets < 0.001 else f"{meets:.3f}"


def describe(operator_type: str) -> Description:
    """Everything about one operator, by its `type`.

    Raises:
        OperatorError: There is none of that type; the message names the nearest.
    """
    cls = BY_TYPE.get(operator_type)
    if cls is None:
        near = difflib.get_close_matches(operator_type, BY_TYPE, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(BY_TYPE)}"
        raise OperatorError(f"no operator is called {operator_type!r}; {hint}")
    return describe_class(operator_type, cls)


def describe_all() -> list[Description]:
    """Every operator, in alphabetical order of types."""
    return [describe(operator_type) for operator_type in BY_TYPE]


def describe_class(operator_type: str, cls: type[Operator]) -> Description:
    """Everything about an operator's class, a custom one too."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    shown = [name for name in cls.model_fields if name not in ("type", "name")]
    return Description(
        type=operator_type,
        kind="group" if issubclass(cls, GroupOperator) else "learn" if issubclass(cls, LearningOperator) else "batch",
        promise=doc.partition("\n")[0],
        doc=doc,
        settings=tuple(setting for name in [*shown, "name"] for setting in _settings(name, cls.model_fields[name])),
        reasons=cls.REASONS if issubclass(cls, QualityOperator) else _reasons(cls, doc),
        sources=cls.sources,
        libraries=cls.libraries,
        signals=cls.SIGNALS if issubclass(cls, QualityOperator) else (),
        presets=cls.PRESETS if issubclass(cls, QualityOperator) else {},
        curves={name: Buckets.of(curve) for name, curve in cls.CURVES.items()} if issubclass(cls, MinhashDedup) else {},
    )


def _settings(name: str, declared: FieldInfo) -> list[Setting]:
    """A setting, and behind it, as `name.part`, those that it is made of."""
    found = [_setting(name, declared)]
    for part in (declared.annotation, *get_args(declared.annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            found += [_setting(f"{name}.{inner}", field) for inner, field in part.model_fields.items()]
    return found


def _setting(name: str, declared: FieldInfo) -> Setting:
    default = declared.get_default(call_default_factory=True) if not declared.is_required() else None
    return Setting(
        name=declared.alias or name,
        type=type_name(declared.annotation),
        required=declared.is_required(),
        default=None if default is PydanticUndefined else to_jsonable_python(default),
        range=", ".join(
            f"{BOUNDS[bound]} {getattr(rule, bound)}" for rule in declared.metadata for bound in BOUNDS if hasattr(rule, bound)
        ),
        doc=declared.description or "",
    )


def type_name(annotation: Any) -> str:
    """A type as a reader of YAML knows it."""
    plain = {int: "integer", float: "number", str: "string", bool: "boolean", NoneType: "null", Any: "any value"}
    if annotation in plain:
        return plain[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    if origin is Annotated:
        return type_name(arguments[0])
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(type_name(argument) for argument in arguments)
    if origin in (list, tuple, set, frozenset):
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return f"mapping of {type_name(arguments[0])} to {type_name(arguments[1])}"
    return getattr(annotation, "__name__", str(annotation))


def _reasons(cls: type[Operator], doc: str) -> tuple[str, ...]:
    """The words in backquotes of the documentation's paragraph on drop reasons, but for settings that it speaks of."""
    paragraph = re.search(r"^Drop reasons?: (.*?)(?:\n\n|\Z)", doc, re.DOTALL | re.MULTILINE)
    words = [] if paragraph is None else re.findall(r"`([a-z0-9_]+)`", paragraph[1])
    return tuple(word for word in words if word not in cls.model_fields)
