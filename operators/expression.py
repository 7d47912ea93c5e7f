"""A small language of conditions over columns, read with Python's `ast` and evaluated a batch at a time with Arrow's compute functions.

Owns grammar, types and nulls. A null is unknown, as in SQL: it spreads through comparisons and arithmetic, `and` and `or` see past it where
the other side decides, and `is None` asks for it. Nothing of Python is ever executed.
"""

from __future__ import annotations

import ast
import difflib
import io
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from operators.base import OperatorError, column_of
from operators.characters import WHITE_SPACE

Value = Any  # pa.Array, or pa.Scalar where the expression names no column
Node = Callable[[pa.RecordBatch], Value]
Kind = Literal["number", "boolean", "string", "time", "list", "null", "other"]

MAX_DEPTH = 60
MAX_INT64 = 2**63 - 1
NOT_SPACE = f"[^{WHITE_SPACE}]+"
CONSTANTS = {"true": True, "false": False, "null": None}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
ARITHMETIC: dict[type[ast.operator], str] = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}


class ExpressionError(ValueError):
    """An expression is not of the language; the message says where."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language: the kinds of its arguments, and what computes it. `literal` arguments are quoted strings."""

    arguments: tuple[Literal["string", "number", "sized", "any", "literal"], ...]
    compute: Callable[..., Value]
    more: bool = False


FUNCTIONS: dict[str, Function] = {
    "abs": Function(("number",), pc.abs),
    "bytes": Function(("string",), pc.binary_length),
    "coalesce": Function(("any", "any"), lambda *values: pc.coalesce(*_alike(values)), more=True),
    "contains": Function(("string", "literal"), pc.match_substring),
    "ends_with": Function(("string", "literal"), pc.ends_with),
    "length": Function(("sized",), lambda values: pc.list_value_length(values) if _kind(values) == "list" else pc.utf8_length(values)),
    "lower": Function(("string",), pc.utf8_lower),
    "matches": Function(("string", "literal"), pc.match_substring_regex),
    "starts_with": Function(("string", "literal"), pc.starts_with),
    "words": Function(("string",), lambda text: pc.count_substring_regex(text, NOT_SPACE)),
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition that was understood; call it with a batch for a boolean array, null where unknown.

    Attributes:
        columns: That it looks at, each once; all that a batch must have.
    """

    source: str
    evaluate: Node
    columns: tuple[str, ...] = ()

    def __call__(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Evaluate over a batch.

        Raises:
            OperatorError: A column is missing, or its type does not fit.
        """
        result = self.evaluate(batch)
        if isinstance(result, pa.Scalar):
            result = pa.repeat(result, batch.num_rows)
        if pa.types.is_null(result.type):
            return pc.cast(result, pa.bool_())
        if not pa.types.is_boolean(result.type):
            raise OperatorError(f"{self.source!r} is a value of type {result.type}, not a condition; compare it with something")
        return result


def parse(source: str) -> Expression:
    """Read an expression.

    Raises:
        ExpressionError: It is not of the language.
    """
    # One line, so that a position is one number; strings cannot span lines anyway.
    line = source.strip().replace("\r", " ").replace("\n", " ")
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(line).readline))
        tree = ast.parse(line, mode="eval")
    except SyntaxError as error:
        at = error.offset or len(line) + 1
        raise ExpressionError(f"at character {at}: {error.msg}; it should read like: language == 'en' and length(text) > 9") from None
    except (tokenize.TokenError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"cannot be read ({error}); close every bracket and quote, and keep it short") from None
    for token in tokens:
        if token.type == tokenize.COMMENT:
            raise ExpressionError(f"at character {token.start[1] + 1}: a comment would hide the rest of the condition; leave it out")
    return Expression(line, _Reader(line).node(tree.body, 0), tuple(dict.fromkeys(_columns(tree.body))))


def _columns(tree: ast.expr) -> Iterator[str]:
    """Columns that an expression of the language names."""
    match tree:
        case ast.Name(id=name):
            if name not in CONSTANTS:
                yield name
        case ast.Call(func=ast.Name(id="column"), args=[ast.Constant(value=str(name))]):
            yield name
        case ast.Call(args=arguments):
            for argument in arguments:
                yield from _columns(argument)
        case _:
            for child in ast.iter_child_nodes(tree):
                if isinstance(child, ast.expr):
                    yield from _columns(child)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns syntax into functions of a batch."""

    line: str

    def node(self, tree: ast.expr, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.error(tree, f"is nested more than {MAX_DEPTH} deep; simplify it")
        match tree:
            case ast.Constant(value=value):
                return self.constant(tree, value)
            case ast.Name(id=name):
                if name in CONSTANTS:
                    return self.constant(tree, CONSTANTS[name])
                return lambda batch: column_of(batch, name)
            case ast.Attribute(value=parent, attr=field):
                return self.field(tree, self.node(parent, depth + 1), field)
            case ast.BoolOp(op=op, values=values):
                return self.logic("and_kleene" if isinstance(op, ast.And) else "or_kleene", depth, values)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                negated = self.condition(operand, depth + 1)
                return lambda batch: pc.invert(negated(batch))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                return self.sign(operand, depth, negative=isinstance(op, ast.USub))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                return self.arithmetic(ARITHMETIC[type(op)], self.number(left, depth + 1), self.number(right, depth + 1))
            case ast.Compare():
                return self.comparisons(tree, depth)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self.call(tree, name, arguments, depth)
        raise self.error(tree, "is not part of the language; it has comparisons, and, or, not, in, is None, + - * / and functions")

    def error(self, tree: ast.expr, message: str) -> ExpressionError:
        at = len(self.line.encode()[: tree.col_offset].decode()) + 1
        return ExpressionError(f"at character {at}: {self.shown(tree)} {message}")

    def shown(self, tree: ast.expr) -> str:
        text = ast.get_source_segment(self.line, tree) or ""
        return f"'{text if len(text) <= 60 else text[:57] + '…'}'"

    def constant(self, tree: ast.expr, value: object) -> Node:
        if value is not None and not isinstance(value, bool | int | float | str):
            raise self.error(tree, "is no number, string, true, false or null")
        try:
            scalar = _scalar(value)
        except (OverflowError, pa.ArrowException, UnicodeEncodeError):
            raise self.error(tree, "is not a value that a column can hold") from None
        return lambda _: scalar

    def field(self, tree: ast.expr, parent: Node, field: str) -> Node:
        def get(batch: pa.RecordBatch) -> Value:
            values = parent(batch)
            if not pa.types.is_struct(values.type):
                raise OperatorError(f"{self.shown(tree)}: {field!r} is asked of a value of type {values.type}, which has no fields")
            names = [each.name for each in values.type]
            if field not in names:
                near = difflib.get_close_matches(field, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the fields are: {', '.join(names)}"
                raise OperatorError(f"{self.shown(tree)}: there is no field {field!r}; {hint}")
            return pc.struct_field(values, field)

        return get

    def condition(self, tree: ast.expr, depth: int) -> Node:
        return self.of_kind(tree, self.node(tree, depth), "boolean")

    def number(self, tree: ast.expr, depth: int) -> Node:
        return self.of_kind(tree, self.node(tree, depth), "number")

    def of_kind(self, tree: ast.expr, value: Node, wanted: Kind) -> Node:
        """The value, if at run time it is what is wanted; nulls without a type become typed ones."""
        empty = {"boolean": pa.bool_(), "number": pa.float64(), "string": pa.large_string()}[wanted]

        def check(batch: pa.RecordBatch) -> Value:
            found = _decoded(value(batch))
            kind = _kind(found)
            if kind == "null":
                return pc.cast(found, empty)
            if kind != wanted:
                raise OperatorError(f"{self.shown(tree)} is {found.type}; expected a {wanted}")
            return pc.cast(found, pa.large_string()) if wanted == "string" else found

        return check

    def logic(self, function: str, depth: int, values: list[ast.expr]) -> Node:
        sides = [self.condition(value, depth + 1) for value in values]

        def combine(batch: pa.RecordBatch) -> Value:
            result = sides[0](batch)
            for side in sides[1:]:
                result = pc.call_function(function, [result, side(batch)])
            return result

        return combine

    def sign(self, operand: ast.expr, depth: int, *, negative: bool) -> Node:
        value = self.number(operand, depth + 1)
        if isinstance(operand, ast.Constant):  # -5 stays the integer that it is written as
            return lambda batch: pa.scalar(-value(batch).as_py() if negative else value(batch).as_py())
        return lambda batch: pc.multiply(pc.cast(value(batch), pa.float64(), safe=False), -1.0 if negative else 1.0)

    def arithmetic(self, function: str, left: Node, right: Node) -> Node:
        """In float64, so that nothing overflows; what is divided by zero is unknown."""

        def compute(batch: pa.RecordBatch) -> Value:
            first, second = (pc.cast(side(batch), pa.float64(), safe=False) for side in (left, right))
            if function == "divide":
                second = pc.if_else(pc.equal(second, 0.0), pa.scalar(None, pa.float64()), second)
            return pc.call_function(function, [first, second])

        return compute

    def comparisons(self, tree: ast.Compare, depth: int) -> Node:
        sides = [tree.left, *tree.comparators]
        pairs = [self.comparison(tree, op, sides[i], sides[i + 1], depth + 1) for i, op in enumerate(tree.ops)]

        def compute(batch: pa.RecordBatch) -> Value:
            result = pairs[0](batch)
            for pair in pairs[1:]:
                result = pc.and_kleene(result, pair(batch))
            return result

        return compute

    def comparison(self, tree: ast.expr, op: ast.cmpop, left: ast.expr, right: ast.expr, depth: int) -> Node:
        value = self.node(left, depth)
        is_none = (isinstance(right, ast.Constant) and right.value is None) or (isinstance(right, ast.Name) and right.id == "null")
        match op:
            case ast.Is() | ast.IsNot():
                if not is_none:
                    raise self.error(tree, "uses 'is'; it asks for None only, compare with == instead")
                wanted = "is_null" if isinstance(op, ast.Is) else "is_valid"
                return lambda batch: pc.call_function(wanted, [value(batch)])
            case ast.In() | ast.NotIn():
                return self.membership(tree, value, right, negated=isinstance(op, ast.NotIn))
        if is_none:
            raise self.error(tree, "compares with None, which is always unknown; use 'is None' or 'is not None'")
        other, function = self.node(right, depth), COMPARISONS[type(op)]
        return lambda batch: self.compared(tree, function, value(batch), other(batch))

    def membership(self, tree: ast.expr, value: Node, right: ast.expr, *, negated: bool) -> Node:
        if not isinstance(right, ast.Tuple | ast.List | ast.Set) or not right.elts:
            raise self.error(right, "is not a list of values, as in ('a', 'b'); for a part of a text use contains()")
        constants = [self.listed(element) for element in right.elts]

        def compute(batch: pa.RecordBatch) -> Value:
            values = _decoded(value(batch))
            if _kind(values) == "string" and all(isinstance(each, str) for each in constants) and isinstance(values, pa.Array):
                texts = pc.cast(values, pa.large_string())
                found = pc.if_else(pc.is_valid(texts), pc.is_in(texts, pa.array(constants, pa.large_string())), pa.scalar(None, pa.bool_()))
            else:
                found = pa.scalar(False)
                for constant in constants:
                    found = pc.or_kleene(found, self.compared(tree, "equal", values, _scalar(constant)))
            return pc.invert(found) if negated else found

        return compute

    def listed(self, element: ast.expr) -> object:
        try:
            value = ast.literal_eval(element)
        except ValueError:
            value = CONSTANTS.get(element.id) if isinstance(element, ast.Name) else None
        if value is None:
            raise self.error(element, "stands in a list; a list holds numbers, strings, true and false")
        self.constant(element, value)
        return value

    def compared(self, tree: ast.expr, function: str, left: Value, right: Value) -> Value:
        left, right = _decoded(left), _decoded(right)
        try:
            left, right = _comparable(left, right)
            return pc.call_function(function, [left, right])
        except (pa.ArrowException, TypeError):
            raise OperatorError(f"{self.shown(tree)} compares {left.type} with {right.type}; compare values of one kind") from None

    def call(self, tree: ast.expr, name: str, arguments: list[ast.expr], depth: int) -> Node:
        if name == "column":
            column = self.literal(tree, arguments[0] if len(arguments) == 1 else tree)
            return lambda batch: column_of(batch, column)
        function = FUNCTIONS.get(name)
        if function is None:
            known = [*FUNCTIONS, "column"]
            near = difflib.get_close_matches(name, known, n=1)
            raise self.error(tree, f"calls no known function; {f'did you mean {near[0]}()?' if near else 'there are: ' + ', '.join(known)}")
        count = len(function.arguments)
        if len(arguments) < count or (len(arguments) > count and not function.more):
            raise self.error(tree, f"has {len(arguments)} arguments; {name}() takes {count}{' or more' if function.more else ''}")
        kinds = function.arguments + function.arguments[-1:] * (len(arguments) - count)
        values = [self.argument(tree, kind, each, depth) for kind, each in zip(kinds, arguments, strict=True)]
        if name == "matches":
            self.check_pattern(arguments[1], self.literal(tree, arguments[1]))

        def compute(batch: pa.RecordBatch) -> Value:
            try:
                return function.compute(*(value(batch) if callable(value) else value for value in values))
            except (pa.ArrowException, TypeError) as error:
                raise OperatorError(f"{self.shown(tree)}: {str(error)[:150]}") from None

        return compute

    def argument(self, tree: ast.expr, kind: str, argument: ast.expr, depth: int) -> Node | str:
        if kind == "literal":
            return self.literal(tree, argument)
        value = self.node(argument, depth + 1)
        if kind == "string":
            return self.of_kind(argument, value, "string")
        if kind == "number":
            return self.of_kind(argument, value, "number")
        if kind == "sized":
            text = self.of_kind(argument, value, "string")
            return lambda batch: found if _kind(found := value(batch)) == "list" else text(batch)
        return value

    def literal(self, tree: ast.expr, argument: ast.expr) -> str:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            return argument.value
        raise self.error(tree, f"needs a quoted string where it has {self.shown(argument)}")

    def check_pattern(self, tree: ast.expr, pattern: str) -> None:
        try:
            pc.match_substring_regex(pa.array([""]), pattern)
        except pa.ArrowInvalid as error:
            raise self.error(tree, f"is not a regular expression that RE2 reads ({str(error)[:120]})") from None


def _scalar(value: object) -> pa.Scalar:
    return pa.scalar(value, pa.uint64()) if type(value) is int and value > MAX_INT64 else pa.scalar(value)


def _decoded(values: Value) -> Value:
    return pc.cast(values, values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _kind(values: Value) -> Kind:
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "list"
    if pa.types.is_temporal(kind):
        return "time"
    return "null" if pa.types.is_null(kind) else "other"


def _comparable(left: Value, right: Value) -> tuple[Value, Value]:
    """Both sides in a type in which comparing them is exact.

    Raises:
        TypeError: They are of different kinds.
        ArrowException: A string is not the time that it is compared with.
    """
    kinds = (_kind(left), _kind(right))
    match kinds:
        case ("null", _):
            return pc.cast(left, right.type), right
        case (_, "null"):
            return left, pc.cast(right, left.type)
        case ("string", "string"):
            return pc.cast(left, pa.large_string()), pc.cast(right, pa.large_string())
        case ("time", "string"):
            return left, _as_time(right, left.type)
        case ("string", "time"):
            return _as_time(left, right.type), right
    if kinds[0] != kinds[1] or kinds[0] in ("list", "other"):
        raise TypeError
    if pa.types.is_integer(left.type) and pa.types.is_integer(right.type) and pa.uint64() in (left.type, right.type):
        wide = pa.decimal128(20)  # holds every int64 and every uint64
        return pc.cast(left, wide), pc.cast(right, wide)
    if kinds[0] == "number" and (pa.types.is_floating(left.type) or pa.types.is_floating(right.type)):
        return pc.cast(left, pa.float64(), safe=False), pc.cast(right, pa.float64(), safe=False)
    return left, right


def _as_time(texts: Value, kind: pa.DataType) -> Value:
    """ISO dates and times as a type of time; without an offset they are UTC."""
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        return pc.cast(texts, kind)
    try:
        return pc.cast(texts, kind)
    except pa.ArrowInvalid:
        return pc.cast(pc.cast(texts, pa.timestamp(kind.unit)), kind)


def _alike(values: tuple[Value, ...]) -> list[Value]:
    """The arguments of coalesce() in one type: numbers of different types become float64."""
    values = tuple(_decoded(value) for value in values)
    kinds = {_kind(value) for value in values} - {"null"}
    if len(kinds) > 1:
        raise TypeError(f"its arguments are {', '.join(str(value.type) for value in values)}; they must be of one kind")
    if kinds == {"string"}:
        return [pc.cast(value, pa.large_string()) for value in values]
    if kinds == {"number"} and len({str(value.type) for value in values}) > 1:
        return [pc.cast(value, pa.float64(), safe=False) for value in values]
    return list(values)
