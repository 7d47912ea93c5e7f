"""Rows as mappings over columns."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.rows import LazyColumns, RowMetadata

KEYS = st.sampled_from("abcd")
ACTIONS = st.lists(st.tuples(st.sampled_from(["set", "delete", "pop", "get", "default", "update"]), KEYS, st.integers()), max_size=20)


@settings(deadline=None)
@given(ACTIONS)
def test_behaves_as_the_dictionary_of_its_row(actions):
    """Whatever is done to it, it reads as a plain dictionary would, and its neighbours do not notice."""
    columns = LazyColumns({"a": pa.array([0, 1]), "b": pa.array([None, "x"])})
    row, model = RowMetadata(columns, 1), {"a": 1, "b": "x"}
    for action, key, value in actions:
        match action:
            case "set":
                row[key] = model[key] = value
            case "delete" if key in model:
                del row[key], model[key]
            case "pop":
                assert row.pop(key, None) == model.pop(key, None)
            case "get":
                assert row.get(key, 7) == model.get(key, 7)
            case "default":
                assert row.setdefault(key, value) == model.setdefault(key, value)
            case "update":
                row.update({key: value})
                model.update({key: value})
        assert dict(row) == model
        assert (len(row), key in row, row | {"e": 1}) == (len(model), key in model, model | {"e": 1})
    assert dict(RowMetadata(columns, 0)) == {"a": 0, "b": None}


def test_columns_that_nobody_reads_are_not_converted():
    """Only what is asked for becomes Python values."""
    columns = LazyColumns({"a": pa.array([0, 1]), "b": pa.array([[1], [2]])})
    row = RowMetadata(columns, 1)
    assert row["a"] == 1
    assert "b" in row
    assert set(columns._values) == {"a"}
