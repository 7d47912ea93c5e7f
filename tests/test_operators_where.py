"""Conditions over columns: what they mean, what nulls do, and what a wrong one says."""

from __future__ import annotations

import ast
import operator as op
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS, real_documents
from pydantic import ValidationError

from operators.base import OperatorError
from operators.where import FilterWhere

BATCH = pa.record_batch(
    {
        "text": ["Hello my friend", None, "Guten  Tag\u3000x\x0by"],
        "s": pa.array([0.7, 0.9, None], pa.float32()),
        "n": pa.array([1, 2, None], pa.int16()),
        "u": pa.array([2**64 - 1, 5, None], pa.uint64()),
        "big": pa.array([2**60 + 1, 2**60, 0]),
        "money": pa.array([1, 2, None], pa.int64()).cast(pa.decimal128(21, 1)),
        "m": [{"lang": "en", "in": {"x": 1}}, None, {"lang": None, "in": None}],
        "d": pa.array(["x", "y", None]).dictionary_encode(),
        "t": pa.array([datetime(2024, 1, 1, tzinfo=UTC), None, datetime(2025, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        "day": pa.array([date(2024, 1, 1), None, date(2025, 1, 1)]),
        "z": pa.nulls(3),
        "odd name": [True, False, None],
        "flag": [True, False, None],
        "tags": [["a", "b"], [], None],
    }
)
YES, NO, UNKNOWN = None, "not_met", "unknown"


def reasons(where: str, batch: pa.RecordBatch = BATCH) -> list[str | None]:
    return FilterWhere(where=where).open(ASSETS)(batch).reasons.to_pylist()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("s > 0.7", [NO, YES, UNKNOWN]),  # the float32 next to 0.7 is below it
        ("n in (1, 5)", [YES, NO, UNKNOWN]),
        ("n not in [1, 2.5]", [NO, YES, UNKNOWN]),
        ("-1 < n < 2", [YES, NO, UNKNOWN]),
        ("not n < 2", [NO, YES, UNKNOWN]),
        ("n == 2 or s > 0.6", [YES, YES, UNKNOWN]),
        ("n == 2 and s > 0.6", [NO, YES, UNKNOWN]),
        ("n is None or s is not None", [YES, YES, YES]),
        ("n is null", [NO, NO, YES]),
        ("u > -1", [YES, YES, UNKNOWN]),
        ("u == 18446744073709551615", [YES, NO, UNKNOWN]),
        ("u in (18446744073709551615, 3)", [YES, NO, UNKNOWN]),
        ("u > n", [YES, YES, UNKNOWN]),
        ("big == 1152921504606846977", [YES, NO, NO]),
        ("big > 1.5", [YES, YES, NO]),
        ("money >= 1.5", [NO, YES, UNKNOWN]),
        ("m.lang == 'en'", [YES, UNKNOWN, UNKNOWN]),
        ("column('m').lang is None", [NO, YES, YES]),
        ("d in ('x', 'q')", [YES, NO, UNKNOWN]),
        ("d == 'x'", [YES, NO, UNKNOWN]),
        ("t >= '2024-06-01'", [NO, UNKNOWN, YES]),
        ("t == '2024-01-01T01:00:00+01:00'", [YES, UNKNOWN, NO]),
        ("'2024-06-01' > day", [YES, UNKNOWN, NO]),
        ("z > 5 or z == 'a' or z", [UNKNOWN] * 3),
        ("column('odd name')", [YES, NO, UNKNOWN]),
        ("flag and not column('odd name')", [NO, NO, UNKNOWN]),
        ("length(tags) == 2", [YES, NO, UNKNOWN]),
        ("length(text) == 15 and bytes(text) > 14", [YES, UNKNOWN, NO]),
        ("words(text) == 4", [NO, UNKNOWN, YES]),
        ("matches(lower(text), '^gut|my')", [YES, UNKNOWN, YES]),
        ("starts_with(text, 'H') and ends_with(text, 'd')", [YES, UNKNOWN, NO]),
        ("contains(text, 'Tag') or true", [YES, YES, YES]),
        ("coalesce(s, n, 0) > 0.8", [NO, YES, NO]),
        ("coalesce(d, 'none') != 'x'", [NO, YES, YES]),
        ("n + 1 == 2 and n * 2 - 1 == 1", [YES, NO, UNKNOWN]),
        ("n / 0 > 1", [UNKNOWN] * 3),
        ("1 / n < 1", [NO, YES, UNKNOWN]),
        ("abs(-n) == 2", [NO, YES, UNKNOWN]),
        ("-big < 0", [YES, YES, NO]),
        ("n >\n  1", [NO, YES, UNKNOWN]),
        ("true", [YES] * 3),
        ("null", [UNKNOWN] * 3),
        ("'a' < 'b'", [YES] * 3),
    ],
)
def test_means_what_it_says(where, expected):
    """True keeps, false and unknown drop, each under its own reason; an empty batch has no reasons."""
    assert reasons(where) == expected
    assert reasons(where, BATCH.slice(0, 0)) == []
    assert reasons(where, BATCH.slice(1)) == expected[1:]


COMPARE = {ast.Lt: op.lt, ast.LtE: op.le, ast.Gt: op.gt, ast.GtE: op.ge, ast.Eq: op.eq, ast.NotEq: op.ne}


def three_valued(tree: ast.expr, row: dict[str, int | None]) -> bool | None:
    """The meaning of a condition by the rules of SQL, written down a second time."""
    match tree:
        case ast.BoolOp(op=ast.And(), values=values):
            found = [three_valued(value, row) for value in values]
            return False if False in found else None if None in found else True
        case ast.BoolOp(op=ast.Or(), values=values):
            found = [three_valued(value, row) for value in values]
            return True if True in found else None if None in found else False
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            found = three_valued(operand, row)
            return None if found is None else not found
        case ast.Compare(left=ast.Name(id=left), ops=[compare], comparators=[ast.Constant(value=right)]):
            return None if row[left] is None else COMPARE[type(compare)](row[left], right)
    raise AssertionError(ast.dump(tree))


LEAVES = st.builds("{} {} {}".format, st.sampled_from("ab"), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.integers(0, 3))
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds("({} and {})".format, inner, inner) | st.builds("({} or {})".format, inner, inner) | st.builds("(not {})".format, inner)
    ),
)


@settings(deadline=None)
@given(CONDITIONS, st.lists(st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(0, 3)), min_size=1, max_size=8))
def test_logic_is_that_of_sql(where, rows):
    """Any nesting of and, or, not over nulls has the meaning that three-valued logic gives it."""
    batch = pa.record_batch({"a": pa.array([a for a, _ in rows], pa.int64()), "b": pa.array([b for _, b in rows], pa.int64())})
    tree = ast.parse(where, mode="eval").body
    expected = [{True: YES, False: NO, None: UNKNOWN}[three_valued(tree, {"a": a, "b": b})] for a, b in rows]
    assert reasons(where, batch) == expected


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("lenght(text) > 1", r"at character 1: .*did you mean length\(\)"),
        ("n > 1 and foo(n)", r"at character 11: .*no known function"),
        ("n ==", "at character 5"),
        ("(n > 1", "never closed|cannot be read"),
        ("a) or (b", "at character 2|cannot be read"),
        ("n == None", "use 'is None'"),
        ("n is 5", "compare with =="),
        ("n > 1 # note", "at character 7: a comment"),
        ("n in 5", r"contains\(\)"),
        ("n in []", "not a list of values"),
        ("n in [None]", "stands in a list"),
        ("n in [x]", "stands in a list"),
        ("length(text, 1) > 1", "takes 1"),
        ("contains(text) > 1", "takes 2"),
        ("contains(text, d)", "quoted string"),
        ("column(d)", "quoted string"),
        ("matches(text, '(')", "RE2"),
        ("__import__('os').system('x')", "not part of the language"),
        ("[x for x in y]", "not part of the language"),
        ("(lambda: 1)()", "not part of the language"),
        ("f'{n}' == 'a'", "not part of the language"),
        ("n ** 2 > 1", "not part of the language"),
        ("n := 1", "at character"),
        ("s > 99999999999999999999999", "not a value"),
        ("text == '\\ud800'", "not a value"),
        ("text == b'a'", "no number, string"),
        ("-" * 200 + "n > 0", "nested"),
        ("(" * 3000 + "n > 0" + ")" * 3000, "cannot be read|at character"),
        ("\u00e9 > 1 and foo(n)", "at character 11"),
    ],
)
def test_what_is_no_condition_is_refused_before_a_run(where, message):
    """The error says where it goes wrong and what would be right."""
    with pytest.raises(ValidationError, match=message):
        FilterWhere(where=where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("txt == 'a'", "no column 'txt'; did you mean 'text'"),
        ("n == 'a'", "int16 with string"),
        ("n in ('a', 1)", "int16 with string"),
        ("n", "not a condition"),
        ("n and s > 1", "'n' is int16; expected a boolean"),
        ("flag > 1", "bool with int64"),
        ("m.foo == 1", "no field 'foo'; the fields are: lang, in"),
        ("m.lnag == 1", "no field 'lnag'; did you mean 'lang'?"),
        ("n.foo == 1", "which has no fields"),
        ("lower(n) == 'a'", "expected a string"),
        ("text + 1 > 2", "expected a number"),
        ("t > 'yesterday'", "compare"),
        ("tags == 'a'", "compare"),
        ("coalesce(s, 'a') == 'a'", "one kind"),
    ],
)
def test_what_does_not_fit_the_columns_shows_at_the_first_batch(where, message):
    """An empty batch is enough to find out, but for a string that is no date."""
    with pytest.raises(OperatorError, match=message):
        reasons(where)
    with pytest.raises(OperatorError, match=message):
        reasons(where, BATCH.slice(0, 0))


def test_words_and_length_agree_with_python():
    """On real documents in many languages words() is len(split()) and length() is len()."""
    batch = real_documents("multi-lid-00000", "edge-00000", limit=400)
    for row in range(batch.num_rows):
        text = batch.column("text")[row].as_py()
        if text is not None:
            one = batch.slice(row, 1)
            assert reasons(f"words(text) == {len(text.split())} and length(text) == {len(text)}", one) == [YES]
